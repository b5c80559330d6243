"""What the encoder is asked to do (informative)."""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from dataclasses import dataclass, field

from ..errors import ConfigError

STATES = (0, 4, 8, 16, 32, 64)


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
    entry_elements: elements per entry point, at least 65536 (None: 2^18 when lossy, 2^20 when lossless).  join_below: tensors of fewer elements
    share a unit.  index: write an index unit (None: for large models).  lam: cost of a bit in the
    search for levels, in step^2.
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

    def __post_init__(self):
        self.rules = [r if isinstance(r, Rule) else Rule(**r) for r in self.rules]
        asked = [n for n in ("step", "snr", "bits_per_weight") if getattr(self, n) is not None]
        if len(asked) > 1:
            raise ConfigError("BAD_CONFIG", f"ask for one of {' and '.join(asked)}, not for both")
        for name in asked:
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 < value < float("inf")):
                raise ConfigError("BAD_CONFIG", f"{name} must be a positive number, not {value}")
        for name, allowed in (("effort", ("fast", "default", "best")), ("coder", (None, "cc", "cm")),
                              ("states", (None, *STATES))):
            if getattr(self, name) not in allowed:
                raise ConfigError("BAD_CONFIG", f"{name} is {getattr(self, name)!r}, allowed are {allowed}")
        for rule in self.rules:
            if rule.treatment not in ("quantise", "fine", "lossless"):
                raise ConfigError("BAD_CONFIG", f"treatment {rule.treatment!r}: quantise, fine or lossless")
        if self.quality_layers < 1 or self.quality_layers > 16 or (self.entry_elements or 65536) < 65536 or self.threads < 1:
            raise ConfigError("BAD_CONFIG", "quality_layers is 1..16, entry_elements at least 65536, threads at least 1")

    @property
    def lossy(self) -> bool:
        return (self.step or self.snr or self.bits_per_weight) is not None

    @property
    def entry_size(self) -> int:
        """Elements per entry point."""
        return self.entry_elements or (1 << 18 if self.lossy else 1 << 20)

    @property
    def trellis_states(self) -> int:
        return {"fast": 0, "default": 8, "best": 32}[self.effort] if self.states is None else self.states

    @property
    def mixed(self) -> bool:
        return (self.coder or ("cm" if self.effort == "best" else "cc")) == "cm"

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
            raise ConfigError("BAD_CONFIG", f"{path}: unknown settings {sorted(set(data) - known)}; known are {sorted(known)}")
        try:
            return Config(**{**data, **{k: v for k, v in changes.items() if v is not None}})
        except TypeError as error:
            raise ConfigError("BAD_CONFIG", f"{path}: {error}") from None
