"""An update of S4 as a stream, and back: no torch on this side."""

from __future__ import annotations

import numpy as np
from coding import Coded, send
from networks import Parameters
from s4_methods import Free, Trainable

from refcodec import Config
from refcodec.bitstream.structures import MASKS, Representation
from refcodec.dtypes import BY_NAME
from refcodec.encoder.updates.factors import FactorUpdate
from refcodec.entropy.words import add_difference, difference

FLOAT = BY_NAME["float32"]
NOISE_DB = 20.0              # power of an update over the error that quantising it makes,
FINE_DB = 30.0               # and for biases, normalisations, and products that replace their weight
MANTISSA_BITS = 23


def send_update(refined: Parameters, deployed: Parameters, made: dict[str, Trainable], free: Free) -> Coded:
    """An update by factors and masks, its biases and normalisations beside them, as the receiver rebuilds it.

    made, free: the weights under a method, and what was trained.  Products that replace their weight (LOW_RANK, the
    paper's LRA) are sent without a reference.
    """
    updates = {name: m.update(free[name], noise_of(refined[name], deployed[name], "x" not in m.frozen))
               for name, m in made.items()}
    replaced = any(u.representation == Representation.LOW_RANK for u in updates.values())
    target = {}
    for name, array in refined.items():
        update = updates.get(name)
        by_words = update is None or update.representation in MASKS
        target[name] = _fewer_bits(array, deployed[name], update, not replaced) if by_words else array
    # Mixed coding needs the high profile and gains nothing on arrays as short as these.
    config = Config(factors=updates, entropy="auto", profile="main")
    return send(target, config, None if replaced else deployed)


def noise_of(refined: np.ndarray, deployed: np.ndarray, fine: bool) -> float:
    """The mean squared error that quantising an update may add."""
    power = float(np.square(refined.astype(np.float64) - deployed).mean())
    return power * 10 ** (-(FINE_DB if fine else NOISE_DB) / 10)


def snapped(array: np.ndarray, base: np.ndarray, error: float) -> np.ndarray:
    """The array, changed so that its words differ from those of `base` by multiples of a power of two.

    Lossless coding of the differences then leaves out the low bits (SPEC 9.5, word_shift).  The power is the largest
    that keeps the mean squared change within `error`; what equals its base stays.
    """
    words, base_words = (np.ascontiguousarray(a, np.float32).reshape(1, -1).view(np.uint32) for a in (array, base))
    moved = difference(words, base_words, FLOAT).view(np.int32).astype(np.int64)
    best = words
    for shift in range(1, MANTISSA_BITS + 1):
        rounded = ((moved + (1 << shift - 1)) >> shift << shift).astype(np.uint32)
        add_difference(rounded, base_words, FLOAT)
        values = rounded.view(np.float32).astype(np.float64)
        if not np.isfinite(values).all() or np.square(values - array.reshape(1, -1)).mean() > error:
            break
        best = rounded
    return best.view(np.float32).reshape(array.shape)


def _fewer_bits(array: np.ndarray, deployed: np.ndarray, update: FactorUpdate | None, predicted: bool) -> np.ndarray:
    # A vector, or the chosen elements of a mask, which the codec sends as words: with as many bits as the noise leaves.
    rows = slice(None) if update is None or update.rows is None else update.rows
    noise = noise_of(array[rows], deployed[rows], fine=update is None)
    kept = array.copy()
    kept[rows] = snapped(array[rows], deployed[rows] if predicted else np.zeros_like(deployed[rows]), noise)
    return kept
