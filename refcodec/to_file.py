"""A model of a stream into a file, piece by piece: no tensor that allows it is ever whole in memory."""

from __future__ import annotations

import threading

import numpy as np

from .bitstream.structures import BY_TENSOR
from .decoder import Progress, StreamDecoder, errors_of
from .digests import PIECE_BYTES
from .formats.writer import TensorWriter
from .parallel import in_order, run_all
from .pieces import STRETCH_MAX, in_pieces


class _Room(threading.local):
    """Where a thread decodes pieces on their way to the file; kept, for fresh memory takes as long as decoding."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def words(self, count: int, dtype: np.dtype) -> np.ndarray:
        """Room for so many words, until the thread asks again."""
        if len(self._bytes) < count * dtype.itemsize:
            self._bytes = np.empty(count * dtype.itemsize, np.uint8)
        return self._bytes[: count * dtype.itemsize].view(dtype)


_ROOM = _Room()
STRETCH_BYTES = PIECE_BYTES * STRETCH_MAX               # at most


def write_model(decoder: StreamDecoder, number: int, writer: TensorWriter, progress: Progress | None = None) -> int:
    """Decodes a model, unit by unit, into what `writer` writes, and verifies its digests. Returns how many tensors.

    Nothing counts before writer.commit(), which is the caller's.  progress: called after each unit.  Memory: some
    pieces a thread of tensors that are decoded piece by piece, the others that are in flight.
    """
    model = decoder.parsed.models[number]
    units, names = model.tensor_units, [t.tensor_name for t in model.state.tensors]
    sizes = [sum(d.word_count * d.word_bytes for d in u.descriptors) for u in units]
    positions = range(len(units))
    piecewise = [_goes_in_pieces(decoder, number, p, writer) for p in positions]
    in_memory = [STRETCH_BYTES if piecewise[p] else sizes[p] for p in positions]
    needs = [STRETCH_BYTES if piecewise[p] else decoder.costs.of(number, p).memory for p in positions]
    digests: dict[int, bytes] = {}
    done, in_all = 0, sum(sizes)
    done_in_order = in_order(lambda p: _write_unit(decoder, number, p, writer), positions, in_memory, decoder.threads,
                             needs=needs, room=lambda: decoder.room)
    for p, found in zip(positions, done_in_order):
        digests |= found
        done += sizes[p]
        if progress:
            progress(done, in_all, names[units[p].descriptors[-1].tensor_index])
    if decoder.verify:
        decoder.check_model_digest(number, digests)
    return len(digests)


def _goes_in_pieces(decoder: StreamDecoder, number: int, position: int, writer: TensorWriter) -> bool:
    model = decoder.parsed.models[number]
    d = model.tensor_units[position].descriptors[0]
    return in_pieces(d, model.state.fold(d.tensor_index)) and writer.takes_words(d.tensor_index)


def _write_unit(decoder: StreamDecoder, number: int, position: int, writer: TensorWriter) -> dict[int, bytes]:
    # The digests of the tensors of a unit, which have been written.
    model = decoder.parsed.models[number]
    unit, state = model.tensor_units[position], model.state
    if not _goes_in_pieces(decoder, number, position, writer):
        decoded, digests = decoder.decode_unit(number, position)
        for i, words in decoded.items():
            writer.write_tensor(i, words.view(state.dtype(i).numpy).reshape(state.tensors[i].dimension))
        return digests
    index = unit.descriptors[0].tensor_index
    d = unit.descriptors[0]
    with errors_of(unit):
        if d.prediction_mode in BY_TENSOR:
            decoder.budget.check_memory(2 * d.word_count * d.word_bytes, "what a tensor is predicted from")
        pieces = decoder.pieces(number, index)
        assert pieces is not None                      # _goes_in_pieces()

        def work(some: range) -> list[bytes]:
            part = pieces.words(some)
            words = _ROOM.words(part.stop - part.start, pieces.dtype.word)
            digests = pieces.decode(some, words, decoder.verify)
            writer.write_words(index, part.start, words)
            return digests

        found = sum(run_all(work, pieces.stretches(), decoder.threads), [])
        writer.wrote(index)
        return {index: decoder.joined_digest(number, unit, pieces, found)}
