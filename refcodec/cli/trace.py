"""refcodec trace: every syntax element of a stream."""

from __future__ import annotations

import argparse
import json

from .shared import (
    Commands,
    add_budget,
    add_command,
    add_json,
    add_references,
    add_selection,
    budget_of,
    references_named,
)


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "trace", "every syntax element: clause, name, value, bit position, bits",
        "List every syntax element of a stream in its order: unit, bit in the unit's body, bits, clause of SPEC.md, "
        "name, descriptor and value. Of a damaged stream all that stands before the damage.",
        {"refcodec trace model.omc": "the whole stream",
         "refcodec trace model.omc --unit 0": "the stream header",
         "refcodec trace model.omc --tensor fc1.weight --bins": "the unit of one tensor, and its bins"})
    p.add_argument("input", metavar="IN.omc")
    add_json(p, "one JSON object per line")
    p.add_argument("--bins", action="store_true",
                   help="then every arithmetic-coded bin with its cost (slow: small streams)")
    add_selection(p, "only the syntax elements")
    add_references(p, "for --bins of an update")
    add_budget(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.text import shown
    from ..inspection.trace import trace_stream

    budget = budget_of(arguments)
    with references_named(arguments.reference):
        for x in trace_stream(arguments.input, arguments.reference, arguments.bins, tensors=arguments.tensor,
                              units=arguments.unit, budget=budget):
            if arguments.json:
                line = json.dumps(x)
            else:
                line = "{unit:>5} {bit:>10} {bits:>9.6g}  {clause:<7} {structure}.{name} {descriptor} = ".format(**x)
                line += shown(str(x["value"]))
            budget.put_out(len(line) + 1, "the list")
            print(line)
