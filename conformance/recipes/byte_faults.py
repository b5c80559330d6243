"""Faults of general-purpose coders that need a payload written bit by bit (SPEC 9.9.2)."""

from __future__ import annotations

from collections.abc import Iterator

from .byte_coders import (
    bzip2,
    bzip2_block,
    bzip2_crc,
    deflate,
    dynamic_block,
    low_first,
    lzma_chunk,
    zlib_stream,
)
from .edits import payload
from .faults import Fault, fault
from .unusual import LITERALS, hello

ABC = b"abcabc"
STORED = "0" + low_first(0, 2) + "0" * 5 + low_first(6, 16) + low_first(0xFFFF ^ 6, 16) + "".join(
    low_first(b, 8) for b in ABC)
BANANA = b"abracadabra banana"


def deflate_payloads() -> Iterator[tuple[str, bytes, str]]:
    """(name, payload, what is wrong); right in all else."""
    codes = {
        "incomplete": ({97: 2, 98: 3, 256: 2}, {}, "an incomplete code of literals"),
        "one-long": ({256: 2}, {}, "a lone codeword of two bits"),
        "full": ({97: 1, 98: 1, 256: 1}, {}, "an over-full code of literals"),
        "endless": ({97: 1, 98: 1}, {}, "no code for the end of the block"),
        "distances": (LITERALS, {0: 2, 2: 1}, "an incomplete code of distances"),
    }
    for name, (literals, distances, what) in codes.items():  # after all that the tensor needs: a last block of nothing
        yield name, deflate(STORED + dynamic_block(literals, distances, [256] if 256 in literals else [])), what
    yield "literals", deflate(dynamic_block(LITERALS, {}, [97, 98, 99, 97, 98, 99, 256],
                                            hlit=287)), "lengths of 287 literals"
    yield "no-distance", deflate(dynamic_block(
        LITERALS, {}, [97, 98, 99, 257, "0", 256])), "a match where there is no code of distances"
    yield "unassigned", deflate(dynamic_block(
        LITERALS, {2: 1}, [97, 98, 99, 257, "1", 256])), "the codeword that a code of one leaves over"
    yield "far", deflate(dynamic_block(LITERALS, {3: 1},
                                       [97, 98, 99, 257, "0", 256])), "a distance beyond the first byte"
    fixed = "1" + low_first(1, 2) + "".join(f"{0x30 + b:08b}" for b in b"abc")
    yield "length-286", deflate(fixed + "11000110" + "00010" + "0" * 7), "length symbol 286"
    yield "distance-30", deflate(fixed + "0000001" + "11110" + "0" * 7), "distance symbol 30"


def faults() -> Iterator[Fault]:
    """Each in a stream of which the first tensor is of the coder."""
    for name, coded, what in deflate_payloads():
        yield fault("R9.9.2-1", f"deflate-{name}", "n-deflate", payload(lambda _, c=coded: zlib_stream(c, ABC)),
                    "ENTROPY_END", what)
    yield fault("R9.9.2-1", "deflate-window", "n-deflate", payload(lambda d: b"\x88\x1c" + d[2:]), "ENTROPY_END",
                "CINFO is 8")
    yield fault("R9.9.2-1", "deflate-head", "n-deflate", payload(lambda d: b"\x78\x02" + d[2:]), "ENTROPY_END",
                "a wrong FCHECK")
    check, size = bzip2_crc(BANANA), len(set(BANANA)) + 2

    def blocks(*made: str) -> bytes:
        return bzip2(made, [check] * len(made))

    right, marked = bzip2_block(BANANA, BANANA), bzip2_block(BANANA, BANANA, randomised=1)
    yield fault("R9.9.2-4", "first", "n-bzip2", payload(lambda _: blocks(marked)), "ENTROPY_END", "a randomised block")
    yield fault("R9.9.2-4", "second", "n-bzip2", payload(lambda _: blocks(right, marked), unit=3), "ENTROPY_END",
                "a second block that is randomised")
    run = b"abracadabra baaaaa"[:14] + b"nnnn"
    count = bzip2_block(run, run)
    yield fault("R9.9.2-1", "bzip2-count", "n-bzip2", payload(lambda _: bzip2([count], [bzip2_crc(run)])),
                "ENTROPY_END", "four equal bytes at the end of a block without their count")
    zero = bzip2_block(BANANA, BANANA, [21] + [20] * (size - 1))
    yield fault("R9.9.2-1", "bzip2-length", "n-bzip2", payload(lambda _: blocks(zero)), "ENTROPY_END",
                "a codeword of 21 bits")
    origin = right[:48 + 33] + "1" * 24 + right[48 + 33 + 24:]
    yield fault("R9.9.2-1", "bzip2-origin", "n-bzip2", payload(lambda _: blocks(origin)), "ENTROPY_END",
                "an origin beyond the block")
    yield fault("R9.9.2-1", "bzip2-combined", "n-bzip2", payload(lambda _: bzip2([right], [check ^ 1])), "ENTROPY_END",
                "a wrong combined CRC")
    coded = hello()
    stored = b"\x02\0\1oo"
    for name, data, what in (("code", lzma_chunk(coded[:-1] + bytes([coded[-1] + 1]), 9, 0, 0,
                                                 0xE0), "the range coder of a chunk does not end with 0"),
                             ("more", lzma_chunk(coded + b"\0", 9, 0, 0, 0xE0),
                              "a byte of a chunk is not used"), ("crossing", lzma_chunk(coded, 7, 0, 0, 0xE0) + stored,
                                                                 "a match crosses the end of its chunk"),
                             ("reset", lzma_chunk(coded, 9, 0, 0), "the first chunk does not reset the dictionary"),
                             ("properties", lzma_chunk(coded, 9, 4, 1, 0xE0).replace(b"\x51",
                                                                                     b"\x55"), "lc + lp is 8")):
        yield fault("R9.9.2-1", f"lzma2-{name}", "n-lzma", payload(lambda _, d=data: d + b"\0"), "ENTROPY_END", what)
