"""knowledge center: keep models and their versions, and hand out the smallest update.

A store is a folder; STORE is its path. The client's commands take the URL of a service ('serve').
Exit codes: 0 done; 2 wrong use or a request that is not allowed; 3 not found; 4 conflict; 5 the store is damaged;
6 connection or disk failed; 7 no space; 10 a stream or model file is damaged, or a digest does not fit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from refcodec.formats.table import readable_endings

PROG = "python -m tools.knowledge_center"


def parser() -> argparse.ArgumentParser:
    """The command line; every option is explained here and nowhere else."""
    first, _, *rest = __doc__.splitlines()
    top = argparse.ArgumentParser(prog=PROG, description=first, epilog="\n".join(rest),
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, *arguments: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        texts = {"STORE": "folder of the store", "URL": "of the service, e.g. http://127.0.0.1:8711",
                 "NAME": "of the version", "MODEL": f"file: {readable_endings()}"}
        for a in arguments:
            p.add_argument(a.lower(), metavar=a, help=texts[a])
        p.add_argument("--json", action="store_true", help="print the result as JSON")
        return p

    p = command("init", "make a store, or leave the one that is there", "STORE")
    p.add_argument("--objects", default=".", metavar="URL",
                   help="where streams are kept: any fsspec URL, e.g. s3://bucket/path "
                   "(default: in the folder); the index stays in the folder")
    p = command("add", "add a model (or an OMC stream) as a version; verified by decoding it", "STORE", "NAME", "MODEL")
    _provenance(p)
    p.add_argument("--reference", default="auto", metavar="NAME",
                   help="version that it is predicted from, 'none', or 'auto': "
                   "the first parent, else the best of all that are stored (default)")
    _quality(p)
    command("list", "list the versions", "STORE")
    command("lineage", "show the tree of versions with the streams that are kept", "STORE")
    p = command("plan", "'I have A, give me B': the smallest chain of streams", "STORE", "NAME")
    _have(p)
    p.add_argument("--stored", action="store_true", help="of the streams that are stored; make none")
    p = command("get", "write a version as a model file, or the streams that lead to it", "STORE", "NAME")
    p.add_argument("-o", "--output", metavar="FILE", help="model file to write")
    p.add_argument("--streams", metavar="FOLDER",
                   help="write the streams of the plan here, for a receiver without a network; "
                   "'refcodec decode' applies them")
    _have(p)
    p = command("verify", "hash and decode every object, check every digest", "STORE")
    p.add_argument("--repair", action="store_true", help="make again what other chains still give")
    p = command("gc", "remove old temporary files and what the index does not know", "STORE")
    p.add_argument("--older-than", type=float, default=3600.0, metavar="SECONDS",
                   help="age of temporary files (default 3600)")
    p.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    command("best-reference", "which stored models predict a model best", "STORE", "MODEL")
    p = command("generate", "add the mean of versions, or of clusters of them, as a prediction model", "STORE", "NAME")
    p.add_argument("sources", metavar="VERSION", nargs="+", help="versions with the same tensors")
    p.add_argument("--clusters", type=int, default=1, metavar="K",
                   help="means of K clusters: NAME.1, NAME.2, ... (default 1)")
    _service(command("serve", "offer the store over HTTP", "STORE"))
    p = command("pull", "fetch a version from a service; resumes, verifies, writes the file whole or not at all",
                "URL", "NAME")
    p.add_argument("-o", "--output", required=True, metavar="FILE", help="model file to write")
    p.add_argument("--have", metavar="FILE", help="a model that is here: only what differs is fetched")
    _patience(p)
    p = command("push", "send a model to a service as a new version; resumes", "URL", "NAME", "MODEL")
    p.add_argument("--have", metavar="FILE", help="a model that the center has, too: only an update is sent")
    _provenance(p)
    _quality(p)
    _patience(p)
    _patience(command("remote", "list the versions of a service", "URL"))
    return top


def _patience(p: argparse.ArgumentParser) -> None:
    p.add_argument("--attempts", type=int, default=8, metavar="N",
                   help="attempts in a row without progress before the client "
                   "gives up (default 8); the same command goes on where it ended")


def _provenance(p: argparse.ArgumentParser) -> None:
    p.add_argument("--parent", action="append", default=[], metavar="NAME",
                   help="version that it was made from; may be given "
                   "again")
    p.add_argument("--note", default="", help="text that is kept with it")


def _quality(p: argparse.ArgumentParser) -> None:
    aim = p.add_mutually_exclusive_group()
    aim.add_argument("--snr", type=float, metavar="DB",
                     help="lossy, with this signal-to-noise ratio (default: lossless)")
    aim.add_argument("--step", type=float, metavar="S", help="lossy, with this quantiser step")
    aim.add_argument("--bits-per-weight", type=float, metavar="B", help="lossy, of this size")
    aim.add_argument("--config", metavar="FILE", help="TOML or JSON with the fields of refcodec.Config")


def _have(p: argparse.ArgumentParser) -> None:
    p.add_argument("--have", metavar="MODEL", help="what the receiver has: a model file, or the name of a version")


def _service(p: argparse.ArgumentParser) -> None:
    p.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1)")
    p.add_argument("--port", type=int, default=8711, help="port (default 8711; 0: any that is free)")
    p.add_argument("--name", action="append", default=[], metavar="NAME",
                   help="by which clients reach it, other than 'localhost' and addresses; may be given again")
    p.add_argument("--workers", type=int, default=2, metavar="N",
                   help="processes that code updates, and as many that decode what is sent (default 2)")
    p.add_argument("--seconds", type=float, default=120.0, metavar="S",
                   help="that decoding an upload may take; its process is killed then (default 120)")
    p.add_argument("--max-upload", type=int, default=4 << 30, metavar="BYTES", help="of one upload (default 4 GiB)")
    p.add_argument("--max-memory", type=int, default=4 << 30, metavar="BYTES",
                   help="that decoding a model may take (default 4 GiB)")
    p.add_argument("--token-file", metavar="FILE",
                   help="writers must know the first line of this file (push takes it from "
                   "the environment: KNOWLEDGE_CENTER_TOKEN)")
    p.add_argument("--open", action="store_true",
                   help="without a token anyone may write who reaches it (default: nobody)")


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command; returns the exit code."""
    arguments = parser().parse_args(argv)
    from . import commands
    from .errors import CenterError, escaped, one_error

    try:
        with one_error():
            code = getattr(commands, arguments.command.replace("-", "_"))(arguments)
            sys.stdout.flush()
        return code or 0
    except CenterError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if arguments.json:
            print(json.dumps(error.as_json()))
        print(f"knowledge center: {escaped(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("knowledge center: interrupted", file=sys.stderr)
        return 130
