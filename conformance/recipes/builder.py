"""A stream put together unit by unit from explicit parts; its digests come from a first pass."""

from __future__ import annotations

import hashlib
import json
import lzma
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refcodec.bitstream import syntax
from refcodec.bitstream.context import ModelState
from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.parser import DESCRIBING, ParsedModel, TensorUnit, index_of
from refcodec.bitstream.structures import (
    LayerDescriptors,
    Metadata,
    MetadataEntry,
    ModelHeader,
    Payload,
    ReferenceEntry,
    Representation,
    StreamEnd,
    StreamHeader,
    TensorData,
    TensorDescriptor,
    TensorEntry,
    Topology,
    UnitCoding,
    UnitType,
)
from refcodec.bitstream.units import MAGIC, Unit, deflated, leb, seal
from refcodec.decoder import StreamDecoder
from refcodec.digests import TensorDigest, body_digest, joint_digest, piece_count
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part
from refcodec.encoder.stream_writer import body_of, model_end_of, state_digests
from refcodec.entropy.byte_coding import encode_bytes
from refcodec.entropy.modes import whole_array
from refcodec.entropy.payload import encode_payload
from refcodec.expansion import lzma_filters
from refcodec.fold import Fold
from refcodec.model import Model

LITERALS = Path(__file__).with_name("literals.json")


class Literals:
    """What general-purpose coders made once, by the bytes that they were given; other versions of them make other
    bytes."""

    def __init__(self, learn: bool = False):
        self.learn, self.used = learn, set()
        self.known: dict[str, str] = json.loads(LITERALS.read_text()) if LITERALS.exists() else {}

    def get(self, coder: str, data: bytes, make: Callable[[], bytes]) -> bytes:
        key = f"{coder}-{hashlib.sha256(data).hexdigest()[:24]}"
        self.used.add(key)
        if key not in self.known:
            if not self.learn:
                raise KeyError(f"literals.json has no {key}; 'python -m conformance.recipes --learn' adds it")
            self.known[key] = make().hex()
        return bytes.fromhex(self.known[key])

    def save(self) -> None:
        if self.learn:
            LITERALS.write_text(json.dumps({k: self.known[k] for k in sorted(self.used)}, indent=0) + "\n")


literals = Literals()


def compressed_payload(values: np.ndarray, mode, width: int, signed: bool, planes: bool) -> bytes:
    """The payload of a general-purpose coder, from the literals."""
    data = np.ascontiguousarray(values, f"<{'i' if signed else 'u'}{width}").tobytes()
    return literals.get(f"{mode.name.lower()}{width}{'p' if planes else ''}", data,
                        lambda: encode_bytes(values, whole_array(mode).byte_coder, width, signed, planes))


@dataclass
class Coded:
    """One tensor as it is coded: its descriptor, without index and digest, and the parts of its components."""

    descriptor: TensorDescriptor
    parts: list[Part] = field(default_factory=list)


