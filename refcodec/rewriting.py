"""A parsed stream written again, unit by unit, with some of its units changed (informative)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from .bitstream import syntax
from .bitstream.context import ModelState
from .bitstream.parser import ParsedModel, ParsedStream, TensorUnit, index_of
from .bitstream.structures import (
    ModelHeader,
    Payload,
    StreamEnd,
    TensorData,
    TensorDescriptor,
    UnitCoding,
    UnitType,
)
from .bitstream.units import EXTENSION_TYPES, MAGIC, Unit, seal_unit, unit_at
from .encoder.stream_writer import body_of


class Rewriter:
    """Writes the units of a stream to a sink, in order: by a method that is named after the type, else byte for byte.

    parsed: of the stream that is read; its units have been checked.  models: the models as they stand in what is
    written.  profile: that it declares.  A subclass has a method for each type that it changes.
    """

    def __init__(self, sink: BinaryIO, parsed: ParsedStream):
        self.sink, self.parsed = sink, parsed
        self.source, self.level = parsed.source, parsed.level
        self.models: list[ParsedModel] = []
        self.profile, self.offset, self.index_offset = parsed.header.profile, 0, 0

    def run(self) -> None:
        """Write the whole stream."""
        self.put(MAGIC)
        for unit in self.parsed.units:
            name = "extension" if unit.type in EXTENSION_TYPES else UnitType(unit.type).name.lower()
            getattr(self, name, self.copy)(unit)

    def put(self, data: bytes) -> None:
        self.sink.write(data)
        self.offset += len(data)

    def copy(self, unit: Unit) -> Unit:
        """Write a unit as it was; returns where it stands."""
        data = self.source.read(unit.offset, unit.end - unit.offset)
        written = unit_at(data, self.offset, unit.number)
        self.put(data)
        return written

    def unit(self, old: Unit, function: Callable[[Any, Any], None], x: Any, state: ModelState | None = None) -> Unit:
        """Write a structure in the place of a unit, coded if that was; returns where it stands."""
        body = body_of(function, x, self.level, state)
        data = seal_unit(old.type, body, old.coding != UnitCoding.PLAIN)
        written = unit_at(data, self.offset, old.number)
        self.put(data)
        return written

    # What has to be known of units, or follows the offsets of others

    def model_header(self, unit: Unit) -> None:
        old = self.parsed.models[len(self.models)]
        x = self.header(old.header)
        state = ModelState(self.profile, len(self.models), x, old.state.tensors, dict(old.state.folds))
        state.references = [before if r.external_flag else self.models[-r.model_distance].state
                            for r, before in zip(x.reference, old.state.references)]
        written = self.copy(unit) if x is old.header else self.unit(unit, syntax.model_header, x, state)
        self.models.append(ParsedModel(state, written, old.topology, old.layers, bodies=old.bodies))

    def header(self, x: ModelHeader) -> ModelHeader:
        """What a model header becomes; itself where it stays."""
        return x

    def old_tensors(self) -> TensorUnit:
        """The tensor data unit of the old stream that is to be written next."""
        return self.parsed.models[len(self.models) - 1].tensor_units[len(self.models[-1].tensor_units)]

    def payloads(self, old: TensorUnit) -> list[Payload]:
        """The payloads of a tensor data unit, as they stand."""
        return [Payload(coded, bypass, self.source.read(at, coded), self.source.read(at + coded, bypass))
                for at, coded, bypass in old.places]

    def tensor_data(self, unit: Unit) -> None:
        old = self.old_tensors()
        self.tensors(unit, old.descriptors, self.payloads(old), old.unit_digest)

    def tensors(self, unit: Unit, descriptors: list[TensorDescriptor], payloads: list[Payload], unit_digest: int
                ) -> None:
        """Write a tensor data unit in the place of another. unit_digest: where it is joined."""
        model = self.models[-1]
        x = TensorData(len(descriptors) - 1, descriptors, len(payloads), payloads, unit_digest)
        written = self.unit(unit, syntax.tensor_data, x, model.state)
        model.tensor_units.append(TensorUnit(written, descriptors, []))

    def index(self, unit: Unit) -> None:
        self.index_offset = self.offset
        self.unit(unit, syntax.index, index_of(self.models[-1]))

    def stream_end(self, unit: Unit) -> None:
        self.unit(unit, syntax.stream_end, StreamEnd(len(self.models), len(self.parsed.units), self.index_offset))
