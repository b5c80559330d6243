"""Which tensors are quantised, which finely, which not at all (informative)."""

from __future__ import annotations

import fnmatch
from enum import Enum

import numpy as np

from ..fold import Fold
from ..formats.roles import guess_role
from ..model import Model, Role, Tensor
from .config import Config
from .config_parts import DECIMAL_QUANTISERS, Rule

QUANTISED_TYPES = ("float32", "float16", "bfloat16", "float64")
WEIGHTS = (Role.WEIGHT, Role.RECURRENT_WEIGHT, Role.EMBEDDING)
FINE = (Role.BIAS, Role.NORM_SCALE, Role.NORM_BIAS)
OTHER_MINIMUM = 4096        # elements from which a matrix of unknown use counts as weights


class Treatment(Enum):
    QUANTISE = "quantise"
    FINE = "fine"
    LOSSLESS = "lossless"


def roles_of(model: Model) -> list[Role]:
    """The role of each tensor: by its layer, else by its name; integer and steering roles win."""
    found: dict[int, Role] = {}
    for layer in model.layers:
        for index, role, _ in layer.tensors:
            if found.get(index, Role.OTHER) in (Role.OTHER, *WEIGHTS):
                found[index] = role if role != Role.OTHER else found.get(index, role)
    return [found[i] if i in found else guess_role(t.name, t.shape, t.dtype) for i, t in enumerate(model.tensors)]


def folds_of(model: Model) -> list[Fold]:
    """The fold of each tensor: the one that a layer gives, else the default."""
    folds = [Fold.default(t.shape) for t in model.tensors]
    for layer in reversed(model.layers):
        for index, _, fold in layer.tensors:
            if fold is not None:
                folds[index] = fold
    return folds


def rule_of(tensor: Tensor, config: Config) -> Rule | None:
    """The rule that decides a tensor's treatment: the first that fits its name; None if none does."""
    return next((rule for rule in config.rules if fnmatch.fnmatchcase(tensor.name, rule.match)), None)


def step_of(tensor: Tensor, config: Config, step: float) -> float:
    """The step of a quantised tensor, where that of those without a rule or a scale is `step`."""
    rule = rule_of(tensor, config)
    return step * (config.scales.get(tensor.name, 1.0) if rule is None else rule.scale)


def treatment(tensor: Tensor, role: Role, config: Config) -> Treatment:
    """What lossy coding does with a tensor. Integers, scalars and what steers shapes stay exact."""
    if not config.lossy or tensor.dtype.name not in QUANTISED_TYPES or tensor.size < 2 or not tensor.shape:
        return Treatment.LOSSLESS
    rule = rule_of(tensor, config)
    if rule is not None:
        return Treatment(rule.treatment)
    if isinstance(config.own_quantiser, DECIMAL_QUANTISERS):
        return Treatment.QUANTISE            # S1 and S2 treat all weights alike
    matrix = len(tensor.shape) >= 2
    if matrix and (role in WEIGHTS or (role == Role.OTHER and tensor.size >= OTHER_MINIMUM)):
        return Treatment.QUANTISE
    if config.own_quantiser or config.aim.step is None and config.updating.kind:
        return Treatment.LOSSLESS
    if role in FINE or (role in WEIGHTS and not matrix):
        return Treatment.FINE
    return Treatment.LOSSLESS


def is_finite(array: np.ndarray) -> bool:
    """No NaN and no infinity; checked in pieces."""
    flat = array.reshape(-1)
    return all(np.isfinite(flat[i : i + (1 << 20)]).all() for i in range(0, flat.size, 1 << 20))
