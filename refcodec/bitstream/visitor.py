"""Descriptors of SPEC 4.4 as methods: a syntax function is run by a Reader, a Tracer or a Writer alike.

Every method takes the element's name, its present value and its range, and returns the value that
stands in the stream.  A Reader ignores the value that it is given; a Writer writes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar, cast

from ..budget import Budget
from ..errors import OmcError, SemanticsError, StreamSyntaxError
from .context import ModelState, ParsingContext
from .cost import StreamCost
from .limits import Level
from .structures import Bytes, TensorDescriptor
from .units import LazyBytes

UE_MAX_PREFIX = 63       # leading zeros of the longest ue(v)
UE_MAX = 1 << 63

# What reading an item of a list costs: bytes, and units of work (budget.py).
STRUCTURE_BYTES, STRUCTURE_WORK = 800, 8000
INTEGER_BYTES, INTEGER_WORK = 40, 4000
TRACED_BYTES = 500                     # more, of each element that is listed

Item = TypeVar("Item")


class Visitor(ABC):
    """What Reader and Writer share: range checks, what was derived, and where in the text the run stands.

    level: whose limits hold.  unit: number of the unit, for errors.  model: the model that the unit belongs to.
    """

    reading = False

    def __init__(self, level: Level, unit: int | None = None, model: ModelState | None = None):
        self.level, self.unit = level, unit
        self.context = ParsingContext(ModelState() if model is None else model)
        self.clauses: list[tuple[str, str]] = []      # (clause, structure) from the outermost inwards
        self.cost = StreamCost()                      # of the unit; of a parser's stream up to here

    @property
    @abstractmethod
    def bit(self) -> int:
        """Bits of the body before the element that comes next."""

    # Descriptors of SPEC 4.4

    @abstractmethod
    def u(self, name: str, value: int, n: int, low: int = 0, high: int | type[IntEnum] | None = None) -> int:
        """u(n): n bits, an unsigned integer. high: None for all that n bits can say."""

    @abstractmethod
    def ue(self, name: str, value: int, low: int = 0, high: int | type[IntEnum] = UE_MAX) -> int:
        """ue(v): exponential Golomb code of order 0."""

    @abstractmethod
    def se(self, name: str, value: int, low: int = -(2**62), high: int = 2**62) -> int:
        """se(v): ue(v) of 0, 1, -1, 2, -2, ..."""

    @abstractmethod
    def b(self, name: str, value: Bytes, n: int) -> Bytes:
        """b(n): n bytes."""

    @abstractmethod
    def string(self, name: str, value: str) -> str:
        """str(v): the length in bytes as ue(v), alignment, UTF-8."""

    @abstractmethod
    def byte_alignment(self) -> None:
        """byte_alignment(): zero bits up to a byte border."""

    # Rules

    def fail(self, kind: type[OmcError], code: str, message: str, rules: str) -> OmcError:
        """An error of this unit and bit (to be raised by the caller). rules: see OmcError."""
        structure = f"{self.clauses[-1][1]}( ), SPEC {self.clauses[-1][0]}: " if self.clauses else ""
        return kind(code, structure + message, self.unit, self.bit, rules)

    def violated(self, error: OmcError) -> None:
        """What becomes of a broken rule after which parsing can go on: it ends here, but not for a validator."""
        raise error

    def check(self, name: str, value: int, low: int, high: int | type[IntEnum], rules: str = "R4.4-7") -> int:
        """The value, if it is in low..high, or a member of an enumeration (else RESERVED_VALUE, which ends parsing)."""
        if isinstance(high, type):
            if value not in high._value2member_map_:
                raise self.fail(SemanticsError, "RESERVED_VALUE", f"{name} {value} is reserved", rules)
        elif not low <= value <= high:
            self.violated(
                self.fail(SemanticsError, "OUT_OF_RANGE", f"{name} is {value}, allowed are {low}..{high}", rules))
        return value

    def limit(self, name: str, value: int, maximum: int, rules: str = "R4.3-1") -> int:
        """The level's limit on a value just coded; checked before anything is allocated for it."""
        if value > maximum:
            self.violated(self.fail(SemanticsError, "RESOURCE_LIMIT",
                                    f"{name} is {value}, level {self.level.number} allows {maximum}", rules))
        return value

    @abstractmethod
    def resize(self, items: list[Item], count: int, make: Callable[[], Item]) -> None:
        """Reader: give a list `count` fresh items, of at least one bit each. Writer: nothing, it has them."""

    def check_cost(self) -> None:
        """The level's limits on work and memory of the stream so far."""
        self.limit("excess work", self.cost.work(), self.level.work, "R7.2-10")
        self.limit("bytes of memory", self.cost.memory(), self.level.memory, "R7.2-11")

    def count_tensors(self, descriptors: list[TensorDescriptor]) -> None:
        """Work and memory of the tensors of a unit, of which all is known but payloads."""
        self.cost.add_tensors(descriptors)
        self.check_cost()


