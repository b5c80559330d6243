"""Streams of version 0.1 as streams of this version (SPEC annex F): other digests, the payloads byte for byte.

A stream of 0.1 differs in three places. Its descriptors have a tensor_digest each, in joined units too, and no others;
its models end without a seal; and the digest of a tensor is SHA-256 over its words themselves, where now it is over the
digests of their pieces (SPEC 8.8). So it is parsed by a reader that knows the first two, decoded and verified by a
decoder that knows the third, and written unit by unit with the digests that its values have now, and seals.
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
from .bitstream.limits import LEVELS, UPGRADED, VERSION, Level
from .bitstream.parser import ParsedModel, Parser, TensorUnit
from .bitstream.structures import (
    Bytes,
    ModelEnd,
    ModelHeader,
    ReferenceEntry,
    TensorData,
    UnitCoding,
)
from .bitstream.units import CODED_TYPES, ByteSource, Unit, read_body, seal_unit, unit_at
from .bitstream.visitor import UE_MAX, Reader, Visitor
from .budget import Budget
from .decoder import Progress, StreamDecoder
from .digests import TensorDigest, check_tensor_digest, digests_of, header, joint_digest
from .dtypes import DType
from .encoder.stream_writer import body_of, model_end_of, state_digests
from .errors import SemanticsError
from .model import Model
from .rewriting import Rewriter

X = TypeVar("X")
SEAL_BYTES = 9        # by which a model end of this version is longer, at most


def upgrade(stream: Bytes | str | os.PathLike[str], references: Sequence[Model] = (), *, threads: int = 1,
            budget: Budget | None = None, progress: Progress | None = None) -> bytes:
    """A stream of 0.1 as one of this version; see upgrade_to."""
    sink = io.BytesIO()
    upgrade_to(sink, stream, references, threads=threads, budget=budget, progress=progress)
    return sink.getvalue()


def upgrade_to(sink: BinaryIO, stream: Bytes | str | os.PathLike[str], references: Sequence[Model] = (), *,
               threads: int = 1, budget: Budget | None = None, progress: Progress | None = None) -> None:
    """Write a stream of 0.1 (bytes or a path) as one of this version into a binary file object, unit by unit.

    references: the external models that it refers to.  The others: as of refcodec.decode.
    Raises OmcError as decoding does, for a stream of 0.1 that is damaged; MISSING_REFERENCE for an update whose model
    is not at hand, as its digest has to be computed anew; UNSUPPORTED_VERSION for a stream of another version.
    """
    decoder = OldDecoder(stream, references, threads=threads, budget=budget, make_parser=OldParser)
    with decoder:
        for number in range(len(decoder.parsed.models)):
            decoder.allow(number)
        _Upgrade(sink, decoder, progress or (lambda done, total, name: None)).run()


# What is different in 0.1

class OldReader(Reader):
    """Reads a body of 0.1 as if it were of this version.  tensor_digests: of its descriptors, in order."""

    def __init__(self, body: Bytes, level: Level, unit: int | None = None,
                 model: ModelState | None = None):
        super().__init__(body, level, unit, model)
        self.tensor_digests: list[int] = []
        self._joined, self._major = False, 0

    def check_cost(self) -> None:
        """Nothing, as in OldParser."""

    def u(self, name: str, value: int, n: int, low: int = 0, high: int | type[IntEnum] | None = None) -> int:
        if name in ("unit_digest", "model_seal"):
            self._joined |= name == "unit_digest"
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

    def _check_cost(self, unit: Unit) -> None:
        """Nothing: 0.1 does not bound the cost of a stream, which is written in a level that allows it."""

    def _check_seal(self, unit: Unit, model: ParsedModel, x: ModelEnd) -> None:
        """Nothing: 0.1 has no seal."""

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
                 budget: Budget | None = None, make_parser: Callable[..., Parser]):
        self.found: dict[tuple[int, int], TensorDigest] = {}
        super().__init__(stream, references, threads=threads, budget=budget, make_parser=make_parser)

    def find_reference(self, digest: bytes) -> Model | None:
        if self._by_digest is None:
            self._by_digest = {old_model_digest(m): m for m in self.references}
        return super().find_reference(digest)

    def pieces(self, number: int, index: int) -> None:
        """None: pieces have no digests in 0.1, so every tensor is decoded as a whole."""

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

class _Upgrade(Rewriter):
    """The new stream, unit by unit."""

    def __init__(self, sink: BinaryIO, decoder: OldDecoder, progress: Progress):
        super().__init__(sink, decoder.parsed)
        self.decoder, self.progress = decoder, progress
        cost = replace(self.parsed.cost, bodies=self.parsed.cost.bodies + SEAL_BYTES * len(self.parsed.models))
        self.level = next((x for x in LEVELS.values() if x.number >= self.level.number and cost.fits(x)), self.level)
        self.old_digests: dict[int, bytes] = {}          # of the tensors of the last model, by 0.1
        units = [unit for model in self.parsed.models for unit in model.tensor_units]
        self.total, self.done = sum(d.word_count * d.word_bytes for unit in units for d in unit.descriptors), 0

    def stream_header(self, unit: Unit) -> None:
        self.unit(unit, syntax.stream_header, replace(self.parsed.header, level=self.level.number))

    def header(self, x: ModelHeader) -> ModelHeader:
        """External models are named by their digests of this version."""
        self.old_digests = {}
        if not any(r.external_flag for r in x.reference):
            return x
        return replace(x, reference=[self._reference(r) for r in x.reference])

    def _reference(self, r: ReferenceEntry) -> ReferenceEntry:
        if not r.external_flag:
            return r
        return replace(r, reference_digest=self.decoder.reference(bytes(r.reference_digest)).digest())

    def copy(self, unit: Unit) -> Unit:
        """A unit as it was; coded anew, where its preset dictionary is a model header that is another now."""
        old = self.parsed.models[len(self.models) - 1] if self.models else None
        dictionary = unit.coding == UnitCoding.DEFLATE_HEADER and unit.type in CODED_TYPES
        if not dictionary or old is None or old.header is self.models[-1].header:
            return super().copy(unit)
        body = self._body(unit, bytes(self._body(old.unit)))
        header = body_of(syntax.model_header, self.models[-1].header, self.level, self.models[-1].state)
        data = seal_unit(unit.type, bytes(body), True, header)
        written = unit_at(data, self.offset, unit.number)
        self.put(data)
        return written

    def _body(self, unit: Unit, dictionary: bytes = b"") -> Bytes:
        return read_body(self.source, unit, self.level.unit_bytes, dictionary)

    def tensor_data(self, unit: Unit) -> None:
        old, number, position = self.old_tensors(), len(self.models) - 1, len(self.models[-1].tensor_units)
        _, digests = self.decoder.decode_unit(number, position)
        self.old_digests |= digests
        x = TensorData(len(old.descriptors) - 1, [replace(d) for d in old.descriptors])    # the old ones keep digests
        state_digests(x, [self.decoder.found[number, d.tensor_index] for d in x.descriptor])
        self.tensors(unit, x.descriptor, self.payloads(old), x.unit_digest)
        self.done += sum(d.word_count * d.word_bytes for d in x.descriptor)
        names = self.models[-1].state.tensors
        self.progress(self.done, self.total, names[x.descriptor[-1].tensor_index].tensor_name)

    def model_end(self, unit: Unit) -> None:
        number, model = len(self.models) - 1, self.models[-1]
        self.decoder.check_model_digest(number, self.old_digests)
        digest = joint_digest([self.decoder.found[number, i].digest for i in range(len(model.state.tensors))])
        self.unit(unit, syntax.model_end, model_end_of(model, digest))
