"""Recorded edits of a valid stream: single faults, after which every size, count and check is sealed again.

A stream is taken apart into units and syntax elements, an edit changes one of them, and the elements are written again
by their descriptors. The stream end unit is made anew before the edits that concern it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from refcodec.bitstream.limits import LEVELS
from refcodec.bitstream.parser import DESCRIBING, Parser
from refcodec.bitstream.structures import UnitCoding, UnitType
from refcodec.bitstream.units import MAGIC, ByteSource, leb, seal
from refcodec.bitstream.visitor import TraceElement, Tracer, Writer
from refcodec.digests import body_digest, seal_of, stated
from refcodec.model import Model

Value = int | str | bytes


class Recorder(Tracer):
    """A Tracer that lists alignments, too."""

    def byte_alignment(self) -> None:
        start = self.pos
        super().byte_alignment()
        self._record("byte_alignment", "byte_alignment", 0, start)


class FreeWriter(Writer):
    """A Writer that writes any value."""

    def check(self, name, value, low, high):
        return value

    def limit(self, name, value, maximum):
        return value


@dataclass
class EditedUnit:
    """A unit in pieces. coded: a coded body, in place of the elements; head, check: bytes in place of the right
    ones."""

    type: int
    coding: int = 0
    elements: list[TraceElement] = field(default_factory=list)
    coded: bytes | None = None
    expanded_size: int | None = None
    tail: bytes = b""
    head: bytes | None = None
    check: bytes | None = None

    def body(self) -> bytes:
        writer = FreeWriter(LEVELS[4])
        for e in self.elements:
            _write(writer, e)
        return writer.body() + self.tail

    def bytes(self) -> bytes:
        body = self.body() if self.coded is None else self.coded
        head = bytes([self.type << 2 | self.coding]) + leb(len(body))
        if self.coding:
            head += leb(self.expanded_size)
        sealed = seal(self.head if self.head is not None else head, body)
        return sealed if self.check is None else sealed[:-4] + self.check

    def find(self, name: str, nth: int = 0) -> TraceElement:
        return [e for e in self.elements if e.name == name][nth]


def _write(writer: FreeWriter, e: TraceElement) -> None:
    if isinstance(e.value, str) and e.descriptor == "bits":
        for bit in e.value:
            writer.u(e.name, int(bit), 1)
    elif e.descriptor.startswith("u("):
        writer.u(e.name, e.value, int(e.descriptor[2:-1]))
    elif e.descriptor == "ue(v)":
        writer.ue(e.name, e.value)
    elif e.descriptor == "se(v)":
        writer.se(e.name, e.value)
    elif e.descriptor == "b(v)":
        writer.b(e.name, bytes(e.value), len(e.value))
    elif e.descriptor == "str(v)":
        data = e.value if isinstance(e.value, bytes) else e.value.encode()
        writer.ue(e.name, len(data))
        writer.byte_alignment()
        writer.b(e.name, data, len(data))
    else:
        writer.byte_alignment()


class EditedStream:
    """A valid stream in pieces. units: in order, the last is STREAM_END."""

    def __init__(self, data: bytes, references: Sequence[Model] = ()):
        readers, digests = {}, {m.digest(): m for m in references}
        parser = Parser(ByteSource(data), digests.get, make_reader=Recorder,
                        on_reader=lambda r: readers.update({r.unit: r}))
        self.units, self.end_edits = [], []
        for u in parser.parse().units:
            unit = EditedUnit(u.type, int(u.coding), expanded_size=u.expanded_size)
            if u.number in readers:
                unit.elements = readers[u.number].elements
            if u.number not in readers or u.coding:
                unit.coded, unit.check = data[u.body_offset : u.end - 4], data[u.end - 4 : u.end]
            self.units.append(unit)
        self.resealed: set[int] | None = None        # numbers of the models whose seals are made anew; None: all
        self.cut_at: int | None = None
        self.appended, self.magic = b"", MAGIC

    def of(self, kind: UnitType, nth: int = 0) -> EditedUnit:
        return [u for u in self.units if u.type == kind][nth]

    def number(self, kind: UnitType, nth: int = 0) -> int:
        return self.units.index(self.of(kind, nth))

    def bytes(self) -> bytes:
        self._seal_models()
        self._seal_end()
        for edit in self.end_edits:
            edit(self.units[-1])
        data = self.magic + b"".join(u.bytes() for u in self.units)
        return (data if self.cut_at is None else data[: self.cut_at]) + self.appended

    def _seal_models(self) -> None:
        """model_seal of each model, whatever describes it now."""
        models: list[tuple[str, dict[UnitType, bytes]]] = []
        for unit in self.units:
            if unit.type == UnitType.MODEL_HEADER and unit.elements:
                models.append((unit.find("model_name").value, self._inherited(unit, models)))
            elif unit.type in DESCRIBING and models:
                models[-1][1][UnitType(unit.type)] = body_digest(unit.body())
            elif unit.type == UnitType.MODEL_END and models:
                name, bodies = models[-1]
                if isinstance(name, str) and (self.resealed is None or len(models) - 1 in self.resealed):
                    digest = bytes(unit.find("model_digest").value)
                    unit.find("model_seal").value = stated(seal_of(digest, name, [bodies.get(k) for k in DESCRIBING]))

    @staticmethod
    def _inherited(header: EditedUnit, models: list[tuple[str, dict[UnitType, bytes]]]) -> dict[UnitType, bytes]:
        distances = [e.value for e in header.elements if e.name == "model_distance"]
        if not header.find("inherit_flag").value or not distances or distances[0] > len(models):
            return {}
        return {kind: digest for kind, digest in models[-distances[0]][1].items() if kind != UnitType.METADATA}

    def _seal_end(self) -> None:
        end = self.units[-1]
        if end.type != UnitType.STREAM_END:
            return
        offset, index_offset = len(self.magic), 0
        for unit in self.units[:-1]:
            index_offset = offset if unit.type == UnitType.INDEX else index_offset
            offset += len(unit.bytes())
        end.find("model_count").value = sum(u.type == UnitType.MODEL_HEADER for u in self.units)
        end.find("unit_count").value = len(self.units)
        end.find("index_offset").value = index_offset


Edit = Callable[[EditedStream], None]


# Edits of elements

def put(kind: UnitType, name: str, value: Value, nth: int = 0, unit: int = 0) -> Edit:
    """Give the nth element of a name another value, in the unit-th unit of a type."""
    def edit(s: EditedStream) -> None:
        def change(u: EditedUnit) -> None:
            u.find(name, nth).value = value
        s.end_edits.append(change) if kind == UnitType.STREAM_END else change(s.of(kind, unit))
    return edit


def change(kind: UnitType, name: str, function: Callable[[Value], Value], nth: int = 0, unit: int = 0) -> Edit:
    """Replace the value of an element by a function of it."""
    def edit(s: EditedStream) -> None:
        e = s.of(kind, unit).find(name, nth)
        e.value = function(e.value)
    return edit


def pattern(kind: UnitType, name: str, bits: str, nth: int = 0, unit: int = 0) -> Edit:
    """Put any bits in the place of an element."""
    def edit(s: EditedStream) -> None:
        e = s.of(kind, unit).find(name, nth)
        e.descriptor, e.value = "bits", bits
    return edit


def payload(function: Callable[[bytes], bytes], nth: int = 0, unit: int = 0, name: str = "coded") -> Edit:
    """Change a payload, and its size with it."""
    def edit(s: EditedStream) -> None:
        u = s.of(UnitType.TENSOR_DATA, unit)
        e = u.find(name, nth)
        e.value = function(bytes(e.value))
        u.find(name + "_size", nth).value = len(e.value)
    return edit


def insert(kind: UnitType, before: str, name: str, value: bytes, unit: int = 0) -> Edit:
    """Put a byte string of a name before the first element of another name."""
    def edit(s: EditedStream) -> None:
        u = s.of(kind, unit)
        at = u.elements.index(u.find(before))
        u.elements.insert(at, TraceElement(None, "", "", name, "b(v)", value, 0, 8 * len(value)))
    return edit


def all_of(*edits: Edit) -> Edit:
    """One fault that takes several changes."""
    def edit(s: EditedStream) -> None:
        for e in edits:
            e(s)
    return edit


# Edits of units and of the stream

def on_unit(kind: UnitType, function: Callable[[EditedUnit], None], unit: int = 0) -> Edit:
    """Change a unit as a whole."""
    return lambda s: function(s.of(kind, unit))


def set_unit(kind: UnitType, unit: int = 0, **fields) -> Edit:
    """Give fields of EditedUnit other values."""
    def function(u: EditedUnit) -> None:
        for name, value in fields.items():
            setattr(u, name, value)
    return on_unit(kind, function, unit)


def plain_as(kind: UnitType, coding: UnitCoding, coded: bytes, expanded_size: int, unit: int = 0) -> Edit:
    """Put a coded body in the place of a plain one."""
    return set_unit(kind, unit, coding=int(coding), coded=coded, expanded_size=expanded_size)


def drop(kind: UnitType, unit: int = 0) -> Edit:
    return lambda s: s.units.pop(s.number(kind, unit))


def repeat(kind: UnitType, unit: int = 0) -> Edit:
    return lambda s: s.units.insert(s.number(kind, unit), s.of(kind, unit))


def move(kind: UnitType, to: int, unit: int = 0) -> Edit:
    """Move a unit to another place, counted without it."""
    def edit(s: EditedStream) -> None:
        u = s.units.pop(s.number(kind, unit))
        s.units.insert(to, u)
    return edit


def stream_field(name: str, value) -> Edit:
    """cut_at, appended or magic."""
    return lambda s: setattr(s, name, value)


def cut_after(kind: UnitType, extra: int = 0, unit: int = 0) -> Edit:
    """End the stream after a unit, or `extra` bytes later (earlier if negative)."""
    def edit(s: EditedStream) -> None:
        number = s.number(kind, unit)
        s.cut_at = len(s.magic) + sum(len(u.bytes()) for u in s.units[: number + 1]) + extra
    return edit
