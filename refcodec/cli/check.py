"""refcodec check: any decoder, or encoder, against the conformance suite."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from ..bitstream.limits import Profile
from ..shipped import shipped
from .shared import Commands, add_command, refuse_overwriting

if TYPE_CHECKING:
    from ..checker.report import Report

MANIFEST = shipped("conformance/manifest.json")
INPUT_BYTES_MAX = 1 << 28        # of a report or a list of known failures


def add(commands: Commands) -> argparse.ArgumentParser:
    c = add_command(
        commands, "check", "run any decoder against the conformance suite",
        "Run a decoder that speaks conformance/CONTRACT.md against a manifest of streams, or an encoder on models.",
        {"refcodec check --decoder 'refcodec conformance-decode'": "the reference decoder itself",
         "refcodec check --decoder './mine' --profile main --html report.html": "yours, up to a profile, with a page",
         "refcodec check --decoder './mine' --only smoke --jobs 1": "one stream",
         "refcodec check --encoder './my-encoder' --models *.onnx": "an encoder"})
    checked = c.add_mutually_exclusive_group(required=True)
    checked.add_argument("--decoder", metavar="CMD", help="the decoder, as typed in a shell, without 'decode'")
    checked.add_argument(
        "--encoder", metavar="CMD", help="an encoder, without 'encode': it codes the --models, its streams are "
        "validated, decoded, and compared with what it declares and, where asked for no loss, with the models")
    c.add_argument("--models", nargs="+", default=[], metavar="FILE", help="with --encoder: model files")
    c.add_argument("--manifest", default=str(MANIFEST), metavar="FILE",
                   help="the suite (default: the one that came with refcodec)")
    c.add_argument("--profile", choices=[profile.name.lower() for profile in Profile], default="high",
                   help="leave out streams of higher profiles")
    c.add_argument("--required", action="store_true", help="leave out streams that are not required")
    c.add_argument("--only", action="append", default=[], metavar="ID", help="only this stream; may be given again")
    served = c.add_mutually_exclusive_group()
    served.add_argument("--persistent", action="store_true", default=None,
                        help="keep a process for many streams ('CMD serve') and fail if that does not answer hello; "
                        "failures are run again alone (default: so, if it answers)")
    served.add_argument("--no-serve", dest="persistent", action="store_false",
                        help="a process for each stream, 'CMD serve' is not called")
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
    c.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return c


def _add_reports(c: argparse._ArgumentGroup) -> None:
    c.add_argument("--junit", metavar="FILE", help="JUnit XML")
    c.add_argument("--json", metavar="FILE", help="JSON ('-': to standard output, instead of the table)")
    c.add_argument(
        "--html", metavar="FILE", help="one page that needs nothing else: matrix, streams, failures, SPEC.md "
        "coloured (pip install 'refcodec[report]')")
    c.add_argument(
        "--with", dest="others", action="append", default=[], metavar="RUN.json", help="join the --json report "
        "of another run, say of another decoder, into the page; may be given again")
    c.add_argument("--badge", metavar="FILE", help="the result as a small SVG picture")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code. Raises FormatError for a manifest that cannot be read."""
    if arguments.encoder:
        return _check_encoder(arguments)

    from ..checker.checking import check
    from ..checker.manifest import load_manifest
    from ..checker.progress import Progress
    from ..checker.resume import Resume
    from ..checker.session import selected
    from ..checker.verdicts import Result
    from ..errors import ConfigError

    _check_numbers(arguments)
    refuse_reports_over_inputs(arguments)
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
    with Progress(len(streams), "stream", quiet=arguments.quiet) as progress:
        def finished(result: Result) -> None:
            progress.add(result.passed, result.resumed)
            if resume:
                resume.add(result)
        try:
            report = check(arguments.decoder, manifest, profile=arguments.profile, only=arguments.only,
                           optional=not arguments.required, persistent=arguments.persistent, jobs=arguments.jobs,
                           timeout=arguments.timeout, memory=memory, known=known, progress=finished,
                           notice=progress.note, passed=resume.passed if resume else ())
        finally:
            if resume:
                resume.close()
    _write_reports(arguments, report, others)
    print(report.json() if arguments.json == "-" else report.text())
    return report.exit_code


def _check_numbers(arguments: argparse.Namespace) -> None:
    """Raises ConfigError BAD_CONFIG for limits that are none."""
    from ..errors import ConfigError

    if arguments.timeout is not None and not 0 < arguments.timeout <= 10**6:
        raise ConfigError("BAD_CONFIG", f"--timeout is a number of seconds above 0, not {arguments.timeout}")
    if arguments.memory is not None and not 0 <= arguments.memory < 1 << 40:
        raise ConfigError("BAD_CONFIG", f"--memory is a number of megabytes, 0 or more, not {arguments.memory}")


