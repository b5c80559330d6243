"""Lossless coding of words: floats, integers, and their differences against a predictor (SPEC 8.4, 9.5).

Every word becomes (zero or not, class, sign, mantissa): the class is the order of magnitude, the
mantissa the bits below it.  Classes and the two top mantissa bits are arithmetic coded with a scale
expected from the row and the column; the bits that look random go to the bypass substream `raw`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..bitstream.structures import WordParameters
from ..dtypes import DType
from .bins_coding import subtract_predictor
from .range_coder import Coder, Strings, encoder_start, new_contexts
from .word_loop import Survey, decode_rows, encode_rows, survey
from .word_parts import BUFFER_FULL, MALFORMED, OCTAVE, OK, RAW_EXHAUSTED
from .word_steps import CONTEXTS, MODELLED_SIGNS, NO_SIGNS, WEIGHT_START, WINDOW_MAX

__all__ = ["BUFFER_FULL", "MALFORMED", "OK", "RAW_EXHAUSTED", "choose_parameters", "decode_words",
           "encode_words", "estimate_bits", "new_word_contexts"]

CHUNK = 1 << 15             # elements staged as int64 at a time
SAMPLE = 1 << 15            # elements coded for an estimate
TRIED_FROM = 256            # elements from which parameters are worth one
UNTRIED_RULE = 2            # scale_rule of differences otherwise: the exponent of the predictor says how large they are

State = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]

_PLAIN = WordParameters()


def new_word_contexts() -> np.ndarray:
    """The contexts of word coding in their starting state: int32 [n]. They persist through a joined stream."""
    return new_contexts(CONTEXTS)


# Words and values (SPEC 8.4): all arrays are int64 here, 64-bit words as their two's complement.

def signed(x: np.ndarray, bits: int) -> np.ndarray:
    """Modulo 2^bits into -2^(bits-1) .. 2^(bits-1)-1."""
    return x << (64 - bits) >> (64 - bits)


def _ordered(words: np.ndarray, dtype: DType) -> np.ndarray:
    """Words as signed integers whose order is that of the values; -0 takes the free one, -2^(bits-1)."""
    if dtype.kind != "f" or not dtype.sign:
        return words
    magnitude = words & ((1 << (dtype.bits - 1)) - 1)
    negative = (words >> (dtype.bits - 1)) & 1
    return np.where(negative & (magnitude != 0), -magnitude, magnitude - (negative << (dtype.bits - 1)))


def _unordered(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Inverse of _ordered, x modulo 2^bits."""
    if dtype.kind != "f" or not dtype.sign:
        return x
    x = signed(x, dtype.bits)
    top = -1 << (dtype.bits - 1)
    return np.where((x < 0) & (x != top), -x | top, x)


def _values(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters) -> np.ndarray:
    """Words as the int64 values that are coded: the words (floats) or signed differences, less their shift."""
    words = words.astype(np.int64)
    if predictor is not None:
        words = signed(_ordered(words, dtype) - _ordered(predictor.astype(np.int64), dtype), dtype.bits)
    elif dtype.kind != "f":
        words = signed(words - as_int64(params.offset), dtype.bits)
    return words >> params.shift


def _words(values: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters) -> np.ndarray:
    """Inverse of _values: unsigned words."""
    words = values << params.shift
    if predictor is not None:
        words = _unordered(words + _ordered(predictor.astype(np.int64), dtype), dtype)
    elif dtype.kind != "f":
        words = words + as_int64(params.offset)
    if dtype.bits < 64:
        words &= (1 << dtype.bits) - 1
    return words.astype(dtype.word)


def difference(words: np.ndarray, predictor: np.ndarray, dtype: DType) -> np.ndarray:
    """Differences of ordered integers modulo 2^bits, as words (SPEC 8.4.2): any entropy mode can code them."""
    out = np.empty(words.shape, words.dtype)
    flat = [np.ascontiguousarray(a).reshape(-1) for a in (words, predictor, out)]
    if dtype.bits == 64:
        flat = [a.view(np.int64) for a in flat]
    subtract_predictor(dtype.kind == "f" and dtype.sign, dtype.bits, *flat)
    return out


def add_difference(words: np.ndarray, predictor: np.ndarray, dtype: DType) -> None:
    """Inverse of difference(), in place."""
    for part in _chunks(words.shape):
        words[part] = _words(words[part].astype(np.int64), predictor[part], dtype, _PLAIN)


