"""Bad input: whatever is done to a stream, the answer is one listed error or the exact model (SPEC annex B)."""

from __future__ import annotations

import math
import random
import zlib

import numpy as np
import pytest
from helpers import changed, cut, glue, network_model, plain, reseal, same_tensors, structures_model
from helpers.damage import CODES, at_most, damaged, outcome

from refcodec import Config, Model, OmcError, Tensor, decode, encode, save
from refcodec.bitstream import syntax
from refcodec.bitstream.context import ModelState
from refcodec.bitstream.limits import LEVELS
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import (
    Codebook,
    Component,
    EntropyMode,
    ModelEnd,
    ModelHeader,
    Payload,
    PredictionMode,
    Quantiser,
    StreamEnd,
    StreamHeader,
    TensorData,
    TensorDescriptor,
    TensorEntry,
    UnitType,
)
from refcodec.bitstream.units import ByteSource, UnitCoding, leb, seal, seal_unit
from refcodec.bitstream.visitor import Writer
from refcodec.cli.main import main
from refcodec.digests import STATED_BYTES, piece_count, seal_of, stated
from refcodec.dtypes import BY_CODE, BY_NAME


@pytest.fixture(scope="module", autouse=True)          # autouse: loops are compiled before anything is measured
def exact(streams):
    return {name: decode(stream, references) for name, (stream, references) in streams.items()}


# Truncation

def test_truncation_at_every_byte(streams, exact):
    count = 0
    for name, (stream, references) in streams.items():
        units = Parser(ByteSource(stream)).parse().units
        borders = {u.end for u in units if u.type in (UnitType.MODEL_END, UnitType.STREAM_HEADER)}
        interesting = {u.end + k for u in units for k in (-5, -4, -1, 0, 1, 2, 3)}
        for n in range(len(stream)):
            if len(stream) < 1500 or n in interesting or n % 11 == 0:
                found = outcome(stream[:n], references, exact[name])
                assert found == ("MISSING_UNIT" if n in borders else "TRUNCATED"), (name, n)
                count += 1
    assert count > 8_000


# Random errors

def test_random_errors_in_the_stream(streams, exact):
    rng, found = random.Random(1), {}
    for _ in range(4000):
        name = rng.choice(sorted(streams))
        stream, references = streams[name]
        code = outcome(damaged(stream, rng, 0, len(stream)), references, exact[name])
        found[code] = found.get(code, 0) + 1
    assert found.get("exact", 0) < 400          # changes of nothing: a byte may be set to what it was
    assert {"DIGEST_MISMATCH", "BAD_MAGIC", "TRUNCATED"} <= set(found)


def test_random_errors_behind_the_checks(streams, exact):
    """unit_check is computed anew, so that every parser and every entropy decoder meets damage."""
    rng, found = random.Random(2), {}
    whole = {name: cut(s) if name == "structures" else plain(s) for name, (s, _) in streams.items()}
    for round_ in range(6000):
        name = rng.choice(sorted(streams))
        units = list(whole[name])
        k = rng.randrange(len(units))
        first = 0 if round_ % 8 == 0 else 2
        if len(units[k]) - 4 <= first:
            continue
        units[k] = reseal(damaged(units[k], rng, first, len(units[k]) - 4))
        code = outcome(glue(units), streams[name][1], exact[name])
        found[code] = found.get(code, 0) + 1
    assert set(found) >= CODES - {"BAD_MAGIC", "TRAILING_DATA", "OVERFLOW", "MISSING_UNIT", "DUPLICATE_ID"}, found


# Units moved about

def test_units_removed_repeated_reordered(streams, exact):
    for name, (stream, references) in streams.items():
        units = cut(stream)
        assert glue(units) == stream
        for k in range(len(units)):
            assert outcome(glue(units[:k] + units[k + 1 :]), references, exact[name]) != "exact", (name, k)
            assert outcome(glue(units[: k + 1] + units[k:]), references, exact[name]) != "exact", (name, k)
        rng = random.Random(3)
        for _ in range(30):
            shuffled = list(units)
            a, b = rng.sample(range(len(units)), 2)
            shuffled[a], shuffled[b] = shuffled[b], shuffled[a]
            outcome(glue(shuffled), references, exact[name])
        assert outcome(stream + b"\0", references, exact[name]) == "TRAILING_DATA"
        assert outcome(stream + stream, references, exact[name]) == "TRAILING_DATA"


