"""Codes real models with the `refcodec` command, decodes them, and verifies every bit that should be the same.

    make demo                  the bundled pair: a small CNN, V1 trained on a fifth of the digits, V2 refined on all
    make demo MODEL=file       any .onnx, .safetensors or .npz file

A case is verified when
  1. `refcodec decode` accepts the stream: the digest of each tensor and the digest of the model are right;
  2. the decoded file, read anew, has the SHA-256 that the encoder wrote at the model's end;
  3. lossless: the file (npz: each tensor) has the SHA-256 of the original;
     lossy: the SNR is near to what was asked, and what is no weight, bias or normalisation is the same, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
from digits_data import DATA, accuracy

import refcodec
from refcodec import compiler
from refcodec.bitstream.units import MAGIC
from refcodec.cli import exit_codes
from refcodec.encoder.treatment import Treatment, is_finite, roles_of, treatment
from refcodec.inspection.describe import describe_stream

LAYERS = 3
SNR_SLACK = 1.0             # dB by which the encoder may miss: it measures before rounding to bfloat16 or float16


class Failure(Exception):
    """A command failed, or a decoded model is not what it has to be."""


class CannotBeMet(Exception):
    """The model does not allow what was asked of the encoder, e.g. so few bits."""


class Case(NamedTuple):
    """One stream: what is coded, how, and given which earlier model."""

    title: str
    model: pathlib.Path
    options: str = ""                            # of `refcodec encode`; none: lossless
    reference: pathlib.Path | None = None        # known to encoder and decoder


class Row(NamedTuple):
    """A line of the table of results."""

    case: str
    bytes: str
    ratio: str
    bits_per_weight: str
    snr_db: str
    accuracy: str
    encode_s: str
    decode_s: str
    verified: str


# Running the command

def machine_code() -> int:
    """How many compiled loops are in the cache."""
    return sum(1 for _ in pathlib.Path(compiler.CACHE_FOLDER).rglob("*.nbc")) if compiler.COMPILE else 0


class Workshop:
    """A folder where `refcodec` is run as a user would, every command shown."""

    def __init__(self, folder: pathlib.Path, threads: int | None):
        self.folder, self.threads, self.compiled = folder, threads, False
        program = pathlib.Path(sys.executable).with_name("refcodec")
        self.program = [str(program)] if program.exists() else [sys.executable, "-m", "refcodec"]

    def command(self, verb: str, *words: object) -> tuple[int, dict]:
        """Runs `refcodec VERB WORDS`; returns its exit code and its result. Errors and progress go to the terminal."""
        shown = [str(w).removeprefix(f"{self.folder}/") for w in words]
        shown += ["--threads", str(self.threads)] if self.threads else []
        print("  $ refcodec", verb, shlex.join(shown), flush=True)
        before = machine_code()
        done = subprocess.run([*self.program, verb, *shown, "--json"], cwd=self.folder, stdout=subprocess.PIPE,
                              text=True)
        self.compiled = machine_code() > before
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, {}

    def must(self, verb: str, *words: object) -> str:
        """Runs a command that has to succeed; returns its seconds, with a star where they include compiling."""
        code, result = self.command(verb, *words)
        if code == exit_codes.CONFIG:
            raise CannotBeMet
        if code != 0:
            raise Failure(f"refcodec {verb} ended with exit code {code}")
        seconds = f"{result['seconds']:.1f}{'*' if self.compiled else ''}"
        did = f"{result['output_bytes']:,} bytes" if verb == "encode" else f"{result['tensors']} tensors, digests right"
        print(f"    {did}, {seconds.rstrip('*')} s{', most of it compiling' if self.compiled else ''}", flush=True)
        return seconds

    def encode(self, case: Case) -> tuple[pathlib.Path, str]:
        """(stream, seconds) of a case."""
        stream = self.folder / (re.sub(r"\W+", "_", case.title.lower()).strip("_") + ".omc")
        given = ("--reference", case.reference) if case.reference else ()
        return stream, self.must("encode", case.model, "-o", stream, *case.options.split(), *given)

    def decode(self, case: Case, stream: pathlib.Path, *options: str) -> tuple[pathlib.Path, str]:
        """(decoded file, or folder where the model has several files; seconds)."""
        source = refcodec.load(case.model).source
        several = source is not None and len(source.files) > 1
        name = re.sub(r"\W+", "_", stream.stem + "".join(options))
        output = stream.with_name(name if several else name + case.model.suffix)
        given = ("--reference", case.reference) if case.reference else ()
        return output, self.must("decode", stream, "-o", output, *given, *options)


# Verifying

def file_digests(path: pathlib.Path) -> list[str]:
    """SHA-256 of each file of a model (an ONNX model may have several; of npz: of each tensor)."""
    model = refcodec.load(main_file(path))
    if model.source is None:
        return [t.digest().hex() for t in model.tensors]
    digests = []
    for name in [main_file(path).name, *(f.path for f in model.source.files[1:])]:
        with open(main_file(path).parent / name, "rb") as f:
            digests.append(hashlib.file_digest(f, "sha256").hexdigest())
    return digests


def main_file(path: pathlib.Path) -> pathlib.Path:
    """The file to load: itself, or the .onnx file in a folder."""
    return next(path.glob("*.onnx")) if path.is_dir() else path


def size_of(path: pathlib.Path) -> int:
    """Bytes of a model in all its files."""
    source = refcodec.load(path).source
    return sum(f.size for f in source.files) if source else path.stat().st_size


def treatments(model: refcodec.Model) -> list[Treatment]:
    """What lossy coding does with each tensor; one with NaN or infinity stays exact."""
    lossy = refcodec.Config(snr=30)
    planned = [treatment(t, r, lossy) for t, r in zip(model.tensors, roles_of(model))]
    return [k if k == Treatment.LOSSLESS or is_finite(t.array) else Treatment.LOSSLESS
            for t, k in zip(model.tensors, planned)]


def signal_to_noise(original: refcodec.Model, decoded: refcodec.Model) -> tuple[float, int]:
    """(10 log10(variance / mean squared error) over all elements of all weights, their number).

    Raises Failure where a tensor that lossy coding has to leave alone differs, or a value got lost.
    """
    n, total, squares, error = 0, 0.0, 0.0, 0.0
    for a, b, kind in zip(original.tensors, decoded.tensors, treatments(original), strict=True):
        if (a.name, a.dtype, a.shape) != (b.name, b.dtype, b.shape):
            raise Failure(f"tensor {a.name!r} became {b!r}")
        if kind == Treatment.LOSSLESS and not np.array_equal(a.words, b.words):
            raise Failure(f"tensor {a.name!r} differs, and is none that lossy coding may touch")
        if kind == Treatment.QUANTISE:
            x, y = (t.array.astype(np.float64).reshape(-1) for t in (a, b))
            if not np.isfinite(y).all():
                raise Failure(f"tensor {a.name!r} has a value that is not finite")
            n, total, squares = n + x.size, total + float(x.sum()), squares + float(np.square(x).sum())
            error += float(np.square(x - y).sum())
    variance = squares / n - (total / n) ** 2 if n else 0.0
    return (10 * math.log10(variance * n / error) if error and variance > 0 else math.inf), n


def verify(case: Case, digest: str, output: pathlib.Path) -> tuple[float, int, str]:
    """(SNR, weights, what was verified); raises Failure."""
    original, decoded = refcodec.load(case.model), refcodec.load(main_file(output))
    if decoded.digest().hex() != digest:
        raise Failure(f"{output.name}: the SHA-256 of the model is not the one that the encoder wrote")
    snr, weights = signal_to_noise(original, decoded)
    if case.options:
        asked = re.search(r"--snr (\S+)", case.options)
        if asked and "--quality-layers" not in case.options and snr < float(asked[1]) - SNR_SLACK:
            raise Failure(f"{output.name}: {snr:.3f} dB, {asked[1]} were asked for")
        return snr, weights, "digests"
    if file_digests(case.model) != file_digests(output):
        raise Failure(f"{output.name}: differs from the original")
    return snr, weights, "same file" if original.source else "same tensors"


# The cases

class Demo:
    """Runs cases and collects the rows of the table."""

    def __init__(self, shop: Workshop, with_accuracy: bool):
        # With accuracy, and then without times, for the pair is too small for them.
        self.shop, self.with_accuracy, self.rows = shop, with_accuracy, []

    def run(self, case: Case) -> pathlib.Path:
        """Encodes, decodes, verifies; returns the decoded file."""
        print(f"\n{case.title}", flush=True)
        stream, encoding = self.shop.encode(case)
        output, decoding = self.shop.decode(case, stream)
        digest = describe_stream(stream)["models"][-1]["digest"]
        self.add(case, case.title, stream.stat().st_size, encoding, decoding, digest, output)
        return output

    def run_layers(self, case: Case) -> None:
        """One stream of several quality layers, each decoded and verified; then the stream cut after the first."""
        print(f"\n{case.title}", flush=True)
        stream, encoding = self.shop.encode(case)
        description, outputs = describe_stream(stream), []
        end = len(MAGIC) + description["bytes_by_unit"]["stream_header"]
        for layer, model in enumerate(description["models"], start=1):
            output, decoding = self.shop.decode(case, stream, f"--quality={layer}")
            end += model["bytes"]
            self.add(case, f"{case.title}, layer {layer}", end, encoding, decoding, model["digest"], output)
            outputs.append((end, output))
        end, first = outputs[0]
        prefix = stream.with_name(stream.stem + "_prefix.omc")
        prefix.write_bytes(stream.read_bytes()[:end])
        print(f"  the first {end:,} bytes of it:")
        output, _ = self.shop.decode(case, prefix, "--allow-prefix")
        if file_digests(output) != file_digests(first):
            raise Failure("the prefix gives another model than the first layer")

    def add(self, case: Case, title: str, size: int, encoding: str, decoding: str, digest: str,
            output: pathlib.Path) -> None:
        """Verifies, and adds a row."""
        snr, weights, verified = verify(case, digest, output)
        score = f"{100 * accuracy(case.model):.1f} -> {100 * accuracy(output):.1f} %" if self.with_accuracy else ""
        self.rows.append(Row(title, f"{size:,}", f"{size_of(case.model) / size:.2f}",
                             f"{8 * size / weights:.2f}" if weights and case.options else "",
                             "exact" if snr == math.inf else f"{snr:.2f}", score,
                             *(("", "") if self.with_accuracy else (encoding, decoding)), verified))

    def table(self) -> None:
        """Prints the rows under their heads; columns that are empty all the way down are left out."""
        lines = [Row(*(name.replace("_", " ") for name in Row._fields)), *self.rows]
        columns = [c for c in zip(*lines) if any(c[1:])]
        widths = [max(map(len, c)) for c in columns]
        print()
        for number, line in enumerate(zip(*columns)):
            print("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]))
            if number == 0:
                print("  ".join("-" * w for w in widths))
        print("same file: SHA-256 as the original; digests: as the encoder wrote, and nothing changed that may not")
        if any("*" in r.encode_s + r.decode_s for r in self.rows):
            print("* with compiling, which the first run does; the next is faster")


def damaged(shop: Workshop, stream: pathlib.Path) -> None:
    """One bit is flipped: an error that says where, and no file."""
    print("\nOne bit flipped in the middle of a stream")
    data = bytearray(stream.read_bytes())
    data[len(data) // 2] ^= 1
    broken, output = shop.folder / "broken.omc", shop.folder / "broken.onnx"
    broken.write_bytes(data)
    code, _ = shop.command("decode", broken, "-o", output)
    if code != exit_codes.REJECTED or output.exists():
        raise Failure(f"a damaged stream gave exit code {code}" + (" and a file" if output.exists() else ""))
    print("  refused, exit code 10, no file written")


def bundled(demo: Demo) -> None:
    """The pair that ships with the repository."""
    v1, v2 = (pathlib.Path(shutil.copy(DATA / name, demo.shop.folder)) for name in ("digits_v1.onnx", "digits_v2.onnx"))
    demo.run(Case("V1 lossless", v1))
    received = demo.run(Case("V1 30 dB", v1, "--snr 30"))
    demo.run(Case("V1 20 dB", v1, "--snr 20"))
    demo.run(Case("V1 3 bits", v1, "--bits-per-weight 3"))
    demo.run(Case("V1 3 bits, best", v1, "--bits-per-weight 3 --best"))
    demo.run(Case("V2 lossless", v2))
    demo.run(Case("V2 lossless, update", v2, reference=v1))
    demo.run(Case("V2 30 dB", v2, "--snr 30"))
    demo.run(Case("V2 30 dB, update", v2, "--snr 30 --snr-of model", received))
    demo.run_layers(Case("V1 in layers", v1, f"--snr 30 --quality-layers {LAYERS}"))
    damaged(demo.shop, received.with_suffix(".omc"))


def given(demo: Demo, path: pathlib.Path) -> None:
    """Any model file."""
    model = refcodec.load(path)
    weights = sum(t.size for t, kind in zip(model.tensors, treatments(model)) if kind == Treatment.QUANTISE)
    print(f"{path}: {len(model.tensors)} tensors, {size_of(path):,} bytes, {weights:,} weights to quantise")
    demo.run(Case("lossless", path))
    if not weights:
        print("\nno floating-point weights of two or more dimensions: nothing that lossy coding would touch")
        return
    for snr in (40, 30, 20):
        demo.run(Case(f"{snr} dB", path, f"--snr {snr}"))
    demo.run(Case("30 dB, fast", path, "--snr 30 --fast"))
    demo.run(Case("30 dB, best", path, "--snr 30 --best"))
    try:
        demo.run(Case("4 bits per weight", path, "--bits-per-weight 4"))
    except CannotBeMet:
        print("    not possible for this model: what stays exact takes more")
    demo.run_layers(Case("in layers", path, f"--snr 30 --quality-layers {LAYERS}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=pathlib.Path, help="a model file (default: the bundled pair)")
    parser.add_argument("--threads", type=int, help="threads (default: all processors)")
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER", help="leave streams and decoded models here")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if not machine_code() and compiler.COMPILE:
        print("first run: the codec's loops are compiled when they are needed (once; a minute or two)\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="omc-demo-") as scratch:
        folder = (arguments.keep or pathlib.Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        demo = Demo(Workshop(folder, arguments.threads), with_accuracy=arguments.model is None)
        try:
            given(demo, arguments.model.resolve()) if arguments.model else bundled(demo)
        except (Failure, CannotBeMet, refcodec.OmcError, OSError) as error:
            demo.table()
            print(f"\ndemo: NOT VERIFIED: {error}", file=sys.stderr)
            return 1
        demo.table()
    print(f"\nverified: {len(demo.rows)} of {len(demo.rows)} cases, {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
