"""From the options of `encode` to a configuration and models; what does not fit together is refused."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn

from ..bitstream.structures import EntropyMode
from ..encoder.config import Config, settings_of
from ..encoder.config_parts import FITTED, LOSSY_BITS, in_profile
from ..errors import ConfigError
from ..model import Model
from . import encode_quality
from .encode_calibrated import check_options, is_calibrated

FIELDS = ("step", "snr", "bits_per_weight", "states", "coder", "quality_layers", "preset", "profile", "entropy",
          "quantiser", "rp", "q_bits", "width", "clusters", "update_rank", "update_fraction", "root", "max_bytes")
AIMS = ("step", "snr", "bits_per_weight")

# option: the field that must have one of these values for it, and how a user asks for that.
SERVES = {
    "rp": ("quantiser", ("rp",), "--preset s1-rp or --quantiser rp"),
    "q_bits": ("quantiser", ("q-bits",), "--preset s2-qbits or --quantiser q-bits"),
    "width": ("quantiser", ("fixed-point",), "--quantiser fixed-point"),
    "clusters": ("quantiser", ("k-means", "k-means-zero", "integer-k-means"),
                 "--quantiser k-means, k-means-zero or integer-k-means"),
    "update_rank": ("update", ("lra", "ml", "ka", "lru"), "--preset s4-lra, s4-ml, s4-ka or s4-lru"),
    "update_fraction": ("update", ("rm",), "--preset s4-rm"),
}


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration that the options ask for. Raises ConfigError BAD_CONFIG where they contradict each other."""
    check_options(arguments)
    encode_quality.check_options(arguments)
    changes = {name: getattr(arguments, name) for name in FIELDS}
    if arguments.lossy:
        changes["bits_per_weight"] = LOSSY_BITS
    if is_calibrated(arguments):                           # which finds the steps
        changes |= {"step": 1.0, "bits_per_weight": None, "max_bytes": None}
    changes["effort"] = "fast" if arguments.fast else "best" if arguments.best else None
    changes["threads"] = arguments.threads or (None if arguments.config else os.cpu_count())
    settings = settings_of(arguments.config) if arguments.config else {}
    if arguments.lossless or any(changes[name] is not None for name in AIMS):
        settings = {k: v for k, v in settings.items() if k not in AIMS}     # the file's aim gives way
    config = Config.of(arguments.config or "", settings | {k: v for k, v in changes.items() if v is not None})
    _check(config, arguments)
    return config if is_calibrated(arguments) else encode_quality.guarded(config, arguments)


def _check(config: Config, arguments: argparse.Namespace) -> None:
    for option, (name, values, hint) in SERVES.items():
        if getattr(arguments, option) is not None and getattr(config, name) not in values:
            _refuse(f"{flag(option)} needs {hint}")
    quantised = config.own_quantiser or config.aim.given
    system = f"--preset {config.preset}" if config.preset else f"--quantiser {config.quantiser}"
    if arguments.lossless and (config.own_quantiser or config.update in FITTED):
        _refuse(f"{system} cannot keep every bit; drop it or --lossless")
    if config.update and (config.snr is not None or config.bits_per_weight is not None):
        _refuse(f"the factors of {system} decide size and error: --update-rank and --update-fraction lead them, not "
                "--snr or --bits-per-weight")
    if arguments.states is not None and config.own_quantiser:
        _refuse(f"--states is of the uniform quantiser, not of {system}")
    if arguments.coder and config.entropy:
        _refuse("--entropy (or a preset that sets it) decides the coder; drop --coder")
    if config.tools.only_words and quantised:
        _refuse(f"--entropy {config.entropy} codes words, so only what is kept without loss; drop it or the quantiser")
    hybrid = config.quantiser == "hybrid" and arguments.calibration
    if arguments.mean_width is not None and (not hybrid or not 1 <= arguments.mean_width <= 24):
        _refuse("--mean-width is 1 to 24 bits, and needs --preset s5-hybrid with --calibration")
    _check_profile(config, arguments)


def _check_profile(config: Config, arguments: argparse.Namespace) -> None:
    if config.profile == "baseline" and arguments.states:
        _refuse("profile baseline has no trellis; ask for --profile main, or --states 0")
    for name in filter(None, (arguments.coder, arguments.entropy)):
        mode = EntropyMode.__members__.get(name.upper())             # 'auto' is none
        if mode is not None and not in_profile(mode, config.profile):
            _refuse(f"profile {config.profile} has no {mode.facts.called} ({name}); ask for --profile "
                    f"{mode.facts.profile.name.lower()}")


def check_models(config: Config, models: Sequence[Model], references: Sequence[Model]) -> None:
    """Raises ConfigError BAD_CONFIG where the configuration needs other models than there are."""
    if config.update in FITTED and not references and len(models) < 2:
        _refuse(f"s4-{config.update} codes an update: name the model that the receiver has with --reference FILE")
    if config.root is not None and len(models) < 2:
        _refuse("--root is for a set: give several models")


def named_root(root: str | None, models: Sequence[Model], paths: Sequence[str]) -> str | None:
    """--root, where a path of the command line stands for the model that was read from it."""
    return models[paths.index(root)].name if root in paths else root


def flag(option: str) -> str:
    """As it is written on the command line."""
    return "--" + option.replace("_", "-")


def _refuse(message: str) -> NoReturn:
    raise ConfigError("BAD_CONFIG", message)
