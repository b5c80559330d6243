"""Updates between optimiser steps of a transformer in bfloat16: what a trainer ships to its servers after each step."""

from __future__ import annotations

import itertools
import lzma
import math
import pathlib
from dataclasses import asdict, dataclass

import numpy as np
from s4_runs import kept
from section import Cell, Context, Figure, Section, Series, Table
from tqdm import tqdm

import refcodec
from refcodec import Config, Model
from refcodec.model import Tensor

PAPER = "none: the update case of today's fleets, which the systems S1 to S5 do not know"
QUESTION = "What does it cost to follow a model in training, step by step or over many steps?"
PAIRS = ((0, 1), (1, 2), (2, 3), (0, 3), (3, 8), (8, 32), (0, 32))
CHAIN = (0, 1, 2, 3, 8, 32)
LOSSY_ABOVE = (6.0, 20.0)    # dB over what the old model, unchanged, is as the new one
DIGITS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data"


@dataclass(frozen=True)
class Sizes:
    """Bytes of one update, its peers and the whole model. changed: share of the elements that differ."""

    source: int
    changed: float
    update: int
    direct: int
    xz_xor: int
    xz_difference: int
    pairs: int


def run(context: Context) -> Section:
    """Full: the files of tools/train_transformer.py in context.models / 'transformer'. Quick: the bundled digits."""
    if context.quick:
        return _quick()
    folder = (context.models or pathlib.Path("models")) / "transformer"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: run tools/train_transformer.py --out {folder}")
    cache, found = context.cache / "transformer", {}
    for old, new in tqdm(PAIRS, desc="transformer", disable=not context.progress):
        def measured(old: int = old, new: int = new) -> dict:
            model = _step(folder, new)
            return asdict(sizes(_step(folder, old), model, kept(cache / f"{new}.json", lambda: direct_size(model))))
        found[old, new] = Sizes(**kept(cache / f"{old}-{new}.json", measured))
    lossy = []
    for above in (None, *LOSSY_ABOVE):
        lossy.append(kept(cache / f"lossy-{above}.json", lambda above=above: _lossy(folder, above)))
    section = Section("Transformer: successive optimiser steps in bfloat16", PAPER, QUESTION)
    section.tables = [_table("Lossless updates, bytes", found), _chain(found), _lossy_table(lossy)]
    section.figures = [_figure(found)]
    section.remarks, section.facts = _remarks(found, lossy), _facts(found)
    return section


