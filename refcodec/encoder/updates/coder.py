"""Updates by factors and masks (S4): fitted to two models, or made elsewhere (informative)."""

from __future__ import annotations

import numpy as np

from ...bitstream.structures import (
    DECOMPOSED,
    MASKS,
    Component,
    EntropyMode,
    Quantiser,
    Representation,
    TensorDescriptor,
    UniformParameters,
)
from ...entropy.words import choose_parameters
from ...errors import ConfigError
from ...reconstruction.decomposition import Decomposition, decompose
from ...reconstruction.factors import Factor
from ...reconstruction.masks import gather, scatter
from ...reconstruction.random_integers import random_choice
from ...reconstruction.representations import chosen, rebuilt
from ..candidate import Candidate, Part, Prediction, set_prediction
from ..config import Config
from ..config_parts import DECOMPOSING, Update
from ..tensor_job import TensorJob
from .factors import (
    FactorUpdate,
    balanced_error,
    fit_augmentation,
    fit_low_rank,
    fit_low_rank_to_error,
    fit_low_rank_update,
    fit_mapping,
    fit_random_mask,
    fit_row_mask,
)

FACTOR_SIDE = 1024        # smaller side of the matrices whose difference is tried as a product unasked


def code_update(job: TensorJob, config: Config) -> Candidate | None:
    """A tensor as an update of its first reference: the one made elsewhere, or one that is fitted; None if none
    applies.

    Raises ConfigError BAD_CONFIG for factors that do not fit the tensor.
    """
    asked = config.updating
    if asked.kind == "fp" and job.tensor.name not in asked.factors:
        return row_mask_candidate(job, job.tensor.words, config)
    prediction = job.predictions[0] if job.predictions else None
    given = asked.factors.get(job.tensor.name)
    if job.dtype.parts != 1 or job.dtype.kind != "f" or not job.tensor.size or (prediction is None and given is None):
        return None
    base = None if prediction is None else job.matrix(prediction.words).view(job.dtype.numpy)
    if base is not None and not np.isfinite(base.astype(np.float64)).all():
        return None
    target = job.matrix(job.tensor.words).view(job.dtype.numpy)
    decomposition = None
    needs = given.representation in DECOMPOSED if given else asked.kind in DECOMPOSING
    if needs and base is not None:
        decomposition = decompose(base.astype(np.float64))
    update = given or _fitted(asked, target, base, decomposition)
    if update.representation in MASKS:
        return masked(job, update, target, base, prediction, config)
    return _factored(job, update, target, base, prediction, decomposition, config)


def low_rank_candidates(job: TensorJob, config: Config, step: float) -> list[Candidate]:
    """Differences from the references as products, with about the error that levels of `step` would have."""
    found = []
    for prediction in job.predictions if min(job.shape) <= FACTOR_SIDE else []:
        base = job.matrix(prediction.words).view(job.dtype.numpy)
        target = job.matrix(job.tensor.words).view(job.dtype.numpy)
        if not np.isfinite(base.astype(np.float64)).all():
            continue
        fit = fit_low_rank_to_error(target.astype(np.float64) - base.astype(np.float64), step * step / 12)
        if fit is not None:
            found.append(_factored(job, fit[0], target, base, prediction, None, config, fit[1]))
    return found


def _fitted(asked: Update, target: np.ndarray, base: np.ndarray, decomposition: Decomposition | None) -> FactorUpdate:
    delta = target.astype(np.float64) - base.astype(np.float64)
    rank = min(asked.rank, *delta.shape)
    if asked.kind == "ka":
        return fit_augmentation(delta, decomposition, rank)
    if asked.kind == "ml":
        return fit_mapping(delta, decomposition, max(1, rank))
    if asked.kind == "lru":
        return fit_low_rank_update(delta, max(1, rank), asked.seed)
    if asked.kind == "rm":
        return fit_random_mask(asked.fraction, asked.seed)
    if asked.kind == "fp":
        return fit_row_mask(target.view(f"u{target.itemsize}"))
    return fit_low_rank(delta, max(1, rank))


