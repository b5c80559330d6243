"""Inputs of a network from an npz file."""

from __future__ import annotations

import numpy as np
import onnx

from ..errors import FormatError


def network_inputs(path: str, proto: onnx.ModelProto) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(arrays for the inputs of an ONNX network by name, the other arrays) of an npz file; types are the network's.

    Raises FormatError MISSING_FILE, UNSUPPORTED_TYPE or BAD_SIZE: it cannot be read, or an input is missing or
    misshapen.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {path!r}: {error.strerror or 'it is no npz file'}") from None
    except (ValueError, TypeError):
        raise FormatError("UNSUPPORTED_TYPE", f"{path!r} is no npz file") from None
    constants, inputs = {t.name for t in proto.graph.initializer}, {}
    for x in proto.graph.input:
        if x.name in constants:
            continue
        kind = x.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        if x.name not in arrays:
            raise FormatError("BAD_SIZE", f"{path!r} has no array for the network's input {x.name!r} {shape}; it has "
                              f"{', '.join(arrays)}")
        a = arrays.pop(x.name)
        if len(shape) != a.ndim or any(n not in (None, m) for n, m in zip(shape, a.shape)) or not a.size:
            raise FormatError("BAD_SIZE",
                              f"input {x.name!r} has the shape {shape}, the array in {path!r} {list(a.shape)}")
        inputs[x.name] = a.astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return inputs, arrays
