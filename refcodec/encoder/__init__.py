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
from ..parallel import in_order
from ..prediction import fitted
from ..topology import layer_structure, topology_of
from .candidate import Candidate, Prediction
from .config import Config, Rule
from .plan import Treatment, folds_of, is_finite, roles_of, treatment
from .rate_control import representable, search_step, step_for_snr
from .stream_writer import StreamWriter, lowest_level
from .tensor_coder import TensorJob, code_tensor

INDEX_FROM = 64 << 20          # bytes of a model from which an index unit is written
JOIN_ELEMENTS = 1 << 16        # elements of a joined unit
JOIN_TENSORS = 512
LAYER_RATIO = 4.0              # step of a quality layer over that of the next

Progress = Callable[[int, int, str], None]      # bytes done, bytes in all, name


def encode(model: Model, config: Config | None = None, references: Sequence[Model] = (), *,
           progress: Progress | None = None) -> bytes:
    """Encode a model into a stream; lossless unless the configuration says otherwise.

    references: models that the decoder will have; used where they help.
    Raises ConfigError for what cannot be done, e.g. a rate that cannot be reached.
    """
    sink = io.BytesIO()
    encode_to(sink, model, config, references, progress=progress)
    return sink.getvalue()


def encode_to(sink: BinaryIO, model: Model, config: Config | None = None, references: Sequence[Model] = (), *,
              progress: Progress | None = None) -> None:
    """encode() into a binary file object, tensor by tensor."""
    config = config or Config()
    encoder = ModelEncoder(model, config, references, progress)
    if config.bits_per_weight is not None:
        step = encoder.step_for_rate(config.bits_per_weight)
    elif config.snr is not None:
        step = encoder.step_for_snr(config.snr)
    else:
        step = config.step
    encoder.write(sink, step)


def quantised_tensors(model: Model, config: Config) -> list[int]:
    """Indices of the tensors that a lossy configuration quantises with the global step."""
    return [i for i, (t, r) in enumerate(zip(model.tensors, roles_of(model)))
            if treatment(t, r, config) == Treatment.QUANTISE and is_finite(t.array)]


