"""Streams of some hundred bytes that order as much work, memory or output as their level allows, and what they cost.

    python -m tools.bombs                         # each as a command in a process of its own: CPU, peak MB, bytes out
    python -m tools.bombs --only slots --json
    python -m tools.bombs --write FOLDER          # the streams alone

A stream is sealed, but for digests of tensors that nobody waits for here. The commands run under limits of the kernel
(tools/limited.py), so that the table can be made on any state of the code.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from conformance.recipes.builder import Builder, Coded, Recipe
from conformance.recipes.parts import (
    P,
    R,
    codebook,
    copy,
    integer_codebook,
    levels,
    nothing,
    predicted,
    represented,
    uniform,
)
from refcodec.bitstream import syntax
from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.structures import (
    FileEntry,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    SegmentEntry,
    TensorEntry,
    Topology,
    UnitCoding,
    UnitType,
)
from refcodec.bitstream.visitor import Writer
from refcodec.digests import PIECE_BYTES, TensorDigest, piece_digest, tensor_digest
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part
from refcodec.encoder.stream_writer import body_of
from refcodec.expansion import lzma_filters
from tools import limited

SECONDS = 120                                                # of CPU that the kernel lets one command take
MB = 1 << 20
ONE = 0x3F800000                                            # 1.0 in float32


@dataclass
class Bomb:
    """recipe: of the stream.  command: of refcodec, on STREAM and OUT.  word: of float32 that all tensors consist of,
    so that their digests are known; None: their digests are 0."""

    name: str
    recipe: Recipe
    command: tuple[str, ...] = ("decode", "STREAM", "-o", "OUT.npz")
    profile: Profile = Profile.BASELINE
    level: int = 1
    word: int | None = None

    def stream(self) -> bytes:
        """The bytes of the stream."""
        with mock.patch.object(Writer, "limit", lambda self, name, value, maximum, rules="": value):
            return self._written()           # also what no level allows

    def _written(self) -> bytes:
        b = Builder(self.profile, self.level)
        self.recipe(b)
        if self.word is not None:
            digests = {(m.state.number, i): of_constant(t, self.word) for m in b.models
                       for i, t in enumerate(m.state.tensors)}
            b = Builder(self.profile, self.level, digests)
            self.recipe(b)
        return bytes(b.data)


def of_constant(entry: TensorEntry, word: int) -> TensorDigest:
    """The digests of a float32 tensor of equal words."""
    dtype, size = BY_NAME["float32"], 4 * math.prod(entry.dimension)
    whole, rest = divmod(size, PIECE_BYTES)
    pieces = [piece_digest(np.full(PIECE_BYTES // 4, word, np.uint32))] * whole
    pieces += [piece_digest(np.full(rest // 4, word, np.uint32))] if rest else []
    return TensorDigest(tensor_digest(entry.tensor_name, dtype, entry.dimension, pieces), pieces)


def constant(dtype: str = "float32", word: int = 0) -> Coded:
    """A tensor of equal words, of which nothing is coded."""
    part = Part(codebook(np.array([word], {"float32": "u4", "uint8": "u1"}[dtype]), 0), None, nothing().dtype)
    return Coded(predicted(part, P.NONE).descriptor, [part])


def put_coded(b: Builder, kind: UnitType, function: Callable, x: object) -> None:
    """A unit whose body is coded by LZMA, so that what repeats takes no bytes."""
    body = body_of(function, x, LEVELS[4], b.models[-1].state)
    coded = lzma.compress(body, lzma.FORMAT_RAW, filters=lzma_filters(len(body)))
    b.sealed(kind, UnitCoding.LZMA, coded, body)


# The streams

def layers(models: int, layer_count: int, tensor_count: int) -> Recipe:
    """Layer descriptors of many empty entries."""
    def recipe(b: Builder) -> None:
        entries = [LayerTensor() for _ in range(tensor_count)]
        x = LayerDescriptors(layer_count, [LayerDescriptor(layer_tensor_count=tensor_count, layer_tensor=entries)
                                           for _ in range(layer_count)])
        for _ in range(models):
            b.model("", [("w", "uint8", ())])
            put_coded(b, UnitType.LAYER_DESCRIPTORS, syntax.layer_descriptors, x)
            b.tensors((0, constant("uint8")))
            b.end_model()
        b.end()
    return recipe


def slots(files: int, each: int, elements: int = 1 << 20) -> Recipe:
    """One tensor in many slots of many files."""
    def recipe(b: Builder) -> None:
        slot = SegmentEntry(1, slot_tensor_delta=-1, slot_size=4 * elements)
        first = SegmentEntry(1, slot_tensor_delta=0, slot_size=4 * elements)
        b.model("", [("w", "float32", (elements,))])
        put_coded(b, UnitType.TOPOLOGY, syntax.topology, Topology(1, files, [
            FileEntry(f"{k:x}", each, [slot if k or i else first for i in range(each)]) for k in range(files)]))
        b.tensors((0, constant()))
        b.end_model()
        b.end()
    return recipe


def constants(count: int, elements: int) -> Recipe:
    """Tensors of equal words."""
    def recipe(b: Builder) -> None:
        b.model("", [(f"{i}", "float32", (elements,)) for i in range(count)])
        for i in range(count):
            b.tensors((i, constant()))
        b.end_model()
        b.end()
    return recipe


def chain(length: int, elements: int) -> Recipe:
    """A copy of a copy of a copy."""
    def recipe(b: Builder) -> None:
        b.model("", [(f"{i}", "float32", (elements,)) for i in range(length)])
        b.tensors((0, constant(word=ONE)))
        for i in range(1, length):
            b.tensors((i, copy(0, -1)))
        b.end_model()
        b.end()
    return recipe


def sums(length: int, elements: int) -> Recipe:
    """Differences to differences: each tensor is predicted from the one before."""
    def recipe(b: Builder) -> None:
        b.model("", [(f"{i}", "float32", (elements,)) for i in range(length)])
        b.tensors((0, constant(word=ONE)))
        for i in range(1, length):
            b.tensors((i, predicted(_constant_levels(), P.INTRA, 0, -1)))
        b.end_model()
        b.end()
    return recipe


def _constant_levels() -> Part:
    # Levels that are all the same index, of which nothing is coded.
    return Part(integer_codebook([0], 0), None, nothing().dtype)


def decomposition(rows: int, columns: int) -> Recipe:
    """A mapping of a constant matrix, whose decomposition costs the most."""
    def recipe(b: Builder) -> None:
        b.model("", [("x", "float32", (rows, columns)), ("y", "float32", (rows, columns))])
        b.tensors((0, constant(word=ONE)))
        b.tensors((1, represented(R.MAPPING, [_constant_levels()], P.INTRA, 0, -1, factor_rank=1)))
        b.end_model()
        b.end()
    return recipe


def product(rows: int, columns: int, rank: int) -> Recipe:
    """A product of two factors, of which nothing is coded."""
    def recipe(b: Builder) -> None:
        b.model("", [("x", "float32", (rows, columns))])
        b.tensors((0, represented(R.LOW_RANK, [_constant_levels(), _constant_levels()], factor_rank=rank)))
        b.end_model()
        b.end()
    return recipe


def random_mask(rows: int, columns: int) -> Recipe:
    """A mask of random integers that chooses nothing."""
    def recipe(b: Builder) -> None:
        b.model("", [("x", "float32", (rows, columns))])
        b.tensors((0, represented(R.RANDOM_MASK, [Part(levels(np.zeros((1, 0)), uniform()).component, None,
                                                       nothing().dtype)],
                                  selected_count=0, random_density=0, random_seed=1)))
        b.end_model()
        b.end()
    return recipe


DECODE, INFO, TRACE = ("decode", "STREAM", "-o", "OUT.npz"), ("info", "STREAM"), ("trace", "STREAM")
FOLDER, VALIDATE = ("decode", "STREAM", "-o", "OUT"), ("validate", "STREAM")
BOMBS = (
    Bomb("layers, info", layers(1, 1 << 10, 1 << 10), INFO),
    Bomb("layers, trace", layers(1, 1 << 10, 1 << 10), TRACE),
    Bomb("layers of 16 models, info", layers(16, 1 << 10, 1 << 10), INFO),
    Bomb("16 x 16 slots", slots(16, 16), FOLDER, word=0),
    Bomb("16 x 4096 slots", slots(16, 4096), FOLDER, word=0),
    Bomb("40 constants", constants(40, 1 << 22), word=0),
    Bomb("decomposition 1024 x 16384", decomposition(1024, 16384), profile=Profile.MAIN, level=2, word=ONE),
    Bomb("chain of 32 copies", chain(32, 1 << 24), level=2, word=ONE),
    Bomb("chain of 32 copies, validate", chain(32, 1 << 24), VALIDATE, level=2, word=ONE),
    Bomb("chain of 32 sums", sums(32, 1 << 24), level=2, word=ONE),
    Bomb("product, level 2", product(8192, 8192, 1024), level=2),
    Bomb("random mask, level 3", random_mask(1 << 14, 1 << 14), level=3),
    Bomb("decomposition 4096 x 4096", decomposition(4096, 4096), profile=Profile.MAIN, level=3, word=ONE),
)


# What they cost

def cost(bomb: Bomb, folder: Path, options: tuple[str, ...] = ()) -> dict[str, object]:
    """Runs the command of a bomb: bytes in, level, CPU seconds, peak MB, bytes out, and the answer's code."""
    stream, out = folder / "bomb.omc", folder / "out"
    stream.write_bytes(data := bomb.stream())
    names = {"STREAM": str(stream), "OUT": str(out), "OUT.npz": str(out) + ".npz"}
    done = limited.run(limited.refcodec(*(names.get(a, a) for a in bomb.command), *options), folder, cpu=SECONDS)
    written = len(done.out) + sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file() and p != stream)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    last = done.err.strip().splitlines()
    answer = last[-1].removeprefix("refcodec: ") if last else ""
    return {"bomb": bomb.name, "bytes_in": len(data), "level": bomb.level, "exit": done.exit,
            "cpu_s": round(done.cpu, 2), "peak_mb": round(done.peak / MB), "out_mb": round(written / MB, 1),
            "answer": answer[:160]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bombs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="bombs whose name has this word")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the streams there and run nothing")
    parser.add_argument("options", nargs="*", metavar="OPTION", help="after --: for each command")
    a = parser.parse_args()
    chosen = [b for b in BOMBS if not a.only or any(word in b.name for word in a.only)]
    if a.write:
        for b in chosen:
            (a.write / f"{b.name.replace(' ', '-')}.omc").write_bytes(b.stream())
        return 0
    found = []
    with tempfile.TemporaryDirectory(prefix="omc-bombs-") as folder:
        for b in chosen:
            found.append(x := cost(b, Path(folder), tuple(a.options)))
            if not a.json:
                print("| {bomb} | {bytes_in} | {level} | {cpu_s} | {peak_mb} | {out_mb} | {answer} |".format(**x),
                      flush=True)
    if a.json:
        print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
