"""encode --calibration: the options of a calibrated stream, and what is told of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from ..encoder.config import Config
from ..errors import ConfigError
from .shared import progress_bar

if TYPE_CHECKING:
    from ..calibration.calibrate import Calibrated
    from ..calibration.targets import Target
    from ..model import Model

TARGETS = {"target_decisions": "decisions", "target_kl": "kl", "target_output_snr": "output_snr"}
SIZES = ("bits_per_weight", "max_bytes")
ASKED = "--target-decisions, --target-kl, --target-output-snr, --bits-per-weight or --max-bytes"
ONLY = ("validation", "feed", "decision", "output_name", "effort", "calibration_seed", *TARGETS)   # with --calibration

TEXT = (
    "Inputs of an ONNX model tell where errors are cheap: the weights are quantised so that the answers stay, and the "
    "smallest of several streams that meets the target is taken. A fifth of the inputs is held out to judge on; the "
    "target is met there with a certainty of 90 %, or there is no stream. Needs ONNX Runtime: pip install "
    "'refcodec[calibration]'. docs/calibration.md says more. With --preset s5-hybrid the same inputs choose formats of "
    "activations.")


def add_targets(aim: argparse._MutuallyExclusiveGroup) -> None:
    """The targets of answers, beside the other aims."""
    aim.add_argument("--target-decisions", type=float, metavar="P",
                     help="with --calibration: the part of the network's decisions that stay as they are, e.g. 0.97")
    aim.add_argument("--target-kl", type=float, metavar="K",
                     help="with --calibration: Kullback-Leibler divergence of its probabilities, nats a decision")
    aim.add_argument("--target-output-snr", type=float, metavar="DB",
                     help="with --calibration: signal-to-noise ratio of its outputs")


def add_calibration(e: argparse.ArgumentParser) -> None:
    """--calibration and what goes with it."""
    c = e.add_argument_group("calibration", TEXT)
    c.add_argument("--calibration", action="append", metavar="X.npz",
                   help="inputs of the network by name, some hundreds; one more axis in front counts runs; may be "
                   "given again. 'noise': made up, for steps alone, with --bits-per-weight or --max-bytes")
    c.add_argument("--validation", action="append", metavar="Y.npz",
                   help="inputs to judge on (default: a fifth of the others, which is held out)")
    c.add_argument("--feed", action="append", metavar="OUTPUT:INPUT",
                   help="an output that is an input of the next run, as a state; the array of that input is its first "
                   "value; may be given again")
    c.add_argument("--decision", action="append", metavar="HOW",
                   help="argmax:NAME or threshold:NAME:0.5, where the outputs do not tell; may be given again")
    c.add_argument("--output-name", action="append", metavar="NAME",
                   help="an output that counts; may be given again (default: those that are probabilities, else all)")
    c.add_argument("--effort", type=int, metavar="N", help="streams that are tried at most (default 24)")
    c.add_argument("--calibration-seed", type=int, metavar="N", help="of all that is random (default 0)")
    c.add_argument("--mean-width", type=float, metavar="BITS",
                   help="with --preset s5-hybrid: bits of an activation, on average (default 8)")


def is_calibrated(arguments: argparse.Namespace) -> bool:
    """True where a target is to be met by calibration (and no activation formats are wanted)."""
    return bool(arguments.calibration) and arguments.preset != "s5-hybrid" and arguments.quantiser != "hybrid"


def check_options(arguments: argparse.Namespace) -> None:
    """Raises ConfigError BAD_CONFIG for options that do not go together."""
    given = [name for name in ONLY if getattr(arguments, name) is not None]
    if arguments.check:
        given = [name for name in given if name not in ("decision", "output_name")]
    if given and not is_calibrated(arguments):
        what = "--" + given[0].replace("_", "-")
        _refuse(f"{what} needs --calibration X.npz" if not arguments.calibration else
                f"{what} is of networks whose weights are quantised to a target, not of --preset s5-hybrid")
    if not is_calibrated(arguments):
        return
    asked = [name for name in (*TARGETS, *SIZES) if getattr(arguments, name) is not None]
    if len(asked) != 1:
        _refuse(f"--calibration needs one target: {ASKED} (or --preset s5-hybrid, for formats of activations)"
                + (f"; not {' and '.join('--' + a.replace('_', '-') for a in asked)}" if asked else ""))
    if len(arguments.input) > 1:
        _refuse("--calibration is of one model; encode each by itself, with --reference what the receiver has")


def target_of(arguments: argparse.Namespace) -> Target:
    """What is asked for."""
    from ..calibration.targets import Target

    for name, kind in (*TARGETS.items(), *((size, size) for size in SIZES)):
        if getattr(arguments, name) is not None:
            return Target(kind, float(getattr(arguments, name)))
    raise AssertionError("check_options() has seen to it")


def calibrated(model: Model, references: Sequence[Model], arguments: argparse.Namespace, config: Config) -> Calibrated:
    """The stream that meets the target."""
    from ..calibration.cache import ENDING
    from ..calibration.calibrate import calibrate
    from ..calibration.feeding import feed_of
    from ..calibration.inputs import NOISE, read_sequences
    from ..calibration.search import EFFORT
    from ..integers.evaluate import network_of

    proto, effort = network_of(model), EFFORT if arguments.effort is None else arguments.effort
    noise = NOISE in arguments.calibration
    if noise and len(arguments.calibration) > 1:
        _refuse("noise stands in for inputs that are not there; leave it out beside others")
    if NOISE in (arguments.validation or ()):
        _refuse("noise shows nothing of the answers to real inputs: give --validation some")
    sequences = read_sequences(arguments.calibration, proto)
    held_out = read_sequences(arguments.validation or (), proto)
    weights = sum(t.size for t in model.tensors)
    with progress_bar(weights, "measure", "") as measuring, progress_bar(effort, "try", " streams") as trying:
        return calibrate(model, sequences, target_of(arguments), held_out=held_out,
                         feed=feed_of(arguments.feed or ()), decisions=arguments.decision or (),
                         outputs=arguments.output_name or (), config=config, references=references,
                         noise=noise, effort=effort,
                         seed=arguments.calibration_seed or 0, beside=arguments.input[0] + ENDING,
                         measuring=measuring, trying=trying)


def told(made: Calibrated) -> list[str]:
    """What was reached, in lines."""
    target, best = made.target, made.best
    kinds = {"decisions": f"{100 * made.measured:.2f} % of {made.of:,} decisions on inputs held out are the same, and "
                          f"at least {100 * made.bound:.2f} %",
             "output_snr": f"{made.measured:.2f} dB of the outputs on {made.of:,} inputs held out, and at least "
                           f"{made.bound:.2f} dB"}
    lines = [f"asked for {target}: " + kinds.get(
        target.kind, f"the outputs move by {made.measured:.4g} on {made.of:,} inputs held out, and by {made.bound:.4g} "
        "at most") + ", with a certainty of 90 %"]
    instead = ""
    if made.one_step is not None and best.way.name != "one step":
        instead = (f"; one step for all tensors would move them by about {made.one_step:.3g}" if target.by_size else
                   f"; one step for all tensors would take about {made.one_step:,.0f} bytes")
    lines.append(f"by {best.way.name}, the best of {len(made.trials)} streams: outputs move by {best.distance:.3g} "
                 f"(predicted {best.predicted:.3g}){instead}")
    return lines


def notes_of(made: Calibrated) -> list[str]:
    """What should be known besides."""
    from ..inspection.text import shown

    notes = []
    if made.never_run:
        names = ", ".join(shown(n, 60) for n in made.never_run[:8]) + (", ..." if len(made.never_run) > 8 else "")
        notes.append(f"the inputs never reach {len(made.never_run)} tensors, which are kept finely: {names}; give "
                     "inputs that do by one more --calibration")
    if made.plain:
        name, why = next(iter(made.plain.items()))
        notes.append(f"{len(made.plain)} tensors have a step alone, without feedback, e.g. {shown(name, 60)}: {why}")
    return notes


def with_formats(models: Sequence[Model], config: Config, arguments: argparse.Namespace
                 ) -> tuple[list[Model], Config]:
    """Of the preset s5-hybrid: the model with formats of its activations."""
    from ..calibration.inputs import NOISE, one_batch, read_runs
    from ..integers.allocate import adapt
    from ..integers.evaluate import network_of

    if len(models) > 1:
        _refuse("--calibration is of one model; encode each by itself")
    if NOISE in arguments.calibration:
        _refuse("formats of activations are chosen on real inputs, not on noise: --calibration X.npz")
    inputs = one_batch(read_runs(arguments.calibration, network_of(models[0])))
    model, config = adapt(models[0], inputs, config, arguments.mean_width or 8.0)
    return [model], config


def _refuse(message: str) -> NoReturn:
    raise ConfigError("BAD_CONFIG", message)
