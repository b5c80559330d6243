"""refcodec trace: every syntax element of a stream."""

from __future__ import annotations

import argparse
import json

from .shared import Commands, add_json, add_references


def add(commands: Commands) -> argparse.ArgumentParser:
    p = commands.add_parser("trace", help="every syntax element: clause, name, value, bit position, bits")
    p.add_argument("input", metavar="IN.omc")
    add_json(p, "one JSON object per line")
    p.add_argument("--bins", action="store_true",
                   help="then every arithmetic-coded bin with its cost (slow: small streams)")
    add_references(p, "for --bins of an update")
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.describe import printable
    from ..inspection.trace import trace_stream

    for element in trace_stream(arguments.input, arguments.reference, arguments.bins):
        if arguments.json:
            print(json.dumps(element))
        else:
            line = "{unit:>5} {bit:>10} {bits:>9.6g}  {clause:<7} {structure}.{name} {descriptor} = {value}".format(
                **element)
            print(printable(line))
