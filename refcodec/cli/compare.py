"""refcodec compare: how two models differ."""

from __future__ import annotations

import argparse
import json

from .shared import Commands, add_json, add_references, load_all


def add(commands: Commands) -> argparse.ArgumentParser:
    p = commands.add_parser("compare", help="two models (or streams), tensor by tensor: equal bits, SNR, largest error")
    p.add_argument("a", metavar="A")
    p.add_argument("b", metavar="B")
    add_references(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.compare import compare_models, print_comparison

    a, b = load_all([arguments.a, arguments.b], load_all(arguments.reference))
    result = compare_models(a, b)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_comparison(result)
