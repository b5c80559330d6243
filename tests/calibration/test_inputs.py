"""Inputs of networks from files and from noise, and what is said of those that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.networks import normal
from onnx import TensorProto, helper

from refcodec import ConfigError, FormatError
from refcodec.calibration.inputs import NOISE_ROWS, ROWS, digest_of, read_runs


def proto(**inputs):
    """A network with these inputs: a shape of floats, or (type, shape)."""
    infos = [helper.make_tensor_value_info(name, *(x if isinstance(x, tuple) else (TensorProto.FLOAT, x)))
             for name, x in inputs.items()]
    return helper.make_model(helper.make_graph([], "g", infos, []))


IMAGES = proto(x=["n", 3, 4])
SPEECH = proto(input=[None, None], state=[2, None, 5], rate=(TensorProto.INT64, []))


@pytest.fixture
def file(tmp_path):
    def file(**arrays) -> str:
        np.savez(tmp_path / "x.npz", **arrays)
        return str(tmp_path / "x.npz")
    return file


def shapes(runs):
    return [{name: a.shape for name, a in run.items()} for run in runs]


def test_a_batch_is_cut(file):
    x = normal(2 * ROWS + 5, 3, 4)
    runs = read_runs([file(x=x, labels=np.zeros(3))], IMAGES)
    assert [len(run["x"]) for run in runs] == [ROWS, ROWS, 5]
    assert np.array_equal(np.concatenate([run["x"] for run in runs]), x)


def test_types_are_the_networks(file):
    (run,) = read_runs([file(x=normal(2, 3, 4).astype(np.float64))], IMAGES)
    assert run["x"].dtype == np.float32
    (run,) = read_runs([file(x=np.ones((2, 3, 4), np.uint8))], IMAGES)
    assert run["x"].dtype == np.float32


def test_one_more_axis_counts_runs(file):
    runs = read_runs([file(input=normal(3, 2, 7), state=normal(3, 2, 2, 5), rate=np.array(8000))], SPEECH)
    assert shapes(runs) == [{"input": (2, 7), "state": (2, 2, 5), "rate": ()}] * 3


def test_scalars_of_runs(file):
    runs = read_runs([file(input=normal(2, 7), state=normal(2, 2, 5), rate=np.array([8, 16]))], SPEECH)
    assert [int(run["rate"]) for run in runs] == [8, 16]


def test_a_batch_of_one_counts_runs(file):
    runs = read_runs([file(x=normal(4, 3, 4))], proto(x=[1, 3, 4]))
    assert shapes(runs) == [{"x": (1, 3, 4)}] * 4


def test_a_batch_with_an_axis_elsewhere_is_one_run(file):
    (run,) = read_runs([file(input=normal(100, 7), state=normal(2, 100, 5), rate=np.array(8))], SPEECH)
    assert run["input"].shape == (100, 7)


def test_several_files(tmp_path):
    for width in (5, 6):
        np.savez(tmp_path / f"{width}.npz", x=normal(2, width))
    runs = read_runs([str(tmp_path / "5.npz"), str(tmp_path / "6.npz")], proto(x=["n", "w"]))
    assert shapes(runs) == [{"x": (2, 5)}, {"x": (2, 6)}]


def test_noise():
    (run,) = read_runs(["noise"], IMAGES)
    assert run["x"].shape == (NOISE_ROWS, 3, 4)
    assert 0.9 < run["x"].std() < 1.1
    runs = read_runs(["noise"], proto(x=[2, 3, 4]))
    assert shapes(runs) == [{"x": (2, 3, 4)}] * NOISE_ROWS
    assert not np.array_equal(runs[0]["x"], runs[1]["x"])
    assert digest_of(read_runs(["noise"], IMAGES)) == digest_of([run])


def test_the_digest_is_of_names_types_shapes_and_values():
    a = np.zeros((2, 3), np.float32)
    different = [[{"x": a}], [{"y": a}], [{"x": a.reshape(3, 2)}], [{"x": a.astype(np.float64)}], [{"x": a + 1}],
                 [{"x": a}, {"x": a}]]
    assert len({digest_of(runs) for runs in different}) == len(different)


@pytest.mark.parametrize("network, arrays, code, said", [
    (IMAGES, dict(y=np.zeros(3)), "BAD_SIZE", "no array for the network's input 'x' [?, 3, 4]; it has 'y'"),
    (IMAGES, dict(x=np.zeros((2, 4, 3))), "BAD_SIZE", "'x' has the shape [?, 3, 4]"),
    (IMAGES, dict(x=np.zeros(3)), "BAD_SIZE", "[3]"), (IMAGES, dict(x=np.zeros((0, 3, 4))), "BAD_SIZE", "empty"),
    (IMAGES, dict(x=np.full((2, 3, 4), np.nan)), "BAD_SIZE", "not finite"),
    (IMAGES, dict(x=np.full((2, 3, 4), "a")), "UNSUPPORTED_TYPE", "'x' takes float32"),
    (SPEECH, dict(input=np.zeros((2, 7)), state=np.zeros((2, 2, 5)), rate=np.array(0.5)), "UNSUPPORTED_TYPE", "'rate'"),
    (SPEECH, dict(input=np.zeros((3, 2, 7)), state=np.zeros((4, 2, 2, 5)), rate=np.array(8)), "BAD_SIZE",
     "'input' 3, 'state' 4"),
    (SPEECH, dict(input=np.zeros((3, 2, 7)), state=np.zeros((3, 9, 2, 5)), rate=np.array(8)), "BAD_SIZE", "'state'")])
def test_arrays_that_do_not_fit(file, network, arrays, code, said):
    with pytest.raises(FormatError) as error:
        read_runs([file(**arrays)], network)
    assert error.value.code == code
    assert said in error.value.message


def test_files_that_are_none(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no archive")
    np.save(tmp_path / "x.npy", np.zeros(3))
    for name, code in (("x.npz", "UNSUPPORTED_TYPE"), ("none.npz", "MISSING_FILE"), ("x.npy", "UNSUPPORTED_TYPE")):
        with pytest.raises(FormatError) as error:
            read_runs([str(tmp_path / name)], IMAGES)
        assert error.value.code == code


@pytest.mark.parametrize("network, said", [
    (proto(x=["n", 3, "w"]), "'x', whose shape is [?, 3, ?]"), (proto(x=(TensorProto.FLOAT, None)), "any shape"),
    (proto(x=(TensorProto.INT32, [1, 4])), "'x', which takes int32")])
def test_noise_that_cannot_be_made(network, said):
    with pytest.raises(ConfigError) as error:
        read_runs(["noise"], network)
    assert error.value.code == "BAD_CONFIG"
    assert said in error.value.message
