"""Every syntax element of a stream, in its order (informative)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..bitstream.parser import Parser
from ..bitstream.units import MAGIC, ByteSource, LazyBytes, Unit, leb
from ..bitstream.visitor import Reader, Tracer
from ..budget import Budget
from ..errors import ConfigError, OmcError
from .bins import bins_of
from .describe import unit_name
from .selection import units_of


def trace_stream(path: str, references: Sequence[str] = (), bins: bool = False, *, tensors: Sequence[str] = (),
                 units: Sequence[int] = (), budget: Budget | None = None) -> Iterator[dict[str, Any]]:
    """Every syntax element in stream order: unit, clause, structure, name, descriptor, value, bit, bits.

    bit counts from the start of the unit's (expanded) body, so that it is negative in the unit's head.
    references: paths of the external models.  bins: every arithmetic-coded bin follows, in decoding order.
    tensors, units: names and numbers; then only the units with them are traced.  budget: None: the usual one.  Raises,
    after what stands before the damage, the OmcError of the stream, and ConfigError BAD_CONFIG where there is no such
    tensor or unit.
    """
    budget = budget or Budget()
    with ByteSource(path) as source:
        budget.give(source.size)
        wanted = _wanted(source, tensors, units, budget) if tensors or units else None
        if wanted is None and source.read(0, 4) == MAGIC:
            yield dict(unit=-1, clause="6.1", structure="stream", name="omc_magic", descriptor="b(4)",
                       value=MAGIC.hex(), bit=0, bits=32)
        yield from _elements(source, wanted, budget)
    if bins:
        yield from bins_of(path, references, wanted, budget)


def _wanted(source: ByteSource, tensors: Sequence[str], units: Sequence[int], budget: Budget) -> set[int]:
    """Numbers of the units that are asked for. Of a damaged stream those before the damage are known."""
    parser, damage = Parser(source, allow_prefix=True), None
    parser.budget = budget
    try:
        parser.parse()
    except OmcError as error:
        damage = error
    try:
        return units_of(parser.stream, tensors, units)
    except ConfigError as unknown:
        raise damage or unknown from None
    finally:
        budget.release(parser.stream.held)


def _elements(source: ByteSource, wanted: set[int] | None, budget: Budget) -> Iterator[dict[str, Any]]:
    """Unit by unit, so that the elements of one are there at a time."""
    last: list[Tracer] = []

    def collect(reader: Reader) -> None:
        assert isinstance(reader, Tracer)
        last[:] = [reader]

    def of_unit(unit: Unit) -> Iterator[dict[str, Any]]:
        reader = last.pop() if last else None
        if wanted is None or unit.number in wanted:
            yield from _head_of(unit)
            for e in reader.elements if reader else ():
                yield {**vars(e), "value": _plain(e.value)}
            check = int.from_bytes(source.read(unit.end - 4, 4), "big")
            yield dict(unit=unit.number, clause="6.2", structure="unit", name="unit_check", descriptor="u(32)",
                       value=check, bit=8 * unit.expanded_size, bits=32)
        if reader:
            budget.release(reader.listed)
            parser.stream.held -= reader.listed

    parser = Parser(source, allow_prefix=True, make_reader=_Lister, on_reader=collect)
    parser.budget, done = budget, 0
    try:
        for unit in parser.walk():
            done += 1
            yield from of_unit(unit)
    except OmcError:
        if done < len(parser.stream.units):
            yield from of_unit(parser.stream.units[-1])
        raise
    finally:
        budget.release(parser.stream.held)


class _Lister(Tracer):
    whole = False


def _head_of(unit: Unit) -> Iterator[dict[str, Any]]:
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


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview, LazyBytes)):
        return bytes(value[:32]).hex() + ("..." if len(value) > 32 else "")
    return value
