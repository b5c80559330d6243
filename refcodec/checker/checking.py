"""A check: a decoder against the streams of a manifest, in parallel; the smoke stream first."""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError
from .manifest import Manifest, Stream
from .report import Report
from .session import Session, decoder_files, selected
from .verdicts import Result, Verdict
from .workspace import Flood, State, remove, snapshot, state

__all__ = ["check", "selected"]


def check(command: str, manifest: Manifest, *, profile: str = "high", only: Sequence[str] = (), optional: bool = True,
          persistent: bool | None = None, jobs: int = 1, timeout: float | None = None, memory: int | None = None,
          known: Mapping[str, str] | None = None, passed: Collection[str] = (),
          progress: Callable[[Result], None] = lambda result: None,
          notice: Callable[[str], None] = lambda text: None) -> Report:
    """Run a decoder (a shell-like command) against a manifest.

    profile: streams of higher profiles are left out.  only: ids.  optional: streams that are not required, too.
    persistent: many streams are served by one process per job, True, or each has a process of its own, False; by
    default they are served if 'CMD serve' answers hello.  What fails in a served process is run again alone.
    timeout: seconds per stream, memory: bytes (0: no limit); both from the manifest by default.
    known: id to reason, of failures that do not fail the check (nor pass).  passed: ids that passed in an earlier run
    and are not run again.  progress: called with each result, from any thread; notice: with a line of text, before the
    first.  Raises KeyError for an unknown id, ConfigError where `persistent` is asked of a decoder that does not serve.
    """
    known = known or {}
    for name in known:
        manifest[name]
    streams = selected(manifest, profile, only, optional)
    root = Path(tempfile.mkdtemp(prefix="omc-check-"))
    jobs = min(max(1, jobs), max(1, len(streams)))
    report = Report(command, manifest, jobs=jobs, files=decoder_files(command))
    began, suite = time.monotonic(), _suite(manifest)

    def session(name: str) -> Session:
        return Session(command, persistent=report.persistent, timeout=timeout, memory=memory, root=root / name)

    def finish(result: Result) -> Result:
        result.known = known.get(result.stream.id, "")
        progress(result)
        return result

    try:
        with Session(command, persistent=False, timeout=timeout, memory=memory, root=root / "smoke") as first:
            report.smoke = first.run(manifest[manifest.smoke])
            if report.smoke.passed:
                _choose_form(first, persistent, report)
        if report.smoke.passed:
            notice(f"{len(streams)} streams, {jobs} at a time, {report.form}")
            report.results, report.strays = _run_all(streams, set(passed), session, jobs, finish)
        else:
            report.results = [Result(s, Verdict.NOT_RUN, "the smoke stream did not pass") for s in streams]
        report.strays += _elsewhere(root)
        changed = _suite(manifest)
        report.strays += sorted(name for name in {*suite, *changed} if suite.get(name) != changed.get(name))
    finally:
        with suppress(OSError):
            remove(root)
    report.seconds = time.monotonic() - began
    return report


def _choose_form(decoder: Session, persistent: bool | None, report: Report) -> None:
    """Whether streams are served, as far as it is left open: 'CMD serve' is asked, unless it shall not be used."""
    if persistent is False:
        return
    hello = decoder.hello()
    if persistent and hello.fault:
        raise ConfigError("BAD_CONFIG", f"'{report.command} serve' does not answer hello: {hello.fault}")
    report.hello, report.persistent, report.not_served = hello.record, not hello.fault, hello.fault


def _elsewhere(root: Path) -> list[str]:
    """What stands beside the folders of the workers."""
    try:
        return sorted(f"{root}/{name}" for name in snapshot(root) if not name.startswith(("smoke", "worker")))
    except Flood as flood:
        return [f"{root}: {flood}"]


def _suite(manifest: Manifest) -> dict[str, State]:
    """The suite's manifest, streams and references, which no decoder may touch."""
    folders = {s.file.parent for s in manifest.streams} | {r for s in manifest.streams for r in s.references}
    files = {f"{folder}/{name}": status for folder in folders for name, status in snapshot(folder).items()}
    return {**files, str(manifest.path): state(manifest.path)}


def _run_all(streams: Sequence[Stream], passed: set[str], session: Callable[[str], Session], jobs: int,
             finish: Callable[[Result], Result]) -> tuple[list[Result], list[str]]:
    """(results in the order of the streams, what went astray) of a run on `jobs` workers."""
    results = {s.id: finish(Result(s, Verdict.PASS, resumed=True)) for s in streams if s.id in passed}
    waiting: queue.SimpleQueue[Stream] = queue.SimpleQueue()
    for stream in streams:
        if stream.id not in passed:
            waiting.put(stream)

    def worker(number: int) -> list[str]:
        decoder = session(f"worker{number}")
        try:
            while True:
                stream = waiting.get_nowait()
                results[stream.id] = finish(decoder.run(stream))
        except queue.Empty:
            pass
        finally:
            left = decoder.close()
        return ["a served process left others behind"] if left else []

    with ThreadPoolExecutor(jobs) as pool:
        strays = [stray for future in [pool.submit(worker, n) for n in range(jobs)] for stray in future.result()]
    return [results[s.id] for s in streams], strays
