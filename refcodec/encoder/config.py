"""What the encoder is asked to do (informative)."""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from dataclasses import dataclass, field

from ..bitstream.limits import Profile
from ..bitstream.structures import EntropyMode
from ..errors import ConfigError

STATES = (0, 4, 8, 16, 32, 64)
PROFILES = ("baseline", "main", "high")
ENTROPY = ("auto", *(m.name.lower() for m in EntropyMode))
QUANTISERS = ("uniform", "rp", "q-bits", "fixed-point", "k-means", "k-means-zero", "integer-k-means", "hybrid")
BY_SNR = ("fixed-point", "hybrid")        # quantisers that choose widths for a signal-to-noise ratio
UPDATES = ("lra", "ml", "ka", "rm", "lru", "fp")

# What each preset sets, and what may be asked of it besides.
PRESETS: dict[str, dict] = {
    "auto": {"entropy": "auto", "spatial": True},
    "s1-rp": {"quantiser": "rp", "rp": 4, "entropy": "lzma"},
    "s2-qbits": {"quantiser": "q-bits", "q_bits": 8, "entropy": "lzma"},
    "s3-features": {"entropy": "auto", "spatial": True},
    **{f"s4-{update}": {"update": update} for update in UPDATES},
    "s5-hybrid": {"quantiser": "hybrid", "entropy": "huffman"},
}


@dataclass
class Rule:
    """What to do with the tensors whose names fit `match` (shell pattern): 'quantise', 'fine' or 'lossless'."""

    match: str
    treatment: str


