"""The decoding process, top to bottom in the order of SPEC 8: units, integer arrays, values, prediction, tensors."""

from __future__ import annotations

import math
import os
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from .bitstream.parser import LazyParser, ParsedModel, ParsedStream, Parser, TensorUnit
from .bitstream.structures import BY_TENSOR, Bytes, Component, PredictionMode, Representation, TensorDescriptor
from .bitstream.units import ByteSource, check_unit
from .budget import Budget
from .costs import Costs
from .digests import (
    TensorDigest,
    check_piece_digests,
    check_tensor_digest,
    check_unit_digest,
    digests_of,
    joint_digest,
    tensor_digest,
)
from .dtypes import DType
from .entropy.payload import PayloadReader, check_elements
from .errors import ConfigError, OmcError, ReconstructionError, SemanticsError
from .memory import Blocks
from .model import Model, Tensor
from .parallel import in_order, run_all
from .pieces import Pieces, in_pieces
from .prediction import fitted
from .prediction.neighbours import Neighbours
from .reconstruction import folded, unfolded
from .reconstruction.components import Layout, Payloads
from .reconstruction.representations import decode_matrix
from .topology import layers_of, source_of

Progress = Callable[[int, int, str], None]      # (bytes done, bytes in all, name of the tensor)
Empty = Callable[[int, np.dtype], np.ndarray]   # an array of so many elements of a type
KEPT_BYTES = 32 << 20     # of decoded units that others are predicted from, at most
KEPT_SHARE = 8            # and that part of the memory that is left
WRITER_BYTES = 8 << 20    # that a file's writer has in hand
THREAD_BYTES = 6 << 20    # that a thread keeps for itself: pieces, their payload, symbols and contexts of four chunks
NAMES_SHOWN = 16          # of models, in messages