class Builder:
    """Writes the units of a stream. digests: (model, tensor) to its digests; unknown ones are written as 0."""

    def __init__(self, profile: Profile = Profile.BASELINE, level: int = 1,
                 digests: dict[tuple[int, int], TensorDigest] | None = None):
        self.level, self.profile, self.digests = LEVELS[level], profile, digests or {}
        self.data, self.units, self.index_offset = bytearray(MAGIC), 0, 0
        self.models: list[ParsedModel] = []
        self.header_body = b""
        self.unit(UnitType.STREAM_HEADER, syntax.stream_header, StreamHeader(profile=profile, level=level))

    def unit(self, kind: int, function, x, coding: UnitCoding = UnitCoding.PLAIN) -> Unit:
        """Write a unit of a syntax structure."""
        state = self.models[-1].state if self.models else None
        body = body_of(function, x, self.level, state)
        if kind == UnitType.MODEL_HEADER:
            self.header_body = body
        return self.put(kind, body, coding)

    def put(self, kind: int, body: bytes, coding: UnitCoding = UnitCoding.PLAIN) -> Unit:
        """Write a unit of any body."""
        return self.sealed(kind, coding, self._coded(body, coding), body)

    def sealed(self, kind: int, coding: UnitCoding, coded: bytes, body: bytes) -> Unit:
        """Write a unit of a coded body. body: what it expands to."""
        if kind in DESCRIBING:
            self.models[-1].bodies[UnitType(kind)] = body_digest(body)
        head = bytes([kind << 2 | coding]) + leb(len(coded)) + (leb(len(body)) if coding else b"")
        unit = Unit(self.units, kind, coding, len(self.data), len(self.data) + len(head), len(coded), len(body))
        self.data += seal(head, coded)
        self.units += 1
        return unit

    def _coded(self, body: bytes, coding: UnitCoding) -> bytes:
        if coding == UnitCoding.PLAIN:
            return body
        dictionary = self.header_body if coding == UnitCoding.DEFLATE_HEADER else b""
        make = (lambda: lzma.compress(body, lzma.FORMAT_RAW, filters=lzma_filters(len(body)))
                ) if coding == UnitCoding.LZMA else (lambda: deflated(body, dictionary))
        return literals.get(f"unit-{coding.name.lower()}", dictionary + body, make)

    def model(self, name: str = "", tensors: Sequence[tuple[str, str, Sequence[int]]] = (),
              references: Sequence[int | bytes] = (), inherit: bool = False, enhancement: bool = False,
              coding: UnitCoding = UnitCoding.PLAIN) -> None:
        """Begin a model. tensors: (name, element type, shape); references: distance to an earlier model, or a
        digest."""
        entries = [ReferenceEntry(1, r) if isinstance(r, bytes) else ReferenceEntry(0, b"", r) for r in references]
        table = [TensorEntry(n, BY_NAME[t].code, len(shape), list(shape)) for n, t, shape in tensors]
        header = ModelHeader(name, int(enhancement), len(entries), entries, int(inherit), len(table), table)
        state = ModelState(self.profile, len(self.models), header)
        state.references = [None if r.external_flag else self.models[-r.model_distance].state for r in entries]
        state.tensors = table
        model = ParsedModel(state, None)
        if inherit:
            model.inherit(self.models[-references[0]])
        self.models.append(model)
        model.unit = self.unit(UnitType.MODEL_HEADER, syntax.model_header, header, coding)

    def topology(self, x: Topology, coding: UnitCoding = UnitCoding.PLAIN) -> None:
        self.unit(UnitType.TOPOLOGY, syntax.topology, x, coding)

    def layers(self, x: LayerDescriptors, coding: UnitCoding = UnitCoding.PLAIN) -> None:
        self.models[-1].state.folds = {}
        self.unit(UnitType.LAYER_DESCRIPTORS, syntax.layer_descriptors, x, coding)

    def tensors(self, *coded: tuple[int, Coded]) -> None:
        """A tensor data unit of (number of a tensor, how it is coded); several are joined."""
        model, descriptors, before = self.models[-1], [], -1
        for index, c in coded:
            d = c.descriptor
            d.tensor_index, d.tensor_index_delta, before = index, index - before - 1, index
            d.component = [part.component for part in c.parts]
            if d.representation == Representation.DIRECT and c.parts:
                c.parts[0].plane_rows = _plane_rows(model.state, index, d.column_scan_flag)
            descriptors.append(d)
        x = TensorData(len(coded) - 1, descriptors, payload=_payloads([c for _, c in coded]))
        x.payload_count = len(x.payload)
        state_digests(x, [self._digests(len(self.models) - 1, index) for index, _ in coded])
        unit = self.unit(UnitType.TENSOR_DATA, syntax.tensor_data, x)
        model.tensor_units.append(TensorUnit(unit, descriptors, []))

    def _digests(self, number: int, index: int) -> TensorDigest:
        entry, dtype = self.models[number].state.tensors[index], self.models[number].state.dtype(index)
        pieces = piece_count(math.prod(entry.dimension) * dtype.parts, dtype.word_bytes)
        return self.digests.get((number, index)) or TensorDigest(bytes(32), [bytes(32)] * pieces)

    def metadata(self, entries: dict[str, bytes], coding: UnitCoding = UnitCoding.PLAIN) -> None:
        listed = [MetadataEntry(k, len(v), v) for k, v in entries.items()]
        self.unit(UnitType.METADATA, syntax.metadata, Metadata(len(listed), listed), coding)

    def index(self, coding: UnitCoding = UnitCoding.PLAIN) -> None:
        self.index_offset = self.unit(UnitType.INDEX, syntax.index, index_of(self.models[-1]), coding).offset

    def end_model(self) -> None:
        model, number = self.models[-1], len(self.models) - 1
        digest = joint_digest([self._digests(number, i).digest for i in range(len(model.state.tensors))])
        self.unit(UnitType.MODEL_END, syntax.model_end, model_end_of(model, digest))

    def end(self) -> None:
        self.unit(UnitType.STREAM_END, syntax.stream_end, StreamEnd(len(self.models), self.units + 1,
                                                                    self.index_offset))


def _plane_rows(state: ModelState, i: int, column_scan: int) -> int:
    """Rows of a plane (SPEC 8.3): the length of the innermost axis of the rows."""
    fold = state.folds.get(i) or Fold.default(state.tensors[i].dimension)
    axes = fold.axis_order[fold.row_axis_count :] if column_scan else fold.axis_order[: fold.row_axis_count]
    return state.tensors[i].dimension[axes[-1]] if axes else 1


def _payloads(coded: Sequence[Coded]) -> list[Payload]:
    parts = [part for c in coded for part in c.parts]
    if len(coded) == 1:
        return [payload for part in parts for payload in part.code().payloads]
    blocks = [part.block() for part in parts if part.array is not None and part.array.size]
    if not blocks:
        return []
    data, bypass = encode_payload(blocks)
    return [Payload(len(data), len(bypass), data, bypass)]


class Values(StreamDecoder):
    """A decoder that takes digests as they come: the values of a first pass."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.found: dict[tuple[int, int], TensorDigest] = {}

    def compare_digests(self, model, tensor_unit, found) -> None:
        self.found.update({(model.state.number, i): digests for i, digests in found.items()})

    def all_digests(self) -> dict[tuple[int, int], TensorDigest]:
        """(model, tensor) to its digests, of the whole stream."""
        for number in range(len(self.parsed.models)):
            for _ in self.tensors(number):
                pass
        return self.found


Recipe = Callable[[Builder], None]


def build(recipe: Recipe, profile: Profile = Profile.BASELINE, level: int = 1,
          references: Sequence[Model] = ()) -> bytes:
    """The stream of a recipe, sealed by the digests of its values."""
    first = Builder(profile, level)
    recipe(first)
    second = Builder(profile, level, Values(bytes(first.data), references).all_digests())
    recipe(second)
    return bytes(second.data)
