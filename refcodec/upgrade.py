"""Streams of version 0.1 as streams of this version (SPEC annex F): other digests, the payloads byte for byte.

A stream of 0.1 differs in two places. Its descriptors have a tensor_digest each, in joined units too, and no others;
and the digest of a tensor is SHA-256 over its words themselves, where now it is over the digests of their pieces
(SPEC 8.8). So it is parsed by a reader that knows the first, decoded and verified by a decoder that knows the second,
and written unit by unit with the digests that its values have now.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import BinaryIO, TypeVar

import numpy as np

from .bitstream import syntax
from .bitstream.context import ModelState
from .bitstream.limits import UPGRADED, VERSION, Level
from .bitstream.parser import ParsedModel, Parser, TensorUnit, index_of
from .bitstream.structures import (
    Bytes,
    ModelEnd,
    Payload,
    ReferenceEntry,
    StreamEnd,
    TensorData,
    UnitCoding,
    UnitType,
)
from .bitstream.units import CODED_TYPES, EXTENSION_TYPES, MAGIC, ByteSource, Unit, read_body, seal_unit, unit_at
from .bitstream.visitor import UE_MAX, Reader, Visitor
from .decoder import Progress, StreamDecoder
from .digests import TensorDigest, check_tensor_digest, digests_of, header, joint_digest
from .dtypes import DType
from .encoder.stream_writer import body_of, state_digests
from .errors import SemanticsError
from .model import Model

X = TypeVar("X")


def upgrade(stream: Bytes | str | os.PathLike[str], references: Sequence[Model] = (), *, threads: int = 1,
            max_memory: int | None = None, progress: Progress | None = None) -> bytes:
    """A stream of 0.1 as one of this version; see upgrade_to."""
    sink = io.BytesIO()
    upgrade_to(sink, stream, references, threads=threads, max_memory=max_memory, progress=progress)
    return sink.getvalue()


def upgrade_to(sink: BinaryIO, stream: Bytes | str | os.PathLike[str], references: Sequence[Model] = (), *,
               threads: int = 1, max_memory: int | None = None, progress: Progress | None = None) -> None:
    """Write a stream of 0.1 (bytes or a path) as one of this version into a binary file object, unit by unit.

    references: the external models that it refers to.  The others: as of refcodec.decode.
    Raises OmcError as decoding does, for a stream of 0.1 that is damaged; MISSING_REFERENCE for an update whose model
    is not at hand, as its digest has to be computed anew; UNSUPPORTED_VERSION for a stream of another version.
    """
    decoder = OldDecoder(stream, references, threads=threads, max_memory=max_memory, make_parser=OldParser)
    with decoder:
        _Upgrade(sink, decoder, progress or (lambda done, total, name: None)).run()


# What is different in 0.1

class OldReader(Reader):
    """Reads a body of 0.1 as if it were of this version.  tensor_digests: of its descriptors, in order."""

    def __init__(self, body: Bytes, level: Level, unit: int | None = None,
                 model: ModelState | None = None):
        super().__init__(body, level, unit, model)
        self.tensor_digests: list[int] = []
        self._joined, self._major = False, 0

    def u(self, name: str, value: int, n: int, low: int = 0, high: int | type[IntEnum] | None = None) -> int:
        if name == "unit_digest":
            self._joined = True
            return 0
        value = super().u(name, value, n, low, high)
        if name == "version_major":
            self._major = value
        elif name == "version_minor":
            return self._version(value)
        elif name == "tensor_digest":
            self.tensor_digests.append(value)
        return value

    def _version(self, minor: int) -> int:
        if (self._major, minor) == VERSION:
            raise self.fail(SemanticsError, "UNSUPPORTED_VERSION", f"the stream is of version {self._major}.{minor} "
                            "already, there is nothing to upgrade", "R7.3-1")
        return VERSION[1] if (self._major, minor) == UPGRADED else minor

    def ue(self, name: str, value: int, low: int = 0, high: int | type[IntEnum] = UE_MAX) -> int:
        if name == "prediction_mode" and self._joined:
            self.u("tensor_digest", 0, 64)
        return super().ue(name, value, low, high)

    def b(self, name: str, value: Bytes, n: int) -> Bytes:
        return b"" if name == "piece_digests" else super().b(name, value, n)


class OldParser(Parser):
    """Parses a stream of 0.1; what it gives is of this version, but for the digests."""

    def __init__(self, source: ByteSource, find_reference: Callable[[bytes], Model | None], allow_prefix: bool = False):
        super().__init__(source, find_reference, allow_prefix, OldReader)

    def _structure(self, unit: Unit, function: Callable[[Visitor, X], None], x: X) -> tuple[Reader, X]:
        reader, x = super()._structure(unit, function, x)
        if isinstance(x, TensorData) and isinstance(reader, OldReader):
            for d, digest in zip(x.descriptor, reader.tensor_digests):
                d.tensor_digest = digest
        return reader, x


def old_digest(name: str, dtype: DType, shape: Sequence[int], words: np.ndarray) -> bytes:
    """The digest of a tensor by 8.8 of version 0.1: over name, element type, shape and words."""
    h = hashlib.sha256(header(name, dtype, shape))
    h.update(np.ascontiguousarray(words.astype(words.dtype.newbyteorder("<"), copy=False)).data)
    return h.digest()


def old_model_digest(model: Model) -> bytes:
    """The digest of a model by 8.8 of version 0.1."""
    return joint_digest([old_digest(t.name, t.dtype, t.shape, t.words) for t in model.tensors])


class OldDecoder(StreamDecoder):
    """Decodes a stream of 0.1, verified by its own digests.  found: (model, tensor) to the digests of this version."""

    def __init__(self, stream: Bytes | str | os.PathLike[str], references: Sequence[Model], *, threads: int,
                 max_memory: int | None, make_parser: Callable[..., Parser]):
        self.found: dict[tuple[int, int], TensorDigest] = {}
        super().__init__(stream, references, threads=threads, max_memory=max_memory, make_parser=make_parser)

    def find_reference(self, digest: bytes) -> Model | None:
        if self._by_digest is None:
            self._by_digest = {old_model_digest(m): m for m in self.references}
        return super().find_reference(digest)

    def _checked_digests(self, model: ParsedModel, tensor_unit: TensorUnit, decoded: dict[int, np.ndarray]
                         ) -> dict[int, bytes]:
        state, digests = model.state, {}
        for d in tensor_unit.descriptors:
            i, entry, dtype = d.tensor_index, state.tensors[d.tensor_index], state.dtype(d.tensor_index)
            digests[i] = old_digest(entry.tensor_name, dtype, entry.dimension, decoded[i])
            check_tensor_digest(d.tensor_digest, digests[i], entry.tensor_name)
            self.found[state.number, i] = digests_of(entry.tensor_name, dtype, entry.dimension, decoded[i],
                                                     self.threads)
        return digests


# What is written

class _Upgrade:
    """The new stream, unit by unit in the order of the old one."""

    def __init__(self, sink: BinaryIO, decoder: OldDecoder, progress: Progress):
        self.sink, self.decoder, self.progress = sink, decoder, progress
        self.parsed, self.offset, self.index_offset = decoder.parsed, 0, 0
        self.level, self.source = self.parsed.level, self.parsed.source
        self.models: list[ParsedModel] = []              # as they stand in the new stream
        self.header_body: bytes | None = None            # of the last model header, where it is another than before
        self.old_digests: dict[int, bytes] = {}          # of the tensors of the last model
        self.total = sum(d.word_count * d.word_bytes for m in self.parsed.models for u in m.tensor_units
                         for d in u.descriptors)
        self.done = 0

    def run(self) -> None:
        self._put(MAGIC)
        for unit in self.parsed.units:
            name = "extension" if unit.type in EXTENSION_TYPES else UnitType(unit.type).name.lower()
            getattr(self, "_" + name, self._copy)(unit)

    def _put(self, data: bytes) -> None:
        self.sink.write(data)
        self.offset += len(data)

    def _unit(self, old: Unit, body: bytes, dictionary: bytes = b"") -> Unit:
        """Write a unit with another body, coded if the old one was; returns where it stands."""
        data = seal_unit(old.type, body, old.coding != UnitCoding.PLAIN, dictionary)
        unit = unit_at(data, self.offset, old.number)
        self._put(data)
        return unit

    def _copy(self, unit: Unit) -> None:
        """Write a unit as it was; if its preset dictionary is another now, coded anew."""
        if unit.coding == UnitCoding.DEFLATE_HEADER and unit.type in CODED_TYPES and self.header_body is not None:
            before = bytes(self._body(self.parsed.models[len(self.models) - 1].unit))
            self._unit(unit, bytes(self._body(unit, before)), self.header_body)
        else:
            self._put(self.source.read(unit.offset, unit.end - unit.offset))

    def _body(self, unit: Unit, dictionary: bytes = b"") -> Bytes:
        return read_body(self.source, unit, self.level.unit_bytes, dictionary)

    def _stream_header(self, unit: Unit) -> None:
        self._unit(unit, body_of(syntax.stream_header, self.parsed.header, self.level))

    def _model_header(self, unit: Unit) -> None:
        old = self.parsed.models[len(self.models)]
        x = replace(old.header, reference=[self._reference(r) for r in old.header.reference])
        state = ModelState(self.parsed.header.profile, len(self.models), x, old.state.tensors, dict(old.state.folds))
        state.references = [None if r.external_flag else self.models[-r.model_distance].state for r in x.reference]
        self.models.append(ParsedModel(state, replace(unit, offset=self.offset)))
        self.old_digests, self.header_body = {}, None
        if x == old.header:
            self._copy(unit)
        else:
            self.header_body = body_of(syntax.model_header, x, self.level, state)
            self._unit(unit, self.header_body)

    def _reference(self, r: ReferenceEntry) -> ReferenceEntry:
        if not r.external_flag:
            return r
        model = self.decoder.reference(bytes(r.reference_digest))
        return replace(r, reference_digest=model.digest(self.decoder.threads))

    def _tensor_data(self, unit: Unit) -> None:
        number, model = len(self.models) - 1, self.models[-1]
        old = self.parsed.models[number].tensor_units[len(model.tensor_units)]
        _, digests = self.decoder.decode_unit(number, len(model.tensor_units))
        self.old_digests |= digests
        payloads = [Payload(coded, bypass, self.source.read(at, coded), self.source.read(at + coded, bypass))
                    for at, coded, bypass in old.places]
        descriptors = [replace(d) for d in old.descriptors]            # the decoder keeps the digests of 0.1
        x = TensorData(len(descriptors) - 1, descriptors, len(payloads), payloads)
        state_digests(x, [self.decoder.found[number, d.tensor_index] for d in old.descriptors])
        written = self._unit(unit, body_of(syntax.tensor_data, x, self.level, model.state))
        model.tensor_units.append(TensorUnit(written, descriptors, []))
        self.done += sum(d.word_count * d.word_bytes for d in descriptors)
        self.progress(self.done, self.total, model.state.tensors[descriptors[-1].tensor_index].tensor_name)

    def _index(self, unit: Unit) -> None:
        self.index_offset = self.offset
        self._unit(unit, body_of(syntax.index, index_of(self.models[-1]), self.level))

    def _model_end(self, unit: Unit) -> None:
        number = len(self.models) - 1
        self.decoder.check_model_digest(number, self.old_digests)
        tensors = range(len(self.models[-1].state.tensors))
        digest = joint_digest([self.decoder.found[number, i].digest for i in tensors])
        self._unit(unit, body_of(syntax.model_end, ModelEnd(len(self.models[-1].tensor_units), digest), self.level))

    def _stream_end(self, unit: Unit) -> None:
        x = StreamEnd(len(self.models), len(self.parsed.units), self.index_offset)
        self._unit(unit, body_of(syntax.stream_end, x, self.level))
