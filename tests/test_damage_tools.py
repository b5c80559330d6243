"""Bad input to the tools of the published systems: entropy modes, quantisers, representations, spatial prediction."""

from __future__ import annotations

import contextlib
import random

import pytest
from conftest import cut, glue, reseal
from test_damage import CODES, damaged, outcome, plain

from refcodec import Model, decode
from refcodec.bitstream import derive, syntax
from refcodec.bitstream.limits import LEVELS
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.units import ByteSource, UnitType, seal_unit
from refcodec.bitstream.visitor import Writer

DESCRIPTOR = 48            # bytes of a tensor data unit that mostly are no payload


# Streams whose syntax elements are wrong

class Careless(Writer):
    """Writes what it is given, in as many bits as there are."""

    def check(self, name, value, low, high):
        return value

    limit = check

    def u(self, name, value, n, low=0, high=None):
        self._put(int(value) & ((1 << n) - 1), n)
        return value

    def ue(self, name, value, low=0, high=None):
        return super().ue(name, max(0, min(int(value), 2**63)))

    def b(self, name, value, n):
        return super().b(name, bytes(value), len(value))


@contextlib.contextmanager
def rules_off():
    """Rules between syntax elements are those of the decoder only."""
    kept = {name: getattr(derive, name) for name in ("forbid", "check_prediction", "check_work", "check_row_mask")}
    for name in kept:
        setattr(derive, name, lambda *_: None)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(derive, name, function)


# Random errors

@pytest.fixture(scope="module")
def exact(system_streams) -> dict[str, Model]:
    return {name: decode(stream, references) for name, (stream, references) in system_streams.items()}


def test_truncation(system_streams, exact):
    rng = random.Random(11)
    for name, (stream, references) in system_streams.items():
        borders = {u.end for u in Parser(ByteSource(stream)).parse().units
                   if u.type in (UnitType.MODEL_END, UnitType.STREAM_HEADER)}
        for n in rng.sample(range(len(stream)), 40):
            assert outcome(stream[:n], references, exact[name]) == ("MISSING_UNIT" if n in borders else "TRUNCATED")


def resealed(units: list[bytes], rng: random.Random) -> bytes:
    """A stream with damage behind unit_check: in tensor data mostly, every other time near its descriptor."""
    units, k = list(units), rng.randrange(len(units))
    if rng.random() < 0.8:
        k = rng.choice([i for i, u in enumerate(units) if u[0] >> 2 == UnitType.TENSOR_DATA])
    end = len(units[k]) - 4
    units[k] = reseal(damaged(units[k], rng, 2, min(end, DESCRIPTOR) if rng.random() < 0.5 else end))
    return glue(units)


def fuzz(streams, exact, rounds: int, seed: int) -> dict[str, int]:
    """Outcomes of rounds of damage: raw, and behind the checks."""
    rng, found = random.Random(seed), {}
    whole = {name: plain(stream) for name, (stream, _) in streams.items()}
    names = sorted(streams)
    for n in range(rounds):
        name = rng.choice(names)
        stream, references = streams[name]
        bad = resealed(whole[name], rng) if n % 8 else damaged(stream, rng, 0, len(stream))
        code = outcome(bad, references, exact[name])
        found[code] = found.get(code, 0) + 1
    return found


def test_random_errors(system_streams, exact):
    found = fuzz(system_streams, exact, 3000, 12)
    assert set(found) >= {"DIGEST_MISMATCH", "ENTROPY_END", "OUT_OF_RANGE", "FORBIDDEN_PATTERN", "RESOURCE_LIMIT",
                          "BAD_SIZE", "TRUNCATED", "OVERFLOW", "RESERVED_VALUE"}
