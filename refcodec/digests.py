"""Digests as trees (SPEC 8.8): of pieces of a tensor's words, of tensors over their pieces, of units and models over
their tensors; and the seal of a model over its digest and all that describes it.

The words of a tensor, little-endian and row-major, are cut into pieces of PIECE_BYTES, so that they can be hashed in
threads, each once, and so that a part of a tensor can be verified by itself:

    pieces = piece_digests(words, threads)                           # 32 bytes each
    digest = tensor_digest(name, dtype, shape, pieces)
    model = joint_digest([digest, ...])                              # of all its tensors; a joined unit's likewise
    seal = seal_of(model, model_name, bodies)                        # source file, layers and metadata as well

A stream carries the first 8 bytes of a digest (`stated`); of tensors with more than one piece in a unit of their own,
those of the pieces, too (piece_digests of tensor_descriptor()). Whoever decodes a slice of such a tensor, words
`first` to `end`, decodes the whole pieces that hold it and compares these:

    pieces = pieces_of_slice(first, end, d.word_count, d.word_bytes)              # their numbers, a range
    a, b = words_of_pieces(pieces, d.word_count, d.word_bytes)                    # words a to b are these pieces
    check_piece_digests(d.piece_digests, piece_digests(words[a:b]), name, pieces.start)

A tensor of one piece, or of a joined unit, is decoded and verified as a whole; one that is a copy (COPY) has the
pieces of the tensor that it copies.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .errors import ReconstructionError
from .parallel import run_all

if TYPE_CHECKING:                  # parsing counts pieces, and loads nothing to hash them
    import numpy as np

    from .dtypes import DType

PIECE_BYTES = 1 << 20        # of all pieces of a tensor but the last
STATED_BYTES = 8             # of a digest's 32 bytes, those that stand in a stream


class TensorDigest(NamedTuple):
    """digest: of the tensor.  pieces: of each of its pieces. All have 32 bytes."""

    digest: bytes
    pieces: list[bytes]


# Digests

def piece_digests(words: np.ndarray, threads: int = 1) -> list[bytes]:
    """The digest of each piece of a flat array of unsigned words, which begins at a border of pieces; [] for none."""
    step = PIECE_BYTES // words.itemsize
    if words.size <= step:
        return [piece_digest(words)] if words.size else []
    return run_all(piece_digest, [words[i : i + step] for i in range(0, words.size, step)], threads)


def piece_digest(words: np.ndarray) -> bytes:
    """SHA-256 of the words of one piece, each little-endian."""
    plain = words if sys.byteorder == "little" else words.byteswap()
    return hashlib.sha256(plain.data if plain.flags.c_contiguous else plain.tobytes()).digest()


def tensor_digest(name: str, dtype: DType, shape: Sequence[int], pieces: Sequence[bytes]) -> bytes:
    """The digest of a tensor from those of its pieces."""
    return hashlib.sha256(header(name, dtype, shape) + b"".join(pieces)).digest()


def header(name: str, dtype: DType, shape: Sequence[int]) -> bytes:
    """What a tensor's digest covers before its words: name, element type and dimensions."""
    encoded = name.encode("utf-8")
    return (len(encoded).to_bytes(4, "little") + encoded + bytes([dtype.code, len(shape)])
            + b"".join(int(n).to_bytes(8, "little") for n in shape))


def digests_of(name: str, dtype: DType, shape: Sequence[int], words: np.ndarray, threads: int = 1) -> TensorDigest:
    """A tensor's digest and those of its pieces. words: flat, of dtype.word."""
    pieces = piece_digests(words, threads)
    return TensorDigest(tensor_digest(name, dtype, shape, pieces), pieces)


def joint_digest(digests: Sequence[bytes]) -> bytes:
    """The digest of a model from those of all its tensors, or of a joined unit from those of its own, in order."""
    return hashlib.sha256(b"".join(digests)).digest()


def body_digest(body: bytes) -> bytes:
    """SHA-256 of the expanded body of a unit that describes a model."""
    return hashlib.sha256(body).digest()


def seal_of(model_digest: bytes, model_name: str, bodies: Sequence[bytes | None]) -> bytes:
    """The seal of a model.  bodies: body_digest of its TOPOLOGY, LAYER_DESCRIPTORS and METADATA; None: it has none."""
    parts = [model_digest, body_digest(model_name.encode("utf-8")), *(body_digest(b"") if b is None else b
                                                                      for b in bodies)]
    return hashlib.sha256(b"".join(parts)).digest()


def stated(digest: bytes) -> int:
    """What a stream carries of a digest, as u(64): its first 8 bytes, the first most significant."""
    return int.from_bytes(digest[:STATED_BYTES], "big")


def stated_pieces(pieces: Sequence[bytes]) -> bytes:
    """piece_digests of a tensor_descriptor(): the first 8 bytes of the digest of each piece."""
    return b"".join(piece[:STATED_BYTES] for piece in pieces)


# Pieces and slices

def piece_count(word_count: int, word_bytes: int) -> int:
    """Number of pieces of a tensor."""
    return -(-word_count * word_bytes // PIECE_BYTES)


def pieces_of_slice(first: int, end: int, word_count: int, word_bytes: int) -> range:
    """Numbers of the pieces that hold words `first` to `end` (not included) of a tensor, with first < end."""
    if not 0 <= first < end <= word_count:
        raise ValueError(f"no slice of {word_count} words: {first} to {end}")
    return range(first * word_bytes // PIECE_BYTES, piece_count(end, word_bytes))


def words_of_pieces(pieces: range, word_count: int, word_bytes: int) -> tuple[int, int]:
    """First word of some pieces of a tensor that follow each other, and the word after their last."""
    step = PIECE_BYTES // word_bytes
    return pieces.start * step, min(pieces.stop * step, word_count)


# Comparison with what the stream states

def check_piece_digests(expected: bytes | bytearray | memoryview, pieces: Sequence[bytes], name: str, first: int = 0
                        ) -> None:
    """Pieces number `first` and following against piece_digests. Raises ReconstructionError DIGEST_MISMATCH."""
    for k, piece in enumerate(pieces, first):
        if piece[:STATED_BYTES] != expected[STATED_BYTES * k : STATED_BYTES * (k + 1)]:
            raise _mismatch(f"piece {k} of tensor {name!r} differs from its digest in piece_digests", "R8.8-3")


def check_tensor_digest(expected: int, digest: bytes, name: str) -> None:
    """A tensor in a unit of its own against tensor_digest. Raises ReconstructionError DIGEST_MISMATCH."""
    if stated(digest) != expected:
        raise _mismatch(f"tensor {name!r} differs from its tensor_digest", "R8.8-1")


def check_unit_digest(expected: int, digests: Sequence[bytes], names: Sequence[str]) -> None:
    """The tensors of a joined unit against unit_digest. Raises ReconstructionError DIGEST_MISMATCH."""
    if stated(joint_digest(digests)) != expected:
        raise _mismatch(f"the joined tensors {names[0]!r} to {names[-1]!r} differ from their unit_digest", "R8.8-4")


def _mismatch(message: str, rule: str) -> ReconstructionError:
    return ReconstructionError("DIGEST_MISMATCH", f"SPEC 8.8: {message}", rules=rule)
