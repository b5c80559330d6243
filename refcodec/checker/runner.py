"""Runs of a decoder, with limits of time, memory and output: once per stream, or as a served process."""

from __future__ import annotations

import json
import queue
import resource
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import killpg
from pathlib import Path
from typing import IO, Any, TypeVar

from .manifest import Stream
from .workspace import OUTPUT_BYTES_MAX, Workspace

TEXT_BYTES_MAX = 1 << 16          # of standard output and error that are looked at
LINES_MAX = 16                    # replies that may wait: there is one per request
SLICE = 0.25                      # seconds between looks at what a decoder writes
GRACE = 0.3                       # seconds in which what a decoder started has to end after it

T = TypeVar("T")
Process = subprocess.Popen[bytes]
Request = dict[str, Any]          # of the contract, as JSON
Pipe = int | IO[bytes]            # what a stream of a process may be bound to


@dataclass
class Run:
    """What a decoder did. exit: code, or minus a signal; record: its JSON line; fault: what broke the contract."""

    exit: int = 0
    record: object = None
    seconds: float = 0.0
    timed_out: bool = False
    fault: str = ""
    strays: list[str] = field(default_factory=list)
    stderr: str = ""


class Flood(Exception):
    """A decoder writes more than it may."""

    def __str__(self) -> str:
        return f"it wrote more than {OUTPUT_BYTES_MAX >> 20} MiB"


def decode_command(command: str, stream: Path | str, folder: Path | str, references: Sequence[Path] = (),
                   model: int | None = None) -> list[str]:
    """The one-shot command line of the contract."""
    options = [] if model is None else ["--model", str(model)]
    options += [part for r in references for part in ("--reference", str(r))]
    return [*shlex.split(command), "decode", str(stream), str(folder), *options]


def start(command: list[str], place: Workspace, memory: int, *, stdin: Pipe, stdout: Pipe, stderr: Pipe) -> Process:
    """Start a decoder in a session of its own. memory: bytes of its address space, 0: no limit."""
    process = subprocess.Popen(command, cwd=place.cwd, env=place.environment(), start_new_session=True, stdin=stdin,
                               stdout=stdout, stderr=stderr)
    try:
        # From outside: code between fork and exec is not safe in a process with threads
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX))
        if memory:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
    except ProcessLookupError:
        pass                                            # it is over already
    return process