class ModelEncoder:
    """One model with its references, to be written at any step."""

    def __init__(self, model: Model, config: Config, references: Sequence[Model], progress: Progress | None = None):
        self.model, self.config, self.references, self.progress = model, config, list(references), progress
        self.roles, self.folds = roles_of(model), folds_of(model)
        self.copies = find_copies(model)
        self._names = [{t.name: i for i, t in enumerate(r.tensors)} for r in self.references]

    # Steps

    def step_for_snr(self, target: float) -> float:
        """The step that meets a signal-to-noise ratio in dB over the quantised elements."""
        tensors = [self._matrix(i) for i in self._quantised()]
        return step_for_snr(tensors, target, self.config.trellis_states, self.config.lam)

    def step_for_rate(self, target: float) -> float:
        """The step at which the whole stream has `target` bits per quantised element."""
        numbers = self._quantised()
        elements = sum(self.model.tensors[i].size for i in numbers)

        def bits_per_weight(step: float) -> float:
            sink = io.BytesIO()
            ModelEncoder(self.model, replace(self.config, index=False), self.references).write(sink, step)
            return 8 * sink.tell() / elements

        start = self._deviation(numbers) * 2.0 ** (1.5 - target)
        step = search_step(bits_per_weight, target, start, below=0.02, above=0.0, runs=10)
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

    def _layer_steps(self, step: float | None) -> list[float | None]:
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

    def write(self, sink: BinaryIO, step: float | None) -> None:
        steps = [None if s is None else representable(s) for s in self._layer_steps(step)]
        topology = topology_of(self.model.source) if self.model.source else None
        layers = layer_structure(self.model)
        header = ModelHeader(self.model.name, reference_count=len(self.references),
                             reference=[ReferenceEntry(1, r.digest()) for r in self.references],
                             tensor_count=len(self.model.tensors), tensor=table_of(self.model))
        lossy = any(s is not None for s in steps)
        profile = Profile.HIGH if lossy and self.config.mixed else (
            Profile.MAIN if lossy and self.config.trellis_states else Profile.BASELINE)
        state = ModelState(profile, 0, header, header.tensor)
        structures = [(syntax.model_header, header, state)]
        structures += [(syntax.topology, topology, state)] if topology else []
        structures += [(syntax.layer_descriptors, layers, state)] if layers else []
        level = lowest_level(structures, profile, len(self.model.tensors) * len(steps) + 16, len(steps))
        writer = StreamWriter(sink, level, profile)
        coarser: Model | None = None
        for number, layer_step in enumerate(steps):
            if number:
                header = ModelHeader(self.model.name, 1, 1 + len(self.references), inherit_flag=1,
                                     reference=[ReferenceEntry(0, model_distance=1), *header.reference[-len(self.references):]]
                                     if self.references else [ReferenceEntry(0, model_distance=1)])
            writer.begin_model(header, topology, layers)
            references = ([coarser] if coarser else []) + self.references
            names = ([None] if coarser else []) + self._names
            keep = number + 1 < len(steps)
            coarser = self._write_model(writer, layer_step, references, names, keep)
        writer.end_stream()

    def _write_model(self, writer: StreamWriter, step: float | None, references: list[Model], names: list[dict | None],
                     keep: bool) -> Model | None:
        config = replace(self.config, step=step, snr=None, bits_per_weight=None)
        tensors = self.model.tensors
        total, done = sum(t.nbytes for t in tensors), 0
        digests: dict[int, bytes] = {}
        kept: dict[int, np.ndarray] = {}
        small: dict[tuple, list] = {}

        def work(i: int) -> tuple[int, Candidate, bytes]:
            job = self._job(i, config, references, names, writer.level.nesting)
            candidate = code_tensor(job, config, step)
            digest = tensor_digest(tensors[i].name, tensors[i].dtype, tensors[i].shape, candidate.words)
            if not keep:
                candidate.words = np.empty(0, np.uint8)
            return i, candidate, digest

        first = [i for i in range(len(tensors)) if i not in self.copies]
        order = first + sorted(self.copies)
        for i, candidate, digest in in_order(work, order, [tensors[i].nbytes for i in order], config.threads):
            digests[i] = digest
            if keep:
                kept[i] = candidate.words
            entry = (i, int.from_bytes(digest[:8], "big"), candidate)
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

    def _job(self, i: int, config: Config, references: list[Model], names: list[dict | None], nesting: int) -> TensorJob:
        tensor = self.model.tensors[i]
        job = TensorJob(i, tensor, self.folds[i], treatment(tensor, self.roles[i], config), self._joins(i))
        if i in self.copies:
            source = self.copies[i]
            job.copy = Prediction(0, source, self.model.tensors[source].words)
        for number, (reference, by_name) in enumerate(zip(references, names)):
            k = i if by_name is None else by_name.get(tensor.name, i)
            if k < len(reference.tensors) and tensor.size:
                other = reference.tensors[k]
                if other.dtype == tensor.dtype and len(other.shape) == len(tensor.shape):
                    parts = tensor.dtype.parts
                    words = fitted(other.words.reshape(*other.shape, parts), (*tensor.shape, parts)).reshape(-1)
                    job.predictions.append(Prediction(number + 1, k, words, other.shape == tensor.shape))
        return job


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


def find_copies(model: Model) -> dict[int, int]:
    """Tensors that repeat an earlier one of the same type and shape: index to index."""
    seen: dict[tuple, list[int]] = {}
    groups: dict[tuple, list[int]] = {}
    for i, t in enumerate(model.tensors):
        if t.size:
            groups.setdefault((t.dtype.code, t.shape), []).append(i)
    copies: dict[int, int] = {}
    for group in groups.values():
        for i in group if len(group) > 1 else ():
            words = model.tensors[i].words
            key = (i and model.tensors[i].dtype.code, model.tensors[i].shape, words[:: max(1, words.size // 64)].tobytes())
            for k in seen.setdefault(key, []):
                if np.array_equal(model.tensors[k].words, words):
                    copies[i] = k
                    break
            else:
                seen[key].append(i)
    return copies


__all__ = ["Config", "ModelEncoder", "Rule", "encode", "encode_to", "quantised_tensors", "LEVELS"]
