"""The parts of a configuration, of which each checks itself when it is made (informative).

Nothing here needs the coders or the compiler, so that choices can be listed without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, NoReturn

from ..bitstream.limits import Profile
from ..bitstream.structures import RANGE_CODED, EntropyMode
from ..errors import ConfigError

if TYPE_CHECKING:
    from .hybrid.operating_points import HybridPoint
    from .updates.factors import FactorUpdate

STATES = (0, 4, 8, 16, 32, 64)
CODERS = tuple(mode.name.lower() for mode in RANGE_CODED if mode.facts.levels)
SNR_OF = ("model", "difference")
LOSSY_BITS = 9.0                                # a weight, with loss and nothing else said: 98 % of decisions stay
EFFORTS = ("fast", "default", "best")
TREATMENTS = ("quantise", "fine", "lossless")
PROFILES = tuple(profile.name.lower() for profile in Profile)
ENTROPY = ("auto", *(mode.name.lower() for mode in EntropyMode))
UPDATES = ("lra", "ml", "ka", "rm", "lru", "fp")
FITTED = ("lra", "ml", "ka", "rm", "lru")       # updates that are nothing without a reference,
DECOMPOSING = ("ml", "ka")                      # and those that decompose it
S_BITS = 12                                     # decimals of which the quantiser 'q-bits' drops some


def refuse(message: str) -> NoReturn:
    raise ConfigError("BAD_CONFIG", message)


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        refuse(f"{name} is {value!r}, allowed are {tuple(allowed)}")


def integer(name: str, value: object, low: int, high: int | None = None) -> None:
    if not isinstance(value, Integral) or int(value) < low or (high is not None and int(value) > high):
        refuse(f"{name} is {value}, allowed are {f'{low}..{high}' if high is not None else f'{low} and more'}")


def positive(name: str, value: object) -> None:
    if not (isinstance(value, (int, float)) and 0 < value < float("inf")):
        refuse(f"{name} must be a positive number, not {value}")


def in_profile(mode: EntropyMode, profile: str | None) -> bool:
    """True if the profile has the mode; None has all."""
    return profile is None or mode.facts.profile <= Profile[profile.upper()]


@dataclass(frozen=True)
class Rule:
    """What to do with the tensors whose names fit `match` (shell pattern): 'quantise', 'fine' or 'lossless'.

    scale: of the step that these tensors are quantised with: so many times that of the others.
    """

    match: str
    treatment: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.match, str):
            refuse(f"a rule's match is a text, not {self.match!r}")
        one_of("treatment", self.treatment, TREATMENTS)
        positive("scale", self.scale)
        if self.scale != 1.0 and self.treatment != "quantise":
            refuse(f"a rule's scale is of the step of quantised tensors; {self.match!r} is {self.treatment}")


@dataclass(frozen=True)
class Aim:
    """What the step of the quantised tensors is to reach: one of these, or none."""

    step: float | None = None
    snr: float | None = None
    bits_per_weight: float | None = None

    def __post_init__(self) -> None:
        asked = {name: value for name, value in vars(self).items() if value is not None}
        if len(asked) > 1:
            refuse(f"ask for one of {' and '.join(asked)}, not for both")
        for name, value in asked.items():
            positive(name, value)

    @property
    def given(self) -> bool:
        return not (self.step is None and self.snr is None and self.bits_per_weight is None)


@dataclass(frozen=True)
class UniformQuantiser:
    """One step for all quantised tensors. states: of the trellis, 0: none.  lam: cost of a bit in step^2, or None."""

    states: int
    lam: float | None = None

    def __post_init__(self) -> None:
        one_of("states", self.states, STATES)


@dataclass(frozen=True)
class RpQuantiser:
    """S1: decimals that are kept, the rest is cut off."""

    rp: int

    def __post_init__(self) -> None:
        integer("rp", self.rp, 0, S_BITS)

    @property
    def decimal_exponent(self) -> int:
        return self.rp


@dataclass(frozen=True)
class QBitsQuantiser:
    """S2: of S_BITS decimals, how many are dropped by rounding."""

    q_bits: int

    def __post_init__(self) -> None:
        integer("q_bits", self.q_bits, 0, S_BITS)

    @property
    def decimal_exponent(self) -> int:
        return S_BITS - self.q_bits


@dataclass(frozen=True)
class FixedPointQuantiser:
    """Integers of `width` bits; None: of as many as each tensor needs for a signal-to-noise ratio of `snr` dB."""

    width: int | None
    snr: float

    def __post_init__(self) -> None:
        if self.width is not None:
            integer("width", self.width, 1, 32)


@dataclass(frozen=True)
class KMeansQuantiser:
    """A codebook of at most `clusters` values. fixed_zero: 0 is one.  integers: they are multiples of a step."""

    clusters: int
    fixed_zero: bool = False
    integers: bool = False

    def __post_init__(self) -> None:
        integer("clusters", self.clusters, 1, 4096)


@dataclass(frozen=True)
class HybridQuantiser:
    """S5. snr: of the relative errors of all layers added up, dB.  points: made elsewhere, by tensor name."""

    snr: float
    points: Mapping[str, HybridPoint]


OwnQuantiser = RpQuantiser | QBitsQuantiser | FixedPointQuantiser | KMeansQuantiser | HybridQuantiser
DECIMAL_QUANTISERS = (RpQuantiser, QBitsQuantiser)
LED_BY_SNR = (FixedPointQuantiser, HybridQuantiser)     # the quantisers of their own that choose widths for one


@dataclass(frozen=True)
class Update:
    """How a tensor with a reference is updated.

    kind: one of UPDATES, or None: as a difference of words or levels.  rank: of the factors.  fraction: of the elements
    that a random mask chooses.  seed: of what is random.  factors: updates made elsewhere, by tensor name.
    """

    kind: str | None
    rank: int
    fraction: float
    seed: int
    factors: Mapping[str, FactorUpdate]

    def __post_init__(self) -> None:
        one_of("update", self.kind, (None, *UPDATES))
        integer("update_rank", self.rank, 0, 16384)
        integer("update_seed", self.seed, 0, 2**64 - 1)
        if not (isinstance(self.fraction, (int, float)) and 0 < self.fraction < 1):
            refuse(f"update_fraction {self.fraction} is no part of the elements: it lies between 0 and 1")

    @property
    def by_factors(self) -> bool:
        """True if some tensor may be coded by factors or masks."""
        return self.kind is not None or bool(self.factors)


@dataclass(frozen=True)
class Tools:
    """Which tools of the standard are used.

    profile: the highest allowed, None: any.  level_mode: what range-codes levels.  entropy: one entropy mode for all
    that it can code, 'auto': the smallest of all, None: range coding.  spatial: try prediction from neighbours.
    products: try differences from a reference as products of two factors.  effort: of EFFORTS.
    free_coder: no coder of levels is asked for.
    """

    profile: str | None
    level_mode: EntropyMode
    entropy: str | None
    spatial: bool
    products: bool
    effort: str = "default"
    free_coder: bool = True

    def __post_init__(self) -> None:
        one_of("entropy", self.entropy, (None, *ENTROPY))

    @property
    def modes(self) -> list[EntropyMode]:
        """Entropy modes that may be tried beside the usual one."""
        if self.entropy is None:
            return []
        found = list(EntropyMode) if self.entropy == "auto" else [EntropyMode[self.entropy.upper()]]
        return [m for m in found if in_profile(m, self.profile)]

    @property
    def words_in_bins(self) -> bool:
        """True if words of large tensors are coded in bins because nothing else is asked for."""
        return self.entropy is None and in_profile(EntropyMode.BINS, self.profile)

    @property
    def levels_in_bins(self) -> bool:
        """True if levels of large tensors are coded in bins because nothing else is asked for."""
        return self.words_in_bins and self.free_coder and self.effort != "best"

    @property
    def all_modes(self) -> bool:
        """True if the smallest of all entropy modes is asked for."""
        return self.entropy == "auto"

    @property
    def one_mode(self) -> bool:
        """True if one entropy mode is asked for."""
        return self.entropy not in (None, "auto")

    @property
    def only_levels(self) -> bool:
        """True if that mode codes no words."""
        return self.one_mode and not EntropyMode[str(self.entropy).upper()].facts.codes(words=True)

    @property
    def only_words(self) -> bool:
        """True if that mode codes no levels."""
        return self.one_mode and not EntropyMode[str(self.entropy).upper()].facts.codes(words=False)

    @property
    def trellis_mode(self) -> EntropyMode:
        """What codes trellis-coded levels outside joined units: a mode of lanes has to be known before the search."""
        asked = self.modes[0] if self.one_mode and self.modes else self.level_mode
        return asked if asked.facts.lanes else self.level_mode

    @property
    def level_profile(self) -> Profile:
        """The lowest profile that has what may code levels."""
        return max(mode.facts.profile for mode in (*self.modes, self.level_mode))


@dataclass(frozen=True)
class Units:
    """How a model is cut into layers, units and entry points.

    quality_layers: their number.  entry_elements: elements per entry point.  join_below: tensors of fewer elements
    share a unit.  index: write an index unit (None: for large models).
    """

    quality_layers: int
    entry_elements: int
    join_below: int
    index: bool | None

    def __post_init__(self) -> None:
        integer("quality_layers", self.quality_layers, 1, 16)
        integer("entry_elements", self.entry_elements, 65536)
        integer("join_below", self.join_below, 0)


@dataclass(frozen=True)
class SetOfModels:
    """root: 'auto', 'kl', 'size' or a model's name; None: the models are versions.  max_bytes: of the whole stream."""

    root: str | None
    max_bytes: int | None

    def __post_init__(self) -> None:
        if self.max_bytes is not None:
            integer("max_bytes", self.max_bytes, 1)
