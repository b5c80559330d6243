"""refcodec: encode, decode, inspect and compare neural-network models (OMC streams)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from .. import __version__
from ..bitstream.limits import VERSION
from ..errors import OmcError
from . import (
    check,
    check_integers,
    compare,
    conformance_decode,
    conformance_encode,
    decode,
    digest,
    encode,
    exit_codes,
    info,
    sensitivity,
    sign,
    trace,
    transcode,
    upgrade,
    validate,
    warm_up,
)
from .first_use import told
from .shared import HelpFormatter

# A command is a module with add(commands), which adds its parser, and run(arguments), which returns the exit code or
# None for 0.  What a command needs of the codec is imported when it runs, so that parsing and --help are quick.
COMMANDS: tuple[Any, ...] = (encode, decode, transcode, upgrade, info, trace, compare, digest, validate, sign,
                             sensitivity, check_integers, check, conformance_encode, conformance_decode, warm_up)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="refcodec", description=(__doc__ or "").strip(), epilog=exit_codes.TEXT,
                                  formatter_class=HelpFormatter)
    top.add_argument("--version", action="version", version=f"refcodec {__version__} (OMC {VERSION[0]}.{VERSION[1]})")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands).set_defaults(run=command.run)
    return top


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command; returns the exit code."""
    arguments = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")      # names that the terminal cannot show
    try:
        with told():
            code: int | None = arguments.run(arguments)
        sys.stdout.flush()
        return code or exit_codes.DONE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.DONE
    except OmcError as error:
        if getattr(arguments, "json", None) in (True, "-"):
            print(json.dumps({"error": {"code": error.code, "phase": error.phase, "message": error.message,
                                        "unit": error.unit, "bit": error.bit}}))
        print(f"refcodec: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"refcodec: {name}{error.strerror or error}", file=sys.stderr)
        return exit_codes.FORMAT
    except MemoryError:
        print("refcodec: RESOURCE_LIMIT: not enough memory; limit it with --max-memory", file=sys.stderr)
        return exit_codes.UNSUPPORTED
    except KeyboardInterrupt:
        print("refcodec: interrupted", file=sys.stderr)
        return exit_codes.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
