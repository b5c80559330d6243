"""What it costs to import parts of refcodec: processor seconds, memory, and the heavy packages that are loaded for it.

    python tools/import_cost.py            # the best of 5 processes each
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = ("refcodec", "refcodec.bitstream.syntax", "refcodec.formats.table", "refcodec.encoder.config",
           "refcodec.model", "refcodec.decoder", "refcodec.encoder.encoding")
HEAVY = ("bitstring", "numpy", "ml_dtypes", "numba", "onnx")
TRIES = 5
PROGRAM = """
import resource, sys, time
start = time.process_time()
import {module}
seconds = time.process_time() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, *(m for m in {heavy} if m in sys.modules))
"""


def cost(module: str) -> tuple[float, int, list[str]]:
    """Processor seconds of one import, peak memory of its process in kB, and the heavy packages that it loads."""
    run = subprocess.run([sys.executable, "-c", PROGRAM.format(module=module, heavy=HEAVY)], cwd=ROOT, check=True,
                         capture_output=True, text=True)
    seconds, kilobytes, *loaded = run.stdout.split()
    return float(seconds), int(kilobytes), loaded


def main() -> None:
    print(f"{'import':<28} {'seconds':>7} {'MB':>6}  loads")
    for module in MODULES:
        seconds, kilobytes, loaded = min(cost(module) for _ in range(TRIES))
        print(f"{module:<28} {seconds:7.3f} {kilobytes / 1000:6.1f}  {', '.join(loaded) or '-'}")


if __name__ == "__main__":
    main()
