"""Runs of a decoder, with limits of time, memory and output: once per stream, or as a served process."""

from __future__ import annotations

import json
import math
import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from ..files import read_head
from .manifest import Stream
from .processes import Ended, Supervisor, SupervisorLost
from .workspace import OUTPUT_BYTES_MAX, Flood, Workspace

TEXT_BYTES_MAX = 1 << 16          # of standard output and error that are looked at
LINES_MAX = 16                    # replies that may wait: there is one per request
SLICE = 0.25                      # seconds between looks at what a decoder writes
STOP_SECONDS = 1.0                # in which a served process has to end after 'stop'

T = TypeVar("T")
Request = dict[str, Any]          # of the contract, as JSON


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


def decode_command(command: str, stream: Path | str, folder: Path | str, references: Sequence[Path] = (),
                   model: int | None = None) -> list[str]:
    """The one-shot command line of the contract."""
    options = [] if model is None else ["--model", str(model)]
    options += [part for r in references for part in ("--reference", str(r))]
    return [*shlex.split(command), "decode", str(stream), str(folder), *options]


def watched(wait: Callable[[float], T], place: Workspace, seconds: float) -> T:
    """wait(seconds) while the decoder keeps to what it may write. Raises TimeoutError and Flood."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        try:
            return wait(min(left, SLICE))
        except (subprocess.TimeoutExpired, queue.Empty):
            place.check_written()
    raise TimeoutError


def fault_of(ended: Ended) -> str:
    """What was wrong with the end of a decoder, '' if nothing was."""
    if ended.stuck:
        return f"it left {ended.stuck} processes behind that cannot be ended"
    return "it left a process behind" if ended.left else ""


def run_once(command: Callable[[], list[str]], place: Workspace, supervisor: Supervisor, memory: int,
             seconds: float) -> Run:
    """One process from start to end. command: makes the command line, or raises ValueError where it cannot be split.

    memory: bytes of address space, 0: no limit.
    """
    run, began = Run(), time.monotonic()
    out, err = place.tmp / ".stdout", place.tmp / ".stderr"
    try:
        with open(out, "wb") as stdout, open(err, "wb") as stderr, open(os.devnull, "rb") as stdin:
            supervisor.start(command(), place.cwd, place.environment(), (memory, OUTPUT_BYTES_MAX),
                             [stdin.fileno(), stdout.fileno(), stderr.fileno()])
    except (OSError, ValueError, IndexError) as error:
        return Run(fault=f"cannot be started: {error}")
    except SupervisorLost as lost:
        return Run(fault=str(lost))
    try:
        try:
            ended = watched(supervisor.wait, place, seconds)
            run.exit, run.fault = ended.exit, fault_of(ended)
        except TimeoutError:
            run.timed_out = True
            supervisor.end()
        except Flood as flood:
            run.fault = str(flood)
            supervisor.end()
        run.seconds = time.monotonic() - began
        run.strays = place.strays()
        place.check_written()
    except (Flood, SupervisorLost) as fault:
        run.fault = run.fault or str(fault)
    run.record, run.stderr = _one_record(_head(out)), _head(err)
    return run


class OneShot:
    """A process for each stream."""

    def __init__(self, command: str, place: Workspace, memory: int | None):
        self.command, self.place, self.memory = command, place, memory
        self.supervisor = Supervisor(place.mark)

    def decode(self, stream: Stream, seconds: float, model: int | None = None) -> Run:
        """Run one stream; its output is in place.out until the next. model: the one to dump, the last by default."""
        self.place.clear_tmp()
        copy, references = self.place.begin(stream)
        memory = stream.memory if self.memory is None else self.memory
        return run_once(lambda: decode_command(self.command, copy, self.place.out, references, model), self.place,
                        self.supervisor, memory, seconds)

    def close(self) -> bool:
        """Whether processes were left behind that belong to no run: never."""
        self.supervisor.close()
        return False


def _head(path: Path) -> str:
    try:
        return read_head(path, TEXT_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""                                       # the decoder removed it, or put something else in its place


def _one_record(text: str) -> object:
    """The JSON value of a single line, None where there is no such line or more than one."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return _plain(json.loads(lines[0])) if len(lines) == 1 else None
    except (ValueError, RecursionError):
        return None


def _plain(value: object) -> object:
    # What the contract and reports look at: an object of numbers and texts. Others could be nested as deep as they like
    if not isinstance(value, dict):
        return None
    texts = {k.encode("utf-8", "replace").decode(): v for k, v in value.items()}
    texts |= {k: v.encode("utf-8", "replace").decode() for k, v in texts.items() if isinstance(v, str)}
    return {k: v for k, v in texts.items() if isinstance(v, (str, int)) or v is None
            or isinstance(v, float) and math.isfinite(v)}


