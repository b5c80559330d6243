"""Lossless coding of the words of feature maps, with contexts from neighbours in the plane (SPEC 9.6).

The matrix [rows, columns] is a pile of planes of `plane_rows` rows, one per channel.  A predictor (the frame before)
gives contexts and may be repeated; nothing is subtracted.  What suits the words stands before each segment in the
bypass substream, so that the descriptor needs nothing but the entropy mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..dtypes import DType
from .map_loop import CONTEXTS, PREDICTED, SETTINGS, WEIGHT_ONE, decode_map_rows, encode_map_rows
from .range_coder import Coder, Strings, encoder_start, new_contexts
from .word_parts import BAD_SHIFT, BUFFER_FULL, OCTAVE, OK, RAW_EXHAUSTED
from .words import as_int64, median, signed

__all__ = ["BAD_SHIFT", "BUFFER_FULL", "OK", "RAW_EXHAUSTED", "MapParameters", "choose_map_parameters", "decode_map",
           "encode_map", "estimate_map_bits", "new_map_contexts"]

CHUNK = 1 << 15             # elements staged as int64 at a time
SAMPLE = 1 << 16            # elements coded for an estimate
REPEATED_SHARE = 0.004      # of elements that equal a neighbour: fewer are not worth their symbols


@dataclass
class MapParameters:
    """What a segment begins with (SPEC 9.6.2).

    equals: map_equal_flag, 0..1: words equal to the upper, the left or the last repeated one are coded as such.
    signs:  map_sign_flag, 0..1: signs are coded; 0: no word is negative (nor -0).
    shift:  map_shift, 0..63: low bits of mantissa (float) or integer that are zero in all elements.
    offset: map_offset, 0..2^bits-1: subtracted modulo 2^bits from integer words.
    """

    equals: int = 1
    signs: int = 1
    shift: int = 0
    offset: int = 0


def new_map_contexts() -> np.ndarray:
    """The contexts of map coding in their starting state: int32 [n]. They persist through a joined payload."""
    return new_contexts(CONTEXTS)


def _values(words: np.ndarray, dtype: DType, params: MapParameters) -> np.ndarray:
    """Words as the int64 values that are coded: signed if the type has a sign, less their offset and shift."""
    x = words.astype(np.int64)
    if dtype.kind != "f":
        x = signed(x - as_int64(params.offset), dtype.bits)
    elif dtype.sign:
        x = signed(x, dtype.bits)
    return x >> params.shift


def _words(values: np.ndarray, dtype: DType, params: MapParameters) -> np.ndarray:
    """Inverse of _values: unsigned words."""
    x = values << params.shift
    if dtype.kind != "f":
        x = x + as_int64(params.offset)
    if dtype.bits < 64:
        x &= (1 << dtype.bits) - 1
    return x.astype(dtype.word)


def _fields(dtype: DType) -> dict[str, int]:
    """The parameters in the order of the bypass substream, and their bits."""
    return {"equals": 1, "signs": 1, "shift": 6, **({"offset": dtype.bits} if dtype.kind != "f" else {})}


def put_parameters(params: MapParameters, dtype: DType, raw: np.ndarray, bit: int) -> int:
    """Writes them at a bit position of raw; returns the next one, or -1 where there is no room."""
    value, count = 0, 0
    for name, bits in _fields(dtype).items():
        value, count = value << bits | getattr(params, name), count + bits
    end = bit + count
    if end > 8 * len(raw):
        return -1
    first, pad = bit >> 3, -end % 8
    kept = int(raw[first]) >> (8 - (bit & 7)) if bit & 7 else 0
    data = ((kept << count | value) << pad).to_bytes((end + 7) // 8 - first, "big")
    raw[first:first + len(data)] = np.frombuffer(data, np.uint8)
    return end


def _get_parameters(dtype: DType, raw: np.ndarray, bit: int) -> tuple[MapParameters, int]:
    """Inverse of put_parameters."""
    params, fields = MapParameters(), _fields(dtype)
    end = bit + sum(fields.values())
    if end > 8 * len(raw):
        return params, -1
    value = int.from_bytes(raw[bit >> 3:(end + 7) // 8].tobytes(), "big") >> (-end % 8)
    for name, bits in reversed(fields.items()):
        setattr(params, name, value & ((1 << bits) - 1))
        value >>= bits
    return params, end


def layout_of(dtype: DType, params: MapParameters, plane_rows: int) -> np.ndarray:
    """What the loop needs to know of the type and of the parameters, as int64."""
    is_float = dtype.kind == "f"
    mantissa = max(dtype.mantissa - params.shift, 0) if is_float else 0
    max_class = 1 << dtype.exponent if is_float else max(dtype.bits - params.shift, 1)
    return np.array([is_float, dtype.exponent + mantissa, mantissa, max_class, plane_rows, params.signs, params.equals],
                    np.int64)


def _new_state(columns: int, dtype: DType, first_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours above and their values, weights by setting, scalars (SPEC 9.6.2)."""
    usual = (1 << dtype.exponent >> 1) - 1 if dtype.kind == "f" else 4
    weights = np.zeros((SETTINGS, 2), np.int64)
    weights[:PREDICTED, 0] = WEIGHT_ONE
    weights[PREDICTED:] = WEIGHT_ONE // 2
    scalars = [first_row, usual * OCTAVE, 0, usual * OCTAVE, 0, 0, 0, 0, 0]
    return np.zeros(columns + 1, np.int64), np.zeros(columns, np.int64), weights, np.array(scalars, np.int64)


