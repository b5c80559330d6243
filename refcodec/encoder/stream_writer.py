"""Assembly of a stream from coded tensors (informative): large tensors alone, small ones joined, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from ..bitstream import syntax
from ..bitstream.context import ModelState
from ..bitstream.cost import StreamCost
from ..bitstream.limits import LEVELS, Level, Profile
from ..bitstream.parser import DESCRIBING, ParsedModel, TensorUnit, index_of
from ..bitstream.structures import (
    Bytes,
    LayerDescriptors,
    Metadata,
    MetadataEntry,
    ModelEnd,
    ModelHeader,
    Payload,
    StreamEnd,
    StreamHeader,
    TensorData,
    Topology,
    UnitType,
)
from ..bitstream.units import CODED_TYPES, HEAD_BYTES, MAGIC, Unit, seal_pieces, seal_unit, unit_at
from ..bitstream.visitor import Writer
from ..digests import TensorDigest, body_digest, joint_digest, stated, stated_pieces
from ..entropy.payload import encode_payload
from ..errors import ConfigError, OmcError
from .candidate import Candidate

SyntaxFunction = Callable[[Any, Any], None]                   # (visitor, structure)
Structure = tuple[SyntaxFunction, Any, ModelState]            # a syntax function, what it writes, and in which model
CodedTensor = tuple[int, TensorDigest, Candidate]             # index, digests, and how the tensor is coded


@dataclass
class StreamWriter:
    """Writes units to a binary sink. level, profile: what the stream declares."""

    sink: BinaryIO
    level: Level
    profile: Profile
    offset: int = 0
    units: int = 0
    models: list[ParsedModel] = field(default_factory=list)
    index_offset: int = 0
    header_body: bytes = b""         # of the last model header

    def __post_init__(self) -> None:
        self._put(MAGIC)
        self.unit(UnitType.STREAM_HEADER, syntax.stream_header,
                  StreamHeader(profile=self.profile, level=self.level.number))

    def _put(self, *pieces: Bytes) -> None:
        for piece in pieces:
            self.sink.write(piece)
            self.offset += len(piece)

    def unit(self, kind: UnitType, function: SyntaxFunction, x: Any, state: ModelState | None = None) -> Unit:
        """Write one unit; returns where it stands."""
        body = _written(function, x, self.level, state).pieces()
        if kind not in CODED_TYPES:
            sealed = seal_pieces(kind, body)
        else:
            whole = b"".join(body)
            if kind == UnitType.MODEL_HEADER:
                self.header_body = whole
            elif kind in DESCRIBING:
                self.models[-1].bodies[kind] = body_digest(whole)
            sealed = [seal_unit(kind, whole, dictionary=self.header_body)]
        unit = unit_at(bytes(sealed[0][:HEAD_BYTES]), self.offset, self.units)
        self._put(*sealed)
        self.units += 1
        return unit

    def begin_model(self, header: ModelHeader, topology: Topology | None, layers: LayerDescriptors | None
                    ) -> ParsedModel:
        """Model header, topology and layer descriptors."""
        number = len(self.models)
        state = ModelState(self.profile, number, header)
        references = [
            None if r.external_flag else self.models[number - r.model_distance].state for r in header.reference
        ]
        state.references = references
        unit = self.unit(UnitType.MODEL_HEADER, syntax.model_header, header, state)
        model = ParsedModel(state, unit, topology, layers)
        self.models.append(model)
        if header.inherit_flag:
            model.inherit(self.models[number - header.reference[0].model_distance])
        else:
            state.tensors = header.tensor
            if topology is not None:
                self.unit(UnitType.TOPOLOGY, syntax.topology, topology, state)
            if layers is not None:
                self.unit(UnitType.LAYER_DESCRIPTORS, syntax.layer_descriptors, layers, state)
        return model

    def tensors(self, coded: Sequence[CodedTensor]) -> None:
        """One tensor data unit of tensors in ascending order; several are joined."""
        model, descriptors, before = self.models[-1], [], -1
        for index, _, candidate in coded:
            d = candidate.reusable()
            d.tensor_index, d.tensor_index_delta = index, index - before - 1
            before = index
            descriptors.append(d)
        x = TensorData(len(coded) - 1, descriptors, payload=self._payloads([c for _, _, c in coded]))
        state_digests(x, [digests for _, digests, _ in coded])
        x.payload_count = len(x.payload)
        unit = self.unit(UnitType.TENSOR_DATA, syntax.tensor_data, x, model.state)
        for d in descriptors:
            model.unit_of[d.tensor_index] = len(model.tensor_units)
            d.component = []                                   # of what is written the index asks the number alone
        model.tensor_units.append(TensorUnit(unit, descriptors, []))

    @staticmethod
    def _payloads(candidates: list[Candidate]) -> list[Payload]:
        if len(candidates) == 1:
            return [payload for part in candidates[0].parts for payload in part.code().payloads]
        parts = [part for c in candidates for part in c.parts]
        blocks = [part.block() for part in parts if part.array is not None and part.array.size]
        if not blocks:
            return []
        coded, bypass = encode_payload(blocks)
        return [Payload(len(coded), len(bypass), coded, bypass)]

    def end_model(self, digest: bytes, metadata: dict[str, bytes], with_index: bool) -> None:
        model = self.models[-1]
        if metadata:
            entries = [MetadataEntry(k, len(v), v) for k, v in metadata.items()]
            self.unit(UnitType.METADATA, syntax.metadata, Metadata(len(entries), entries), model.state)
        if with_index:
            self.index_offset = self.unit(UnitType.INDEX, syntax.index, index_of(model), model.state).offset
        self.unit(UnitType.MODEL_END, syntax.model_end, model_end_of(model, digest), model.state)

    def end_stream(self) -> None:
        self.unit(UnitType.STREAM_END, syntax.stream_end, StreamEnd(len(self.models), self.units + 1,
                                                                    self.index_offset))


def model_end_of(model: ParsedModel, digest: bytes) -> ModelEnd:
    """The model end of a model whose units are written. digest: of its tensors."""
    return ModelEnd(len(model.tensor_units), digest, stated(model.seal(digest)))


def state_digests(x: TensorData, found: Sequence[TensorDigest]) -> None:
    """Puts the digests of its tensors into a unit, as far as it carries them (SPEC 8.8)."""
    for d, (digest, pieces) in zip(x.descriptor, found):
        d.tensor_digest, d.piece_digests = stated(digest), stated_pieces(pieces)
    x.unit_digest = stated(joint_digest([digest for digest, _ in found]))


def body_of(function: SyntaxFunction, x: Any, level: Level, state: ModelState | None = None) -> bytes:
    """The body of a unit."""
    return _written(function, x, level, state).body()


def _written(function: SyntaxFunction, x: Any, level: Level, state: ModelState | None) -> Writer:
    writer = Writer(level, None, state)
    function(writer, x)
    return writer


def lowest_level(structures: Sequence[Structure], models: int, cost: StreamCost, side: int = 0) -> Level:
    """The lowest level whose limits hold the given (syntax function, structure, state), models and side of a factor.

    cost: of all else at most (SPEC A.3).
    """
    reason = ""
    for level in LEVELS.values():
        whole = replace(cost)
        try:
            for function, x, state in structures:
                writer = _written(function, x, level, state)
                body = writer.body()
                if len(body) > level.unit_bytes:
                    raise ConfigError("RESOURCE_LIMIT", f"a body of {len(body)} bytes")
                whole.items, whole.bodies = whole.items + writer.cost.items, whole.bodies + len(body)
            if (cost.units <= level.units and models <= level.models and side <= level.decomposition_size
                    and whole.fits(level)):
                return level
        except OmcError as error:
            reason = error.message
    raise ConfigError("RESOURCE_LIMIT", f"the model is beyond the highest level: {reason}")
