"""What each part of a calibrated stream is worth: bytes at one distance of the outputs, with it and without.

    python tools/ablations.py FOLDER [NAME...]      networks and inputs that tools/answers/prepare.py made (default:
                                                    digits, silero-6.0.0); a Markdown table for each

A way is coded at several prices of a bit, calibrated on the calibration inputs and judged on the test inputs; its bytes
are those at the distance DISTANCES, by a line through the two streams next to it (log distance against bytes).
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from answers.catalogue import MODELS, Entry

import refcodec
from refcodec.calibration import Decision, Judge, Method, Target, network_of, read_sequences
from refcodec.calibration.candidates import ONE_STEP, STEPS, Candidates, Trial, Way
from refcodec.calibration.decisions import decision_of
from refcodec.calibration.scores import Score
from refcodec.calibration.subjects import Subjects, subjects_of

DISTANCES = {"digits": 0.01, "silero-6.0.0": 0.01}          # at which bytes are compared
USUAL = 0.01
PRICES = 9                      # tried at most, FIRST octaves apart at first
FIRST = 2.0
NEAR = 0.25                     # octaves of the distance: near enough for a line
FULL = Method(states=32, shrink=0.05)
WAYS = (
    ("everything", Way("all", FULL), {}),
    ("feedback without order", Way("no order", replace(FULL, sequential=False)), {}),
    ("order without feedback", Way("no feedback", replace(FULL, feedback=False)), {}),
    ("neither, own levels", Way("neither", replace(FULL, feedback=False, sequential=False)), {}),
    ("no corrected biases", Way("no biases", replace(FULL, biases=False)), {}),
    ("shrink 0", Way("shrink 0", replace(FULL, shrink=0.0)), {}),
    ("shrink 0.5", Way("shrink 0.5", replace(FULL, shrink=0.5)), {}),
    ("8 states", Way("8 states", replace(FULL, states=8)), {"states": 8}),
    ("no trellis", Way("no trellis", replace(FULL, states=0)), {"states": 0}),
    ("CC in place of CM", Way("cc", FULL), {"coder": "cc"}),
    ("BINS in place of CM", Way("bins", FULL), {"coder": None}),
    ("steps by sensitivity alone", STEPS, {}),
    ("one step", ONE_STEP, {}),
)


class Bench:
    """One network: its subjects, where the test inputs are what is judged on."""

    def __init__(self, folder: pathlib.Path, entry: Entry):
        model = refcodec.load(folder / f"{entry.name}.onnx")
        sets = [read_sequences([str(p) for p in sorted(folder.glob(f"{entry.name}.{kind}-*.npz"))], network_of(model))
                for kind in ("calibration", "test")]
        feed = {output: name for name, output in entry.carry.items()}
        self.subjects: Subjects = subjects_of(model, *sets, feed, noise=False, seed=0, threads=1)
        self.found = self.subjects.sensitivities([], 0, None, None)
        decisions: list[Decision] = [] if entry.decision.startswith("peak") else [decision_of(entry.decision)]
        self.judge = Judge(self.subjects.judged, self.subjects.blocks, self.found.outputs, decisions)

    def candidates(self, settings: dict) -> Candidates:
        config = refcodec.Config(**{"step": 1.0, "states": 32, "coder": "cm", **settings})
        return Candidates(self.subjects.network, self.found, self.judge, Target("bits_per_weight", 8.0), config)


def at_distance(candidates: Candidates, way: Way, distance: float) -> tuple[float, Trial]:
    """(bytes at a distance, the trial nearest to it)."""
    trials: list[Trial] = []
    price = candidates.price_of(distance)
    for _ in range(PRICES):
        trials.append(candidates.trial(way, price))
        trials[-1].made = None
        below = max((t for t in trials if t.distance <= distance), key=lambda t: t.price, default=None)
        above = min((t for t in trials if t.distance > distance), key=lambda t: t.price, default=None)
        if below and above:
            if abs(np.log2(above.distance / below.distance)) < NEAR or abs(above.price - below.price) < NEAR / 2:
                break
            price = (below.price + above.price) / 2
        else:
            price += FIRST if below else -FIRST
    if below is None or above is None:
        return float("nan"), trials[-1]
    share = (np.log2(distance) - np.log2(below.distance)) / (np.log2(above.distance) - np.log2(below.distance))
    nearest = min(below, above, key=lambda t: abs(np.log2(t.distance / distance)))
    return below.size + share * (above.size - below.size), nearest


def table(name: str, bench: Bench, distance: float) -> list[str]:
    rows, all_of_it = [], 0.0
    for what, way, settings in WAYS:
        size, trial = at_distance(bench.candidates(settings), way, distance)
        all_of_it = all_of_it or size
        kept = 100 * (1 - bench.judge.measured(trial.score, Score.lost_share))
        rows.append(f"| {what} | {size:,.0f} | {100 * (size / all_of_it - 1):+.1f} % | {kept:.2f} % |")
        print(rows[-1], file=sys.stderr)
    return [f"| {name}: outputs move by {distance:g} | bytes | against everything | decisions kept nearby |",
            "|---|---|---|---|", *rows, ""]


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("names", nargs="*", default=["digits", "silero-6.0.0"])
    arguments = p.parse_args(argv)
    entries = {entry.name: entry for entry in MODELS}
    for name in arguments.names:
        print("\n".join(table(name, Bench(arguments.folder, entries[name]), DISTANCES.get(name, USUAL))))


if __name__ == "__main__":
    main()
