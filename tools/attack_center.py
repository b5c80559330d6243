"""A knowledge center under attack: slow clients and hostile uploads, and how long honest ones wait meanwhile.

    python tools/attack_center.py --clients 500 --seconds 60 --json attack.json

A service of its own is started in a process, with `serve --open`. Slow clients hold connections in six ways, and come
again when they are cut; hostile ones upload streams that take long to decode. Honest clients ask for health, plan and
pull an update, one after the other. At the end the service is told to end (SIGTERM), at work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TextIO

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from refcodec import Model, Tensor, encode, save  # noqa: E402
from tools.knowledge_center import Store  # noqa: E402
from tools.knowledge_center.client import Client  # noqa: E402

WAYS = ("silent", "header", "drip", "body", "reader", "idle")


def model(seed: int) -> Model:
    """A small model, near the one of seed 0."""
    base = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    moved = base * (1 + np.random.default_rng(seed).integers(-1, 2, base.shape).astype(np.float32) * np.float32(2**-20))
    return Model([Tensor("w", moved.astype(np.float32) if seed else base)])


def costly() -> bytes:
    """A small stream that puts out 1 GB: half a minute of decoding, hashing and keeping."""
    return encode(Model([Tensor(f"t{n}", np.zeros((4096, 4096), np.float32)) for n in range(16)]))


def filled(folder: str) -> Store:
    store = Store.create(folder)
    store.add("v1", model(0))
    store.add("v2", model(1), parents=["v1"])
    big = np.random.default_rng(2).standard_normal((1024, 1024)).astype(np.float32)
    store.add("big", Model([Tensor("w", big)]), reference="none")
    return store


class Slow:
    """One slow client after the other in a task; cut: how often the service ended a connection."""

    def __init__(self, port: int, big: str, until: threading.Event):
        self.port, self.big, self.until, self.cut, self.refused = port, big, until, 0, 0

    async def run(self, way: str) -> None:
        while not self.until.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.5)
                continue
            try:
                await self.hold(way, reader, writer)
                self.cut += 1
            except OSError:
                self.cut += 1
            finally:
                writer.transport.abort()
            await asyncio.sleep(0.05)

    async def hold(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the service ends the connection, or the attack is over."""
        host = b"Host: localhost\r\n"
        first = {"silent": b"", "header": b"GET /health HTTP/1.1\r\n" + host, "drip": b"G",
                 "body": b"POST /plan HTTP/1.1\r\n" + host + b"Content-Length: 1000\r\n\r\n{",
                 "reader": b"GET /objects/" + self.big.encode() + b" HTTP/1.1\r\n" + host + b"\r\n",
                 "idle": b"GET /health HTTP/1.1\r\n" + host + b"\r\n"}[way]
        writer.write(first)
        await writer.drain()
        while not self.until.is_set():
            if way == "reader":
                if not await reader.read(64):
                    return
                await asyncio.sleep(1)
                continue
            with contextlib.suppress(TimeoutError):
                if not await asyncio.wait_for(reader.read(1 << 16), 1):
                    return
            if way in ("header", "drip", "body"):
                writer.write(b"X: 1\r\n" if way == "header" else b"E" if way == "drip" else b" ")
                await writer.drain()


def harm(url: str, stop: threading.Event, count: list[int]) -> None:
    """Uploads of costly and damaged streams, over and over."""
    streams = [costly(), encode(model(3))[:-40] + bytes(40), b"OMC" + bytes(5000)]
    n = 0
    while not stop.is_set():
        stream = streams[n % len(streams)]
        n += 1
        with contextlib.suppress(Exception), Client(url, attempts=3) as client:
            digest = hashlib.sha256(stream).hexdigest()
            client.upload(digest, stream)
            client._answer("PUT", f"/versions/bad{n}", json={"object": digest, "model_digest": "0" * 64})
        count[0] += 1


