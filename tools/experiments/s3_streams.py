"""Streams of S3: features without loss beside general-purpose coders, and with loss in four ways."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pathlib
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refcodec import Config, StreamDecoder, encode
from refcodec.formats.features import load_features

GENERAL: dict[str, Callable[[bytes], bytes]] = {  # each at its largest setting
    "gzip": lambda data: gzip.compress(data, 9), "zlib": lambda data: zlib.compress(data, 9),
    "bzip2": lambda data: bz2.compress(data, 9),
    "LZMA": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
}


@dataclass
class Sizes:
    """Bytes of a feature tensor, of its streams by coder, and the seconds that making them took."""

    raw: int
    size: dict[str, int]
    seconds: dict[str, float]


@dataclass
class LossyStream:
    """size: bytes.  frames: what a decoder has after it, as they were given."""

    size: int
    frames: np.ndarray


def coded(array: np.ndarray, sequence: bool, config: Config) -> bytes:
    """The stream that `refcodec encode --features` makes of an array. sequence: axis 0 counts frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "features.npy"
        np.save(path, array)
        return encode(load_features(path, sequence), config)


def decoded(stream: bytes, count: int) -> np.ndarray:
    """All frames of a stream; its digests are verified."""
    with StreamDecoder(stream) as decoder:
        return np.stack([decoder.model(n).tensors[0].array for n in range(count)])


def lossless_sizes(array: np.ndarray) -> Sizes:
    """One feature tensor by all coders. Raises ArithmeticError where it does not come back as it was."""
    data = np.ascontiguousarray(array).tobytes()
    made = {name: _timed(lambda code=code: code(data)) for name, code in GENERAL.items()}
    stream, seconds = _timed(lambda: coded(array, False, Config(entropy="map")))
    if decoded(stream, 1).tobytes() != data:
        raise ArithmeticError("a lossless stream gave other features")
    return Sizes(len(data), {**{k: len(v) for k, (v, _) in made.items()}, "OMC": len(stream)},
                 {**{k: s for k, (_, s) in made.items()}, "OMC": seconds})


def _timed(code: Callable[[], bytes]) -> tuple[bytes, float]:
    start = time.thread_time()
    made = code()
    return made, max(time.thread_time() - start, 1e-9)


def step_for(frames: np.ndarray, snr: float) -> float:
    """The step whose rounding errors, step^2 / 12 each, are `snr` dB below the variance."""
    return float(np.sqrt(12 * frames.astype(np.float64).var() * 10 ** (-snr / 10)))


def lossy_stream(frames: np.ndarray, step: float, way: str) -> LossyStream:
    """Frames with one step.

    way: 'LZMA' or 'direct' (no prediction), 'intra' (neighbours in the map), 'inter' (the frame before, too).
    """
    options = {"LZMA": {"entropy": "lzma"}, "direct": {"entropy": "cm"}}.get(way, {"entropy": "cm", "spatial": True})
    config = Config(step=step, states=0, rules=[{"match": "*", "treatment": "quantise"}], **options)
    sequence = way == "inter"
    stream = coded(frames, sequence, config)
    back = decoded(stream, len(frames) if sequence else 1)
    return LossyStream(len(stream), back.reshape(frames.shape))
