"""The parsing process (SPEC 6, 7): a stream is cut into units and every syntax structure is read and checked.

Payloads stay where they are: a TensorUnit remembers their place, so that a model of any size can be
parsed first and decoded tensor by tensor after.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ..budget import Budget
from ..digests import body_digest, seal_of, stated
from ..errors import ContainerError, OmcError, SemanticsError
from . import syntax
from .context import ModelState
from .cost import StreamCost
from .limits import LEVELS, Level
from .structures import (
    Bytes,
    Index,
    IndexEntry,
    LayerDescriptors,
    Metadata,
    ModelEnd,
    ModelHeader,
    ReferenceEntry,
    StreamEnd,
    StreamHeader,
    TensorData,
    TensorDescriptor,
    TensorEntry,
    Topology,
    UnitType,
)
from .units import MAGIC, STREAM_END_SIZE, ByteSource, LazyBytes, Unit, check_unit, read_body, read_unit
from .visitor import Reader, Visitor

if TYPE_CHECKING:
    from ..model import Model

# What may follow within a model (SPEC 7.1).
_FOLLOWERS = {
    UnitType.MODEL_HEADER: {UnitType.TOPOLOGY, UnitType.LAYER_DESCRIPTORS, UnitType.TENSOR_DATA, UnitType.METADATA,
                            UnitType.INDEX, UnitType.MODEL_END},
    UnitType.TOPOLOGY: {UnitType.LAYER_DESCRIPTORS, UnitType.TENSOR_DATA, UnitType.METADATA, UnitType.INDEX,
                        UnitType.MODEL_END},
    UnitType.LAYER_DESCRIPTORS: {UnitType.TENSOR_DATA, UnitType.METADATA, UnitType.INDEX, UnitType.MODEL_END},
    UnitType.TENSOR_DATA: {UnitType.TENSOR_DATA, UnitType.METADATA, UnitType.INDEX, UnitType.MODEL_END},
    UnitType.METADATA: {UnitType.INDEX, UnitType.MODEL_END},
    UnitType.INDEX: {UnitType.MODEL_END},
    UnitType.MODEL_END: {UnitType.MODEL_HEADER, UnitType.STREAM_END},
    UnitType.STREAM_HEADER: {UnitType.MODEL_HEADER, UnitType.STREAM_END},
}
_KNOWN_TYPES = frozenset(UnitType)
DESCRIBING = (UnitType.TOPOLOGY, UnitType.LAYER_DESCRIPTORS, UnitType.METADATA)     # whose bodies are sealed, in order
UNIT_BYTES, UNIT_WORK = 400, 20000        # what a unit costs beside its body (budget.py)
NAME_WORK, FOLD_BYTES = 200, 100          # what a model that inherits costs, for each tensor and fold of the other
BODY_COPIES = 4                           # of a body that may be there at a time, while it is expanded and read
FRAMING = (UnitType.STREAM_HEADER, UnitType.MODEL_HEADER, UnitType.STREAM_END)      # units of no model before them


@dataclass
class TensorUnit:
    """A tensor data unit without its payloads. places: (offset in the stream, coded size, bypass size) each."""

    unit: Unit
    descriptors: list[TensorDescriptor]
    places: list[tuple[int, int, int]]
    unit_digest: int = 0


@dataclass
class ParsedModel:
    """One model of the stream as parsed."""

    state: ModelState
    unit: Unit
    topology: Topology | None = None
    layers: LayerDescriptors | None = None
    tensor_units: list[TensorUnit] = field(default_factory=list)
    unit_of: dict[int, int] = field(default_factory=dict)        # tensor index: index into tensor_units
    bodies: dict[UnitType, bytes] = field(default_factory=dict)  # digests of the bodies that describe it, see seal
    metadata: Metadata | None = None
    index: Index | None = None
    end: ModelEnd | None = None
    end_unit: Unit | None = None

    @property
    def header(self) -> ModelHeader:
        return self.state.header

    def inherit(self, parent: ParsedModel) -> None:
        """Take what an inheriting model has from another one (SPEC 7.4): table, folds, topology and layers."""
        self.state.tensors, self.state.folds = parent.state.tensors, dict(parent.state.folds)
        self.topology, self.layers = parent.topology, parent.layers
        self.bodies = {kind: digest for kind, digest in parent.bodies.items() if kind != UnitType.METADATA}

    def seal(self, model_digest: Bytes) -> bytes:
        """The seal of the model (SPEC 8.8), 32 bytes, with any model_digest."""
        return seal_of(bytes(model_digest), self.header.model_name, [self.bodies.get(kind) for kind in DESCRIBING])

    def ended(self) -> tuple[ModelEnd, Unit]:
        """The model end and its unit, which every model has when a stream is parsed."""
        if self.end is None or self.end_unit is None:
            raise ValueError("the parser has not reached the end of the model")
        return self.end, self.end_unit


@dataclass
class ParsedStream:
    """The whole stream as parsed. complete: it ended with its stream end unit.  held: bytes that it takes, about."""

    source: ByteSource
    header: StreamHeader = field(default_factory=StreamHeader)
    models: list[ParsedModel] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    complete: bool = False
    held: int = 0
    cost: StreamCost = field(default_factory=StreamCost)

    @property
    def level(self) -> Level:
        return LEVELS[self.header.level]


FindReference = Callable[[bytes], "Model | None"]
X = TypeVar("X")


class Parser:
    """Reads a stream unit by unit.

    find_reference: digest to the external model at hand, or None.  allow_prefix: a stream that ends
    right after a model end unit is taken as it is.  make_reader: Reader or a subclass (Tracer).
    on_reader: called with the reader of each unit when it is through.  budget: of which is asked before anything is
    made; by default the level's limits are all.
    """

    lazy = False                           # True: see LazyParser

    def __init__(self, source: ByteSource, find_reference: FindReference = lambda digest: None,
                 allow_prefix: bool = False, make_reader: Callable[..., Reader] = Reader,
                 on_reader: Callable[[Reader], None] = lambda reader: None):
        self.stream = ParsedStream(source)
        self.find_reference, self.allow_prefix = find_reference, allow_prefix
        self.make_reader, self.on_reader = make_reader, on_reader
        self.budget = Budget.of_level()
        self.model: ParsedModel | None = None
        self.header_body = b""                 # of the last model header

    def parse(self) -> ParsedStream:
        """Raises ContainerError, StreamSyntaxError or SemanticsError with unit and bit."""
        for _ in self.walk():
            pass
        return self.stream

    def walk(self) -> Iterator[Unit]:
        """parse(), which yields each unit when it is read."""
        source = self.stream.source
        magic = source.read(0, 4)
        if magic != MAGIC:
            if MAGIC.startswith(magic):
                raise ContainerError("TRUNCATED", "SPEC 6.1: the stream ends inside omc_magic", rules="R7.1-1")
            raise ContainerError("BAD_MAGIC", "SPEC 6.1: this is not an OMC stream", rules="R7.1-1")
        offset, before = 4, None
        while before != UnitType.STREAM_END:
            if offset == source.size and before in (UnitType.MODEL_END, UnitType.STREAM_HEADER):
                if self.allow_prefix and self.stream.models:
                    return
                raise ContainerError(
                    "MISSING_UNIT", "SPEC 7.1: the stream ends without its stream end unit; "
                    "a prefix of whole models can be asked for", len(self.stream.units), rules="R7.1-3")
            unit = self._next_unit(offset)
            if unit.type in _KNOWN_TYPES:
                self._check_order(before, unit)
                self._read(unit)
                before = unit.type
            yield unit
            offset = unit.end
        if offset != source.size:
            self.violated(ContainerError("TRAILING_DATA", "SPEC 6.1: bytes after the stream end unit",
                                         len(self.stream.units) - 1, rules="R7.1-4"))
        if not self.stream.models:
            self.violated(
                ContainerError("MISSING_UNIT", "SPEC 7.1: the stream holds no model",
                               len(self.stream.units) - 1, rules="R7.1-5"))
        self.stream.complete = True

    def hold(self, memory: int, work: int, unit: int) -> None:
        """Asks the budget for what the stream's description takes. Raises SemanticsError RESOURCE_LIMIT."""
        self.budget.spend_work(work, f"reading unit {unit}", SemanticsError)
        self.budget.hold(memory, f"reading unit {unit}", SemanticsError)
        self.stream.held += memory

    def violated(self, error: OmcError) -> None:
        """What becomes of a broken rule that leaves sense in what follows it: parsing stops, but not in a validator."""
        raise error

    def _next_unit(self, offset: int) -> Unit:
        number = len(self.stream.units)
        unit = read_unit(self.stream.source, offset, number, self.violated)
        if number >= self.stream.level.units:
            raise SemanticsError("RESOURCE_LIMIT", f"SPEC A.2: over {self.stream.level.units} units", number,
                                 rules="R7.2-7")
        self.hold(UNIT_BYTES, UNIT_WORK, number)
        self.stream.units.append(unit)
        self.stream.cost.units += 1
        return unit

    def _check_order(self, before: int | None, unit: Unit) -> None:
        allowed = _FOLLOWERS[UnitType(before)] if before is not None else {UnitType.STREAM_HEADER}
        if unit.type not in allowed:
            after = UnitType(before).name if before is not None else "the start"
            self.violated(ContainerError("ORDER", f"SPEC 7.1: {UnitType(unit.type).name} after {after}", unit.number,
                                         rules="R7.1-2"))

    def _structure(self, unit: Unit, function: Callable[[Visitor, X], None], x: X) -> tuple[Reader, X]:
        if unit.type != UnitType.TENSOR_DATA and unit.expanded_size <= self.stream.level.unit_bytes:
            self.stream.cost.bodies += unit.expanded_size
        self._check_cost(unit)
        body = self._body(unit)
        if unit.type == UnitType.MODEL_HEADER:
            self.header_body = bytes(body)
        if unit.type in DESCRIBING and self.model:
            self.model.bodies[UnitType(unit.type)] = body_digest(bytes(body))
        reader = self.make_reader(body, self.stream.level, unit.number, self.model.state if self.model else None)
        reader.budget = self.budget
        reader.cost = self.stream.cost
        try:
            function(reader, x)
            reader.end()
        finally:
            self.stream.held += reader.held
            self.on_reader(reader)
        return reader, x

    def _check_cost(self, unit: Unit) -> None:
        """Work and memory (SPEC A.3) up to this unit, before it is expanded."""
        cost, level = self.stream.cost, self.stream.level
        for what, found, most, rule in (("work", cost.work(), level.work, "R7.2-10"),
                                        ("memory", cost.memory(), level.memory, "R7.2-11")):
            if found > most:
                self.violated(SemanticsError("RESOURCE_LIMIT", f"SPEC A.3: {what} of {found} up to here, level "
                                             f"{level.number} allows {most}", unit.number, rules=rule))

    def _body(self, unit: Unit) -> bytes | LazyBytes:
        source = self.stream.source
        if unit.type != UnitType.TENSOR_DATA:
            size = max(unit.size, unit.expanded_size)
            if size <= self.stream.level.unit_bytes:               # else it is refused as such
                self.budget.check_memory(BODY_COPIES * size, f"unit {unit.number}", SemanticsError)
                kept = 2 * size if unit.type in (UnitType.TOPOLOGY, UnitType.METADATA) else 0       # literals, values
                self.hold(kept, size, unit.number)
            return read_body(source, unit, self.stream.level.unit_bytes, self.header_body)
        if not self.lazy:
            check_unit(source, unit)
        return LazyBytes(source, unit.body_offset, unit.size)

    def _read(self, unit: Unit) -> None:
        read = getattr(self, "_" + UnitType(unit.type).name.lower())
        if unit.type in FRAMING:
            read(unit)
        else:
            read(unit, self.model)

    def _stream_header(self, unit: Unit) -> None:
        self._structure(unit, syntax.stream_header, self.stream.header)

    def _model_header(self, unit: Unit) -> None:
        number = len(self.stream.models)
        if number >= self.stream.level.models:
            self.violated(
                SemanticsError("RESOURCE_LIMIT", f"SPEC A.2: over {self.stream.level.models} models", unit.number,
                               rules="R7.4-5"))
        self.model = model = ParsedModel(ModelState(self.stream.header.profile, number), unit)
        state = model.state
        reader, header = self._structure(unit, syntax.model_header, ModelHeader())
        state.header = header
        state.references = [self._referenced(r, number) for r in header.reference]
        if header.inherit_flag:
            parent = self.stream.models[number - header.reference[0].model_distance]
            self.hold(FOLD_BYTES * len(parent.state.folds), NAME_WORK * len(parent.state.tensors), unit.number)
            model.inherit(parent)
        else:
            state.tensors = header.tensor
        names = {t.tensor_name for t in state.tensors}
        if len(names) != len(state.tensors):
            self.violated(reader.fail(SemanticsError, "DUPLICATE_ID", "SPEC 7.4: two tensors have the same name",
                                      "R7.4-4"))
        self.stream.models.append(model)

    def _referenced(self, reference: ReferenceEntry, number: int) -> ModelState | None:
        """The model that model `number` refers to; None for an external one that is not at hand."""
        if not reference.external_flag:
            return self.stream.models[number - reference.model_distance].state
        model = self.find_reference(bytes(reference.reference_digest))
        return None if model is None else ModelState.external(table_of(model))

    def _topology(self, unit: Unit, model: ParsedModel) -> None:
        _, x = self._structure(unit, syntax.topology, Topology())
        model.topology = x
        check_topology(x, model.state, unit)

    def _layer_descriptors(self, unit: Unit, model: ParsedModel) -> None:
        model.state.folds = {}
        _, x = self._structure(unit, syntax.layer_descriptors, LayerDescriptors())
        model.layers = x

    def _tensor_data(self, unit: Unit, model: ParsedModel) -> None:
        reader, x = self._structure(unit, syntax.tensor_data, TensorData())
        offset = unit.end - 4 - sum(p.coded_size + p.bypass_size for p in x.payload)
        places = []
        for p in x.payload:
            places.append((offset, p.coded_size, p.bypass_size))
            offset += p.coded_size + p.bypass_size
        for d in x.descriptor:
            for c in d.component:
                c.codebook.codebook_words, c.grid_scales = bytes(c.codebook.codebook_words), bytes(c.grid_scales)
            d.factor.row_mask, d.piece_digests = bytes(d.factor.row_mask), bytes(d.piece_digests)
            model.unit_of[d.tensor_index] = len(model.tensor_units)
        model.tensor_units.append(TensorUnit(unit, x.descriptor, places, x.unit_digest))

    def _metadata(self, unit: Unit, model: ParsedModel) -> None:
        _, x = self._structure(unit, syntax.metadata, Metadata())
        model.metadata = x
        keys = [e.metadata_key for e in x.entry]
        if len(set(keys)) != len(keys):
            self.violated(
                SemanticsError("DUPLICATE_ID", "SPEC 7.8: two metadata entries have the same key", unit.number,
                               rules="R7.8-1"))

    def _index(self, unit: Unit, model: ParsedModel) -> None:
        _, x = self._structure(unit, syntax.index, Index())
        model.index = x
        if index_of(model) != x:
            self.violated(SemanticsError("DANGLING_REFERENCE", "SPEC 7.9: the index does not fit the tensor data units",
                                         unit.number, rules="R7.9.1-1"))

    def _model_end(self, unit: Unit, model: ParsedModel) -> None:
        _, x = self._structure(unit, syntax.model_end, ModelEnd())
        model.end, model.end_unit = x, unit
        if x.tensor_data_count != len(model.tensor_units):
            self.violated(
                SemanticsError("MISSING_UNIT", "SPEC 7.10: tensor data units were removed or added", unit.number,
                               rules="R7.10-1"))
        missing = len(model.state.tensors) - len(model.unit_of)
        if missing:
            self.violated(SemanticsError("MISSING_UNIT", f"SPEC 7.10: {missing} tensors have no data", unit.number,
                                         rules="R7.10-2"))
        self._check_seal(unit, model, x)

    def _check_seal(self, unit: Unit, model: ParsedModel, x: ModelEnd) -> None:
        if x.model_seal != stated(model.seal(x.model_digest)):
            self.violated(SemanticsError("DIGEST_MISMATCH", "SPEC 8.8: name, source file, layers or metadata are not "
                                         "those that model_seal was made of", unit.number, rules="R8.8-5"))

    def _stream_end(self, unit: Unit) -> None:
        _, x = self._structure(unit, syntax.stream_end, StreamEnd())
        if x.model_count != len(self.stream.models) or x.unit_count != len(self.stream.units):
            self.violated(
                SemanticsError("MISSING_UNIT", "SPEC 7.11: models or units were removed or added", unit.number,
                               rules="R7.11-1"))
        offsets = [u.offset for u in self.stream.units if u.type == UnitType.INDEX]
        if x.index_offset != (offsets[-1] if offsets else 0) or unit.end - unit.offset != STREAM_END_SIZE:
            self.violated(SemanticsError("DANGLING_REFERENCE", "SPEC 7.11: index_offset is not the last index unit",
                                         unit.number, rules="R7.11-2"))


