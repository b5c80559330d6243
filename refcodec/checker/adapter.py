"""The reference decoder as the contract wants it: once, or as a process that serves many (conformance/CONTRACT.md)."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from .. import __version__, compiler
from ..bitstream.limits import VERSION
from ..decoder import StreamDecoder
from ..errors import ConfigError, FormatError, OmcError
from .dump import read_dump, write_dump

CONTRACT = 1
DECODED, REJECTED, UNSUPPORTED = 0, 10, 11
CRASHED = 70


def decode_to(stream: str, folder: str, references: Sequence[str] = (), model: int | None = None) -> dict[str, Any]:
    """Decode and verify every model of a stream, dump one of them into a folder; the reply of the contract.

    references: folders of dumps.  model: number of the one to dump (default: the last).  Raises FormatError for files
    that cannot be read.
    """
    models = [read_dump(r) for r in references]
    try:
        with StreamDecoder(stream, models) as decoder:
            wanted = decoder.model_number(-1 if model is None else model)
            for number in range(len(decoder.parsed.models)):
                decoded = decoder.model(number)
                if number == wanted:
                    chosen = decoded
    except (FormatError, ConfigError):
        raise
    except OmcError as error:
        return {"exit": REJECTED, "code": error.code, "unit": error.unit, "bit": error.bit, "phase": error.phase,
                "message": error.message}
    write_dump(chosen, folder, decoder.parsed.cost)
    return {"exit": DECODED}


def decode_once(stream: str, folder: str, references: Sequence[str] = (), model: int | None = None) -> int:
    """The one-shot form; returns the exit code."""
    reply = decode_to(stream, folder, references, model)
    code: int = reply.pop("exit")
    if code != DECODED:
        print(json.dumps(reply), flush=True)
    return code


def serve(requests: TextIO = sys.stdin, replies: TextIO = sys.stdout) -> int:
    """The persistent form: a JSON object per line, until 'stop' or the end of the input."""
    for line in requests:
        request = json.loads(line)
        if request["op"] == "stop":
            break
        if request["op"] == "hello":
            reply = {"contract": CONTRACT, "name": "refcodec", "version": __version__,
                     "spec_version": "{}.{}".format(*VERSION), "profile": 2, "level": 4,
                     "python": platform.python_version(), "compiled": compiler.COMPILE}
        else:
            reply = decode_to(request["stream"], request["outdir"], request.get("references", ()), request.get("model"))
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    return 0
