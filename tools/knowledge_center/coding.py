"""Between models and streams: what a model is, and streams that were decoded before anyone gets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from refcodec import Config, Model, StreamDecoder, decode, encode
from refcodec.model import Literal, Source

from .errors import CenterError
from .index import Identity


def identity_of(model: Model) -> Identity:
    """Digests of the tensors (SPEC 8.8), of the source file around them, and of names, types and shapes."""
    structure = json.dumps([[t.name, t.dtype.name, t.shape] for t in model.tensors])
    return Identity(model.digest().hex(), source_digest(model.source), hashlib.sha256(structure.encode()).hexdigest(),
                    sum(t.nbytes for t in model.tensors))


def source_digest(source: Source | None) -> str:
    """SHA-256 of everything in the source files that is no tensor, '' without a source.

    A source of one file may have any name, as a decoder may give it another one (SPEC 8.9.1).
    """
    if source is None:
        return ""
    digest = hashlib.sha256(source.format.encode())
    for file in source.files:
        path = file.path if len(source.files) > 1 else ""
        digest.update(json.dumps([path, len(file.segments)]).encode())
        for s in file.segments:
            if isinstance(s, Literal):
                digest.update(b"literal" + hashlib.sha256(s.data).digest())
            else:
                digest.update(f"slot {s.tensor} {int(s.coding)} {s.size};".encode())
    return digest.hexdigest()


def references_of(stream: bytes) -> list[str]:
    """Digests of the external models that a stream says it needs (SPEC 7.4). Raises OmcError."""
    with StreamDecoder(stream) as decoder:
        headers = [m.header for m in decoder.parsed.models]
        needed = [bytes(r.reference_digest).hex() for h in headers for r in h.reference if r.external_flag]
    return list(dict.fromkeys(needed))


def coded(model: Model, references: Sequence[Model] = (), config: Config | None = None) -> tuple[bytes, Model]:
    """(stream, the model that it gives): decoded again, and compared where nothing should be lost.

    Raises OmcError for what cannot be coded, CenterError DIGEST_MISMATCH where the decoded model is another.
    """
    config = config or Config()
    stream = encode(model, config, references)
    back = decode(stream, references)
    if not config.lossy and not identity_of(back).same_as(identity_of(model)):
        raise CenterError("DIGEST_MISMATCH", "the model did not survive its own coding; please report this")
    return stream, back
