"""Feature tensors: files in and out, spatial prediction, and whole streams of maps, vectors and sequences."""

import os

import ml_dtypes
import numpy as np
import pytest
from helpers import run_python, uncompiled
from helpers.words import smooth_maps
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec import Config, Tensor, encode
from refcodec.bitstream.structures import EntropyMode, PredictionMode
from refcodec.decoder import StreamDecoder
from refcodec.errors import FormatError, ReconstructionError
from refcodec.formats.features import load_features, save_features
from refcodec.model import Model
from refcodec.prediction.spatial import AVERAGE, LEFT, MEDIAN, PLANAR, UP, add_spatial, subtract_spatial

PREDICTORS = (LEFT, UP, MEDIAN, PLANAR, AVERAGE)


def frames(count: int, dtype=np.float32) -> np.ndarray:
    """Windows that move over maps: [count, C, H, W]."""
    maps = smooth_maps(12, 24, 32).astype(dtype)
    return np.stack([maps[:, n : n + 20, n : n + 26] for n in range(count)])


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv/map": smooth_maps(8, 12, 15), "half": smooth_maps(4, 9, 7).astype(np.float16),
        "levels": rng.integers(0, 40, (3, 6, 5)).astype(np.uint8), "vector": rng.standard_normal(100),
        "table": rng.standard_normal((4, 30)).astype(np.float32), "scalar": np.array(2.5), "empty": np.zeros(
            (0, 4, 4)), "deep": rng.standard_normal(
                (2, 3, 2, 4, 5)).astype(np.float32), "complex": np.array([1 + 2j, -0j])
    }


def same(a: dict[str, np.ndarray], path) -> None:
    with np.load(path) as b:
        assert list(b.files) == list(a)
        for name, array in a.items():
            assert b[name].dtype == array.dtype
            assert b[name].shape == array.shape
            assert b[name].tobytes() == array.tobytes()


def decoded(stream: bytes, references=()) -> list[Model]:
    with StreamDecoder(stream, references) as decoder:
        return [decoder.model(n) for n in range(len(decoder.parsed.models))]


def used(stream: bytes) -> set[tuple[int, int]]:
    """(prediction mode, entropy mode) of all tensors of a stream."""
    with StreamDecoder(stream) as decoder:
        return {(d.prediction_mode, c.entropy_mode) for m in decoder.parsed.models for u in m.tensor_units
                for d in u.descriptors for c in d.component}


# Files

def test_files_come_back(tmp_path):
    np.savez(tmp_path / "one.npz", **some_arrays())
    models = load_features(tmp_path / "one.npz")
    assert len(models) == 1
    folds = {models[0].tensors[i].name: fold for i, _, fold in models[0].layers[0].tensors}
    assert folds["conv/map"].row_axis_count == 2
    assert folds["deep"].row_axis_count == 4
    assert folds["table"] is None
    save_features(models, tmp_path / "back.npz")
    same(some_arrays(), tmp_path / "back.npz")


def test_sequences(tmp_path):
    arrays = {"map": frames(3), "vector": np.arange(12.0).reshape(3, 4)}
    np.savez(tmp_path / "s.npz", **arrays)
    for sequence, count in ((None, 3), (True, 3), (False, 1)):
        models = load_features(tmp_path / "s.npz", sequence)
        assert len(models) == count
        save_features(models, tmp_path / "back.npz")
        same(arrays, tmp_path / "back.npz")
    assert load_features(tmp_path / "s.npz")[1]["map"].shape == (12, 20, 26)
    np.savez(tmp_path / "v.npz", vectors=np.arange(12.0).reshape(3, 4))         # a table, unless it is said to be more
    assert len(load_features(tmp_path / "v.npz")) == 1
    assert len(load_features(tmp_path / "v.npz", True)) == 3
    np.savez(tmp_path / "single.npz", map=frames(1))
    models = load_features(tmp_path / "single.npz")
    assert len(models) == 1
    assert models[0]["map"].shape == (1, 12, 20, 26)


def test_npy(tmp_path):
    for array, count in ((frames(2), 2), (smooth_maps(2, 5, 6), 1), (np.asfortranarray(frames(2)).astype(">f4"), 2)):
        np.save(tmp_path / "a.npy", array)
        models = load_features(tmp_path / "a.npy")
        assert len(models) == count
        save_features(models, tmp_path / "b.npy")
        back = np.load(tmp_path / "b.npy")
        assert back.dtype == np.float32
        assert back.shape == array.shape
        assert np.array_equal(back, array)


def test_wrong_files(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3)), b=np.zeros((3, 3)))
    np.savez(tmp_path / "none.npz", a=np.zeros((0, 3, 4, 5)))
    np.savez(tmp_path / "scalar.npz", a=np.array(1.0))
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:100])
    (tmp_path / "text.npy").write_bytes(b"not an array")
    for name, sequence in (("x", True), ("none", True), ("scalar", True), ("objects", None), ("torn", None), ("missing",
                                                                                                              None)):
        with pytest.raises(FormatError):
            load_features(tmp_path / f"{name}.npz", sequence)
    with pytest.raises(FormatError):
        load_features(tmp_path / "text.npy")
    assert load_features(tmp_path / "none.npz")[0]["a"].size == 0


def test_what_cannot_be_saved(tmp_path):
    a, b = Model([Tensor("x", np.zeros(3))]), Model([Tensor("x", np.zeros(4))])
    two = Model([Tensor("x", np.zeros(3)), Tensor("y", np.zeros(3))])
    brain = Model([Tensor("x", np.zeros(3, ml_dtypes.bfloat16))])
    for models, name in (([], "a.npz"), ([a, b], "a.npz"), ([a], "a.txt"), ([two], "a.npy"), ([brain], "a.npy"),
                         ([a], "no/folder/a.npy")):
        with pytest.raises(FormatError):
            save_features(models, tmp_path / name)
    assert not list(tmp_path.iterdir())
    save_features([brain, brain], tmp_path / "a.npz")
    assert load_features(tmp_path / "a.npz", True)[1]["x"].dtype.name == "bfloat16"


