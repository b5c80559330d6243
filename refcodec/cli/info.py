"""refcodec info: what a stream holds and where its bytes go."""

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
    load_all,
    references_named,
)


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "info", "what a stream holds and where its bytes go",
        "Describe a stream without decoding it: units, models, tensors, how each was coded, and where the bytes go.",
        {"refcodec info model.omc": "all of it as tables",
         "refcodec info model.omc --tensor fc1.weight --why": "one tensor, and what other ways would have cost",
         "refcodec info model.omc --json": "for programs, with digests and whole names"})
    p.add_argument("input", metavar="IN.omc")
    add_json(p)
    p.add_argument("--why", action="store_true", help="what each tensor would have cost in other entropy modes, and "
                   "the model in each of them (slow)")
    add_selection(p, "only what there is")
    add_references(p, "for --why of an update")
    add_budget(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.describe import describe_stream
    from ..inspection.tables import print_info

    budget = budget_of(arguments)
    description = describe_stream(arguments.input, arguments.tensor, arguments.unit, budget)
    if arguments.why:
        from ..bitstream.structures import EntropyMode
        from ..decoder import StreamDecoder
        from ..inspection.why import alternatives, summed

        references = load_all(arguments.reference, budget=budget)
        with (references_named(arguments.reference),
              StreamDecoder(arguments.input, references, budget=budget) as decoder):
            for number, model in enumerate(description["models"]):
                decoder.allow(number, times=len(EntropyMode))
                only = {t["index"] for t in model["tensors"]}
                model["why"] = list(alternatives(decoder, number, only))
                model["why_in_all"] = summed(model["why"])
    if arguments.json:
        print(json.dumps(description, indent=1))
    else:
        print_info(description)
