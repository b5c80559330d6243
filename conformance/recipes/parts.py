"""Parts of coded tensors: explicit words or levels, a quantiser, an entropy mode."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import (
    BYTES,
    RANGE_CODED,
    ByteParameters,
    Codebook,
    Component,
    EntropyMode,
    FactorParameters,
    FixedPoint,
    IntegerCodebook,
    Payload,
    PredictionMode,
    Quantiser,
    Representation,
    TensorDescriptor,
    UniformParameters,
    WordParameters,
)
from refcodec.dtypes import BY_NAME, DType
from refcodec.encoder.candidate import Part
from refcodec.entropy.huffman import encode_huffman
from refcodec.entropy.words import difference
from refcodec.reconstruction.random_integers import random_words

from .bins_payload import usual_payload
from .builder import Coded, compressed_payload

MODES, Q, P, R = EntropyMode, Quantiser, PredictionMode, Representation
WORD_MODES = [m for m in MODES if m.facts.words]
WORD_BLOCKS = [m for m in RANGE_CODED if m.facts.words]            # range coded, as blocks of words,
LEVEL_BLOCKS = [m for m in RANGE_CODED if m.facts.levels]          # and of levels


def highest(modes: Iterable[EntropyMode]) -> Profile:
    """The profile that has all of some modes."""
    return max(m.facts.profile for m in modes)


def integers(seed: int, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """int64 array of integers low..high, from words of the generator of SPEC 8.6.6."""
    count = int(np.prod(shape))
    found = [low + int(w) % (high - low + 1) for w in random_words(seed, 0, count)]
    return np.array(found, np.int64).reshape(shape)


def small_levels(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """int32 levels, half of them zero, the others small, a few larger."""
    size, kind = integers(seed, shape, -3, 3), integers(seed + 1, shape, 0, 15)
    return np.where(kind < 8, 0, np.where(kind == 15, size * 37, size)).astype(np.int32)


def any_words(seed: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Words of any bits: NaN payloads, infinities, subnormals, signed zeros."""
    t = BY_NAME[dtype]
    mask = 1 if t.name == "bool" else (1 << t.bits) - 1
    found = [int(w) & mask for w in random_words(seed, 0, int(np.prod(shape)))]
    return np.array(found, t.word).reshape(shape)


