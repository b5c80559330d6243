"""What failures have in common: features of streams, ranked by how closely failing goes with them.

A feature is suspected by Fisher's exact test, one-sided: if as many streams failed, but any of them, how probable would
it be that so many of those with the feature are among them?  Many features are tried, so that probability is multiplied
by their number (Bonferroni).  The share of failures alone would not do: it accuses each rare feature that occurs only
beside the guilty one.  Two features together, or choices that meet in one tensor, are suspected where that says more
than one feature alone, although there are many more of them.

The best suspect explains the streams that have it.  They are left out, and the others are looked at again, until no
failures are left or nothing tells them from chance.  Streams that must be decoded and streams that must be rejected
are looked at apart: what goes wrong in one of them is often right in the other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations

from .manifest import Manifest, Rejected, Stream

CHOICES = ("prediction_mode", "representation", "quantiser", "entropy_mode")    # of a feature of four words
CHANCE = 0.05                     # the probability from which on it may be chance
SUSPECTS_MAX = 8                  # of either kind of streams
SAME_MAX = 3                      # of features in the same streams that a line names
TOGETHER = " with "               # between features that are suspected together


@dataclass(frozen=True)
class Suspect:
    """A feature, or features together, and how the streams fare that no earlier suspect explains.

    same: other features of exactly the same streams.  rejected: of streams that must be rejected, not decoded.
    failing of streams with it, failing_others of the others; probability: of chance, at most.
    """

    name: str
    features: tuple[str, ...]
    same: tuple[str, ...]
    rejected: bool
    failing: int
    streams: int
    failing_others: int
    others: int
    probability: float

    def text(self) -> str:
        """One line."""
        kind = "to reject" if self.rejected else "to decode"
        named = [*self.same[:SAME_MAX], *([f"{len(self.same) - SAME_MAX} more"] if len(self.same) > SAME_MAX else [])]
        same = f" (or, in the same streams, {', '.join(named)})" if named else ""
        return (f"{self.name}{same}: {self.failing} of {self.streams} streams {kind} fail, {self.failing_others} of "
                f"{self.others} without (chance: {self.probability:.0e})")

    def data(self) -> dict[str, object]:
        """All of it as plain values."""
        return asdict(self)


def suspects(manifest: Manifest, failed: Mapping[str, bool]) -> list[Suspect]:
    """The suspects of a run, each after the ones that explain more. failed: id to whether it failed, if it was run."""
    found: list[Suspect] = []
    for rejected in (False, True):
        streams = [s for s in manifest.streams if s.id in failed and isinstance(s.expected, Rejected) == rejected]
        found += _suspects_of(streams, sum(failed[s.id] << i for i, s in enumerate(streams)), rejected)
    return found


# Sets of streams are integers: bit i is stream i.

@dataclass(frozen=True)
class _Candidates:
    """Features, or features together, that are tried alike: name, then its parts and its streams."""

    parts: Mapping[str, tuple[str, ...]]
    streams: Mapping[str, int]


def _suspects_of(streams: Sequence[Stream], failing: int, rejected: bool) -> list[Suspect]:
    left = (1 << len(streams)) - 1
    found: list[Suspect] = []
    candidates = _candidates(streams, failing)
    while failing & left and len(found) < SUSPECTS_MAX:
        best = _best(candidates, failing, left, rejected)
        if best is None:
            break
        found.append(best[0])
        left &= ~best[1]
    return found


def _best(candidates: Iterable[_Candidates], failing: int, left: int, rejected: bool) -> tuple[Suspect, int] | None:
    """(the best suspect, its streams) of the streams that are left; None: all may be chance."""
    best, least = None, math.log(CHANCE)
    all_left, all_failing = left.bit_count(), (failing & left).bit_count()
    for kind in candidates:
        for name, having in kind.streams.items():
            count, hits = (having & left).bit_count(), (having & failing & left).bit_count()
            if hits * all_left > count * all_failing:           # else failing is no more frequent with it
                chance = _log_chance(hits, count, all_failing, all_left) + math.log(len(kind.streams))
                if chance < least:
                    best, least = (kind, name), chance
    if best is None:
        return None
    kind, name = best
    having = kind.streams[name] & left
    same = tuple(n for n, s in kind.streams.items() if n != name and s & left == having)
    hits = (having & failing).bit_count()
    return Suspect(name, kind.parts[name], same, rejected, hits, having.bit_count(), all_failing - hits,
                   all_left - having.bit_count(), math.exp(least)), having


@cache
def _log_chance(hits: int, count: int, failing: int, streams: int) -> float:
    """Logarithm of the probability that at least `hits` of `count` streams are among `failing` of `streams`."""
    def ways(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    terms = [ways(failing, k) + ways(streams - failing, count - k)
             for k in range(max(hits, count + failing - streams), min(count, failing) + 1)]
    largest = max(terms)
    total = largest + math.log(sum(math.exp(t - largest) for t in terms)) - ways(streams, count)
    return min(0.0, total)


# ---- What is tried ---------------------------------------------------------------------------------------------------

def _candidates(streams: Sequence[Stream], failing: int) -> list[_Candidates]:
    """Single features; two of a stream, or of a tensor where both are choices; three and four choices of a tensor."""
    single: dict[str, int] = defaultdict(int)
    of_tensor: dict[tuple[str, ...], int] = defaultdict(int)
    for i, stream in enumerate(streams):
        for feature in _features(stream):
            single[feature] |= 1 << i
        for together in {t for f in stream.features for t in _of_tensor(f)}:
            of_tensor[together] |= 1 << i
    pairs: dict[tuple[str, ...], int] = {parts: s for parts, s in of_tensor.items() if len(parts) == 2}
    in_failures = [f for f, s in single.items() if s & failing]
    for first, second in combinations(in_failures, 2):
        both = single[first] & single[second]
        if not _are_choices(first, second) and both & failing and both not in (single[first], single[second]):
            pairs[first, second] = both
    more = {parts: s for parts, s in of_tensor.items() if len(parts) > 2}
    return [_named({(f,): s for f, s in single.items()}), _named(pairs), _named(more)]


def _named(streams: Mapping[tuple[str, ...], int]) -> _Candidates:
    names = {TOGETHER.join(parts): parts for parts in streams}
    return _Candidates(names, {name: streams[parts] for name, parts in names.items()})


def _features(stream: Stream) -> list[str]:
    """Features of one thing; what is expected of a stream to reject is one."""
    single = [f for f in stream.features if len(f.split()) != len(CHOICES)]
    if isinstance(stream.expected, Rejected):
        return [*single, *(f"code={c}" for c in stream.expected.codes),
                *(f"requirement={r}" for r in stream.requirements)]
    return [*single, f"kind={stream.kind}"]


def _of_tensor(feature: str) -> list[tuple[str, ...]]:
    """Choices that meet in one tensor, two to four of them, of a feature of four words."""
    words = feature.split()
    if len(words) != len(CHOICES):
        return []
    choices = [f"{choice}={word}" for choice, word in zip(CHOICES, words)]
    return [parts for n in (2, 3, 4) for parts in combinations(choices, n)]


def _are_choices(first: str, second: str) -> bool:
    """Whether two features are different choices of a tensor."""
    names = {first.partition("=")[0], second.partition("=")[0]}
    return len(names) == 2 and names <= set(CHOICES)
