"""Watches the syntax elements of a stream: values, ends of ranges, limits, units, combinations."""

from __future__ import annotations

from collections.abc import Callable

from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import (
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    UnitCoding,
    UnitType,
)
from refcodec.bitstream.visitor import Reader, Tracer
from refcodec.dtypes import BY_CODE

from .points import DERIVED_LIMITS


class SyntaxWatch:
    """Lets the decoder parse by a watched reader. add: called with each point."""

    def __init__(self, add: Callable[[str], None]):
        self.add, self.parser = add, None
        watch = self

        class WatchedReader(Tracer):
            """A Tracer that tells values, ranges and limits as they are checked, so that wrong ones are told, too."""

            def u(self, name, value, n, *limits):
                value = super().u(name, value, n, *limits)
                if name == "element_type":             # no enumeration: its values are those of the table of types
                    known = BY_CODE.get(value)
                    watch.add(f"value:6.4.2:element_type:{known.name if known else 'reserved'}")
                return value

            def check(self, name, value, low, high, *rules):
                watch.checked(self.clauses[-1][0], name, value, low, high)
                return Reader.check(self, name, value, low, high, *rules)

            def limit(self, name, value, maximum, *rules):
                watch.limited(self.clauses[-1][0], name, value, maximum)
                return Reader.limit(self, name, value, maximum, *rules)

        class WatchedParser(Parser):
            """The parser that the decoder makes, kept to be looked at."""

            def __init__(self, *arguments):
                super().__init__(*arguments, make_reader=WatchedReader, on_reader=watch.elements)
                watch.parser = self

        self.make_parser = WatchedParser

    def begin(self) -> None:
        self.parser = None

    def checked(self, clause: str, name: str, value: int, low: int, high: int | type) -> None:
        """A value that is compared with its range."""
        if isinstance(high, type):
            known = high._value2member_map_.get(value)
            return self.add(f"value:{clause}:{name}:{known.name if known is not None else 'reserved'}")
        for end, holds in (("below", value < low), ("min", value == low), ("min+1", value == low + 1),
                           ("max-1", value == high - 1), ("max", value == high), ("above", value > high)):
            if holds:
                self.add(f"range:{clause}:{name}:{end}")
        self.add(f"value:{clause}:{name}:{value}")

    def limited(self, clause: str, name: str, value: int, maximum: int) -> None:
        """A value that is compared with a limit of the level."""
        own = DERIVED_LIMITS.get("string length" if name.endswith(" length") else name)
        clause, name = own or (clause, name)
        if value >= maximum:
            self.add(f"limit:{clause}:{name}:{'max' if value == maximum else 'above'}")

    def elements(self, reader: Tracer) -> None:
        """The elements of a unit that were parsed."""
        for e in reader.elements:
            if not isinstance(e.value, int):
                continue
            self.add(f"value:{e.clause}:{e.name}:{e.value}")
            sign = "negative" if e.value < 0 else "positive" if e.value else "zero"
            self.add(f"range:{e.clause}:{e.name}:{sign}")
            if e.descriptor.startswith("u("):
                bits = int(e.descriptor[2:-1])
                if e.value in (0, (1 << bits) - 1):
                    self.add(f"range:{e.clause}:{e.name}:{'max' if e.value else 'min'}")

    def finish(self) -> None:
        """Units, limits of the whole stream and combinations, of what was parsed."""
        if self.parser is None:
            return
        stream, before = self.parser.stream, None
        for u in stream.units:
            known = u.type in UnitType._value2member_map_
            self.add(f"unit:7.2:{UnitType(u.type).name if known else 'extension'} {UnitCoding(u.coding).name}")
            if known:
                if before is not None:
                    self.add(f"unit:7.1:{UnitType(before).name} {UnitType(u.type).name}")
                before = u.type
            if known and u.type != UnitType.TENSOR_DATA and max(u.size, u.expanded_size) == stream.level.unit_bytes:
                self.add("limit:7.2:unit_bytes:max")
        for name, count, most in (("7.2:units", stream.units, stream.level.units), ("7.4:models", stream.models,
                                                                                    stream.level.models)):
            if len(count) == most:
                self.add(f"limit:{name}:max")
        for unit in (u for m in stream.models for u in m.tensor_units):
            joined = len(unit.descriptors) > 1
            self.add(f"unit:7.1:{'joined' if joined else 'single'}")
            if not unit.places:
                self.add("unit:7.1:no payload")
            for d in unit.descriptors:
                for c in d.component:
                    modes = f"{Quantiser(c.quantiser).name} {EntropyMode(c.entropy_mode).name}"
                    tools = f"{PredictionMode(d.prediction_mode).name} {Representation(d.representation).name}"
                    self.add(f"combination:7.7.3:{'joined' if joined else tools} {modes}")
