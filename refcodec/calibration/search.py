"""The search for the best way and price: the smallest stream that keeps the answers, or the best of a size.

Ways differ in bytes and in answers at one price, so they are compared where each just meets the target: as measured, if
a way has been tried there, else by how bytes and answers follow the price. What promises most is tried next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError
from .candidates import ONE_STEP, Candidates, Trial, Way
from .targets import Target

EFFORT = 24                     # trials at most,
EACH = 3                        # for each way that is tried, on average
BOLD = 1.0                      # octaves more, where few trials are left and none has met the target
CLOSE = 0.08                    # octaves of the price between a trial that meets the target and one that does not
FARTHEST = 4.0                  # octaves from one trial to the next
SECONDS = 30 * 60.0             # of the whole search
RANGE = 60.0                    # and from the first
BITS = -0.5                     # of a weight, for an octave of the price
GAIN = 0.01                     # bits of a weight, or octaves of a distance, for which it is worth to go on
SAFE = 0.1                      # of the way between two trials, towards the one that meets the target

Told = Callable[[int, int, str], None]          # trials made, trials in all, what is tried


@dataclass
class Found:
    """best: the trial that wins.  one_step: bytes that one step would take, about; None where it was never near.
    trials: all of them, in order; only `best` has what encodes it."""

    best: Trial
    one_step: float | None
    trials: list[Trial] = field(default_factory=list)


@dataclass
class Course:
    """The trials of one way, and what they say of others."""

    way: Way
    target: Target
    limit: float
    trials: list[Trial] = field(default_factory=list)

    @property
    def slope(self) -> float:
        """Of what is limited, by the octave of the price."""
        return BITS if self.target.by_size else self.target.slope

    def meets(self, t: Trial) -> bool:
        return t.limited(self.target) <= self.limit

    @property
    def best(self) -> Trial | None:
        """The trial that meets the target with least."""
        return min((t for t in self.trials if self.meets(t)), key=lambda t: t.sought(self.target), default=None)

    @property
    def met(self) -> Trial | None:
        """The trial that meets it at the price farthest out, beyond which nothing meets it."""
        return min((t for t in self.trials if self.meets(t)), key=lambda t: t.price * self.inner, default=None)

    @property
    def missed(self) -> Trial | None:
        """The trial that misses it nearest to the one that meets it, on the side where less would be needed; where none
        meets it, the one that misses it by least."""
        missed, met = [t for t in self.trials if not self.meets(t)], self.met
        if met is None:
            return min(missed, key=lambda t: t.limited(self.target), default=None)
        beyond = [t for t in missed if (t.price - met.price) * self.inner < 0]
        return min(beyond, key=lambda t: abs(t.price - met.price), default=None)

    @property
    def inner(self) -> float:
        """The sign of the direction of prices in which the target is met."""
        return 1.0 if self.target.by_size else -1.0

    @property
    def closed(self) -> bool:
        """True where nothing is to be gained by further trials."""
        if self.met is None or self.missed is None:
            return False
        return abs(self.met.price - self.missed.price) <= CLOSE

    def promise(self) -> float:
        """What is sought, where the target is just met."""
        t = self.met or self.missed
        assert t is not None
        if self.closed and self.best:
            return self.best.sought(self.target)
        octaves = self.octaves_left(t)
        return t.sought(self.target) + octaves * (1.0 if self.target.by_size else BITS)

    def octaves_left(self, t: Trial) -> float:
        """From a trial to the price at which the target is just met."""
        met, missed = self.met, self.missed
        slope, left = self.slope, self.limit - t.limited(self.target)
        others = [o for o in self.trials if o is not t and o.price != t.price]
        if met is not None and missed is not None and met.price != missed.price:
            rise = (missed.limited(self.target) - met.limited(self.target)) / (missed.price - met.price)
            slope = rise if rise * slope > 0 else slope
        elif others:
            other = min(others, key=lambda o: abs(o.price - t.price))
            rise = (other.limited(self.target) - t.limited(self.target)) / (other.price - t.price)
            slope = min(max(rise / slope, 0.25), 4.0) * slope
        return max(min(left / slope, FARTHEST), -FARTHEST)

    def next_price(self) -> float:
        """Where the next trial tells most."""
        met, missed = self.met, self.missed
        if met is not None and missed is not None:
            at = met.price + self.octaves_left(met)
            share = (at - met.price) / (missed.price - met.price) - SAFE
            return met.price + min(max(share, 0.15), 0.85) * (missed.price - met.price)
        t = met or missed
        assert t is not None
        octaves = self.octaves_left(t)
        step = max(abs(octaves), CLOSE / 2) + (0.0 if met else CLOSE / 2)
        return t.price + step * (-self.inner if met else self.inner)


def search(candidates: Candidates, ways: Sequence[Way], start: float, effort: int = EFFORT, told: Told | None = None,
           *, seconds: float = SECONDS) -> Found:
    """The best trial of at most `effort`, from a price on (log2).

    ways: one step is among the first two.  seconds: after which no trial begins that would take longer, if one has met
    the target.
    Raises ConfigError RATE where no trial meets the target.
    """
    return _Search(candidates, ways, start, effort, told, seconds).found()


class _Search:

    def __init__(self, candidates: Candidates, ways: Sequence[Way], start: float, effort: int, told: Told | None,
                 seconds: float):
        self.candidates, self.start, self.effort, self.told = candidates, start, effort, told
        self.target, self.limit = candidates.target, candidates.limit
        self.courses = [Course(way, self.target, self.limit) for way in ways[:max(2, effort // EACH)]]
        self.trials: list[Trial] = []
        self.until, self.longest = time.monotonic() + seconds, 0.0

    def found(self) -> Found:
        # The likeliest way first, until it is near the target; then each of the others there.
        first, others = self.courses[0], self.courses[1:]
        self._attempt(first, self.start)
        while len(self.trials) < min(3, self.effort - 1) and abs(first.octaves_left(first.trials[-1])) > 1.0:
            self._attempt(first, first.next_price())
        for course in others:
            if self.goes_on or course.way == ONE_STEP:
                nearest = min(first.trials, key=lambda t: abs(t.limited(self.target) - self.limit))
                self._attempt(course, nearest.price + max(min(first.octaves_left(nearest), 1.0), -1.0))
        while self.goes_on and (promising := self._most_promising()) is not None:
            few_left = self.best is None and self.effort - len(self.trials) <= 2
            self._attempt(promising, promising.next_price() + (BOLD * promising.inner if few_left else 0.0))
        best = self.best
        if best is None:
            _refuse(self.target, self.trials, self.effort)
        assert best is not None
        return Found(best, _one_step(self.courses, self.candidates), self.trials)

    @property
    def best(self) -> Trial | None:
        met = [c.best for c in self.courses if c.best is not None]
        return min(met, key=lambda t: t.sought(self.target), default=None)

    @property
    def goes_on(self) -> bool:
        in_time = time.monotonic() + self.longest < self.until
        return len(self.trials) < self.effort and (in_time or self.best is None)

    def _attempt(self, course: Course, price: float) -> None:
        if self.told is not None:
            self.told(len(self.trials), self.effort, course.way.name)
        begin = time.monotonic()
        made = self.candidates.trial(course.way, price)
        self.longest = max(self.longest, time.monotonic() - begin)
        course.trials.append(made)
        self.trials.append(made)
        best = self.best
        for t in self.trials:
            if t is not best:
                t.made = None

    def _most_promising(self) -> Course | None:
        best = self.best
        return min((c for c in self.courses if c.trials and not c.closed and abs(c.next_price() - self.start) <= RANGE
                    and (best is None or c.promise() < best.sought(self.target) - GAIN)),
                   key=Course.promise, default=None)


def _one_step(courses: Sequence[Course], candidates: Candidates) -> float | None:
    """What one step takes in bytes where it just meets the target; of a size: the distance."""
    course = next((c for c in courses if c.way == ONE_STEP and c.trials), None)
    if course is None:
        return None
    return 2.0**course.promise() if course.target.by_size else course.promise() * candidates.weights / 8


def _refuse(target: Target, trials: Sequence[Trial], effort: int) -> None:
    if target.by_size:
        least = min(trials, key=lambda t: t.size)
        raise ConfigError("RATE", f"{target} cannot be reached: the smallest of {len(trials)} streams tried has "
                          f"{least.size:,} bytes ({least.bits:.3g} bits per weight); ask for more")
    best = min(trials, key=lambda t: t.bound)
    raise ConfigError("RATE", f"{target} cannot be met: of {len(trials)} streams tried the best ({best.way.name}, "
                      f"{best.size:,} bytes) reaches {target.shown(best.measured):.4g}, and "
                      f"{target.shown(best.bound):.4g} with a certainty of 90 %; ask for less, give more inputs, or "
                      f"let it try more than {effort} by --effort")