class Persistent:
    """One served process for many streams; it is started again after a fault."""

    def __init__(self, command: str, place: Workspace, memory: int):
        self.command, self.place, self.memory = command, place, memory
        self.supervisor = Supervisor(place.mark)
        self.pipe: IO[bytes] | None = None                 # to the process that runs
        self.lines: queue.Queue[bytes] = queue.Queue(LINES_MAX)
        self.left = False

    def decode(self, stream: Stream, seconds: float, model: int | None = None) -> Run:
        """Run one stream; its output is in place.out until the next. model: the one to dump, the last by default."""
        try:
            copy, references = self.place.begin(stream)
        except Flood as flood:
            self.stop()
            return Run(fault=str(flood))
        request: Request = {"op": "decode", "stream": str(copy), "outdir": str(self.place.out),
                   "references": [str(r) for r in references]}
        if model is not None:
            request["model"] = model
        began = time.monotonic()
        run = self._asked(request, seconds)
        run.seconds = time.monotonic() - began
        try:
            run.strays = self.place.strays()
        except Flood as flood:
            run.fault = run.fault or str(flood)
        if run.fault or run.timed_out or run.strays:
            self.stop()
        return run

    def hello(self, seconds: float) -> Run:
        """What the decoder says of itself: the reply is the run's record."""
        run = Run() if self.pipe is not None else self._start()
        return run if run.fault else self._exchange({"op": "hello"}, seconds)

    def _asked(self, request: Request, seconds: float) -> Run:
        if self.pipe is None:
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
        self.place.clear_tmp()
        self.lines = queue.Queue(LINES_MAX)
        (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
        ours, theirs = os.fdopen(ours_in, "wb"), (os.fdopen(theirs_in, "rb"), os.fdopen(theirs_out, "wb"))
        listened = os.fdopen(ours_out, "rb")
        try:
            with theirs[0], theirs[1], open(self.place.tmp / ".stderr", "wb") as stderr:
                self.supervisor.start([*shlex.split(self.command), "serve"], self.place.cwd, self.place.environment(),
                                      (self.memory, OUTPUT_BYTES_MAX), [theirs_in, theirs_out, stderr.fileno()])
        except (OSError, ValueError, SupervisorLost) as error:
            ours.close()
            listened.close()
            return Run(fault=str(error) if isinstance(error, SupervisorLost) else f"cannot be started: {error}")
        self.pipe = ours
        threading.Thread(target=_listen, args=(listened, self.lines), daemon=True).start()
        return Run()

    def _exchange(self, request: Request, seconds: float) -> Run:
        try:
            early = self.lines.get_nowait() if not self.lines.empty() else b""
            if early:
                return Run(fault="it printed more than one line for a request")
            assert self.pipe is not None
            self.pipe.write(json.dumps(request).encode() + b"\n")
            self.pipe.flush()
            line = watched(self._line, self.place, seconds)
        except TimeoutError:
            return Run(timed_out=True)
        except (Flood, SupervisorLost) as fault:
            return Run(fault=str(fault))
        except OSError:
            line = b""
        if not line:
            return Run(fault=f"the process ended ({self._exit_code()})", stderr=_head(self.place.tmp / ".stderr"))
        return Run(record=_one_record(line.decode("utf-8", "replace")))

    def _line(self, seconds: float) -> bytes:
        self.supervisor.watch()
        return self.lines.get(timeout=seconds)

    def _exit_code(self) -> str:
        try:
            ended = self.supervisor.wait(1)
        except subprocess.TimeoutExpired:
            return "its output was closed"
        except SupervisorLost as lost:
            return str(lost)
        self.left |= ended.left
        return f"exit code {ended.exit}" if ended.exit >= 0 else f"signal {-ended.exit}"

    def stop(self) -> None:
        """End the process, and what it started."""
        if self.pipe is None:
            return
        try:
            self.pipe.write(b'{"op": "stop"}\n')
            self.pipe.close()
        except OSError:
            pass
        self.pipe = None
        try:
            if self.supervisor.running:
                ended = self.supervisor.wait(STOP_SECONDS)
                self.left |= bool(ended.left or ended.stuck)
        except subprocess.TimeoutExpired:
            with suppress(SupervisorLost):
                self.left |= bool(self.supervisor.end().stuck)
        except SupervisorLost:
            self.left = True
        self.place.clear_run()
        self.place.clear_tmp()

    def close(self) -> bool:
        """Stop the process; whether processes were left behind, by this one or one before it."""
        self.stop()
        self.supervisor.close()
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
