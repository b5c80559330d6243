"""Real feature maps: activations of image models on two photographs that ship with scikit-learn.

    pip install -e '.[evaluation]' pillow && python tools/feature_maps.py --models DIR --out maps.npz [--frames 4]
    python tools/feature_maps.py --measure maps.npz

DIR holds what fetch_models.py fetches: the ONNX models of PaddleOCR and the weights of EfficientNet-Lite0, which are
put into a graph here.  --measure codes each map losslessly, by general-purpose coders and by the codec.

Every entry 'model/kind/tensor' is a float32 array C x H x W, kind is conv, relu, hardswish,
pool, upsample or vector (then D); with --frames it is N x ..., one per crop of a window that moves over the photograph.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import pathlib
import time
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {"Conv": "conv", "ConvTranspose": "conv", "Relu": "relu", "Clip": "relu", "Div": "hardswish", "MaxPool": "pool",
         "AveragePool": "pool", "GlobalAveragePool": "vector", "Resize": "upsample"}
MODELS = {"efficientnet-lite0": (224, 224), "ppocrv4-det": (224, 320), "ppocr-cls": (96, 256), "ppocrv4-rec": (48, 320)}
MAPS_PER_MODEL = 24         # spread over the depth of each model
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))        # of EfficientNet-Lite0: repeats, kernel, stride, expansion, channels


class Graph:
    """Builds an ONNX graph from folded convolutions."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights, self.nodes, self.inits, self.top = weights, [], [], "x"
        self.size = MODELS["efficientnet-lite0"][0]

    def node(self, operator: str, name: str, inputs: list[str], **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self.top = name
        return name

    def convolution(self, name: str, norm: str, stride: int = 1, groups: int = 1) -> None:
        """Convolution with its batch normalisation folded in, padded as TensorFlow's SAME."""
        w, (gain, bias, mean, variance) = self.weights[name + ".weight"], (self.weights[f"{norm}.{k}"] for k in (
            "weight", "bias", "running_mean", "running_var"))
        scale = gain / np.sqrt(variance + 1e-3)
        for suffix, array in (("w", w * scale[:, None, None, None]), ("b", bias - mean * scale)):
            self.inits.append(numpy_helper.from_array(array.astype(np.float32), f"{name}.{suffix}"))
        size, self.size = self.size, -(-self.size // stride)
        pad = max(0, (self.size - 1) * stride + w.shape[2] - size)
        self.node("Conv", name, [self.top, name + ".w", name + ".b"], strides=[stride] * 2, group=groups,
                  pads=[pad // 2, pad // 2, pad - pad // 2, pad - pad // 2])

    def relu6(self) -> None:
        self.node("Clip", self.top + ".relu6", [self.top, "zero", "six"])


def efficientnet(path: pathlib.Path) -> onnx.ModelProto:
    """EfficientNet-Lite0 (up to its last pooling) from an npz of its PyTorch weights."""
    with np.load(path) as archive:
        g = Graph({name: archive[name] for name in archive.files})
    g.inits += [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0), ("six", 6))]
    g.convolution("_conv_stem", "_bn0", 2)
    g.relu6()
    number, channels = 0, 32
    for repeats, _, stride, expansion, out in STAGES:
        for k in range(repeats):
            block, start = f"_blocks.{number}.", g.top
            if expansion > 1:
                g.convolution(block + "_expand_conv", block + "_bn0")
                g.relu6()
            wide = channels * expansion
            g.convolution(block + "_depthwise_conv", block + "_bn1", stride if k == 0 else 1, wide)
            g.relu6()
            g.convolution(block + "_project_conv", block + "_bn2")
            if k:
                g.node("Add", block + "sum", [g.top, start])
            number, channels = number + 1, out
    g.convolution("_conv_head", "_bn1")
    g.relu6()
    g.node("GlobalAveragePool", "pooled", [g.top])
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, None)] for name in ("x", "pooled")]
    graph = helper.make_graph(g.nodes, "efficientnet-lite0", *ends, g.inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def chosen_outputs(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor name to kind: of each kind some, spread over the depth of the model."""
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type in KINDS:
            found.setdefault(KINDS[node.op_type], []).append(node.output[0])
    share = max(2, MAPS_PER_MODEL // len(found))
    return {name: kind for kind, names in found.items() for name in names[:: max(1, -(-len(names) // share))]}


def run(model: onnx.ModelProto, names: list[str], image: np.ndarray) -> list[np.ndarray]:
    """The named tensors, by onnxruntime or (slowly) by onnx's reference evaluator."""
    have = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names if n not in have)
    feeds = {model.graph.input[0].name: image}
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator
        return ReferenceEvaluator(model).run(names, feeds)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


def photographs() -> list[np.ndarray]:
    """China and flower, uint8 [427, 640, 3]."""
    from sklearn.datasets import load_sample_images
    return [np.asarray(image) for image in load_sample_images().images]


def window(photograph: np.ndarray, height: int, width: int, frame: int) -> np.ndarray:
    """A crop of the photograph as float32 [1, 3, height, width] in -1..1; later frames lie a few pixels further."""
    top, left = (photograph.shape[0] - height) // 2 + frame, (photograph.shape[1] - width) // 2 + 2 * frame
    part = photograph[top:top + height, left:left + width].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(part.transpose(2, 0, 1)[None])


def feature_maps(folder: pathlib.Path, frames: int) -> dict[str, np.ndarray]:
    """Name to array, for the models that the folder has."""
    maps = {}
    images = photographs()
    for number, (name, (height, width)) in enumerate(MODELS.items()):
        path = folder / f"{name}.{'npz' if name.startswith('eff') else 'onnx'}"
        if not path.exists():
            print(f"{path} is not there: left out")
            continue
        model = efficientnet(path) if path.suffix == ".npz" else onnx.load(path)
        kinds = chosen_outputs(model)
        photograph = images[(number + 1) % 2]
        results = [run(model, list(kinds), window(photograph, height, width, k)) for k in range(max(1, frames))]
        for k, (tensor, kind) in enumerate(kinds.items()):
            stack = np.concatenate([r[k] for r in results]).astype(np.float32)
            stack = stack.reshape(len(stack), -1) if kind == "vector" else stack
            if stack.ndim in (2, 4):
                maps[f"{name}/{kind}/{tensor}"] = stack if frames else stack[0]
    return maps


def general_purpose(data: bytes) -> dict[str, int]:
    """Sizes by Python's own modules, at their largest presets."""
    return {"zlib": len(zlib.compress(data, 9)), "gzip": len(gzip.compress(data, 9)),
            "bzip2": len(bz2.compress(data, 9)), "lzma": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))}


