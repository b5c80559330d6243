"""NNCodec (ISO/IEC 15938-17) at its best setting, found at given bits per weight.

Best setting (shared by all who measured it): dependent quantisation, optimised parameters, row skipping, one step
for all tensors, and rate-distortion optimisation (lambda_scale = 1) wherever it gives more SNR at equal bits.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import NamedTuple

import numpy as np

from .environments import WORKERS, ensure_env, run_worker

LAMBDAS = (0, 1)


class Point(NamedTuple):
    """A work point: settings, whole stream in bytes, SNR in dB, number of weights, seconds."""

    qp: int
    lambda_scale: int
    bytes: int
    snr: float
    weights: int
    encode_seconds: float
    decode_seconds: float

    @property
    def bits(self) -> float:
        """Bits per weight of the whole stream."""
        return 8 * self.bytes / self.weights


def digest(npz: pathlib.Path) -> str:
    """SHA-256 of the names, shapes and values of an npz: the key of cached results."""
    state = hashlib.sha256()
    with np.load(npz) as archive:
        for name in archive.files:
            state.update(f"{name}{archive[name].shape}".encode() + archive[name].tobytes())
    return state.hexdigest()


class NNCodec:
    """Runs NNCodec on one npz; sizes and SNRs are cached in `work`/nncodec.json, speeds never."""

    def __init__(self, work: pathlib.Path, npz: pathlib.Path):
        self.npz, self.work = pathlib.Path(npz), pathlib.Path(work)
        self.cache_file = self.work / "nncodec.json"
        self.key = digest(self.npz)

    def _run(self, settings: dict) -> Point:
        lines = run_worker(ensure_env(self.work, "nncodec"), WORKERS / "nncodec_worker.py", str(self.npz),
                           json.dumps([settings]))
        return Point(**json.loads(lines[-1]))

    def at(self, qp: int, lambda_scale: int) -> Point:
        """The work point of one setting, from the cache where it was measured before."""
        cache = json.loads(self.cache_file.read_text()) if self.cache_file.exists() else {}
        models = cache.setdefault(self.key, {"file": self.npz.name, "points": {}})["points"]
        name = f"qp={qp} lambda_scale={lambda_scale}"
        if name not in models:
            models[name] = self._run(dict(qp=qp, lambda_scale=lambda_scale))._asdict()
            self.cache_file.write_text(json.dumps(cache, indent=1))
        return Point(**models[name])

    def bracket(self, bits: float, lambda_scale: int) -> tuple[Point, Point]:
        """Points of adjacent qp around `bits` per weight: (at least as many bits, fewer bits)."""
        high = self.at(-20, lambda_scale)
        high = self.at(round(high.qp - 4 * (bits - high.bits)), lambda_scale)
        while high.bits < bits:
            high = self.at(high.qp - 1, lambda_scale)
        low = self.at(high.qp + 1, lambda_scale)
        while low.bits >= bits:
            high, low = low, self.at(low.qp + 1, lambda_scale)
        return high, low

    def best(self, bits: float) -> tuple[Point, float]:
        """(the real point nearest to `bits` at the best setting, SNR in dB interpolated at exactly `bits`)."""
        candidates = []
        for lambda_scale in LAMBDAS:
            high, low = self.bracket(bits, lambda_scale)
            share = (bits - low.bits) / (high.bits - low.bits)
            nearest = min((high, low), key=lambda point: abs(point.bits - bits))
            candidates.append((low.snr + share * (high.snr - low.snr), nearest))
        interpolated, point = max(candidates)
        return point, interpolated

    def timed(self, point: Point, repeat: int = 3) -> Point:
        """The same point measured anew, encoding and decoding each the fastest of `repeat`."""
        return self._run(dict(qp=point.qp, lambda_scale=point.lambda_scale, repeat=repeat, time=True))