def refuse_reports_over_inputs(arguments: argparse.Namespace) -> None:
    """Raises ConfigError BAD_CONFIG where a report would take the place of what is read."""
    inputs = [arguments.manifest, arguments.known, *arguments.others, *arguments.models]
    for path in (arguments.junit, arguments.json, arguments.html, arguments.badge, arguments.resume):
        if path and path != "-":
            refuse_overwriting(path, inputs)


def _check_encoder(arguments: argparse.Namespace) -> int:
    from ..checker.encoder_check import check_encoder
    from ..checker.progress import Progress
    from ..errors import ConfigError
    from ..files import atomic_file

    _check_numbers(arguments)
    refuse_reports_over_inputs(arguments)
    if not arguments.models:
        raise ConfigError("BAD_CONFIG", "--encoder needs --models: the files that it is to code")
    if refused := [name for name in ("junit", "html", "badge", "resume", "known") if getattr(arguments, name)]:
        raise ConfigError("BAD_CONFIG", f"--{refused[0]} is of checks of decoders, not of --encoder")
    memory = None if arguments.memory is None else arguments.memory << 20
    with Progress(2 * len(arguments.models), "run", quiet=arguments.quiet) as progress:
        report = check_encoder(arguments.encoder, arguments.models, timeout=arguments.timeout, memory=memory,
                               progress=lambda result: progress.add(result.passed))
    if arguments.json and arguments.json != "-":
        with atomic_file(arguments.json) as file:
            file.write(report.json().encode("utf-8"))
    print(report.json() if arguments.json == "-" else report.text())
    return report.exit_code


def _inputs(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(reports of other runs, known failures), before anything is run. Raises ConfigError where they are damaged."""
    from ..errors import ConfigError
    from ..files import read_bounded

    def read(path: str) -> dict[str, Any]:
        try:
            data = json.loads(read_bounded(path, INPUT_BYTES_MAX).decode("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError("BAD_CONFIG", f"cannot read {path}: {error}") from None
        if not isinstance(data, dict):
            raise ConfigError("BAD_CONFIG", f"{path} holds no JSON object")
        return data

    if arguments.html:
        from ..checker import html_report  # noqa: F401  (says now, not after the run, what is not installed)
    others, known = [read(path) for path in arguments.others], read(arguments.known) if arguments.known else {}
    if not all(isinstance(reason, str) and reason for reason in known.values()):
        raise ConfigError("BAD_CONFIG", f"{arguments.known}: each known failure needs a reason")
    if bad := [path for path, run in zip(arguments.others, others) if not _is_report(run)]:
        raise ConfigError("BAD_CONFIG", f"{bad[0]} is no report of 'refcodec check --json'")
    return others, known


def _is_report(run: dict[str, Any]) -> bool:
    """Whether all that a page looks at is there, as Report.data() gives it."""
    from ..checker.verdicts import Verdict

    texts = ("id", "verdict", "detail", "note", "known", "command", "check_command", "stderr")
    results, hello = run.get("results"), run.get("decoder_hello", {})
    verdicts = {verdict.value for verdict in Verdict}
    kinds = {"passed": bool, "exit_code": int, "suite_version": str, "spec_version": str, "seconds": float,
             "persistent": bool}
    return (all(isinstance(run.get(name), kind) for name, kind in kinds.items())
            and isinstance(results, list) and isinstance(hello, dict) and isinstance(run.get("decoder"), str)
            and all(isinstance(r, dict) and all(isinstance(r.get(name), str) for name in texts)
                    and r["verdict"] in verdicts and type(r.get("seconds")) in (int, float) for r in results)
            and isinstance(run.get("strays"), list) and isinstance(run.get("verdicts"), dict)
            and all(type(n) is int for n in run["verdicts"].values()))


def _write_reports(arguments: argparse.Namespace, report: Report, others: list[dict[str, Any]]) -> None:
    from ..files import atomic_file

    def page() -> str:
        from ..checker.html_report import page
        return page([report.data(), *others], report.manifest)

    def badge() -> str:
        from ..checker.badge import badge
        return badge(report.data())

    for path, text in ((arguments.json, report.json), (arguments.junit, report.junit), (arguments.html, page),
                       (arguments.badge, badge)):
        if path and path != "-":
            with atomic_file(path) as file:
                file.write(text().encode("utf-8"))