class LazyParser(Parser):
    """Reads no payloads, so checks of tensor data units are not verified (check_unit does it); for access to some
    tensors, whose digests are."""

    lazy = True


def index_of(model: ParsedModel) -> Index:
    """The index() that fits the tensor data units of a model (SPEC 7.9)."""
    entries, end = [], model.unit.offset
    for t in model.tensor_units:
        numbers = [d.tensor_index for d in t.descriptors]
        deltas = [b - a - 1 for a, b in zip([-1] + numbers, numbers)]
        entries.append(IndexEntry(t.unit.offset - end, t.unit.end - t.unit.offset, len(numbers) - 1, deltas))
        end = t.unit.end
    return Index(len(entries), entries)


def table_of(model: Model) -> list[TensorEntry]:
    """The tensor table of a model at hand."""
    return [TensorEntry(t.name, t.dtype.code, len(t.shape), list(t.shape)) for t in model.tensors]


def check_topology(topology: Topology, state: ModelState, unit: Unit) -> None:
    """Every slot names a tensor of the model (SPEC 7.5)."""
    number = -1
    for f in topology.file:
        for s in f.segment:
            if s.slot_flag:
                number += 1 + s.slot_tensor_delta
                if not 0 <= number < len(state.tensors):
                    raise SemanticsError("DANGLING_REFERENCE", f"SPEC 7.5: a slot for tensor {number}", unit.number,
                                         rules="R7.5.2-1")


def parse(stream: ByteSource | Bytes | str | os.PathLike[str], references: Sequence[Model] = (),
          allow_prefix: bool = False) -> ParsedStream:
    """Parse a stream (bytes or path) with the external models at hand."""
    digests: dict[bytes, Model] = {}

    def find(digest: bytes) -> Model | None:
        if not digests:
            digests.update({m.digest(): m for m in references})
        return digests.get(digest)

    return Parser(stream if isinstance(stream, ByteSource) else ByteSource(stream), find, allow_prefix).parse()
