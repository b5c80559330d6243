"""refcodec sensitivity: how far a network's outputs move when the weights of a tensor do."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from .shared import (
    Commands,
    add_command,
    add_json,
    add_references,
    add_threads,
    calm_libraries,
    load_all,
    progress_bar,
    references_named,
    refuse_overwriting,
    threads_of,
)

if TYPE_CHECKING:
    from ..calibration.sensitivity import Sensitivities
    from ..calibration.steps import Plan
    from ..model import Model


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "sensitivity", "run a network: in which tensors an error costs most",
        "Run the network of an ONNX model on some inputs, with noise in one tensor after another, and tell how far the "
        "outputs move: by the Kullback-Leibler divergence, in nats a decision, where they are probabilities, else by "
        "the squared error over the variance. A tensor's sensitivity is this distance for a unit of squared error in "
        "it. 'bits' is what the tensor asks for where a bit is worth the same everywhere; --config writes this down "
        "for encode. A tensor that the inputs never reach, in a branch not taken, is named: give inputs that reach "
        "it. Needs ONNX Runtime: pip install 'refcodec[calibration]'. What was measured is kept beside the model, in "
        "MODEL.sensitivity.json.",
        {"refcodec sensitivity model.onnx --calibration X.npz": "a line a tensor, the most sensitive first",
         "refcodec sensitivity model.onnx --calibration X.npz --config steps.toml":
             "steps for 'refcodec encode model.onnx --config steps.toml --bits-per-weight 4 -o model.omc'",
         "refcodec sensitivity model.onnx --calibration noise": "without inputs: less exact, but better than one step"})
    p.add_argument("input", metavar="MODEL", help="an ONNX file, or a stream of one")
    p.add_argument("--calibration", required=True, action="append", metavar="X.npz",
                   help="inputs of the network by name, a few dozen; one more axis in front counts runs; may be given "
                   "again, for inputs of other shapes. 'noise': made up, where the graph states their shapes")
    p.add_argument("--feed", action="append", metavar="OUTPUT:INPUT",
                   help="an output that is an input of the next run, as a state; may be given again")
    p.add_argument("--output", action="append", default=[], metavar="NAME",
                   help="an output that counts; may be given again (default: those that are probabilities, else all)")
    p.add_argument("--bits-per-weight", type=float, default=4.0, metavar="B",
                   help="on average, for the column 'bits' and for --config (default 4)")
    p.add_argument("--config", metavar="OUT.toml", help="write a configuration for encode, with a step for each tensor")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default 0)")
    p.add_argument("--no-cache", action="store_true", help="measure anew, and keep nothing beside the model")
    add_references(p)
    add_threads(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    calm_libraries()
    from ..calibration.cache import as_json
    from ..calibration.steps import configuration, plan_steps
    from ..errors import ConfigError
    from ..files import atomic_file

    if arguments.seed < 0:
        raise ConfigError("BAD_CONFIG", f"--seed is 0 or more, not {arguments.seed}")
    if arguments.config:
        refuse_overwriting(arguments.config, [arguments.input, *arguments.calibration])
    references = load_all(arguments.reference)
    with references_named(arguments.reference):
        (model,) = load_all([arguments.input], references)
    found = _found(model, arguments)
    measured = {s.name for s in found.tensors}
    plan = plan_steps(found, {t.name: t.array for t in model.tensors if t.name in measured}, arguments.bits_per_weight)
    if arguments.config:
        with atomic_file(arguments.config) as f:
            f.write(configuration(plan, found.never_run).encode())
    if arguments.json:
        asked = {a.sensitivity.name: {"step": a.step, "bits": a.bits} for a in plan.tensors}
        result = as_json(found)
        result["tensors"] = [t | asked[t["name"]] for t in result["tensors"]]
        plan_result = {"bits_per_weight": plan.bits_per_weight, "price": plan.price, "distance": plan.distance}
        print(json.dumps(result | plan_result, indent=1))
    else:
        _print(found, plan)


def _found(model: Model, arguments: argparse.Namespace) -> Sensitivities:
    """Measured, or read from beside the model."""
    from ..calibration.cache import ENDING, key_of, store, stored
    from ..calibration.feeding import FedNetwork, asked_for, chains_of, fed, feed_of, sampled
    from ..calibration.inputs import read_sequences
    from ..calibration.network import Network
    from ..calibration.sensitivity import sensitivities
    from ..integers.evaluate import network_of

    sequences, feed = read_sequences(arguments.calibration, network_of(model)), feed_of(arguments.feed or ())
    runs = [run for part in sequences for run in part]
    if feed:
        runs, chains = sampled(fed(model, sequences, feed), chains_of(sequences))
    path, key = arguments.input + ENDING, key_of(model, runs, asked_for(arguments.output, feed), arguments.seed)
    kept = None if arguments.no_cache else stored(path, key)
    if kept is not None:
        return kept
    threads = threads_of(arguments)
    network = FedNetwork(model, runs, chains, feed, threads) if feed else Network(model, runs, threads)
    with progress_bar(sum(w.size for w in network.weights.values()), "measure") as progress:
        found = sensitivities(network, arguments.output, arguments.seed, progress)
    if not arguments.no_cache and not store(path, key, found):
        print(f"note: {path} cannot be written, so nothing is kept", file=sys.stderr)
    return found


def _print(found: Sensitivities, plan: Plan) -> None:
    from ..inspection.text import shown

    units = {"classes": "nats a decision", "log-classes": "nats a decision", "chances": "nats a decision",
             "values": "squared error over variance"}
    for o in found.outputs:
        print(f"output {shown(o.name, 60)}: {o.kind}, {o.decisions:,} of them, distance in {units[o.kind]}")
    print(f"bits: at {plan.bits_per_weight:.3g} a weight on average the outputs move by about {plan.distance:.3g}\n")
    print("  sensitivity  spread   elements    bits        step  tensor")
    for a in sorted(plan.tensors, key=lambda a: -a.sensitivity.value):
        s = a.sensitivity
        print(f"{s.value:13.4g} {100 * s.spread:5.0f} % {s.elements:10,} {a.bits:7.2f} {a.step:11.4g}  "
              f"{shown(s.name, 80)}")
    for name in found.never_run:
        print(f"never run: {shown(name, 80)}")
    if found.never_run:
        print(f"these inputs do not reach {len(found.never_run)} tensors: add inputs that do by one more --calibration")
