"""The part of ONNX's messages that the codec needs, with the byte ranges of the tensors' data.

Field numbers are those of onnx.proto; every other field is stepped over and stays literal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

from ..budget import Budget
from ..errors import FormatError
from .protobuf_wire import LENGTH, VARINT, Field, fields, read_varint, signed

DEPTH_MAX = 64              # messages inside messages
RECORDS_MAX = 1 << 21       # bounds the memory that a hostile file can claim
COUNTED, RECORD_MEMORY = 1024, 600       # so many records at a time are held by the budget; bytes of one
TEXT_BYTES_MAX = 4096       # longer names are cut; in the file they stay whole
DIMS_MAX = 32               # a tensor of more dimensions stays literal


@dataclass(slots=True)
class Entry:                # StringStringEntryProto
    key: str = ""
    value: str = ""


@dataclass(slots=True)
class TensorRecord:         # TensorProto; payloads: its data fields, at most two are kept (one is the normal case)
    position: int = 0       # in the main file
    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    payloads: list[Field] = field(default_factory=list)
    location: int = 0       # 1: external
    external: list[Entry] = field(default_factory=list)
    index: int = -1         # in Model.tensors, -1 while it is literal


@dataclass(slots=True)
class SparseRecord:         # SparseTensorProto
    values: list[TensorRecord] = field(default_factory=list)
    indices: list[TensorRecord] = field(default_factory=list)


@dataclass(slots=True)
class AttributeRecord:
    name: str = ""
    i: int = 0
    tensors: list[TensorRecord] = field(default_factory=list)
    sparse: list[SparseRecord] = field(default_factory=list)
    graphs: list[GraphRecord] = field(default_factory=list)


@dataclass(slots=True)
class NodeRecord:
    name: str = ""
    op_type: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[AttributeRecord] = field(default_factory=list)

    def attribute(self, name: str) -> int:
        """An integer attribute, 0 if absent."""
        return next((a.i for a in self.attributes if a.name == name), 0)


@dataclass(slots=True)
class GraphRecord:
    name: str = ""
    nodes: list[NodeRecord] = field(default_factory=list)
    initializers: list[TensorRecord] = field(default_factory=list)
    sparse: list[SparseRecord] = field(default_factory=list)


@dataclass(slots=True)
class FunctionRecord:
    name: str = ""
    nodes: list[NodeRecord] = field(default_factory=list)
    attributes: list[AttributeRecord] = field(default_factory=list)


@dataclass(slots=True)
class TrainingRecord:
    graphs: list[GraphRecord] = field(default_factory=list)


@dataclass(slots=True)
class ModelRecord:
    graphs: list[GraphRecord] = field(default_factory=list)
    trainings: list[TrainingRecord] = field(default_factory=list)
    functions: list[FunctionRecord] = field(default_factory=list)


# Field number -> (attribute of the record, kind). A record class: a message, appended.
# 'int', 'str': the last one counts. 'ints', 'strs': appended. 'data': the payload's place, appended.
_SCHEMA: dict[type, dict[int, tuple[str, type | str]]] = {
    Entry: {1: ("key", "str"), 2: ("value", "str")},
    TensorRecord: {1: ("dims", "ints"), 2: ("data_type", "int"), 8: ("name", "str"), 13: ("external", Entry),
                   14: ("location", "int"), 3: ("payloads", "data"),   # a segment is not a whole tensor: never placed
                   4: ("payloads", "data"), 5: ("payloads", "data"), 6: ("payloads", "data"), 7: ("payloads", "data"),
                   9: ("payloads", "data"), 10: ("payloads", "data"), 11: ("payloads", "data")},
    SparseRecord: {1: ("values", TensorRecord), 2: ("indices", TensorRecord)},
    AttributeRecord: {1: ("name", "str"), 3: ("i", "int"), 5: ("tensors", TensorRecord), 6: ("graphs", GraphRecord),
                      10: ("tensors", TensorRecord), 11: ("graphs", GraphRecord), 22: ("sparse", SparseRecord),
                      23: ("sparse", SparseRecord)},
    NodeRecord: {1: ("inputs", "strs"), 2: ("outputs", "strs"), 3: ("name", "str"), 4: ("op_type", "str"),
                 5: ("attributes", AttributeRecord), 7: ("domain", "str")},
    GraphRecord: {1: ("nodes", NodeRecord), 2: ("name", "str"), 5: ("initializers", TensorRecord),
                  15: ("sparse", SparseRecord)},
    FunctionRecord: {1: ("name", "str"), 7: ("nodes", NodeRecord), 11: ("attributes", AttributeRecord)},
    TrainingRecord: {1: ("graphs", GraphRecord), 2: ("graphs", GraphRecord)},
    ModelRecord: {7: ("graphs", GraphRecord), 20: ("trainings", TrainingRecord), 25: ("functions", FunctionRecord)},
}


def read_model(buf: bytes | mmap, budget: Budget) -> ModelRecord:
    """The records of a whole ONNX file; FormatError with a byte offset where it is damaged."""
    model: ModelRecord = _Reader(buf, budget).message(ModelRecord, 0, len(buf), 0)
    return model


class _Reader:

    def __init__(self, buf: bytes | mmap, budget: Budget):
        self.buf, self.budget = buf, budget
        self.records = 0

    def message(self, record_class: type, start: int, end: int, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise FormatError("RESOURCE_LIMIT", f"more than {DEPTH_MAX} nested messages at byte {start}")
        self.count(start)
        record, schema = record_class(), _SCHEMA[record_class]
        if record_class is TensorRecord:
            record.position = start
        for f in fields(self.buf, start, end):
            name, kind = schema.get(f.number, ("", ""))
            if kind == "data":
                if len(record.payloads) < 2:
                    record.payloads.append(f)
            elif kind in ("int", "ints"):
                self.integers(record, name, kind, f)
            elif kind and f.wire_type == LENGTH:
                self.length_field(record, name, kind, f, depth)
        return record

    def count(self, pos: int) -> None:
        self.records += 1
        if self.records % COUNTED == 0:
            self.budget.hold(COUNTED * RECORD_MEMORY, "the description of an ONNX model", FormatError)
        if self.records > RECORDS_MAX:
            raise FormatError("RESOURCE_LIMIT", f"more than {RECORDS_MAX} nodes, names and tensors, at byte {pos}")

    def integers(self, record: Any, name: str, kind: str, f: Field) -> None:
        if kind == "int":
            if f.wire_type == VARINT:
                setattr(record, name, signed(f.value))
            return
        values, pos = getattr(record, name), f.start
        while pos < f.end and len(values) <= DIMS_MAX and f.wire_type in (VARINT, LENGTH):
            value, pos = read_varint(self.buf, pos, f.end)
            values.append(signed(value))

    def length_field(self, record: Any, name: str, kind: type | str, f: Field, depth: int) -> None:
        if kind == "str":
            setattr(record, name, self.text(f))
        elif kind == "strs":
            self.count(f.start)
            getattr(record, name).append(self.text(f))
        elif isinstance(kind, type):
            getattr(record, name).append(self.message(kind, f.start, f.end, depth + 1))

    def text(self, f: Field) -> str:
        return bytes(self.buf[f.start:min(f.end, f.start + TEXT_BYTES_MAX)]).decode("utf-8", "replace")