def test_units_of_another_stream(streams, exact):
    a, b = cut(streams["plain"][0]), cut(streams["trellis"][0])
    for k in range(1, len(a)):
        mixture = a[:k] + [b[k]] + a[k + 1 :]
        if mixture != a:
            assert outcome(glue(mixture), [], exact["plain"]) != "exact" or mixture[k] == a[k]


def test_extension_units_are_skipped(streams, exact):
    stream, references = streams["types"]
    units = cut(stream)
    extension = seal(bytes([40 << 2]) + leb(5), b"hello")
    end = seal_unit(UnitType.STREAM_END, units[-1][2:-4][:4] + (len(units) + 1).to_bytes(4, "big") + units[-1][-12:-4])
    for k in range(1, len(units) - 1):
        assert outcome(glue(units[:k] + [extension] + units[k:-1] + [end]), references, exact["types"]) == "exact"


@pytest.mark.parametrize("reserved", [0, 10, 31])
def test_reserved_unit_types_are_refused(streams, exact, reserved):
    stream, references = streams["types"]
    units = cut(stream)
    bad = seal(bytes([reserved << 2]) + leb(5), b"hello")
    assert outcome(glue(units[:2] + [bad] + units[2:]), references, exact["types"]) == "RESERVED_VALUE"


# References

@pytest.mark.parametrize("name", ["update", "update16", "residual"])
def test_references_wrong_and_missing(streams, exact, name):
    stream, references = streams[name]
    assert outcome(stream, [], exact[name]) == "MISSING_REFERENCE"
    assert outcome(stream, [network_model(5)], exact[name]) == "MISSING_REFERENCE"
    assert outcome(stream, [network_model(5), *references], exact[name]) == "exact"


@pytest.mark.parametrize(("order", "expected"), [
    ("ab", "exact"), ("ba", "exact"), ("aba", "exact"), ("a", "MISSING_REFERENCE"),
])
def test_references_in_any_order(order, expected):
    models = {"a": network_model(), "b": network_model(3)}
    merged = Model(changed(models["a"]).tensors[:3] + changed(models["b"]).tensors[3:])
    stream = encode(merged, references=[models["a"], models["b"]])
    assert outcome(stream, [models[name] for name in order], merged) == expected


def test_equal_tensors_of_other_names_are_another_reference(streams, exact):
    other = Model([Tensor(t.name + "x", t.array) for t in network_model().tensors])
    assert outcome(streams["update"][0], [other], exact["update"]) == "MISSING_REFERENCE"


# Files that would be written

def test_no_file_is_left_by_a_damaged_source(streams, tmp_path, capsys, monkeypatch):
    """Damage in topology() and tensors of an ONNX stream: the command fails and leaves nothing, or writes a file."""
    monkeypatch.setattr(Parser, "_check_seal", lambda *_: None)          # as if the model had been sealed anew
    rng, whole, codes = random.Random(4), plain(streams["onnx"][0]), []
    inside = tmp_path / "folder"
    inside.mkdir()
    for _ in range(250):
        units = list(whole)
        topology = next(i for i, u in enumerate(units) if u[0] >> 2 == UnitType.TOPOLOGY)
        k = topology if rng.random() < 0.7 else rng.randrange(len(units))
        units[k] = reseal(damaged(units[k], rng, 2, len(units[k]) - 4))
        (tmp_path / "m.omc").write_bytes(glue(units))
        codes.append(main(["decode", str(tmp_path / "m.omc"), "-o", str(inside / "out.onnx")]))
        left = sorted(p.name for p in inside.iterdir())
        assert left == ([] if codes[-1] else ["out.onnx"])
        (inside / "out.onnx").unlink(missing_ok=True)
    assert {0, 10, 12} <= set(codes) <= {0, 10, 11, 12}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "m.omc"]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("path", ["../out", "/tmp/out", "a/../../out", "a//b", "", ".", "..", "C:out", "a\\b",
                                  pytest.param("x" * 300, id="300 letters")])
