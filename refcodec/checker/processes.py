"""Decoders as processes, each below a supervisor (supervisor.py) that lets nothing of it live on."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("supervisor.py")
START_SECONDS = 30.0              # to start a decoder
END_SECONDS = 20.0                # to end one; the supervisor gives up after ten
LINE_MAX = 1 << 16


class SupervisorLost(Exception):
    """The process that watches a decoder ended or does not answer: the decoder ended or stopped it."""

    def __str__(self) -> str:
        return "it ended or stopped the process that watches it"


@dataclass
class Ended:
    """How a decoder ended. exit: code, or minus a signal; left: processes outlived it; stuck: some cannot be ended."""

    exit: int
    left: bool = False
    stuck: int = 0


class Supervisor:
    """Runs decoders, one at a time. mark: 'NAME=VALUE' in their environment, by which they are found where the
    supervisor itself was killed (of Linux)."""

    def __init__(self, mark: str):
        self.mark = mark
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self.running = False

    def start(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], limits: tuple[int, int],
              streams: Sequence[int]) -> None:
        """Start a decoder. limits: bytes of memory and of a file, 0: none; streams: descriptors of standard input,
        output and error. Raises OSError, which says why it cannot be started; SupervisorLost."""
        if self.running:
            self.end()
        if self._process is None:
            self._open()
        request = {"argv": [*argv], "cwd": str(cwd), "env": {**env}, "memory": limits[0], "file": limits[1]}
        data = json.dumps(request).encode() + b"\n"
        try:
            sent = socket.send_fds(self._socket, [data], list(streams))
            self._socket.sendall(data[sent:])
        except OSError:
            raise self._lost() from None
        reply = self._answer(START_SECONDS)
        if reply is None:
            raise self._lost()
        if "error" in reply:
            raise OSError(reply["error"])
        self.running = True

    def wait(self, seconds: float) -> Ended:
        """Raises subprocess.TimeoutExpired while it runs, SupervisorLost."""
        if (reply := self._answer(seconds)) is None:
            raise subprocess.TimeoutExpired("decoder", seconds)
        self.running = False
        return Ended(reply["exit"], reply["left"], reply["stuck"])

    def watch(self) -> None:
        """Raises SupervisorLost where nothing watches any more."""
        if self._process is not None and self._process.poll() is not None:
            raise self._lost()

    def end(self) -> Ended:
        """End the decoder, and all that it started. Raises SupervisorLost."""
        try:
            self._socket.sendall(b'{"op": "end"}\n')
            return self.wait(END_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            raise self._lost() from None

    def close(self) -> None:
        """End everything."""
        if self._process is None:
            return
        with suppress(SupervisorLost):
            if self.running:
                self.end()
        if self._process is not None:
            self._socket.close()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _open(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno())],
                                             pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._rest = b""

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        # The next line of the supervisor, None if there is none in time.
        ends = time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([self._socket], [], [], max(0.0, ends - time.monotonic()))[0]:
                return None
            try:
                data = self._socket.recv(LINE_MAX)
            except OSError:
                data = b""
            if not data:
                raise self._lost()
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _lost(self) -> SupervisorLost:
        # It may live and be stopped; what it watched has come to this process's parents, and is known by its mark.
        self.running = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.close()
        for _ in range(20):
            if not (found := marked(self.mark)):
                break
            for pid in found:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        return SupervisorLost()


def marked(mark: str) -> list[int]:
    """Processes with this in their environment that are not over."""
    found, wanted = [], mark.encode()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/environ", "rb") as f:
                if wanted in f.read():
                    found.append(int(name))
    return found
