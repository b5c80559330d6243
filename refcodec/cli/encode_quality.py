"""encode with loss: steps that protect, what was reached, and --check, which runs the network before and after."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..encoder.config import Config
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..calibration.checked import Checked
    from ..inspection.quality import Quality
    from ..model import Model

TEXT = (
    "Without inputs of the network nothing tells which tensors can bear an error, so small tensors get finer steps "
    "than large ones (--snr, --bits-per-weight, --lossy); --one-step and --step give all the same. What was reached is "
    "printed, the worst tensors by name, and those below 12 dB with a warning.")


def add_quality(e: argparse.ArgumentParser, aim: argparse._MutuallyExclusiveGroup) -> None:
    """--lossy beside the other aims, and the options of what loss may do."""
    aim.add_argument("--lossy", action="store_true",
                     help="with loss, and nothing else is said: about 9 bits a weight, with which 98 %% of the "
                     "decisions of all networks that were measured stay as they are")
    q = e.add_argument_group("loss", TEXT)
    q.add_argument("--one-step", action="store_true", help="one step for all tensors, whatever it does to small ones")
    q.add_argument("--snr-of", choices=("difference", "model"), metavar="WHAT",
                   help="what --snr is of, for an update (--reference): the 'difference' from the reference (the "
                   "default), or the whole 'model', from which an update may drown in the error")
    q.add_argument("--check", action="append", metavar="X.npz",
                   help="run the network on these inputs, as it was and as it is decoded, and tell how many of its "
                   "decisions stay; may be given again; --decision and --output-name say what counts")


def check_options(arguments: argparse.Namespace) -> None:
    """Raises ConfigError BAD_CONFIG for options that do not go together."""
    if arguments.snr_of and (arguments.snr is None or not arguments.reference):
        raise ConfigError("BAD_CONFIG", "--snr-of is of --snr and an update: name both, --snr and --reference")
    led = (arguments.snr, arguments.bits_per_weight, arguments.max_bytes)
    if arguments.one_step and not arguments.lossy and led == (None, None, None):
        raise ConfigError("BAD_CONFIG", "--one-step is of --snr, --bits-per-weight, --max-bytes or --lossy")
    if arguments.check and len(arguments.input) > 1:
        raise ConfigError("BAD_CONFIG", "--check is of one network; encode each by itself")
    if arguments.check and arguments.output == "-":
        raise ConfigError("BAD_CONFIG", "--check decodes the stream that was made: write it into a file")


def guarded(config: Config, arguments: argparse.Namespace) -> Config:
    """The configuration with steps that protect, where nothing else says how the steps of tensors differ."""
    if arguments.reference and config.snr is not None and not config.own_quantiser and arguments.snr_of != "model":
        config = replace(config, snr_of="difference")
    led = config.snr is not None or config.bits_per_weight is not None or config.max_bytes is not None
    own = config.own_quantiser or config.rules or config.levels or config.update
    return replace(config, protect=True) if led and not own and not arguments.one_step else config


def of_reference(model: Model, references: Sequence[Model], config: Config) -> list[str]:
    """A note where a target for the whole model is met by the reference alone."""
    if config.snr_of != "model" or config.snr is None or not references:
        return []
    from ..inspection.compare import compare_models

    best = max((x["snr_db"] or 0.0 for x in (compare_models(model, r) for r in references) if not x["unlike"]),
               default=0.0)
    if best < config.snr:
        return []
    return [f"the reference alone is {best:.1f} dB from the model: at {config.snr:g} dB of the model hardly anything "
            "of the update is left; take --snr-of difference, or more"]


def quality(path: str, models: Sequence[Model], config: Config, references: Sequence[Model]) -> Quality | None:
    """What became of the tensors of a stream with loss; None where nothing can be said of it."""
    from ..encoder.model_encoder import quantised_tensors
    from ..inspection.quality import quality_of

    lossy = config.lossy or config.max_bytes is not None or config.quality_layers > 1
    if not lossy or not os.path.isfile(path) or len({m.name for m in models}) < len(models):
        return None
    asked = config if config.lossy else replace(config, step=1.0, max_bytes=None)
    weights = [[m.tensors[i].name for i in quantised_tensors(m, asked)] for m in models]
    found = quality_of(path, models, weights, references, config.threads)
    return found if found.tensors else None


def checked(path: str, model: Model, references: Sequence[Model], arguments: argparse.Namespace) -> Checked:
    """Both networks on the inputs of --check."""
    from ..calibration.checked import check
    from ..inputs import load_any

    return check(model, load_any(path, references), arguments.check, arguments.decision or (),
                 arguments.output_name or ())


def told(found: Quality | None, check: Checked | None) -> list[str]:
    return ([found.line()] if found else []) + (check.lines() if check else [])


def warned(found: Quality | None) -> list[str]:
    return found.warnings() if found else []


def as_json(found: Quality | None, check: Checked | None) -> dict[str, Any]:
    return ({"quality": found.as_json()} if found else {}) | ({"check": check.as_json()} if check else {})
