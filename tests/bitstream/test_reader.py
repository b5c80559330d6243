"""The bit cursor of the Reader (SPEC 4.4) against bitstring, which knows nothing of it."""

from __future__ import annotations

import bitstring
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refcodec import OmcError
from refcodec.bitstream.limits import LEVELS
from refcodec.bitstream.structures import Bytes
from refcodec.bitstream.units import ByteSource, LazyBytes
from refcodec.bitstream.visitor import UE_MAX, Reader, Tracer, Writer

LEVEL = LEVELS[2]


class Oracle:
    """What each descriptor gives, and where it leaves the cursor, or ("error code", bit)."""

    def __init__(self, body: bytes):
        self.bits = bitstring.Bits.from_bytes(body)
        self.pos = 0

    def take(self, n: int) -> bitstring.Bits | None:
        if self.pos + n > len(self.bits):
            return None
        self.pos += n
        return self.bits[self.pos - n : self.pos]

    def u(self, n: int) -> object:
        taken = self.take(n)
        return ("TRUNCATED", self.pos) if taken is None else taken.u if n else 0

    def b(self, n: int) -> object:
        taken = self.take(8 * n)
        return ("TRUNCATED", self.pos) if taken is None else taken.to_bytes()

    def ue(self) -> object:
        zeros = 0
        while zeros < 64 and self.pos + zeros < len(self.bits) and not self.bits[self.pos + zeros]:
            zeros += 1
        if zeros == 64:
            return "FORBIDDEN_PATTERN", self.pos
        taken = self.take(2 * zeros + 1)
        if taken is None:
            return "TRUNCATED", self.pos
        return taken.u - 1 if taken.u - 1 <= UE_MAX else ("OUT_OF_RANGE", self.pos)

    def se(self) -> object:
        k = self.ue()
        if not isinstance(k, int):
            return k
        value = (k + 1) // 2 if k % 2 else -(k // 2)
        return value if abs(value) <= 2**62 else ("OUT_OF_RANGE", self.pos)

    def byte_alignment(self) -> object:
        taken = self.take(-self.pos % 8)
        return ("BAD_ALIGNMENT", self.pos) if taken is not None and taken.any(True) else None


def outcome(reader: Reader, descriptor: str, n: int) -> object:
    """The value of the next element, or its error and the bit that this tells."""
    try:
        if descriptor == "byte_alignment":
            return reader.byte_alignment()
        if descriptor == "u":
            return reader.u("x", 0, n)
        value = reader.b("x", b"", n) if descriptor == "b" else getattr(reader, descriptor)("x", 0)
        return value if isinstance(value, int) else bytes(value)
    except OmcError as error:
        assert error.unit == 3
        return error.code, error.bit


def expected(oracle: Oracle, descriptor: str, n: int) -> object:
    return getattr(oracle, descriptor)(*([n] if descriptor in ("u", "b") else []))


def same(body: bytes, steps: list[tuple[str, int]], small: bool) -> None:
    """A Reader, a Tracer and a lazy Reader say of `steps` what the oracle says, up to the first error."""
    lazy = LazyBytes(ByteSource(b"ab" + body + b"c"), 2, len(body))
    for make, source in ((Reader, body), (Tracer, body), (Reader, lazy)):
        reader, oracle = make(source, LEVEL, 3), Oracle(body)
        if small:                                      # so that windows and integers end inside elements
            reader.HELD_BYTES, reader._ahead, reader.WINDOW = 1, 3, 5
        for descriptor, n in steps:
            wanted = expected(oracle, descriptor, n)
            assert outcome(reader, descriptor, n) == wanted
            assert reader.pos == reader.bit == oracle.pos
            if isinstance(wanted, tuple):
                break


# Bits with long runs of zeros, in which codes of many lengths stand
BODIES = st.lists(st.one_of(st.binary(max_size=12), st.integers(0, 20).map(bytes),
                            st.integers(0, 7).map(lambda k: bytes([1 << k]))), max_size=12).map(b"".join)
STEPS = st.lists(st.one_of(st.tuples(st.sampled_from(["ue", "se", "byte_alignment"]), st.just(0)),
                           st.tuples(st.just("u"), st.integers(0, 70)),
                           st.tuples(st.just("b"), st.integers(0, 30))), max_size=30)


@settings(max_examples=400)
@given(BODIES, STEPS, st.booleans())
@example(b"", [("ue", 0)], False)
@example(b"", [("b", 0), ("u", 0), ("byte_alignment", 0)], False)
def test_elements_are_those_of_another_reader_of_bits(body, steps, small):
    same(body, steps, small)


@pytest.mark.parametrize("before", range(8))
@pytest.mark.parametrize("zeros", [0, 1, 7, 8, 31, 32, 62, 63, 64, 65, 200])
@pytest.mark.parametrize("rest", ["whole", "cut", "no one"])
def test_exponential_golomb_codes_at_every_alignment(before, zeros, rest):
    """Codes of each length, the longest, those that are too long, and those that the unit ends inside."""
    after = {"whole": "1" * (zeros + 1), "cut": "1" * zeros, "no one": ""}[rest]
    text = "1" * before + "0" * zeros + after
    body = int(text.ljust(-(-len(text) // 8) * 8, "0") or "0", 2).to_bytes(-(-len(text) // 8), "big")
    for tail in (b"", bytes(30), b"\xff" * 300):
        same(body + tail, [("u", before), ("ue", 0), ("u", 5)], small=False)
        same(body + tail, [("u", before), ("se", 0), ("ue", 0)], small=True)


@pytest.mark.parametrize("value", [0, 1, 2**32 - 2, 2**32 - 1, 2**62, 2**63 - 2, 2**63 - 1, 2**63])
@pytest.mark.parametrize("before", range(8))
def test_the_ends_of_ue(value, before):
    writer = Writer(LEVEL)
    writer.u("x", 0, before)
    writer.ue("x", value)
    reader = Reader(writer.body(), LEVEL)
    assert (reader.u("x", 0, before), reader.ue("x", 0)) == (0, value)
    reader.end()


@pytest.mark.parametrize("before", range(8))
@pytest.mark.parametrize("lazy", [False, True])
def test_long_strings_of_bytes(before, lazy):
    """Aligned they are a view of the body, else a copy; fields before and after them are whole."""
    data = bytes(range(256)) * 300
    writer = Writer(LEVEL)
    writer.u("x", (1 << before) - 1, before)
    writer.b("x", data, len(data))
    writer.ue("x", 77)
    body: Bytes | LazyBytes = writer.body()
    if lazy:
        body = LazyBytes(ByteSource(bytes(body)), 0, len(body))
    reader = Reader(body, LEVEL)
    assert reader.u("x", 0, before) == (1 << before) - 1
    found = reader.b("x", b"", len(data))
    assert isinstance(found, bytes if before else (LazyBytes if lazy else memoryview))
    assert bytes(found) == data
    assert reader.ue("x", 0) == 77
    reader.end()