def honest(url: str, have: str, output: str, stop: threading.Event, waits: dict[str, list[float]],
           faults: list[str]) -> None:
    """Health, a plan and a pull, each timed."""
    def timed(what: str, action) -> None:
        begin = time.perf_counter()
        action()
        waits[what].append(time.perf_counter() - begin)

    while not stop.is_set():
        try:
            with Client(url) as client:
                timed("health", lambda client=client: client._answer("GET", "/health"))
                timed("pull", lambda client=client: client.pull("v2", output, have))
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")
        stop.wait(0.2)


async def attack(port: int, big: str, clients: int, until: threading.Event) -> Slow:
    slow = Slow(port, big, until)
    await asyncio.gather(*(slow.run(WAYS[n % len(WAYS)]) for n in range(clients)))
    await asyncio.sleep(0.1)                    # in which connections are let go
    return slow


def drain(pipe: TextIO) -> None:
    """Reads a log to its end, so that nobody waits for who writes it."""
    with pipe:
        for _ in pipe:
            pass


def started(folder: str, descriptors: int | None) -> tuple[subprocess.Popen, int]:
    """A service in a process of its own, and its port."""
    limit = f"ulimit -n {descriptors}; " if descriptors else ""
    command = f"{limit}exec {sys.executable} {ROOT}/tools/knowledge_center serve {folder} --open --port 0 --seconds 5"
    process = subprocess.Popen(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if found := re.search(r"running on http://[\d.]+:(\d+)", line):
            threading.Thread(target=drain, args=(process.stderr,), daemon=True).start()
            return process, int(found[1])
    raise SystemExit("the service did not start")


def run(clients: int, seconds: float, uploaders: int = 2, honest_clients: int = 4,
        descriptors: int | None = None) -> dict:
    """An attack; what honest clients waited, and what became of the others."""
    with tempfile.TemporaryDirectory() as folder:
        store = filled(f"{folder}/store")
        big = next(e.object for e in store.index.edges() if e.size > 1 << 20)
        save(model(0), f"{folder}/v1.npz")
        process, port = started(f"{folder}/store", descriptors)
        url, stop = f"http://127.0.0.1:{port}", threading.Event()
        waits, faults, harmed = {"health": [], "pull": []}, [], [0]
        with Client(url) as client:
            client.pull("v2", f"{folder}/first.npz", f"{folder}/v1.npz")       # once before: its stream is coded then
        threads = [threading.Thread(target=harm, args=(url, stop, harmed)) for _ in range(uploaders)]
        threads += [threading.Thread(target=honest, args=(url, f"{folder}/v1.npz", f"{folder}/o{n}.npz", stop, waits,
                                                          faults)) for n in range(honest_clients)]
        for thread in threads:
            thread.start()
        timer = threading.Timer(seconds, stop.set)
        timer.start()
        slow = asyncio.run(attack(port, big, clients, stop))
        begin = time.perf_counter()
        process.send_signal(signal.SIGTERM)                                    # while uploads are decoded
        process.wait(60)
        ended = time.perf_counter() - begin
        for thread in threads:
            thread.join()
        result = {what: {"count": len(found), "median": float(np.median(found)), "longest": max(found)}
                  for what, found in waits.items()}
        return result | {"slow_clients": clients, "seconds": seconds, "connections_cut": slow.cut,
                         "connections_refused": slow.refused, "uploads": harmed[0], "faults": faults,
                         "seconds_to_end": round(ended, 2), "exit": process.returncode}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clients", type=int, default=500, help="slow clients (default 500)")
    p.add_argument("--seconds", type=float, default=60.0, help="that the attack takes (default 60)")
    p.add_argument("--descriptors", type=int, help="open files that the service may have (ulimit -n)")
    p.add_argument("--json", metavar="FILE", help="write the result")
    a = p.parse_args()
    result = run(a.clients, a.seconds, descriptors=a.descriptors)
    print(json.dumps(result, indent=1))
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
