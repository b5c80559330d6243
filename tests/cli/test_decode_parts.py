"""refcodec decode: rows of tensors, and tensors in another type."""

from __future__ import annotations

import os

import ml_dtypes
import numpy as np
import pytest
from helpers import weights

from refcodec import Model, Tensor, load, save
from refcodec.cli.exit_codes import CONFIG, FORMAT


@pytest.fixture
def whole(files) -> dict[str, np.ndarray]:
    """The tensors of m.omc by name."""
    return {t.name: t.array for t in load("m.safetensors").tensors}


# Rows

@pytest.mark.parametrize("rows, key", [("1:3", slice(1, 3)), (":2", slice(2)), ("-2:", slice(-2, None)),
                                       (":", slice(None)), ("-3:-1", slice(-3, -1)), ("3:1", slice(3, 1)),
                                       ("2:1000000", slice(2, None))])
def test_rows_of_a_tensor(whole, run, rows, key):
    run("decode", "m.omc", "-o", "rows.npz", "--tensor", f"fc2.weight[{rows}]", "--tensor", "steps")
    found = np.load("rows.npz")
    assert sorted(found) == ["fc2.weight", "steps"]
    assert np.array_equal(found["fc2.weight"], whole["fc2.weight"][key])


@pytest.mark.parametrize("output", ["rows.safetensors", "rows.npy", "rows.npz"])
def test_rows_into_any_format(whole, run, output):
    run("decode", "m.omc", "-o", output, "--tensor", "fc2.weight[1:3]")
    assert np.array_equal(load(output).tensors[0].array, whole["fc2.weight"][1:3])


@pytest.mark.parametrize("wanted", [["fc2.weight[1]"], ["fc2.weight[1:2:3]"], ["fc2.weight[a:b]"], ["none[1:2]"],
                                    ["fc2.weight[:1]", "fc2.weight[2:]"], ["fc2.weight", "fc2.weight[2:]"]])
def test_rows_that_cannot_be_had(files, run, wanted):
    run("decode", "m.omc", "-o", "rows.npz", *(x for w in wanted for x in ("--tensor", w)), code=CONFIG)
    assert not os.path.exists("rows.npz")


def test_names_with_brackets_and_scalars(files, run, refused):
    save(Model([Tensor("a", weights((8, 3))), Tensor("a[1:2]", weights((5, 2), seed=1)), Tensor("s", np.float32(2))]),
         "odd.safetensors")
    run("encode", "odd.safetensors", "-o", "odd.omc")
    run("decode", "odd.omc", "-o", "one.npz", "--tensor", "a[1:2]")
    assert np.load("one.npz")["a[1:2]"].shape == (5, 2)
    assert "scalar" in refused("decode", "odd.omc", "-o", "two.npz", "--tensor", "s[0:1]", code=CONFIG)


# Types

@pytest.fixture
def typed(files, run) -> Model:
    """t.omc: tensors of several types."""
    model = Model([Tensor("a", weights((9, 7))), Tensor("b", weights((5, 4), np.float64)), Tensor("i", np.arange(5)),
                   Tensor("c", np.array([1, np.inf, -np.inf, np.nan, -0.0], ml_dtypes.bfloat16))])
    save(model, "t.safetensors")
    run("encode", "t.safetensors", "-o", "t.omc")
    return model


@pytest.mark.parametrize("name, dtype", [("fp64", np.float64), ("fp32", np.float32), ("float16", np.float16),
                                         ("bf16", ml_dtypes.bfloat16)])
@pytest.mark.parametrize("output", ["again.npz", "again.safetensors"])
def test_tensors_in_another_type(typed, run, name, dtype, output):
    printed = run("decode", "t.omc", "-o", output, "--dtype", name)
    found = load(output)
    for tensor in typed.tensors:
        expected = tensor.array if tensor.name == "i" else tensor.array.astype(dtype)
        assert found[tensor.name].array.dtype == expected.dtype
        assert np.array_equal(found[tensor.name].array, expected, equal_nan=tensor.name == "c")
    assert "not the words that were coded" in printed


def test_values_are_rounded_once(files, run):
    """Just above the middle of two values of bfloat16: by way of float32 it would be a tie, and go down."""
    save(Model([Tensor("w", np.array([1 + 2**-8 + 2**-40]))]), "t.npz")
    run("encode", "t.npz", "-o", "t.omc")
    run("decode", "t.omc", "-o", "again.npz", "--dtype", "bf16")
    assert load("again.npz")["w"].array[0] == 1 + 2**-7


@pytest.mark.parametrize("wanted", ["fp32", "float32"])
def test_one_tensor_in_another_type(typed, run, wanted):
    run("decode", "t.omc", "-o", "one.npy", "--dtype", wanted, "--tensor", "b[1:3]")
    assert np.array_equal(np.load("one.npy"), typed["b"].array[1:3].astype(np.float32))


def test_values_that_a_type_cannot_hold(files, run, refused):
    save(Model([Tensor("w", np.array([1e6, 1.0]))]), "t.npz")
    run("encode", "t.npz", "-o", "t.omc")
    assert "'w' has values that float16 cannot hold" in refused("decode", "t.omc", "-o", "x.npz", "--dtype", "fp16",
                                                                code=CONFIG)
    assert not os.path.exists("x.npz")


@pytest.mark.parametrize("output, dtype, code", [("x.npz", "int8", CONFIG), ("x.npz", "fp17", CONFIG),
                                                 ("x.onnx", "fp16", FORMAT)])
def test_types_and_outputs_that_do_not_go(files, refused, output, dtype, code):
    refused("decode", "m.omc", "-o", output, "--dtype", dtype, code=code)
    assert not os.path.exists(output)
