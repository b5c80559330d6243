"""S2 with one prediction: the Laplacian model, sequences over time, corrupted and pruned predictions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from coding import Coded, noise, send
from networks import Parameters
from section import Context, Figure, Table, points, spread
from trained import SEQUENTIAL, pruned, sequence, tasks, workload

from refcodec import Config
from refcodec.encoder.sets.laplacian import distortion, fit, rate

S_BITS, OFFSET = 12, 0.4
CORRUPTING = (9, 10, 11)                # q_bits of corrupted predictions
# Scenario: (target, prediction); versions of epoch 20 and 15, U: unpruned, P5 and P2: 50 % and 20 % kept.
PRUNED = {"P2-P2": ("P2-epoch20", "P2-epoch15"), "P5-P2": ("P2-epoch20", "P5-epoch15"),
          "U-P2": ("P2-epoch20", "epoch15"),
          "P5-P5": ("P5-epoch20", "P5-epoch15"), "P5-U": ("epoch20", "P5-epoch15"), "P2-U": ("epoch20", "P2-epoch15")}


@dataclass(frozen=True)
class Pair:
    """A model sent alone and as a difference, at one q_bits. size: bytes.  lost: points of accuracy."""

    alone: int
    difference: int
    lost_alone: float
    lost: float

    @property
    def saved(self) -> float:
        """Percent."""
        return 100 * (1 - self.difference / self.alone)


@dataclass
class Found:
    """Measurements over the seeds. laplacian: (what, q_bits) -> rows of figures; pairs: (table, scenario, q_bits)."""

    laplacian: dict[tuple[str, int], list[tuple[float, ...]]] = field(default_factory=dict)
    pairs: dict[tuple[str, str, int], list[Pair]] = field(default_factory=dict)

    def add(self, table: str, scenario: str, q_bits: int, pair: Pair) -> None:
        self.pairs.setdefault((table, scenario, q_bits), []).append(pair)


def qbits(k: int) -> Config:
    return Config(preset="s2-qbits", q_bits=k)


class Measured:
    """Streams of one workload and seed; what is sent alone is coded once."""

    def __init__(self, context: Context, name: str, seed: int):
        self.workload = workload(name)
        self.versions = sequence(context, name, seed) | pruned(context, name, seed)
        self.tasks = tasks(context, name, seed)
        self._alone: dict[tuple[int, int], Coded] = {}

    def alone(self, model: Parameters, k: int) -> Coded:
        key = (id(model), k)
        if key not in self._alone:
            self._alone[key] = send(model, qbits(k))
        return self._alone[key]

    def pair(self, model: Parameters, prediction: Parameters, k: int, task: str = "upright") -> tuple[Pair, Coded]:
        """Both ways, and the stream of the difference."""
        alone, difference = self.alone(model, k), send(model, qbits(k), prediction)
        before = self.workload.accuracy(model, task)
        lost = [before - self.workload.accuracy(c.received, task) for c in (alone, difference)]
        return Pair(alone.size, difference.size, *lost), difference


def measure(context: Context, name: str, seed: int, found: Found) -> None:
    """All scenarios of one prediction, into `found`."""
    m = Measured(context, name, seed)
    wanted = (9, 10) if context.quick else (8, 9, 10, 11)
    target = m.versions["epoch20"]
    for k in wanted:
        _laplacian(m, k, found)
        clean, _ = m.pair(target, m.versions["epoch15"], k)
        found.add("corrupted", "not corrupted", k, clean)
    for k in (9,) if context.quick else (9, 10):
        for q in CORRUPTING:
            corrupted = m.alone(m.versions["epoch15"], q).received
            found.add("corrupted", f"q_bits {q}", k, m.pair(target, corrupted, k)[0])
        for scenario, (sent, known) in PRUNED.items():
            found.add("pruned", scenario, k, m.pair(m.versions[sent], m.versions[known], k)[0])
        for task in SEQUENTIAL:
            # The receiver has what it decoded before: the upright model, then the first version of the task.
            known = m.alone(target, k).received
            for step, version in enumerate((f"{task}-half", task), 1):
                pair, coded = m.pair(m.tasks[version], known, k, task)
                known = coded.received
                found.add("sequential", f"{task}, version {step}", k, pair)


def _laplacian(m: Measured, k: int, found: Found) -> None:
    """Lambda, rate and distortion by the model and for real, of the newest version and of its differences."""
    target, step = m.versions["epoch20"], 10.0 ** (k - S_BITS)
    for what, known in (("direct", None), ("DoM, long", "base"), ("DoM, short", "epoch15")):
        prediction = m.versions[known] if known else None
        values = [x - prediction[name] if prediction else x for name, x in target.items()]
        coded = send(target, qbits(k), prediction) if prediction else m.alone(target, k)
        count = sum(x.size for x in values)
        modelled = [sum(x.size * of(fit(x), step, OFFSET) for x in values if x.any()) / count
                    for of in (rate, distortion)]
        row = (fit(np.concatenate([x.reshape(-1) for x in values])), modelled[0], 8 * coded.size / count, modelled[1],
               noise(target, coded.received))
        found.laplacian.setdefault((what, k), []).append(row)


def tables(found: Found) -> list[Table]:
    """Tables I and VII to X of the paper, in kind."""
    rows = [[what, k, *(spread(column, ".3g") for column in zip(*seeds))] for (what, k), seeds in sorted(
        found.laplacian.items(), key=lambda item: item[0][1])]
    columns = ["what is coded", "q_bits", "Lambda", "modelled bits", "real bits", "modelled error", "real error"]
    made = [Table("Laplacian model: parameter, rate and distortion (the paper's table I)", columns, rows,
                  "Bits per parameter; real: of the whole LZMA stream. Errors are mean squares. The model is fitted to "
                  "each tensor; Lambda is that of all parameters together.")]
    columns = ["scenario", "q_bits", "direct, bytes", "difference, bytes", "% smaller", "direct, points lost",
               "difference, points lost"]
    for table, title, note in (
            ("sequential", "Sequential transmission of three tasks",
             "Version 1 is predicted from the decoded upright model, version 2 from the decoded version 1."),
            ("corrupted", "Corrupted predictions", "Epoch 20 from epoch 15, which the receiver has with an error."),
            ("pruned", "Pruned predictions and targets",
             "Prediction-target: U unpruned, P5 and P2 with 50 % and 20 % of the weights kept; epoch 20 from 15.")):
        rows = [[scenario, k, spread([p.alone for p in pairs], ",.0f"), spread([p.difference for p in pairs], ",.0f"),
                 spread([p.saved for p in pairs], ".1f"), spread([p.lost_alone for p in pairs], ".2f"),
                 spread([p.lost for p in pairs], ".2f")]
                for (name, scenario, k), pairs in found.pairs.items() if name == table]
        made.append(Table(title, columns, rows, note))
    return made


def figures(found: Found) -> list[Figure]:
    """Modelled and real rates against the quantiser, and what corrupted predictions cost."""
    kinds = list(dict.fromkeys(what for what, _ in found.laplacian))
    lines = []
    for what in kinds:
        by_k = {k: list(zip(*seeds)) for (w, k), seeds in found.laplacian.items() if w == what}
        lines += [points(f"{what}, {label}", list(by_k), [columns[at] for columns in by_k.values()])
                  for label, at in (("stream", 2), ("model", 1))]
    scenarios = [s for t, s, _ in found.pairs if t == "corrupted"]
    corrupted = [_saved_line(found, "corrupted", s) for s in dict.fromkeys(scenarios)]
    sparse = [_saved_line(found, "pruned", s) for s in PRUNED]
    label = "q_bits of the target"
    return [Figure("Rate: streams, and what the Laplacian model says", "q_bits", "bits per parameter", lines),
            Figure("Corrupted predictions", label, "% smaller than the direct stream", corrupted),
            Figure("Pruned predictions and targets", label, "% smaller than the direct stream", sparse)]


def _saved_line(found: Found, table: str, scenario: str):
    by_k = {k: [p.saved for p in pairs] for (t, s, k), pairs in found.pairs.items() if (t, s) == (table, scenario)}
    return points(scenario, list(by_k), list(by_k.values()))


def worst(found: Found, table: str) -> tuple[str, float]:
    """The scenario of a table that saves least at one seed, and percent."""
    least = {(s, k): min(p.saved for p in pairs) for (t, s, k), pairs in found.pairs.items() if t == table}
    scenario, k = min(least, key=least.__getitem__)
    return f"{scenario} at q_bits {k}", least[scenario, k]


def mean_saved(found: Found, table: str, scenarios: Sequence[str] = ()) -> float:
    """Mean percent saved over scenarios (all if none), quantisers and seeds."""
    return statistics.fmean(p.saved for (t, s, _), pairs in found.pairs.items()
                            if t == table and (not scenarios or s in scenarios) for p in pairs)
