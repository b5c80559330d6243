"""Whether an encoder makes the bytes that another state of this repository makes.

    python tools/same_bytes.py record FILE [--models FOLDER]     digests of what this encoder makes, as JSON
    python tools/same_bytes.py compare FILE [--models FOLDER]    exit code 1 where it makes other bytes

Every preset, quantiser, entropy mode, effort and kind of input, on the bundled models and on made ones; with --models
on every model of a folder, too.  To compare two commits, run this file in a checkout of either.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import pathlib
import sys
from collections.abc import Iterator

import ml_dtypes
import numpy as np

import refcodec
from refcodec import Config, Model, Tensor

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
ENTROPY = ("auto", "raw", "cc", "cm", "map", "huffman", "fixed", "deflate", "gzip", "bzip2", "lzma")
QUANTISERS = (dict(quantiser="rp", rp=3), dict(quantiser="q-bits", q_bits=9), dict(quantiser="fixed-point", width=5),
              dict(quantiser="fixed-point", snr=25.0), dict(quantiser="k-means"),
              dict(quantiser="k-means-zero", clusters=9), dict(quantiser="integer-k-means"), dict(quantiser="hybrid"))
PRESETS = ("auto", "s1-rp", "s2-qbits", "s3-features", "s5-hybrid")
UPDATES = ("lra", "ml", "ka", "rm", "lru", "fp")
LOSSY = (dict(snr=20.0), dict(snr=30.0, effort="fast"), dict(snr=30.0, effort="best"), dict(step=0.01, states=0),
         dict(step=0.01, coder="cm"), dict(step=0.02, states=64, coder="cm"), dict(bits_per_weight=5.0),
         dict(step=0.01, quality_layers=3), dict(quality_layers=2), dict(step=0.01, profile="baseline"),
         dict(step=0.01, profile="main"), dict(max_bytes=20000), dict(step=0.01, spatial=True),
         dict(step=0.01, entry_elements=65536), dict(step=0.01, join_below=1, index=True), dict(step=0.01, threads=2))


def weights(shape: tuple[int, ...], dtype, seed: int) -> np.ndarray:
    """Laplacian weights whose rows have scales of their own."""
    rng = np.random.default_rng(seed)
    rows = np.exp(rng.normal(0, 0.7, (shape[0],) + (1,) * (len(shape) - 1)))
    return (rng.laplace(0, 0.05, shape) * rows).astype(dtype)


def made(dtype, seed: int) -> Model:
    """A network with weights of one type, and tensors with the structures that the encoder looks for."""
    rng = np.random.default_rng(seed)
    w = weights((48, 64), dtype, seed)
    sparse = weights((40, 50), dtype, seed + 1)
    sparse[rng.random(sparse.shape) < 0.8] = 0
    few = np.array([0.1, -0.3, 0.7, 1e-9, 0.0], dtype)[rng.integers(0, 5, (40, 60))]
    halves = weights((16, 64), np.float16, seed).astype(np.float64) * rng.uniform(0.5, 2, (16, 1)).astype(np.float32)
    arrays = {"fc.weight": w, "tied": w.copy(), "fc.bias": weights((48, 1), dtype, seed + 2)[:, 0],
              "conv.weight": weights((16, 8, 3, 3), dtype, seed + 3), "sparse": sparse, "few": few,
              "constant": np.full((30, 40), 0.7, dtype), "grid": halves.astype(np.float32),
              "decimal": np.round(weights((40, 60), np.float64, seed + 4), 3).astype(np.float32),
              "short": weights((20, 64), ml_dtypes.bfloat16, seed).astype(np.float32),
              "integers": rng.integers(900, 1100, (20, 60)), "bytes": rng.integers(0, 256, (40, 40)).astype(np.uint8),
              "scalar": np.array(3.5), "empty": np.zeros((0, 7), np.int32), "ids": np.arange(300, dtype=np.int64)}
    return Model([Tensor(name, array) for name, array in arrays.items()], f"made {np.dtype(dtype).name} {seed}")


def changed(model: Model) -> Model:
    """The model after a small training step."""
    rng = np.random.default_rng(99)

    def moved(t: Tensor) -> np.ndarray:
        if t.dtype.kind != "f" or len(t.shape) < 2:
            return t.array
        return (t.array.astype(np.float64) + rng.normal(0, 1e-4, t.shape)).astype(t.dtype.numpy)

    return Model([Tensor(t.name, moved(t)) for t in model.tensors], model.name + " changed")


def maps() -> Model:
    """Feature maps of a network: zeros, and smooth values."""
    rng = np.random.default_rng(5)
    smooth = np.cumsum(rng.normal(0, 0.1, (6, 24, 32)), axis=2)
    return Model([Tensor("maps", np.maximum(smooth, 0).astype(np.float32))], "maps")


def jobs(folder: pathlib.Path | None) -> Iterator[tuple[str, object, dict, list[Model]]]:
    """(name, model or models, fields of Config, references) of everything that is compared."""
    v1, v2 = refcodec.load(str(DATA / "digits_v1.onnx")), refcodec.load(str(DATA / "digits_v2.onnx"))
    own = [made(t, n) for n, t in enumerate((np.float32, np.float16, ml_dtypes.bfloat16, np.float64))]
    for model in (v1, *own):
        for fields in ({}, *LOSSY, *QUANTISERS, *(dict(preset=p) for p in PRESETS)):
            yield f"{model.name}: {fields}", model, fields, []
        for entropy, lossy in itertools.product(ENTROPY, ({}, dict(step=0.02))):
            if lossy or entropy != "cm":                   # which codes nothing but levels
                yield f"{model.name}: {entropy} {lossy}", model, dict(lossy, entropy=entropy), []
        yield f"{model.name}: update", changed(model), {}, [model]
        yield f"{model.name}: lossy update", changed(model), dict(step=0.001), [model]
    for update in UPDATES:
        yield f"s4-{update}", v2, dict(preset=f"s4-{update}"), [v1]
    for fields in ({}, dict(snr=30.0), dict(root="auto", snr=30.0), dict(root="kl"), dict(root="size")):
        yield f"set: {fields}", [own[0], changed(own[0]), made(np.float32, 9)], fields, []
    for fields in ({}, dict(step=0.02), dict(preset="s3-features"), dict(preset="s3-features", step=0.02)):
        yield f"maps: {fields}", maps(), fields, []
    for path in sorted(folder.iterdir()) if folder else ():
        if path.suffix in (".onnx", ".safetensors", ".npz"):
            for fields in ({}, dict(snr=30.0), dict(snr=20.0, effort="fast"), dict(preset="s1-rp")):
                yield f"{path.name}: {fields}", refcodec.load(str(path)), dict(fields, threads=2), []


def digests(folder: pathlib.Path | None) -> dict[str, str]:
    """Name of a job: SHA-256 of its stream, or the code of the error that it ends with."""
    found = {}
    for name, model, fields, references in jobs(folder):
        try:
            found[name] = hashlib.sha256(refcodec.encode(model, Config(**fields), references)).hexdigest()
        except refcodec.OmcError as error:
            found[name] = error.code
        print(f"{len(found)} {name}", file=sys.stderr, end="\r")
    print(file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--models", type=pathlib.Path, metavar="FOLDER", help="code the models of this folder, too")
    arguments = parser.parse_args()
    found = digests(arguments.models)
    if arguments.action == "record":
        arguments.file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} streams recorded")
        return 0
    before = json.loads(arguments.file.read_text())
    both = before.keys() & found.keys()
    other = sorted(name for name in both if before[name] != found[name])
    print("\n".join([*(f"differs: {name}" for name in other), f"{len(both)} compared, {len(other)} differ, "
                     f"{len(before.keys() ^ found.keys())} made by one of them only"]))
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
