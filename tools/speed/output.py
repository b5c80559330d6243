"""safetensors files written in order, block by block: what is larger than memory should hold passes through."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np

TYPES = {"fp32": np.dtype("<f4"), "bf16": np.dtype(ml_dtypes.bfloat16), "fp16": np.dtype("<f2")}
LABELS = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}


class Tensor(NamedTuple):
    """A tensor to be written. blocks: gives its elements, in C order, in pieces of any size and of any float type."""

    name: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[np.ndarray]]


def write(path: pathlib.Path, label: str, tensors: Sequence[Tensor]) -> None:
    """Writes the tensors, rounded to nearest, ties to even, as type `label` of TYPES.  The file appears when whole."""
    dtype, header, position = TYPES[label], {}, 0
    for tensor in tensors:
        size = int(np.prod(tensor.shape, dtype=np.int64)) * dtype.itemsize
        header[tensor.name] = dict(dtype=LABELS[label], shape=list(tensor.shape),
                                   data_offsets=[position, position + size])
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb") as file, np.errstate(over="ignore"):     # beyond float16: infinity, as rounding has it
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            for block in tensor.blocks():
                file.write(np.ascontiguousarray(block.astype(dtype, copy=False)).view(np.uint8).data)
        if file.tell() != 8 + len(text) + position:
            raise ValueError(f"{path}: blocks give {file.tell() - 8 - len(text)} bytes, shapes {position}")
    partial.replace(path)


def read_header(path: pathlib.Path) -> tuple[dict[str, dict], int]:
    """(entries of the tensors by name, where the first one begins) of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header, 8 + size
