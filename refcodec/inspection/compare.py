"""How two models differ, tensor by tensor (informative)."""

from __future__ import annotations

import math

import numpy as np

from ..errors import FormatError
from ..model import Model, Tensor
from .describe import printable


def compare_models(a: Model, b: Model) -> dict:
    """Per tensor and in total: equal bits, SNR in dB, largest absolute error. Tensors are paired by name."""
    names = {t.name: t for t in b.tensors}
    rows, total = [], np.zeros(4)            # elements, sum, sum of squares, squared error
    for t in a.tensors:
        other = names.pop(t.name, None)
        if other is None or other.shape != t.shape or other.dtype != t.dtype:
            rows.append({"name": t.name, "equal": False, "difference": "missing" if other is None else "type or shape"})
            continue
        row, sums = _compare_tensor(t, other)
        rows.append(row)
        total += sums
    rows += [{"name": n, "equal": False, "difference": "only in the second"} for n in names]
    if not rows:
        raise FormatError("EMPTY", "neither model has a tensor")
    changed = [r for r in rows if not r["equal"]]
    return {"equal": not changed, "tensors": len(rows), "changed": len(changed), "snr_db": _snr(total),
            "max_error": max((r.get("max_error") or 0.0 for r in rows), default=0.0), "per_tensor": rows}


def _compare_tensor(a: Tensor, b: Tensor) -> tuple[dict, np.ndarray]:
    equal = bool(np.array_equal(a.words, b.words))
    row = {"name": a.name, "type": a.dtype.name, "shape": list(a.shape), "equal": equal}
    if a.dtype.parts != 1 or a.size == 0:
        return row, np.zeros(4)
    x, y = a.array.astype(np.float64).reshape(-1), b.array.astype(np.float64).reshape(-1)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    sums = np.array([x.size, x.sum(), np.square(x).sum(), np.square(x - y).sum()])
    row.update(snr_db=_snr(sums), max_error=float(np.abs(x - y).max()) if x.size else 0.0)
    return row, sums if a.dtype.kind == "f" else np.zeros(4)


def _snr(sums: np.ndarray) -> float | None:
    """10 log10(variance / mean squared error); None where there is no error."""
    n, s, s2, error = sums
    if n == 0 or error == 0:
        return None
    variance = max(s2 / n - (s / n) ** 2, 1e-300)
    return 10 * math.log10(variance / (error / n))


def print_comparison(x: dict) -> None:
    """compare_models() as a table; tensors that differ only."""
    def db(value):
        return "    equal" if value is None else f"{value:9.3f}"

    for r in x["per_tensor"]:
        if not r["equal"]:
            print(f"{db(r.get('snr_db'))} dB  max {r.get('max_error', 0) or 0:<12.6g} {printable(r['name'])} "
                  f"{r.get('shape', '')} {r.get('difference', '')}")
    if x["equal"]:
        print(f"all {x['tensors']} tensors are equal, bit for bit")
    else:
        print(f"{x['changed']} of {x['tensors']} tensors differ; total SNR {db(x['snr_db']).strip()} dB, "
              f"largest error {x['max_error']:.6g}")