@dataclass
class Config:
    """Lossless unless one of step, snr and bits_per_weight is given.

    step: the quantiser's step, one for all quantised tensors.  snr: 10 log10(variance / mean squared
    error) over all quantised elements, dB.  bits_per_weight: whole stream over quantised elements.
    states: of the trellis (0 = none); None: 8, or 32 with effort 'best', 0 with 'fast'.
    coder: 'cc' or 'cm'; None: 'cc', or 'cm' with effort 'best'.  effort: 'fast', 'default', 'best'.
    quality_layers: number of layers, the last as asked, those before it coarser.
    rules: the first that fits a tensor's name decides its treatment.
    entry_elements: elements per entry point, at least 65536 (None: 2^18 when lossy, 2^20 when lossless).  join_below:
    tensors of fewer elements
    share a unit.  index: write an index unit (None: for large models).  lam: cost of a bit in the
    search for levels, in step^2.
    preset: a published system by one name (PRESETS); the fields that it sets can be given another value.
    profile: the highest profile whose tools may be used: 'baseline', 'main' or 'high' (None: any).
    entropy: one entropy mode for all that it can code, or 'auto': the smallest of all; None: range coding.
    quantiser: of the quantised tensors: 'uniform' (with step, snr or bits_per_weight), 'rp' (S1: rp decimals, cut off),
    'q-bits' (S2: q_bits of 12 decimals are dropped), 'fixed-point' (width bits; None: as many as each tensor needs
    for snr), 'k-means',
    'k-means-zero' (0 is a centre), 'integer-k-means' (clusters centres) or 'hybrid' (S5).
    spatial: try prediction from neighbours.  update: how a tensor with a reference is updated: 'lra', 'ml', 'ka',
    'lru' of rank update_rank, 'rm' of a fraction of the elements, 'fp'; update_seed: of random ones.  factors:
    updates made elsewhere, by tensor name.
    points: of the quantiser 'hybrid' (whose snr is that of the relative errors of all layers added up; 4 dB), made
    elsewhere, by tensor name.
    root, max_bytes: of a set of models: 'auto', 'kl', 'size' or a model's name; bytes of the whole stream.
    """

    step: float | None = None
    snr: float | None = None
    bits_per_weight: float | None = None
    states: int | None = None
    coder: str | None = None
    effort: str = "default"
    quality_layers: int = 1
    threads: int = 1
    rules: list[Rule] = field(default_factory=list)
    entry_elements: int | None = None
    join_below: int = 1024
    index: bool | None = None
    lam: float | None = None
    preset: str | None = None
    profile: str | None = None
    entropy: str | None = None
    quantiser: str | None = None
    rp: int | None = None
    q_bits: int | None = None
    width: int | None = None
    clusters: int = 16
    spatial: bool | None = None
    update: str | None = None
    update_rank: int = 8
    update_fraction: float = 0.02
    update_seed: int = 1
    factors: dict[str, object] = field(default_factory=dict)
    points: dict[str, object] = field(default_factory=dict)
    root: str | None = None
    max_bytes: int | None = None

    def __post_init__(self):
        self.rules = [r if isinstance(r, Rule) else Rule(**r) for r in self.rules]
        if self.preset not in (None, *PRESETS):
            raise ConfigError("BAD_CONFIG", f"preset {self.preset!r}; there are {', '.join(PRESETS)}")
        for name, value in PRESETS.get(self.preset, {}).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        self.quantiser = self.quantiser or "uniform"
        if self.quantiser == "rp" and self.rp is None:
            self.rp = PRESETS["s1-rp"]["rp"]
        if self.quantiser == "q-bits" and self.q_bits is None:
            self.q_bits = PRESETS["s2-qbits"]["q_bits"]
        if self.preset == "s3-features" and not self.rules:
            self.rules = [Rule("*", "quantise")]          # vectors and small maps, too
        asked = [n for n in ("step", "snr", "bits_per_weight") if getattr(self, n) is not None]
        if len(asked) > 1:
            raise ConfigError("BAD_CONFIG", f"ask for one of {' and '.join(asked)}, not for both")
        for name in asked:
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 < value < float("inf")):
                raise ConfigError("BAD_CONFIG", f"{name} must be a positive number, not {value}")
        for name, allowed in (("effort", ("fast", "default", "best")), ("coder", (None, "cc", "cm")),
                              ("states", (None, *STATES)), ("profile", (None, *PROFILES)),
                              ("entropy", (None, *ENTROPY)), ("quantiser", QUANTISERS), ("update", (None, *UPDATES))):
            if getattr(self, name) not in allowed:
                raise ConfigError("BAD_CONFIG", f"{name} is {getattr(self, name)!r}, allowed are {allowed}")
        for rule in self.rules:
            if rule.treatment not in ("quantise", "fine", "lossless"):
                raise ConfigError("BAD_CONFIG", f"treatment {rule.treatment!r}: quantise, fine or lossless")
        if self.quality_layers < 1 or self.quality_layers > 16 or (self.entry_elements
                                                                   or 65536) < 65536 or self.threads < 1:
            raise ConfigError("BAD_CONFIG",
                              "quality_layers is 1..16, entry_elements at least 65536, threads at least 1")

        self._check_ranges()

    def _check_ranges(self) -> None:
        ranges = {"rp": (0, 12), "q_bits": (0, 12), "width": (1, 32), "clusters": (1, 4096), "update_rank": (0, 16384),
                  "max_bytes": (1, 1 << 62)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and low <= value <= high):
                raise ConfigError("BAD_CONFIG", f"{name} is {value}, allowed are {low}..{high}")
        if self.own_quantiser and (self.step or self.bits_per_weight or (self.snr and self.quantiser not in BY_SNR)):
            raise ConfigError(
                "BAD_CONFIG", f"the quantiser {self.quantiser} has no use for step, snr and bits_per_weight "
                f"(but {' and '.join(BY_SNR)} have for snr)")
        if self.profile == "baseline" and self.update in ("ml", "ka"):
            raise ConfigError("BAD_CONFIG",
                              f"the update {self.update} decomposes its reference: it needs the main profile")
        if self.own_quantiser and self.quality_layers > 1:
            raise ConfigError("BAD_CONFIG", f"the quantiser {self.quantiser} makes no quality layers")

    @property
    def own_quantiser(self) -> bool:
        """True if the quantiser is not led by one step for all tensors."""
        return self.quantiser != "uniform"

    @property
    def lossy(self) -> bool:
        return self.own_quantiser or self.update is not None or (self.step or self.snr
                                                                 or self.bits_per_weight) is not None

    @property
    def entry_size(self) -> int:
        """Elements per entry point."""
        return self.entry_elements or (1 << 18 if self.lossy else 1 << 20)

    @property
    def modes(self) -> list[EntropyMode]:
        """Entropy modes that may be tried beside the usual one."""
        if self.entropy is None:
            return []
        found = list(EntropyMode) if self.entropy == "auto" else [EntropyMode[self.entropy.upper()]]
        return [m for m in found if self.profile is None or m.facts.profile <= Profile[self.profile.upper()]]

    @property
    def one_mode(self) -> bool:
        """True if one entropy mode is asked for, not the smallest of several."""
        return self.entropy not in (None, "auto")

    @property
    def trellis_states(self) -> int:
        if self.profile == "baseline":
            return 0
        return {"fast": 0, "default": 8, "best": 32}[self.effort] if self.states is None else self.states

    @property
    def mixed(self) -> bool:
        return self.profile in (None, "high") and (self.coder or ("cm" if self.effort == "best" else "cc")) == "cm"

    @staticmethod
    def read(path: str | os.PathLike, **changes) -> Config:
        """A configuration file, TOML or JSON, with the fields above; `changes` that are not None win."""
        try:
            with open(path, "rb") as f:
                data = json.load(f) if str(path).endswith(".json") else tomllib.load(f)
        except (OSError, ValueError) as error:
            raise ConfigError("BAD_CONFIG", f"{path}: {error}") from None
        known = {f.name for f in dataclasses.fields(Config)}
        if not isinstance(data, dict) or set(data) - known:
            raise ConfigError("BAD_CONFIG",
                              f"{path}: unknown settings {sorted(set(data) - known)}; known are {sorted(known)}")
        try:
            return Config(**{**data, **{k: v for k, v in changes.items() if v is not None}})
        except TypeError as error:
            raise ConfigError("BAD_CONFIG", f"{path}: {error}") from None
