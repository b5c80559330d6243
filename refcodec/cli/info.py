"""refcodec info: what a stream holds and where its bytes go."""

from __future__ import annotations

import argparse
import json

from .shared import Commands, add_json, add_references, load_all


def add(commands: Commands) -> argparse.ArgumentParser:
    p = commands.add_parser("info", help="what a stream holds and where its bytes go")
    p.add_argument("input", metavar="IN.omc")
    add_json(p)
    p.add_argument("--why", action="store_true", help="what each tensor would have cost in other entropy modes, and "
                   "the model in each of them (slow)")
    add_references(p, "for --why of an update")
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.describe import describe_stream, print_info

    description = describe_stream(arguments.input)
    if arguments.why:
        from ..decoder import StreamDecoder
        from ..inspection.why import alternatives, summed

        with StreamDecoder(arguments.input, load_all(arguments.reference)) as decoder:
            for number, model in enumerate(description["models"]):
                model["why"] = list(alternatives(decoder, number))
                model["why_in_all"] = summed(model["why"])
    if arguments.json:
        print(json.dumps(description, indent=1))
    else:
        print_info(description)
