"""Streams whose syntax is right and whose elements say anything: an answer or one listed error, by every reader.

Hypothesis draws which elements of a stream of the suite say what, which units are left out, twice or moved; sizes and
checks are made anew, so that what is drawn is reached. Other examples: --hypothesis-profile=random.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refcodec.budget import Budget
from refcodec.decoder import StreamDecoder
from refcodec.errors import OmcError
from refcodec.inspection.describe import describe_stream
from refcodec.inspection.trace import trace_stream
from refcodec.validator.validation import validate
from tools.fuzz import campaigns, damage, python_targets

EXAMPLES = 250
NUMBERS = st.one_of(st.sampled_from(damage.NUMBERS), st.integers(0, 40), st.integers(0, 2**63))
NO_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def seeds():
    found = campaigns.seeds(stride=9)
    campaigns.warm(found)
    return found


def drawn(data: st.DataObject, descriptor: str, value: object) -> object:
    """A value for an element, of any size that its descriptor can say."""
    if descriptor == "str(v)":
        return data.draw(st.text(max_size=12)).encode("utf-8", "surrogatepass")
    if descriptor == "b(v)":
        return data.draw(st.binary(min_size=len(value), max_size=len(value)))
    number = data.draw(NUMBERS)
    if descriptor.startswith("u("):
        return number & ((1 << int(descriptor[2:-1])) - 1)
    return min(number, damage.SE_MAX) * data.draw(st.sampled_from((1, -1))) if descriptor == "se(v)" else number


def stream_of(data: st.DataObject, seeds: campaigns.Seeds) -> bytes:
    """A stream of the suite in which up to four elements, and perhaps one unit, are others."""
    edited = data.draw(st.sampled_from(seeds.valid)).edited
    before = []
    for _ in range(data.draw(st.integers(1, 4))):
        unit = data.draw(st.sampled_from([u for u in edited.units if u.elements]))
        e = data.draw(st.sampled_from(unit.elements))
        if isinstance(e.value, (int, str, bytes, bytearray, memoryview)) and not e.name.startswith("byte_alignment"):
            before.append((e, e.value))
            e.value = drawn(data, e.descriptor, e.value)
    try:
        whole = edited.bytes()
    finally:
        for e, value in reversed(before):
            e.value = value
    pieces = damage.cut(whole)
    at, to = (data.draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
    kind = data.draw(st.sampled_from(("as it is", "as it is", "as it is", "left out", "twice", "moved")))
    if kind == "left out":
        del pieces[at]
    elif kind == "twice":
        pieces.insert(to, pieces[at])
    elif kind == "moved":
        pieces.insert(to, pieces.pop(at))
    return whole if kind == "as it is" else damage.glue(pieces)


@settings(max_examples=EXAMPLES, suppress_health_check=NO_FIXTURES)
@given(data=st.data())
def test_decoder(seeds, data):
    python_targets.decode(stream_of(data, seeds), seeds.references)        # raises Fault for what is no answer


@settings(max_examples=EXAMPLES // 5, suppress_health_check=NO_FIXTURES)
@given(data=st.data())
def test_readers(seeds, data, tmp_path):
    """info, trace and validate, within budgets of their own."""
    path = tmp_path / "stream.omc"
    path.write_bytes(stream_of(data, seeds))
    for read in (lambda: describe_stream(str(path)), lambda: list(trace_stream(str(path)))):
        try:
            read()
        except OmcError as error:
            python_targets.check_error(error)
    validate(path, seeds.references, every=True, budget=Budget(memory=python_targets.MEMORY))


@settings(max_examples=EXAMPLES // 2, suppress_health_check=NO_FIXTURES)
@given(data=st.data(), memory=st.integers(0, 1 << 22), work=st.integers(0, 1 << 24), output=st.integers(0, 1 << 20))
def test_any_budget(seeds, data, memory, work, output):
    """Under any budget the answer is that of the suite or RESOURCE_LIMIT, whatever the threads."""
    seed = data.draw(st.sampled_from(seeds.valid))
    answers = set()
    for threads in (1, 4):
        try:
            with StreamDecoder(seed.data, seeds.references, threads=threads,
                               budget=Budget(memory, work, output)) as decoder:
                answers.add(decoder.model().digest())
        except OmcError as error:
            assert error.code == "RESOURCE_LIMIT"
            answers.add(error.code)
    assert answers in ({"RESOURCE_LIMIT"}, {seed.digest})
