"""A check: a decoder against the streams of a manifest, in parallel; the smoke stream first."""

from __future__ import annotations

import queue
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .manifest import PROFILES, Manifest, Stream
from .report import Report
from .runner import OneShot, Persistent, Workspace, decode_command, snapshot
from .verdicts import Result, Verdict, judge


def check(command: str, manifest: Manifest, *, profile: str = "high", only: Sequence[str] = (), optional: bool = True,
          persistent: bool = False, jobs: int = 1, timeout: float | None = None, memory: int | None = None,
          progress: Callable[[Result], None] = lambda result: None) -> Report:
    """Run a decoder (a shell-like command) against a manifest.

    profile: streams of higher profiles are left out.  only: ids.  optional: streams that are not required, too.
    persistent: serve many streams by one process per job; what fails is run again alone.
    timeout: seconds per stream, memory: bytes (0: no limit); both from the manifest by default.
    progress: called with each result, from any thread.
    """
    streams = selected(manifest, profile, only, optional)
    root = Path(tempfile.mkdtemp(prefix="omc-check-"))
    report = Report(command, manifest, persistent=persistent)
    began, suite = time.monotonic(), _suite(manifest)
    try:
        work = _Work(command, root, persistent, timeout, memory)
        smoke = work.alone(manifest[manifest.smoke], Workspace(root / "smoke"))
        report.smoke = smoke
        if smoke.passed:
            report.results = work.all(streams, max(1, jobs), progress)
        else:
            report.results = [Result(s, Verdict.NOT_RUN, "the smoke stream did not pass") for s in streams]
        shutil.rmtree(root / "smoke")
        report.strays = sorted(f"{root}/{name}" for name in snapshot(root) if not name.startswith("worker"))
        changed = _suite(manifest)
        report.strays += sorted(name for name in {*suite, *changed} if suite.get(name) != changed.get(name))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    report.seconds = time.monotonic() - began
    return report


def _suite(manifest: Manifest) -> dict[str, tuple]:
    """The files of the suite's streams and references, which no decoder may touch."""
    folders = {s.file.parent for s in manifest.streams} | {r for s in manifest.streams for r in s.references}
    return {f"{folder}/{name}": status for folder in folders for name, status in snapshot(folder).items()}


def selected(manifest: Manifest, profile: str = "high", only: Sequence[str] = (), optional: bool = True) -> list[Stream]:
    """The streams that a check is about, in the order of the manifest. Raises KeyError for an unknown id."""
    if only:
        wanted = {manifest[name].id for name in only}
        return [s for s in manifest.streams if s.id in wanted]
    return [s for s in manifest.streams if PROFILES.index(s.profile) <= PROFILES.index(profile) and (optional or s.required)]


class _Work:
    """What the runs of one check share."""

    def __init__(self, command: str, root: Path, persistent: bool, timeout: float | None, memory: int | None):
        self.command, self.root, self.persistent = command, root, persistent
        self.timeout, self.memory = timeout, memory

    def alone(self, stream: Stream, place: Workspace) -> Result:
        """One run in a process of its own."""
        return self._judged(stream, OneShot(self.command, place, self.memory))

    def _judged(self, stream: Stream, runner: OneShot | Persistent) -> Result:
        run = runner.decode(stream, self.timeout or stream.seconds)
        verdict, detail = judge(stream, run, runner.place.out)
        shown = shlex.join(decode_command(self.command, stream.file, Path("OUTDIR"), list(stream.references)))
        return Result(stream, verdict, detail, run.seconds, shown, stderr=run.stderr)

    def all(self, streams: Sequence[Stream], jobs: int, progress: Callable[[Result], None]) -> list[Result]:
        """All streams on `jobs` workers; results in the order of the streams."""
        results: dict[str, Result] = {}
        waiting: queue.SimpleQueue[Stream] = queue.SimpleQueue()
        for stream in streams:
            waiting.put(stream)

        def worker(number: int) -> None:
            place = Workspace(self.root / f"worker{number}")
            runner = self._runner(place, streams)
            try:
                while True:
                    stream = waiting.get_nowait()
                    results[stream.id] = self._result(stream, runner, place)
                    progress(results[stream.id])
            except queue.Empty:
                return
            finally:
                runner.close()

        with ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(worker, n) for n in range(min(jobs, len(streams)))]:
                future.result()
        return [results[s.id] for s in streams]

    def _runner(self, place: Workspace, streams: Sequence[Stream]) -> OneShot | Persistent:
        if not self.persistent:
            return OneShot(self.command, place, self.memory)
        memory = max(s.memory for s in streams) if self.memory is None else self.memory
        return Persistent(self.command, place, memory)

    def _result(self, stream: Stream, runner: OneShot | Persistent, place: Workspace) -> Result:
        result = self._judged(stream, runner)
        if not result.passed and self.persistent:
            alone = self.alone(stream, place)
            if alone.passed:
                result.note = "passes in a process of its own: state is kept from stream to stream"
            else:
                result = alone
        return result
