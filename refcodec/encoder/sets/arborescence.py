"""Spanning trees of least cost in a directed graph: the algorithm of Chu and Liu, and of Edmonds (informative)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def minimal_parents(weight: np.ndarray) -> list[int]:
    """For each of n nodes its parent in the tree of least total weight from the root.

    weight: float64 [n + 1, n]; [i, j] is the cost of i as the parent of j, infinite where it cannot be; row n is the
    root and finite.  Returns n parents, each 0..n.
    """
    count = weight.shape[1]
    weight = np.array(weight, np.float64)
    weight[range(count), range(count)] = np.inf
    parents = [int(weight[:, j].argmin()) for j in range(count)]
    cycle = _cycle(parents, count)
    if not cycle:
        return parents
    # The cycle becomes one node, the last. Entering it at j replaces the edge of the cycle that led to j.
    outside = [j for j in range(count) if j not in cycle]
    sources = [*outside, count]                                # of edges into the cycle; the root is the last
    smaller = np.full((len(outside) + 2, len(outside) + 1), np.inf)
    to_outside = weight[np.ix_(cycle, outside)] if outside else np.empty((len(cycle), 0))
    rows = [*range(len(outside)), len(outside) + 1]
    smaller[np.ix_(rows, range(len(outside)))] = weight[np.ix_(sources, outside)]
    smaller[len(outside), : len(outside)] = to_outside.min(axis=0)
    extra = weight[np.ix_(sources, cycle)] - weight[[parents[j] for j in cycle], cycle]
    smaller[rows, len(outside)] = extra.min(axis=1)
    found = minimal_parents(smaller)
    for n, j in enumerate(outside):
        if found[n] == len(outside):
            parents[j] = cycle[int(to_outside[:, n].argmin())]
        else:
            parents[j] = count if found[n] > len(outside) else outside[found[n]]
    entered = rows.index(found[len(outside)])
    parents[cycle[int(extra[entered].argmin())]] = sources[entered]
    return parents


def _cycle(parents: Sequence[int], root: int) -> list[int]:
    """The nodes of one cycle, [] where all paths lead to the root."""
    for start in range(len(parents)):
        path, node = [], start
        while node != root and node not in path:
            path.append(node)
            node = parents[node]
        if node != root:
            return path[path.index(node):]
    return []
