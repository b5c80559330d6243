"""The commands `check` and `conformance-decode` of refcodec's command line."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

PROFILES = ("baseline", "main", "high")      # as in manifest.py, which is not loaded for --help
MANIFEST = Path(__file__).parents[2] / "conformance" / "manifest.json"


def add_commands(commands) -> None:
    """Add the commands to the subparsers of the command line."""
    c = commands.add_parser("check", help="run any decoder against the conformance suite",
                            description="Run a decoder that speaks conformance/CONTRACT.md against a manifest. Exit codes: 0 every "
                                        "stream PASS; 20 not all; 21 the smoke stream did not pass, nothing else was run.")
    c.add_argument("--decoder", required=True, metavar="CMD", help="the decoder, as typed in a shell, without 'decode'")
    c.add_argument("--manifest", default=str(MANIFEST), metavar="FILE", help="the suite (default: the one of this repository)")
    c.add_argument("--profile", choices=PROFILES, default="high", help="leave out streams of higher profiles")
    c.add_argument("--required", action="store_true", help="leave out streams that are not required")
    c.add_argument("--only", action="append", default=[], metavar="ID", help="only this stream; may be given again")
    c.add_argument("--persistent", action="store_true", help="keep a process for many streams ('CMD serve'); failures are run "
                   "again alone")
    c.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="runs at a time (default: all processors)")
    c.add_argument("--timeout", type=float, metavar="S", help="seconds per stream (default: the manifest's)")
    c.add_argument("--memory", type=int, metavar="MB", help="megabytes of address space per process, 0: no limit, for decoders "
                   "with sanitizers (default: the manifest's)")
    c.add_argument("--junit", metavar="FILE", help="write a JUnit XML report")
    c.add_argument("--json", metavar="FILE", help="write a JSON report ('-': to standard output, instead of the table)")
    c.add_argument("--quiet", action="store_true", help="no progress bar")

    d = commands.add_parser("conformance-decode", help="the reference decoder in the form of conformance/CONTRACT.md",
                            description="The reference decoder behind the contract of the conformance suite.")
    forms = d.add_subparsers(dest="form", required=True, metavar="FORM")
    once = forms.add_parser("decode", help="one stream into a folder")
    once.add_argument("stream", metavar="STREAM")
    once.add_argument("outdir", metavar="OUTDIR")
    once.add_argument("--reference", action="append", default=[], metavar="DUMPDIR")
    forms.add_parser("serve", help="JSON lines on standard input and output")


def run_check(arguments: argparse.Namespace) -> int:
    """`refcodec check`; returns the exit code. Raises FormatError for a manifest that cannot be read."""
    from tqdm import tqdm

    from ..errors import ConfigError
    from . import check, load_manifest
    from .checking import selected

    manifest = load_manifest(arguments.manifest)
    try:
        streams = selected(manifest, arguments.profile, arguments.only, not arguments.required)
    except KeyError as error:
        raise ConfigError("BAD_CONFIG", f"the manifest has no stream {error}") from None
    memory = None if arguments.memory is None else arguments.memory << 20
    with tqdm(total=len(streams), unit="stream", disable=arguments.quiet or not sys.stderr.isatty(), leave=False) as bar:
        report = check(arguments.decoder, manifest, profile=arguments.profile, only=arguments.only,
                       optional=not arguments.required, persistent=arguments.persistent, jobs=arguments.jobs,
                       timeout=arguments.timeout, memory=memory, progress=lambda result: bar.update())
    for path, text in ((arguments.json, report.json), (arguments.junit, report.junit)):
        if path and path != "-":
            Path(path).write_text(text(), encoding="utf-8")
    print(report.json() if arguments.json == "-" else report.text())
    return report.exit_code


def run_conformance_decode(arguments: argparse.Namespace) -> int:
    """`refcodec conformance-decode`; returns the exit code of the contract."""
    from ..errors import OmcError
    from .adapter import CRASHED, decode_once, serve

    if arguments.form == "serve":
        return serve()
    try:
        return decode_once(arguments.stream, arguments.outdir, arguments.reference)
    except (OmcError, OSError) as error:         # of files, not of the stream
        print(f"refcodec: {error}", file=sys.stderr)
        return CRASHED


def main(argv: list[str] | None = None) -> int:
    """These commands alone: `python -m refcodec.checker.commands`."""
    parser = argparse.ArgumentParser(prog="refcodec")
    add_commands(parser.add_subparsers(dest="command", required=True))
    arguments = parser.parse_args(argv)
    return {"check": run_check, "conformance-decode": run_conformance_decode}[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
