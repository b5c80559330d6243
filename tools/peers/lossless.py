"""The lossless peers, on one safetensors file or on a file given an earlier one."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import NamedTuple

from .environments import WORKERS, ensure_env, run_worker

INTRA = ("zlib-9", "bz2-9", "xz-9e", "zstd-19", "zstd-22", "zipnn", "pcodec-12", "openzl")
DELTA = ("zstd-patch-from", "xor-zstd", "xor-xz", "zipnn-delta", "bsdiff4", "hdiffpatch", "sparse", "sparse-zstd")


class Result(NamedTuple):
    """What one codec made of one file: bytes, and seconds of encoding and decoding on one thread."""

    codec: str
    bytes: int
    encode_seconds: float
    decode_seconds: float


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Lossless:
    """Runs the lossless peers; sizes are cached in `work`/lossless.json, a measurement of speed runs them anew."""

    def __init__(self, work: pathlib.Path):
        self.work = pathlib.Path(work)
        self.cache_file = self.work / "lossless.json"
        self.cache = json.loads(self.cache_file.read_text()) if self.cache_file.exists() else {}

    def _run(self, mode: str, paths: tuple, codecs: tuple[str, ...], fresh: bool) -> dict[str, Result]:
        known = self.cache.setdefault(" ".join([mode, *map(file_digest, paths)]), {})
        missing = [codec for codec in codecs if fresh or codec not in known]
        if missing:
            for line in run_worker(ensure_env(self.work, "lossless"), WORKERS / "lossless_worker.py", mode,
                                   *map(str, paths), *missing):
                result = Result(**json.loads(line))
                known[result.codec] = result._asdict()
            self.cache_file.write_text(json.dumps(self.cache, indent=1))
        return {codec: Result(**known[codec]) for codec in codecs}

    def intra(self, path: pathlib.Path, codecs: tuple[str, ...] = INTRA, fresh: bool = False) -> dict[str, Result]:
        """Every codec on the file alone; `fresh` measures the speeds anew."""
        return self._run("intra", (path,), codecs, fresh)

    def delta(self, reference: pathlib.Path, path: pathlib.Path, codecs: tuple[str, ...] = DELTA,
              fresh: bool = False) -> dict[str, Result]:
        """Every codec on the file, given a reference with tensors of the same shapes."""
        return self._run("delta", (reference, path), codecs, fresh)
