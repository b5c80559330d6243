"""Programs in processes of their own: the command line, test files in which nothing is compiled, other Python."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers.places import ROOT

FIRST_USE = "refcodec: first use: "          # begins the notice that loops are compiled
SECONDS = 900              # a bound on one process, wide enough for a busy machine


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, with its import paths and with these variables."""
    paths = os.pathsep.join([path for path in sys.path if path] or [str(ROOT)])
    return {**os.environ, "PYTHONPATH": paths, **variables}


def run_python(*arguments, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, under environment(**variables)."""
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS,
                          env=environment(**variables))
    if check:
        assert done.returncode == 0, done.stderr
    return done


def uncompiled(*arguments) -> str:
    """What Python with these arguments (a test file that is a program, say) prints when nothing is compiled."""
    return run_python("-W", "error", *arguments, REFCODEC_COMPILE="0").stdout


def run_cli(*arguments, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return run_python("-m", "refcodec", *arguments, check=check, **variables)