def test_paths_of_a_source_stay_inside(streams, tmp_path, path):
    model = decode(streams["onnx"][0])
    model.source.files[0].path = path
    (tmp_path / "in").mkdir()
    with pytest.raises(OmcError) as error:
        save(decode(encode(model)), tmp_path / "in" / "m.onnx")
    assert error.value.code in ("BAD_PATH", "RESOURCE_LIMIT")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert not list((tmp_path / "in").iterdir())


# Headers that ask for much

def crafted(entry: TensorEntry, d: TensorDescriptor, payload: bytes = b"", level: int = 4, count: int = 1) -> bytes:
    """A stream of `count` equal tensors whose checks all fit, but for digests of tensors."""
    limits, dtype = LEVELS[level], BY_CODE[entry.element_type]
    d.piece_digests = bytes(STATED_BYTES * piece_count(math.prod(entry.dimension) * dtype.parts, dtype.word_bytes))
    entries = [TensorEntry(f"{entry.tensor_name}{i}", entry.element_type, entry.rank, list(entry.dimension))
               for i in range(count)]
    header = ModelHeader("big", tensor_count=count, tensor=entries)
    state = ModelState(2, 0, header, entries)

    def unit(kind, function, x):
        writer = Writer(limits, None, state)
        function(writer, x)
        return seal_unit(kind, writer.body())

    seal = stated(seal_of(bytes(32), header.model_name, [None] * 3))
    units = [unit(UnitType.STREAM_HEADER, syntax.stream_header, StreamHeader(profile=2, level=level)),
             unit(UnitType.MODEL_HEADER, syntax.model_header, header)]
    for i in range(count):
        d.tensor_index_delta = i
        x = TensorData(0, [d], 0, [Payload(len(payload), 0, payload, b"")] if payload else [])
        units.append(unit(UnitType.TENSOR_DATA, syntax.tensor_data, x))
    units.append(unit(UnitType.MODEL_END, syntax.model_end, ModelEnd(count, bytes(32), seal)))
    units.append(unit(UnitType.STREAM_END, syntax.stream_end, StreamEnd(1, len(units) + 1, 0)))
    return glue(units)


def direct(**options) -> TensorDescriptor:
    """A descriptor of the representation DIRECT, with one component."""
    return TensorDescriptor(component=[Component(**options)])


def words_descriptor(**options) -> TensorDescriptor:
    return direct(quantiser=Quantiser.NONE, entropy_mode=EntropyMode.CC, **options)


@pytest.mark.parametrize("shape", [
    (1 << 36,), (1 << 18, 1 << 18), (3, 1 << 34), (1 << 12,) * 3, (1,) * 45 + (1 << 35,),
], ids=["vector", "square", "wide", "cube", "many axes"])
@pytest.mark.parametrize("memory", [None, 1 << 20, 1 << 60], ids=["the machine's", "1 MiB", "2^60"])
@pytest.mark.parametrize(("parameters", "payload"), [
    pytest.param(dict(quantiser=Quantiser.NONE, entropy_mode=EntropyMode.CC), bytes(100), id="words"),
    pytest.param(dict(quantiser=Quantiser.UNIFORM, entropy_mode=EntropyMode.CM), bytes(100), id="levels"),
    pytest.param(dict(quantiser=Quantiser.NONE, entropy_mode=EntropyMode.RAW), bytes(100), id="raw"),
    pytest.param(dict(quantiser=Quantiser.CODEBOOK, entropy_mode=EntropyMode.CC, codebook=Codebook(0, 0, b"\1\2")), b"",
                 id="constant"),
])
def test_huge_tensors_fail_before_they_are_allocated(shape, parameters, payload, memory):
    unbounded = memory == 1 << 60                  # the address space, as its owner asked for it
    if unbounded and not payload:
        memory = 1 << 30
    entry = TensorEntry("huge", BY_NAME["bfloat16"].code, len(shape), list(shape))
    stream = crafted(entry, direct(**parameters), payload)
    with at_most(bytes=None if unbounded else (1 << 20) + 8 * len(stream)), pytest.raises(OmcError) as error:
        decode(stream, max_memory=memory)
    assert error.value.code in ("RESOURCE_LIMIT", "ENTROPY_END", "BAD_SIZE")


