"""The strict validator: right requirement for each invalid stream, nothing for the valid ones, and it stands any
bytes."""

from __future__ import annotations

import json
import pathlib
import random
import zlib

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from refcodec import Model, Tensor, encode
from refcodec.bitstream.units import ByteSource, read_unit
from refcodec.checker.dump import read_dump
from refcodec.checker.manifest import load_manifest
from refcodec.cli.main import main
from refcodec.errors import OmcError
from refcodec.formats import load
from refcodec.model import ActivationFormat, Literal, Slot, SlotCoding, Source, SourceFile
from refcodec.validator import requirements, validate
from refcodec.validator.findings import Kind

ROOT = pathlib.Path(__file__).resolve().parents[2]

import requirement_texts  # noqa: E402

SUITE = load_manifest(ROOT / "conformance" / "manifest.json")
INVALID = [s for s in SUITE.streams if s.kind == "invalid"]
VALID = [s for s in SUITE.streams if s.kind != "invalid"]

# Streams that break another requirement before theirs, too.
EARLIER = {"x-r7_4_2-2-empty": "R4.3-1", "x-r7_10-1-dropped": "R7.9.1-1", "x-r8_5-5-mantissa": "R4.4-7",
           "x-r7_7_1-5-copy": "R7.7.1-3", "x-r7_4-5-references": "R4.3-1", "x-r4_4-1-literalsize": "R7.5-1"}
UNWRITABLE = ("n-slots",)           # their tensors decode; their files cannot be written


def found(stream, every: bool = True):
    return validate(str(stream.file), [read_dump(r) for r in stream.references], every=every)


def rules(validation) -> list[str]:
    return [f.rules[0] for f in validation.violations]


def texts(validation, kind: Kind) -> list[str]:
    return [f.message for f in validation.of_kind(kind)]


# Against SPEC.md and the suite

def test_the_quoted_texts_are_those_of_the_standard():
    assert requirement_texts.HOME.read_text() == requirement_texts.text_of((ROOT / "SPEC.md").read_text()), \
        "run python tools/requirement_texts.py"
    assert "coded_body shall be well formed" in requirements()["R7.2-4"].text
    assert requirements()["R9.8-1"].text.endswith("and the bits after the last integer shall be 0. (ENTROPY_END)")


@pytest.mark.parametrize("part", range(4))
def test_invalid_streams_break_the_requirement_that_they_were_made_for(part):
    for stream in INVALID[part::4]:
        validation = found(stream)
        first = validation.violations[0]
        assert validation.exit_code == (11 if stream.requirements == ("R8.2-1",) else 10), stream.id
        assert (first.unit, first.bit) == (stream.expected.unit, stream.expected.bit), stream.id
        assert first.code in stream.expected.codes or stream.id in EARLIER, stream.id
        assert set(first.rules) & {*stream.requirements, EARLIER.get(stream.id)}, (stream.id, first.rules)
        assert all(r in requirements() for f in validation.violations for r in f.rules)


@pytest.mark.parametrize("part", range(4))
def test_valid_streams_break_none(part):
    for stream in VALID[part::4]:
        validation = found(stream)
        if stream.id in UNWRITABLE:
            assert validation.violations, stream.id
            assert all(r.startswith("R8.9") for r in rules(validation)), stream.id
            continue
        assert (validation.exit_code, validation.violations) == (0, []), stream.id
        assert validation.tensors >= len(stream.expected.tensors), stream.id


# Going on after a violation

def units(stream: bytes) -> list:
    source, offset, cut = ByteSource(stream), 4, []
    while offset < len(stream):
        cut.append(read_unit(source, offset, len(cut)))
        offset = cut[-1].end
    return cut


def damaged(stream: bytes, unit: int, byte: int, seal: bool = True) -> bytes:
    """A bit of a body turned over, the unit's check made right again or not."""
    data, u = bytearray(stream), units(stream)[unit]
    data[u.body_offset + byte % u.size] ^= 1
    if seal:
        data[u.end - 4:u.end] = zlib.crc32(data[u.offset:u.end - 4]).to_bytes(4, "big")
    return bytes(data)


@pytest.fixture(scope="module")
def three() -> bytes:
    rng = np.random.default_rng(3)
    return encode(
        Model([Tensor(name,
                      rng.normal(size=(300, 40)).astype(np.float32)) for name in "abc"], metadata={"k": b"v"}))


def test_all_violations_of_all_units(three):
    cut = units(three)
    tensor_units = [u.number for u in cut if u.type == 5]
    (metadata,) = [u.number for u in cut if u.type == 6]
    bad = damaged(damaged(three, tensor_units[1], -1), metadata, 0, seal=False) + b"?"
    validation = validate(bad, every=True)
    assert [(f.rules[0], f.unit) for f in validation.violations] == [
        ("R7.2-8", metadata), ("R7.1-4", cut[-1].number), ("R8.8-1", tensor_units[1])]
    assert validation.tensors == 2
    assert rules(validate(bad)) == ["R7.2-8"]


def test_what_depends_on_damage_is_not_checked():
    base = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    models = [Model([Tensor("w", base), Tensor("v", base[:5])], name=str(i)) for i in range(3)]
    stream = encode(models)
    first = next(u.number for u in units(stream) if u.type == 5)
    validation = validate(damaged(stream, first, -1), every=True)
    assert len(validation.violations) == 1
    assert validation.violations[0].unit == first
    assert any("predicted from" in t for t in texts(validation, Kind.UNCHECKED))
    # A damaged description: neither the index nor the model's end can be held against it.
    validation = validate(damaged(stream, first, 0, seal=False), every=True)
    assert rules(validation) == ["R7.2-8"]
    assert any(t.startswith("R7.10-1, as") for t in texts(validation, Kind.UNCHECKED))
    # A damaged model header: its units have no meaning, those of models that refer to it neither.
    validation = validate(damaged(stream, 1, 0, seal=False), every=True)
    assert rules(validation) == ["R7.2-8"]
    assert validation.tensors == 0
    assert validation.models == 3


