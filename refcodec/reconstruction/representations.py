"""Representations: the components of a tensor make up its matrix (SPEC 8.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bitstream.structures import DECOMPOSED, MASKS, Representation, TensorDescriptor
from ..dtypes import DType
from ..entropy.watch import observer
from ..quantization.assembly import assemble, chunks
from .components import Layout, Payloads, decode_factor, decode_words
from .decomposition import Decomposition, decompose
from .factors import Factor, augmentation, low_rank, low_rank_update, mapping
from .masks import gather, random_mask, row_mask, scatter


def decode_matrix(d: TensorDescriptor, layout: Layout, payloads: Sequence[Payloads], predictor: np.ndarray | None,
                  threads: int = 1) -> np.ndarray:
    """The words [rows, columns] of a tensor's matrix (SPEC 8.6).

    payloads: of each component.  predictor: words of the predicting tensor, folded alike, or None.
    """
    if d.representation == Representation.DIRECT:
        return decode_words(d.component[0], layout, payloads[0], predictor, threads)
    if d.representation in MASKS:
        return _masked(d, layout, payloads[0], predictor, threads)
    factors = [decode_factor(c, Layout(layout.dtype), p, threads) for c, p in zip(d.component, payloads)]
    base = None if predictor is None else predictor.view(layout.dtype.numpy)
    return rebuilt(d, factors, layout.dtype, base).view(layout.dtype.word)


def rebuilt(d: TensorDescriptor, factors: Sequence[Factor], dtype: DType, base: np.ndarray | None) -> np.ndarray:
    """The values of a matrix from its factors and the values of the predicting one (SPEC 8.6.1 to 8.6.4)."""
    observer().values_begin(None)
    with np.errstate(all="ignore"):
        decomposition = None
        if d.representation in DECOMPOSED:
            assert base is not None                    # R7.7.1-11
            decomposition = decompose(base.astype(np.float64))
        added = residual(d.representation, factors, d.column_count, d.factor.random_seed, decomposition)
        if d.representation == Representation.MAPPING and not d.factor.additive_flag:
            base = None
        return assemble(chunks(added.reshape(-1)), added.shape, dtype, base)


def residual(representation: int, factors: Sequence[Factor], columns: int, seed: int = 0,
             decomposition: Decomposition | None = None) -> np.ndarray:
    """D [rows, columns], float64, of a product of factors (SPEC 8.6.1 to 8.6.4).

    seed: of LOW_RANK_UPDATE.  decomposition: of the predicting matrix, of MAPPING and AUGMENTATION.
    """
    if representation == Representation.LOW_RANK:
        return low_rank(*factors)
    if representation == Representation.LOW_RANK_UPDATE:
        return low_rank_update(factors[0], seed, columns)
    assert decomposition is not None
    if representation == Representation.MAPPING:
        return mapping(decomposition, *factors)
    return augmentation(decomposition, *factors)


def chosen(d: TensorDescriptor) -> np.ndarray:
    """bool [rows, columns]: the elements that a mask chooses (SPEC 8.6.5)."""
    if d.representation == Representation.RANDOM_MASK:
        return random_mask(d.factor.random_seed, d.factor.random_density, d.row_count, d.column_count,
                           d.factor.selected_count)
    flags = np.unpackbits(np.frombuffer(d.factor.row_mask, np.uint8), count=d.row_count)
    return row_mask(flags, d.column_count, d.factor.selected_count)


def _masked(d: TensorDescriptor, layout: Layout, payloads: Payloads, predictor: np.ndarray | None,
            threads: int) -> np.ndarray:
    mask, c = chosen(d), d.component[0]
    kept = None if predictor is None else gather(predictor, mask).reshape(c.row_count, c.column_count)
    words = decode_words(c, Layout(layout.dtype), payloads, kept, threads)
    return filled(d, words, mask, predictor)


def filled(d: TensorDescriptor, kept: np.ndarray, mask: np.ndarray, predictor: np.ndarray | None) -> np.ndarray:
    """The words [rows, columns] of a matrix of which a mask chooses the ones that are kept (SPEC 8.6.5)."""
    # What is not sent stays as it is predicted, but removed rows are removed: their words are 0.
    return scatter(kept, mask, predictor if d.representation == Representation.RANDOM_MASK else None)