@pytest.mark.parametrize("named", [0, 1, 100, (1 << 18) - 1])
def test_huge_tensors_name_their_pieces(named):
    """2^36 elements of 4 bytes have 2^18 pieces; a unit that names fewer ends too early, and no list is made."""
    entry = TensorEntry("huge", BY_NAME["float32"].code, 1, [1 << 36])
    whole = crafted(entry, words_descriptor(), bytes(100))
    units, data = cut(whole), Parser(ByteSource(whole)).parse().units[2]
    units[2] = seal_unit(data.type, whole[data.body_offset : data.end - 4][: 9 + STATED_BYTES * named])
    stream = glue(units)
    with at_most(bytes=(1 << 20) + 8 * len(stream)), pytest.raises(OmcError) as error:
        decode(stream)
    assert (error.value.code, error.value.unit) == ("TRUNCATED", 2)


def test_elements_need_bytes():
    """The number of elements is compared with the bytes of the payload before memory is taken (SPEC 9.1.4)."""
    entry = TensorEntry("zeros", BY_NAME["float32"].code, 2, [4096, 1024])
    with pytest.raises(OmcError) as error:
        decode(crafted(entry, words_descriptor(), bytes(255), level=1))
    assert error.value.code == "ENTROPY_END"
    assert error.value.unit == 2
    with pytest.raises(OmcError) as error:
        decode(crafted(entry, words_descriptor(), bytes(257), level=1))  # taken up, and then found to end early
    assert error.value.code in ("ENTROPY_END", "OUT_OF_RANGE", "DIGEST_MISMATCH")


@pytest.mark.parametrize("config", [Config(), Config(step=0.5, states=0), Config(step=0.5, coder="cm")],
                         ids=["words", "cc", "cm"])
def test_tensors_of_zeros_have_bytes_enough(config):
    flat = Model([Tensor("flat", np.zeros((2048, 1024), np.float32)), Tensor("tail", np.eye(1024, dtype=np.float32))])
    assert decode(encode(flat, config)).tensors[0].array.any() == 0


def test_empty_tensors_with_huge_dimensions():
    shape = [0] + [1 << 22] * 6
    entry = TensorEntry("empty", BY_NAME["float32"].code, len(shape), shape)
    state = ModelState(2, 0, ModelHeader(), [entry])
    writer = Writer(LEVELS[1], None, state)
    with pytest.raises(OmcError) as error:
        syntax.tensor_entry(writer, entry)
    assert error.value.code == "RESOURCE_LIMIT"


def test_counts_are_checked_against_what_is_left_of_the_unit():
    writer = Writer(LEVELS[4], None, None)
    writer.string("model_name", "")
    writer.u("enhancement_flag", 0, 1)
    writer.ue("reference_count", 0)
    writer.u("inherit_flag", 0, 1)
    writer.ue("tensor_count", LEVELS[4].tensors)
    units = [seal_unit(UnitType.STREAM_HEADER, bytes([0, 2, 2, 4])), seal_unit(UnitType.MODEL_HEADER, writer.body())]
    with at_most(bytes=1 << 20), pytest.raises(OmcError) as error:
        decode(glue(units))
    assert error.value.code == "TRUNCATED"


def test_memory_of_the_whole_model():
    """Many small tensors that make up a large model: the library keeps all of them, and asks first."""
    entry = TensorEntry("t", BY_NAME["float32"].code, 2, [1024, 1024])
    constant = direct(quantiser=Quantiser.CODEBOOK, entropy_mode=EntropyMode.CC, codebook=Codebook(0, 0, b"abcd"))
    stream = crafted(entry, constant, level=1, count=100)
    with pytest.raises(OmcError) as error:
        decode(stream, max_memory=100 << 20)
    assert error.value.code == "RESOURCE_LIMIT"
    with pytest.raises(OmcError) as error:
        decode(stream, max_memory=500 << 20, max_output=500 << 20)
    assert error.value.code == "DIGEST_MISMATCH"


