"""Every syntax element of a stream, in its order (informative)."""

from __future__ import annotations

from collections.abc import Iterator

from ..bitstream.parser import Parser
from ..bitstream.units import MAGIC, ByteSource, Unit, leb
from ..bitstream.visitor import Tracer
from .bins import bins_of
from .describe import unit_name


def trace_stream(path: str, references: list[str] = (), bins: bool = False) -> Iterator[dict]:
    """Every syntax element in stream order: unit, clause, structure, name, descriptor, value, bit, bits.

    bit counts from the start of the unit's (expanded) body, so that it is negative in the unit's head.
    references: paths of the external models.  bins: every arithmetic-coded bin follows, in decoding order.
    """
    found: dict[int, list[dict]] = {}

    def collect(reader: Tracer) -> None:
        found[reader.unit] = [{**vars(e), "value": _plain(e.value)} for e in reader.elements]

    with ByteSource(path) as source:
        parser = Parser(source, allow_prefix=True, make_reader=Tracer, on_reader=collect)
        try:
            parser.parse()
        finally:
            if source.read(0, 4) == MAGIC:
                yield dict(unit=-1, clause="6.1", structure="stream", name="omc_magic", descriptor="b(4)",
                           value=MAGIC.hex(), bit=0, bits=32)
            for unit in parser.stream.units:
                yield from _head_of(unit)
                yield from found.get(unit.number, ())
                check = int.from_bytes(source.read(unit.end - 4, 4), "big")
                yield dict(unit=unit.number, clause="6.2", structure="unit", name="unit_check", descriptor="u(32)",
                           value=check, bit=8 * unit.expanded_size, bits=32)
    if bins:
        yield from bins_of(path, list(references))


def _head_of(unit: Unit) -> Iterator[dict]:
    size = 8 * len(leb(unit.size))
    head = [("unit_type", "u(6)", f"{unit.type} ({unit_name(unit.type)})", 6),
            ("unit_coding", "u(2)", f"{unit.coding.value} ({unit.coding.name.lower()})", 2),
            ("coded_size", "leb(v)", unit.size, size)]
    bit = 8 * (unit.offset - unit.body_offset)
    if unit.coding:
        head.append(("expanded_size", "leb(v)", unit.expanded_size, -bit - 8 - size))
    for name, descriptor, value, bits in head:
        yield dict(unit=unit.number, clause="6.2", structure="unit", name=name, descriptor=descriptor, value=value,
                   bit=bit, bits=bits)
        bit += bits


def _plain(value):
    if isinstance(value, (bytes, memoryview)):
        return bytes(value[:32]).hex() + ("..." if len(value) > 32 else "")
    return value