# Spatial prediction

def reference_indices(levels: np.ndarray, predictor: int, plane_rows: int, first_row: int) -> np.ndarray:
    """SPEC 8.7.1, element by element."""
    n = np.zeros((levels.shape[0] + 1, levels.shape[1] + 1), object)
    for i in range(levels.shape[0]):
        for j in range(levels.shape[1]):
            inner = i > 0 and (first_row + i) % plane_rows > 0
            left, up = n[i + 1, j], n[i, j + 1] if inner else 0
            corner = n[i, j] if inner else 0
            planar = left + up - corner
            n[i + 1, j + 1] = levels[i, j] + {LEFT: left, UP: up, MEDIAN: sorted((left, up, planar))[1], PLANAR: planar,
                                              AVERAGE: (left + up) >> 1}[predictor]
    return n[1:, 1:].astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_spatial_prediction(data):
    shape = data.draw(st.tuples(st.integers(0, 7), st.integers(0, 7)))
    bound = data.draw(st.sampled_from([1, 5, 1 << 20, 1 << 27]))
    indices = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-bound, bound, shape).astype(np.int32)
    rows, first = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 7))
    for predictor in PREDICTORS:
        levels = subtract_spatial(indices, predictor, rows, first)
        assert levels.dtype == np.int32
        np.testing.assert_array_equal(add_spatial(levels, predictor, rows, first), indices)
        np.testing.assert_array_equal(reference_indices(levels, predictor, rows, first), indices)


def test_spatial_overflow():
    top = np.full((3, 3), (1 << 31) - 1, np.int64)
    for predictor in PREDICTORS:
        for levels in (top, -top - 1):
            with pytest.raises(ReconstructionError) as caught:
                add_spatial(levels, predictor, 3, 0)
            assert caught.value.code == "OUT_OF_RANGE"
    with pytest.raises(ReconstructionError):
        subtract_spatial(np.array([[-(1 << 31), (1 << 31) - 1]]), LEFT, 1, 0)


def test_spatial_without_the_compiler():
    code = ("import numpy as np\nfrom refcodec.prediction.spatial import *\n"
            "x = np.random.default_rng(0).integers(-99, 99, (9, 7)).astype(np.int32)\n"
            "print([add_spatial(x, p, 4, 1).tolist() for p in range(5)])")
    assert uncompiled("-c", code) == run_python("-c", code, REFCODEC_COMPILE="1").stdout != ""


# Whole streams

def test_lossless_stream(tmp_path):
    np.savez(tmp_path / "one.npz", **some_arrays())
    for config in (Config(), Config(preset="s3-features"), Config(entropy="map", join_below=1)):
        stream = encode(load_features(tmp_path / "one.npz"), config)
        save_features(decoded(stream), tmp_path / "back.npz")
        same(some_arrays(), tmp_path / "back.npz")
    assert (PredictionMode.NONE, EntropyMode.MAP) in used(stream)


def test_lossless_sequence(tmp_path):
    still = frames(3)
    still[1:, :, 5:] = still[0, :, 5:]          # a moving picture whose lower part stands still
    np.savez(tmp_path / "s.npz", map=still, vector=np.arange(12.0).reshape(3, 4))
    models = load_features(tmp_path / "s.npz")
    stream = encode(models, Config(preset="s3-features"))
    save_features(decoded(stream), tmp_path / "back.npz")
    same(dict(np.load(tmp_path / "s.npz")), tmp_path / "back.npz")
    assert (PredictionMode.INTER, EntropyMode.MAP) in used(stream)
    assert len(stream) < 0.6 * sum(len(encode(m, Config(preset="s3-features"))) for m in models)


def test_lossy_stream():
    smooth = np.cumsum(np.cumsum(np.random.default_rng(1).standard_normal((6, 30, 40)), 1), 2).astype(np.float32)
    model = load_from(smooth)
    for step in (0.05, 1.0):
        stream = encode(model, Config(preset="s3-features", step=step, states=0))
        plain = encode(model, Config(step=step, states=0))
        array = decoded(stream)[0]["map"].array
        assert np.abs(array - smooth).max() <= step * 0.51
        assert len(stream) < 0.9 * len(plain)
        assert PredictionMode.SPATIAL in {prediction for prediction, _ in used(stream)}


def load_from(array: np.ndarray) -> Model:
    """The model of one map, as load_features makes it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        np.savez(os.path.join(folder, "a.npz"), map=array)
        model = load_features(os.path.join(folder, "a.npz"))[0]
        model.tensors = [Tensor(t.name, t.array) for t in model.tensors]
    return model


def test_segments_inside_planes():
    """A map larger than an entry point: later segments begin in the middle of a plane."""
    model = load_from(np.tile(smooth_maps(2, 150, 300), (2, 3, 1)))
    config = Config(entropy="map", entry_elements=65536)
    stream = encode(model, config)
    with StreamDecoder(stream) as decoder:
        assert decoder.parsed.models[0].tensor_units[0].descriptors[0].component[0].entry_count_minus1 > 0
        assert np.array_equal(decoder.model(0)["map"].array, model["map"].array)
    assert np.array_equal(
        decoded(encode(model, Config(entropy="map", entry_elements=65536, threads=2)))[0]["map"].array,
        model["map"].array)