@pytest.mark.parametrize("spread", [False, True])
def test_joined_units_that_multiply_work_are_refused(spread):
    """Units that each need all units of the stage before: without memory for all of them, work grows by powers."""
    limits, width, stages, size = LEVELS[1], 8, 8, 8192
    entries = [TensorEntry(f"t{i}", BY_NAME["float32"].code, 1, [size]) for i in range(width * width * stages)]
    state = ModelState(0, 0, ModelHeader("work"), entries)
    refused_at = None
    for unit in range(width * stages):
        stage, u = divmod(unit, width)
        descriptors = []
        for c in range(width):
            d = direct(quantiser=Quantiser.CODEBOOK, entropy_mode=EntropyMode.CC, codebook=Codebook(0, 0, b"abcd"))
            own = unit * width + c
            if stage:
                source = ((stage - 1) * width + c) * width + u if spread else own - width * width
                d = TensorDescriptor(prediction_mode=PredictionMode.COPY, reference_tensor_delta=source - own)
            d.tensor_index_delta = 0 if c else own
            descriptors.append(d)
        try:
            syntax.tensor_data(Writer(limits, None, state), TensorData(width - 1, descriptors))
        except OmcError as error:
            assert error.code == "RESOURCE_LIMIT"
            refused_at = stage
            break
    assert refused_at == (4 if spread else None)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """50 MiB of zeros, deflated."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(bytes(50 << 20)) + machine.flush()


@pytest.mark.parametrize(("promised", "code"), [
    (1000, "BAD_SIZE"), (1 << 22, "BAD_SIZE"), (1 << 23, "RESOURCE_LIMIT"), (1 << 40, "RESOURCE_LIMIT"),
])
def test_bombs_in_coded_bodies_stop_at_the_promised_size(bomb, promised, code):
    unit = seal(bytes([UnitType.MODEL_HEADER << 2 | UnitCoding.DEFLATE]) + leb(len(bomb)) + leb(promised), bomb)
    stream = glue([seal_unit(UnitType.STREAM_HEADER, bytes([0, 2, 2, 1])), unit])
    with at_most(bytes=16 << 20), pytest.raises(OmcError) as error:
        decode(stream)
    assert error.value.code == code


# Values that lossy coding must not destroy

@pytest.mark.parametrize("config", [
    Config(step=0.01), Config(step=0.01, states=0), Config(snr=20), Config(step=0.01, coder="cm"),
], ids=["trellis", "no trellis", "snr", "cm"])
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float64"])
def test_nan_and_infinity_are_kept_exactly(config, kind):
    model = network_model(dtype=BY_NAME[kind].numpy)
    special = ((0, (3, 4), np.nan), (2, (1, 1, 1, 1), -np.inf), (1, (2,), np.inf), (3, (0,), np.nan))
    for index, position, value in special:
        model.tensors[index].array[position] = value
    decoded = decode(encode(model, config))
    for index in (0, 1, 2, 3):
        a, b = model.tensors[index], decoded.tensors[index]
        assert np.array_equal(a.words, b.words), a.name             # a tensor with such a value is lossless
    assert not np.array_equal(model.tensors[4].words, decoded.tensors[4].words)


@pytest.mark.parametrize("config", [Config(), Config(step=0.002), Config(step=0.002, coder="cm")],
                         ids=["lossless", "cc", "cm"])
def test_prediction_from_a_reference_with_nan(config):
    base = structures_model()
    base.tensors[0].array[0, :3] = [np.nan, np.inf, -np.inf]
    moved = changed(structures_model(), 1e-3)
    decoded = decode(encode(moved, config, [base]), [base])
    assert np.isfinite(decoded["w"].array).all()
    if not config.lossy:
        assert same_tensors(decoded, moved)
