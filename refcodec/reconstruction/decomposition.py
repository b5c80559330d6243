"""The normative singular value decomposition of a reference matrix (SPEC 8.6.7).

LAPACK differs in the last bits from machine to machine; this does not.  Every value is a float64
that comes from + - * / or sqrt, rounded once, and the order of every sum is the one written here: all
sums start at +0 and take their terms by ascending index.  Blocks change what is in the cache, never an
order; nothing is contracted (numba does so only if asked, a C compiler needs -ffp-contract=off).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..compiler import at, compiled, inlined
from ..errors import ReconstructionError

MAX_ITERATIONS = 60          # of QL per eigenvalue
SMALL = 2.0**-56             # of the trace: what counts as zero beside it
SMALL_SQUARE = 2.0**-200     # a rotation of (f, g) with f^2 + g^2 below it is left out
EPSILON = 2.0**-52           # off-diagonals beside their neighbours on the diagonal
ZERO_ENTRY = 2.0**-64        # smaller entries of u become +0
ZERO_NORM = 2.0**-20         # of the largest: rows of P that are shorter give v = 0

_TILE = 64                   # columns, and terms of sums, that are worked on together
_SWEEPS = 8                  # sweeps of rotations that are collected


class Decomposition(NamedTuple):
    """X' ~ sum of n_k u_k v_k^T with X' [m, n], m <= n, the matrix X or its transpose; n_k falls with k.

    u: float64 [m, m], row k is u_k.  v: float64 [m, n], row k is v_k, 0 where n_k is negligible.
    norms: float64 [m], n_k of X' scaled to a largest magnitude of 1/2 up to 1.
    transposed: X' is X^T, so that the v_k are the columns' side of X^T: the left singular vectors of X.
    """

    u: np.ndarray
    v: np.ndarray
    norms: np.ndarray
    transposed: bool

    @property
    def right(self) -> np.ndarray:
        """Right singular vectors of X as rows [m, columns of X]."""
        return self.u if self.transposed else self.v

    @property
    def left(self) -> np.ndarray:
        """Left singular vectors of X as rows [m, rows of X]."""
        return self.v if self.transposed else self.u


def decompose(matrix: np.ndarray) -> Decomposition:
    """Decompose a float64 matrix [rows, columns] by SPEC 8.6.7.

    Working memory: 16 bytes per element and 24 per element of an [m, m] matrix.
    Raises ReconstructionError: RESOURCE_LIMIT beyond the limits; OVERFLOW for a matrix that is not
    finite, or for which the iteration does not end.
    """
    m, n = sorted(matrix.shape)
    if not bool(np.isfinite(matrix).all()):
        raise ReconstructionError("OVERFLOW", "the matrix that a factor update refers to is not finite",
                                  rules="R8.6.7-1")
    transposed = matrix.shape[0] > matrix.shape[1]
    x = _scaled(matrix.T if transposed else matrix)
    u, values = np.zeros((m, m)), np.zeros(m)
    if not _eigenvectors(x, u, values):
        raise ReconstructionError("OVERFLOW", f"an eigenvalue is not found in {MAX_ITERATIONS} iterations",
                                  rules="R8.6.7-2")
    u = _signed(u[np.argsort(-values, kind="stable")])
    v, norms = np.zeros((m, n)), np.zeros(m)
    _project(u, x, v, norms)
    return Decomposition(u, v, norms, transposed)


def _scaled(matrix: np.ndarray) -> np.ndarray:
    # matrix * 2^-e by two multiplications; e: the least integer with |matrix| < 2^e, 0 for zeros
    e = math.frexp(max(float(matrix.max(initial=0.0)), -float(matrix.min(initial=0.0))))[1]
    x = np.ascontiguousarray(matrix * math.ldexp(1.0, -(e // 2)))
    x *= math.ldexp(1.0, e // 2 - e)
    return x


def _signed(u: np.ndarray) -> np.ndarray:
    # The largest magnitude of each row, the first one of equal ones, becomes positive; tiny entries become +0.
    if u.size:
        largest = u[np.arange(len(u)), np.abs(u).argmax(axis=1)]
        u[largest < 0] *= -1.0
        u[np.abs(u) < ZERO_ENTRY] = 0.0
    return u


@compiled
def _eigenvectors(x: np.ndarray, u: np.ndarray, values: np.ndarray) -> int:
    """Eigenvectors of x x^T as rows of u (m x m, zeros on entry) and eigenvalues, in no order; 1, or 0 on failure."""
    m = x.shape[0]
    gram, tile = np.zeros((m, m)), np.zeros((_TILE, _TILE))
    _product(x, x, 1, gram, tile)
    trace = 0.0
    for i in range(m):
        trace += float(gram[at(i), at(i)])
        for j in range(i):
            gram[at(j), at(i)] = gram[at(i), at(j)]
    small = trace * SMALL
    off, halves, p = np.zeros(m), np.zeros(m), np.zeros(m)
    _tridiagonalise(gram, values, off, halves, p, small)
    q = np.zeros((m, m))
    _accumulate(gram, halves, q, p)
    for i in range(m):
        for j in range(m):
            u[at(j), at(i)] = q[at(i), at(j)]
    room = _SWEEPS * m
    return _implicit_ql(values, off, u, np.zeros(room, np.int64), np.zeros(room), np.zeros(room), small)


@compiled
def _project(u: np.ndarray, x: np.ndarray, v: np.ndarray, norms: np.ndarray) -> None:
    """P = u x; norms[k] = |P_k|; v_k = P_k / norms[k], or 0 where the norm is negligible."""
    m, n = x.shape
    _product(u, x, 0, v, np.zeros((_TILE, _TILE)))
    largest = 0.0
    for k in range(m):
        total = 0.0
        for j in range(n):
            total += float(v[at(k), at(j)]) * float(v[at(k), at(j)])
        norms[at(k)] = math.sqrt(total)
        largest = max(largest, float(norms[at(k)]))
    for k in range(m):
        norm = float(norms[at(k)])
        kept = norm > largest * ZERO_NORM
        for j in range(n):
            v[at(k), at(j)] = float(v[at(k), at(j)]) / norm if kept else 0.0


@compiled
def _product(a: np.ndarray, b: np.ndarray, gram: int, out: np.ndarray, tile: np.ndarray) -> None:
    """out = a b, or, with gram 1, the lower triangle (and a little more) of a b^T; out holds +0 on entry.

    Every out[i, j] is a sum over ascending k.
    """
    rows, depth, columns = a.shape[0], a.shape[1], out.shape[1]
    for j0 in range(0, columns, _TILE):
        width = min(_TILE, columns - j0)
        for k0 in range(0, depth, _TILE):
            height = min(_TILE, depth - k0)
            for k in range(height):
                for j in range(width):
                    tile[at(k), at(j)] = b[at(j0 + j), at(k0 + k)] if gram else b[at(k0 + k), at(j0 + j)]
            whole = height & ~3
            for i in range(j0 if gram else 0, rows):
                for k in range(0, whole, 4):
                    f0, f1 = float(a[at(i), at(k0 + k)]), float(a[at(i), at(k0 + k + 1)])
                    f2, f3 = float(a[at(i), at(k0 + k + 2)]), float(a[at(i), at(k0 + k + 3)])
                    for j in range(width):
                        s = float(out[at(i), at(j0 + j)]) + f0 * float(tile[at(k), at(j)])
                        s = s + f1 * float(tile[at(k + 1), at(j)])
                        s = s + f2 * float(tile[at(k + 2), at(j)])
                        out[at(i), at(j0 + j)] = s + f3 * float(tile[at(k + 3), at(j)])
                for k in range(whole, height):
                    f0 = float(a[at(i), at(k0 + k)])
                    for j in range(width):
                        out[at(i), at(j0 + j)] = float(out[at(i), at(j0 + j)]) + f0 * float(tile[at(k), at(j)])


@inlined
def _tridiagonalise(a: np.ndarray, diagonal: np.ndarray, off: np.ndarray, halves: np.ndarray, p: np.ndarray,
                    small: float) -> None:
    """Householder reflections of the symmetric a: reflector k is left in a[k, k+1:], half its square in halves[k].

    halves[k] = 0: there is none.  off[k] stands between diagonal[k] and diagonal[k + 1].
    """
    m = a.shape[0]
    for k in range(m - 1):
        diagonal[at(k)] = a[at(k), at(k)]
        head, tail = float(a[at(k), at(k + 1)]), 0.0
        for i in range(k + 2, m):
            tail += float(a[at(k), at(i)]) * float(a[at(k), at(i)])
        off[at(k)], halves[at(k)] = head, 0.0
        if tail <= small * small:
            continue
        norm = math.sqrt(head * head + tail)
        off[at(k)] = -norm if head >= 0.0 else norm
        head = head + norm if head >= 0.0 else head - norm
        a[at(k), at(k + 1)] = head
        half = norm * abs(head)
        halves[at(k)] = half
        for i in range(k + 1, m):
            p[at(i)] = 0.0
        for j in range(k + 1, m):
            f = float(a[at(k), at(j)])
            for i in range(k + 1, m):
                p[at(i)] += f * float(a[at(j), at(i)])
        total = 0.0
        for i in range(k + 1, m):
            p[at(i)] = float(p[at(i)]) / half
            total += float(p[at(i)]) * float(a[at(k), at(i)])
        c = total / half * 0.5
        for i in range(k + 1, m):
            p[at(i)] = float(p[at(i)]) - c * float(a[at(k), at(i)])
        for j in range(k + 1, m):
            f, g = float(a[at(k), at(j)]), float(p[at(j)])
            for i in range(k + 1, m):
                a[at(j), at(i)] = float(a[at(j), at(i)]) - (f * float(p[at(i)]) + g * float(a[at(k), at(i)]))
    if m:
        diagonal[at(m - 1)] = a[at(m - 1), at(m - 1)]


@inlined
def _accumulate(a: np.ndarray, halves: np.ndarray, q: np.ndarray, g: np.ndarray) -> None:
    """q = the product of the reflections of _tridiagonalise, from the last to the first; q holds +0 on entry."""
    m = a.shape[0]
    for i in range(m):
        q[at(i), at(i)] = 1.0
    for step in range(m - 1):
        k = m - 2 - step
        half = float(halves[at(k)])
        if half == 0.0:
            continue
        for j in range(k + 1, m):
            g[at(j)] = 0.0
        for i in range(k + 1, m):
            f = float(a[at(k), at(i)])
            for j in range(k + 1, m):
                g[at(j)] += f * float(q[at(i), at(j)])
        for j in range(k + 1, m):
            g[at(j)] = float(g[at(j)]) / half
        for i in range(k + 1, m):
            f = float(a[at(k), at(i)])
            for j in range(k + 1, m):
                q[at(i), at(j)] = float(q[at(i), at(j)]) - f * float(g[at(j)])


@inlined
def _implicit_ql(d: np.ndarray, e: np.ndarray, z: np.ndarray, row: np.ndarray, cosine: np.ndarray, sine: np.ndarray,
                 small: float) -> int:
    """Eigenvalues of the tridiagonal (d, e) in d, while its rotations turn rows of z; 1, or 0 if one is not found.

    row, cosine, sine: rotations that are still to be applied to z, in this order.
    """
    m, count = len(d), 0
    for low in range(m):
        iteration = 0
        while True:
            high = low
            while high < m - 1:
                size = abs(float(e[at(high)]))
                if size <= EPSILON * (abs(float(d[at(high)])) + abs(float(d[at(high + 1)]))) or size <= small:
                    break
                high += 1
            if high == low:
                break
            if iteration == MAX_ITERATIONS:
                return 0
            iteration += 1
            if count + m > len(row):
                _rotate(z, row, cosine, sine, count)
                count = 0
            count = _sweep(d, e, low, high, row, cosine, sine, count)
    _rotate(z, row, cosine, sine, count)
    return 1


@inlined
def _sweep(d: np.ndarray, e: np.ndarray, low: int, high: int, row: np.ndarray, cosine: np.ndarray, sine: np.ndarray,
           count: int) -> int:
    """One QL sweep with Wilkinson's shift over d[low .. high]; returns the number of rotations then collected."""
    g = (float(d[at(low + 1)]) - float(d[at(low)])) / (2.0 * float(e[at(low)]))
    r = math.sqrt(g * g + 1.0)
    g = float(d[at(high)]) - float(d[at(low)]) + float(e[at(low)]) / (g + r if g >= 0.0 else g - r)
    s, c, p = 1.0, 1.0, 0.0
    e[at(high)] = 0.0
    for step in range(high - low):
        i = high - 1 - step
        f, b = s * float(e[at(i)]), c * float(e[at(i)])
        square = f * f + g * g
        if square < SMALL_SQUARE:                # the sweep has come apart here
            e[at(i + 1)] = 0.0
            d[at(i + 1)] = float(d[at(i + 1)]) - p
            return count
        r = math.sqrt(square)
        e[at(i + 1)] = r if step else 0.0
        s, c = f / r, g / r
        g = float(d[at(i + 1)]) - p
        r = (float(d[at(i)]) - g) * s + 2.0 * c * b
        p = s * r
        d[at(i + 1)] = g + p
        g = c * r - b
        row[at(count)], cosine[at(count)], sine[at(count)] = i, c, s
        count += 1
    d[at(low)] = float(d[at(low)]) - p
    e[at(low)] = g
    return count


@compiled
def _rotate(z: np.ndarray, row: np.ndarray, cosine: np.ndarray, sine: np.ndarray, count: int) -> None:
    """Rows i and i + 1 of z for each rotation in turn; columns a tile at a time."""
    m = z.shape[1]
    for j0 in range(0, m, _TILE):
        end = min(j0 + _TILE, m)
        for t in range(count):
            i, c, s = int(row[at(t)]), float(cosine[at(t)]), float(sine[at(t)])
            for j in range(j0, end):
                f, g = float(z[at(i), at(j)]), float(z[at(i + 1), at(j)])
                z[at(i + 1), at(j)] = s * f + c * g
                z[at(i), at(j)] = c * f - s * g