def sizes(old: Model, new: Model, direct: int) -> Sizes:
    """Every size of an update. direct: bytes of the stream of the new model alone."""
    update = _verified(new, [old])
    words = [np.concatenate([t.words for t in m.tensors]) for m in (old, new)]
    bits = 8 * words[0].itemsize
    changed = int(np.count_nonzero(words[0] != words[1]))
    difference = words[1] - words[0]                     # modulo 2^bits
    return Sizes(words[1].nbytes, changed / len(words[0]), update, direct, _xz(words[0] ^ words[1]), _xz(difference),
                 changed * (32 + bits) // 8)


def direct_size(model: Model) -> int:
    """Bytes of a model's own stream."""
    return _verified(model, [])


def _verified(model: Model, references: list[Model]) -> int:
    """Bytes of a lossless stream, which is decoded and compared word by word."""
    stream = refcodec.encode(model, Config(), references)
    decoded = refcodec.decode(stream, references)
    if any(not np.array_equal(a.words, b.words) for a, b in zip(decoded.tensors, model.tensors, strict=True)):
        raise RuntimeError("a decoded model differs")
    return len(stream)


def _xz(words: np.ndarray) -> int:
    # Bytes of equal significance together, as the fleets' tools do; preset 6 is what xz takes unasked.
    planes = words.view(np.uint8).reshape(-1, words.itemsize).T
    return len(lzma.compress(np.ascontiguousarray(planes).tobytes(), preset=6))


def _step(folder: pathlib.Path, number: int, label: str = "bf16") -> Model:
    return refcodec.load(folder / f"step_{number:03}.{label}.safetensors")


def _quick() -> Section:
    old, new = (refcodec.load(DIGITS / f"digits_v{n}.onnx") for n in (1, 2))
    both = [Model([Tensor(t.name, _bfloat16(t)) for t in m.tensors if t.dtype.name == "float32"], m.name)
            for m in (old, new)]
    found = {("V1", "V2"): sizes(*both, direct_size(both[1]))}
    section = Section("Transformer: optimiser steps (quick: the bundled digits in bfloat16)", PAPER, QUESTION)
    section.tables = [_table("Lossless update, bytes", found)]
    section.facts = _facts(found)
    section.remarks = ["The transformer of 10.9 million parameters is in the full mode."]
    return section


def _bfloat16(tensor: Tensor) -> np.ndarray:
    import ml_dtypes

    return tensor.array.astype(ml_dtypes.bfloat16)


def _lossy(folder: pathlib.Path, above: float | None) -> dict:
    """A lossy update of the float32 weights over 32 steps, and the whole model at that error.

    above: dB over the old model, not updated at all, which is the row where it is None.
    """
    old, new = (_step(folder, number, "fp32") for number in (0, 32))
    floor = _snr(new, old)
    if above is None:
        return {"bytes": 0, "snr": floor, "whole": 0}
    stream = refcodec.encode(new, Config(snr=floor + above), [old])
    whole = refcodec.encode(new, Config(snr=floor + above))
    return {"bytes": len(stream), "snr": _snr(new, refcodec.decode(stream, [old])), "whole": len(whole)}


def _snr(original: Model, other: Model) -> float:
    """10 log10(variance / mean squared error) over all elements, dB."""
    power = error = count = 0.0
    for a, b in zip(original.tensors, other.tensors, strict=True):
        x = a.array.astype(np.float64)
        power, error, count = power + np.square(x).sum(), error + np.square(x - b.array).sum(), count + x.size
    mean = sum(float(t.array.astype(np.float64).sum()) for t in original.tensors) / count
    return 10 * math.log10((power / count - mean**2) / (error / count))


def _table(title: str, found: dict) -> Table:
    rows: list[list[Cell]] = []
    for (old, new), s in found.items():
        rows.append([f"{old} to {new}", f"{100 * s.changed:.2f}", f"{s.update:,}", f"{s.source / s.update:.2f}",
                     f"{s.direct / s.update:.2f}", f"{s.xz_xor / s.update:.2f}", f"{s.xz_difference / s.update:.2f}",
                     f"{s.pairs / s.update:.2f}"])
    return Table(title, ["steps", "changed, %", "update", "file / update", "direct stream / update",
                         "xz of XOR / update",
                         "xz of difference / update", "index + value / update"], rows,
                 "xz: preset 6 over byte planes. index + value: four bytes and the element, of each that changed.")


def _chain(found: dict) -> Table:
    rows: list[list[Cell]] = []
    for last in (3, 32):
        numbers = [n for n in CHAIN if n <= last]
        chain = sum(found[pair].update for pair in itertools.pairwise(numbers))
        whole = found[0, last]
        rows.append([f"0 to {last}", len(numbers) - 1, f"{chain:,}", f"{whole.update:,}", f"{chain / whole.update:.2f}",
                     f"{whole.direct:,}"])
    return Table("A chain of updates, or one", ["steps", "updates of the chain", "chain, bytes", "one update, bytes",
                                                "chain / one", "whole model, bytes"], rows)


def _lossy_table(lossy: list[dict]) -> Table:
    rows: list[list[Cell]] = []
    for number, row in enumerate(lossy):
        label = "lossy update" if number else "the old model, not updated"
        rows.append([label, f"{row['snr']:.2f}", f"{row['bytes']:,}", f"{row['whole']:,}" if number else "-"])
    return Table("32 steps in float32: update against whole model at equal error", ["", "SNR, dB", "update, bytes",
                                                                                   "whole model, bytes"], rows)


def _figure(found: dict) -> Figure:
    by_distance = sorted(found.items(), key=lambda x: (x[0][1] - x[0][0], x[0][0]))
    steps = [float(new - old) for (old, new), _ in by_distance]
    lines = [Series(label, steps, [100 * getattr(s, field) / s.source for _, s in by_distance])
             for label, field in (("update", "update"), ("xz of XOR", "xz_xor"), ("index + value", "pairs"),
                                  ("direct stream", "direct"))]
    return Figure("Lossless updates of a transformer in bfloat16", "optimiser steps between the two",
                  "bytes, % of the file", lines, log_x=True, log_y=True)


def _facts(found: dict) -> dict[str, float | bool | str]:
    every = found.values()
    return {"smallest_file_over_update": min(s.source / s.update for s in every),
            "largest_file_over_update": max(s.source / s.update for s in every),
            "least_xz_xor_over_update": min(s.xz_xor / s.update for s in every),
            "least_pairs_over_update": min(s.pairs / s.update for s in every),
            "update_always_below_direct": all(s.update < s.direct for s in every)}


def _remarks(found: dict, lossy: list[dict]) -> list[str]:
    one, far = found[0, 1], found[0, 32]
    chain = sum(found[pair].update for pair in itertools.pairwise(CHAIN))
    floor = lossy[0]["snr"]
    costs = [f"{row['snr'] - floor:.1f} dB more cost {row['bytes']:,} bytes, the whole model so {row['whole']:,}"
             for row in lossy[1:]]
    return [
        (f"**One step** changes {100 * one.changed:.2f} % of the {one.source // 2:,} elements; its update is "
         f"{one.update:,} bytes, {one.source / one.update:.1f} times smaller than the file and "
         f"{one.direct / one.update:.1f} times smaller than the direct stream. xz of the XOR takes "
         f"{one.xz_xor / one.update:.2f} times, pairs of index and value {one.pairs / one.update:.2f} times as much."),
        (f"**32 steps** change {100 * far.changed:.2f} %; the update is {far.source / far.update:.1f} times smaller "
         f"than the file. The chain of {len(CHAIN) - 1} updates takes {chain / far.update:.2f} times the bytes of the "
         "one."),
        "; ".join([f"**Lossy**: over 32 steps the old model is the new one at {floor:.1f} dB already", *costs]) + "."]
