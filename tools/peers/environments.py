"""Virtual environments of the peers, and programs that run in them.

Environments are made once by pip from PyPI and reused afterwards.  A machine may set REFCODEC_BENCH_PYTHON to choose
the interpreter that makes them.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping

PACKAGES = {
    # NNCodec 2.1.3 needs numpy < 2 and torch; torchvision is replaced by a stub in nncodec_worker.py.
    "nncodec": ("torch==2.13.0", "nncodec==2.1.3", "numpy<2"),
    # zipnn imports torch: the same pin, so that both environments share the download.
    "lossless": ("torch==2.13.0", "zstandard==0.25.0", "zipnn==0.5.4", "pcodec==1.1.0", "openzl==0.3.0",
                 "bsdiff4==1.3.2", "hdiffpatch==2.6.0", "numpy"),
    "lmzip": ("lmzip[zstd]==1.3.0", "numpy"),
    "bigsmall": ("bigsmall==4.0.0", "numpy"),
    "z4ai": ("z4ai==0.2.0", "numpy"),
    "answers": ("onnxruntime", "onnx", "numpy", "pillow", "safetensors"),
    "outputs": ("onnxruntime", "onnx", "numpy", "pillow", "scikit-image", "scikit-learn"),
}
WORKERS = pathlib.Path(__file__).parent / "workers"
LINES = 5                         # of the end of standard error that a failure shows


class BenchError(Exception):
    """A measurement that cannot be made; str() says what was tried and what came of it."""


def _paths(work: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path, str]:
    """(interpreter, stamp, what the stamp says) of an environment."""
    folder = pathlib.Path(work).resolve() / f"env-{name}"
    return folder / "bin" / "python", folder / "installed.txt", "\n".join(PACKAGES[name]) + "\n"


def is_ready(work: pathlib.Path, name: str) -> bool:
    """Whether an environment is there, with the packages that are wanted now."""
    _, stamp, wanted = _paths(work, name)
    return stamp.exists() and stamp.read_text() == wanted


def ensure_env(work: pathlib.Path, name: str) -> pathlib.Path:
    """The interpreter of the environment `name` of PACKAGES in `work`, installed if it is not there.

    Raises BenchError where venv or pip fails; the environment is then made anew next time.
    """
    python, stamp, wanted = _paths(work, name)
    if not is_ready(work, name):
        maker = os.environ.get("REFCODEC_BENCH_PYTHON", sys.executable)
        for command in ([maker, "-m", "venv", str(stamp.parent)],
                        [str(python), "-m", "pip", "install", "--quiet", *PACKAGES[name]]):
            if subprocess.run(command, stdout=sys.stderr).returncode:
                raise BenchError(f"the environment {name!r} of the peers cannot be made: {' '.join(command)} failed "
                                 "(above); it needs PyPI")
        stamp.write_text(wanted)
    return python


def run_worker(python: str | os.PathLike[str], program: pathlib.Path, *arguments: str,
               environment: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a program printed. Raises BenchError with the end of what it said where it fails."""
    done = subprocess.run([str(python), str(program), *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-LINES:])
        raise BenchError(f"{program.name} failed (exit code {done.returncode}):\n{said}")
    return done.stdout.splitlines()