def _factored(job: TensorJob, update: FactorUpdate, target: np.ndarray, base: np.ndarray | None,
              prediction: Prediction | None, decomposition: Decomposition | None, config: Config,
              error: float | None = None) -> Candidate:
    if base is None and update.representation in DECOMPOSED:
        raise ConfigError("BAD_CONFIG",
                          f"{job.tensor.name}: {update.representation.name} updates a reference, there is none")
    added = base is not None and update.additive
    delta = target.astype(np.float64) - (base.astype(np.float64) if added else 0.0)
    if error is None:
        error = balanced_error(update, delta, decomposition)
    factors = update.quantised(target.shape, error, decomposition)
    d = _descriptor(update, target.shape, prediction)
    shapes = [f.indices.shape for f in factors]
    augmented = update.representation == Representation.AUGMENTATION
    without_product = 0 if augmented else shapes[0][1]
    d.factor.factor_rank = shapes[-1][0] if len(shapes) > 1 else without_product
    d.factor.gain_count_minus1 = shapes[0][1] - 1 if augmented else 0
    values = rebuilt(d, factors, job.dtype, base)
    found = Candidate(d, job.flat(values.view(job.dtype.word)), job.dtype, [_part(f, job, config) for f in factors])
    return job.coded(found, config)


def _part(factor: Factor, job: TensorJob, config: Config) -> Part:
    c = Component(Quantiser.UNIFORM, config.tools.level_mode,
                  uniform=UniformParameters(0, factor.mantissa, factor.exponent))
    narrow = np.ascontiguousarray(factor.indices, np.int32)
    return Part(c, narrow, job.dtype)


def _descriptor(update: FactorUpdate, shape: tuple[int, int], prediction: Prediction | None) -> TensorDescriptor:
    d = TensorDescriptor(representation=update.representation, row_count=shape[0], column_count=shape[1])
    set_prediction(d, prediction)
    d.factor.additive_flag = int(update.additive)
    d.factor.random_seed, d.factor.random_density = update.seed, update.density
    return d


def masked(job: TensorJob, update: FactorUpdate, target: np.ndarray, base: np.ndarray | None,
           prediction: Prediction | None, config: Config) -> Candidate:
    """The chosen elements or rows, lossless, as differences where there is a prediction."""
    d = _descriptor(update, target.shape, prediction)
    words = target.view(job.dtype.word)
    predictor = None if base is None else base.view(job.dtype.word)
    if update.representation == Representation.ROW_MASK:
        d.factor.row_mask = np.packbits(update.rows).tobytes()
        d.factor.selected_count = int(np.count_nonzero(update.rows))
    else:
        d.factor.selected_count = _selected(update, target.size)
    mask = chosen(d)
    shape = (1, d.factor.selected_count) if update.representation == Representation.RANDOM_MASK else (-1,
                                                                                                      target.shape[1])
    kept = gather(words, mask).reshape(shape)
    kept_base = None if predictor is None else gather(predictor, mask).reshape(shape)
    parameters = choose_parameters(kept, job.dtype, kept_base)
    c = Component(Quantiser.NONE, EntropyMode.CC, word=parameters, word_offset_flag=int(parameters.offset != 0))
    decoded = scatter(kept, mask, predictor if update.representation == Representation.RANDOM_MASK else None)
    part = Part(c, kept if kept.size else None, job.dtype, kept_base)
    found = Candidate(d, job.flat(decoded), job.dtype, [part])
    return job.coded(found, config)


def _selected(update: FactorUpdate, count: int) -> int:
    return int(random_choice(update.seed, update.density, count).sum())


def row_mask_candidate(job: TensorJob, words: np.ndarray, config: Config) -> Candidate | None:
    """The rows that are not all zero; None where there are no others, or masks do not pay."""
    if job.joined or job.dtype.parts != 1 or not words.size:
        return None
    matrix = job.matrix(words)
    update = fit_row_mask(matrix)
    if update.rows.all():
        return None
    return masked(job, update, matrix.view(job.dtype.numpy), None, None, config)
