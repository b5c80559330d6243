"""How a decoded network answers on the test inputs of the list, beside the original."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import NamedTuple

import numpy as np

import refcodec
from refcodec.calibration import measure_of, network_of, read_runs

from .catalogue import Entry
from .evaluate import decisions, run, session


class Verdict(NamedTuple):
    """same: share of decisions that are the original's.  distance: of the outputs (refcodec.calibration.measure)."""

    same: float
    distance: float


class Judge:
    """One network of the list.

    path: of its ONNX file.  model: as refcodec loads it.  calibration, tests: npz files.  decided: the original's
    decisions on the test inputs.
    """

    def __init__(self, entry: Entry, folder: pathlib.Path):
        self.entry, self.path = entry, folder / f"{entry.name}.onnx"
        self.model = refcodec.load(self.path)
        self.calibration, self.tests = (
            [str(p) for p in sorted(folder.glob(f"{entry.name}.{kind}-*.npz"))] for kind in ("calibration", "test"))
        proto = network_of(self.model)
        self._files = [read_runs([path], proto) for path in self.tests]
        self._answers = self._run(self.path.read_bytes())
        output = entry.decision.partition(":")[2]
        self.output = output if entry.decision.startswith("argmax") else output.rpartition(":")[0]
        kind = "" if entry.decision.startswith("argmax") else "Sigmoid"
        self._measure = measure_of(self._answers, dict.fromkeys(self._answers[0], kind), [self.output])
        self.decided = decisions(entry.decision, self._answers)

    def _run(self, network: bytes) -> list:
        opened = session(network)
        return [answer for runs in self._files for answer in run(opened, runs, self.entry.carry)]

    def __call__(self, network: bytes) -> Verdict:
        """Of an ONNX file."""
        answers = self._run(network)
        same = float(np.mean(decisions(self.entry.decision, answers) == self.decided))
        return Verdict(same, float(self._measure(answers)))

    def of_stream(self, stream: bytes) -> Verdict:
        return self.of_model(refcodec.decode(stream))

    def of_model(self, model: refcodec.Model) -> Verdict:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "decoded.onnx")
            refcodec.save(model, path)
            return self(pathlib.Path(path).read_bytes())