def _chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, CHUNK // max(1, shape[1]))
    return (slice(i, min(i + step, shape[0])) for i in range(0, shape[0], step))


def _staged(predictor: np.ndarray | None, rows: slice, dtype: DType, params: MapParameters) -> np.ndarray:
    return np.zeros((0, 0), np.int64) if predictor is None else _values(predictor[rows], dtype, params)


def encode_map(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, contexts: np.ndarray, strings: Strings, *,
               plane_rows: int, first_row: int = 0, params: MapParameters | None = None) -> int:
    """Code one segment (whole rows of a folded tensor) of words (SPEC 9.6).

    words: [rows, columns], unsigned of dtype.word, below 2^dtype.bits.  predictor: the same, or None.
    contexts: from new_map_contexts(), adapted in place, as the strings are.
    plane_rows: at least 1.  first_row: where the segment begins; planes begin at multiples of plane_rows.
    params: None: chosen here.
    Returns a status.  BUFFER_FULL: grow both strings and code the segment anew from copies of contexts and strings made
    before; OK otherwise.
    """
    params = params or choose_map_parameters(words, dtype)
    raw_bit = put_parameters(params, dtype, strings.raw, strings.raw_bit)
    if raw_bit < 0:
        return BUFFER_FULL
    strings.raw_bit = raw_bit
    layout, state = layout_of(dtype, params, plane_rows), _new_state(words.shape[1], dtype, first_row)
    for rows in _chunks(words.shape):
        values, part = _values(words[rows], dtype, params), _staged(predictor, rows, dtype, params)
        strings.r, strings.raw_bit, status = encode_map_rows(
            values, part, layout, *state, contexts, Coder(*strings.r), strings.buf, strings.raw, strings.raw_bit)
        if status != OK:
            return int(status)
    return OK


def decode_map(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, contexts: np.ndarray, strings: Strings, *,
               plane_rows: int, first_row: int = 0) -> int:
    """Inverse of encode_map: fills words [rows, columns].

    Returns a status of word_parts; after an error the contents of words are undefined.
    """
    params, raw_bit = _get_parameters(dtype, strings.raw, strings.raw_bit)
    if raw_bit < 0:
        return RAW_EXHAUSTED
    strings.raw_bit = raw_bit
    if params.shift > (dtype.mantissa if dtype.kind == "f" else dtype.bits - 1):
        return BAD_SHIFT
    layout, state = layout_of(dtype, params, plane_rows), _new_state(words.shape[1], dtype, first_row)
    for rows in _chunks(words.shape):
        values, part = np.empty(words[rows].shape, np.int64), _staged(predictor, rows, dtype, params)
        strings.r, strings.raw_bit, status = decode_map_rows(
            values, part, layout, *state, contexts, Coder(*strings.r), strings.buf, strings.raw, strings.raw_bit)
        if status != OK:
            return int(status)
        words[rows] = _words(values, dtype, params)
    return OK


# The encoder's choices (informative).

def choose_map_parameters(words: np.ndarray, dtype: DType) -> MapParameters:
    """Parameters that suit the words [rows, columns]."""
    params = MapParameters()
    if dtype.kind != "f" and words.size:
        params.offset = median(words, dtype)
    gathered, lowest, repeated = 0, 0, 0
    for rows in _chunks(words.shape):
        values = _values(words[rows], dtype, params)
        gathered |= int(np.bitwise_or.reduce(values, axis=None))
        lowest = min(lowest, int(values.min(initial=0)))
        repeated += int(((values[:, 1:] == values[:, :-1]) & (values[:, 1:] != 0)).sum())
        repeated += int(((values[1:] == values[:-1]) & (values[1:] != 0)).sum())
    params.signs = int(lowest < 0)
    params.equals = int(repeated > REPEATED_SHARE * words.size)
    bits = dtype.mantissa if dtype.kind == "f" else dtype.bits - 1
    while params.shift < bits and not gathered >> params.shift & 1:
        params.shift += 1
    return params


def estimate_map_bits(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, plane_rows: int) -> float:
    """Estimate of the coded size in bits, from planes of about 65536 elements (at least one plane), coded for real."""
    if words.size == 0:
        return 0.0
    planes = max(1, SAMPLE // (plane_rows * words.shape[1]))
    first = max(0, (words.shape[0] // plane_rows - planes) // 2) * plane_rows
    part = slice(first, first + planes * plane_rows)
    sample, before = words[part], None if predictor is None else predictor[part]
    raw = np.zeros(sample.size * (dtype.bits // 8 + 2) + 64, np.uint8)
    buf = np.zeros(sample.size * 8 + 1024, np.uint8)
    strings = Strings(encoder_start(buf), buf, raw)
    status = encode_map(sample, before, dtype, new_map_contexts(), strings, plane_rows=plane_rows)
    assert status == OK
    return (8.0 * (strings.r.pos + strings.r.pending) + strings.raw_bit) * words.size / sample.size
