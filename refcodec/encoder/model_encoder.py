"""One model to its part of a stream: the step that is asked for, and its units in order (informative)."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from ..bitstream import syntax
from ..bitstream.context import ModelState
from ..bitstream.cost import StreamCost
from ..bitstream.limits import LEVELS, Profile, size_needed
from ..bitstream.parser import table_of
from ..bitstream.structures import ModelHeader, PredictionMode, ReferenceEntry
from ..digests import TensorDigest, joint_digest, piece_digests, tensor_digest
from ..errors import ConfigError
from ..model import Model, Tensor
from ..parallel import in_order
from ..prediction import fitted
from ..reconstruction import folded
from ..topology import layer_structure, topology_of
from .candidate import Candidate, Prediction, copy_candidate
from .config import Config
from .config_parts import HybridQuantiser
from .copies_and_joins import JOIN_ELEMENTS, find_copies, joined_units
from .cost_bound import add_model
from .hybrid.coder import plan_hybrid
from .hybrid.operating_points import HybridPoint
from .protection import protected
from .rate_control import finest_step, largest_magnitude, representable, search_step, step_for_snr
from .seeking import RUNS, STATISTICS, Progress, Seeking
from .sets.coding_order import SetPlan, chain_plan
from .stream_writer import CodedTensor, StreamWriter, Structure, lowest_level
from .tensor_coder import choose, code_tensor, squared_error
from .tensor_job import Choice, TensorJob
from .treatment import Treatment, folds_of, is_finite, roles_of, step_of, treatment
from .updates.coder import FACTOR_SIDE
from .words_in_bins import mostly_unchanged

INDEX_FROM = 64 << 20          # bytes of a model from which an index unit is written
LARGE_MODEL = 1 << 24          # elements
SNR_SAMPLE = 1 << 23          # elements on which a signal-to-noise ratio is measured,
ROWS_MIN = 1 << 16            # elements of a tensor, if it has them, so that it is coded as the whole is
SNR_PART = 1 / 4              # unless that is more than this part of them
SNR_PIECE = 1 << 20           # elements of which differences are made at a time
JOIN_UPDATES = 1 << 15         # elements below which tensors of large models share a unit where few words changed
LAYER_RATIO = 4.0              # step of a quality layer over that of the next


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
        self.seeking = Seeking(progress, sum(t.nbytes for t in model.tensors))
        self.treatments = self._treatments()
        if config.protect and not config.scales and not config.own_quantiser:
            self.config = protected(model, [i for i, t in enumerate(self.treatments) if t is Treatment.QUANTISE],
                                    config)
        self.large = sum(t.size for t in model.tensors) >= LARGE_MODEL
        self.copies = find_copies(model, self.treatments)
        self.topology = topology_of(model.source) if model.source else None
        self.layers = layer_structure(model)

    @functools.cached_property
    def reference_digests(self) -> list[bytes]:
        """By which the stream names its external models; each is hashed once, however often a model is written."""
        return [r.digest(self.config.threads) for r in self.references]

    def _treatments(self) -> list[Treatment]:
        """What happens to each tensor where anything is lost: only what is treated alike may be a copy."""
        if self.config.own_quantiser or not (self.config.lossy or self.config.units.quality_layers > 1):
            lossy = self.config
        else:
            lossy = replace(self.config, step=1.0, snr=None, bits_per_weight=None)
        return [treatment(t, r, lossy) for t, r in zip(self.model.tensors, self.roles)]

    # Steps

    def step(self) -> float | None:
        """The step that the configuration asks for; None: lossless, or a quantiser of its own."""
        if self.config.own_quantiser:
            return None
        aim = self.config.aim
        if aim.bits_per_weight is not None:
            return self.step_for_rate(aim.bits_per_weight)
        return self.step_for_snr(aim.snr) if aim.snr is not None else aim.step

    def step_for_snr(self, target: float) -> float:
        """The step that meets a signal-to-noise ratio in dB over the quantised elements.

        What is predicted from an earlier model of the same stream may differ from it by hundredths of a dB, and so may
        a large model, of which rows of every tensor are measured.
        """
        config = replace(self.config, step=1.0, snr=None)
        names = [{t.name: i for i, t in enumerate(r.tensors)} for r in self.references]
        jobs = [self._job(i, config, self.references, names) for i in self._quantised()]
        if self.config.snr_of == "difference" and self.references:
            target += max(0.0, _snr_of_predictions(jobs))
        jobs = [job for job in jobs if not any(p.equals(job.tensor.words) for p in job.predictions)]

        share = SNR_SAMPLE / max(1, sum(job.tensor.size for job in jobs))
        measured = jobs if share > SNR_PART or any(job.predictions for job in jobs) else [
            replace(job, tensor=_rows_of(job.tensor, share)) for job in jobs]

        sizes = [part.tensor.nbytes for part in measured]
        self.seeking.expect(RUNS * sum(sizes) + 2 * sum(job.tensor.nbytes for job in jobs) // STATISTICS)

        def error(step: float) -> float:
            def of(pair: tuple[TensorJob, TensorJob]) -> float:
                job, part = pair
                wanted = step_of(job.tensor, config, step)
                part.choice = part.choice or choose(part, part.tensor.array.reshape(-1), wanted)
                job.choice = part.choice
                return squared_error(part, wanted) * (job.tensor.size / part.tensor.size)
            total = 0.0
            for size, found in zip(sizes, in_order(of, list(zip(jobs, measured)), sizes, config.threads)):
                total += found
                self.seeking.add(size)
            return total

        def matrix(i: int) -> np.ndarray:
            self.seeking.add(self.model.tensors[i].nbytes // STATISTICS)
            return self._matrix(i)

        uniform, matrices = config.uniform, _Made(matrix, [job.index for job in jobs])
        step = step_for_snr(matrices, target, uniform.states, uniform.lam, error)
        self.choices = {job.index: job.choice for job in jobs if job.choice is not None}
        return step

    def step_for_rate(self, target: float) -> float:
        """The step at which the whole stream has `target` bits per quantised element."""
        numbers = self._quantised()
        elements = sum(self.model.tensors[i].size for i in numbers)
        coarsest = 1024 * self._deviation(numbers)          # nothing is left of the weights
        finest = finest_step(max(largest_magnitude(self._matrix(i)) for i in numbers) or 1.0)

        self.seeking.expect(RUNS * self.seeking.model)

        def bits_per_weight(step: float) -> float:
            sink, before = io.BytesIO(), self.seeking.done
            encoder = ModelEncoder(self.model, replace(self.config, index=False), self.references,
                                   lambda done, total, name: self.seeking.tell(before + done))
            encoder.reference_digests = self.reference_digests
            write_stream(sink, [encoder], [min(step, coarsest)])
            return 8 * sink.tell() / elements

        start = self._deviation(numbers) * 2.0 ** (1.5 - target)
        step = min(search_step(bits_per_weight, target, start, below=0.02, above=0.0, finest=finest, runs=10), coarsest)
        if step <= finest and bits_per_weight(step) < target * 0.98:
            raise ConfigError("RATE", f"{target} bits per weight cannot be filled: the finest step takes "
                              f"{bits_per_weight(step):.2f}; ask for less, or for no loss")
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
        return folded(array.reshape(-1), array.shape, 1, self.folds[i], 0)

    def _deviation(self, numbers: Sequence[int]) -> float:
        total = sum(float(np.square(self.model.tensors[i].array.astype(np.float64)).sum()) for i in numbers)
        return math.sqrt(total / max(1, sum(self.model.tensors[i].size for i in numbers))) or 1.0

    def layer_steps(self, step: float | None) -> list[float | None]:
        """The step of each quality layer; None: lossless."""
        count = self.config.units.quality_layers
        if count == 1:
            return [step]
        if step is not None:
            return [step * LAYER_RATIO ** (count - 1 - k) for k in range(count)]
        deviation = self._deviation(
            [i for i in quantised_tensors(self.model, replace(self.config, step=1.0)) if i not in self.copies])
        return [0.5 * deviation / LAYER_RATIO**k for k in range(count - 1)] + [None]

    # The stream

    def structures(self, profile: Profile, inner: int = 0) -> list[Structure]:
        """What the headers of this model, with so many references in the stream, will hold.

        Returns (syntax function, structure, state) each.
        """
        state = ModelState(profile, min(inner, 1), ModelHeader(), table_of(self.model))
        header = ModelHeader(self.model.name, tensor_count=len(state.tensors), tensor=state.tensors,
                             reference_count=inner + len(self.references),
                             reference=[ReferenceEntry(0, model_distance=1)] * inner
                             + [ReferenceEntry(1, bytes(32)) for _ in self.references])
        found: list[Structure] = [(syntax.model_header, header, state)]
        if self.topology is not None:
            found.append((syntax.topology, self.topology, state))
        if self.layers is not None:
            found.append((syntax.layer_descriptors, self.layers, state))
        return found

    def profile(self, step: float | None) -> Profile:
        """The lowest profile that has the tools used."""
        config, tools = self.config, self.config.tools
        if tools.profile:
            return Profile[tools.profile.upper()]
        stepped = any(s is not None for s in self.layer_steps(step))
        levels = config.lossy or stepped or config.updating.factors
        main = stepped and config.uniform.states or config.updating.by_factors
        return max(tools.level_profile if levels else Profile.BASELINE, Profile.MAIN if main else Profile.BASELINE)

    def decomposition_size(self) -> int:
        """What the level must allow for the matrices that may be coded by factors; 0 where none is."""
        config = self.config
        by_factors, products = config.updating.by_factors, config.tools.products
        if not (by_factors or products or isinstance(config.own_quantiser, HybridQuantiser)):
            return 0
        shapes = [fold.matrix_shape(t.shape) for fold, t in zip(self.folds, self.model.tensors)]
        if by_factors:
            return max((size_needed(*shape) for shape in shapes), default=0)
        return max((min(shape) for shape in shapes if not products or min(shape) <= FACTOR_SIDE), default=0)

    def write_layers(self, writer: StreamWriter, step: float | None, earlier: Sequence[Earlier],
                     keep: bool) -> Model | None:
        """All quality layers of this model.

        earlier: the models of this stream that it may be predicted from.
        Returns what the decoder will have of this model, if `keep`.
        """
        steps = [None if s is None else representable(s) for s in self.layer_steps(step)]
        decoded = None
        for number, layer_step in enumerate(steps):
            inherits = bool(earlier) and self._inherits_from(earlier[0].encoder)
            entries = [ReferenceEntry(0, model_distance=len(writer.models) - e.number) for e in earlier]
            entries += [ReferenceEntry(1, digest) for digest in self.reference_digests]
            header = ModelHeader(self.model.name, int(number > 0), len(entries), entries, int(inherits))
            if not inherits:
                header.tensor = table_of(self.model)
                header.tensor_count = len(header.tensor)
            writer.begin_model(header, self.topology, self.layers)
            decoded = self._write_model(writer, layer_step, earlier, keep or number + 1 < len(steps))
            if decoded is not None:
                earlier = [Earlier(self, layer_step, decoded, len(writer.models) - 1)]
        return decoded

    def _inherits_from(self, before: ModelEncoder) -> bool:
        return (table_of(self.model) == table_of(before.model) and self.topology == before.topology
                and self.layers == before.layers)

    def _write_model(self, writer: StreamWriter, step: float | None, earlier: Sequence[Earlier],
                     keep: bool) -> Model | None:
        references = [e.decoded for e in earlier] + self.references
        names = [{t.name: i for i, t in enumerate(r.tensors)} for r in references]
        config = self.config if self.config.own_quantiser else replace(self.config, step=step, snr=None,
                                                                       bits_per_weight=None)
        points = self._hybrid_points(config)
        tensors = self.model.tensors
        total, done = sum(t.nbytes for t in tensors), 0
        digests: dict[int, TensorDigest] = {}
        kept: dict[int, np.ndarray] = {}
        small: dict[tuple[int, str], list[CodedTensor]] = {}
        same = {i: [k for k, source in self.copies.items() if source == i] for i in set(self.copies.values())}

        def work(i: int) -> tuple[int, Candidate, dict[int, TensorDigest]]:
            if i in self.copies:
                return i, copy_candidate(Prediction(0, self.copies[i] - i, np.empty(0, np.uint8)), tensors[i].dtype), {}
            job = self._job(i, config, references, names)
            job.choice = None if earlier else self.choices.get(i)
            job.point = points.get(i)
            candidate = self._unchanged(job, earlier) or code_tensor(job, step)
            candidate.joined = job.joined
            pieces = piece_digests(candidate.words, config.threads)
            found = {k: TensorDigest(tensor_digest(tensors[k].name, tensors[k].dtype, tensors[k].shape, pieces), pieces)
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
            entry = (i, digests[i], candidate)
            group = self._group(i, candidate)
            if group is None:
                writer.tensors([entry])
            else:
                small.setdefault(group, []).append(entry)
            done += tensors[i].nbytes
            if self.progress:
                self.progress(self.seeking.done + done, self.seeking.done + total, tensors[i].name)
        for group in sorted(small):
            for unit in joined_units(small[group], tensors):
                writer.tensors(unit)
        with_index = config.units.index if config.units.index is not None else total >= INDEX_FROM
        digest = joint_digest([digests[i].digest for i in range(len(tensors))])
        writer.end_model(digest, self.model.metadata, with_index)
        if not keep:
            return None
        return Model([Tensor(t.name, kept[i].view(t.dtype.numpy).reshape(t.shape)) for i, t in enumerate(tensors)])

    def _hybrid_points(self, config: Config) -> dict[int, HybridPoint]:
        if not isinstance(config.own_quantiser, HybridQuantiser):
            return {}
        jobs = [self._job(i, config, [], []) for i in quantised_tensors(self.model, config)]
        return plan_hybrid(jobs, config.own_quantiser)

    def _unchanged(self, job: TensorJob, earlier: Sequence[Earlier]) -> Candidate | None:
        """A copy from a model of this stream that has the same original tensor, treated alike and no more coarsely."""
        for p in job.predictions if job.config.lossy else ():
            source = earlier[p.reference_index - 1] if p.reference_index <= len(earlier) else None
            if source is None or source.encoder is self or not p.same_shape:
                continue
            theirs, k = source.encoder, job.index + p.tensor_delta
            alike, step = theirs.treatments[k] == self.treatments[job.index], job.config.aim.step
            as_fine = source.step is None or step is None or (
                step_of(theirs.model.tensors[k], theirs.config, source.step) <= step_of(job.tensor, job.config, step))
            if alike and as_fine and np.array_equal(job.words, theirs.model.tensors[k].words):
                return copy_candidate(p, job.dtype)
        return None

    def _joins(self, i: int) -> bool:
        return self.model.tensors[i].size < self.config.units.join_below

    def _group(self, i: int, candidate: Candidate) -> tuple[int, str] | None:
        """The joined units that a tensor goes to, or None. Copies come last: what they copy is decoded before."""
        d = candidate.descriptor
        if d.prediction_mode == PredictionMode.COPY:
            return (1, "") if self.model.tensors[i].size <= JOIN_ELEMENTS else None
        return (0, candidate.dtype.name) if candidate.joined and candidate.joinable else None

    def _job(self, i: int, config: Config, references: list[Model], names: list[dict[str, int]]) -> TensorJob:
        tensor = self.model.tensors[i]
        job = TensorJob(i, tensor, self.folds[i], treatment(tensor, self.roles[i], config), config, self._joins(i),
                        self.large)
        for number, (reference, by_name) in enumerate(zip(references, names)):
            k = by_name.get(tensor.name, i)
            if k < len(reference.tensors) and tensor.size:
                other = reference.tensors[k]
                if other.dtype == tensor.dtype and len(other.shape) == len(tensor.shape):
                    parts = tensor.dtype.parts
                    words = fitted(other.words.reshape(*other.shape, parts), (*tensor.shape, parts)).reshape(-1)
                    job.predictions.append(Prediction(number + 1, k - i, words, other.shape == tensor.shape))
        if self.large and not job.joined and tensor.size < JOIN_UPDATES and mostly_unchanged(job) is not None:
            job.joined = True
            job.joined = job.at_once               # as an update a header of bins would outweigh it
        return job


def _snr_of_predictions(jobs: Sequence[TensorJob]) -> float:
    """10 log10(variance / mean squared error) of tensors where what is known of each, as far as it is, stands for it;
    0.0 where nothing is known, or all."""
    elements, total, squares, error = 0, 0.0, 0.0, 0.0
    for job in jobs:
        flat = job.tensor.array.reshape(-1)
        for first in range(0, flat.size, SNR_PIECE):
            part = slice(first, first + SNR_PIECE)
            values = flat[part].astype(np.float64)
            known = [values - p.words.view(job.dtype.numpy)[part].astype(np.float64) for p in job.predictions]
            elements, total, squares = elements + values.size, total + float(values.sum()), squares + float(
                np.square(values).sum())
            error += min((float(np.square(d).sum()) for d in known), default=float(np.square(values).sum()))
    variance = squares / max(elements, 1) - (total / max(elements, 1))**2
    if not (variance > 0 and 0 < error < math.inf):
        return 0.0
    return 10 * math.log10(variance * elements / error)


def _rows_of(tensor: Tensor, share: float) -> Tensor:
    """Runs of rows of a tensor, spread evenly, about `share` of its elements but no fewer than ROWS_MIN."""
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]
    wanted = min(rows, max(1, round(rows * share), -(-ROWS_MIN // columns)))
    runs = max(1, min(8, wanted // 4))
    array = tensor.array
    return Tensor(tensor.name, np.concatenate([array[r * rows // runs :][: -(-wanted // runs)] for r in range(runs)]))


class _Made(Sequence[np.ndarray]):
    """Arrays that are made at each access, so that one at a time is in memory."""

    def __init__(self, make: Callable[[int], np.ndarray], numbers: Sequence[int]):
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, k: Any) -> Any:
        return self._make(self._numbers[k])


@dataclass
class Earlier:
    """A model of this stream that others are predicted from.

    step: of its last quality layer.  decoded: what its decoder has.  number: in the stream, layers counted.
    """

    encoder: ModelEncoder
    step: float | None
    decoded: Model
    number: int


def write_stream(sink: BinaryIO, encoders: Sequence[ModelEncoder], steps: Sequence[float | None],
                 plan: SetPlan | None = None) -> None:
    """The whole stream: every model with its quality layers, in the order of the plan and predicted as it says.

    Without a plan each is predicted from the one before.  A decoded model is kept as long as others refer to it.
    """
    plan = plan or chain_plan(len(encoders))
    profile = max(encoder.profile(step) for encoder, step in zip(encoders, steps))
    layers = [len(encoder.layer_steps(step)) for encoder, step in zip(encoders, steps)]
    units = 2 + sum((len(e.model.tensors) + 6) * n for e, n in zip(encoders, layers))
    side = max(encoder.decomposition_size() for encoder in encoders)
    cost = StreamCost(units)
    for encoder, references, n in zip(encoders, plan.references, layers):
        add_model(cost, encoder.model, encoder.folds, encoder.config, bool(references or encoder.references), n)
    level = lowest_level([x for e, r in zip(encoders, plan.references) for x in e.structures(profile, len(r))],
                         sum(layers), cost, side)
    nesting = max(plan.depths()) * max(layers)
    level = next((x for x in LEVELS.values() if x.number >= level.number and x.nesting >= nesting), level)
    writer = StreamWriter(sink, level, profile)
    earlier: dict[int, Earlier] = {}
    for place, j in enumerate(plan.order):
        keep = plan.last_use(j) > place
        decoded = encoders[j].write_layers(writer, steps[j], [earlier[i] for i in plan.references[j]], keep)
        if decoded is not None:
            last = encoders[j].layer_steps(steps[j])[-1]
            earlier[j] = Earlier(encoders[j], last and representable(last), decoded, len(writer.models) - 1)
        earlier = {i: e for i, e in earlier.items() if plan.last_use(i) > place}
    writer.end_stream()
