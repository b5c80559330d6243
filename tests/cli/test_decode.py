"""refcodec decode: models, tensors, layers and prefixes out of streams; nothing stands there when it fails."""

from __future__ import annotations

import os

import numpy as np
import pytest
from helpers import weights

from refcodec import Model, Tensor, load, save
from refcodec.bitstream.parser import parse
from refcodec.cli.exit_codes import CONFIG, FORMAT, REJECTED, UNSUPPORTED


@pytest.fixture
def update(files, run):
    """u.omc: m2.safetensors as an update of m.safetensors."""
    run("encode", "m2.safetensors", "-o", "u.omc", "--reference", "m.safetensors")
    return files


def test_an_update_is_smaller(update):
    assert os.path.getsize("u.omc") < os.path.getsize("m.omc")


@pytest.mark.parametrize("reference", ["m.safetensors", "m.omc"])
def test_an_update_gives_the_file_back(update, run, reference):
    run("decode", "u.omc", "-o", "again.safetensors", "--reference", reference)
    assert (update / "again.safetensors").read_bytes() == (update / "m2.safetensors").read_bytes()


@pytest.mark.parametrize("references, code", [
    ([], UNSUPPORTED), (["m2.safetensors"], UNSUPPORTED), (["none.safetensors"], FORMAT)])
def test_an_update_without_its_reference_is_refused(update, run, references, code):
    run("decode", "u.omc", "-o", "again.safetensors", *(x for r in references for x in ("--reference", r)), code=code)
    assert not os.path.exists("again.safetensors")


def test_a_wrong_reference_is_told_beside_the_wanted_one(update, refused):
    wanted, given = (load(name).digest().hex()[:16] for name in ("m.safetensors", "m2.safetensors"))
    said = refused("decode", "u.omc", "-o", "x.npz", "--reference", "m2.safetensors", code=UNSUPPORTED)
    assert wanted in said
    assert f"given: {given}... ('m2.safetensors')" in said


@pytest.mark.parametrize("line", [
    ("decode", "u.omc", "-o", "x.npz"), ("compare", "u.omc", "m.omc"), ("info", "u.omc", "--why"),
    ("trace", "u.omc", "--bins", "--tensor", "fc1.weight")])
def test_every_command_says_that_no_reference_was_given(update, refused, line):
    assert "given: none; pass the model as --reference FILE" in refused(*line, code=UNSUPPORTED)


def test_a_model_that_is_not_there(files, run):
    run("encode", "m.safetensors", "m2.safetensors", "-o", "both.omc")
    run("decode", "both.omc", "--model", 2, "-o", "y.safetensors", code=REJECTED)
    assert not os.path.exists("y.safetensors")


def test_single_tensors(files, run):
    run("decode", "m.omc", "-o", "one.npz", "--tensor", "fc2.weight", "--tensor", "steps")
    found = np.load("one.npz")
    assert sorted(found) == ["fc2.weight", "steps"]
    assert np.array_equal(found["fc2.weight"], load("m.safetensors")["fc2.weight"].array)


@pytest.mark.parametrize("output, tensor, code", [("two.npz", "no such", CONFIG), ("two.onnx", "steps", FORMAT)])
def test_tensors_that_are_not_there_or_have_no_place(files, run, output, tensor, code):
    run("decode", "m.omc", "-o", output, "--tensor", tensor, code=code)
    assert not os.path.exists(output)


@pytest.mark.parametrize("output", ["x.gguf", "x.pt", "x.bin", "x", "x.omc", "new/", "new"])
def test_an_output_of_unknown_kind_is_refused(files, refused, output):
    assert ".npz" in refused("decode", "m.omc", "-o", output, code=FORMAT)
    assert not os.path.exists(output)


def test_an_output_of_another_kind_than_the_source_is_refused(files, run):
    run("decode", "m.omc", "-o", "m.onnx", code=FORMAT)
    assert not os.path.exists("m.onnx")


@pytest.fixture
def layers(files, run):
    """q.omc: three quality layers."""
    run("encode", "m.safetensors", "-o", "q.omc", "--quality-layers", 3)
    return files


def error_of(path) -> float:
    return float(np.abs(np.load(path)["fc1.weight"] - load("m.safetensors")["fc1.weight"].array).max())


def test_quality_layers_get_finer(layers, run):
    errors = []
    for n in (1, 2, 3):
        run("decode", "q.omc", "-o", "q.npz", "--quality", n)
        errors.append(error_of("q.npz"))
    assert errors[0] > 2 * errors[1] > 0 == errors[2]


def test_a_layer_that_is_not_there(layers, run):
    run("decode", "q.omc", "-o", "q4.npz", "--quality", 4, code=CONFIG)
    assert not os.path.exists("q4.npz")


def test_a_prefix_is_taken_where_it_is_allowed(layers, run):
    data = (layers / "q.omc").read_bytes()
    border = [u.end for u in parse(data).units if u.type == 8][0]
    (layers / "cut.omc").write_bytes(data[:border])
    run("decode", "cut.omc", "-o", "p.npz", code=REJECTED)
    run("decode", "cut.omc", "-o", "p.npz", "--allow-prefix")
    run("decode", "q.omc", "-o", "q.npz", "--quality", 1)
    assert error_of("p.npz") == error_of("q.npz")
    (layers / "cut.omc").write_bytes(data[: border + 9])
    run("decode", "cut.omc", "-o", "p2.npz", "--allow-prefix", code=REJECTED)
    assert not os.path.exists("p2.npz")


def test_memory_limit(files, run):
    save(Model([Tensor("large.weight", weights((500, 700)))]), files / "large.safetensors")
    run("encode", "large.safetensors", "-o", "large.omc", "--step", "0.001")
    run("decode", "large.omc", "-o", "l.safetensors", "--max-memory", "1M", code=UNSUPPORTED)
    assert not os.path.exists("l.safetensors")
    run("decode", "large.omc", "-o", "l.safetensors", "--max-memory", "20MiB")
    assert os.path.exists("l.safetensors")


def test_work_and_output_are_limited(files, refused):
    for option, value in (("--max-work", "1K"), ("--max-output", "1K")):
        line = refused("decode", "m.omc", "-o", "x.safetensors", option, value, code=UNSUPPORTED)
        assert "RESOURCE_LIMIT" in line
        assert "1024 are allowed" in line
        assert option in line
    assert not os.path.exists("x.safetensors")