def as_int64(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _exponents(predictor: np.ndarray | None, dtype: DType) -> np.ndarray:
    """Exponent fields of a float predictor as int32; nothing where there is none."""
    if predictor is None or dtype.kind != "f":
        return np.zeros((0, 0), np.int32)
    return ((predictor >> dtype.mantissa) & ((1 << dtype.exponent) - 1)).astype(np.int32)


def layout_of(dtype: DType, predictor: np.ndarray | None, params: WordParameters) -> np.ndarray:
    """What the loop needs to know of the type and of the parameters, as int64."""
    is_float = dtype.kind == "f" and predictor is None
    mantissa = max(dtype.mantissa - params.shift, 0) if is_float else 0
    max_class = 1 << dtype.exponent if is_float else max(dtype.bits - params.shift, 1)
    return np.array([is_float, dtype.exponent + mantissa, mantissa, max_class, params.zeros, params.signs,
                     params.row_shifts, params.scale_rule, params.trailing], np.int64)


def _new_state(shape: tuple[int, int], dtype: DType, predictor: np.ndarray | None, params: WordParameters) -> State:
    """Column means and counts, zeros and signs of the row above, past words and their table, scalars (SPEC 9.5.2)."""
    usual = 4
    if dtype.kind == "f":
        usual = (1 << dtype.exponent >> 1) - 5 + (0 if predictor is None else dtype.mantissa - 7)
    weight = WEIGHT_START[params.scale_rule]
    window = 1
    if dtype.kind == "f" and predictor is None:
        window = min(WINDOW_MAX, 1 << max(shape[0] * shape[1] - 1, 1).bit_length())
    scalars = [usual * OCTAVE, 0, weight, weight, 0, 0, params.repeats, 0, 0, 0, 0, 0]
    return (np.zeros(shape[1], np.int64), np.zeros(shape[1], np.int64), np.zeros(window, np.int64),
            np.zeros(window, np.int32), np.array(scalars, np.int64))


def _chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, CHUNK // max(1, shape[1]))
    return (slice(i, min(i + step, shape[0])) for i in range(0, shape[0], step))


def encode_words(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters,
                 contexts: np.ndarray, strings: Strings) -> int:
    """Code one segment (whole rows of a folded tensor) of words (SPEC 9.5).

    words: [rows, cols], unsigned of dtype.word, below 2^dtype.bits.  predictor: the same, or None.
    contexts: from new_word_contexts(), adapted in place, as the strings are.
    Returns a status.  BUFFER_FULL: grow both strings and code the segment anew from copies of contexts and strings made
    before; OK otherwise.
    """
    layout = layout_of(dtype, predictor, params)
    state = _new_state(words.shape, dtype, predictor, params)
    for rows in _chunks(words.shape):
        part = None if predictor is None else predictor[rows]
        values = _values(words[rows], part, dtype, params)
        strings.r, strings.raw_bit, status = encode_rows(
            values, _exponents(part, dtype), layout, *state, contexts, Coder(*strings.r), strings.buf, strings.raw,
            strings.raw_bit)
        if status != OK:
            return int(status)
    return OK


def decode_words(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters,
                 contexts: np.ndarray, strings: Strings) -> int:
    """Inverse of encode_words: fills words [rows, cols].

    Returns a status of word_parts; after an error the contents of words are undefined.
    """
    layout = layout_of(dtype, predictor, params)
    state = _new_state(words.shape, dtype, predictor, params)
    for rows in _chunks(words.shape):
        part = None if predictor is None else predictor[rows]
        values = np.empty(words[rows].shape, np.int64)
        strings.r, strings.raw_bit, status = decode_rows(
            values, _exponents(part, dtype), layout, *state, contexts, Coder(*strings.r), strings.buf, strings.raw,
            strings.raw_bit)
        if status != OK:
            return int(status)
        words[rows] = _words(values, part, dtype, params)
    return OK


# The encoder's choices (informative).

def choose_parameters(words: np.ndarray, dtype: DType, predictor: np.ndarray | None = None, *, trials: bool = True
                      ) -> WordParameters:
    """Parameters that suit the words [rows, cols]; predictor: None or an array like them.

    trials: code a part of them with each choice that may pay; else only what one look at the words tells is chosen.
    """
    params, is_float = WordParameters(), dtype.kind == "f" and predictor is None
    if predictor is None and dtype.kind != "f" and words.size:
        params.offset = median(words, dtype)
    gathered = _choose_signs(params, words, dtype, predictor)
    bits = dtype.mantissa if is_float else dtype.bits - 1
    while params.shift < bits and not gathered >> params.shift & 1:
        params.shift += 1
    if not trials:
        params.scale_rule = UNTRIED_RULE if predictor is not None else params.scale_rule
        return params
    if words.size >= TRIED_FROM and words.shape[1] >= 16:
        plain = estimate_bits(words, predictor, dtype, params)
        params.row_shifts = 1
        if estimate_bits(words, predictor, dtype, params) >= plain:
            params.row_shifts = 0
    if is_float and _has_skewed_low_bits(words, dtype, params):
        params.trailing = 1
    if words.size >= TRIED_FROM and dtype.kind == "f" and predictor is None:
        params.repeats = 1
        plain = estimate_bits(words, predictor, dtype, replace(params, repeats=0))
        if estimate_bits(words, predictor, dtype, params) >= plain:
            params.repeats = 0
    if words.size >= TRIED_FROM and min(words.shape) > 4:
        costs = {}
        for rule in range(3):
            params.scale_rule = rule
            costs[rule] = estimate_bits(words, predictor, dtype, params)
        params.scale_rule = min(costs, key=costs.__getitem__)
    return params


def _choose_signs(params: WordParameters, words: np.ndarray, dtype: DType, predictor: np.ndarray | None) -> int:
    # Enters how zeros and signs are coded; returns all values, put together by OR.
    is_float = dtype.kind == "f" and predictor is None
    magnitude = (1 << (dtype.bits - dtype.sign)) - 1 if is_float else -1
    sign = dtype.bits - 1 if is_float and dtype.sign else 63 if not is_float else 62
    found = np.zeros(len(Survey._fields), np.int64)
    for rows in _chunks(words.shape):
        values = _values(words[rows], None if predictor is None else predictor[rows], dtype, params)
        survey(values.reshape(-1), magnitude, sign, found)
    seen = Survey(*found.tolist())
    params.zeros = int(seen.zeros > 0)
    if seen.negative == 0 and not seen.minus_zeros:
        params.signs = NO_SIGNS
    elif min(seen.negative, seen.positive) < 0.45 * (seen.negative + seen.positive):
        params.signs = MODELLED_SIGNS
    return seen.gathered


def _has_skewed_low_bits(words: np.ndarray, dtype: DType, params: WordParameters) -> bool:
    """Whether the lowest mantissa bit that varies is 0 clearly more often than 1."""
    if dtype.mantissa - params.shift < 3:
        return False
    sample = words.reshape(-1)[:: max(1, words.size // SAMPLE)].astype(np.int64)
    sample = sample[(sample & ((1 << (dtype.bits - dtype.sign)) - 1)) != 0] >> params.shift
    zeros = int(((sample & 1) == 0).sum())
    return bool(sample.size > 64 and zeros - sample.size / 2 > 2.5 * math.sqrt(sample.size))


def median(words: np.ndarray, dtype: DType) -> int:
    """The word in the middle of a sample, if it spares an unsigned or shifted array its bias; else 0."""
    sample = words.reshape(-1)[:: max(1, words.size // 65536)].astype(np.int64)
    if dtype.kind == "i":
        sample = signed(sample, dtype.bits)
    middle = np.sort(sample)[sample.size // 2]
    spread = np.abs(sample - middle)
    if np.median(spread) * 4 > abs(int(middle)):
        return 0
    return int(middle) & ((1 << dtype.bits) - 1)


def estimate_bits(words: np.ndarray, predictor: np.ndarray | None, dtype: DType,
                  params: WordParameters | None = None) -> float:
    """Estimate of the coded size in bits, from a band of rows of at most about 32768 elements, coded for real."""
    if words.size == 0:
        return 0.0
    rows = max(1, min(words.shape[0], SAMPLE // max(1, words.shape[1])))
    first = (words.shape[0] - rows) // 2
    words_part = words[first:first + rows, :SAMPLE]
    part = None if predictor is None else predictor[first:first + rows, :SAMPLE]
    params = params or choose_parameters(words_part, dtype, part)
    raw = np.zeros(words_part.size * (dtype.bits // 8 + 2) + 64, np.uint8)
    buf = np.zeros(words_part.size * 5 + 1024, np.uint8)
    strings = Strings(encoder_start(buf), buf, raw)
    status = encode_words(words_part, part, dtype, params, new_word_contexts(), strings)
    assert status == OK
    return (8.0 * (strings.r.pos + strings.r.pending) + strings.raw_bit) * words.size / words_part.size
