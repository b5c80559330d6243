"""The encoder (informative): a model to a stream.  The format leaves every decision made here free."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from ..bitstream import syntax
from ..bitstream.derive import ModelState
from ..bitstream.limits import LEVELS, Profile
from ..bitstream.parser import table_of
from ..bitstream.structures import ModelHeader, PredictionMode, ReferenceEntry
from ..errors import ConfigError
from ..model import Model, Tensor, model_digest, tensor_digest
from ..parallel import in_order, run_all
from ..prediction import fitted
from ..topology import layer_structure, topology_of
from .candidate import Candidate, Prediction, copy_candidate
from .config import Config, Rule
from .plan import Treatment, folds_of, is_finite, roles_of, treatment
from .rate_control import representable, search_step, step_for_snr
from .stream_writer import StreamWriter, lowest_level
from .tensor_coder import Choice, TensorJob, choose, code_tensor, squared_error

INDEX_FROM = 64 << 20          # bytes of a model from which an index unit is written
JOIN_ELEMENTS = 1 << 16        # elements of a joined unit
JOIN_TENSORS = 512
LAYER_RATIO = 4.0              # step of a quality layer over that of the next

Progress = Callable[[int, int, str], None]      # bytes done, bytes in all, name


def encode(model: Model | Sequence[Model], config: Config | None = None, references: Sequence[Model] = (), *,
           progress: Progress | None = None) -> bytes:
    """Encode a model into a stream; lossless unless the configuration says otherwise.

    model: one, or several in order (versions, relatives): each is predicted from the one before where that helps.
    references: models that the decoder will have; used where they help.
    Raises ConfigError for what cannot be done, e.g. a rate that cannot be reached.
    """
    sink = io.BytesIO()
    encode_to(sink, model, config, references, progress=progress)
    return sink.getvalue()


def encode_to(sink: BinaryIO, model: Model | Sequence[Model], config: Config | None = None,
              references: Sequence[Model] = (), *, progress: Progress | None = None) -> None:
    """encode() into a binary file object, tensor by tensor."""
    config = config or Config()
    models = [model] if isinstance(model, Model) else list(model)
    if not models:
        raise ConfigError("BAD_CONFIG", "there is no model to encode")
    encoders = [ModelEncoder(m, config, references, progress) for m in models]
    write_stream(sink, encoders, [encoder.step() for encoder in encoders])


def quantised_tensors(model: Model, config: Config) -> list[int]:
    """Indices of the tensors that a lossy configuration quantises with the global step."""
    return [i for i, (t, r) in enumerate(zip(model.tensors, roles_of(model)))
            if treatment(t, r, config) == Treatment.QUANTISE and is_finite(t.array)]


class ModelEncoder:
    """One model with its references, to be written at any step."""

    def __init__(self, model: Model, config: Config, references: Sequence[Model], progress: Progress | None = None):
        self.model, self.config, self.references, self.progress = model, config, list(references), progress
        self.roles, self.folds = roles_of(model), folds_of(model)
        self.choices: dict[int, Choice] = {}          # made while a step was sought, for the references alone
        self.copies = find_copies(model, self._treatments())
        self.topology = topology_of(model.source) if model.source else None
        self.layers = layer_structure(model)

    def _treatments(self) -> list[Treatment]:
        """What happens to each tensor where anything is lost: only what is treated alike may be a copy."""
        lossy = replace(self.config, step=1.0, snr=None, bits_per_weight=None)
        if not self.config.lossy and self.config.quality_layers == 1:
            lossy = self.config
        return [treatment(t, r, lossy) for t, r in zip(self.model.tensors, self.roles)]

    # Steps

    def step(self) -> float | None:
        """The step that the configuration asks for; None: lossless."""
        if self.config.bits_per_weight is not None:
            return self.step_for_rate(self.config.bits_per_weight)
        return self.step_for_snr(self.config.snr) if self.config.snr is not None else self.config.step

    def step_for_snr(self, target: float) -> float:
        """The step that meets a signal-to-noise ratio in dB over the quantised elements.

        What is predicted from an earlier model of the same stream may differ from it by hundredths of a dB.
        """
        config = replace(self.config, step=1.0, snr=None)
        names = [{t.name: i for i, t in enumerate(r.tensors)} for r in self.references]
        jobs = [self._job(i, config, self.references, names) for i in self._quantised()]
        jobs = [job for job in jobs if not any(p.equals(job.tensor.words) for p in job.predictions)]

        def error(step: float) -> float:
            for job in jobs:
                job.choice = job.choice or choose(job, job.tensor.array.reshape(-1), step)
            return sum(run_all(lambda job: squared_error(job, config, step), jobs, config.threads))

        step = step_for_snr([self._matrix(job.index) for job in jobs], target, config.trellis_states, config.lam, error)
        self.choices = {job.index: job.choice for job in jobs}
        return step

    def step_for_rate(self, target: float) -> float:
        """The step at which the whole stream has `target` bits per quantised element."""
        numbers = self._quantised()
        elements = sum(self.model.tensors[i].size for i in numbers)
        coarsest = 1024 * self._deviation(numbers)          # nothing is left of the weights

        def bits_per_weight(step: float) -> float:
            sink = io.BytesIO()
            encoder = ModelEncoder(self.model, replace(self.config, index=False), self.references)
            write_stream(sink, [encoder], [min(step, coarsest)])
            return 8 * sink.tell() / elements

        start = self._deviation(numbers) * 2.0 ** (1.5 - target)
        step = min(search_step(bits_per_weight, target, start, below=0.02, above=0.0, runs=10), coarsest)
        if bits_per_weight(step) > target * 1.02:
            raise ConfigError("RATE", f"{target} bits per weight cannot be reached: the rest of the model needs "
                              f"{bits_per_weight(step):.2f} at the coarsest step tried")
        return step

    def _quantised(self) -> list[int]:
        numbers = [i for i in quantised_tensors(self.model, self.config) if i not in self.copies]
        if not numbers:
            raise ConfigError("NOTHING_TO_QUANTISE", "no tensor of this model is a weight of a floating-point type; "
                              "encode it without loss, or name its tensors by rules in a configuration")
        return numbers

    def _matrix(self, i: int) -> np.ndarray:
        array = self.model.tensors[i].array
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        job = TensorJob(i, Tensor("", array), self.folds[i], Treatment.QUANTISE)
        return job.matrix(array.reshape(-1))

    def _deviation(self, numbers: Sequence[int]) -> float:
        total = sum(float(np.square(self.model.tensors[i].array.astype(np.float64)).sum()) for i in numbers)
        return math.sqrt(total / max(1, sum(self.model.tensors[i].size for i in numbers))) or 1.0

    def layer_steps(self, step: float | None) -> list[float | None]:
        """The step of each quality layer; None: lossless."""
        count = self.config.quality_layers
        if count == 1:
            return [step]
        if step is not None:
            return [step * LAYER_RATIO ** (count - 1 - k) for k in range(count)]
        deviation = self._deviation(
            [i for i in quantised_tensors(self.model, replace(self.config, step=1.0)) if i not in self.copies])
        return [0.5 * deviation / LAYER_RATIO**k for k in range(count - 1)] + [None]

    # The stream

    def structures(self, profile: Profile) -> list[tuple]:
        """What the headers of this model will hold: (syntax function, structure, state) each."""
        state = ModelState(profile, 0, ModelHeader(), table_of(self.model))
        header = ModelHeader(self.model.name, tensor_count=len(state.tensors), tensor=state.tensors,
                             reference_count=len(self.references),
                             reference=[ReferenceEntry(1, bytes(32)) for _ in self.references])
        found = [(syntax.model_header, header, state)]
        if self.topology is not None:
            found.append((syntax.topology, self.topology, state))
        if self.layers is not None:
            found.append((syntax.layer_descriptors, self.layers, state))
        return found

    def profile(self, step: float | None) -> Profile:
        """The lowest profile that has the tools used."""
        if all(s is None for s in self.layer_steps(step)):
            return Profile.BASELINE
        return Profile.HIGH if self.config.mixed else Profile.MAIN if self.config.trellis_states else Profile.BASELINE

    def write_layers(self, writer: StreamWriter, step: float | None, before: ModelEncoder | None, decoded: Model | None,
                     keep: bool) -> Model | None:
        """All quality layers of this model.

        before, decoded: the encoder of the model before in the stream, and what its decoder will have.
        Returns what the decoder will have of this model, if `keep`.
        """
        steps = [None if s is None else representable(s) for s in self.layer_steps(step)]
        inherits = before is not None and self._inherits_from(before)
        for number, layer_step in enumerate(steps):
            inner = [ReferenceEntry(0, model_distance=1)] if decoded is not None else []
            entries = inner + [ReferenceEntry(1, r.digest()) for r in self.references]
            header = ModelHeader(self.model.name, int(number > 0), len(entries), entries, int(number > 0 or inherits))
            if not header.inherit_flag:
                header.tensor = table_of(self.model)
                header.tensor_count = len(header.tensor)
            writer.begin_model(header, self.topology, self.layers)
            references = ([decoded] if inner else []) + self.references
            names = [{t.name: i for i, t in enumerate(r.tensors)} for r in references]
            decoded = self._write_model(writer, layer_step, references, names, keep or number + 1 < len(steps))
        return decoded

    def _inherits_from(self, before: ModelEncoder) -> bool:
        return (table_of(self.model) == table_of(before.model) and self.topology == before.topology
                and self.layers == before.layers)

    def _write_model(self, writer: StreamWriter, step: float | None, references: list[Model], names: list[dict[str, int]],
                     keep: bool) -> Model | None:
        config = replace(self.config, step=step, snr=None, bits_per_weight=None)
        tensors = self.model.tensors
        total, done = sum(t.nbytes for t in tensors), 0
        digests: dict[int, bytes] = {}
        kept: dict[int, np.ndarray] = {}
        small: dict[tuple, list] = {}
        same = {i: [k for k, source in self.copies.items() if source == i] for i in set(self.copies.values())}

        def work(i: int) -> tuple[int, Candidate, dict[int, bytes]]:
            if i in self.copies:
                return i, copy_candidate(Prediction(0, self.copies[i], np.empty(0, np.uint8)), tensors[i].dtype), {}
            job = self._job(i, config, references, names)
            job.choice = self.choices.get(i) if len(references) == len(self.references) else None
            candidate = code_tensor(job, config, step)
            found = {k: tensor_digest(tensors[k].name, tensors[k].dtype, tensors[k].shape, candidate.words)
                     for k in (i, *same.get(i, ()))}           # copies have the decoded values of their source
            if not keep:
                candidate.words = np.empty(0, np.uint8)
            return i, candidate, found

        first = [i for i in range(len(tensors)) if i not in self.copies]
        order = first + sorted(self.copies)
        for i, candidate, found in in_order(work, order, [tensors[i].nbytes for i in order], config.threads):
            digests.update(found)
            if keep:
                kept[i] = kept[self.copies[i]] if i in self.copies else candidate.words
            entry = (i, int.from_bytes(digests[i][:8], "big"), candidate)
            group = self._group(i, candidate)
            if group is None:
                writer.tensors([entry])
            else:
                small.setdefault(group, []).append(entry)
            done += tensors[i].nbytes
            if self.progress:
                self.progress(done, total, tensors[i].name)
        for group in sorted(small):
            for unit in joined_units(small[group], tensors):
                writer.tensors(unit)
        with_index = config.index if config.index is not None else total >= INDEX_FROM
        writer.end_model(model_digest([digests[i] for i in range(len(tensors))]), self.model.metadata, with_index)
        if not keep:
            return None
        return Model([Tensor(t.name, kept[i].view(t.dtype.numpy).reshape(t.shape)) for i, t in enumerate(tensors)])

    def _joins(self, i: int) -> bool:
        return self.model.tensors[i].size < self.config.join_below

    def _group(self, i: int, candidate: Candidate) -> tuple | None:
        """The joined units that a tensor goes to, or None. Copies come last: what they copy is decoded before."""
        d = candidate.descriptor
        if d.prediction_mode == PredictionMode.COPY:
            return (1, "") if self.model.tensors[i].size <= JOIN_ELEMENTS else None
        return (0, candidate.dtype.name) if self._joins(i) else None

    def _job(self, i: int, config: Config, references: list[Model], names: list[dict[str, int]]) -> TensorJob:
        tensor = self.model.tensors[i]
        job = TensorJob(i, tensor, self.folds[i], treatment(tensor, self.roles[i], config), self._joins(i))
        for number, (reference, by_name) in enumerate(zip(references, names)):
            k = by_name.get(tensor.name, i)
            if k < len(reference.tensors) and tensor.size:
                other = reference.tensors[k]
                if other.dtype == tensor.dtype and len(other.shape) == len(tensor.shape):
                    parts = tensor.dtype.parts
                    words = fitted(other.words.reshape(*other.shape, parts), (*tensor.shape, parts)).reshape(-1)
                    job.predictions.append(Prediction(number + 1, k, words, other.shape == tensor.shape))
        return job


def write_stream(sink: BinaryIO, encoders: Sequence[ModelEncoder], steps: Sequence[float | None]) -> None:
    """The whole stream: every model with its quality layers, each model predicted from the one before."""
    profile = max(encoder.profile(step) for encoder, step in zip(encoders, steps))
    layers = [len(encoder.layer_steps(step)) for encoder, step in zip(encoders, steps)]
    units = 2 + sum((len(e.model.tensors) + 6) * n for e, n in zip(encoders, layers))
    level = lowest_level([x for e in encoders for x in e.structures(profile)], profile, units, sum(layers))
    writer = StreamWriter(sink, level, profile)
    before, decoded = None, None
    for encoder, step in zip(encoders, steps):
        decoded = encoder.write_layers(writer, step, before, decoded, keep=encoder is not encoders[-1])
        before = encoder
    writer.end_stream()


def joined_units(entries: list[tuple], tensors: Sequence[Tensor]) -> list[list[tuple]]:
    """Entries in ascending order of tensors, cut into units of bounded size."""
    units, elements = [[]], 0
    for entry in sorted(entries, key=lambda e: e[0]):
        size = tensors[entry[0]].size * tensors[entry[0]].dtype.parts
        if units[-1] and (elements + size > JOIN_ELEMENTS or len(units[-1]) >= JOIN_TENSORS):
            units.append([])
            elements = 0
        units[-1].append(entry)
        elements += size
    return units


def find_copies(model: Model, treatments: Sequence[Treatment]) -> dict[int, int]:
    """Tensors that repeat an earlier one of the same type, shape and treatment: index to index."""
    seen: dict[tuple, list[int]] = {}
    groups: dict[tuple, list[int]] = {}
    for i, t in enumerate(model.tensors):
        if t.size:
            groups.setdefault((t.dtype.code, t.shape, treatments[i]), []).append(i)
    copies: dict[int, int] = {}
    for kind, group in groups.items():
        for i in group if len(group) > 1 else ():
            words = model.tensors[i].words
            key = (*kind, words[:: max(1, words.size // 64)].tobytes())
            for k in seen.setdefault(key, []):
                if np.array_equal(model.tensors[k].words, words):
                    copies[i] = k
                    break
            else:
                seen[key].append(i)
    return copies


__all__ = ["Config", "ModelEncoder", "Rule", "encode", "encode_to", "quantised_tensors", "LEVELS"]
