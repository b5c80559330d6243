"""Features for S3: activations of published image models on photographs, or of a small committed network on digits."""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from networks import forward
from section import Context
from trained import sequence, workload

TOOLS = pathlib.Path(__file__).resolve().parents[1]
KINDS = {"norm": "conv", "relu": "relu", "residual": "sum", "pool": "pool", "mean": "vector"}      # of layers
SEED = 1                          # of the committed network
DIGITS, SMALL_SPLIT = 40, 5       # images of a frame; layers before the split: the first stage
FRAMES, STRIDE = 12, 1            # of a photograph: windows, each STRIDE pixels down and 2 * STRIDE right of the last
NOISE = 2 / 255                   # of a camera, on images in 0..1

Features = dict[tuple[str, str, str], np.ndarray]        # (network, type, tensor) to float32 C x H x W or a vector


@dataclass
class Split:
    """A place in a network where features are transmitted.

    frames: float32 [frames, channels, height, width].  answers: of the rest of the network, such features to
    probabilities [images, classes].
    """

    key: str
    title: str
    note: str
    frames: np.ndarray
    answers: Callable[[np.ndarray], np.ndarray]

    @functools.cached_property
    def right(self) -> np.ndarray:
        return self.answers(self.frames)

    def agreement(self, frames: np.ndarray) -> float:
        """Percent of the images whose first answer is that of the features as they were."""
        return 100 * float(np.mean(self.answers(frames).argmax(1) == self.right.argmax(1)))

    def distance(self, frames: np.ndarray) -> float:
        """Mean total variation between the answers' probabilities: 0 where they are equal, 1 at most."""
        return float(np.abs(self.answers(frames) - self.right).sum(1).mean() / 2)


def published(context: Context) -> bool:
    """Whether the features are those of published models."""
    return not context.quick and context.models is not None


def feature_arrays(context: Context) -> Features:
    """Features of all types, of one image of each network (of the small one: of DIGITS images at once)."""
    if published(context):
        found = _tool().feature_maps(context.models, 0)
        return {tuple(name.split("/", 2)): x for name, x in found.items() if x.nbytes >= 4096}
    x, found = _digits(1)[0], {}
    network, parameters = _small(context)
    for n, layer in enumerate(network.layers):
        x = forward((layer,), parameters, x).astype(np.float32)
        if layer.kind in KINDS:
            found[network.name, KINDS[layer.kind], f"layer{n}"] = x.reshape(-1, *x.shape[2:]) if x.ndim == 4 else x
    return found


def splits(context: Context) -> list[Split]:
    """Places and sequences for the lossy curves."""
    if not published(context):
        return [_small_split(context)]
    moving = np.concatenate([_windows(n, range(0, FRAMES * STRIDE, STRIDE)) for n in range(2)])
    still = np.concatenate([_windows(n, [0] * FRAMES) for n in range(2)])
    note = f"EfficientNet-Lite0, two photographs, {FRAMES} windows of 224 x 224 each, with noise; "
    return [_efficientnet_split(context, "_blocks.2.sum", "early-moving", note + "the camera moves.", moving),
            _efficientnet_split(context, "_blocks.10.sum", "late-moving", note + "the camera moves.", moving),
            _efficientnet_split(context, "_blocks.4.sum", "middle-still", note + "the camera stands still.", still)]


# The small network

def _small(context: Context):
    network = workload("small-resnet").network
    return network, sequence(context, "small-resnet", SEED)["epoch20"]


def _digits(frames: int) -> np.ndarray:
    """The same images, as a camera that stands still sees them: float32 [frames, DIGITS, 1, 8, 8]."""
    images = workload("small-resnet").test.images[:DIGITS]
    noise = np.random.default_rng(SEED).standard_normal((frames, *images.shape))
    return (images + NOISE * noise).astype(np.float32)


def _small_split(context: Context) -> Split:
    network, parameters = _small(context)
    before, after = network.layers[:SMALL_SPLIT], network.layers[SMALL_SPLIT:]
    frames = np.stack([forward(before, parameters, x).astype(np.float32) for x in _digits(4)])
    one = frames.shape[2:]
    return Split("digits-still",
                 f"{network.name}, after its first stage", f"{DIGITS} digits in each of 4 frames, with noise.",
                 frames.reshape(len(frames), -1,
                                *one[1:]), lambda x: _softmax(forward(after, parameters, x.reshape(-1, *one))))


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# The published networks

@functools.cache
def _tool():
    sys.path.insert(0, str(TOOLS))
    import feature_maps

    return feature_maps


@functools.cache
def _photographs() -> list[np.ndarray]:
    return _tool().photographs()


def _windows(photograph: int, offsets: Iterable[int]) -> np.ndarray:
    """What a camera with noise sees of a photograph: float32 [frames, 3, 224, 224] in -1..1."""
    windows = np.concatenate([_tool().window(_photographs()[photograph], 224, 224, k) for k in offsets])
    return (windows + 2 * NOISE * np.random.default_rng(photograph).standard_normal(windows.shape)).astype(np.float32)


def _efficientnet_split(context: Context, tensor: str, key: str, note: str, images: np.ndarray) -> Split:
    from onnx import TensorProto, helper
    from onnx.utils import Extractor

    path = context.models / "efficientnet-lite0.npz"
    network = _tool().efficientnet(path)
    network.graph.value_info.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    extractor = Extractor(network)
    with np.load(path) as archive:
        weight, bias = archive["_fc.weight"], archive["_fc.bias"]
    before = extractor.extract_model(["x"], [tensor])
    after = extractor.extract_model([tensor], ["pooled"])

    def answers(frames: np.ndarray) -> np.ndarray:
        pooled = np.concatenate([_tool().run(after, ["pooled"], frame[None])[0] for frame in frames])
        return _softmax(pooled.reshape(len(frames), -1) @ weight.T + bias)

    frames = np.concatenate([_tool().run(before, [tensor], image[None])[0] for image in images])
    title = f"EfficientNet-Lite0 at {'x'.join(map(str, frames.shape[1:]))}, {key.split('-')[1]} camera"
    return Split(key, title, note, frames, answers)
