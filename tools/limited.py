"""A command under limits of the kernel, and what it took: CPU seconds, peak memory, how it ended.

The process that starts the command is small, as a child's peak memory begins with what its parent has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MB = 1 << 20
STARTER = """
import json, os, resource, signal, sys, time
told, limits, seconds, command = int(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
pid = os.fork()
if pid == 0:
    os.close(told)
    os.setsid()
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    os.execv(command[0], command)
def stop(*_):
    os.killpg(pid, signal.SIGKILL)
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, seconds)
_, status, usage = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10]),
      file=os.fdopen(told, "w"))
"""


@dataclass
class Done:
    """exit: code, or minus the signal.  cpu: seconds.  peak: bytes.  out, err: what was printed, at most a MB."""

    exit: int
    cpu: float
    peak: int
    out: str
    err: str


def run(command: Sequence[str | Path], folder: Path, *, cpu: int = 60, address_space: int = 8 << 30,
        file_size: int = 4 << 30, seconds: float = 240, **variables: str) -> Done:
    """Runs a command, whose output goes to files of `folder`, under RLIMIT_CPU, RLIMIT_AS and RLIMIT_FSIZE.

    seconds: of real time, after which it is killed with all that is in its session.  variables: of its environment.
    """
    limits = json.dumps({"CPU": cpu, "AS": address_space, "FSIZE": file_size, "CORE": 0})
    read, write = os.pipe()
    program = [sys.executable, "-I", "-S", "-c", STARTER, str(write), limits, str(seconds), *map(str, command)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                   **variables}
    names = folder / ".printed", folder / ".said"
    with open(names[0], "wb") as out, open(names[1], "wb") as err:
        process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=[write],
                                   env=environment)
        os.close(write)
        with os.fdopen(read) as told:
            line = told.readline()
        process.wait()
    printed = [name.read_bytes()[:MB].decode("utf-8", "replace") for name in names]
    for name in names:
        name.unlink()
    code, used, peak = json.loads(line) if line else (process.returncode, 0.0, 0)
    return Done(code, used, peak, *printed)


def refcodec(*arguments: str | Path) -> list[str]:
    """The command line of refcodec."""
    return [sys.executable, "-m", "refcodec", *map(str, arguments)]
