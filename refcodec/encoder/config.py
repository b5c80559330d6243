"""What the encoder is asked to do (informative): flat settings, which make up the parts that the encoder reads."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..bitstream.structures import EntropyMode
from ..errors import ConfigError
from .config_parts import (
    CODERS,
    DECOMPOSING,
    EFFORTS,
    LED_BY_SNR,
    PROFILES,
    SNR_OF,
    UPDATES,
    Aim,
    FixedPointQuantiser,
    HybridQuantiser,
    KMeansQuantiser,
    OwnQuantiser,
    QBitsQuantiser,
    RpQuantiser,
    Rule,
    SetOfModels,
    Tools,
    UniformQuantiser,
    Units,
    Update,
    in_profile,
    integer,
    one_of,
    refuse,
)

if TYPE_CHECKING:
    from .given_levels import GivenLevels
    from .hybrid.operating_points import HybridPoint
    from .updates.factors import FactorUpdate

# What each preset sets, and what may be asked of it besides.
PRESETS: dict[str, dict[str, Any]] = {
    "auto": {"entropy": "auto", "spatial": True},
    "s1-rp": {"quantiser": "rp", "rp": 4, "entropy": "lzma"},
    "s2-qbits": {"quantiser": "q-bits", "q_bits": 8, "entropy": "lzma"},
    "s3-features": {"entropy": "auto", "spatial": True},
    **{f"s4-{update}": {"update": update} for update in UPDATES},
    "s5-hybrid": {"quantiser": "hybrid", "entropy": "huffman"},
}


FILE_BYTES_MAX = 1 << 20           # of a configuration file


@dataclass(frozen=True)
class Config:
    """Lossless unless one of step, snr and bits_per_weight is given.

    step: the quantiser's step, one for all quantised tensors.  snr: 10 log10(variance / mean squared
    error) over all quantised elements, dB.  bits_per_weight: whole stream over quantised elements.
    states: of the trellis (0 = none); None: 8, or 32 with effort 'best', 0 with 'fast'.
    coder: the entropy mode that range-codes levels, one of CODERS; None: bins for large tensors and 'cc' for others, or
    'cm' with effort 'best'.
    effort: 'fast': large tensors in bins, no trellis; 'default': in bins, or context coded where they repeat
    themselves; 'best': the smallest.
    protect: steps by tensor in place of one: finer for small tensors, which one step may destroy (protection.py).
    scales: of the step, by tensor name, where no rule names the tensor; made by protect.
    snr_of: 'model', or 'difference': the SNR that is asked for is over the difference from the references, where that
    is smaller than the model: so that an update is not lost in the error.
    quality_layers: number of layers, the last as asked, those before it coarser.
    rules: the first that fits a tensor's name decides its treatment.
    entry_elements: elements per entry point, at least 65536 (None: 2^18 when lossy, 2^20 when lossless).
    join_below: tensors of fewer elements share a unit.  index: write an index unit (None: for large models).
    lam: cost of a bit in the search for levels, in step^2.
    fine_bits: of biases and the like, beside quantised weights: their largest magnitude over 2^fine_bits is the step.
    preset: a published system by one name (PRESETS); the fields that it sets can be given another value.
    profile: the highest profile whose tools may be used: 'baseline', 'main' or 'high' (None: any).
    entropy: one entropy mode for all that it can code, or 'auto': the smallest of all; None: bins and range coding.
    quantiser: of the quantised tensors: 'uniform' (with step, snr or bits_per_weight), 'rp' (S1: rp decimals, cut off),
    'q-bits' (S2: q_bits of 12 decimals are dropped), 'fixed-point' (width bits; None: as many as each tensor needs
    for snr, or 30 dB), 'k-means', 'k-means-zero' (0 is a centre), 'integer-k-means' (clusters centres) or 'hybrid'
    (S5).
    spatial: try prediction from neighbours.  update: how a tensor with a reference is updated: 'lra', 'ml', 'ka',
    'lru' of rank update_rank, 'rm' of a fraction of the elements, 'fp'; update_seed: of random ones.
    factors: updates made elsewhere, by tensor name.
    points: of the quantiser 'hybrid' (whose snr is that of the relative errors of all layers added up; 4 dB), made
    elsewhere, by tensor name.
    levels: of tensors that are quantised with a step, made elsewhere, by tensor name; `step` is that of the others.
    root, max_bytes: of a set of models: 'auto', 'kl', 'size' or a model's name; bytes of the whole stream.

    A configuration does not change: dataclasses.replace() makes another.
    Raises ConfigError BAD_CONFIG for a setting that is not allowed, or that contradicts another.
    """

    step: float | None = None
    snr: float | None = None
    bits_per_weight: float | None = None
    states: int | None = None
    coder: str | None = None
    effort: str = "default"
    protect: bool = False
    scales: Mapping[str, float] = field(default_factory=dict)
    snr_of: str = "model"
    quality_layers: int = 1
    threads: int = 1
    rules: Sequence[Rule] = ()
    entry_elements: int | None = None
    join_below: int = 1024
    index: bool | None = None
    lam: float | None = None
    fine_bits: int = 14
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
    factors: Mapping[str, FactorUpdate] = field(default_factory=dict)
    points: Mapping[str, HybridPoint] = field(default_factory=dict)
    levels: Mapping[str, GivenLevels] = field(default_factory=dict)
    root: str | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        self._take_defaults()
        integer("threads", self.threads, 1)
        integer("fine_bits", self.fine_bits, 1, 24)
        for part in ("aim", "uniform", "own_quantiser", "updating", "tools", "units", "set_of_models"):
            getattr(self, part)                            # is made, and so checked
        self._check_together()

    def _take_defaults(self) -> None:
        """Settings that are None become those of the preset and of the quantiser; rules become Rules."""
        def settle(settings: Mapping[str, Any]) -> None:
            for name, value in settings.items():
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)

        one_of("preset", self.preset, (None, *PRESETS))
        one_of("snr_of", self.snr_of, SNR_OF)
        settle(PRESETS[self.preset] if self.preset else {})
        settle({"quantiser": "uniform"})
        rules = [r if isinstance(r, Rule) else Rule(**r) for r in self.rules]
        if self.preset == "s3-features" and not rules:
            rules = [Rule("*", "quantise")]                # vectors and small maps, too
        object.__setattr__(self, "rules", rules)

    def _check_together(self) -> None:
        """What contradicts itself across parts."""
        aim, own, update, units = self.aim, self.own_quantiser, self.updating, self.units
        wanted = aim.step or aim.bits_per_weight or (aim.snr and not isinstance(own, LED_BY_SNR))
        if own is not None and wanted:
            refuse(f"the quantiser {self.quantiser} has no use for step, snr and bits_per_weight (but fixed-point and "
                    "hybrid have for snr)")
        if self.levels and (aim.step is None or units.quality_layers > 1 or update.kind):
            refuse("given levels are of one quality: ask for a step beside them, and for no update and no layers")
        if own is not None and units.quality_layers > 1:
            refuse(f"the quantiser {self.quantiser} makes no quality layers")
        if self.tools.profile == "baseline" and update.kind in DECOMPOSING:
            refuse(f"the update {update.kind} decomposes its reference: it needs the main profile")
        if self.lossy and self.set_of_models.max_bytes:
            refuse("max_bytes finds the steps itself; ask for no step, rate or quantiser beside it")
        levels = self.lossy or update.by_factors or units.quality_layers > 1 or self.set_of_models.max_bytes
        if self.tools.only_levels and not levels:
            refuse(f"entropy {self.entropy} codes quantised levels: ask for step, snr, bits_per_weight or a quantiser")

    # The parts

    @cached_property
    def aim(self) -> Aim:
        return Aim(self.step, self.snr, self.bits_per_weight)

    @cached_property
    def uniform(self) -> UniformQuantiser:
        """Of the tensors that are quantised with one step, and of quality layers."""
        one_of("effort", self.effort, EFFORTS)
        usual = {"fast": 0, "default": 8, "best": 32}[self.effort]
        quantiser = UniformQuantiser(usual if self.states is None else self.states, self.lam)
        return UniformQuantiser(0, self.lam) if self.profile == "baseline" else quantiser

    @cached_property
    def own_quantiser(self) -> OwnQuantiser | None:
        """The quantiser that is not led by one step for all tensors; None: the uniform one."""
        one_of("quantiser", self.quantiser, QUANTISERS)
        made = {name: make(self) for name, make in _OWN_QUANTISERS.items()}     # all, so that all settings are checked
        return made.get(self.quantiser or "")

    @cached_property
    def updating(self) -> Update:
        return Update(self.update, self.update_rank, self.update_fraction, self.update_seed, self.factors)

    @cached_property
    def tools(self) -> Tools:
        one_of("profile", self.profile, (None, *PROFILES))
        one_of("coder", self.coder, (None, *CODERS))
        usual = EntropyMode.CM if self.effort == "best" else EntropyMode.CC
        asked = EntropyMode[self.coder.upper()] if self.coder else usual
        level_mode = asked if in_profile(asked, self.profile) else EntropyMode.CC
        return Tools(self.profile, level_mode, self.entropy, bool(self.spatial), self.preset == "auto", self.effort,
                     self.coder is None)

    @cached_property
    def units(self) -> Units:
        usual = 1 << 18 if self.lossy else 1 << 20
        return Units(self.quality_layers, self.entry_elements or usual, self.join_below, self.index)

    @cached_property
    def set_of_models(self) -> SetOfModels:
        return SetOfModels(self.root, self.max_bytes)

    @property
    def lossy(self) -> bool:
        return self.own_quantiser is not None or self.update is not None or self.aim.given

    @staticmethod
    def read(path: str | os.PathLike[str], **changes: Any) -> Config:
        """A configuration file, TOML or JSON, with the fields above; `changes` that are not None win."""
        return Config.of(path, {**settings_of(path), **{k: v for k, v in changes.items() if v is not None}})

    @staticmethod
    def of(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> Config:
        """A configuration of settings, some of which stand in the file `path`, whose name errors bear."""
        try:
            return Config(**settings)
        except TypeError as error:
            raise ConfigError("BAD_CONFIG", f"{os.fspath(path)}: {error}") from None


def settings_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a configuration file, TOML or JSON. Raises ConfigError BAD_CONFIG if one is unknown."""
    try:
        with open(path, "rb") as f:
            text = f.read(FILE_BYTES_MAX + 1).decode("utf-8")
        if len(text) > FILE_BYTES_MAX:
            raise ValueError(f"over {FILE_BYTES_MAX} bytes")
        data = json.loads(text) if str(path).endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("BAD_CONFIG", f"{path}: {error}") from None
    known = {f.name for f in fields(Config)}
    if not isinstance(data, dict):
        raise ConfigError("BAD_CONFIG", f"{path}: settings are named")
    if set(data) - known:
        raise ConfigError("BAD_CONFIG", f"{path}: unknown settings {sorted(set(data) - known)}; known are "
                          f"{sorted(known)}")
    return {name: _setting(path, name, value) for name, value in data.items()}


_KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "float": ("a number", (int, float)), "int": ("a whole number", int), "bool": ("true or false", bool),
    "str": ("a text", str)}
_TYPES = {f.name: str(f.type).removesuffix(" | None") for f in fields(Config)}


def _setting(path: str | os.PathLike[str], name: str, value: Any) -> Any:
    """A setting of a file, of the type of its field; rules are tables. Raises ConfigError BAD_CONFIG."""
    if name == "rules":
        try:
            return tuple(Rule(**rule) for rule in value)
        except TypeError:
            raise ConfigError("BAD_CONFIG", f"{path}: rules are tables of match, treatment and scale") from None
    if _TYPES[name] not in _KINDS:
        raise ConfigError("BAD_CONFIG", f"{path}: {name} cannot be given in a file")
    called, kind = _KINDS[_TYPES[name]]
    right = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    if value is not None and not (right and (isinstance(value, str) or abs(value) < 1 << 63)):
        raise ConfigError("BAD_CONFIG", f"{path}: {name} is {called}, not {str(value)[:60]!r}")
    return value


def _snr(config: Config, usual: float) -> float:
    return usual if config.snr is None else config.snr


_OWN_QUANTISERS: dict[str, Callable[[Config], OwnQuantiser]] = {
    "rp": lambda c: RpQuantiser(PRESETS["s1-rp"]["rp"] if c.rp is None else c.rp),
    "q-bits": lambda c: QBitsQuantiser(PRESETS["s2-qbits"]["q_bits"] if c.q_bits is None else c.q_bits),
    "fixed-point": lambda c: FixedPointQuantiser(c.width, _snr(c, 30.0)),
    "k-means": lambda c: KMeansQuantiser(c.clusters),
    "k-means-zero": lambda c: KMeansQuantiser(c.clusters, fixed_zero=True),
    "integer-k-means": lambda c: KMeansQuantiser(c.clusters, integers=True),
    "hybrid": lambda c: HybridQuantiser(_snr(c, 4.0), c.points),
}
QUANTISERS = ("uniform", *_OWN_QUANTISERS)
