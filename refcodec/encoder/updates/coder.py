"""Updates by factors and masks (S4): fitted to two models, or made elsewhere (informative)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...bitstream.structures import DECOMPOSED, MASKS, Representation, TensorDescriptor
from ...errors import ConfigError
from ...reconstruction.decomposition import Decomposition, decompose
from ...reconstruction.masks import gather
from ...reconstruction.random_integers import random_choice
from ...reconstruction.representations import chosen, filled
from ..candidate import Candidate, Part, Prediction, set_prediction
from ..components import uniform_component, words_component
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


@dataclass
class Change:
    """What an update of a matrix leads from and to: values [rows, columns].

    prediction: where base is from.  base: finite, or None: what replaces a tensor without a reference.
    """

    target: np.ndarray
    prediction: Prediction | None = None
    base: np.ndarray | None = None

    @cached_property
    def decomposition(self) -> Decomposition | None:
        """Of base."""
        return None if self.base is None else decompose(self.base.astype(np.float64))

    def delta(self, additive: bool = True) -> np.ndarray:
        """float64: what is to be added to base, if the update is; else the target."""
        base = self.base.astype(np.float64) if self.base is not None and additive else 0.0
        return self.target.astype(np.float64) - base


def _change(job: TensorJob, prediction: Prediction | None) -> Change | None:
    """From a prediction to the tensor; None where it is not finite."""
    target = job.matrix(job.words).view(job.dtype.numpy)
    base = None if prediction is None else job.matrix(prediction.words).view(job.dtype.numpy)
    finite = base is None or np.isfinite(base.astype(np.float64)).all()
    return Change(target, prediction, base) if finite else None


def code_update(job: TensorJob) -> Candidate | None:
    """A tensor as an update of its first reference: the one made elsewhere, or one that is fitted; None if none
    applies.

    Raises ConfigError BAD_CONFIG for factors that do not fit the tensor.
    """
    asked = job.config.updating
    given = asked.factors.get(job.tensor.name)
    if asked.kind == "fp" and given is None:
        return row_mask_candidate(job)
    prediction = job.predictions[0] if job.predictions else None
    if job.dtype.parts != 1 or job.dtype.kind != "f" or not job.tensor.size or (prediction is None and given is None):
        return None
    change = _change(job, prediction)
    if change is None:
        return None
    update = given or _fitted(asked, change)
    return _masked(job, update, change) if update.representation in MASKS else _factored(job, update, change)


def low_rank_candidates(job: TensorJob, quantiser_step: float) -> list[Candidate]:
    """Differences from the references as products, with about the error that levels of a quantiser step would have."""
    if min(job.shape) > FACTOR_SIDE:
        return []
    found = []
    for change in filter(None, (_change(job, prediction) for prediction in job.predictions)):
        fit = fit_low_rank_to_error(change.delta(), quantiser_step * quantiser_step / 12)
        if fit is not None:
            found.append(_factored(job, fit[0], change, fit[1]))
    return found


def _fitted(asked: Update, change: Change) -> FactorUpdate:
    delta = change.delta()
    rank = min(asked.rank, *delta.shape)
    if asked.kind == "rm":
        return fit_random_mask(asked.fraction, asked.seed)
    if asked.kind == "lru":
        return fit_low_rank_update(delta, max(1, rank), asked.seed)
    if asked.kind in DECOMPOSING:
        assert change.decomposition is not None
        if asked.kind == "ka":
            return fit_augmentation(delta, change.decomposition, rank)
        return fit_mapping(delta, change.decomposition, max(1, rank))
    return fit_low_rank(delta, max(1, rank))


def _factored(job: TensorJob, update: FactorUpdate, change: Change, error: float | None = None) -> Candidate:
    """error: what quantising may add to the mean squared error; None: balanced."""
    decomposed = update.representation in DECOMPOSED
    if change.base is None and decomposed:
        raise ConfigError("BAD_CONFIG",
                          f"{job.tensor.name}: {update.representation.name} updates a reference, there is none")
    decomposition = change.decomposition if decomposed else None
    if error is None:
        error = balanced_error(update, change.delta(update.additive), decomposition)
    shape = change.target.shape[0], change.target.shape[1]
    factors = update.quantised(shape, error, decomposition)
    d = _descriptor(update, change)
    shapes = [f.indices.shape for f in factors]
    augmented = update.representation == Representation.AUGMENTATION
    without_product = 0 if augmented else shapes[0][1]
    d.factor.factor_rank = shapes[-1][0] if len(shapes) > 1 else without_product
    d.factor.gain_count_minus1 = shapes[0][1] - 1 if augmented else 0
    components = [(uniform_component((f.mantissa, f.exponent), mode=job.config.tools.level_mode),
                   np.ascontiguousarray(f.indices, np.int32)) for f in factors]
    return job.coded(job.factored(d, components, change.base))


def _descriptor(update: FactorUpdate, change: Change) -> TensorDescriptor:
    rows, columns = change.target.shape
    d = TensorDescriptor(representation=update.representation, row_count=rows, column_count=columns)
    set_prediction(d, change.prediction)
    d.factor.additive_flag = int(update.additive)
    d.factor.random_seed, d.factor.random_density = update.seed, update.density
    return d


def _masked(job: TensorJob, update: FactorUpdate, change: Change) -> Candidate:
    """The chosen elements or rows, lossless, as differences where there is a prediction."""
    d = _descriptor(update, change)
    words = change.target.view(job.dtype.word)
    predictor = None if change.base is None else change.base.view(job.dtype.word)
    update.check((d.row_count, d.column_count))
    if update.rows is not None:
        d.factor.row_mask = np.packbits(update.rows).tobytes()
        d.factor.selected_count = int(np.count_nonzero(update.rows))
        shape = -1, d.column_count
    else:
        d.factor.selected_count = int(random_choice(update.seed, update.density, words.size).sum())
        shape = 1, d.factor.selected_count
    mask = chosen(d)
    kept = gather(words, mask).reshape(shape)
    kept_base = None if predictor is None else gather(predictor, mask).reshape(shape)
    part = Part(words_component(kept, job.dtype, kept_base), kept if kept.size else None, job.dtype, kept_base)
    decoded = job.flat(filled(d, kept, mask, predictor))
    return job.coded(Candidate(d, decoded, job.dtype, [part]))


def row_mask_candidate(job: TensorJob) -> Candidate | None:
    """The rows that are not all zero; None where there are no others, or masks do not pay."""
    if job.joined or job.dtype.parts != 1 or not job.words.size:
        return None
    matrix = job.matrix(job.words)
    update = fit_row_mask(matrix)
    if update.rows is None or update.rows.all():
        return None
    return _masked(job, update, Change(matrix.view(job.dtype.numpy)))
