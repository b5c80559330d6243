"""What a user is told while loops are compiled for the first time, which takes seconds (compiler.py)."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NOTICE = ("refcodec: first use: compiling loops, 10 to 40 s for each tool, once; they are kept in {folder}; "
          "'refcodec warm-up' compiles all of them beforehand")


class FirstUse(logging.Handler):
    """A line for the first loop that is compiled; on a terminal also a bar that names each while it takes its time.

    notice: the line; {folder} is where the loops are kept.  total, ready: how many tools need loops, and a
    function that counts those that are ready, where this is known.
    """

    seconds = 0.0                             # spent so far on compiling, by all commands of this process

    def __init__(self, notice: str = NOTICE, total: int | None = None, ready: Callable[[], int] | None = None):
        super().__init__(logging.INFO)
        self.notice, self.total, self.ready = notice, total, ready
        self.compiled, self.begin = 0, 0.0
        self.under_way: list[str] = []        # loops that are being compiled: one may need another
        self.since = 0.0                      # when the outermost of them began
        self.bar: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called as a loop begins, or ends, to be compiled."""
        if not self.begin:
            self._begin()
        if not vars(record)["done"]:
            self.since = self.since if self.under_way else time.time()
            self.under_way.append(vars(record)["loop"])
        elif self.under_way:
            self.under_way.pop()
            self.compiled += 1
            FirstUse.seconds += 0 if self.under_way else time.time() - self.since
        self._show()

    def _begin(self) -> None:
        from tqdm import tqdm

        from ..compiler import CACHE_FOLDER

        self.begin = time.time()
        tqdm.write(self.notice.format(folder=os.path.dirname(CACHE_FOLDER) or "memory alone"), file=sys.stderr)

    def _show(self) -> None:
        from tqdm import tqdm

        if self.bar is not None:
            self.bar.close()
        self.bar = None
        if self.under_way and sys.stderr.isatty():
            form = "{desc} |{bar}| {n} of {total} tools, {elapsed}" if self.total else "{desc}, {n} ready, {elapsed}"
            self.bar = tqdm(total=self.total, desc=f"compiling {self.under_way[-1]}", bar_format=form, leave=False,
                            initial=self.ready() if self.ready else self.compiled, delay=1e-9)
            self.bar.start_t = self.begin     # the time of all loops so far
            self.bar.refresh()


@contextmanager
def told(handler: FirstUse | None = None) -> Iterator[FirstUse]:
    """Tell of what is compiled while the block runs, and the blocks around it do not; nothing where all is on disk."""
    log = logging.getLogger("refcodec.compiler")
    handler, level, others = handler or FirstUse(), log.level, log.handlers
    log.handlers = [handler, *(other for other in others if not isinstance(other, FirstUse))]
    log.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        log.handlers = others
        log.setLevel(level)
