"""Descriptors, units, their order, the index and the limits of levels (SPEC 4.4, 6, 7, annex A)."""

from __future__ import annotations

import lzma
import random
import zlib

import numpy as np
import pytest
from helpers import changed, cut, glue, network_model, same_tensors, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec import Config, Model, OmcError, StreamDecoder, Tensor, decode, encode
from refcodec.bitstream import syntax, units
from refcodec.bitstream.cost import StreamCost
from refcodec.bitstream.limits import LEVELS
from refcodec.bitstream.parser import Parser, index_of, parse
from refcodec.bitstream.structures import UnitCoding, UnitType
from refcodec.bitstream.units import (
    CODED_TYPES,
    EXTENSION_TYPES,
    MAGIC,
    STREAM_END_SIZE,
    ByteSource,
    leb,
    read_body,
    read_unit,
    seal,
    seal_unit,
)
from refcodec.bitstream.visitor import Reader, Tracer, Writer
from refcodec.encoder.stream_writer import lowest_level
from refcodec.expansion import lzma_filters

LEVEL = LEVELS[2]


def written(*elements) -> bytes:
    """The body that holds (descriptor, value, more arguments) in order."""
    writer = Writer(LEVEL)
    for descriptor, value, *rest in elements:
        getattr(writer, descriptor)("x", value, *rest)
    return writer.body()


# Descriptors

@pytest.mark.parametrize("descriptor, value, bits", [
    ("ue", 0, "1"), ("ue", 1, "010"), ("ue", 2, "011"), ("ue", 3, "00100"), ("ue", 7, "0001000"),
    ("se", 0, "1"), ("se", 1, "010"), ("se", -1, "011"), ("se", 2, "00100"), ("se", -2, "00101")])
def test_exponential_golomb_codes(descriptor, value, bits):
    body = written((descriptor, value))
    assert "".join(f"{b:08b}" for b in body) == bits.ljust(8, "0")


