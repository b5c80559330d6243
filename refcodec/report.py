"""What a stream holds, element by element, and how two models differ (informative)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .bins import bins_of
from .bitstream.parser import Parser
from .bitstream.units import MAGIC, ByteSource, Unit, leb
from .bitstream.visitor import Tracer
from .errors import FormatError
from .info import describe_stream, printable, unit_name
from .model import Model, Tensor

__all__ = ["compare_models", "describe_stream", "print_comparison", "trace_stream"]


# trace

def trace_stream(path: str, references: list[str] = (), bins: bool = False) -> Iterator[dict]:
    """Every syntax element in stream order: unit, clause, structure, name, descriptor, value, bit, bits.

    bit counts from the start of the unit's (expanded) body, so that it is negative in the unit's head.
    references: paths of the external models.  bins: every arithmetic-coded bin follows, in decoding order.
    """
    found: dict[int, list[dict]] = {}

    def collect(reader: Tracer) -> None:
        found[reader.unit] = [{**vars(e), "value": _plain(e.value)} for e in reader.elements]

    parser = Parser(ByteSource(path), allow_prefix=True, make_reader=Tracer, on_reader=collect)
    try:
        parser.parse()
    finally:
        source = parser.stream.source
        if source.read(0, 4) == MAGIC:
            yield dict(unit=-1, clause="6.1", structure="stream", name="omc_magic", descriptor="b(4)", value=MAGIC.hex(), bit=0,
                       bits=32)
        for unit in parser.stream.units:
            yield from _head_of(unit)
            yield from found.get(unit.number, ())
            yield dict(unit=unit.number, clause="6.2", structure="unit", name="unit_check", descriptor="u(32)",
                       value=int.from_bytes(source.read(unit.end - 4, 4), "big"), bit=8 * unit.expanded_size, bits=32)
    if bins:
        yield from bins_of(path, list(references))


def _head_of(unit: Unit) -> Iterator[dict]:
    size = 8 * len(leb(unit.size))
    head = [("unit_type", "u(6)", f"{unit.type} ({unit_name(unit.type)})", 6),
            ("unit_coding", "u(2)", f"{unit.coding.value} ({unit.coding.name.lower()})", 2), ("coded_size", "leb(v)", unit.size, size)]
    bit = 8 * (unit.offset - unit.body_offset)
    if unit.coding:
        head.append(("expanded_size", "leb(v)", unit.expanded_size, -bit - 8 - size))
    for name, descriptor, value, bits in head:
        yield dict(unit=unit.number, clause="6.2", structure="unit", name=name, descriptor=descriptor, value=value, bit=bit, bits=bits)
        bit += bits


def _plain(value):
    if isinstance(value, (bytes, memoryview)):
        return bytes(value[:32]).hex() + ("..." if len(value) > 32 else "")
    return value


# compare

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
            print(f"{db(r.get('snr_db'))} dB  max {r.get('max_error', 0) or 0:<12.6g} {printable(r['name'])} {r.get('shape', '')} "
                  f"{r.get('difference', '')}")
    if x["equal"]:
        print(f"all {x['tensors']} tensors are equal, bit for bit")
    else:
        print(f"{x['changed']} of {x['tensors']} tensors differ; total SNR {db(x['snr_db']).strip()} dB, "
              f"largest error {x['max_error']:.6g}")
