"""refcodec compare: how two models differ."""

from __future__ import annotations

import argparse
import json

from .shared import Commands, add_budget, add_command, add_json, add_references, budget_of, load_all, references_named


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "compare", "two models (or streams), tensor by tensor: equal bits, SNR, largest error",
        "Compare two models, files or streams, tensor by tensor, the worst first; tensors are paired by their names. "
        "Where less than half can be compared, the models are said to be unlike. The exit code is 0 whether they "
        "differ or not; --json has 'equal' and 'unlike', and the tensors in the order of the model.",
        {"refcodec compare model.onnx model.omc": "what coding has changed",
         "refcodec compare v2.onnx update.omc --reference v1.onnx": "the same of an update"})
    p.add_argument("a", metavar="A")
    p.add_argument("b", metavar="B")
    add_references(p)
    add_budget(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.compare import compare_models, print_comparison

    references = load_all(arguments.reference, budget=(budget := budget_of(arguments)))
    with references_named(arguments.reference):
        first, second = load_all([arguments.a, arguments.b], references, budget)
        result = compare_models(first, second, budget)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_comparison(result, arguments.a, arguments.b)