# What a decoder need not check

def with_source(files: list[SourceFile]) -> bytes:
    return encode(Model([Tensor("w", np.arange(6, dtype=np.int32))], source=Source("onnx", files)))


def test_source_files():
    slot = Slot(0, SlotCoding.PLAIN, 24)
    assert validate(with_source([SourceFile("m.onnx", [Literal(b"x"), slot])])).exit_code == 0
    assert rules(validate(with_source([SourceFile("../m.onnx", [slot])]))) == ["R8.9.1-1"]
    assert rules(validate(with_source([SourceFile("m", [slot]), SourceFile("m/n", [])]))) == ["R8.9.1-2"]
    assert rules(validate(with_source([SourceFile("m", [Slot(0, SlotCoding.PACKED, 24)])]))) == ["R8.9.2-1"]
    assert rules(validate(with_source([SourceFile("m", [Slot(0, SlotCoding.PLAIN, 23)])]))) == ["R8.9-1"]
    assert rules(validate(with_source([SourceFile("m", [Slot(0, SlotCoding.VARINT, 6)])]))) == []
    assert rules(validate(with_source([SourceFile("m", [Slot(0, SlotCoding.VARINT, 7)])]))) == ["R8.9-1"]
    both = validate(with_source([SourceFile("a:b", [slot]), SourceFile("", [slot])]), every=True)
    assert rules(both) == ["R8.9.1-1", "R8.9.1-1"]


@pytest.fixture
def layer(tmp_path) -> Model:
    """A network of one product: rows of weights 1, 2, 3 / 64 and -4 / 64."""
    weights = (np.array([[1, 2, 3], [-4, 0, 0]]) / 64).astype(np.float32)
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["y"], "fc", transB=1)], "g",
                              [helper.make_tensor_value_info("x", 1, [1, 3])],
                              [helper.make_tensor_value_info("y", 1, [1, 2])], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    return load(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("width, fits", [(11, False), (12, True)])
def test_accumulators(layer, width, fits):
    # Activations 0..255: sums of 0..6 * 255 and -4 * 255..0, 11 bits and a sign
    (layer.layers[0], ) = [
        type(x)(x.name, x.operator_domain, x.operator_name, x.tensors, ActivationFormat(False, 8, 0, width))
        for x in layer.layers
    ]
    assert rules(validate(encode(layer))) == ([] if fits else ["R7.6.4-1"])


def test_advice():
    assert any("DEFLATE takes" in t for t in texts(found(SUITE["n-stored"]), Kind.WARNING))
    assert any("extension" in t for t in texts(found(SUITE["extensions"]), Kind.WARNING))
    assert any("tensor_role" in t for t in texts(found(SUITE["folds"]), Kind.WARNING))
    doubled = with_source([SourceFile("m", [Literal(b"x"), Literal(b"y"), Slot(0, SlotCoding.PLAIN, 24)])])
    assert texts(validate(doubled), Kind.WARNING) == ["file 'm': neighbouring literals could be one"]


# Any bytes

@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(s, marks=pytest.mark.soak) for s in range(4, 200))])
def test_any_damage_is_told(seed):
    rng = random.Random(seed)
    small = [s for s in SUITE.streams if s.size < 3000 and len(s.requirements) < 2]
    for stream in rng.sample(small, 60):
        data, references = stream.file.read_bytes(), [read_dump(r) for r in stream.references]
        try:
            bodies = [u for u in units(data) if u.size]
        except OmcError:                # an invalid one: as it is
            bodies = []
        if bodies and rng.random() < 0.8:
            data = bytes(damaged(data, (u := rng.choice(bodies)).number, rng.randrange(u.size)))
        else:
            cut = rng.randrange(len(data) + 1)
            data = data[:cut] + rng.randbytes(rng.randrange(4)) + data[cut + rng.randrange(4):]
        every = validate(data, references, every=True)
        first = validate(data, references)
        assert first.violations[:1] == every.violations[:1], stream.id
        assert first.exit_code in (0, 10, 11)


# The command

def test_command(tmp_path, capsys, three):
    good, bad = tmp_path / "good.omc", tmp_path / "bad.omc"
    good.write_bytes(three)
    bad.write_bytes(damaged(three, 2, -1) + b"?")
    assert main(["validate", str(good)]) == 0
    assert capsys.readouterr().out.startswith("valid: ")
    assert main(["validate", str(bad)]) == 10
    out = capsys.readouterr().out
    assert "R7.1-4 TRAILING_DATA at unit" in out
    assert 'SPEC 7.1 Order of units [R7.1-4]: "No byte shall follow' in out
    assert main(["validate", "--all", "--json", str(bad)]) == 10
    told = json.loads(capsys.readouterr().out)
    assert [f["requirements"][0]["id"] for f in told["findings"] if f["kind"] == "violation"] == ["R7.1-4", "R8.8-1"]
    assert (told["valid"], told["exit"]) == (False, 10)
    assert main(["validate", str(tmp_path / "none.omc")]) == 12


def test_references(tmp_path, capsys):
    stream = next(s for s in VALID if s.references)
    assert main(["validate", str(stream.file)]) == 11
    assert "[R8.2-1]" in capsys.readouterr().out
    options = [part for r in stream.references for part in ("--reference", str(r))]
    assert main(["validate", str(stream.file), *options]) == 0