def measure(path: pathlib.Path) -> None:
    """A line per map of at least 4096 bytes, and the mean gain over the best general-purpose coder by kind."""
    from refcodec.bitstream.structures import Component, EntropyMode
    from refcodec.dtypes import dtype_of
    from refcodec.entropy.modes import Block
    from refcodec.entropy.payload import PayloadReader, encode_payload
    from refcodec.entropy.words import choose_parameters

    gains: dict[str, list[float]] = {}
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, array in arrays.items():
        if array.ndim > 3 or array.nbytes < 4096:
            continue
        dtype = dtype_of(array)
        words = array.reshape(-1, array.shape[-1]).view(dtype.word)
        others = general_purpose(words.tobytes())
        by_words = Component(entropy_mode=EntropyMode.CC, word=choose_parameters(words, dtype))
        cc = sum(map(len, encode_payload([Block(by_words, words, dtype)])))
        rows = array.shape[-2] if array.ndim == 3 else 1
        start = time.thread_time()
        as_map = Component(entropy_mode=EntropyMode.MAP)
        payload = encode_payload([Block(as_map, words, dtype, plane_rows=rows)])
        middle = time.thread_time()
        block = Block(as_map, np.empty_like(words), dtype, plane_rows=rows)
        PayloadReader(*payload).read(block)
        speeds = [array.nbytes / 1e6 / max(t, 1e-9) for t in (middle - start, time.thread_time() - middle)]
        assert np.array_equal(block.array, words)
        sizes = {**others, "cc": cc, "map": sum(map(len, payload))}
        gain = 1 - min(cc, sizes["map"]) / min(others.values())
        gains.setdefault(name.split("/")[1], []).append(gain)
        print(f"{name:62} {array.nbytes:8} " + " ".join(f"{k} {v:8}" for k, v in sizes.items())
              + f"  {100 * gain:5.1f} %  {speeds[0]:.0f} and {speeds[1]:.0f} MB/s")
    for kind, found in gains.items():
        print(f"{kind}: {len(found)} maps, smaller by {100 * np.mean(found):.1f} % in the mean, "
              f"{100 * min(found):.1f} % at least")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--models", type=pathlib.Path, help="folder of the models")
    options.add_argument("--out", type=pathlib.Path, help="npz to be written")
    options.add_argument("--frames", type=int, default=0, help="frames of a sequence (0: one image, no frame axis)")
    options.add_argument("--measure", type=pathlib.Path, metavar="NPZ", help="code the maps of this file instead")
    chosen = options.parse_args()
    if chosen.measure:
        measure(chosen.measure)
        return
    if not (chosen.models and chosen.out):
        options.error("--models and --out, or --measure")
    maps = feature_maps(chosen.models, chosen.frames)
    np.savez(chosen.out, **maps)
    for name, array in maps.items():
        print(f"{name:70} {str(array.shape):22} {100 * np.mean(array != 0):5.1f} % non-zero")


if __name__ == "__main__":
    main()
