"""How far a check is, on standard error: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from typing import NoReturn, TextIO

from tqdm import tqdm

SECONDS = 10.0                    # between two lines


class Progress:
    """Counts what is done, from any thread; a context manager.

    total: how many there are; unit: what one is called.  quiet: nothing is shown.  file: where to, and seconds: between
    two lines where that is no terminal.
    """

    def __init__(self, total: int, unit: str, *, quiet: bool = False, file: TextIO | None = None,
                 seconds: float = SECONDS):
        self.total, self.unit, self.quiet, self.seconds = total, unit, quiet, seconds
        self.file = sys.stderr if file is None else file
        self.done = self.failed = self.skipped = 0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._bar: tqdm[NoReturn] | None = None
        self._lines: threading.Thread | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if not self.quiet and self.file.isatty():
            self._bar = tqdm(total=self.total, unit=f" {self.unit}", file=self.file, leave=False, smoothing=0.05)
        elif not self.quiet:
            self._lines = threading.Thread(target=self._print_lines, daemon=True)
            self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._lines is not None:
            self._lines.join()
        if self._bar is not None:
            self._bar.close()

    def add(self, passed: bool, skipped: bool = False) -> None:
        """One more is done. skipped: without being run, so that it says nothing about the time that is left."""
        with self._lock:
            self.done, self.failed, self.skipped = self.done + 1, self.failed + (not passed), self.skipped + skipped
            if self._bar is not None:
                self._bar.set_postfix_str(f"{self.failed} not PASS", refresh=False)
                self._bar.update()

    def note(self, text: str) -> None:
        """A line of its own, at once."""
        if self._bar is not None:
            self._bar.write(text, file=self.file)
        elif not self.quiet:
            self.file.write(text + "\n")
            self.file.flush()

    def line(self) -> str:
        """How many are done and failed, how many are run in a second, and how long the others take at that rate."""
        elapsed = time.monotonic() - self._began
        rate = (self.done - self.skipped) / elapsed if elapsed else 0.0
        left = f"about {_clock((self.total - self.done) / rate)} left" if rate else "time left unknown"
        return (f"{_clock(elapsed)}  {self.done} of {self.total} {self.unit}s, {self.failed} not PASS, "
                f"{rate:.1f} a second, {left}")

    def _print_lines(self) -> None:
        while not self._over.wait(self.seconds):
            with self._lock:
                text = self.line()
            self.note(text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
