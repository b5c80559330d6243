"""refcodec validate: a stream against every requirement of SPEC.md."""

from __future__ import annotations

import argparse
import os

from .shared import Commands, add_budget, add_command, add_json, add_references, budget_of, print_result, progress_bar
from .sign import add_verification, verified


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "validate", "check a stream against every requirement of SPEC.md",
        "Check a stream strictly: all that a decoder checks, in all models, and what it need not check (paths and "
        "slots of source files, accumulators of layers in integers). Violations are shown with unit and bit, and with "
        "the words of SPEC.md. Where a reference model or memory is missing, not all can be checked (exit code 11).",
        {"refcodec validate model.omc": "the first violation, if there is any",
         "refcodec validate --all --json update.omc --reference v1.onnx": "all violations, for programs"})
    p.add_argument("input", metavar="STREAM")
    add_references(p, "an external model that the stream refers to: a model file, or the folder of a dump; may be "
                   "given again")
    p.add_argument(
        "--all", action="store_true", dest="every", help="go on after the first violation, with the next element, "
        "unit and tensor; what depends on damage is named as not checked")
    add_budget(p)
    add_verification(p)
    add_json(p, "print the findings as JSON")
    return p


def run(arguments: argparse.Namespace) -> int:
    from ..checker.dump import read_dump
    from ..inputs import load_any
    from ..inspection.text import printable
    from ..validator.validation import validate

    budget = budget_of(arguments)
    references = [read_dump(path) if os.path.isdir(path) else load_any(path, (), budget)
                  for path in arguments.reference]
    with progress_bar(0, "validate") as progress:
        validation = validate(verified(arguments), references, every=arguments.every, budget=budget,
                              progress=progress)
    print_result(arguments, validation.data(), "\n".join(map(printable, validation.text().splitlines())))
    return validation.exit_code
