"""What coding with loss did to the tensors of a stream (informative): the SNR of each, the worst by name, warnings."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..model import Model, Tensor
from ..opened import OpenStream
from .text import shown

WARN_DB = 12.0            # of a tensor: below it errors are more than a quarter of what is there
LOST_DB = 3.0             # of an update over its reference: below it, more than half of the change's energy is lost
WORST = 3                 # tensors that are named
_PIECE = 1 << 20


@dataclass
class Error:
    """Of some elements, of which those count that are finite: how many, their sum, sum of squares, squared error, and
    squared difference from the reference (infinity without one)."""

    elements: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    error: float = 0.0
    change: float = 0.0

    def add(self, other: Error) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def snr_db(self) -> float | None:
        """10 log10(variance / mean squared error); None where there is no error. Of elements that are all the same,
        over their mean square."""
        if not self.elements or self.error == 0:
            return None
        mean = self.squares / self.elements
        variance = mean - (self.total / self.elements)**2
        return _decibels(variance if variance > 1e-12 * mean else mean, self.error / self.elements)

    @property
    def change_db(self) -> float | None:
        """The same of the difference from the reference; None without error or reference."""
        if self.error == 0 or not math.isfinite(self.change):
            return None
        return _decibels(self.change, self.error)


def _decibels(signal: float, error: float) -> float:
    return 10 * math.log10(max(signal, 1e-300) / error)


@dataclass
class Quality:
    """Of the tensors of a stream that have changed. whole: of those that are quantised as weights (all, where none of
    these is named). tensors: of each that has changed, by name, the worst first."""

    whole: Error = field(default_factory=Error)
    tensors: dict[str, float] = field(default_factory=dict)

    @property
    def low(self) -> list[str]:
        """Tensors below WARN_DB, the worst first."""
        return [name for name, db in self.tensors.items() if db < WARN_DB]

    def as_json(self) -> dict[str, Any]:
        return {"snr_db": self.whole.snr_db, "change_db": self.whole.change_db, "warn_below_db": WARN_DB,
                "below": self.low, "worst": [{"name": n, "snr_db": db} for n, db in list(self.tensors.items())[:10]]}

    def line(self) -> str:
        """One line, e.g. '30.1 dB; the worst tensors: fc.weight 21.0 dB, conv1.weight 27.3 dB'."""
        worst = ", ".join(f"{shown(name, 60)} {db:.1f} dB" for name, db in list(self.tensors.items())[:WORST])
        whole = self.whole.snr_db
        return (f"{whole:.2f} dB over the weights; " if whole is not None else "") + f"the worst tensors: {worst}"

    def warnings(self) -> list[str]:
        found = []
        if self.low:
            names = ", ".join(f"{shown(n, 60)} ({self.tensors[n]:.1f} dB)" for n in self.low[:WORST])
            more = f" and {len(self.low) - WORST} more" if len(self.low) > WORST else ""
            found.append(f"below {WARN_DB:g} dB, where errors are a quarter of what is there or more: {names}{more}; "
                         "see what becomes of the answers with --check X.npz, or let the inputs choose the steps with "
                         "--calibration X.npz, or ask for more bits")
        change = self.whole.change_db
        if change is not None and change < LOST_DB:
            found.append(f"of the update hardly anything is left: its difference from the reference is only "
                         f"{change:.1f} dB above the error; ask for more bits, or with --snr for that of the "
                         "difference (--snr-of difference)")
        return found


def quality_of(stream: str | os.PathLike[str], models: Sequence[Model], weights: Sequence[Sequence[str]],
               references: Sequence[Model] = (), threads: int = 1) -> Quality:
    """Compares the models with what the stream decodes to, a tensor at a time.

    weights: names of the tensors that are quantised as weights, of each model.  references: of the stream; what was
    before an update is the first that has a tensor of the name and shape.
    """
    quality, found = Quality(), dict[str, float]()
    with OpenStream(stream, references, threads=threads) as opened:
        last = {name: number for number, name in enumerate(opened.models)}      # the finest of quality layers
    for model, names in zip(models, weights):
        chosen = set(names) or {t.name for t in model.tensors}
        number = last[model.name]
        with OpenStream(stream, references, model=number, threads=threads) as opened:
            for tensor in model.tensors:
                if tensor.dtype.kind != "f" or tensor.dtype.parts != 1 or tensor.name not in opened:
                    continue
                error = _error(tensor, opened[tensor.name], references)
                db = error.snr_db
                if tensor.name in chosen:
                    quality.whole.add(error)
                if db is not None:
                    found[tensor.name if len(models) == 1 else f"{model.name}: {tensor.name}"] = db
    quality.tensors = dict(sorted(found.items(), key=lambda item: item[1]))
    return quality


def _error(tensor: Tensor, decoded: np.ndarray, references: Sequence[Model]) -> Error:
    before = next((t for r in references for t in r.tensors
                   if t.name == tensor.name and t.shape == tensor.shape and t.dtype == tensor.dtype), None)
    x, y = tensor.array.reshape(-1), decoded.reshape(-1)
    z = before.array.reshape(-1) if before is not None else None
    found = Error()
    for first in range(0, x.size, _PIECE):
        part = slice(first, first + _PIECE)
        a, b = x[part].astype(np.float64), y[part].astype(np.float64)
        c = z[part].astype(np.float64) if z is not None else np.full(a.shape, np.inf)
        finite = np.isfinite(a) & np.isfinite(b)
        a, b, c = a[finite], b[finite], c[finite]
        with np.errstate(over="ignore", invalid="ignore"):
            found.add(Error(a.size, float(a.sum()), float(np.square(a).sum()), float(np.square(a - b).sum()),
                            float(np.square(a - c).sum())))
    return found