def end(process: Process) -> None:
    """Kill a decoder and its session."""
    try:
        killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def watched(wait: Callable[[float], T], place: Workspace, seconds: float) -> T:
    """wait(seconds) while the decoder keeps to what it may write. Raises TimeoutError and Flood."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        try:
            return wait(min(left, SLICE))
        except (subprocess.TimeoutExpired, queue.Empty):
            if place.floods():
                raise Flood from None
    raise TimeoutError


def left_behind(place: Workspace) -> bool:
    """Whether processes of a decoder outlive it; they are killed."""
    ends = time.monotonic() + GRACE
    while place.processes():
        if time.monotonic() > ends:
            place.kill_processes()
            return True
        time.sleep(GRACE / 10)
    return False


def run_once(command: Callable[[], list[str]], place: Workspace, memory: int, seconds: float) -> Run:
    """One process from start to end. command: makes the command line, or raises ValueError where it cannot be split."""
    run, began = Run(), time.monotonic()
    out, err = place.tmp / ".stdout", place.tmp / ".stderr"
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        try:
            process = start(command(), place, memory, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        except (OSError, ValueError) as error:
            return Run(fault=f"cannot be started: {error}")
        try:
            run.exit = watched(process.wait, place, seconds)
            run.fault = "it left a process behind" if left_behind(place) else ""
        except TimeoutError:
            run.timed_out = True
        except Flood as flood:
            run.fault = str(flood)
        finally:
            end(process)
            place.kill_processes()
    run.seconds, run.strays = time.monotonic() - began, place.strays()
    if not run.fault and place.floods():
        run.fault = str(Flood())
    run.record, run.stderr = _one_record(_head(out)), _head(err)
    return run


class OneShot:
    """A process for each stream."""

    def __init__(self, command: str, place: Workspace, memory: int | None):
        self.command, self.place, self.memory = command, place, memory

    def decode(self, stream: Stream, seconds: float, model: int | None = None) -> Run:
        """Run one stream; its output is in place.out until the next. model: the one to dump, the last by default."""
        copy, references = self.place.begin(stream)
        self.place.clear_tmp()
        memory = stream.memory if self.memory is None else self.memory
        return run_once(lambda: decode_command(self.command, copy, self.place.out, references, model), self.place,
                        memory, seconds)

    def close(self) -> bool:
        """Whether processes were left behind that belong to no run: never."""
        return False


def _head(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(TEXT_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""                                       # the decoder removed it


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
        self.process: Process | None = None
        self.lines: queue.Queue[bytes] = queue.Queue(LINES_MAX)
        self.left = False

    def decode(self, stream: Stream, seconds: float, model: int | None = None) -> Run:
        """Run one stream; its output is in place.out until the next. model: the one to dump, the last by default."""
        copy, references = self.place.begin(stream)
        request: Request = {"op": "decode", "stream": str(copy), "outdir": str(self.place.out),
                   "references": [str(r) for r in references]}
        if model is not None:
            request["model"] = model
        began = time.monotonic()
        run = self._asked(request, seconds)
        run.seconds, run.strays = time.monotonic() - began, self.place.strays()
        if run.fault or run.timed_out or run.strays:
            self.close()
        return run

    def hello(self, seconds: float) -> Run:
        """What the decoder says of itself: the reply is the run's record."""
        run = Run() if self.process is not None else self._start()
        return run if run.fault else self._exchange({"op": "hello"}, seconds)

    def _asked(self, request: Request, seconds: float) -> Run:
        if self.process is None:
            hello = self.hello(seconds)
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

    def _start(self) -> Run:
        self.lines = queue.Queue(LINES_MAX)
        try:
            with open(self.place.tmp / ".stderr", "wb") as stderr:
                self.process = start([*shlex.split(self.command), "serve"], self.place, self.memory,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        except (OSError, ValueError) as error:
            return Run(fault=f"cannot be started: {error}")
        threading.Thread(target=_listen, args=(self.process.stdout, self.lines), daemon=True).start()
        return Run()

    def _exchange(self, request: Request, seconds: float) -> Run:
        try:
            early = self.lines.get_nowait() if not self.lines.empty() else b""
            if early:
                return Run(fault="it printed more than one line for a request")
            assert self.process is not None and self.process.stdin is not None
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = watched(lambda slice: self.lines.get(timeout=slice), self.place, seconds)
        except TimeoutError:
            return Run(timed_out=True)
        except Flood as flood:
            return Run(fault=str(flood))
        except OSError:
            line = b""
        if not line:
            return Run(fault=f"the process ended ({self._exit_code()})", stderr=_head(self.place.tmp / ".stderr"))
        return Run(record=_one_record(line.decode("utf-8", "replace")))

    def _exit_code(self) -> str:
        assert self.process is not None
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "its output was closed"
        return f"exit code {code}" if code >= 0 else f"signal {-code}"

    def close(self) -> bool:
        """Stop the process; whether processes were left behind, by this one or one before it."""
        if self.process is not None:
            assert self.process.stdin is not None
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
            self.left |= left_behind(self.place)
            self.process = None
        return self.left


def _listen(pipe: IO[bytes], lines: queue.Queue[bytes]) -> None:
    # A line beyond the limit arrives in pieces, of which none is a reply; who prints on and on loses the pipe
    with pipe:
        try:
            while line := pipe.readline(TEXT_BYTES_MAX):
                lines.put_nowait(line)
            lines.put_nowait(b"")
        except queue.Full:
            pass