ELEMENTS = st.one_of(
    st.tuples(st.just("ue"), st.integers(0, 2**63 - 2)), st.tuples(st.just("se"), st.integers(-(2**62), 2**62)),
    st.integers(1, 64).flatmap(lambda n: st.tuples(st.just("u"), st.integers(0, 2**n - 1), st.just(n))),
    st.binary(max_size=40).map(lambda b: ("b", b, len(b))),
    st.tuples(st.just("string"),
              st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs", )), max_size=30)))


def read_back(reader: Reader, elements: list[tuple]) -> None:
    """Each element has the value that was written, and nothing is left."""
    reader.clauses.append(("6.0", "test"))
    for descriptor, value, *rest in elements:
        empty = {"b": b"", "string": ""}.get(descriptor, 0)
        assert getattr(reader, descriptor)("x", empty, *rest) == value
    reader.end()


@settings(max_examples=150)
@given(st.lists(ELEMENTS, max_size=12))
def test_reader_and_tracer_read_what_was_written(elements):
    body = written(*elements)
    reader = Reader(body, LEVEL)
    read_back(reader, elements)
    tracer = Tracer(body, LEVEL)
    read_back(tracer, elements)
    assert len(tracer.elements) == len(elements)
    assert sum(e.bits for e in tracer.elements) in range(8 * len(body) - 7, 8 * len(body) + 1)


def code_of(action) -> str:
    with pytest.raises(OmcError) as error:
        action()
    return error.value.code


@pytest.mark.parametrize(("body", "read", "code"), [
    pytest.param(b"", lambda r: r.u("x", 0, 1), "TRUNCATED", id="no bit"),
    pytest.param(b"\0\0", lambda r: r.ue("x", 0), "TRUNCATED", id="prefix without end"),
    pytest.param(bytes(9), lambda r: r.ue("x", 0), "FORBIDDEN_PATTERN", id="prefix too long"),
    pytest.param(b"\x80\x80", lambda r: r.b("x", b"", 3), "TRUNCATED", id="two of three bytes"),
    pytest.param(b"\x20a\0b", lambda r: r.string("x", ""), "FORBIDDEN_PATTERN", id="NUL in a string"),
    pytest.param(b"\x60\xc3\x28", lambda r: r.string("x", ""), "FORBIDDEN_PATTERN", id="not UTF-8"),
    pytest.param(b"\x61ab", lambda r: r.string("x", ""), "BAD_ALIGNMENT", id="bits before a string"),
    pytest.param(written(("ue", 5000)), lambda r: r.string("x", ""), "RESOURCE_LIMIT", id="a long string"),
    pytest.param(b"\x01", lambda r: r.end(), "BAD_SIZE", id="bits left"),
    pytest.param(b"\xff", lambda r: r.u("x", 0, 8, 0, 9), "OUT_OF_RANGE", id="above the largest"),
    pytest.param(b"\xff", lambda r: r.u("x", 0, 8, 0, UnitType), "RESERVED_VALUE", id="not of the enumeration"),
])
def test_descriptors_refuse_what_is_wrong(body, read, code):
    assert code_of(lambda: read(Reader(body, LEVEL))) == code


def test_alignment_is_checked_from_the_cursor_on():
    reader = Reader(b"\xc1", LEVEL)
    reader.u("x", 0, 2)
    assert code_of(reader.byte_alignment) == "BAD_ALIGNMENT"


def test_errors_name_unit_and_bit():
    with pytest.raises(OmcError) as error:
        Reader(b"\x81", LEVEL, unit=7).ue("x", 0, 1)
    assert (error.value.unit, error.value.bit) == (7, 1)


def test_windows_of_large_bodies():
    """The reader keeps a window of the body under its cursor; elements across its border are whole."""
    rng = random.Random(5)
    values = [(rng.getrandbits(n), n) for n in (rng.randrange(1, 65) for _ in range(60_000))]
    writer = Writer(LEVEL)
    text = "".join(f"{value:0{n}b}" for value, n in values)
    body = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    reader = Reader(body, LEVEL)
    reader.WINDOW = reader._ahead = 997
    assert all(reader.u("x", 0, n) == value for value, n in values)
    assert writer.body() == b""


# Units

@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**35, 2**56])
def test_leb(value):
    stream = bytes([UnitType.TENSOR_DATA << 2]) + leb(value)
    assert len(leb(value)) == max(1, -(-value.bit_length() // 7))
    unit_source = ByteSource(stream + bytes(4))
    if value == 0:
        assert read_unit(unit_source, 0, 0).size == 0
    else:
        assert code_of(lambda: read_unit(unit_source, 0, 0)) == "TRUNCATED"


@pytest.mark.parametrize(("data", "code"), [
    (b"\x80\x00", "FORBIDDEN_PATTERN"), (b"\xff" * 9, "FORBIDDEN_PATTERN"), (b"\xff" * 3, "TRUNCATED"),
])
def test_leb_must_be_shortest(data, code):
    assert code_of(lambda: read_unit(ByteSource(bytes([5 << 2]) + data), 0, 0)) == code


@pytest.mark.parametrize("body", [
    b"", b"abc", bytes(5000), np.random.default_rng(0).bytes(3000),
], ids=["empty", "short", "zeros", "random"])
@pytest.mark.parametrize("kind", list(UnitType))
def test_units_are_sealed_and_opened(kind, body):
    data = seal_unit(kind, body)
    unit = read_unit(ByteSource(data), 0, 3)
    assert unit.type == kind
    assert unit.end == len(data)
    assert bytes(read_body(ByteSource(data), unit, 1 << 20)) == body
    assert unit.coding == UnitCoding.PLAIN or kind in CODED_TYPES
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")


def test_long_topologies_are_compressed():
    assert len(seal_unit(UnitType.TOPOLOGY, bytes(5000))) < 60


def test_coded_bodies_are_refused_where_they_are_not_allowed():
    data = seal(bytes([UnitType.TENSOR_DATA << 2 | 1]) + leb(1) + leb(1), b"x")
    assert code_of(lambda: read_unit(ByteSource(data), 0, 0)) == "FORBIDDEN_PATTERN"
    data = seal(bytes([UnitType.INDEX << 2 | 3]) + leb(1) + leb(1), b"x")
    assert code_of(lambda: read_unit(ByteSource(data), 0, 0)) == "FORBIDDEN_PATTERN"


def test_preset_dictionary():
    body = bytes(range(200))
    data = seal_unit(UnitType.TOPOLOGY, body, dictionary=body)
    unit = read_unit(ByteSource(data), 0, 0)
    assert unit.coding == UnitCoding.DEFLATE_HEADER
    assert len(data) < 30
    assert bytes(read_body(ByteSource(data), unit, 1000, body)) == body
    assert code_of(lambda: read_body(ByteSource(data), unit, 1000)) == "ENTROPY_END"


# Order, index, counts

def test_order_of_units():
    model = Model(network_model().tensors, "m", metadata={"k": b"v"})
    units = cut(encode(model, Config(index=True)))
    kinds = [u[0] >> 2 for u in units]
    assert kinds[:2] == [1, 2]
    assert kinds[-4:] == [6, 7, 8, 9]
    assert set(kinds[2:-4]) == {5}
    with pytest.raises(OmcError) as error:
        decode(glue([units[0], units[2], units[1], *units[3:]]))
    assert error.value.code == "ORDER"
    with pytest.raises(OmcError) as error:
        decode(glue([units[1], units[0], *units[2:]]))
    assert error.value.code == "ORDER"
    swapped = units[:-4] + [units[-3], units[-4]] + units[-2:]
    assert code_of(lambda: decode(glue(swapped))) in ("ORDER", "DANGLING_REFERENCE")


def test_index_lists_every_unit():
    model = Model([Tensor(f"w{i}", weights((40, 50), seed=i)) for i in range(6)] + network_model().tensors)
    stream = encode(model, Config(index=True))
    parsed = parse(stream)
    only = parsed.models[0]
    assert only.index == index_of(only)
    assert only.index.index_count == len(only.tensor_units)
    # What a reader that seeks does: from the end to the index, from there to the units.
    end = Reader(stream[-STREAM_END_SIZE:][2:-4], LEVEL)
    structure = type("x", (), dict(model_count=0, unit_count=0, index_offset=0))()
    syntax.stream_end(end, structure)
    unit = read_unit(ByteSource(stream), structure.index_offset, 0)
    assert unit.type == UnitType.INDEX
    assert structure.unit_count == len(parsed.units)
    at = only.unit.offset
    for entry, tensor_unit in zip(only.index.entry, only.tensor_units):
        at += entry.unit_distance
        assert at == tensor_unit.unit.offset
        assert stream[at] >> 2 == UnitType.TENSOR_DATA
        at += entry.unit_size


def test_large_models_have_an_index_by_default():
    small = parse(encode(network_model()))
    assert small.models[0].index is None


def test_several_models_in_a_stream():
    first = network_model()
    versions = [first, changed(first, 1e-6, 1), changed(first, 1e-6, 2)]
    stream = encode(versions)
    decoder = StreamDecoder(stream)
    assert all(same_tensors(decoder.model(k), m) for k, m in enumerate(versions))
    assert len(stream) < 0.8 * sum(len(encode(m)) for m in versions)
    assert code_of(lambda: decoder.model(3)) == "MISSING_UNIT"


# Levels

def test_there_are_four_levels():
    assert list(LEVELS) == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", list(LEVELS[1].__dataclass_fields__))
def test_levels_grow(limit):
    values = [getattr(level, limit) for level in LEVELS.values()]
    assert values == sorted(values)


@pytest.mark.parametrize(("tensors", "level"), [
    pytest.param(network_model().tensors, 1, id="small"),
    pytest.param([Tensor("x" * 300, np.ones(3, np.float32))], 2, id="a long name"),
    pytest.param([Tensor("deep", np.ones((1,) * 9 + (3,), np.float32))], 2, id="many axes"),
    pytest.param([Tensor(f"t{i}", np.zeros(1, np.float32)) for i in range(1100)], 2, id="many tensors"),
    pytest.param([Tensor("large", np.zeros((1 << 22) + 1, np.uint8))], 2, id="many elements"),
])
def test_the_lowest_level_is_declared(tensors, level):
    assert Parser(ByteSource(encode(Model(tensors)))).parse().header.level == level


def test_a_model_beyond_all_levels_is_refused():
    model = Model([Tensor("n" * 70000, np.ones(3))])
    assert code_of(lambda: encode(model)) == "RESOURCE_LIMIT"
    assert code_of(lambda: lowest_level([], 1, StreamCost(1 << 30))) == "RESOURCE_LIMIT"


def test_a_stream_that_claims_a_lower_level_is_refused():
    model = Model([Tensor("x" * 300, np.ones(3, np.float32))])
    units = cut(encode(model))
    units[0] = seal_unit(UnitType.STREAM_HEADER, bytes([0, 2, 0, 1]))
    with pytest.raises(OmcError) as error:
        decode(glue(units))
    assert error.value.code == "RESOURCE_LIMIT"
    assert error.value.unit == 1
    assert error.value.bit is not None


@pytest.mark.parametrize(("header", "code"), [
    (bytes([9, 0, 0, 1]), "UNSUPPORTED_VERSION"), (bytes([0, 2, 7, 1]), "RESERVED_VALUE"),
    (bytes([0, 2, 0, 0]), "OUT_OF_RANGE"), (bytes([0, 2, 0, 5]), "OUT_OF_RANGE"),
    (bytes([0, 2, 0]), "TRUNCATED"), (bytes([0, 2, 0, 1, 0]), "BAD_SIZE"),
])
def test_stream_headers(header, code):
    assert code_of(lambda: decode(MAGIC + seal_unit(UnitType.STREAM_HEADER, header))) == code


@pytest.mark.parametrize(("config", "least"), [(Config(step=0.01), 1), (Config(step=0.01, coder="cm", states=0), 2)],
                         ids=["trellis", "mixing"])
@pytest.mark.parametrize("profile", range(3))
def test_tools_beyond_the_profile_are_refused(config, least, profile):
    units = cut(encode(network_model(), config))
    units[0] = seal_unit(UnitType.STREAM_HEADER, bytes([0, 2, profile, 1]))
    if profile < least:
        assert code_of(lambda: decode(glue(units))) == "FORBIDDEN_PATTERN"
    else:
        decode(glue(units))


def test_extension_types_begin_at_32():
    assert 40 in EXTENSION_TYPES
    assert 31 not in EXTENSION_TYPES


def test_bodies_are_tried_in_several_settings():
    """Each is decoded to the body; the shortest is taken, and none is longer than in the usual setting."""
    body = b"".join(b"\x12\x0bconv.weight" + bytes([i & 255, i * 7 & 255]) + b"\x22\x04Relu" for i in range(300))
    tried = list(units.lzma_bodies(body))
    assert len(tried) == 5 and len(set(map(len, tried))) > 1
    for coded in tried:
        assert lzma.decompress(coded, lzma.FORMAT_RAW, filters=lzma_filters(len(body))) == body
    sealed = units.seal_unit(UnitType.TOPOLOGY, body)
    assert len(sealed) <= min(map(len, tried)) + 11
    assert len(list(units.lzma_bodies(bytes(units.LZMA_TRIED_BYTES + 1)))) == 1
