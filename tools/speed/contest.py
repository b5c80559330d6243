"""Codecs timed by turns on one file: each stays warm in a process of its own environment and codes when it is told to.

In every round each codec encodes or decodes once, so that what else the machine does falls on all of them; who begins
changes from round to round.  Times are those of processors and of the clock.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from peers.environments import WORKERS, BenchError, ensure_env

SLOW, SLOW_DECODING = 15.0, 5.0         # seconds of an encoding, a decoding, that is not done again
OMC = "omc"                             # the environment of the codec itself


class Contestant(NamedTuple):
    """A codec. environment: of environments.PACKAGES, or OMC.  encodes: False where another's stream is decoded.

    threads: whether it can use more than one.
    """

    name: str
    environment: str
    encodes: bool = True
    threads: bool = True


@dataclass
class Times:
    """Seconds of repeated calls."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self, answer: dict) -> None:
        self.cpu.append(answer["cpu"])
        self.wall.append(answer["wall"])


@dataclass
class Measured:
    """What a contestant did with a file of `size` bytes.  bytes: of its stream.  Times by number of threads."""

    size: int
    bytes: int = 0
    encode: dict[int, Times] = field(default_factory=dict)
    decode: dict[int, Times] = field(default_factory=dict)

    def speed(self, what: str, threads: int = 1, clock: str = "cpu",
              of: Callable[[Sequence[float]], float] = min) -> float | None:
        """MB/s of the file's bytes, by the best time or by statistics.median; None: not measured."""
        times = {"encode": self.encode, "decode": self.decode}[what].get(threads)
        seconds = getattr(times, clock) if times else []
        return self.size / max(of(seconds), 1e-9) / 1e6 if seconds else None

    @property
    def ratio(self) -> float | None:
        return self.size / self.bytes if self.bytes else None


class Worker:
    """A speed_worker.py process. python: its interpreter.  module: the file beside it that has the codecs."""

    def __init__(self, python: str | pathlib.Path, module: str, environment: dict[str, str] | None = None):
        self.module = module
        self.process = subprocess.Popen([str(python), str(WORKERS / "speed_worker.py"), module], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: object) -> dict:
        """The answer to a request. Raises BenchError with what went wrong."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"the process ended (code {self.process.wait()})"}
        if "error" in answer:
            raise BenchError(f"{self.module}: {request.get('do')} {request.get('codec', '')}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe:
                    pipe.close()
        self.process.wait()


def module_of(environment: str) -> str:
    """The file beside speed_worker.py that has the codecs of an environment."""
    return {OMC: "speed_omc", "nncodec": "speed_nncodec"}.get(environment, "speed_codecs")


class Workers:
    """The processes of all environments, started when they are first used; a context manager."""

    def __init__(self, work: pathlib.Path, repository: pathlib.Path, environment: dict[str, str]):
        self.work, self.environment = work, {**environment, "PYTHONPATH": str(repository)}
        self.started: dict[str, Worker] = {}

    def __getitem__(self, name: str) -> Worker:
        if name not in self.started:
            if name == OMC:
                self.started[name] = Worker(sys.executable, module_of(name), self.environment)
            else:
                self.started[name] = Worker(ensure_env(self.work, name), module_of(name),
                                            {**self.environment, "BIGSMALL_DISABLE_VERSION_CHECK": "1",
                                             "TQDM_DISABLE": "1"})
        return self.started[name]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.started.values():
            worker.close()

    def close_codecs(self) -> None:
        """Forgets files and streams."""
        for worker in self.started.values():
            worker.ask(do="close")


def turns(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """The order of round `number`: each time another begins."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def compete(workers: Workers, contestants: Sequence[Contestant], path: pathlib.Path,
            reference: pathlib.Path | None = None, rounds: int = 5, threads: Sequence[int] = (1, 2),
            say: Callable[[str], None] = lambda text: None) -> dict[str, Measured]:
    """What every contestant did with a file, by name.

    Encoding is done in two rounds, but once by what takes longer than SLOW and with several threads; decoding in
    `rounds`, once by what takes longer than SLOW_DECODING, after one that is checked to give the file back.
    Raises BenchError where a codec fails or does not give the file back.
    """
    found = {c.name: Measured(path.stat().st_size) for c in contestants}
    for c in contestants:
        workers[c.environment].ask(do="open", codec=c.name, path=str(path), reference=reference and str(reference))

    def encode(c: Contestant, number: int) -> None:
        answer = workers[c.environment].ask(do="encode", codec=c.name, threads=number)
        say(f"    {c.name} encodes with {number}: {answer['bytes']:,} bytes, {answer['wall']:.2f} s")
        found[c.name].bytes = answer["bytes"]
        found[c.name].encode.setdefault(number, Times()).add(answer)

    encoders = [c for c in contestants if c.encodes]
    for number in threads[1:]:
        for c in encoders:
            if c.threads:
                encode(c, number)
    for turn in range(2):
        for c in turns(encoders, turn):
            if not turn or found[c.name].encode[1].wall[0] < SLOW:
                encode(c, 1)
    for c in contestants:
        if found[c.name].bytes and not workers[c.environment].ask(do="check", codec=c.name)["right"]:
            raise BenchError(f"{c.name} does not give {path} back")
        if not c.encodes:
            workers[c.environment].ask(do="decode", codec=c.name, threads=1)
    for turn in range(rounds):
        for number in threads:
            for c in turns(contestants, turn):
                before = found[c.name].decode.get(number)
                if (number == 1 or c.threads) and not (before and before.wall[0] > SLOW_DECODING):
                    answer = workers[c.environment].ask(do="decode", codec=c.name, threads=number)
                    found[c.name].decode.setdefault(number, Times()).add(answer)
        say(f"    decoding, round {turn + 1} of {rounds}")
    workers.close_codecs()
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
