"""The decimal pipelines of the source papers: their published ratios, and CM beside them at the same error.

    python tools/fetch_models.py && python tools/decimal_ratios.py [--models FOLDER] [effnet ppocr_rec magika silero]

published  S1 on Laplacian and Gaussian weights of one scale, which is fitted to VGG-16's ratio at RP 6 alone; the
           ratios at RP 5, 4 and 3 are predictions
pipelines  S1 at RP 6..3 and S2 at q_bits 6..9 on the matrices of models, and on the Laplacian weights fitted before:
           bytes of LZMA (preset 6, little-endian int32, one file for all tensors) and of a whole OMC stream, CM with
           32 states, at the squared error of the pipeline; 'at most' is what a coder on the rate-distortion bound of
           independent weights of row-wise scales would save
"""

from __future__ import annotations

import argparse
import lzma
import math
import pathlib

import numpy as np
from bench_peers import ALL, table
from fetch_models import REPO, read_tensors
from peers.shannon import RowScaledSource

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.dtypes import BY_NAME
from refcodec.encoder.quantisers.decimal import S_BITS, qbits_levels, rp_levels
from refcodec.quantization.decimal import reconstruct_decimal

PUBLISHED = {6: 1.976, 5: 2.542, 4: 3.531, 3: 6.154}      # VGG-16, ACM Multimedia 2018
PIPELINES = {f"S1 RP {p}": (rp_levels, p, p) for p in (6, 5, 4, 3)} | {
    f"S2 q_bits {k}": (qbits_levels, k, S_BITS - k) for k in (6, 7, 8, 9)}
SAMPLES = 1 << 20
HIGH_RATE = 60.0                # dB from which the bound is a straight line: 20 log10(2) dB per bit


def lzma_size(levels: list[np.ndarray]) -> int:
    """Bytes of the levels, binarised as the papers do."""
    return len(lzma.compress(b"".join(x.astype("<i4").tobytes() for x in levels), preset=6))


def fitted(weights: np.ndarray) -> tuple[float, dict[int, float]]:
    """The scale at which S1 has the published ratio at RP 6, and the ratios that it then has at each RP."""
    def ratio(scale: float, precision: int) -> float:
        return weights.nbytes / lzma_size([rp_levels((weights * scale).astype(np.float32), precision)])

    scale, bits = 0.005, 32 / PUBLISHED[6]
    for _ in range(6):                                      # a bit per weight is a doubling of the scale
        found = ratio(scale, 6)
        if abs(found / PUBLISHED[6] - 1) < 2e-4:
            break
        scale *= 2.0 ** (bits - 32 / found)
    return scale, {p: ratio(scale, p) for p in PUBLISHED}


def published(args) -> np.ndarray:
    """Prints the published row and the two fits of it; returns the fitted Laplacian weights."""
    rows = [{"weights": "VGG-16, published", "scale": "", **{f"RP {p}": f"{r:.3f}" for p, r in PUBLISHED.items()},
             "largest miss %": ""}]
    for kind in ("laplace", "normal"):
        weights = getattr(np.random.default_rng(1), kind)(size=args.samples).astype(np.float32)
        scale, ratios = fitted(weights)
        miss = max((ratios[p] / PUBLISHED[p] - 1 for p in (5, 4, 3)), key=abs)
        rows.append({"weights": kind, "scale": f"{scale:.5f}", **{f"RP {p}": f"{r:.3f}" for p, r in ratios.items()},
                     "largest miss %": f"{100 * miss:+.2f}"})
        if kind == "laplace":
            fit = (weights * scale).astype(np.float32)
    table(rows)
    return fit.reshape(1024, -1)


def snr(tensors: dict[str, np.ndarray], decoded: list[np.ndarray]) -> float:
    """10 log10(variance / mean squared error) over all elements pooled."""
    original = np.concatenate([x.reshape(-1) for x in tensors.values()]).astype(np.float64)
    noise = np.concatenate([x.reshape(-1) for x in decoded]).astype(np.float64) - original
    return 10 * math.log10(original.var() / np.square(noise).mean())


def bound(source: RowScaledSource, target: float) -> float:
    """Bits per weight of the rate-distortion bound; at high rates a measured density has too few samples to tell."""
    measured = min(target, HIGH_RATE)
    return source.bits(measured) + (target - measured) / (20 * math.log10(2))


def pipelines(name: str, tensors: dict[str, np.ndarray]) -> list[dict]:
    """A row for each pipeline: its ratio, CM's at the same error, and percent fewer bytes."""
    model = Model([Tensor(key, array) for key, array in tensors.items()])
    count, source, rows = sum(x.size for x in tensors.values()), RowScaledSource(tensors), []
    for label, (quantise, parameter, exponent) in PIPELINES.items():
        levels = [quantise(x, parameter) for x in tensors.values()]
        target = snr(tensors, [reconstruct_decimal(q, exponent, BY_NAME["float32"]) for q in levels])
        stream = encode(model, Config(snr=target, effort="best", rules=ALL))
        reached = snr(tensors, [x.array for x in decode(stream).tensors])
        size = lzma_size(levels)
        rows.append({"weights": name, "pipeline": label, "SNR dB": target, "CM dB off": reached - target,
                     "LZMA bits/w": 8 * size / count, "CM bits/w": 8 * len(stream) / count,
                     "ratio LZMA": 4 * count / size, "ratio CM": 4 * count / len(stream),
                     "CM % fewer": 100 * (1 - len(stream) / size),
                     "at most %": 100 * (1 - bound(source, target) * count / 8 / size)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["effnet", "ppocr_rec"], help="of FOLDER/bench/*.npz")
    parser.add_argument("--models", type=pathlib.Path, default=REPO / "models")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="weights drawn, a multiple of 1024")
    args = parser.parse_args()
    sets = {"VGG-16's scale": {"w": published(args)}}
    sets |= {name: read_tensors(args.models / "bench" / f"{name}.npz") for name in args.names}
    for name, tensors in sets.items():
        table(pipelines(name, tensors))


if __name__ == "__main__":
    main()
