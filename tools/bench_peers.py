"""OMC beside its peers, in one run on one machine: sizes at equal quality, and speeds.

    python tools/fetch_models.py && python tools/train_transformer.py
    python tools/bench_peers.py [--only quantised lossless updates outputs] [--quick] [--no-speed] [--json FILE]

quantised  the tensors of two or more dimensions, against NNCodec's best setting at 2, 3, 4 and 6 bits per weight,
           at NNCodec's own SNR (OMC's stream is corrected to it by 6.02 dB per bit, hundredths of a dB as a rule)
lossless   all floating-point tensors as float32, bfloat16 and float16 safetensors
updates    a model given an earlier one: trained pairs, and unrelated ones, where prediction must not cost anything
outputs    answers of decoded models (onnxruntime) against bits per weight

Environments of the peers are made in the work folder; sizes of peers are cached there by the digest of their
input, speeds are always measured anew.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys

import ml_dtypes
import numpy as np
from fetch_models import REPO, read_tensors
from peers import omc
from peers.environments import ensure_env
from peers.lossless import DELTA, INTRA, Lossless
from peers.nncodec import NNCodec
from peers.shannon import RowScaledSource
from safetensors.numpy import save_file

BITS = (2, 3, 4, 6)
QUANTISED = ("silero", "magika", "ppocr_rec", "effnet")
CODERS = {"CM 32": dict(states=32, coder="cm"), "CC 8": dict(states=8, coder="cc")}
ALL = [dict(match="*", treatment="quantise")]      # like NNCodec: biases kept as matrices are quantised too
DTYPES = {"fp32": np.dtype("f4"), "bf16": np.dtype(ml_dtypes.bfloat16), "fp16": np.dtype("f2")}
PUBLISHED = ("silero-vad-5.1.2.onnx", "silero-vad-6.0.0.onnx", "magika-1.0.3.onnx", "ppocrv4-rec.onnx",
             "ppocrv4-det.onnx", "ppocr-cls.onnx", "efficientnet-lite0.safetensors")
OUTPUTS = {"silero": "silero-vad-6.0.0.onnx", "magika": "magika-1.0.3.onnx", "ppocr": "ppocrv4-rec.onnx"}
OUTPUT_SNRS = (12, 18, 24, 30, 42)


def table(rows: list[dict]) -> None:
    """Prints rows of equal keys as a Markdown table; numbers to at most two places."""
    def cell(value) -> str:
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    if rows:
        lines = [list(rows[0])] + [[cell(value) for value in row.values()] for row in rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        lines.insert(1, ["-" * width for width in widths])
        for line in lines:
            print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |")
    print(flush=True)


def report(row: dict) -> None:
    """One line on the terminal as soon as a row is measured."""
    print("; ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in row.items()), file=sys.stderr, flush=True)


# ---- quantised --------------------------------------------------------------------------------------------------

def quantised(args) -> list[dict]:
    """One row per model and rate: percent fewer bytes than NNCodec, distance to the bound, speeds as ratios."""
    rows = []
    for name in QUANTISED[:2] if args.quick else QUANTISED:
        npz = args.models / "bench" / f"{name}.npz"
        source, peer = RowScaledSource(read_tensors(npz)), NNCodec(args.work, npz)
        for bits in (3,) if args.quick else BITS:
            point, _ = peer.best(bits)
            jobs = [dict(file=npz, config={**coder, "snr": point.snr, "rules": ALL}, speed=args.speed)
                    for coder in CODERS.values()]
            results = dict(zip(CODERS, omc.run(jobs)))
            row = {"model": name, "bits": bits, "SNR dB": point.snr, "NNCodec bytes": point.bytes,
                   "NNCodec bits/w": point.bits}
            for label, result in results.items():
                size = result.bytes_at(point.snr)
                row |= {f"{label} bytes": round(size), f"{label} % fewer": 100 * (1 - size / point.bytes),
                        f"{label} dB off": result.snr - point.snr}
            bound = source.bits(point.snr)
            row |= {"bound bits/w": bound, "CM 32 over bound": 8 * row["CM 32 bytes"] / point.weights - bound}
            if args.speed:
                row |= speeds(peer.timed(point), results)
            rows.append(row)
            report(rows[-1])
    table(rows)
    means = [{"bits": bits, **{f"{label} % fewer": float(np.mean([row[f"{label} % fewer"] for row in rows
                                                                   if row["bits"] == bits])) for label in CODERS}}
             for bits in dict.fromkeys(row["bits"] for row in rows)]
    table(means)
    return rows


def speeds(peer, results: dict[str, omc.Result]) -> dict[str, float]:
    """Speeds in millions of weights per second and as ratios to NNCodec's, at one work point."""
    def rate(seconds: float) -> float:
        return peer.weights / seconds / 1e6

    row = {"NNCodec dec Mw/s": rate(peer.decode_seconds), "NNCodec enc Mw/s": rate(peer.encode_seconds)}
    for label, result in results.items():
        row |= {f"{label} dec Mw/s": rate(result.decode_seconds),
                f"{label} dec ratio": peer.decode_seconds / result.decode_seconds,
                f"{label} 2 threads": result.decode_seconds / result.decode_seconds_2,
                f"{label} enc ratio": peer.encode_seconds / result.encode_seconds}
    return row


# ---- lossless ---------------------------------------------------------------------------------------------------

