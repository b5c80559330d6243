"""A few lines of a stream's trace, around the place that a verdict is about."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ..bitstream.parser import ParsedModel, Parser
from ..bitstream.units import ByteSource
from ..bitstream.visitor import TraceElement, Tracer
from ..errors import OmcError
from .dump import read_dump
from .manifest import Rejected, Stream

BEFORE, LINES = 14, 24


@lru_cache(256)
def _traced(stream: Stream) -> tuple[list[TraceElement], list[ParsedModel]]:
    """(elements, models) of a stream, as far as it can be parsed."""
    readers: list[Tracer] = []

    def reader(*args: Any, **options: Any) -> Tracer:
        readers.append(Tracer(*args, **options))
        return readers[-1]

    models = {m.digest(): m for m in map(read_dump, stream.references)}
    parser = Parser(ByteSource(stream.file.read_bytes()), models.get, make_reader=reader)
    try:
        parser.parse()
    except OmcError:
        pass                                            # what stands before the fault is what is wanted
    return [e for r in readers for e in r.elements], parser.stream.models


def excerpt(stream: Stream, detail: str) -> tuple[str, list[TraceElement]]:
    """(what it shows, elements) for a verdict's detail, which names the tensor that differs."""
    elements, models = _traced(stream)
    if isinstance(stream.expected, Rejected):
        unit = stream.expected.unit
        upto = [i for i, e in enumerate(elements) if unit is None or e.unit is None or e.unit <= unit]
        last = upto[-1] + 1 if upto else 0
        bit = "" if stream.expected.bit is None else f", bit {stream.expected.bit}"
        where = "" if unit is None else f" in unit {unit}{bit}"
        return f"the last elements before the fault{where}", elements[max(0, last - BEFORE) : last]
    if found := re.match(r"(?:model (\d+): )?tensor (\d+)", detail):
        model = models[int(found[1])] if found[1] else models[-1]
        unit = model.tensor_units[model.unit_of[int(found[2])]].unit.number if int(found[2]) in model.unit_of else None
        of_unit = [e for e in elements if e.unit == unit]
        if of_unit:
            return f"how tensor {found[2]} is coded: the first elements of unit {unit}", of_unit[:LINES]
    return "the first elements of the stream", elements[:LINES]
