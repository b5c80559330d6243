"""refcodec conformance-encode: the reference encoder as conformance/CONTRACT.md wants it."""

from __future__ import annotations

import argparse
import sys

from .shared import Commands, add_command


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "conformance-encode", "the reference encoder in the form of conformance/CONTRACT.md",
        "The reference encoder behind the contract of `refcodec check --encoder`, whose exit codes it has.",
        {"refcodec conformance-encode encode model.onnx folder --lossless": "stream.omc, and its dump"})
    once = p.add_subparsers(dest="form", required=True, metavar="FORM").add_parser("encode",
                                                                                   help="one model into a folder")
    once.add_argument("model", metavar="MODEL")
    once.add_argument("outdir", metavar="OUTDIR")
    once.add_argument("--lossless", action="store_true", help="keep every bit")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code of the contract."""
    from ..checker.adapter import CRASHED
    from ..checker.encoder_adapter import encode_once
    from ..errors import OmcError

    try:
        return encode_once(arguments.model, arguments.outdir, arguments.lossless)
    except (OmcError, OSError) as error:
        print(f"refcodec: {error}", file=sys.stderr)
        return CRASHED
