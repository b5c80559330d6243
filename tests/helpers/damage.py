"""Damage done to bytes, and what a decoder says to it."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from collections.abc import Iterator

from helpers.models import same_tensors
from refcodec import Model, OmcError, decode

CODES = {"BAD_MAGIC", "TRUNCATED", "TRAILING_DATA", "RESERVED_VALUE", "FORBIDDEN_PATTERN", "DIGEST_MISMATCH", "ORDER",
         "MISSING_UNIT", "BAD_SIZE", "BAD_ALIGNMENT", "OUT_OF_RANGE", "RESOURCE_LIMIT", "UNSUPPORTED_VERSION",
         "DANGLING_REFERENCE", "DUPLICATE_ID", "ENTROPY_END", "OVERFLOW", "MISSING_REFERENCE"}
SECONDS = 5.0              # of processor time: a bound on one input


@contextlib.contextmanager
def at_most(seconds: float = SECONDS, bytes: int | None = None) -> Iterator[None]:
    """The block may take so much processor time, and so much memory at a time. What it loads and compiles when it runs
    for the first time counts, too: let it run before.
    """
    if bytes is not None:
        tracemalloc.start()
    start = time.process_time()
    try:
        yield
    finally:
        taken = time.process_time() - start
        if bytes is not None:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= bytes
        assert taken <= seconds


def outcome(stream: bytes, references, exact: Model, **options) -> str:
    """The code of the error, or 'exact'; anything else is a failure."""
    try:
        with at_most():
            result = decode(stream, references, **options)
    except OmcError as error:
        assert error.code in CODES, repr(error)
        assert error.phase not in ("usage", "configuration"), repr(error)
        assert error.message
        assert "\n" not in str(error)
        assert error.unit is not None or error.code == "BAD_MAGIC" or len(stream) < 4, error
        return error.code
    assert same_tensors(result, exact)
    return "exact"


def damaged(data: bytes, rng: random.Random, first: int, last: int) -> bytes:
    """One to four bytes in [first, last) changed: a bit, a byte, an extreme, or a run."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(first, last)
        kind = rng.randrange(4)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.randrange(256)
        elif kind == 2:
            out[at] = rng.choice((0, 255, 128, 127))
        else:
            for k in range(at, min(at + rng.randrange(1, 8), last)):
                out[k] = rng.randrange(256)
    return bytes(out)
