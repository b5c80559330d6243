"""Between the checker and a decoder: starts it, and ends whatever it started before it says that it is over.

    python -I -S supervisor.py FD

FD is a Unix socket to the checker. A request is a line of JSON: 'argv', 'cwd', 'env', 'memory' and 'file' (bytes of
address space and of a file, 0: no limit), with three descriptors, which become standard input, output and error. The
answer is 'started', its number, or 'error'; when it is over, 'exit' (a code, or minus a signal), 'left' (whether
processes outlived it) and 'stuck' (how many cannot be ended). The request 'end' ends it before, and so does the end of
the socket: nothing outlives the checker.

All that a decoder starts stays below this process, for what loses its parent comes to it (PR_SET_CHILD_SUBREAPER of
Linux), whatever session or group it is in. Where a cgroup can be made it is in that, too, and ends at one stroke.
This is a program by itself, which imports nothing of refcodec: it starts quickly, and has one thread, so that it can
fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

SUBREAPER = 36                    # of prctl
GRACE = 0.3                       # seconds in which what a decoder started has to end after it
PATIENCE = 10.0                   # seconds to end what resists
KEPT = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
        signal.SIGPIPE, signal.SIGTSTP)                     # that a decoder may send here, to no end


def become_subreaper() -> bool:
    """Whether orphans below come to this process from now on."""
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


REAPS = False


class Group:
    """A cgroup for the decoder (version 2, where it can be made); else nothing."""

    def __init__(self) -> None:
        self.path = ""
        try:
            place = _own_cgroup()
            if place:
                path = f"{place}/omc-check-{os.getpid()}"
                os.mkdir(path)
                self.path = path
        except OSError:
            pass

    def join(self) -> None:
        """Put this process into it."""
        self._write("cgroup.procs", "0")

    def kill(self) -> None:
        self._write("cgroup.kill", "1")

    def members(self) -> set[int]:
        try:
            with open(f"{self.path}/cgroup.procs") as f:
                return {int(line) for line in f}
        except (OSError, ValueError):
            return set()

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    def _write(self, name: str, text: str) -> None:
        if self.path:
            with contextlib.suppress(OSError), open(f"{self.path}/{name}", "w") as f:
                f.write(text)


def _own_cgroup() -> str:
    with open("/proc/self/cgroup") as f:
        own = next((line[3:].strip() for line in f if line.startswith("0::")), None)
    with open("/proc/self/mountinfo") as f:
        mounts = [line.split(" - ")[0].split()[4] for line in f if line.split(" - ")[1].startswith("cgroup2 ")]
    return "" if own is None or not mounts or ".." in own else (mounts[0] + own).rstrip("/")


def descendants() -> set[int]:
    """All processes below this one that are not over."""
    children: dict[int, list[int]] = {}
    over = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    state, parent = f.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue                                    # it ended meanwhile
            children.setdefault(int(parent), []).append(int(name))
            if state in (b"Z", b"X"):
                over.add(int(name))
    found, waiting = set(), [os.getpid()]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.add(child)
            waiting.append(child)
    return found - over


class Decoder:
    """A decoder that runs. status: of its first process, None while it lives."""

    status: int | None = None
    alone = False                  # nothing is left below this process

    def __init__(self, request: dict[str, Any], fds: list[int], group: Group):
        self.group = group
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _become(request, fds, group)
            except BaseException as error:
                os.write(tell, (getattr(error, "strerror", None) or str(error) or "it cannot be started").encode())
            os._exit(127)
        os.close(tell)
        with open(told, "rb") as f:
            self.error = f.read(4096).decode("utf-8", "replace")

    def reap(self) -> None:
        """Take leave of all that ended."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.pid:
                    self.status = os.waitstatus_to_exitcode(ended[1])
        except ChildProcessError:
            self.alone = REAPS

    def living(self) -> set[int]:
        """All processes of the decoder that are not over."""
        self.reap()
        return set() if self.alone else descendants() | self.group.members()

    def outlived(self) -> bool:
        """Whether something lives on for longer than the grace that it has."""
        ends = time.monotonic() + GRACE
        while self.living():
            if time.monotonic() > ends:
                return True
            time.sleep(GRACE / 30)
        return False

    def end(self) -> int:
        """End everything; how many processes resist."""
        ends = time.monotonic() + PATIENCE
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)             # where nothing else is known of what it started
        while True:
            found = self.living()
            if not found and self.status is not None or time.monotonic() > ends:
                return len(found)
            self.group.kill()
            for sign in (signal.SIGSTOP, signal.SIGKILL):   # who is stopped makes no more of its kind
                for pid in found:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, sign)
            time.sleep(0.002)


def _become(request: dict[str, Any], fds: list[int], group: Group) -> None:
    # In the child: what it takes over from here, and the program.
    os.setsid()
    group.join()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    signal.set_wakeup_fd(-1)
    for sign in (*KEPT, signal.SIGCHLD):
        signal.signal(sign, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit, most in ((resource.RLIMIT_FSIZE, request["file"]), (resource.RLIMIT_AS, request["memory"])):
        hard = resource.getrlimit(limit)[1]
        if most and (hard == resource.RLIM_INFINITY or most <= hard):
            resource.setrlimit(limit, (most, most))
    os.chdir(request["cwd"])
    os.execvpe(request["argv"][0], request["argv"], request["env"])


class Link:
    """Lines of JSON, and descriptors, from and to the checker."""

    def __init__(self, number: int):
        os.set_inheritable(number, False)                   # no decoder answers for this process
        self.socket, self.rest, self.fds = socket.socket(fileno=number), b"", list[int]()

    def read(self) -> dict[str, Any] | None:
        """The next request, None at the end."""
        while b"\n" not in self.rest:
            data, fds, _, _ = socket.recv_fds(self.socket, 1 << 16, 3)
            self.fds += fds
            self.rest += data
            if not data:
                return None
        line, _, self.rest = self.rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def write(self, **reply: object) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(reply).encode() + b"\n")


def serve(link: Link, group: Group) -> None:
    """One decoder after the other, until the checker is gone."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while (request := link.read()) is not None:
        if "argv" not in request:
            continue                                        # the end of one that is over already
        fds, link.fds = link.fds[:3], link.fds[3:]
        decoder = Decoder(request, fds, group)
        for fd in fds:
            os.close(fd)
        if decoder.error:
            decoder.end()
            link.write(error=decoder.error)
            continue
        link.write(started=decoder.pid)
        asked = False
        while decoder.status is None and not asked:
            ready: list[int] = select.select([link.socket.fileno(), wake], [], [])[0]
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 1 << 12)
            decoder.reap()
            asked = link.socket.fileno() in ready
        left = not asked and decoder.outlived()
        stuck = decoder.end()
        link.write(exit=-signal.SIGKILL if decoder.status is None else decoder.status, left=left, stuck=stuck)


if __name__ == "__main__":
    os.setsid()
    for number in KEPT:
        signal.signal(number, signal.SIG_IGN)
    REAPS = become_subreaper()
    own = Group()
    try:
        serve(Link(int(sys.argv[1])), own)
    finally:
        own.remove()
