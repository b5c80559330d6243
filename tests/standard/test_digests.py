"""Digests as trees (SPEC 8.8): against SHA-256 by hand, in threads, of slices, and what a stream carries of them."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from refcodec import Config, Model, ReconstructionError, StreamDecoder, Tensor, decode, digests, encode
from refcodec.bitstream.structures import PredictionMode
from refcodec.digests import (
    PIECE_BYTES,
    check_piece_digests,
    joint_digest,
    piece_count,
    piece_digests,
    pieces_of_slice,
    stated_pieces,
    words_of_pieces,
)
from refcodec.dtypes import BY_NAME

TYPES = ("int8", "bfloat16", "float32", "float64", "complex64", "complex128", "int4")


def of_type(name: str, count: int) -> Tensor:
    t = BY_NAME[name]
    words = np.random.default_rng(count).integers(0, 1 << min(t.bits, 16), count * t.parts).astype(t.word)
    return Tensor("größe", words.view(t.numpy).reshape(1, count))


def by_hand(t: Tensor) -> bytes:
    """The digest of a tensor, straight from the clause."""
    data = t.words.astype(t.words.dtype.newbyteorder("<")).tobytes()
    name = t.name.encode()
    h = hashlib.sha256(len(name).to_bytes(4, "little") + name + bytes([t.dtype.code, len(t.shape)]))
    for n in t.shape:
        h.update(n.to_bytes(8, "little"))
    for first in range(0, len(data), 2**20):
        h.update(hashlib.sha256(data[first : first + 2**20]).digest())
    return h.digest()


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("pieces, more", [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1), (2, 0), (2, 5)])
def test_digests_of_tensors(name, pieces, more):
    t = of_type(name, pieces * PIECE_BYTES // BY_NAME[name].itemsize + more)
    assert t.digest() == t.digest(threads=3) == by_hand(t)
    assert len(piece_digests(t.words)) == piece_count(t.words.size, t.words.itemsize) == -(-t.nbytes // 2**20)
    assert Model([t, t]).digest(2) == joint_digest([by_hand(t)] * 2)


def test_words_of_another_byte_order_and_step(monkeypatch):
    words = np.arange(PIECE_BYTES // 2 + 7, dtype=np.uint16)
    right = piece_digests(words)
    assert piece_digests(np.repeat(words, 2)[::2], threads=2) == right
    monkeypatch.setattr(digests.sys, "byteorder", "big")
    assert piece_digests(words.byteswap()) == right


@pytest.mark.parametrize("word_bytes", [1, 2, 4, 8])
def test_pieces_of_slices(word_bytes):
    rng, step = random.Random(word_bytes), PIECE_BYTES // word_bytes
    count = 5 * step + 3
    for _ in range(300):
        first = min(max(rng.randrange(6) * step + rng.randrange(-2, 3), 0), count - 1)
        end = min(max(rng.randrange(6) * step + rng.randrange(-2, 3), first + 1), count)
        pieces = pieces_of_slice(first, end, count, word_bytes)
        assert pieces == range(first // step, (end - 1) // step + 1)
        a, b = words_of_pieces(pieces, count, word_bytes)
        assert a <= first < end <= b <= count and a % step == 0 and (b % step == 0 or b == count)
    for wrong in ((0, 0), (5, 4), (-1, 3), (0, count + 1)):
        with pytest.raises(ValueError):
            pieces_of_slice(*wrong, count, word_bytes)


def test_a_slice_is_verified_by_its_pieces():
    words = np.arange(3 * PIECE_BYTES // 4, dtype=np.uint32)
    expected = stated_pieces(piece_digests(words))
    pieces = pieces_of_slice(PIECE_BYTES // 4 + 5, PIECE_BYTES // 2 + 1, words.size, 4)
    a, b = words_of_pieces(pieces, words.size, 4)
    check_piece_digests(expected, piece_digests(words[a:b]), "w", pieces.start)
    words[0] ^= 1                                              # outside
    check_piece_digests(expected, piece_digests(words[a:b]), "w", pieces.start)
    words[b - 1] ^= 1
    with pytest.raises(ReconstructionError, match="piece 2 of tensor 'w'") as error:
        check_piece_digests(expected, piece_digests(words[a:b]), "w", pieces.start)
    assert (error.value.code, error.value.rules) == ("DIGEST_MISMATCH", ("R8.8-3",))


def large() -> Model:
    w = np.repeat(np.arange(3, dtype=np.float32), PIECE_BYTES // 4)[:-9].reshape(1, -1)
    return Model([Tensor("w", w), Tensor("copy", w), *(Tensor(f"{i}", np.int64(i)) for i in range(5))])


def test_what_a_stream_carries():
    """Pieces of what is coded, none of a copy; one digest for small tensors that are joined."""
    model = large()
    with StreamDecoder(encode(model, Config(threads=2)), threads=2) as decoder:
        (parsed,) = decoder.parsed.models
        units = {tuple(d.tensor_index for d in u.descriptors): u for u in parsed.tensor_units}
        assert set(units) == {(0,), (1,), (2, 3, 4, 5, 6)}
        own, copy = units[0,].descriptors[0], units[1,].descriptors[0]
        assert own.piece_digests == stated_pieces(piece_digests(model.tensors[0].words)) and own.piece_count == 3
        assert copy.prediction_mode == PredictionMode.COPY and copy.piece_digests == b"" and copy.piece_count == 3
        assert own.tensor_digest == int.from_bytes(by_hand(model.tensors[0])[:8], "big")
        assert copy.tensor_digest == int.from_bytes(by_hand(model.tensors[1])[:8], "big")
        joined = hashlib.sha256(b"".join(by_hand(t) for t in model.tensors[2:])).digest()
        assert units[2, 3, 4, 5, 6].unit_digest == int.from_bytes(joined[:8], "big")
        assert decoder.model() == model


def test_every_word_is_hashed_once(monkeypatch):
    model = Model([t for t in large().tensors if t.name != "copy"])
    stream, hashed = encode(model), []

    def counted(words, of=digests.piece_digest):
        hashed.append(words.nbytes)
        return of(words)

    monkeypatch.setattr(digests, "piece_digest", counted)
    decode(stream, threads=2)
    assert sum(hashed) == sum(t.nbytes for t in model.tensors)
    hashed.clear()
    encode(model)
    assert sum(hashed) == sum(t.nbytes for t in model.tensors)
