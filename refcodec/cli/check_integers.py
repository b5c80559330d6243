"""refcodec check-integers: a model run in integers beside itself in floating point."""

from __future__ import annotations

import argparse
import json

from .shared import Commands, add_command, add_json, add_references, load_all, references_named


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "check-integers", "run a model in integers: accumulators, clipping, and what changes",
        "Run the network of a model with activation formats (SPEC 7.6.4; encode --preset s5-hybrid --calibration makes "
        "them) in integers, and the same weights in floating point.",
        {"refcodec check-integers model.omc --inputs X.npz": "accumulators, clipping, and how far the outputs move",
         "refcodec check-integers model.omc --inputs X.npz --labels y": "right answers, too: y holds the classes"})
    p.add_argument("input", metavar="IN.omc")
    p.add_argument("--inputs", required=True, metavar="X.npz",
                   help="inputs of the network, by name, the first axis is the batch")
    p.add_argument("--labels", metavar="NAME",
                   help="array of X.npz with the right classes (default: 'labels', if it is there)")
    add_references(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..errors import ConfigError
    from ..integers.check import check_integers, print_check
    from ..integers.evaluate import network_of
    from ..integers.inputs import network_inputs

    references = load_all(arguments.reference)
    with references_named(arguments.reference):
        (model,) = load_all([arguments.input], references)
    inputs, others = network_inputs(arguments.inputs, network_of(model))
    labels = others.get(arguments.labels or "labels")
    if labels is None and arguments.labels:
        raise ConfigError("BAD_CONFIG", f"{arguments.inputs!r} has no array {arguments.labels!r}; it has "
                          f"{', '.join(others)}")
    result = check_integers(model, inputs, labels)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_check(result)