def prepare(path: pathlib.Path, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The floating-point tensors of a model as safetensors of each type: {type: file}."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: array for name, array in read_tensors(path).items() if array.dtype in DTYPES.values()}
    files = {}
    for label, dtype in DTYPES.items():
        files[label] = folder / f"{path.stem}.{label}.safetensors"
        save_file({name: np.ascontiguousarray(array.astype(dtype)) for name, array in tensors.items()}, files[label])
    return files


def compared(path: pathlib.Path, ours: omc.Result, peers: dict, row: dict, speed: bool) -> dict:
    """A row of sizes: ratios of all codecs, the best peer, percent fewer bytes than it; decoding in MB/s."""
    size = path.stat().st_size
    best = min(peers.values(), key=lambda result: result.bytes)
    row |= {"bytes": size, "OMC bytes": ours.bytes, "OMC": size / ours.bytes}
    row |= {codec: size / result.bytes for codec, result in peers.items()}
    row |= {"best peer": best.codec, "% fewer": 100 * (1 - ours.bytes / best.bytes),
            "ratio to best": best.bytes / ours.bytes}
    if speed:
        row |= {"OMC dec MB/s": size / ours.decode_seconds / 1e6}
        row |= {f"{codec} dec MB/s": size / result.decode_seconds / 1e6 for codec, result in peers.items()}
    return row


def lossless(args) -> list[dict]:
    """One row per model and type."""
    peers, rows = Lossless(args.work), []
    models = [args.models / name for name in PUBLISHED]
    models += [args.models / "transformer" / "step_032.fp32.safetensors"]
    models = [models[1]] if args.quick else [model for model in models if model.exists()]
    for model in models:
        for label, path in prepare(model, args.work / "prepared").items():
            speed = args.speed and label == "fp32"
            ours, = omc.run([dict(file=path, speed=speed)])
            others = peers.intra(path, INTRA, fresh=speed)
            rows.append(compared(path, ours, others, {"model": model.stem, "type": label}, speed))
            report(rows[-1])
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table([{key: row.get(key, "") for key in keys if "MB/s" not in key} for row in rows])
    return rows


# ---- updates ----------------------------------------------------------------------------------------------------

def pairs(args) -> list[tuple[str, pathlib.Path, pathlib.Path]]:
    """(label, reference, new file) of every pair that is there."""
    folder = args.work / "prepared"
    data, steps = REPO / "tests" / "data", args.models / "transformer"
    digits = [prepare(data / f"digits_v{version}.onnx", folder)["fp32"] for version in (1, 2)]
    found = [("digits V1 to V2 fp32", *digits)]
    if args.quick:
        return found
    found += [(f"transformer bf16, steps {first} to {last}", steps / f"step_{first:03}.bf16.safetensors",
               steps / f"step_{last:03}.bf16.safetensors") for first, last in ((0, 1), (2, 3), (0, 8), (0, 32))]
    found += [("transformer fp32, steps 0 to 32", steps / "step_000.fp32.safetensors",
               steps / "step_032.fp32.safetensors")]
    silero = [prepare(args.models / f"silero-vad-{version}.onnx", folder)["fp32"] for version in ("5.1.2", "6.0.0")]
    found += [("silero 5.1.2 to 6.0.0 (unrelated) fp32", *silero)]
    return [pair for pair in found if pair[1].exists() and pair[2].exists()]


def updates(args) -> list[dict]:
    """One row per pair; 'over intra' is what a reference costs where it does not help (negative: it helps)."""
    peers, rows = Lossless(args.work), []
    for label, reference, path in pairs(args):
        ours, alone = omc.run([dict(file=path, references=[reference], speed=args.speed), dict(file=path)])
        row = compared(path, ours, peers.delta(reference, path, DELTA), {"pair": label}, False)
        if args.speed:
            row["OMC dec MB/s"] = path.stat().st_size / ours.decode_seconds / 1e6
        rows.append(row | {"% over intra": 100 * (ours.bytes / alone.bytes - 1)})
        report(rows[-1])
    table(rows)
    return rows


# ---- outputs ----------------------------------------------------------------------------------------------------

def outputs(args) -> list[dict]:
    """One row per published model and SNR: bits per quantised weight, agreement of decisions with the original's."""
    python, folder = ensure_env(args.work, "outputs"), args.work / "decoded"
    folder.mkdir(exist_ok=True)
    worker, rows = REPO / "tools" / "peers" / "workers" / "outputs_worker.py", []
    for kind, name in list(OUTPUTS.items())[:1 if args.quick else None]:
        model = args.models / name
        decoded = [folder / f"{model.stem}.{snr}dB.onnx" for snr in OUTPUT_SNRS]
        results = omc.run([dict(file=model, config={**CODERS["CM 32"], "snr": snr}, output=str(path))
                           for snr, path in zip(OUTPUT_SNRS, decoded)])
        done = subprocess.run([str(python), str(worker), kind, str(model), *map(str, decoded)], check=True,
                              capture_output=True, text=True)
        for snr, result, line in zip(OUTPUT_SNRS, results, done.stdout.splitlines()):
            answer = json.loads(line)
            rows.append({"model": name, "SNR dB": snr, "bytes": result.bytes,
                         "ratio": model.stat().st_size / result.bytes, "bits/w": 8 * result.bytes / result.weights,
                         "decisions": answer["decisions"], "% agree": 100 * answer["agreement"],
                         "largest difference": answer["largest_difference"]})
    table(rows)
    return rows


SECTIONS = {"quantised": quantised, "lossless": lossless, "updates": updates, "outputs": outputs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--models", type=pathlib.Path, default=REPO / "models", help="folder of fetch_models.py")
    parser.add_argument("--work", type=pathlib.Path, default=REPO / ".bench", help="environments and caches")
    parser.add_argument("--quick", action="store_true", help="the smallest models, one rate")
    parser.add_argument("--no-speed", dest="speed", action="store_false", help="sizes only")
    parser.add_argument("--json", type=pathlib.Path, help="write the rows of all sections here")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in args.only:
        print(f"## {name}\n")
        results[name] = SECTIONS[name](args)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
