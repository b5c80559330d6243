"""Measures what the codec needs: peak memory on a 1 GB and on a 91 MB file, time to import, to help and to decode.

    python tools/memory_check.py [--size 1024] [--largest 128] [--lossy] [--folder DIR] [--json]

Makes safetensors files of seeded random weights, encodes, decodes and compares them by the command line in
processes of their own, and prints peak resident memory and time against the targets.  Exit code 1: one was missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MB = 1 << 20
COLUMNS = 1024


@dataclass
class Measure:
    """One figure and its target, in `unit`."""

    what: str
    value: float
    target: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.target


def make_model(path: Path, megabytes: int, largest: int) -> None:
    """A safetensors file of float32 weights: one tensor of `largest` MB, the rest of half its size or less."""
    sizes, left = [largest], megabytes - largest
    while left > 0:
        sizes.append(min(left, max(1, largest // 2)))
        left -= sizes[-1]
    header, end = {}, 0
    for number, size in enumerate(sizes):
        header[f"layer{number}.weight"] = {"dtype": "F32", "shape": [size * MB // 4 // COLUMNS, COLUMNS],
                                           "data_offsets": [end, end + size * MB]}
        end += size * MB
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(1)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _ in range(megabytes):
            scales = np.exp(rng.normal(0, 0.5, (MB // 4 // COLUMNS, 1))).astype(np.float32) * np.float32(0.02)
            f.write((rng.standard_normal((MB // 4 // COLUMNS, COLUMNS), dtype=np.float32) * scales).tobytes())


def run(*command: str) -> tuple[float, float]:
    """(peak resident memory in MB, seconds) of a Python process with these arguments."""
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    }
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    scale = 1 if sys.platform == "darwin" else 1024          # bytes, or kilobytes
    return usage.ru_maxrss * scale / MB, time.perf_counter() - start


def sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def round_trip(folder: Path, megabytes: int, largest: int, target: float, options: list[str]) -> list[Measure]:
    """Encode and decode one model; the decoded file must be the same where nothing was to be lost."""
    source, stream, again = (folder / f"m{megabytes}.{kind}" for kind in ("safetensors", "omc", "again.safetensors"))
    make_model(source, megabytes, largest)
    found = []
    for what, command in (("encode", ["encode", source, "-o", stream,
                                      *options]), ("decode", ["decode", stream, "-o", again])):
        peak, seconds = run("-m", "refcodec", *map(str, command))
        print(f"  {what} of {megabytes} MB {' '.join(options)}: {seconds:.1f} s, peak {peak:.0f} MB", file=sys.stderr,
              flush=True)
        found.append(
            Measure(f"peak memory, {what} {megabytes} MB, largest tensor {largest} MB {' '.join(options)}".strip(),
                    peak, target, "MB"))
    if not options and sha256(source) != sha256(again):
        raise SystemExit("the decoded file differs")
    for path in (source, stream, again):
        path.unlink()
    return found


def times(folder: Path) -> list[Measure]:
    """Import, help, and the second run of a small decode."""
    make_model(folder / "small.safetensors", 1, 1)
    run("-m", "refcodec", "encode", str(folder / "small.safetensors"), "-o", str(folder / "small.omc"))
    decode = ("-m", "refcodec", "decode", str(folder / "small.omc"), "-o", str(folder / "small.npz"))
    run(*decode)
    commands = (("import refcodec", ("-c", "import refcodec"), 1.0),
                ("refcodec --help", ("-m", "refcodec", "--help"), 0.5), ("second run of a decode of 1 MB", decode,
                                                                             2.0))
    return [Measure(what, min(run(*command)[1] for _ in range(3)), target, "s") for what, command, target in commands]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", type=int, default=1024, metavar="MB", help="of the large file (default 1024)")
    arguments.add_argument("--largest", type=int, default=128, metavar="MB", help="of its largest tensor (default 128)")
    arguments.add_argument("--lossy", action="store_true", help="also with a step")
    arguments.add_argument("--folder", help="where to put the files (default: a temporary folder)")
    arguments.add_argument("--json", action="store_true")
    a = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        found = times(Path(folder))
        for options in [[], ["--step", "0.002"]][: 2 if a.lossy else 1]:
            found += round_trip(Path(folder), 91, 24, 400, options)
            found += round_trip(Path(folder), a.size, a.largest, 4 * a.largest + 250, options)
    if a.json:
        print(json.dumps([{**asdict(m), "met": m.met} for m in found], indent=1))
    else:
        for m in found:
            print(f"{m.value:9.2f} {m.unit:<2} of {m.target:7.2f}  {'ok    ' if m.met else 'MISSED'}  {m.what}")
    return 0 if all(m.met for m in found) else 1


if __name__ == "__main__":
    sys.exit(main())
