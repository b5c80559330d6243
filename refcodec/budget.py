"""What a stream, or a model file, may cost whoever opens it: memory, work, bytes put out, files, time.

What costs something asks before it spends. A limit that nobody sets follows from the size of what was given (the
stream, and the models that it refers to), so that honest streams pass and bombs do not:

    limit      constant    more for each byte given
    memory     1 GiB       64 bytes, and never more than the machine has
    output     256 MiB     256 bytes
    work       10^10       500 units, and 128 for each byte that is made, as far as it may be put out
    files      16384       none

A unit of work takes about a nanosecond (bitstream/cost.py). An update of a hundred bytes that copies a large model
is honest: the model is given, too.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import OmcError, ReconstructionError

UNLIMITED = 1 << 128
MEMORY, MEMORY_PER_BYTE = 1 << 30, 64
WORK, WORK_PER_BYTE, WORK_PER_MADE = 10**10, 500, 128
OUTPUT, OUTPUT_PER_BYTE = 256 << 20, 256
FILES = 1 << 14
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8      # of mallopt() in glibc


class Budget:
    """memory, work, output, files, seconds: what is allowed, None for what follows from the size of what is given.

    memory:  bytes that may be held at a time, beyond what the process takes before it reads a byte.
    work:    units, in all; what is decoded again counts again.
    output:  bytes of files, of models in memory and of text, in all.
    files:   that one model may consist of.
    seconds: from now on; None: any.

    Methods that check raise `kind` (ReconstructionError) RESOURCE_LIMIT with what was asked for and what is allowed.
    Safe in threads.
    """

    def __init__(self, memory: int | None = None, work: int | None = None, output: int | None = None,
                 files: int | None = None, seconds: float | None = None):
        self._memory, self._work, self._output = memory, work, output
        self.files = FILES if files is None else files
        self.seconds, self.began = seconds, time.monotonic()
        self.given = self.held = self.made = self.worked = self.written = 0
        self._lock = threading.Lock()

    @classmethod
    def of_level(cls, memory: int | None = None) -> Budget:
        """No limits but those of the level of each stream, and the machine's memory, or the one that is given."""
        return cls(memory or machine_memory(), UNLIMITED, UNLIMITED, UNLIMITED)

    # What is allowed

    @property
    def memory(self) -> int:
        if self._memory is not None:
            return self._memory
        return min(machine_memory(), MEMORY + MEMORY_PER_BYTE * self.given)

    @property
    def work(self) -> int:
        if self._work is not None:
            return self._work
        return WORK + WORK_PER_BYTE * self.given + WORK_PER_MADE * min(self.made, self.output)

    @property
    def output(self) -> int:
        return OUTPUT + OUTPUT_PER_BYTE * self.given if self._output is None else self._output

    @property
    def memory_left(self) -> int:
        """Bytes that may be taken beside what is held."""
        return max(0, self.memory - self.held)

    def give(self, size: int) -> None:
        """`size` bytes more are given: a stream, or a model that it may refer to."""
        with self._lock:
            self.given += size

    def begin(self) -> None:
        """What follows is an operation of its own, whose work and output are counted from 0."""
        with self._lock:
            self.made = self.worked = self.written = 0

    # What is asked for

    def check_memory(self, need: int, what: str, kind: type[OmcError] = ReconstructionError) -> None:
        """`need` bytes for a while, beside what is held."""
        if need > self.memory - self.held:
            held = f" beside {self.held} that are held" if self.held else ""
            raise self._beyond(kind, what, f"needs {need} bytes of memory{held}", f"{self.memory}", "--max-memory")

    def hold(self, need: int, what: str, kind: type[OmcError] = ReconstructionError) -> None:
        """`need` bytes that stay until they are released."""
        with self._lock:
            self.check_memory(need, what, kind)
            self.held += need

    def release(self, size: int) -> None:
        with self._lock:
            self.held -= size

    @contextmanager
    def holding(self, need: int, what: str) -> Iterator[None]:
        """hold() for the time of a with statement."""
        self.hold(need, what)
        try:
            yield
        finally:
            self.release(need)

    def spend_work(self, need: int, what: str, kind: type[OmcError] = ReconstructionError, made: int = 0) -> None:
        """`need` units of work, by which `made` bytes of tensors are made; and the time of now."""
        with self._lock:
            self.check_time(kind)
            self.made += made
            if self.worked + need > self.work:
                done = f" beside {self.worked} that are done" if self.worked else ""
                raise self._beyond(kind, what, f"takes {need} units of work{done}", f"{self.work}", "--max-work")
            self.worked += need

    def put_out(self, size: int, what: str, kind: type[OmcError] = ReconstructionError) -> None:
        """`size` bytes go to files, to the caller or to a terminal."""
        with self._lock:
            if self.written + size > self.output:
                before = f" after {self.written}" if self.written else ""
                raise self._beyond(kind, what, f"puts out {size} bytes{before}", f"{self.output}", "--max-output")
            self.written += size

    def check_files(self, count: int, what: str, kind: type[OmcError] = ReconstructionError) -> None:
        if count > self.files:
            raise kind("RESOURCE_LIMIT", f"{what} consists of {count} files, {self.files} are allowed")

    def check_time(self, kind: type[OmcError] = ReconstructionError) -> None:
        if self.seconds is not None and time.monotonic() - self.began > self.seconds:
            raise kind("RESOURCE_LIMIT", f"it takes longer than the {self.seconds:g} s that are allowed")

    @staticmethod
    def _beyond(kind: type[OmcError], what: str, asked: str, allowed: str, option: str) -> OmcError:
        return kind("RESOURCE_LIMIT", f"{what} {asked}, {allowed} are allowed; if the stream is to be trusted, raise "
                    f"{option}")


def return_memory() -> None:
    """Has the C library give large blocks back to the system as soon as they are free, in all threads; where it can.

    Otherwise each thread may keep some that it no longer needs, and what the process takes is not what it asks for.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):       # a system without
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 20)
    mallopt(M_TRIM_THRESHOLD, 1 << 20)
    mallopt(M_ARENA_MAX, 2)


def machine_memory() -> int:
    """Bytes of memory of this machine, or 2^62 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62
