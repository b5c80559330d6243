"""The Laplacian rate-distortion model of weights, and distances between the weights of two models (informative).

Model compression for sets (IEEE TCSVT 2020) takes weights as drawn from (Lambda / 2) exp(-Lambda |x|) and quantises
them as level = sign(x) floor(|x| / Q + f), value = level * Q.  With a = Lambda * Q and E = exp(-(1 - f) a):

    level 0 has probability 1 - E, the levels n and -n together E (1 - exp(-a)) exp(-(n - 1) a),
    D = 1/Lambda^2 {2 - a e^(f a) (2 + a - 2 f a) / (e^a - 1)},
    R = 1/ln 2 {-(1 - E) ln(1 - E) + E [ln 2 - ln(1 - e^-a) - f a + a / (1 - e^-a)]}.

The two sums were derived anew from the probabilities: the formulas printed in the paper are right.  As printed they
lose all digits for a below 1e-5 and overflow above 709; what stands here is the same arranged as sums of positive
terms.  f = 0.5 rounds to the nearest level; 0.4 (S2) has a wider zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...errors import ConfigError

ROUNDING = 0.5              # f of a quantiser that rounds to the nearest level
TINY = 1e-30                # mean |x| of what is all zero
SERIES = 24                 # terms that give the integrals below 1 to the last bit
BISECTIONS = 80
HISTOGRAM_BINS = 256
HISTOGRAM_SAMPLE = 1 << 17


def fit(x: np.ndarray) -> float:
    """Lambda = 1 / mean|x|, the maximum likelihood, of the finite elements of an array; 1e30 where all are 0."""
    magnitudes = np.abs(np.asarray(x, np.float64).reshape(-1))
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    return 1.0 / max(float(magnitudes.mean()) if magnitudes.size else 0.0, TINY)


def distortion(scale: float, step: float, f: float = ROUNDING) -> float:
    """Mean squared error D per element.  scale: Lambda > 0.  step: Q > 0.  f: rounding offset, 0 <= f < 1.

    The zero level adds the integral of t^2 e^-t over 0..(1 - f)a, each other level n that over
    -f a..(1 - f)a times e^(-n a), all over Lambda^2.
    """
    a = _product(scale, step, f)
    above = _second_moment((1 - f) * a)
    below = _grown_moment(f * a)
    others = above * math.exp(-a) + below * math.exp(-(1 - f) * a)
    return (above + others / -math.expm1(-a)) / scale**2


def rate(scale: float, step: float, f: float = ROUNDING) -> float:
    """Entropy R of the levels, in bits per element.  Arguments as of distortion()."""
    a = _product(scale, step, f)
    t = (1 - f) * a
    others = math.exp(-t)
    log_zero = math.log(-math.expm1(-t)) if t < 1 else math.log1p(-others)     # ln(1 - e^-t)
    log_decay = math.log(-math.expm1(-a)) if a < 1 else math.log1p(-math.exp(-a))
    nats = math.expm1(-t) * log_zero + others * (math.log(2) - log_decay - f * a + a / -math.expm1(-a))
    return max(nats, 0.0) / math.log(2)


def step_for_rate(scale: float, bits: float, f: float = ROUNDING) -> float:
    """The step at which the model gives `bits` > 0 per element: R falls with the step, bisection over its logarithm."""
    return _solve(lambda a: rate(1.0, a, f), bits, f) / scale


def step_for_distortion(scale: float, error: float, f: float = ROUNDING) -> float:
    """The step at which the model gives a mean squared error 0 < `error` < 2 / Lambda^2, the variance."""
    return _solve(lambda a: -distortion(1.0, a, f), -error * scale**2, f) / scale


def kl_laplacian(p_scale: float, q_scale: float) -> float:
    """Kullback-Leibler divergence D(p || q), in nats, of two Laplacian distributions about 0: ln(P/Q) + Q/P - 1."""
    ratio = q_scale / p_scale
    return max(ratio - 1.0 - math.log(ratio), 0.0)


def kl_histogram(p: np.ndarray, q: np.ndarray, bins: int = HISTOGRAM_BINS) -> float:
    """D(p || q), in nats, of the histograms of two arrays.

    Equal bins cover six mean magnitudes of both on either side, the rest falls into the outermost; half an element
    is added to every bin, so that no bin is empty.  A sample is counted of arrays above 2^17 elements.
    """
    p, q = _finite_sample(p), _finite_sample(q)
    reach = 6 * max(float(np.abs(x).mean()) if x.size else 0.0 for x in (p, q))
    if reach == 0:
        return 0.0
    shares = []
    for x in (p, q):
        counts, _ = np.histogram(np.clip(x, -reach, reach), bins, (-reach, reach))
        shares.append((counts + 0.5) / (x.size + 0.5 * bins))
    return max(float(np.sum(shares[0] * np.log(shares[0] / shares[1]))), 0.0)


def _product(scale: float, step: float, f: float) -> float:
    if not (0 < scale < math.inf and 0 < step < math.inf and 0 <= f < 1):
        raise ConfigError("BAD_CONFIG", f"a Laplacian of scale {scale}, step {step} and rounding offset {f}")
    return min(max(scale * step, 1e-100), 1e100)


def _second_moment(t: float) -> float:
    # Integral of y^2 e^-y over 0..t, t >= 0.
    if t < 1:
        return _series(-t, t)
    return 2.0 - (t * t + 2 * t + 2) * math.exp(-t) if t < 700 else 2.0


def _grown_moment(t: float) -> float:
    # e^-t times the integral of y^2 e^y over 0..t, t >= 0: no larger than t^2.
    return _series(t, t) * math.exp(-t) if t < 1 else t * t - 2 * t + 2 - 2 * math.exp(-t)


def _series(x: float, t: float) -> float:
    # t^3 times the sum of x^k / (k! (k + 3)).
    total, term = 0.0, 1.0
    for k in range(SERIES):
        total += term / (k + 3)
        term *= x / (k + 1)
    return t**3 * total


def _solve(falling: Callable[[float], float], target: float, f: float) -> float:
    # a = Lambda * Q at which a falling function of it is `target`; the end of 1e-12..1e9 that is nearest if none is.
    low, high = math.log(1e-12), math.log(1e9)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(math.exp(middle)) > target else (low, middle)
    return math.exp((low + high) / 2)


def _finite_sample(x: np.ndarray) -> np.ndarray:
    flat = np.asarray(x).reshape(-1)
    sample: np.ndarray = flat[:: -(-flat.size // HISTOGRAM_SAMPLE) or 1].astype(np.float64)
    return np.asarray(sample[np.isfinite(sample)])
