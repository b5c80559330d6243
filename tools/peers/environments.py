"""Virtual environments of the peers: made once by pip, reused afterwards.

A machine may set REFCODEC_BENCH_PYTHON to choose the interpreter that makes them.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

PACKAGES = {
    # NNCodec 2.1.3 needs numpy < 2 and torch; torchvision is replaced by a stub in nncodec_worker.py.
    "nncodec": ("torch==2.13.0", "nncodec==2.1.3", "numpy<2"),
    # zipnn imports torch: the same pin, so that both environments share the download.
    "lossless": ("torch==2.13.0", "zstandard==0.25.0", "zipnn==0.5.4", "pcodec==1.1.0", "openzl==0.3.0",
                 "bsdiff4==1.3.2", "hdiffpatch==2.6.0", "numpy"),
    "outputs": ("onnxruntime", "onnx", "numpy", "pillow", "scikit-image", "scikit-learn"),
}


def ensure_env(work: pathlib.Path, name: str) -> pathlib.Path:
    """The interpreter of the environment `name` of PACKAGES in `work`, installed if it is not there.

    Raises subprocess.CalledProcessError where pip fails; the environment is then made anew next time.
    """
    folder = pathlib.Path(work).resolve() / f"env-{name}"
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(PACKAGES[name]) + "\n"
    if not done.exists() or done.read_text() != wanted:
        print(f"installing {', '.join(PACKAGES[name])} into {folder}", file=sys.stderr, flush=True)
        maker = os.environ.get("REFCODEC_BENCH_PYTHON", sys.executable)
        subprocess.run([maker, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
        done.write_text(wanted)
    return python
