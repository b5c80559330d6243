"""Processes that work for the service, each for one request at a time, and end when that takes too long."""

from __future__ import annotations

import json
import os
import pathlib
import queue
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

from .errors import CODES, CenterError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tools.knowledge_center.worker import main; main()"
ANSWER_BYTES = 1 << 24


class Workers:
    """count: processes, started when they are needed.  seconds: that a request may take; its process is killed then.

    memory: bytes that a process may take beyond what it needs itself; file: bytes of a file that it writes.
    """

    def __init__(self, store: str, count: int, *, seconds: float, memory: int, file: int):
        self.seconds, self.closed = seconds, False
        self.settings = {"store": store, "memory": memory, "file": file}
        self._idle: queue.SimpleQueue[subprocess.Popen | None] = queue.SimpleQueue()
        self._running: set[subprocess.Popen] = set()
        for _ in range(count):
            self._idle.put(None)

    def call(self, **request) -> dict:
        """The answer of a process; waits for one. Raises CenterError: what the process says, BAD_STREAM where it was
        killed or ended, BUSY where the service ends."""
        worker = self._idle.get()
        try:
            worker = self._ready(worker)
            reply = self._asked(worker, request)
        except BaseException:
            if worker is not None:
                self._end(worker)
            worker = None
            raise
        finally:
            self._idle.put(worker)
        if "error" in reply:
            error = reply["error"]
            code, message = error.pop("code"), error.pop("message")
            raise CenterError(code if code in CODES else "IO", message, **error)
        return reply["answer"]

    def _ready(self, worker: subprocess.Popen | None) -> subprocess.Popen:
        if self.closed:
            raise CenterError("BUSY", "the service ends")
        if worker is not None:
            if worker.poll() is None:
                return worker
            self._end(worker)
        paths = os.pathsep.join(p for p in sys.path if p)
        worker = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  start_new_session=True, env={**os.environ, "PYTHONPATH": paths})
        self._running.add(worker)
        self._send(worker, self.settings)
        return worker

    def _send(self, worker: subprocess.Popen, value: dict) -> None:
        with suppress(BrokenPipeError):                 # who ended is found when it is listened to
            worker.stdin.write(json.dumps(value).encode() + b"\n")
            worker.stdin.flush()

    def _asked(self, worker: subprocess.Popen, request: dict) -> dict:
        self._send(worker, request)
        ends, data = time.monotonic() + self.seconds, b""
        while not data.endswith(b"\n"):
            left = ends - time.monotonic()
            if left <= 0 or len(data) > ANSWER_BYTES:
                raise CenterError("BAD_STREAM", f"this takes more than the {self.seconds:g} s that the service allows")
            if select.select([worker.stdout], [], [], left)[0]:
                got = os.read(worker.stdout.fileno(), 1 << 16)
                if not got:
                    raise CenterError("BUSY", "the service ends") if self.closed else CenterError(
                        "BAD_STREAM", "this cannot be decoded within the memory that the service allows")
                data += got
        return json.loads(data)

    def _end(self, worker: subprocess.Popen) -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            with suppress(OSError):
                pipe.close()
        self._running.discard(worker)

    def close(self) -> None:
        """Kill all processes, whatever they do."""
        self.closed = True
        for worker in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
        for _ in range(1000):                           # those that are idle; a call ends its own
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                break
            if worker is not None:
                self._end(worker)
