"""ONNX files: cut into literal bytes and the slots of tensors, so that the file comes back byte for byte.

A tensor that cannot be placed for certain (strings, unpacked or split fields, non-minimal varints, padding
bits that are not zero, sizes that contradict the shape, no elements) stays in the literal bytes.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
from bisect import bisect, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..budget import Budget
from ..dtypes import BY_NAME, DType
from ..errors import FormatError
from ..model import Model, Slot, SlotCoding, Source, SourceFile, Tensor
from . import slots
from .files import ArrayReader, check_path, cut, file_inside, lazy_tensor, main_name, read_range
from .onnx_layers import find_layers
from .onnx_records import (
    DIMS_MAX,
    AttributeRecord,
    GraphRecord,
    ModelRecord,
    NodeRecord,
    SparseRecord,
    TensorRecord,
    read_model,
)
from .protobuf_wire import LENGTH

# TensorProto.DataType
DATA_TYPES: dict[int, DType] = {code: BY_NAME[name] for code, name in {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2", 27: "float6_e2m3fn",
    28: "float6_e3m2fn"}.items()}

# Data fields of TensorProto and the types that they carry with one number for each word.
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _RAW_DATA, _DOUBLE_DATA, _UINT64_DATA = 4, 5, 7, 9, 10, 11
_EXTERNAL = 1
PADDING_MAX = 1 << 16       # zeros before a tensor, or at the end, in an external file: writers align to pages
_SCOPE_LENGTH_MAX = 200     # names of enclosing nodes before a tensor's own name: the innermost characters stay


@dataclass
class _Place:
    """Where a tensor's words stand. path: '' for the main file."""

    path: str
    offset: int
    size: int
    coding: SlotCoding
    dtype: DType
    count: int


