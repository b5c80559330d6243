"""OMC itself, measured as the peers are: in a worker process, whole streams, headers and digests included."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .environments import run_worker

REPO = pathlib.Path(__file__).resolve().parent.parent.parent


class Result(NamedTuple):
    """Whole stream in bytes, and its SHA-256; for lossy coding the quantised weights and their SNR in dB; seconds, and
    those of processors (a machine that does other things besides makes the first longer, hardly the second).
    """

    bytes: int
    sha256: str
    weights: int
    snr: float | None
    encode_seconds: float
    decode_seconds: float
    encode_cpu: float
    decode_cpu: float
    decode_seconds_2: float | None = None

    def bytes_at(self, snr: float) -> float:
        """Bytes at a nearby SNR: a difference of 6.02 dB is worth one bit per weight."""
        assert self.snr is not None
        return self.bytes + (snr - self.snr) / (20 * 0.30103) * self.weights / 8


def run(jobs: Sequence[dict], repository: pathlib.Path = REPO) -> list[Result]:
    """Results of the jobs, in order; the keys of a job are those of omc_worker.py.  Raises BenchError where one fails.

    repository: whose codec and whose omc_worker.py are run.
    """
    root = pathlib.Path(repository).resolve()
    jobs = [{**job, "file": str(job["file"]), "references": list(map(str, job.get("references", ())))} for job in jobs]
    lines = run_worker(sys.executable, root / "tools" / "peers" / "workers" / "omc_worker.py", json.dumps(jobs),
                       environment={**os.environ, "PYTHONPATH": str(root)})
    return [Result(**json.loads(line)) for line in lines]
