"""refcodec conformance-decode: the reference decoder as conformance/CONTRACT.md wants it."""

from __future__ import annotations

import argparse
import sys

from .shared import Commands, add_command


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "conformance-decode", "the reference decoder in the form of conformance/CONTRACT.md",
        "The reference decoder behind the contract of the conformance suite, whose exit codes it has.",
        {"refcodec conformance-decode decode model.omc folder": "the dump of its last model",
         "refcodec conformance-decode serve": "requests and replies, a JSON object a line"})
    forms = p.add_subparsers(dest="form", required=True, metavar="FORM")
    once = forms.add_parser("decode", help="one stream into a folder")
    once.add_argument("stream", metavar="STREAM")
    once.add_argument("outdir", metavar="OUTDIR")
    once.add_argument("--model", type=int, metavar="N", help="the model to dump, from 0 (default: the last)")
    once.add_argument("--reference", action="append", default=[], metavar="DUMPDIR")
    forms.add_parser("serve", help="JSON lines on standard input and output")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code of the contract."""
    from ..checker.adapter import CRASHED, decode_once, serve
    from ..errors import OmcError

    if arguments.form == "serve":
        return serve()
    try:
        return decode_once(arguments.stream, arguments.outdir, arguments.reference, arguments.model)
    except (OmcError, OSError) as error:         # of files, not of the stream
        print(f"refcodec: {error}", file=sys.stderr)
        return CRASHED
