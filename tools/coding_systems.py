"""Every coding system of the standard on one table: size, error, speed, and whether what comes back is what was meant.

    python tools/coding_systems.py                     # on the bundled pair of models and their activations
    python tools/coding_systems.py --model FILE [--reference FILE] [--json OUT] [--into PAGE]

A row is one mode.  It is verified when the stream decodes with all digests right, in a decoder that has only the stream
and its references, and gives the words that its encoder promised: the original ones where nothing may be lost.
Speeds are in megabytes of the original per second, of one thread, without the first run, which compiles.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import refcodec  # noqa: E402
from refcodec import Config, Model, StreamDecoder, Tensor  # noqa: E402

DATA = ROOT / "tests" / "data"
STEP = 0.02


@dataclass(frozen=True)
class Mode:
    """A way to code. uses: 'model', 'update' (with the reference), 'set' (both in one stream), 'maps', 'frames', or
    'pruned'
    (half of the rows of its largest matrix are 0).  What a mode cannot code is range coded."""

    group: str
    name: str
    config: dict
    uses: str = "model"

    @property
    def lossless(self) -> bool:
        return not Config(**self.config).lossy


@dataclass
class Row:
    """A line of the table. snr_db: None where nothing is lost."""

    group: str
    mode: str
    subject: str
    bytes: int
    ratio: float
    snr_db: float | None
    encode_mb_s: float
    decode_mb_s: float
    verified: bool


def modes() -> Iterator[Mode]:
    """All modes, group by group."""
    coders = ("raw", "cc", "map", "huffman", "fixed", "deflate", "gzip", "bzip2", "lzma")
    for name in coders:
        yield Mode("words, lossless", name, {"entropy": name})
    yield Mode("words, lossless", "auto", {"preset": "auto"})
    for name in ("raw", "cc", "cm", *coders[3:]):
        yield Mode("levels, one step", name, {"step": STEP, "states": 0, "entropy": name})
    yield Mode("levels, one step", "cc, 8 states", {"step": STEP})
    yield Mode("levels, one step", "cm, 32 states", {"step": STEP, "effort": "best"})
    yield Mode("levels, one step", "auto", {"step": STEP, "preset": "auto"})
    for p in (6, 5, 4, 3):
        yield Mode("S1", f"RP {p}", {"preset": "s1-rp", "rp": p})
    for k in (7, 8, 9, 10):
        yield Mode("S2", f"q_bits {k}", {"preset": "s2-qbits", "q_bits": k})
    for width in (4, 6, 8):
        yield Mode("quantisers", f"fixed point, {width} bits",
                   {"quantiser": "fixed-point", "width": width, "entropy": "fixed"})
    for name in ("k-means", "k-means-zero", "integer-k-means"):
        yield Mode("quantisers", f"{name}, 16", {"quantiser": name, "entropy": "auto"})
    yield Mode("difference of models", "lossless", {}, "update")
    yield Mode("difference of models", "cm, 32 states", {"step": STEP / 4, "effort": "best"}, "update")
    yield Mode("difference of models", "S1, RP 4", {"preset": "s1-rp"}, "update")
    yield Mode("difference of models", "S2, q_bits 8", {"preset": "s2-qbits"}, "update")
    yield Mode("sets", "lossless", {"root": "auto"}, "set")
    yield Mode("sets", "30 dB", {"root": "auto", "snr": 30.0}, "set")
    yield Mode("features", "lossless, auto", {"preset": "s3-features"}, "maps")
    yield Mode("features", "lossy, auto", {"preset": "s3-features", "step": 0.05}, "maps")
    yield Mode("features", "lossless, auto", {"preset": "s3-features"}, "frames")
    for name in ("lra", "ml", "ka", "rm", "lru"):
        yield Mode("S4", name.upper(), {"preset": f"s4-{name}", "update_rank": 4}, "update")
    yield Mode("S4", "KA, n = 0", {"preset": "s4-ka", "update_rank": 0}, "update")
    yield Mode("S4", "FP", {"preset": "s4-fp"}, "pruned")
    yield Mode("S5", "hybrid", {"preset": "s5-hybrid"})
    yield Mode("S5", "hybrid, the same by CM", {"preset": "s5-hybrid", "entropy": "cm"})


def measured(mode: Mode, models: Sequence[Model], references: Sequence[Model], subject: str) -> Row:
    """Encode, decode and compare."""
    config = Config(**mode.config)
    start = time.perf_counter()
    stream = refcodec.encode(list(models), config, references)
    encoded = time.perf_counter()
    with StreamDecoder(stream, references) as decoder:
        decoded = [decoder.model(number) for number in range(len(decoder.parsed.models))]
    seconds = (encoded - start, time.perf_counter() - encoded)
    by_name = {m.name: m for m in decoded}
    pairs = list(zip(models, [by_name[m.name] for m in models] if config.root else decoded))
    size = sum(t.nbytes for m in models for t in m.tensors)
    verified = all(len(a.tensors) == len(b.tensors) for a, b in pairs)
    if mode.lossless:
        verified = verified and all(a.digest() == b.digest() for a, b in pairs)
    return Row(mode.group, mode.name, subject, len(stream), size / len(stream), None if mode.lossless else snr(pairs),
               size / 1e6 / seconds[0], size / 1e6 / seconds[1], verified)


def snr(pairs: Sequence[tuple[Model, Model]]) -> float | None:
    """10 log10(variance / mean squared error) over all floating-point elements; None where they are equal."""
    values = [
        np.concatenate([t.array.astype(np.float64).reshape(-1) for m in side for t in m.tensors if t.dtype.kind == "f"])
        for side in zip(*pairs)
    ]
    error = float(np.square(values[0] - values[1]).mean())
    return 10 * math.log10(float(values[0].var()) / error) if error else None


def pruned(model: Model) -> Model:
    """The model with half of the rows of its largest matrix removed."""
    largest = max((t for t in model.tensors if len(t.shape) > 1), key=lambda t: t.size)
    rows = largest.array.copy()
    rows[::2] = 0
    return Model([Tensor(t.name, rows) if t is largest else t for t in model.tensors], model.name, model.layers,
                 model.source)


def activations(path: pathlib.Path, folder: str, frames: int = 4) -> tuple[Model, list[Model]]:
    """Activation maps of the bundled network: of many images as one model, and of one image that moves, frame by
    frame."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    from refcodec.formats.features import load_features

    network = onnx.load(path)
    inner = [node.output[0] for node in network.graph.node if node.op_type in ("Conv", "Relu", "MaxPool")]
    network.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    with np.load(DATA / "digits_test.npz") as archive:
        images = archive[archive.files[0]].astype(np.float32)
    evaluate = ReferenceEvaluator(network)
    images = images.reshape(-1, 1, 8, 8)
    name = network.graph.input[0].name
    maps = dict(zip(inner, evaluate.run(inner, {name: images[:64]})))
    stack = {k: v.reshape(-1, *v.shape[2:]) if v.ndim == 4 else v for k, v in maps.items()}
    moving = np.stack([np.roll(images[0], shift, axis=2) for shift in range(frames)])
    sequence = dict(zip(inner, evaluate.run(inner, {name: moving})))
    np.savez(f"{folder}/maps.npz", **stack)
    np.savez(f"{folder}/frames.npz", **sequence)
    return load_features(f"{folder}/maps.npz", False)[0], load_features(f"{folder}/frames.npz", True)


