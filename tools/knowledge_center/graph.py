"""Chains of streams: the shortest path, in bytes, from what a receiver has to what it wants."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NOTHING = ""              # the digest of what everybody has


@dataclass(frozen=True)
class Edge:
    """A stream.  object: its SHA-256.  size: bytes.  reference: digest of the model that it needs, or NOTHING.

    model, result: number and digest of the model that it gives.
    """

    object: str
    size: int
    reference: str
    model: int
    result: str


def shortest_chain(edges: Sequence[Edge], have: Iterable[str], want: int) -> list[Edge] | None:
    """The streams of fewest bytes, then of fewest steps, from NOTHING or `have` to model `want`; None: no way.

    have: digests of models.  Tensors alone serve as a reference, but the last stream must be one of `want` itself, with
    its source file.
    """
    leaving: dict[str, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.reference, []).append(edge)
    reached: dict[str, tuple[int, int, Edge | None]] = dict.fromkeys((NOTHING, *have), (0, 0, None))
    waiting = [(0, 0, digest) for digest in reached]
    heapq.heapify(waiting)
    while waiting:
        size, steps, digest = heapq.heappop(waiting)
        if (size, steps) > reached[digest][:2]:
            continue
        for edge in leaving.get(digest, ()):
            found = (size + edge.size, steps + 1)
            if edge.result not in reached or found < reached[edge.result][:2]:
                reached[edge.result] = (*found, edge)
                heapq.heappush(waiting, (*found, edge.result))
    last = [e for e in edges if e.model == want and e.reference in reached]
    if not last:
        return None
    edge = min(last, key=lambda e: (reached[e.reference][0] + e.size, reached[e.reference][1]))
    chain = [edge]
    while (before := reached[chain[-1].reference][2]) is not None:
        chain.append(before)
    return chain[::-1]