def float_words(seed: int, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Words of ordinary floats of either sign: magnitudes of 2^-8 to 2, some zeros."""
    t = BY_NAME[dtype]
    bias = (1 << t.exponent - 1) - 1
    sign, exponent = integers(seed, shape, 0, 1), integers(seed + 1, shape, bias - min(8, bias - 1), bias)
    mantissa = integers(seed + 2, shape, 0, (1 << min(t.mantissa, 40)) - 1) << max(0, t.mantissa - 40)
    words = sign << (t.bits - 1) | exponent << t.mantissa | mantissa
    return np.where(integers(seed + 3, shape, 0, 9) == 0, 0, words).astype(t.word)


# Components


def words(dtype: str | DType, matrix: np.ndarray, mode: EntropyMode = MODES.CC, predictor: np.ndarray | None = None,
          quantiser: Quantiser = Q.NONE, scales: bytes = b"", planes: bool = False, entries: int = 1,
          **parameters) -> Part:
    """Lossless words [rows, columns]. parameters: of WordParameters."""
    t = BY_NAME[dtype] if isinstance(dtype, str) else dtype
    c = Component(quantiser, mode, grid_scales=scales, word=WordParameters(**parameters),
                  word_offset_flag=int(parameters.get("offset", 0) != 0), entry_count_minus1=entries - 1)
    part = Part(c, np.ascontiguousarray(matrix), t, predictor)
    coded = part.array if predictor is None else difference(part.array, predictor, t)
    return _coded_bytes(part, coded, t.word.itemsize, False, planes)


def levels(matrix: np.ndarray, component: Component, mode: EntropyMode = MODES.CC, width: int = 4, planes: bool = False,
           kernel_size: int = 1, dtype: str = "float32", entries: int = 1) -> Part:
    """Levels [rows, columns] of any quantiser. width: bytes of a level where bytes are coded."""
    component.entropy_mode, component.entry_count_minus1 = mode, entries - 1
    wide = component.quantiser == Q.DECIMAL and mode not in RANGE_CODED
    part = Part(component, np.ascontiguousarray(matrix, np.int64 if wide else np.int32), BY_NAME[dtype],
                kernel_size=kernel_size)
    return _coded_bytes(part, part.array, width, True, planes)


def _coded_bytes(part: Part, values: np.ndarray, width: int, signed: bool, planes: bool) -> Part:
    mode, data = part.component.entropy_mode, None
    if mode in BYTES or mode == MODES.RAW:
        part.component.byte = ByteParameters(width.bit_length() - 1, int(planes))
        kind = np.dtype(f"<{'i' if signed else 'u'}{width}")
        data = values.astype(kind).tobytes() if mode == MODES.RAW else compressed_payload(
            values, mode, width, signed, planes)
    elif mode == MODES.HUFFMAN:
        data = encode_huffman(values, bound=7)
    elif mode == MODES.BINS:
        data = usual_payload(values, None if signed else part.dtype, part.predictor is not None)
    if data is not None:
        part.payloads = [Payload(len(data), 0, data, b"")]
    return part


def nothing() -> Part:
    """No array: for components that code nothing."""
    return Part(Component(), None, BY_NAME["float32"])


def uniform(mantissa: int = 1, exponent: int = -6, trellis_size: int = 0) -> Component:
    return Component(Q.UNIFORM, uniform=UniformParameters(trellis_size, mantissa, exponent))


def codebook(entries: np.ndarray, zero_index: int) -> Component:
    data = entries.astype(entries.dtype.newbyteorder("<")).tobytes()
    return Component(Q.CODEBOOK, codebook=Codebook(len(entries) - 1, zero_index, data))


def decimal(exponent: int = 4) -> Component:
    return Component(Q.DECIMAL, decimal_exponent=exponent)


def fixed_point(width: int = 9, fraction_bits: int = 6) -> Component:
    return Component(Q.FIXED_POINT, fixed_point=FixedPoint(width, fraction_bits))


def integer_codebook(entries: list[int], zero_index: int, mantissa: int = 3, exponent: int = -7) -> Component:
    return Component(Q.INTEGER_CODEBOOK, uniform=UniformParameters(0, mantissa, exponent),
                     integer_codebook=IntegerCodebook(len(entries) - 1, zero_index, entries))


# Tensors

def direct(part: Part, column_scan: int = 0) -> Coded:
    """A tensor without prediction."""
    return Coded(TensorDescriptor(column_scan_flag=column_scan), [part])


def predicted(part: Part, mode: PredictionMode, reference_index: int = 0, delta: int = 0,
              column_scan: int = 0) -> Coded:
    """A tensor predicted from another."""
    return Coded(TensorDescriptor(prediction_mode=mode, reference_index=reference_index, reference_tensor_delta=delta,
                                  column_scan_flag=column_scan), [part])


def copy(reference_index: int = 0, delta: int = 0) -> Coded:
    return Coded(TensorDescriptor(prediction_mode=P.COPY, reference_index=reference_index,
                                  reference_tensor_delta=delta))


def spatial(part: Part, predictor: int, mode: PredictionMode = P.SPATIAL) -> Coded:
    return Coded(TensorDescriptor(prediction_mode=mode, spatial_predictor=predictor), [part])


def represented(representation: Representation, parts: list[Part], prediction: PredictionMode = P.NONE,
                reference_index: int = 0, delta: int = 0, column_scan: int = 0, **factor) -> Coded:
    """A tensor of factors, or some elements of one. factor: of FactorParameters."""
    return Coded(
        TensorDescriptor(prediction_mode=prediction, reference_index=reference_index, reference_tensor_delta=delta,
                         representation=representation, column_scan_flag=column_scan,
                         factor=FactorParameters(**factor)), parts)
