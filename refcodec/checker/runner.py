"""Runs of a decoder, each in a folder of its own, with limits of time and memory: once per stream, or as a served process."""

from __future__ import annotations

import json
import os
import queue
import resource
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .manifest import Stream

FILE_BYTES_MAX = 1 << 32          # of any file that a decoder writes
OUTPUT_BYTES_MAX = 1 << 16        # of stdout and stderr that are looked at


@dataclass
class Run:
    """What a decoder did. exit: code, or minus a signal; record: its JSON line; fault: what broke the contract's form."""

    exit: int = 0
    record: object = None
    seconds: float = 0.0
    timed_out: bool = False
    fault: str = ""
    strays: list[str] = field(default_factory=list)
    stderr: str = ""


def decode_command(command: str, stream: Path, folder: Path, references: list[Path]) -> list[str]:
    """The one-shot command line of the contract."""
    options = [part for r in references for part in ("--reference", str(r))]
    return [*shlex.split(command), "decode", str(stream), str(folder), *options]


class Workspace:
    """A worker's folder: cwd/ and tmp/ for the decoder, and run/ with stream, references and out/ of the present run."""

    def __init__(self, root: Path):
        self.root = root
        self.cwd, self.tmp, self.run = root / "cwd", root / "tmp", root / "run"
        for folder in (self.cwd, self.tmp):
            folder.mkdir(parents=True)
        self.before: dict[str, tuple] = {}

    @property
    def out(self) -> Path:
        return self.run / "out"

    def begin(self, stream: Stream) -> tuple[Path, list[Path]]:
        """Fresh copies of a stream and its references; returns their paths."""
        if self.run.exists():
            shutil.rmtree(self.run)
        self.out.mkdir(parents=True)
        copy, references = self.run / "stream.omc", []
        shutil.copyfile(stream.file, copy)
        for i, reference in enumerate(stream.references):
            references.append(Path(shutil.copytree(reference, self.run / f"reference{i}")))
        self.before = self._snapshot()
        return copy, references

    def strays(self) -> list[str]:
        """What was made, changed or removed in this folder outside out/ and tmp/ since `begin`."""
        after = self._snapshot()
        return sorted(name for name in {*self.before, *after} if self.before.get(name) != after.get(name))

    def _snapshot(self) -> dict[str, tuple]:
        return snapshot(self.root, skip={self.out, self.tmp})

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.tmp)}


def snapshot(root: Path, skip: set[Path] = frozenset()) -> dict[str, tuple]:
    """Files below a folder, and folders: relative name to (size, time of change)."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if Path(folder, f) not in skip]
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            found[str(path.relative_to(root))] = (status.st_size, status.st_mtime_ns)
        found.update({str(Path(folder, f).relative_to(root)) + "/": () for f in folders})
    return found


def start(command: list[str], place: Workspace, memory: int, **pipes) -> subprocess.Popen:
    """Start a decoder in a session of its own. memory: bytes of its address space, 0: no limit."""
    process = subprocess.Popen(command, cwd=place.cwd, env=place.environment(), start_new_session=True, **pipes)
    try:
        # From outside: code between fork and exec is not safe in a process with threads
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
        if memory:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
    except ProcessLookupError:
        pass                                            # it is over already
    return process


def end(process: subprocess.Popen) -> None:
    """Kill a decoder and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class OneShot:
    """A process for each stream."""

    def __init__(self, command: str, place: Workspace, memory: int | None):
        self.command, self.place, self.memory = command, place, memory

    def decode(self, stream: Stream, seconds: float) -> Run:
        """Run one stream; its output is in place.out until the next."""
        copy, references = self.place.begin(stream)
        memory = stream.memory if self.memory is None else self.memory
        run, began = Run(), time.monotonic()
        out, err = self.place.tmp / ".stdout", self.place.tmp / ".stderr"
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            try:
                process = start(decode_command(self.command, copy, self.place.out, references), self.place, memory,
                                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
            except OSError as error:
                return Run(fault=f"cannot be started: {error}")
            try:
                run.exit = process.wait(seconds)
            except subprocess.TimeoutExpired:
                run.timed_out = True
            finally:
                end(process)
        run.seconds, run.strays = time.monotonic() - began, self.place.strays()
        run.record, run.stderr = _one_record(_head(out)), _head(err)
        return run

    def close(self) -> None:
        pass


def _head(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(OUTPUT_BYTES_MAX).decode("utf-8", "replace")


def _one_record(text: str) -> object:
    """The JSON value of a single line, None where there is no such line or more than one."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return json.loads(lines[0]) if len(lines) == 1 else None
    except (ValueError, RecursionError):
        return None


class Persistent:
    """One served process for many streams; it is started again after a fault."""

    def __init__(self, command: str, place: Workspace, memory: int):
        self.command, self.place, self.memory = command, place, memory
        self.process: subprocess.Popen | None = None
        self.lines: queue.Queue[bytes] = queue.Queue()

    def decode(self, stream: Stream, seconds: float) -> Run:
        """Run one stream; its output is in place.out until the next."""
        copy, references = self.place.begin(stream)
        request = {"op": "decode", "stream": str(copy), "outdir": str(self.place.out), "references": [str(r) for r in references]}
        began = time.monotonic()
        try:
            run = self._ask(request, seconds)
        except OSError as error:
            run = Run(fault=f"cannot be served: {error}")
        run.seconds, run.strays = time.monotonic() - began, self.place.strays()
        if run.fault or run.timed_out or run.strays:
            self.close()
        return run

    def _ask(self, request: dict, seconds: float) -> Run:
        if self.process is None:
            self._start()
            hello = self._exchange({"op": "hello"}, seconds)
            if hello.fault or hello.timed_out:
                return hello
        run = self._exchange(request, seconds)
        if not (run.fault or run.timed_out):
            reply = run.record
            if not isinstance(reply, dict) or type(reply.get("exit")) is not int:
                run.fault = "its reply is no JSON object with an 'exit'"
            else:
                run.exit = reply["exit"]
        return run

    def _start(self) -> None:
        self.lines = queue.Queue()
        with open(self.place.tmp / ".stderr", "wb") as stderr:
            self.process = start([*shlex.split(self.command), "serve"], self.place, self.memory,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        threading.Thread(target=_listen, args=(self.process.stdout, self.lines), daemon=True).start()

    def _exchange(self, request: dict, seconds: float) -> Run:
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return Run(timed_out=True)
        except BrokenPipeError:
            line = b""
        if not line:
            return Run(fault=f"the process ended ({self._exit_code()})", stderr=_head(self.place.tmp / ".stderr"))
        return Run(record=_one_record(line.decode("utf-8", "replace")))

    def _exit_code(self) -> str:
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "its output was closed"
        return f"exit code {code}" if code >= 0 else f"signal {-code}"

    def close(self) -> None:
        """Stop the process."""
        if self.process is not None:
            try:
                self.process.stdin.write(b'{"op": "stop"}\n')
                self.process.stdin.close()
            except OSError:
                pass
            try:
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
            end(self.process)
            self.process = None


def _listen(pipe, lines: queue.Queue) -> None:
    # A line beyond the limit arrives in pieces, of which none is a reply
    with pipe:
        while line := pipe.readline(OUTPUT_BYTES_MAX):
            lines.put(line)
    lines.put(b"")
