"""Tensors that are decoded piece by piece, each straight into its place (SPEC 8.8, 9.12).

Where fold, scan and representation move nothing, the words of a tensor stand in its payload in their order. If they are
coded in chunks that are independent (BINS), any piece of the tensor's digest can be decoded and verified by itself: the
pieces of a tensor in threads, each while it lies in the cache, and those of a slice without the others.
"""

from __future__ import annotations

import numpy as np

from .bitstream.structures import BY_NEIGHBOURS, Component, Quantiser, Representation, TensorDescriptor
from .digests import PIECE_BYTES, check_piece_digests, piece_digests, pieces_of_slice, words_of_pieces
from .dtypes import DType
from .entropy.bins import Payload
from .entropy.bins_four import FOUR
from .entropy.bins_plane import CHUNK_ELEMENTS
from .entropy.modes import Whole, opener
from .errors import EntropyError
from .fold import Fold
from .parallel import run_all
from .reconstruction.components import Payloads


def in_pieces(d: TensorDescriptor, fold: Fold) -> bool:
    """True if a tensor can be decoded piece by piece."""
    if d.joined or d.representation != Representation.DIRECT or d.prediction_mode in BY_NEIGHBOURS or not d.component:
        return False
    c = d.component[0]
    still = tuple(fold.axis_order) == tuple(range(len(fold.axis_order))) and not d.column_scan_flag
    return bool(still and c.coded_flag and c.quantiser == Quantiser.NONE and opener(c.entropy_mode))


STRETCH_MAX = 2


def stretch_pieces(word_bytes: int) -> int:
    """How many pieces of words of so many bytes are decoded together: STRETCH_MAX at most, for memory's sake."""
    wanted = FOUR * CHUNK_ELEMENTS * word_bytes // PIECE_BYTES
    return wanted if 1 < wanted <= STRETCH_MAX else 1


class Pieces:
    """The pieces of a tensor of which in_pieces() is true.

    name: for messages.  predictor: the words to which those that are coded are differences, flat, or None.

    Raises EntropyError, with the bit of the payload: its header, or sizes that do not add up. Nothing is allocated for
    the elements.
    """

    def __init__(self, d: TensorDescriptor, dtype: DType, name: str, payloads: Payloads,
                 predictor: np.ndarray | None = None):
        self.d, self.dtype, self.name, self.payloads = d, dtype, name, payloads
        self.count = d.piece_count
        try:
            self.payload = self._opened(d.component[0], predictor)
        except EntropyError as error:
            raise self._placed(error) from None

    def _opened(self, c: Component, predictor: np.ndarray | None) -> Payload:
        open_payload = opener(c.entropy_mode)
        assert open_payload is not None                # in_pieces()
        return open_payload(Whole(c, self.dtype, predictor), self.payloads.fetch, self.payloads.size)

    def _placed(self, error: EntropyError) -> EntropyError:
        error.bit = self.payloads.bit() if error.bit is None else error.bit
        return error

    def stretches(self) -> list[range]:
        """All pieces, in stretches that are decoded fastest: the words of four chunks (bins_four.py), or one piece."""
        step = stretch_pieces(self.d.word_bytes)
        return [range(k, min(k + step, self.count)) for k in range(0, self.count, step)]

    def words(self, pieces: range) -> slice:
        """Where the words of successive pieces stand among those of the tensor."""
        return slice(*words_of_pieces(pieces, self.d.word_count, self.d.word_bytes))

    def decode(self, pieces: range, out: np.ndarray, verify: bool = True) -> list[bytes]:
        """The words of successive pieces into `out`, which has as many. Returns their digests, to be compared.

        verify: False leaves digests out, for measurements; there are none then.  Raises EntropyError.
        """
        part, chunk = self.words(pieces), CHUNK_ELEMENTS
        try:
            self.payload.decode(range(part.start // chunk, -(-part.stop // chunk)), out)
        except EntropyError as error:
            raise self._placed(error) from None
        return piece_digests(out) if verify else []

    def between(self, first: int, end: int, threads: int = 1) -> np.ndarray:
        """Words `first` to `end`, first < end, of a tensor whose pieces have digests; their pieces are decoded.

        Raises EntropyError, ReconstructionError DIGEST_MISMATCH.
        """
        wanted = pieces_of_slice(first, end, self.d.word_count, self.d.word_bytes)
        begin, stop = words_of_pieces(wanted, self.d.word_count, self.d.word_bytes)
        words = np.empty(stop - begin, self.dtype.word)

        def work(k: int) -> None:
            part = self.words(range(k, k + 1))
            digests = self.decode(range(k, k + 1), words[part.start - begin : part.stop - begin])
            check_piece_digests(self.d.piece_digests, digests, self.name, k)

        run_all(work, wanted, threads)
        return words[first - begin : end - begin]
