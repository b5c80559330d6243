"""A decoder under check: one worker with a folder of its own, which runs one stream after the other."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .manifest import PROFILES, Decoded, Manifest, Stream
from .runner import OneShot, Persistent, decode_command
from .verdicts import Result, Verdict, judge
from .workspace import Workspace, remove

HELLO_SECONDS = 10.0


class Session:
    """A decoder that streams are given to, one at a time; a context manager.

        with Session("my-decoder --fast", persistent=True) as decoder:
            result = decoder.run(load_manifest("conformance/manifest.json")["smoke"])
            assert result.passed, result.detail

    command: as typed in a shell, without 'decode'.  persistent: one process ('CMD serve') for many streams; what fails
    in it is run again in a process of its own.  timeout: seconds per stream, memory: bytes (0: no limit), both from the
    manifest by default.  root: an empty folder to work in (default: one in the system's temporary folder).
    """

    def __init__(self, command: str, *, persistent: bool = False, timeout: float | None = None,
                 memory: int | None = None, root: Path | None = None):
        self.command, self.persistent, self.timeout, self.memory = absolute(command), persistent, timeout, memory
        self.root = Path(tempfile.mkdtemp(prefix="omc-check-")) if root is None else root
        self._own_root = root is None
        self.place = Workspace(self.root)
        self._runner: OneShot | Persistent | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def run(self, stream: Stream) -> Result:
        """The verdict on one stream: all of its models have to be right."""
        if self._runner is None:
            self._runner = self._served(stream) if self.persistent else OneShot(self.command, self.place, self.memory)
        result = self._judged(stream, self._runner)
        if not result.passed and self.persistent:
            place = Workspace(self.root / "alone", watched=self.root)
            alone = self._judged(stream, OneShot(self.command, place, self.memory))
            remove(place.root)
            if not alone.passed:
                return alone
            result.note = "passes in a process of its own: state is kept from stream to stream"
        return result

    def _served(self, stream: Stream) -> Persistent:
        return Persistent(self.command, self.place, stream.memory if self.memory is None else self.memory)

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

    def hello(self) -> dict:
        """What the decoder says of itself as a served process: name, version, ...; empty where it does not serve."""
        runner = Persistent(self.command, self.place, self.memory or 0)
        run = runner.hello(self.timeout or HELLO_SECONDS)
        runner.close()
        return run.record if isinstance(run.record, dict) else {}

    def close(self) -> bool:
        """End the decoder and remove its folder; whether processes of it had been left behind."""
        left = self._runner.close() if self._runner else False
        if self._own_root:
            shutil.rmtree(self.root, ignore_errors=True)
        return left


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
        return {p: hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in paths if p and Path(p).is_file()}
    except (OSError, ValueError):
        return {}


def selected(manifest: Manifest, profile: str = "high", only: Iterable[str] = (),
             optional: bool = True) -> list[Stream]:
    """The streams that a check is about, in the order of the manifest. Raises KeyError for an unknown id."""
    wanted = {manifest[name].id for name in only}
    if wanted:
        return [s for s in manifest.streams if s.id in wanted]
    profiles = PROFILES[: PROFILES.index(profile) + 1]
    return [s for s in manifest.streams if s.profile in profiles and (optional or s.required)]


def pytest_params(manifest: Manifest, *, profile: str = "high", only: Sequence[str] = (), optional: bool = True,
                  known: Mapping[str, str] | None = None) -> list:
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
