"""OMC itself, measured as the peers are: in a worker process, whole streams, headers and digests included."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
WORKER = pathlib.Path(__file__).parent / "workers" / "omc_worker.py"


class Result(NamedTuple):
    """Whole stream in bytes; for lossy coding the quantised weights and their SNR in dB; seconds."""

    bytes: int
    weights: int
    snr: float | None
    encode_seconds: float
    decode_seconds: float
    decode_seconds_2: float | None = None

    def bytes_at(self, snr: float) -> float:
        """Bytes at a nearby SNR: a difference of 6.02 dB is worth one bit per weight."""
        return self.bytes + (snr - self.snr) / (20 * 0.30103) * self.weights / 8


def run(jobs: list[dict]) -> list[Result]:
    """Results of the jobs, in order; the keys of a job are those of omc_worker.py.  RuntimeError where one fails."""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    jobs = [{**job, "file": str(job["file"]), "references": list(map(str, job.get("references", ())))} for job in jobs]
    done = subprocess.run(["nice", "-n", "10", sys.executable, str(WORKER), json.dumps(jobs)], env=environment,
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [Result(**json.loads(line)) for line in done.stdout.splitlines()]
