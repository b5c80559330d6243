"""refcodec compare: how two models differ, and that unlike ones are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refcodec import Model, Tensor, save
from refcodec.cli.exit_codes import FORMAT


@pytest.fixture
def compared(run):
    """Compares two files; returns the result."""
    return lambda *files: json.loads(run("compare", "--json", *files))


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_file_and_its_lossless_stream_are_equal(files, run, compared):
    x = compared("m.safetensors", "m.omc")
    assert (x["equal"], x["tensors"], x["compared"], x["unlike"]) == (True, 6, 6, False)
    assert (x["snr_db"], x["max_error"]) == (None, 0)
    assert run("compare", "m.omc", "m.omc") == "all 6 tensors are equal, bit for bit\n"


def test_a_lossy_stream_has_an_error(files, run, compared):
    run("encode", "m.safetensors", "-o", "a.omc", "--snr", 30)
    x = compared("m.safetensors", "a.omc")
    assert not x["equal"]
    assert x["snr_db"] > 29.5
    assert {r["name"]: r["equal"] for r in x["per_tensor"]}["steps"]
    assert "total SNR 3" in run("compare", "m.safetensors", "a.omc")


def test_models_without_a_common_tensor_are_told_to_be_unlike(files, run, compared):
    save(Model([Tensor(f"other.{n}", floats(3)) for n in range(5)]), "other.npz")
    x = compared("m.omc", "other.npz")
    assert (x["unlike"], x["compared"], x["tensors_of_first"], x["tensors_of_second"]) == (True, 0, 6, 5)
    assert x["snr_db"] is None
    assert run("compare", "m.omc", "other.npz").splitlines() == [
        "these models are unlike: none of the 6 tensors of m.omc and the 5 of other.npz are of one name, type and "
        "shape",
        "   only in m.omc: fc1.weight, fc1.bias, conv.weight and 3 more",
        "   only in other.npz: other.0, other.1, other.2 and 2 more"]


def test_models_with_few_common_tensors_are_compared_as_far_as_they_go(files, run, compared):
    save(Model([Tensor("a", floats(4)), Tensor("b", floats(4)), Tensor("c", floats(4))]), "a.npz")
    save(Model([Tensor("a", floats(4) + 1), Tensor("b", floats(5)), Tensor("d", floats(4))]), "b.npz")
    x = compared("a.npz", "b.npz")
    assert (x["unlike"], x["compared"], x["changed"], x["tensors"]) == (True, 1, 4, 4)
    text = run("compare", "a.npz", "b.npz")
    assert "these models are unlike: 1 of the 3 tensors of a.npz and the 3 of b.npz" in text
    assert "another type or shape: b float32 [4], float32 [5]" in text
    assert "of the 1 that can be compared" in text


def test_a_tensor_more_does_not_make_models_unlike(files, run, compared):
    save(Model([Tensor("a", floats(4)), Tensor("b", floats(4))]), "a.npz")
    save(Model([Tensor("a", floats(4)), Tensor("b", floats(4)), Tensor("c", floats(4))]), "b.npz")
    assert not compared("a.npz", "b.npz")["unlike"]
    text = run("compare", "a.npz", "b.npz")
    assert "only in the second: c" in text
    assert "unlike" not in text


def test_values_beyond_the_squares_of_float64_are_valid_json(files, compared):
    save(Model([Tensor("a", np.array([1e308, -1e308]))]), "a.npz")
    save(Model([Tensor("a", np.array([-1e308, 1e308]))]), "b.npz")
    x = compared("a.npz", "b.npz")
    assert not x["equal"]
    assert x["max_error"] > 1e308
    assert np.isfinite(x["max_error"])


def test_what_is_no_model_is_refused(files, run):
    (files / "text.txt").write_text("hello")
    run("compare", "m.omc", "text.txt", code=FORMAT)
