"""The commands `check` and `conformance-decode` of refcodec's command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ..shipped import shipped

PROFILES = ("baseline", "main", "high")      # as in manifest.py, which is not loaded for --help
MANIFEST = shipped("conformance/manifest.json")


def add_commands(commands) -> None:
    """Add the commands to the subparsers of the command line."""
    c = commands.add_parser(
        "check", help="run any decoder against the conformance suite",
        description="Run a decoder that speaks conformance/CONTRACT.md against a manifest. Exit codes: 0 every "
        "stream PASS, but for known failures; 20 not all; 21 the smoke stream did not pass, "
        "nothing else was run.")
    checked = c.add_mutually_exclusive_group(required=True)
    checked.add_argument("--decoder", metavar="CMD", help="the decoder, as typed in a shell, without 'decode'")
    checked.add_argument(
        "--encoder", metavar="CMD", help="an encoder, without 'encode': it codes the --models, its streams are "
        "validated, decoded, and compared with what it declares and, where asked for no loss, with the models")
    c.add_argument("--models", nargs="+", default=[], metavar="FILE", help="with --encoder: model files")
    c.add_argument("--manifest", default=str(MANIFEST), metavar="FILE",
                   help="the suite (default: the one that came with refcodec)")
    c.add_argument("--profile", choices=PROFILES, default="high", help="leave out streams of higher profiles")
    c.add_argument("--required", action="store_true", help="leave out streams that are not required")
    c.add_argument("--only", action="append", default=[], metavar="ID", help="only this stream; may be given again")
    c.add_argument("--persistent", action="store_true",
                   help="keep a process for many streams ('CMD serve'); failures are run "
                   "again alone")
    c.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                   help="runs at a time (default: all processors)")
    c.add_argument("--timeout", type=float, metavar="S", help="seconds per stream (default: the manifest's)")
    c.add_argument(
        "--memory", type=int, metavar="MB", help="megabytes of address space per process, 0: no limit, for decoders "
        "with sanitizers (default: the manifest's)")
    c.add_argument(
        "--resume", metavar="STATE.json",
        help="keep what passed in this file, and do not run it again: goes on with a check that was interrupted; "
        "begun anew for another manifest, command, option or build of the decoder")
    c.add_argument(
        "--known", metavar="FILE", help="JSON object of ids and reasons: failures that do not fail the run, nor "
        "count as PASS; one of them that passes fails the run")
    _add_reports(c.add_argument_group("reports"))
    c.add_argument("--quiet", action="store_true", help="no progress bar")

    e = commands.add_parser("conformance-encode", help="the reference encoder in the form of conformance/CONTRACT.md",
                            description="The reference encoder behind the contract of `refcodec check --encoder`.")
    once = e.add_subparsers(dest="form", required=True, metavar="FORM").add_parser("encode",
                                                                                   help="one model into a folder")
    once.add_argument("model", metavar="MODEL")
    once.add_argument("outdir", metavar="OUTDIR")
    once.add_argument("--lossless", action="store_true", help="keep every bit")

    d = commands.add_parser("conformance-decode", help="the reference decoder in the form of conformance/CONTRACT.md",
                            description="The reference decoder behind the contract of the conformance suite.")
    forms = d.add_subparsers(dest="form", required=True, metavar="FORM")
    once = forms.add_parser("decode", help="one stream into a folder")
    once.add_argument("stream", metavar="STREAM")
    once.add_argument("outdir", metavar="OUTDIR")
    once.add_argument("--model", type=int, metavar="N", help="the model to dump, from 0 (default: the last)")
    once.add_argument("--reference", action="append", default=[], metavar="DUMPDIR")
    forms.add_parser("serve", help="JSON lines on standard input and output")


def _add_reports(c) -> None:
    c.add_argument("--junit", metavar="FILE", help="JUnit XML")
    c.add_argument("--json", metavar="FILE", help="JSON ('-': to standard output, instead of the table)")
    c.add_argument(
        "--html", metavar="FILE", help="one page that needs nothing else: matrix, streams, failures, SPEC.md "
        "coloured (pip install 'refcodec[report]')")
    c.add_argument(
        "--with", dest="others", action="append", default=[], metavar="RUN.json", help="join the --json report "
        "of another run, say of another decoder, into the page; may be given again")
    c.add_argument("--badge", metavar="FILE", help="the result as a small SVG picture")


def run_check(arguments: argparse.Namespace) -> int:
    """`refcodec check`; returns the exit code. Raises FormatError for a manifest that cannot be read."""
    from tqdm import tqdm

    if arguments.encoder:
        return _check_encoder(arguments)

    from ..errors import ConfigError
    from . import check, load_manifest
    from .resume import Resume
    from .session import selected

    manifest = load_manifest(arguments.manifest)
    others, known = _inputs(arguments)
    try:
        streams = selected(manifest, arguments.profile, arguments.only, not arguments.required)
        for name in known:
            manifest[name]
    except KeyError as error:
        raise ConfigError("BAD_CONFIG", f"the manifest has no stream {error}") from None
    memory = None if arguments.memory is None else arguments.memory << 20
    resume = Resume(arguments.resume, arguments.decoder, manifest.sha256, persistent=arguments.persistent,
                    memory=memory, timeout=arguments.timeout) if arguments.resume else None
    failed = 0
    quiet = arguments.quiet or not sys.stderr.isatty()
    with tqdm(total=len(streams), unit="stream", disable=quiet, leave=False) as bar:
        def progress(result) -> None:
            nonlocal failed
            failed += not result.passed
            bar.set_postfix_str(f"{failed} not PASS", refresh=False)
            bar.update()
            if resume:
                resume.add(result)
        try:
            report = check(arguments.decoder, manifest, profile=arguments.profile, only=arguments.only,
                           optional=not arguments.required, persistent=arguments.persistent, jobs=arguments.jobs,
                           timeout=arguments.timeout, memory=memory, known=known, progress=progress,
                           passed=resume.passed if resume else ())
        finally:
            if resume:
                resume.close()
    _write_reports(arguments, report, others)
    print(report.json() if arguments.json == "-" else report.text())
    return report.exit_code


def _check_encoder(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..errors import ConfigError
    from ..files import atomic_file
    from .encoder_check import check_encoder

    if not arguments.models:
        raise ConfigError("BAD_CONFIG", "--encoder needs --models: the files that it is to code")
    if refused := [name for name in ("junit", "html", "badge", "resume", "known") if getattr(arguments, name)]:
        raise ConfigError("BAD_CONFIG", f"--{refused[0]} is of checks of decoders, not of --encoder")
    memory = None if arguments.memory is None else arguments.memory << 20
    quiet = arguments.quiet or not sys.stderr.isatty()
    with tqdm(total=2 * len(arguments.models), unit="run", disable=quiet, leave=False) as bar:
        report = check_encoder(arguments.encoder, arguments.models, timeout=arguments.timeout, memory=memory,
                               progress=lambda result: bar.update())
    if arguments.json and arguments.json != "-":
        with atomic_file(arguments.json) as file:
            file.write(report.json().encode("utf-8"))
    print(report.json() if arguments.json == "-" else report.text())
    return report.exit_code


def run_conformance_encode(arguments: argparse.Namespace) -> int:
    """`refcodec conformance-encode`; returns the exit code of the contract."""
    from ..errors import OmcError
    from .adapter import CRASHED
    from .encoder_adapter import encode_once

    try:
        return encode_once(arguments.model, arguments.outdir, arguments.lossless)
    except (OmcError, OSError) as error:
        print(f"refcodec: {error}", file=sys.stderr)
        return CRASHED


def _inputs(arguments: argparse.Namespace) -> tuple[list[dict], dict[str, str]]:
    """(reports of other runs, known failures), before anything is run. Raises ConfigError where they are damaged."""
    from ..errors import ConfigError

    def read(path: str) -> dict:
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError("BAD_CONFIG", f"cannot read {path}: {error}") from None
        if not isinstance(data, dict):
            raise ConfigError("BAD_CONFIG", f"{path} holds no JSON object")
        return data

    if arguments.html:
        from . import html_report  # noqa: F401  (says now, not after the run, what is not installed)
    others, known = [read(path) for path in arguments.others], read(arguments.known) if arguments.known else {}
    if not all(isinstance(reason, str) and reason for reason in known.values()):
        raise ConfigError("BAD_CONFIG", f"{arguments.known}: each known failure needs a reason")
    if bad := [path for path, run in zip(arguments.others, others) if not isinstance(run.get("results"), list)]:
        raise ConfigError("BAD_CONFIG", f"{bad[0]} is no report of 'refcodec check --json'")
    return others, known


def _write_reports(arguments: argparse.Namespace, report, others: list[dict]) -> None:
    from ..files import atomic_file

    def page() -> str:
        from .html_report import page
        return page([report.data(), *others], report.manifest)

    def badge() -> str:
        from .badge import badge
        return badge(report.data())

    for path, text in ((arguments.json, report.json), (arguments.junit, report.junit), (arguments.html, page),
                       (arguments.badge, badge)):
        if path and path != "-":
            with atomic_file(path) as file:
                file.write(text().encode("utf-8"))


def run_conformance_decode(arguments: argparse.Namespace) -> int:
    """`refcodec conformance-decode`; returns the exit code of the contract."""
    from ..errors import OmcError
    from .adapter import CRASHED, decode_once, serve

    if arguments.form == "serve":
        return serve()
    try:
        return decode_once(arguments.stream, arguments.outdir, arguments.reference, arguments.model)
    except (OmcError, OSError) as error:         # of files, not of the stream
        print(f"refcodec: {error}", file=sys.stderr)
        return CRASHED


def main(argv: list[str] | None = None) -> int:
    """These commands alone: `python -m refcodec.checker.commands`."""
    parser = argparse.ArgumentParser(prog="refcodec")
    add_commands(parser.add_subparsers(dest="command", required=True))
    arguments = parser.parse_args(argv)
    run = {
        "check": run_check, "conformance-decode": run_conformance_decode, "conformance-encode": run_conformance_encode
    }
    return run[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
