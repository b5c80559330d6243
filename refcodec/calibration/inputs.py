"""Arrays for the inputs of a network: from npz files, or noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ValueInfoProto

from ..errors import ConfigError, FormatError
from .runtime import Arrays

ROWS = 64                       # of a batch that is run at once
NOISE = "noise"                 # in place of a file
NOISE_ROWS = 32


def inputs_of(proto: onnx.ModelProto) -> list[ValueInfoProto]:
    """The inputs of a network that are no constants."""
    constants = {t.name for t in proto.graph.initializer}
    return [x for x in proto.graph.input if x.name not in constants]


def read_runs(paths: Sequence[str], proto: onnx.ModelProto) -> list[Arrays]:
    """What a network is run on, one mapping of names to arrays for each run; element types are the network's.

    paths: of npz files with an array for each input, or 'noise'.  An array with one axis more than its input counts
    runs in axis 0 (so does one whose input has a single element there); an array without holds for all of them. Where
    no array counts runs, a batch whose axis 0 has no fixed length in any input is cut into pieces of ROWS.

    Raises FormatError MISSING_FILE, UNSUPPORTED_TYPE or BAD_SIZE: a file cannot be read; an array is missing, misshapen
    or not finite. ConfigError BAD_CONFIG where noise cannot stand for an input.
    """
    return [run for runs in read_sequences(paths, proto) for run in runs]


def read_sequences(paths: Sequence[str], proto: onnx.ModelProto) -> list[list[Arrays]]:
    """The same, apart for each path."""
    return [_noise(proto) if path == NOISE else _runs(path, proto) for path in paths]


def check_runs(runs: Sequence[Arrays], proto: onnx.ModelProto) -> None:
    """Raises FormatError BAD_SIZE where there is no run, or one has no array for an input, or one of another shape."""
    if not runs:
        raise FormatError("BAD_SIZE", "there are no inputs to calibrate on: give some")
    for number, run in enumerate(runs):
        for x in inputs_of(proto):
            if x.name not in run:
                raise FormatError("BAD_SIZE", f"run {number} has no array for the network's input {x.name!r} "
                                  f"{_shown(_shape(x))}")
            _check_shape(f"run {number}", x, run[x.name], run[x.name])


def batch_rows(run: Arrays, proto: onnx.ModelProto) -> int | None:
    """The rows of a run that is a batch: axis 0 has no fixed length in any input, and is as long in all; else None."""
    wanted = inputs_of(proto)
    shapes = [_shape(x) for x in wanted]
    free = all(shape and shape[0] is None for shape in shapes)
    lengths = {len(run[x.name]) if run[x.name].ndim else 1 for x in wanted}
    return min(lengths) if free and len(lengths) == 1 else None


def one_batch(runs: Sequence[Arrays]) -> Arrays:
    """All runs as one. Raises FormatError BAD_SIZE where their arrays have other shapes beyond axis 0, or none."""
    if len(runs) == 1:
        return runs[0]
    joined = {}
    for name, first in runs[0].items():
        arrays = [run[name] for run in runs]
        if any(a.ndim == 0 or a.shape[1:] != first.shape[1:] for a in arrays):
            raise FormatError("BAD_SIZE", f"the arrays of input {name!r} do not make up one batch: give some of one "
                              "shape")
        joined[name] = np.concatenate(arrays)
    return joined


def digest_of(runs: Sequence[Arrays]) -> str:
    """SHA-256 over names, types, shapes and values of all arrays, in hexadecimal digits."""
    h = hashlib.sha256()
    for arrays in runs:
        for name in sorted(arrays):
            a = np.ascontiguousarray(arrays[name])
            h.update(f"{name}\0{a.dtype.str}\0{a.shape}\0".encode())
            h.update(a.tobytes())
    return h.hexdigest()


def _shape(x: ValueInfoProto) -> list[int | None] | None:
    """The lengths of the axes of an input, None for one that may vary; None for an input of any shape."""
    kind = x.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim]


def _shown(shape: Sequence[int | None] | None) -> str:
    return "any shape" if shape is None else "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def _runs(path: str, proto: onnx.ModelProto) -> list[Arrays]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {path!r}: {error.strerror or 'it is no npz file'}") from None
    except (ValueError, TypeError):
        raise FormatError("UNSUPPORTED_TYPE", f"{path!r} is no npz file") from None
    whole: Arrays = {}
    stacks: dict[str, list[np.ndarray]] = {}
    wanted = inputs_of(proto)
    for x in wanted:
        if x.name not in arrays:
            raise FormatError("BAD_SIZE", f"{path!r} has no array for the network's input {x.name!r} "
                              f"{_shown(_shape(x))}; it has {', '.join(map(repr, arrays)) or 'none'}")
        array, shape = _typed(path, x, arrays[x.name]), _shape(x)
        if shape is not None and array.ndim == len(shape) + 1:
            stacks[x.name] = list(array)
        elif shape and array.ndim == len(shape) and shape[0] == 1 and len(array) > 1:
            stacks[x.name] = [row[None] for row in array]
        else:
            whole[x.name] = array
        for part in stacks.get(x.name, [array])[:1]:
            _check_shape(repr(path), x, part, array)
    if not stacks:
        return _pieces(whole, batch_rows(whole, proto))
    counts = {name: len(stack) for name, stack in stacks.items()}
    if len(set(counts.values())) > 1:
        raise FormatError("BAD_SIZE", f"in {path!r} axis 0 counts runs of the network, but differently: "
                          + ", ".join(f"{name!r} {n}" for name, n in counts.items()))
    return [{**whole, **{name: stack[i] for name, stack in stacks.items()}} for i in range(min(counts.values()))]


def _typed(path: str, x: ValueInfoProto, array: np.ndarray) -> np.ndarray:
    """The array in the element type of an input."""
    if x.type.WhichOneof("value") != "tensor_type":
        raise ConfigError("UNSUPPORTED_LAYER", f"the network's input {x.name!r} is no tensor")
    wanted = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type))
    if wanted.kind in "OSU" or array.dtype.kind not in "biuf":
        raise FormatError("UNSUPPORTED_TYPE", f"input {x.name!r} takes {wanted}, its array in {path!r} is of "
                          f"{array.dtype}")
    if not array.size:
        raise FormatError("BAD_SIZE", f"the array {x.name!r} in {path!r} is empty")
    if not np.isfinite(array).all():
        raise FormatError("BAD_SIZE", f"the array {x.name!r} in {path!r} has values that are not finite")
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.asarray(array.astype(wanted))
    if wanted.kind in "biu" and not np.array_equal(made, array):
        raise FormatError("UNSUPPORTED_TYPE", f"input {x.name!r} takes {wanted}, but its array in {path!r} has other "
                          "values")
    return made


def _check_shape(path: str, x: ValueInfoProto, part: np.ndarray, array: np.ndarray) -> None:
    shape = _shape(x)
    if shape is None:
        return
    if part.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, part.shape)):
        raise FormatError("BAD_SIZE", f"input {x.name!r} has the shape {_shown(shape)}, the array in {path} "
                          f"{list(array.shape)}")


def _pieces(whole: Arrays, rows: int | None) -> list[Arrays]:
    """One run, or several of ROWS rows each of a batch."""
    if rows is None:
        return [whole]
    return [{name: a[first:first + ROWS] for name, a in whole.items()} for first in range(0, rows, ROWS)]


def _noise(proto: onnx.ModelProto) -> list[Arrays]:
    """Normal noise of deviation 1 of the shapes that the network states; only axis 0 may be open."""
    chance, shapes = np.random.default_rng(0), dict[str, tuple[list[int | None], np.dtype]]()
    for x in inputs_of(proto):
        shape, code = _shape(x), x.type.tensor_type.elem_type
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code)) if code else np.dtype(object)
        if kind.kind != "f":
            raise ConfigError("BAD_CONFIG", f"noise cannot stand for the network's input {x.name!r}, which takes "
                              f"{kind}: give arrays with --calibration X.npz")
        if shape is None or None in shape[1:]:
            raise ConfigError("BAD_CONFIG", f"noise cannot be made for the network's input {x.name!r}, whose shape is "
                              f"{_shown(shape)}: give arrays with --calibration X.npz")
        shapes[x.name] = shape, kind
    fixed = any(shape and shape[0] is not None for shape, _ in shapes.values())
    return [{name: chance.normal(size=[NOISE_ROWS if n is None else n for n in shape]).astype(kind)
             for name, (shape, kind) in shapes.items()} for _ in range(NOISE_ROWS if fixed else 1)]
