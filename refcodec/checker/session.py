"""A decoder under check: one worker with a folder of its own, which runs one stream after the other."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adapter import CONTRACT
from .manifest import PROFILES, Decoded, Manifest, Stream
from .runner import OneShot, Persistent, Run, decode_command
from .verdicts import Result, Verdict, judge
from .workspace import Workspace, remove

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

HELLO_SECONDS = 10.0              # in which 'CMD serve' has to start and to answer


@dataclass(frozen=True)
class Hello:
    """The answer of 'CMD serve' to hello. record: the reply; fault: why it is none of the contract, '' if it is one."""

    record: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


class Session:
    """A decoder that streams are given to, one at a time; a context manager.

        with Session("my-decoder --fast") as decoder:
            result = decoder.run(load_manifest("conformance/manifest.json")["smoke"])
            assert result.passed, result.detail

    command: as typed in a shell, without 'decode'.  persistent: one process ('CMD serve') for many streams, True, or a
    process for each, False; by default the first if 'CMD serve' answers hello.  What fails in a served process is run
    again in a process of its own.  timeout: seconds per stream, memory: bytes (0: no limit), both from the manifest by
    default.  root: an empty folder to work in (default: one in the system's temporary folder).
    """

    def __init__(self, command: str, *, persistent: bool | None = None, timeout: float | None = None,
                 memory: int | None = None, root: Path | None = None):
        self.command, self.persistent, self.timeout, self.memory = absolute(command), persistent, timeout, memory
        self.root = Path(tempfile.mkdtemp(prefix="omc-check-")) if root is None else root
        self._own_root = root is None
        self.place = Workspace(self.root)
        self._runner: OneShot | Persistent | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, stream: Stream) -> Result:
        """The verdict on one stream: all of its models have to be right."""
        if self._runner is None:
            self._runner = self._new_runner(stream)
        result = self._judged(stream, self._runner)
        if not result.passed and isinstance(self._runner, Persistent):
            place = Workspace(self.root / f"alone-{uuid.uuid4().hex}", watched=self.root)
            runner = OneShot(self.command, place, self.memory)
            alone = self._judged(stream, runner)
            runner.close()
            with suppress(OSError):
                remove(place.root)
            if not alone.passed:
                return alone
            result.note = "passes in a process of its own: state is kept from stream to stream"
        return result

    def _new_runner(self, stream: Stream) -> OneShot | Persistent:
        served = not self.hello().fault if self.persistent is None else self.persistent
        if served:
            return Persistent(self.command, self.place, stream.memory if self.memory is None else self.memory)
        return OneShot(self.command, self.place, self.memory)

    def _judged(self, stream: Stream, runner: OneShot | Persistent) -> Result:
        earlier = len(stream.expected.earlier) if isinstance(stream.expected, Decoded) else 0
        seconds = 0.0
        for model in (*range(earlier), None):                # the last of a stream needs no number
            run = runner.decode(stream, self.timeout or stream.seconds, model)
            seconds += run.seconds
            verdict, detail = judge(stream, run, runner.place.out, model)
            if verdict != Verdict.PASS:
                break
        shown = shlex.join(decode_command(self.command, stream.file, "OUTDIR", stream.references, model))
        return Result(stream, verdict, detail, seconds, shown, stderr=run.stderr)

    def hello(self) -> Hello:
        """What the decoder says of itself as a served process, and whether it keeps to the contract in that."""
        runner = Persistent(self.command, self.place, self.memory or 0)
        try:
            run = runner.hello(HELLO_SECONDS)
            record = run.record if isinstance(run.record, dict) else {}
            fault = _hello_fault(run) or _hello_fault(runner.hello(HELLO_SECONDS))   # again: what else did it print?
        finally:
            runner.close()
        return Hello(record, fault)

    def close(self) -> bool:
        """End the decoder and remove its folder; whether processes of it had been left behind."""
        left = self._runner.close() if self._runner else False
        if self._own_root:
            with suppress(OSError):
                remove(self.root)
        return left


def _hello_fault(run: Run) -> str:
    if run.timed_out:
        return f"no answer within {HELLO_SECONDS:g} s"
    if run.fault:
        return run.fault
    if not isinstance(run.record, dict) or run.record.get("contract") != CONTRACT:
        return f'what it prints is no JSON object with "contract": {CONTRACT}'
    return ""


def absolute(command: str) -> str:
    """The command with the files that it names by absolute paths: a decoder runs in a folder of its own."""
    try:
        first, *others = shlex.split(command)
    except ValueError:
        return command                                  # it cannot be started, which is said then
    words = [os.path.abspath(first) if os.sep in first else first]
    return shlex.join(words + [os.path.abspath(w) if os.path.isfile(w) else w for w in others])


def decoder_files(command: str) -> dict[str, str]:
    """SHA-256 of each file that the command names: which build of the decoder it was."""
    try:
        words = shlex.split(command)
        paths = [shutil.which(words[0]), *words[1:]] if words else []
        return {p: _sha256(p) for p in paths if p and Path(p).is_file()}
    except (OSError, ValueError):
        return {}


def _sha256(path: str) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def selected(manifest: Manifest, profile: str = "high", only: Iterable[str] = (),
             optional: bool = True) -> list[Stream]:
    """The streams that a check is about, in the order of the manifest. Raises KeyError for an unknown id."""
    wanted = {manifest[name].id for name in only}
    if wanted:
        return [s for s in manifest.streams if s.id in wanted]
    profiles = PROFILES[: PROFILES.index(profile) + 1]
    return [s for s in manifest.streams if s.profile in profiles and (optional or s.required)]


def pytest_params(manifest: Manifest, *, profile: str = "high", only: Sequence[str] = (), optional: bool = True,
                  known: Mapping[str, str] | None = None) -> list[ParameterSet]:
    """Streams as parameters of a test, with their ids. known: id to reason; these are marked xfail(strict=True).

        @pytest.mark.parametrize("stream", pytest_params(load_manifest(MANIFEST), profile="main"))
        def test_stream(decoder, stream):            # decoder: a fixture that yields a Session
            result = decoder.run(stream)
            assert result.passed, result.detail
    """
    import pytest

    known = known or {}
    marks = {name: [pytest.mark.xfail(reason=reason, strict=True)] for name, reason in known.items()}
    return [pytest.param(s, id=s.id, marks=marks.get(s.id, ())) for s in selected(manifest, profile, only, optional)]