class StreamDecoder:
    """A parsed stream whose tensors are decoded when they are asked for.

    stream:       bytes or a path.
    references:   the external models that it may refer to.
    threads:      over tensors and entry points.
    budget:       what reading and decoding may cost; None: what the level of the stream allows, and the machine has.
    allow_prefix: take a stream that was cut after a whole model.
    lazy:         for access to some tensors: the check of a tensor's unit is verified when the whole unit is decoded.
    verify:       False leaves out the digests of tensors, for measurements of speed; never for use.
    make_parser:  Parser or a subclass (of the validator).

    A context manager; on leaving it a file is closed.
    Raises OmcError of the phases container, syntax and semantics at once (SPEC 6, 7); the others on access (SPEC 8, 9).
    """

    def __init__(self, stream: Bytes | str | os.PathLike[str] | ByteSource, references: Sequence[Model] = (), *,
                 threads: int = 1, budget: Budget | None = None, allow_prefix: bool = False, lazy: bool = False,
                 verify: bool = True, make_parser: Callable[..., Parser] = Parser):
        self.references = list(references)
        if not all(isinstance(m, Model) for m in self.references):
            raise TypeError("the references of a StreamDecoder are Models; decode() and open() take paths, too")
        self.budget = budget or Budget.of_level()
        self.lazy, self.verify = lazy, verify
        self._by_digest: dict[bytes, Model] | None = None
        source = stream if isinstance(stream, ByteSource) else ByteSource(stream)
        self.budget.give(source.size + sum(t.nbytes for m in self.references for t in m.tensors))
        self.threads = max(1, min(threads, self.budget.memory_left // (2 * THREAD_BYTES)))
        try:
            parser = (LazyParser if lazy else make_parser)(source, self.find_reference, allow_prefix)
            parser.budget = self.budget
            self.parsed: ParsedStream = parser.parse()
        except BaseException:
            source.close()
            raise
        self.costs = Costs(self.parsed)
        self._kept: OrderedDict[tuple[int, int], dict[int, np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> StreamDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.parsed.source.close()
        self.budget.release(self.parsed.held)
        self.parsed.held = 0

    def find_reference(self, digest: bytes) -> Model | None:
        """The external model of this digest, if it was given."""
        if self._by_digest is None:
            for m in self.references:
                largest = max((t.nbytes for t in m.tensors), default=0)
                self.budget.check_memory(2 * largest, f"the largest tensor of the reference {m.origin!r}")
            self._by_digest = {m.digest(self.threads): m for m in self.references}
        return self._by_digest.get(digest)

    # 8.2 Models and tensors

    def model_number(self, which: int | str = -1) -> int:
        """The number of the model asked for: a number (negative: from the end), or a name, in its finest quality.

        A name that no model has may be a number in digits.
        Raises SemanticsError MISSING_UNIT for a number, ConfigError BAD_CONFIG for a name, of no (one) model.
        """
        if isinstance(which, str):
            named = [i for i, name in enumerate(self.model_names) if name == which and not self.is_enhancement(i)]
            if len(named) == 1:
                return self.finest(named[0])
            if not re.fullmatch("-?[0-9]{1,9}", which):
                there = [f"{i} {name!r}" for i, name in enumerate(self.model_names) if not self.is_enhancement(i)]
                names = ", ".join(there[:NAMES_SHOWN]) + (", ..." if len(there) > NAMES_SHOWN else "")
                raise ConfigError("BAD_CONFIG", f"{len(named) or 'no'} models are named {which!r}; there are {names}")
            which = int(which)
        count = len(self.parsed.models)
        if not -count <= which < count:
            raise SemanticsError("MISSING_UNIT", f"the stream holds {count} models, there is no number {which}")
        return which % count

    @property
    def model_names(self) -> list[str]:
        """model_name of each model of the stream, in order; quality layers count."""
        return [model.header.model_name for model in self.parsed.models]

    def is_enhancement(self, number: int) -> bool:
        """True if a model is a finer quality layer of the one before (enhancement_flag)."""
        return bool(self.parsed.models[number].header.enhancement_flag)

    def finest(self, number: int) -> int:
        """The last of the quality layers that begin with a model."""
        while number + 1 < len(self.parsed.models) and self.is_enhancement(number + 1):
            number += 1
        return number

    def words(self, number: int, index: int) -> np.ndarray:
        """Decoded words of tensor `index` of model `number`, row-major, verified by its digest."""
        model = self.parsed.models[number]
        position = model.unit_of[index]
        with self._lock:
            unit = self._kept.get((number, position))
        if unit is None:
            unit, _ = self.decode_unit(number, position)
            with self._lock:
                self._kept[number, position] = unit
                most = min(KEPT_BYTES, self.budget.memory_left // KEPT_SHARE)
                while sum(w.nbytes for u in self._kept.values() for w in u.values()) > most:
                    self._kept.popitem(last=False)
        return unit[index]

    def tensors(self, number: int, only: set[int] | None = None, kept: Callable[[], int] = lambda: 0,
                empty: Empty = np.empty) -> Iterator[tuple[int, np.ndarray, bytes]]:
        """(index, words, digest) of the tensors of a model, in the order of the stream; all, or `only` some.

        kept: bytes of those that the caller has kept so far.  empty: makes the arrays of large ones.
        """
        model = self.parsed.models[number]
        wanted = [p for p, u in enumerate(model.tensor_units)
                  if only is None or any(d.tensor_index in only for d in u.descriptors)]
        sizes = [sum(d.word_count * d.word_bytes for d in model.tensor_units[p].descriptors) for p in wanted]

        def work(position: int) -> list[tuple[int, np.ndarray, bytes]]:
            decoded, digests = self.decode_unit(number, position, empty=empty)
            return [(i, w, digests[i]) for i, w in decoded.items() if only is None or i in only]

        needs = [self.costs.of(number, p).memory for p in wanted]
        for results in in_order(work, wanted, sizes, self.threads, needs=needs,
                                room=lambda: self.room - kept()):
            yield from results

    def model(self, which: int | str = -1, progress: Progress | None = None) -> Model:
        """The model with all its tensors in memory, verified by its digest. which: see model_number.

        progress: called with (bytes done, bytes in all, name) after each tensor.
        """
        number = self.model_number(which)
        state = self.parsed.models[number].state
        size = sum(math.prod(t.dimension) * state.dtype(i).itemsize for i, t in enumerate(state.tensors))
        self.budget.put_out(size, f"model {number}")
        self.allow(number)
        self._check_all_in_memory(number)
        words: dict[int, np.ndarray] = {}
        digests: dict[int, bytes] = {}
        done = Counter[str]()
        for i, w, digest in self.tensors(number, kept=lambda: done["bytes"], empty=Blocks(size).empty):
            words[i], digests[i] = w, digest
            done["bytes"] += w.nbytes
            if progress:
                progress(done["bytes"], size, state.tensors[i].tensor_name)
        if self.verify:
            self.check_model_digest(number, digests)
        return self.describe(number, lambda i: words[i])

    def _check_all_in_memory(self, number: int) -> None:
        """Of a model whose tensors stay: those that are there, and what the next one needs."""
        before = most = 0
        for position in range(len(self.parsed.models[number].tensor_units)):
            cost = self.costs.of(number, position)
            before, most = before + cost.made, max(most, before + cost.made, before + cost.memory)
        self.budget.check_memory(most, f"model {number} as a whole")

    def describe(self, number: int, words: Callable[[int], np.ndarray]) -> Model:
        """The model around the words of its tensors."""
        parsed = self.parsed.models[number]
        tensors = []
        for i, entry in enumerate(parsed.state.tensors):
            dtype = parsed.state.dtype(i)

            def load(i: int = i, dtype: DType = dtype) -> np.ndarray:
                return words(i).view(dtype.numpy)

            tensors.append(Tensor(entry.tensor_name, dtype=dtype, shape=entry.dimension, load=load))
        metadata = {e.metadata_key: bytes(e.metadata_value) for e in parsed.metadata.entry} if parsed.metadata else {}
        source = source_of(parsed.topology) if parsed.topology else None
        return Model(tensors, parsed.header.model_name, layers_of(parsed.layers), source, metadata)

    def check_model_digest(self, number: int, digests: dict[int, bytes]) -> None:
        """SPEC 8.8: the digest over all tensors must be that of the model end unit."""
        parsed = self.parsed.models[number]
        found = joint_digest([digests[i] for i in range(len(parsed.state.tensors))])
        end, unit = parsed.ended()
        if found != bytes(end.model_digest):
            raise ReconstructionError("DIGEST_MISMATCH", "SPEC 8.8: the decoded model differs from its model_digest",
                                      unit.number, rules="R8.8-2")

    # What it costs

    @property
    def room(self) -> int:
        """Bytes for all that is decoded at a time, beside what is held and kept to predict from."""
        left = self.budget.memory_left
        return left - min(KEPT_BYTES, left // KEPT_SHARE) - self.threads * THREAD_BYTES - WRITER_BYTES

    def allow(self, number: int, positions: Iterable[int] | None = None, times: int = 1) -> None:
        """Asks the budget for the work of decoding tensor data units of a model, and all that they are predicted from.

        positions: of the units; None: all.  times: how often it is done.  Raises ReconstructionError RESOURCE_LIMIT.
        """
        everything = range(len(self.parsed.models[number].tensor_units))
        work, made = self.costs.together(number, everything if positions is None else positions)
        self.budget.spend_work(times * work, f"decoding model {number}", made=times * made)

    def _described(self, number: int, unit: TensorUnit) -> str:
        names = [self.parsed.models[number].state.tensors[d.tensor_index].tensor_name[:100] for d in unit.descriptors]
        return f"decoding tensor {names[0]!r}" + (f" and {len(names) - 1} that share its unit" if names[1:] else "")

    # 8.3 Tensor data units

    def decode_unit(self, number: int, position: int, out: np.ndarray | None = None, empty: Empty = np.empty
                    ) -> tuple[dict[int, np.ndarray], dict[int, bytes]]:
        """The words of all tensors of one tensor data unit, each verified, and their digests.

        out: where the words of a unit's only tensor go, flat; what it holds after an error is of no meaning.
        empty: makes an array for words that are decoded into their place, where `out` is None.
        """
        tensor_unit = self.parsed.models[number].tensor_units[position]
        with errors_of(tensor_unit):
            self.budget.check_time()
            self.budget.check_memory(self.costs.of(number, position).memory, self._described(number, tensor_unit))
            if self.lazy:
                check_unit(self.parsed.source, tensor_unit.unit)
            pieces = self.pieces(number, tensor_unit.descriptors[0].tensor_index)
            if pieces:
                words = empty(pieces.d.word_count, pieces.dtype.word) if out is None else out
                return self._decode_pieces(number, tensor_unit, pieces, words)
            decoded, digests = self._decode_whole(number, tensor_unit)
            if out is not None:
                (words,) = decoded.values()
                out[:] = words
                decoded = dict.fromkeys(decoded, out)
            return decoded, digests

    def _decode_whole(self, number: int, tensor_unit: TensorUnit
                      ) -> tuple[dict[int, np.ndarray], dict[int, bytes]]:
        decoded: dict[int, np.ndarray] = {}
        joined = None
        if len(tensor_unit.descriptors) > 1 and tensor_unit.places:
            coded = sum(d.word_count for d in tensor_unit.descriptors if d.coded_flag)
            check_elements(coded, tensor_unit.places[0][1])
            joined = Payloads(self.parsed.source, tensor_unit.unit, tensor_unit.places).reader(0)
        for d in tensor_unit.descriptors:
            decoded[d.tensor_index] = self._decode_tensor(number, tensor_unit, d, decoded, joined)
        if joined:
            joined.finish()
        return decoded, self._checked_digests(self.parsed.models[number], tensor_unit, decoded)

    def _decode_tensor(self, number: int, tensor_unit: TensorUnit, d: TensorDescriptor,
                       decoded: dict[int, np.ndarray], joined: PayloadReader | None) -> np.ndarray:
        predicting = self._predicting(number, d, decoded)
        if d.prediction_mode == PredictionMode.COPY and predicting is not None:
            return predicting
        state = self.parsed.models[number].state
        parts = [self._payloads(tensor_unit, c, joined) for c in d.component]
        words = decode_matrix(d, self._layout(number, d), parts, self._folded(number, d, predicting), self.threads)
        return unfolded(words, state.tensors[d.tensor_index].dimension, state.dtype(d.tensor_index).parts,
                        state.fold(d.tensor_index), d.column_scan_flag)

    # 8.8 Tensors that are decoded piece by piece

    def pieces(self, number: int, index: int) -> Pieces | None:
        """The pieces of a tensor, if they can be decoded by themselves. Raises OmcError: of the payload's header."""
        model = self.parsed.models[number]
        unit = model.tensor_units[model.unit_of[index]]
        d = unit.descriptors[0]
        if d.tensor_index != index or not in_pieces(d, model.state.fold(index)):
            return None
        return Pieces(d, model.state.dtype(index), model.state.tensors[index].tensor_name,
                      self._payloads(unit, d.component[0]), self._predicting(number, d, {}))

    def _decode_pieces(self, number: int, unit: TensorUnit, pieces: Pieces, words: np.ndarray
                       ) -> tuple[dict[int, np.ndarray], dict[int, bytes]]:
        d = pieces.d
        found = sum(run_all(lambda some: pieces.decode(some, words[pieces.words(some)], self.verify),
                            pieces.stretches(), self.threads), [])
        return {d.tensor_index: words}, {d.tensor_index: self.joined_digest(number, unit, pieces, found)}

    def joined_digest(self, number: int, unit: TensorUnit, pieces: Pieces, found: list[bytes]) -> bytes:
        """The digest of a tensor from those of its pieces, compared with the one that is stated."""
        if not self.verify:
            return b""
        model, d = self.parsed.models[number], pieces.d
        digest = tensor_digest(pieces.name, pieces.dtype, model.state.tensors[d.tensor_index].dimension, found)
        self.compare_digests(model, unit, {d.tensor_index: TensorDigest(digest, found)})
        return digest

    def words_between(self, number: int, index: int, first: int, end: int) -> np.ndarray:
        """Words `first` to `end` of tensor `index`, row-major, verified; no more is decoded than their pieces.

        Where the tensor cannot be decoded piece by piece, or its pieces have no digests, it is decoded as a whole.
        """
        model = self.parsed.models[number]
        unit = model.tensor_units[model.unit_of[index]]
        with errors_of(unit):
            pieces = self.pieces(number, index) if first < end and unit.descriptors[0].piece_digests else None
            if pieces is not None:
                return pieces.between(first, end, self.threads)
        return self.words(number, index)[first:end].copy()

    # 8.3 Layout

    def _folded(self, number: int, d: TensorDescriptor, words: np.ndarray | None) -> np.ndarray | None:
        """Words in the shape of a tensor, row-major, as its matrix."""
        state, i = self.parsed.models[number].state, d.tensor_index
        if words is None:
            return None
        return folded(words, state.tensors[i].dimension, state.dtype(i).parts, state.fold(i), d.column_scan_flag)

    def _layout(self, number: int, d: TensorDescriptor) -> Layout:
        state = self.parsed.models[number].state
        fold = state.fold(d.tensor_index)
        return Layout(state.dtype(d.tensor_index), 1 if d.column_scan_flag else fold.kernel_size, d.plane_rows,
                      Neighbours.of(d))

    def _payloads(self, tensor_unit: TensorUnit, c: Component, joined: PayloadReader | None = None) -> Payloads:
        return Payloads(self.parsed.source, tensor_unit.unit, tensor_unit.places[c.first_payload :], joined,
                        self.parsed.level.codebook_size)

    def component_source(self, number: int, d: TensorDescriptor, c: Component
                         ) -> tuple[Layout, Payloads, np.ndarray | None]:
        """What a component of a tensor in a unit of its own is decoded from: layout, payloads, folded predictor."""
        model = self.parsed.models[number]
        predicting = self._folded(number, d, self._predicting(number, d, {}))
        unit = model.tensor_units[model.unit_of[d.tensor_index]]
        layout = self._layout(number, d)
        if d.representation != Representation.DIRECT:
            layout = Layout(layout.dtype)
        return layout, self._payloads(unit, c), predicting

    # 8.7 Prediction

    def _predicting(self, number: int, d: TensorDescriptor, decoded: dict[int, np.ndarray]) -> np.ndarray | None:
        """Words of the predicting tensor in the shape of the predicted one, row-major, or None."""
        if d.prediction_mode not in BY_TENSOR:
            return None
        number, d = self.costs.copies(number, d)[-1]          # a copy of copies is one of what they all copy
        model, index = self.parsed.models[number], d.predicting_tensor
        if d.within_model:
            words = decoded[index] if index in decoded else self.words(number, index)
            from_shape: Sequence[int] = model.state.tensors[index].dimension
        else:
            words, from_shape = self._reference_words(number, d.reference_index - 1, index)
        shape = model.state.tensors[d.tensor_index].dimension
        parts = model.state.dtype(d.tensor_index).parts
        return fitted(words.reshape(*from_shape, parts), (*shape, parts)).reshape(-1)

    def _reference_words(self, number: int, reference: int, index: int) -> tuple[np.ndarray, Sequence[int]]:
        entry = self.parsed.models[number].header.reference[reference]
        if not entry.external_flag:
            earlier = number - entry.model_distance
            return self.words(earlier, index), self.parsed.models[earlier].state.tensors[index].dimension
        model = self.reference(bytes(entry.reference_digest))
        return model.tensors[index].words, model.tensors[index].shape

    def reference(self, digest: bytes) -> Model:
        """The external model of this digest. Raises ReconstructionError MISSING_REFERENCE if it was not given."""
        model = self.find_reference(digest)
        if model is None:
            raise ReconstructionError(
                "MISSING_REFERENCE", "SPEC 8.2: the stream is an update of a model that was not given; wanted: digest "
                f"{shown_digest(digest)}, given: {self._given()}", rules="R8.2-1")
        return model

    def _given(self) -> str:
        """The references at hand, for a message: digests, and files where they are known."""
        models = (self._by_digest or {}).items()
        return ", ".join(shown_digest(digest) + (f" ({os.path.basename(m.origin)!r})" if m.origin else "")
                         for digest, m in models) or "none"

    # 8.8 Digests

    def _checked_digests(self, model: ParsedModel, tensor_unit: TensorUnit, decoded: dict[int, np.ndarray]
                         ) -> dict[int, bytes]:
        """The digests of the tensors of a unit, each of whose words is hashed once and compared."""
        state = model.state
        if not self.verify:
            return dict.fromkeys(decoded, b"")
        found = {}
        for i in (d.tensor_index for d in tensor_unit.descriptors):
            entry = state.tensors[i]
            found[i] = digests_of(entry.tensor_name, state.dtype(i), entry.dimension, decoded[i], self.threads)
        self.compare_digests(model, tensor_unit, found)
        if len(found) == 1:
            self._check_copies(model, tensor_unit, found)
        return {i: digest for i, (digest, _) in found.items()}

    def _check_copies(self, model: ParsedModel, tensor_unit: TensorUnit, found: dict[int, TensorDigest]) -> None:
        """The digests of those copies through which a tensor is one: they have its words, so they have its pieces."""
        (own,) = found.values()
        for number, d in self.costs.copies(model.state.number, tensor_unit.descriptors[0])[1:]:
            other = self.parsed.models[number]
            entry, unit = other.state.tensors[d.tensor_index], other.tensor_units[other.unit_of[d.tensor_index]]
            digest = tensor_digest(entry.tensor_name, other.state.dtype(d.tensor_index), entry.dimension, own.pieces)
            with errors_of(unit):
                self.compare_digests(other, unit, {d.tensor_index: TensorDigest(digest, own.pieces)})

    def compare_digests(self, model: ParsedModel, tensor_unit: TensorUnit, found: dict[int, TensorDigest]) -> None:
        """What was found against what the unit states. Raises ReconstructionError DIGEST_MISMATCH."""
        names = [model.state.tensors[i].tensor_name for i in found]
        if len(found) > 1:
            check_unit_digest(tensor_unit.unit_digest, [digest for digest, _ in found.values()], names)
            return
        (d,), (name,) = tensor_unit.descriptors, names
        digest, pieces = found[d.tensor_index]
        if d.piece_digests:
            check_piece_digests(d.piece_digests, pieces, name)
        check_tensor_digest(d.tensor_digest, digest, name)


@contextmanager
def errors_of(tensor_unit: TensorUnit) -> Iterator[None]:
    """Errors tell the unit; a lack of memory is one of them."""
    try:
        yield
    except OmcError as error:
        error.unit = tensor_unit.unit.number if error.unit is None else error.unit
        raise
    except MemoryError:
        raise ReconstructionError("RESOURCE_LIMIT", "there is not enough memory for this unit",
                                  tensor_unit.unit.number) from None


def shown_digest(digest: Bytes) -> str:
    """The beginning of a digest, as messages have it."""
    return f"{bytes(digest).hex()[:16]}..."