def all_rows(subjects: dict[str, tuple[list, list]], group: str) -> list[Row]:
    """The rows whose subject is at hand and whose group fits."""
    rows = []
    for mode in modes():
        models, references = subjects[mode.uses]
        if models and None not in models + references and group in mode.group:
            measured(mode, models, references, mode.uses)             # compiles
            rows.append(measured(mode, models, references, mode.uses))
            print(f"{rows[-1].group}: {rows[-1].mode}: {rows[-1].bytes:,} bytes", file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| system | mode | on | bytes | ratio | SNR dB | encode MB/s | decode MB/s | verified |",
             "|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        error = "lossless" if r.snr_db is None else f"{r.snr_db:.2f}"
        lines.append(
            f"| {r.group} | {r.mode} | {r.subject} | {r.bytes:,} | {r.ratio:.3f} | {error} | {r.encode_mb_s:.2f} | "
            f"{r.decode_mb_s:.2f} | {'yes' if r.verified else 'NO'} |")
    return "\n".join(lines)


def put_into(path: pathlib.Path, text: str) -> None:
    """The page with the text between its lines `<!-- systems -->` and `<!-- /systems -->`. ValueError without them."""
    page = path.read_text(encoding="utf-8")
    begin, end = (page.index(mark) for mark in ("<!-- systems -->\n", "<!-- /systems -->\n"))
    path.write_text(page[:begin] + "<!-- systems -->\n" + text + "\n" + page[end:], encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(DATA / "digits_v2.onnx"), help="the model that is coded")
    parser.add_argument("--reference", default=None, help="an earlier version of it (default: the bundled one)")
    parser.add_argument("--only", metavar="GROUP", help="one group of rows")
    parser.add_argument("--json", metavar="OUT", help="write the rows there, too")
    parser.add_argument("--into", metavar="PAGE", type=pathlib.Path,
                        help="put the table into a Markdown page, between the lines '<!-- systems -->' and its end")
    arguments = parser.parse_args()
    groups = dict.fromkeys(mode.group for mode in modes())
    if arguments.only and not any(arguments.only in group for group in groups):
        parser.error(f"--only {arguments.only}: the groups are {', '.join(groups)} (a part of a name will do)")
    bundled = arguments.model == str(DATA / "digits_v2.onnx")
    model = refcodec.load(arguments.model)
    reference = refcodec.load(arguments.reference
                              or DATA / "digits_v1.onnx") if bundled or arguments.reference else None
    model.name = model.name or "model"
    if reference:
        reference.name = "earlier"
    with tempfile.TemporaryDirectory() as folder:
        maps, frames = activations(DATA / "digits_v2.onnx", folder) if bundled else (None, [])
        subjects = {"model": ([model], []), "update": ([model], [reference]), "set": ([reference, model], []),
                    "maps": ([maps], []), "frames": (frames, []), "pruned": ([pruned(model)], [])}
        rows = all_rows(subjects, arguments.only or "")
    if not rows:
        parser.error(f"nothing of {arguments.only!r} can be coded: updates and sets need --reference, features the "
                     "bundled model")
    print(table(rows))
    if arguments.into:
        put_into(arguments.into, table(rows))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps([asdict(r) for r in rows], indent=1))
    return 0 if all(r.verified for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
