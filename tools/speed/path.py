"""From file to file: the command in processes of its own, with their time and their greatest memory."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from peers.environments import BenchError

from .output import read_header

INTERVAL = 0.01                         # seconds between looks at a process's memory
ACCESS = """
import sys, time
import refcodec
stream, name, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
began, cpu = time.perf_counter(), time.process_time()
with refcodec.open(stream, threads=threads) as tensors:
    array = tensors[name]
print(time.perf_counter() - began, time.process_time() - cpu, array.nbytes)
"""


def own_memory(pid: int) -> int:
    """Bytes that a process has for itself: without the pages of files that are mapped.  0: it is gone, or no Linux."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return 1024 * sum(int(line.split()[1]) for line in status if line.startswith(("RssAnon", "RssShmem")))
    except (OSError, ValueError):
        return 0


def child(command: Sequence[str], environment: dict[str, str]) -> dict:
    """Runs a process; seconds of the clock and of processors, and the greatest memory in MB.

    peak MB: of its own (see own_memory; without Linux as `with mapped`); with mapped: and of mapped files.
    Raises BenchError where it fails.
    """
    began, peak, done = time.perf_counter(), 0, threading.Event()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, own_memory(process.pid))
            done.wait(INTERVAL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    done.set()
    watcher.join()
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{said.decode(errors='replace')[-500:]}")
    mapped = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"wall s": wall, "cpu s": usage.ru_utime + usage.ru_stime, "peak MB": peak / 1e6 or mapped,
            "with mapped": mapped, "said": said.decode(errors="replace")}


def best_of(runs: Sequence[dict]) -> dict:
    """The least seconds, the greatest memory."""
    return {key: (max if "MB" in key or key == "with mapped" else min)(run[key] for run in runs)
            for key in ("wall s", "cpu s", "peak MB", "with mapped")}


def round_trip(path: pathlib.Path, folder: pathlib.Path, environment: dict[str, str], threads: int, rounds: int
               ) -> tuple[dict[str, dict], int]:
    """(rows by what was done, bytes of the largest tensor): encode, decode, tensor (the largest one).

    Encoding and decoding take turns; the file that comes back is compared.  Raises BenchError where it differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream, back = folder / "path.omc", folder / "path.safetensors"
    codec = [sys.executable, "-m", "refcodec"]
    runs: dict[str, list[dict]] = {"encode": [], "decode": []}
    for _ in range(rounds):
        for what, arguments in (("encode", [path, "-o", stream]), ("decode", [stream, "-o", back])):
            runs[what].append(child([*codec, what, *map(str, arguments), "--threads", str(threads)], environment))
    if subprocess.run(["cmp", "-s", str(path), str(back)]).returncode:
        raise BenchError(f"{path} does not come back")
    rows = {what: {"bytes": stream.stat().st_size, **best_of(found)} for what, found in runs.items()}
    back.unlink()
    name, largest = largest_tensor(path)
    rows["tensor"] = _access(stream, name, threads, rounds, environment)
    stream.unlink()
    return rows, largest


def _access(stream: pathlib.Path, name: str, threads: int, rounds: int, environment: dict[str, str]) -> dict:
    """The best seconds of reading a tensor in a process that has imported the codec."""
    found = [list(map(float, child([sys.executable, "-c", ACCESS, str(stream), name, str(threads)],
                                   environment)["said"].split())) for _ in range(rounds)]
    return {"bytes": int(found[0][2]), "wall s": min(f[0] for f in found), "cpu s": min(f[1] for f in found)}


def largest_tensor(path: pathlib.Path) -> tuple[str, int]:
    """(name, bytes) of the largest tensor of a safetensors file."""
    header, _ = read_header(path)
    sizes = {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items()}
    name = max(sizes, key=lambda name: sizes[name])
    return name, sizes[name]


def machine() -> dict:
    """What the times were taken on."""
    model = ""
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        pass
    return {"processors": os.cpu_count(), "model": model, "load": [round(load, 2) for load in os.getloadavg()]}
