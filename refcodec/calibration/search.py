"""The search for the best way and price: the smallest stream that keeps the answers, or the best of a size.

Ways differ in bytes and in answers at one price, so they are compared where each just meets the target: as measured, if
a way has been tried there, else by how bytes and answers follow the price. What promises most is tried next.
"""

from __future__ import annotations

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
        octaves = self._octaves(t)
        return t.sought(self.target) + octaves * (1.0 if self.target.by_size else BITS)

    def _octaves(self, t: Trial) -> float:
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
            at = met.price + self._octaves(met)
            share = (at - met.price) / (missed.price - met.price) - SAFE
            return met.price + min(max(share, 0.15), 0.85) * (missed.price - met.price)
        t = met or missed
        assert t is not None
        octaves = self._octaves(t)
        step = max(abs(octaves), CLOSE / 2) + (0.0 if met else CLOSE / 2)
        return t.price + step * (-self.inner if met else self.inner)


def search(candidates: Candidates, ways: Sequence[Way], start: float, effort: int = EFFORT, told: Told | None = None
           ) -> Found:
    """The best trial of at most `effort`, from a price on (log2).

    ways: one step is among the first two.
    Raises ConfigError RATE where no trial meets the target.
    """
    target, limit, trials = candidates.target, candidates.limit, list[Trial]()
    courses = [Course(way, target, limit) for way in ways[:max(2, effort // EACH)]]

    def attempt(course: Course, price: float) -> None:
        if told is not None:
            told(len(trials), effort, course.way.name)
        made = candidates.trial(course.way, price)
        course.trials.append(made)
        trials.append(made)
        best = _best(courses)
        for t in trials:
            if t is not best:
                t.made = None

    # The likeliest way first, until it is near the target; then each of the others there.
    first, price = courses[0], start
    attempt(first, price)
    while len(trials) < min(3, effort - 1) and abs(first._octaves(first.trials[-1])) > 1.0:
        attempt(first, first.next_price())
    for course in courses[1:]:
        if len(trials) < effort:
            nearest = min(first.trials, key=lambda t: abs(t.limited(target) - limit))
            attempt(course, nearest.price + max(min(first._octaves(nearest), 1.0), -1.0))
    while len(trials) < effort:
        best = _best(courses)
        open_ones = [c for c in courses if c.trials and not c.closed and abs(c.next_price() - start) <= RANGE
                     and (best is None or c.promise() < best.sought(target) - GAIN)]
        if not open_ones:
            break
        course = min(open_ones, key=Course.promise)
        bold = BOLD * courses[0].inner if best is None and effort - len(trials) <= 2 else 0.0
        attempt(course, course.next_price() + bold)
    best = _best(courses)
    if best is None:
        _refuse(target, trials, effort)
    assert best is not None
    return Found(best, _one_step(courses, candidates), trials)


def _best(courses: Sequence[Course]) -> Trial | None:
    met = [c.best for c in courses if c.best is not None]
    return min(met, key=lambda t: t.sought(courses[0].target), default=None)


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
