"""safetensors files: 8 bytes of header size, a JSON header, the tensors' bytes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

from ..budget import Budget
from ..dtypes import BY_NAME, DType
from ..errors import FormatError
from ..model import Literal, Model, Slot, SlotCoding, Source, SourceFile, Tensor
from . import slots
from .files import ArrayReader, cut, is_text, lazy_tensor, main_name, read_range
from .writer import SourceWriter

HEADER_BYTES_MAX = 100_000_000
HEADER_FACTOR = 40            # bytes that JSON takes when it is read, for each byte of text, at most
DIMS_MAX = 32

_NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu", "F4": "float4_e2m1fn",
    "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn", "C64": "complex64"}
DTYPES = {name: BY_NAME[ours] for name, ours in _NAMES.items()}
DTYPE_NAMES = {ours: name for name, ours in _NAMES.items()}


def load_safetensors(path: str, budget: Budget) -> Model:
    """Model of a safetensors file, tensors in the order of their bytes, read from disk at each access.

    Tensors of unknown types and those without elements stay literal.  Raises FormatError.
    """
    full = os.path.abspath(path)
    file_size = os.path.getsize(full)
    header, start = _read_header(full, file_size, budget)
    _check_metadata(header.pop("__metadata__", {}))
    ranges = sorted((*_checked_range(name, info, file_size - start), name) for name, info in header.items())
    tensors: list[Tensor] = []
    placed: list[tuple[int, Slot]] = []
    end = 0
    for first, last, name in ranges:
        if first < end and first < last:
            raise FormatError("OUT_OF_RANGE", f"tensor {name[:100]!r} overlaps another one at byte {start + first}")
        end = max(end, last)
        dtype, shape = DTYPES.get(header[name]["dtype"]), header[name]["shape"]
        if dtype is None or first == last or len(shape) > DIMS_MAX:
            continue
        count, coding = math.prod(shape), _coding(dtype)
        placed.append((start + first, Slot(len(tensors), coding, last - first)))
        tensors.append(lazy_tensor(name, shape, ArrayReader(full, start + first, last - first, dtype, count, coding)))
    segments = cut(placed, file_size, lambda a, b: read_range(full, a, b - a).tobytes())
    source = Source("safetensors", [SourceFile(main_name(full, "model.safetensors"), segments)])
    return Model(tensors=tensors, source=source)


def new_file(tensors: Sequence[Tensor], path: str | os.PathLike[str]) -> SourceWriter:
    """What writes tensors to a new safetensors file. Raises FormatError as new_source and SourceWriter do."""
    return SourceWriter(new_source(tensors, "model.safetensors"), tensors, path)


def new_source(tensors: Sequence[Tensor], file_name: str) -> Source:
    """Source of a safetensors file written from scratch, tensors in the given order without gaps.

    Raises FormatError UNSUPPORTED_TYPE for types that the format does not have.
    """
    header: dict[str, dict[str, object]] = {}
    segments: list[Literal | Slot] = []
    pos = 0
    for index, tensor in enumerate(tensors):
        if tensor.dtype.name not in DTYPE_NAMES:
            raise FormatError("UNSUPPORTED_TYPE", f"safetensors has no type {tensor.dtype.name} (tensor "
                                                  f"{tensor.name!r}): write .npz")
        coding = _coding(tensor.dtype)
        if tensor.size * tensor.dtype.bits % 8:
            raise FormatError("UNSUPPORTED_TYPE", f"tensor {tensor.name!r} does not fill whole bytes: write .npz")
        size = slots.size_range(tensor.dtype, tensor.size, coding)[0]
        if tensor.name in header or tensor.name == "__metadata__":
            raise FormatError("DUPLICATE_ID", f"safetensors cannot hold a tensor named {tensor.name!r} (again)")
        header[tensor.name] = {"dtype": DTYPE_NAMES[tensor.dtype.name], "shape": list(tensor.shape),
                               "data_offsets": [pos, pos + size]}
        segments.append(Slot(index, coding, size))
        pos += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)         # so that the tensors start at a multiple of 8
    return Source("safetensors", [SourceFile(file_name, [Literal(len(text).to_bytes(8, "little") + text),
                                                         *segments])])


def _coding(dtype: DType) -> SlotCoding:
    return SlotCoding.PACKED if dtype.bits < 8 else SlotCoding.PLAIN


def _read_header(path: str, file_size: int, budget: Budget) -> tuple[dict[str, Any], int]:
    # (header, offset of the first tensor's byte)
    if file_size < 8:
        raise FormatError("TRUNCATED", f"safetensors file of {file_size} bytes has no header size")
    size = int.from_bytes(read_range(path, 0, 8).tobytes(), "little")
    if size > HEADER_BYTES_MAX:
        raise FormatError("RESOURCE_LIMIT", f"safetensors header of {size} bytes, allowed are {HEADER_BYTES_MAX}")
    if 8 + size > file_size:
        raise FormatError("TRUNCATED", f"safetensors header of {size} bytes in a file of {file_size}")
    budget.check_memory(HEADER_FACTOR * size, "a safetensors header", FormatError)
    text = read_range(path, 8, size).tobytes()
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError("FORBIDDEN_PATTERN", f"safetensors header is not JSON: {error}") from error
    if not text.startswith(b"{") or not isinstance(header, dict):
        raise FormatError("FORBIDDEN_PATTERN", "safetensors header does not start with '{' at byte 8")
    return header, 8 + size


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise FormatError("DUPLICATE_ID", "safetensors header has a key twice")
    return table


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not allowed")


def _check_metadata(table: object) -> None:
    # It stays in the literal header.
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise FormatError("FORBIDDEN_PATTERN", "safetensors __metadata__ is not a table of strings")


def _checked_range(name: str, info: Any, data_size: int) -> tuple[int, int]:
    """data_offsets of a tensor, agreeing with its shape and type and inside the file."""
    try:
        dtype, shape, (first, last) = info["dtype"], info["shape"], info["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise FormatError("FORBIDDEN_PATTERN", f"safetensors entry of {name[:100]!r} lacks dtype, shape or "
                                               "data_offsets") from None
    numbers = [*shape, first, last] if isinstance(shape, list) else [None]
    if not is_text(name):
        raise FormatError("FORBIDDEN_PATTERN", f"safetensors tensor name {name[:100]!a} is not Unicode text")
    if not isinstance(dtype, str) or any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
        raise FormatError("FORBIDDEN_PATTERN", f"safetensors entry of {name[:100]!r} has wrong types")
    if not first <= last <= data_size:
        raise FormatError("TRUNCATED" if last > data_size else "OUT_OF_RANGE",
                          f"tensor {name[:100]!r} at bytes {first} to {last} of {data_size}")
    known = DTYPES.get(dtype)
    if known and len(shape) <= DIMS_MAX and (last - first) * 8 != math.prod(shape) * known.bits * known.parts:
        raise FormatError("BAD_SIZE", f"tensor {name[:100]!r} of type {dtype} and shape {shape[:9]} cannot take "
                                      f"{last - first} bytes")
    return first, last