class Reader(Visitor):
    """Parses the (expanded) body of one unit. Raises TRUNCATED past its end.

    budget: what the structures may take; they are held by it.  held: bytes, so far.
    """

    reading = True
    budget: Budget | None = None
    HELD_BYTES = 64                        # of the body that wait as one integer: the bits before a field are shifted
    WINDOW = 1 << 16                       # bytes of the body that are read ahead, at most; the first time FIRST
    FIRST = 1 << 9

    def __init__(self, body: Bytes | LazyBytes, level: Level, unit: int | None = None, model: ModelState | None = None):
        super().__init__(level, unit, model)
        self.body = body if isinstance(body, LazyBytes) else memoryview(body)
        self.size = 8 * len(body)
        self.held = 0
        self._rest, self._count = 0, 0                     # bits that follow the cursor, as an integer; their number
        self._end = 0                                      # where in the body they end
        self._window, self._first, self._ahead = b"", 0, self.FIRST       # bytes read ahead, where they begin

    @property
    def pos(self) -> int:
        """The cursor: bits of the body before it."""
        return self._end - self._count

    @property
    def bit(self) -> int:
        return self.pos

    def resize(self, items: list[Item], count: int, make: Callable[[], Item]) -> None:
        self.cost.items += count
        self.check_cost()
        if count > self.size - self.pos:           # before anything is allocated for them
            raise self.fail(StreamSyntaxError, "TRUNCATED", f"{count} items in the last "
                            f"{self.size - self.pos} bits of a unit", "R4.4-1")
        whole = make is int
        self.spend(count * (INTEGER_BYTES if whole else STRUCTURE_BYTES),
                   count * (INTEGER_WORK if whole else STRUCTURE_WORK))
        items[:] = [make() for _ in range(count)]

    def spend(self, memory: int, work: int) -> None:
        """Asks the budget for what is about to be read. Raises SemanticsError RESOURCE_LIMIT."""
        if self.budget is not None:
            what = f"reading unit {self.unit}"
            self.budget.spend_work(work, what, SemanticsError)
            self.budget.hold(memory, what, SemanticsError)
            self.held += memory

    def _need(self, name: str, count: int) -> None:
        if self.pos + count > self.size:
            raise self.fail(StreamSyntaxError, "TRUNCATED", f"the unit ends inside {name}", "R4.4-1")

    def _hold(self, n: int) -> None:
        # At least n bits from the cursor on, which are there, become the integer.
        pos = self.pos
        first, before = divmod(pos, 8)
        count = max(self.HELD_BYTES, (before + n + 7) // 8)
        data = self._bytes(first, count)
        self._end = 8 * (first + len(data))
        self._count = self._end - pos
        self._rest = int.from_bytes(data, "big") & ((1 << self._count) - 1)

    def _bytes(self, first: int, count: int) -> bytes:
        # `count` bytes of the body, or as many as there are.
        start = first - self._first
        if start < 0 or start + count > len(self._window):
            self._window, self._first = bytes(self.body[first : first + max(count, self._ahead)]), first
            self._ahead, start = min(8 * self._ahead, self.WINDOW), 0
        return self._window[start : start + count]

    def _read(self, name: str, n: int) -> int:
        if n > self._count:
            self._need(name, n)
            self._hold(n)
        self._count -= n
        value = self._rest >> self._count
        self._rest ^= value << self._count
        return value

    def u(self, name: str, value: int, n: int, low: int = 0, high: int | type[IntEnum] | None = None) -> int:
        value = self._read(name, n)
        return self.check(name, value, low, high) if high is not None else value

    def ue(self, name: str, value: int, low: int = 0, high: int | type[IntEnum] = UE_MAX) -> int:
        zeros = self._count - self._rest.bit_length()
        if zeros > UE_MAX_PREFIX or not self._rest:        # too many, or the bit that ends them is not held
            zeros = self._prefix(name)
        value = self._read(name, 2 * zeros + 1) - 1                        # to which zeros add nothing
        if value > UE_MAX:
            self.check(name, value, 0, UE_MAX, "R4.4-3")
        return self.check(name, value, low, high)

    def _prefix(self, name: str) -> int:
        # The leading zeros of a ue(v).
        most = min(self.size - self.pos, UE_MAX_PREFIX + 1)
        self._hold(most)
        zeros = self._count - self._rest.bit_length()
        if zeros >= most:
            if most <= UE_MAX_PREFIX:
                raise self.fail(StreamSyntaxError, "TRUNCATED", f"the unit ends inside {name}", "R4.4-1")
            raise self.fail(StreamSyntaxError, "FORBIDDEN_PATTERN", f"{name} has over {UE_MAX_PREFIX} leading zeros",
                            "R4.4-2")
        return zeros

    def se(self, name: str, value: int, low: int = -(2**62), high: int = 2**62) -> int:
        k = self.ue(name, 0)
        return self.check(name, (k + 1) // 2 if k % 2 else -(k // 2), low, high)

    def b(self, name: str, value: Bytes, n: int) -> Bytes:
        """n bytes; a view of the body where they are aligned, which is as lazy as the body."""
        self._need(name, 8 * n)
        pos = self.pos
        if pos % 8:
            return self._read(name, 8 * n).to_bytes(n, "big")
        start = pos // 8
        self._rest, self._count, self._end = 0, 0, pos + 8 * n
        return cast(Bytes, self.body[start : start + n])

    def string(self, name: str, value: str) -> str:
        n = self.limit(name + " length", self.ue(name, 0), self.level.name_length, "R4.4-4")
        self.byte_alignment()
        try:
            text = bytes(self.b(name, b"", n)).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(StreamSyntaxError, "FORBIDDEN_PATTERN", f"{name} is not UTF-8", "R4.4-5") from None
        if "\0" in text:
            raise self.fail(StreamSyntaxError, "FORBIDDEN_PATTERN", f"{name} holds a NUL", "R4.4-5")
        return text

    def byte_alignment(self) -> None:
        n = -self.pos % 8
        if n and self._read("byte_alignment", n):
            self.violated(self.fail(StreamSyntaxError, "BAD_ALIGNMENT", "alignment bits are not zero", "R4.4-8"))

    def end(self) -> None:
        """The body must end here, after zero bits up to a byte border (SPEC 6.2)."""
        self.byte_alignment()
        if self.pos != self.size:
            raise self.fail(StreamSyntaxError, "BAD_SIZE", "the unit is longer than its syntax structure", "R7.2-9")


@dataclass
class TraceElement:
    """One syntax element as `refcodec trace` lists it."""

    unit: int | None
    clause: str
    structure: str
    name: str
    descriptor: str
    value: object
    bit: int
    bits: float


class Tracer(Reader):
    """A Reader that lists every element.

    whole: payloads are read, else they are listed as what can be read.  listed: bytes that the list holds.
    """

    whole = True

    def __init__(self, body: Bytes | LazyBytes, level: Level, unit: int | None = None, model: ModelState | None = None):
        super().__init__(bytes(body) if self.whole else body, level, unit, model)
        self.elements: list[TraceElement] = []
        self.listed = 0

    def _record(self, name: str, descriptor: str, value: object, start: int) -> None:
        clause, structure = self.clauses[-1] if self.clauses else ("6.2", "unit")
        self.spend(TRACED_BYTES, INTEGER_WORK)
        self.listed += TRACED_BYTES
        self.elements.append(TraceElement(self.unit, clause, structure, name, descriptor, value, start,
                                          self.pos - start))


def _traced(descriptor: str) -> Callable[..., Any]:
    parse = getattr(Reader, descriptor)

    def method(self: Tracer, name: str, value: Any, *args: Any, **options: Any) -> Any:
        start, depth = self.pos, len(self.elements)
        value = parse(self, name, value, *args, **options)
        del self.elements[depth:]                      # an element built of others is listed once
        shown = {"u": f"u({args[0]})" if args else "u", "string": "str(v)",
                 "b": "b(v)"}.get(descriptor, f"{descriptor}(v)")
        self._record(name, shown, value, start)
        return value

    return method


for _descriptor in ("u", "ue", "se", "b", "string"):
    setattr(Tracer, _descriptor, _traced(_descriptor))


class Writer(Visitor):
    """Writes the body of one unit."""

    HELD = 512                         # bits that wait as one integer, at least, before they become bytes

    def __init__(self, level: Level, unit: int | None = None, model: ModelState | None = None):
        super().__init__(level, unit, model)
        self._pieces: list[Bytes] = []
        self._bits, self._held, self._fill = 0, 0, 0       # bits of the pieces; those after them, and their number

    @property
    def bit(self) -> int:
        return self._bits + self._fill

    def resize(self, items: list[Item], count: int, make: Callable[[], Item]) -> None:
        self.cost.items += count

    def _put(self, value: int, n: int) -> None:
        self._held = self._held << n | value
        self._fill += n
        if self._fill >= self.HELD:
            self._flush()

    def _flush(self) -> None:
        # Whole bytes become a piece.
        count, rest = divmod(self._fill, 8)
        if count:
            self._append((self._held >> rest).to_bytes(count, "big"))
            self._held, self._fill = self._held & ((1 << rest) - 1), rest

    def _append(self, piece: Bytes) -> None:
        self._pieces.append(piece)
        self._bits += 8 * len(piece)

    def u(self, name: str, value: int, n: int, low: int = 0, high: int | type[IntEnum] | None = None) -> int:
        self._put(self.check(name, int(value), low, (1 << n) - 1 if high is None else high), n)
        return value

    def ue(self, name: str, value: int, low: int = 0, high: int | type[IntEnum] = UE_MAX) -> int:
        value = int(self.check(name, value, low, high))
        n = (value + 1).bit_length()
        self._put(value + 1, 2 * n - 1)
        return value

    def se(self, name: str, value: int, low: int = -(2**62), high: int = 2**62) -> int:
        self.check(name, value, low, high)
        self.ue(name, 2 * value - 1 if value > 0 else -2 * value)
        return value

    def b(self, name: str, value: Bytes, n: int) -> Bytes:
        if len(value) != n:
            raise self.fail(SemanticsError, "BAD_SIZE", f"{name} has {len(value)} bytes, not {n}", "R4.4-7")
        self._flush()
        if self._fill == 0:
            self._append(value)
        else:
            self._put(int.from_bytes(value, "big"), 8 * n)
        return value

    def string(self, name: str, value: str) -> str:
        data = value.encode("utf-8")
        self.ue(name, self.limit(name + " length", len(data), self.level.name_length, "R4.4-4"))
        self.byte_alignment()
        self.b(name, data, len(data))
        return value

    def byte_alignment(self) -> None:
        self._put(0, -self.bit % 8)

    def pieces(self) -> list[Bytes]:
        """The body, aligned, as parts of it in order; long byte strings are those that were given."""
        self.byte_alignment()
        self._flush()
        return self._pieces

    def body(self) -> bytes:
        return b"".join(self.pieces())
