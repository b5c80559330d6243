"""How two models differ, tensor by tensor (informative)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..budget import Budget
from ..errors import FormatError
from ..model import Model, Tensor
from .text import shown

UNLIKE_SHARE = 0.5        # of the tensors of either model: where fewer can be compared, the two are unlike
BLOCK = 1 << 20           # elements that are compared at a time
COPIES = 4                # of a tensor's bytes that are there at a time: two tensors, each read and as words
ONLY_FIRST, ONLY_SECOND, OTHER_TYPE = "only in the first", "only in the second", "type or shape"


class _Sums(NamedTuple):
    """Over the finite elements of floating-point tensors: how many, their sum, sum of squares, squared error."""

    elements: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    error: float = 0.0

    def plus(self, other: _Sums) -> _Sums:
        return _Sums(*(a + b for a, b in zip(self, other)))

    @property
    def snr_db(self) -> float | None:
        """10 log10(variance / mean squared error); None where there is no error, or squares are beyond float64."""
        if self.elements == 0 or self.error == 0 or not math.isfinite(self.squares + self.error):
            return None
        variance = max(self.squares / self.elements - (self.total / self.elements) ** 2, 1e-300)
        return 10 * math.log10(variance / (self.error / self.elements))


def compare_models(a: Model, b: Model, budget: Budget | None = None) -> dict[str, Any]:
    """Per tensor and in total: equal bits, SNR in dB, largest absolute error. Tensors are paired by name.

    compared: pairs of one name, type and shape; SNR and largest error are of these alone.  unlike: True where they are
    less than half of the tensors of either model.  budget: for two tensors at a time.  Raises FormatError EMPTY where
    neither model has a tensor.
    """
    names = {t.name: t for t in b.tensors}
    rows: list[dict[str, Any]] = []
    total, compared = _Sums(), 0
    for t in a.tensors:
        other = names.pop(t.name, None)
        if other is None or other.shape != t.shape or other.dtype != t.dtype:
            row: dict[str, Any] = {"name": t.name, "equal": False,
                                   "difference": ONLY_FIRST if other is None else OTHER_TYPE}
            if other is not None:
                row |= {"first": [t.dtype.name, list(t.shape)], "second": [other.dtype.name, list(other.shape)]}
        else:
            if budget is not None:
                budget.check_memory(COPIES * t.nbytes, f"comparing tensor {t.name[:100]!r}")
            row, sums = _compare_tensor(t, other)
            total, compared = total.plus(sums), compared + 1
        rows.append(row)
    rows += [{"name": n, "equal": False, "difference": ONLY_SECOND} for n in names]
    if not rows:
        raise FormatError("EMPTY", "neither model has a tensor")
    changed = [r for r in rows if not r["equal"]]
    return {"equal": not changed, "tensors": len(rows), "changed": len(changed), "compared": compared,
            "tensors_of_first": len(a.tensors), "tensors_of_second": len(b.tensors),
            "unlike": compared < UNLIKE_SHARE * max(len(a.tensors), len(b.tensors)),
            "snr_db": total.snr_db if compared else None,
            "max_error": max((r["max_error"] for r in rows if "max_error" in r), default=0.0), "per_tensor": rows}


def _compare_tensor(a: Tensor, b: Tensor) -> tuple[dict[str, Any], _Sums]:
    first, second = a.words, b.words
    row = {"name": a.name, "type": a.dtype.name, "shape": list(a.shape), "equal": bool(np.array_equal(first, second))}
    if a.dtype.parts != 1 or a.size == 0:
        return row, _Sums()
    sums, largest = _Sums(), 0.0
    for i in range(0, first.size, BLOCK):
        x, y = (w[i : i + BLOCK].view(a.dtype.numpy).astype(np.float64) for w in (first, second))
        finite = np.isfinite(x) & np.isfinite(y)
        x, y = x[finite], y[finite]
        with np.errstate(over="ignore", invalid="ignore"):
            part = _Sums(x.size, float(x.sum()), float(np.square(x).sum()), float(np.square(x - y).sum()))
            largest = max(largest, float(np.abs(x - y).max(initial=0.0)))
        sums = sums.plus(part)
    row.update(snr_db=sums.snr_db, max_error=min(largest, np.finfo(np.float64).max))
    return row, sums if a.dtype.kind == "f" else _Sums()


def print_comparison(x: dict[str, Any], first: str = "the first", second: str = "the second") -> None:
    """compare_models() as a table: of tensors that differ, only, the worst first.  first, second: what the models are
    called."""
    if x["unlike"]:
        _print_unlike(x, first, second)
    for r in sorted(x["per_tensor"], key=_badness):
        if not r["equal"] and "difference" not in r:
            print(f"{_db(r.get('snr_db'))} dB  max {r.get('max_error', 0.0):<12.6g} {shown(r['name'])} {r['shape']}")
        elif r.get("difference") == OTHER_TYPE:
            (type1, shape1), (type2, shape2) = r["first"], r["second"]
            print(f"   another type or shape: {shown(r['name'])} {type1} {shape1}, {type2} {shape2}")
        elif not r["equal"] and not x["unlike"]:
            print(f"   {r['difference']}: {shown(r['name'])}")
    compared = "" if x["compared"] == x["tensors"] else f" of the {x['compared']} that can be compared"
    if x["equal"]:
        print(f"all {x['tensors']} tensors are equal, bit for bit")
    elif x["compared"]:
        print(f"{x['changed']} of {x['tensors']} tensors differ; total SNR{compared} {_db(x['snr_db']).strip()} dB, "
              f"largest error {x['max_error']:.6g}")


def _badness(row: dict[str, Any]) -> float:
    """What tensors are told in the order of: those that cannot be compared, then by SNR; without one, the last."""
    snr = row.get("snr_db")
    return -math.inf if "difference" in row else math.inf if snr is None else float(snr)


def _print_unlike(x: dict[str, Any], first: str, second: str) -> None:
    count = str(x["compared"]) if x["compared"] else "none"
    print(f"these models are unlike: {count} of the {x['tensors_of_first']} tensors of {first} and the "
          f"{x['tensors_of_second']} of {second} are of one name, type and shape")
    for what, model in ((ONLY_FIRST, first), (ONLY_SECOND, second)):
        if found := [shown(r["name"], 32) for r in x["per_tensor"] if r.get("difference") == what]:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            print(f"   only in {model}: {', '.join(found[:3])}{more}")


def _db(value: float | None) -> str:
    return "    equal" if value is None else f"{value:9.3f}"