def load_onnx(path: str, budget: Budget) -> Model:
    """Model of an ONNX file; tensors are read from disk at each access.  FormatError if it is damaged."""
    if os.path.getsize(path) == 0:
        raise FormatError("TRUNCATED", f"{os.path.basename(path)!r} is empty")
    folder, full = os.path.dirname(os.path.abspath(path)), os.path.abspath(path)
    name = main_name(full, "model.onnx")
    with open(full, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as buf:
        record = read_model(buf, budget)
        if not (record.graphs or record.functions or record.trainings):
            raise FormatError("FORBIDDEN_PATTERN", f"{name!r} holds no graph: it is not an ONNX model")
        places = _Placing(folder, full, name)
        tensors: list[Tensor] = []
        for tensor, tensor_name in sorted(unique_names(record), key=lambda pair: pair[0].position):
            places.add(tensor, tensor_name, tensors)
        places.check_used()
        files = [SourceFile(name, cut(places.slots(""), len(buf), lambda a, b: buf[a:b]))]
    for external, (full_path, size) in places.opened.items():
        read = functools.partial(_literal, full_path)
        files.append(SourceFile(external, cut(places.slots(external), size, read)))
    return Model(tensors=tensors, name=record.graphs[0].name if record.graphs else "",
                 layers=find_layers(record, tensors), source=Source("onnx", files))


def _literal(path: str, start: int, end: int) -> bytes:
    return read_range(path, start, end - start).tobytes()


class _Placing:
    """Finds the slot of each tensor, in the main file or in an external one."""

    def __init__(self, folder: str, full: str, main_name: str):
        self.folder, self.full, self.main_name = folder, full, main_name
        self.opened: dict[str, tuple[str, int]] = {}                    # external path -> (absolute path, size)
        self.taken: dict[str, dict[int, tuple[_Place, int]]] = {"": {}}  # path -> offset -> (place, tensor index)
        self.offsets: dict[str, list[int]] = {"": []}                   # the keys of taken[path], ascending
        self.used: dict[str, list[tuple[int, int]]] = {}                # external path -> ranges of tensors' words

    def add(self, record: TensorRecord, name: str, tensors: list[Tensor]) -> None:
        """Appends the record's tensor to `tensors` and sets record.index, unless it stays literal."""
        place = self.external_place(record) if record.location == _EXTERNAL else inline_place(record)
        if place is None:
            return
        file_path = self.opened[place.path][0] if place.path else self.full
        before = self.taken[place.path].get(place.offset)
        if before and before[0] == place:
            record.index = before[1]        # two names for one range of an external file: one tensor
        elif not self.overlaps(place) and is_exact(file_path, place):
            record.index = len(tensors)
            self.taken[place.path][place.offset] = place, record.index
            insort(self.offsets[place.path], place.offset)
            tensors.append(lazy_tensor(name, record.dims, ArrayReader(file_path, place.offset, place.size, place.dtype,
                                                                      place.count, place.coding)))

    def overlaps(self, place: _Place) -> bool:
        offsets, taken = self.offsets[place.path], self.taken[place.path]
        after = bisect(offsets, place.offset)
        left_end = offsets[after - 1] + taken[offsets[after - 1]][0].size if after else 0
        return left_end > place.offset or after < len(offsets) and offsets[after] < place.offset + place.size

    def external_place(self, record: TensorRecord) -> _Place | None:
        """Place in an external file, which is opened and checked even if the tensor stays literal."""
        entries = {e.key: e.value for e in record.external}
        path = check_path("/".join(p for p in entries.get("location", "").split("/") if p != "."))
        if path not in self.opened:
            full = file_inside(self.folder, path)
            if path == self.main_name or os.path.realpath(self.full) == full:
                raise FormatError("BAD_PATH", f"external data in the model's own file {path!r}")
            self.opened[path] = full, os.path.getsize(full)
            self.taken[path], self.offsets[path], self.used[path] = {}, [], []
        offset, length = _decimal(entries.get("offset", "0")), _decimal(entries.get("length", "0"))
        place = _words_place(record, path, offset)
        length = length or (place.size if place else 0)
        if offset + length > self.opened[path][1]:
            raise FormatError("OUT_OF_RANGE", f"external data of {record.name[:100]!r}: bytes {offset} to "
                                              f"{offset + length} of {path!r}, which has {self.opened[path][1]}")
        if place is None or place.size != length:
            return None
        self.used[path].append((offset, offset + length))
        return place

    def check_used(self) -> None:
        """External files hold tensors and zeros between them, no more: a model may name any file that lies beside it.

        Raises FormatError BAD_SIZE, with the file's name, before a byte of anything else becomes a literal.
        """
        for path, (full, size) in self.opened.items():
            end = 0
            for first, last in [*sorted(self.used[path]), (size, size)]:
                if first > end and (first - end > PADDING_MAX or read_range(full, end, first - end).any()):
                    raise FormatError("BAD_SIZE", f"external data: no tensor uses the bytes {end} to {first} of "
                                      f"{path!r}, which has {size}; save the model again, with a file of its tensors "
                                      "alone")
                end = max(end, last)

    def slots(self, path: str) -> list[tuple[int, Slot]]:
        """(offset, slot) of a file, ascending."""
        return [(offset, Slot(index, place.coding, place.size))
                for offset in self.offsets[path] for place, index in [self.taken[path][offset]]]


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise FormatError("OUT_OF_RANGE", f"external data: {text[:30]!r} is not an offset or a length")
    return int(text)


def _words_place(record: TensorRecord, path: str, offset: int) -> _Place | None:
    # Place of fixed-width words, plain or packed; None where type or shape does not allow a slot.
    dtype = DATA_TYPES.get(record.data_type)
    if dtype is None or len(record.dims) > DIMS_MAX or any(d <= 0 for d in record.dims):
        return None
    count = math.prod(record.dims)
    coding = SlotCoding.PACKED if dtype.bits < 8 else SlotCoding.PLAIN
    return _Place(path, offset, slots.size_range(dtype, count, coding)[0], coding, dtype, count)


def inline_place(record: TensorRecord) -> _Place | None:
    """Place of a tensor inside the main file, or None if it has to stay literal."""
    if len(record.payloads) != 1 or record.payloads[0].wire_type != LENGTH:
        return None
    data = record.payloads[0]
    place = _words_place(record, "", data.start)
    if place is None:
        return None
    name, size = place.dtype.name, data.end - data.start
    if data.number == _INT32_DATA and (place.dtype.bits <= 16 and place.coding == SlotCoding.PLAIN
                                       or name in ("int32", "float6_e2m3fn", "float6_e3m2fn")) \
            or data.number == _INT64_DATA and name == "int64" \
            or data.number == _UINT64_DATA and name in ("uint32", "uint64"):
        place.coding, place.size = SlotCoding.VARINT, size
        smallest, largest = slots.size_range(place.dtype, place.count, place.coding)
        return place if smallest <= size <= largest else None
    fits = (data.number == _RAW_DATA or data.number == _FLOAT_DATA and name in ("float32", "complex64")
            or data.number == _DOUBLE_DATA and name in ("float64", "complex128"))
    return place if fits and place.size == size else None


def is_exact(path: str, place: _Place) -> bool:
    """True if the words, written back, give the same bytes (minimal varints, padding bits zero)."""
    if place.coding == SlotCoding.PLAIN:
        return True
    offset, size, count = place.offset, place.size, place.count
    if place.coding == SlotCoding.PACKED:       # only the last group can differ
        group = 12                              # words: whole bytes for 2, 4 and 6 bits
        skipped = (count - 1) // group
        offset, size = offset + skipped * group * place.dtype.bits // 8, size - skipped * group * place.dtype.bits // 8
        count -= skipped * group
    data = read_range(path, offset, size)
    try:
        words = slots.decode_words(data, place.dtype, place.coding, count)
    except ValueError:
        return False
    return np.array_equal(slots.encode_words(words, place.dtype, place.coding), data)


def unique_names(model: ModelRecord) -> list[tuple[TensorRecord, str]]:
    """All tensors of a file with their names. Initializers of the main graph keep theirs; all others get one after the
    nodes around them, with '#2' on collision."""
    main = [(t, t.name) for g in model.graphs for t in g.initializers]
    main_ids = {id(t) for t, _ in main}
    others = [(t, n) for t, n in _tensors_of_model(model) if id(t) not in main_ids]
    used: set[str] = set()
    tries: dict[str, int] = {}
    named = []
    for tensor, wanted in main + others:
        name = wanted = wanted or "tensor"
        while name in used:
            tries[wanted] = tries.get(wanted, 1) + 1
            name = f"{wanted}#{tries[wanted]}"
        used.add(name)
        named.append((tensor, name))
    return named


def _tensors_of_model(model: ModelRecord) -> Iterator[tuple[TensorRecord, str]]:
    for graph in model.graphs:
        yield from _tensors_of_graph(graph, "")
    for training in model.trainings:
        for graph in training.graphs:
            yield from _tensors_of_graph(graph, "training/")
    for function in model.functions:
        scope = f"{function.name or 'function'}/"[-_SCOPE_LENGTH_MAX:]
        yield from _tensors_of_nodes(function.nodes, scope)
        for attribute in function.attributes:
            yield from _tensors_of_attribute(attribute, scope + attribute.name)


def _tensors_of_graph(graph: GraphRecord, scope: str) -> Iterator[tuple[TensorRecord, str]]:
    scope = scope[-_SCOPE_LENGTH_MAX:]
    yield from ((t, scope + t.name) for t in graph.initializers)
    yield from _tensors_of_sparse(graph.sparse, scope)
    yield from _tensors_of_nodes(graph.nodes, scope)


def _tensors_of_sparse(sparse: list[SparseRecord], scope: str) -> Iterator[tuple[TensorRecord, str]]:
    for record in sparse:
        name = scope + (record.values[0].name if record.values else "")
        yield from ((t, name) for t in record.values)
        yield from ((t, f"{name}/indices") for t in record.indices)


def _tensors_of_nodes(nodes: list[NodeRecord], scope: str) -> Iterator[tuple[TensorRecord, str]]:
    for node in nodes:
        value_name = node.outputs[0] if node.outputs else node.name
        for attribute in node.attributes:
            if node.op_type == "Constant" and value_name:       # its value is known by the output's name
                wanted = scope + value_name
            else:
                wanted = f"{scope}{node.name or value_name or node.op_type}/{attribute.name}"
            yield from _tensors_of_attribute(attribute, wanted)


def _tensors_of_attribute(attribute: AttributeRecord, name: str) -> Iterator[tuple[TensorRecord, str]]:
    yield from ((t, name) for t in attribute.tensors)
    yield from _tensors_of_sparse(attribute.sparse, f"{name}/"[-_SCOPE_LENGTH_MAX:])
    for graph in attribute.graphs:
        yield from _tensors_of_graph(graph, f"{name}/")
