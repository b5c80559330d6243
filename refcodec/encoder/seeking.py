"""Progress while a step is sought: the search counts as bytes of the model that take as long (informative)."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]      # bytes done, bytes in all, name

RUNS = 3                     # of a search, usually
STATISTICS = 16              # looking at so many bytes takes as long as coding one


class Seeking:
    """What a search has done. model: bytes that are coded after it."""

    def __init__(self, report: Progress | None, model: int):
        self.report, self.model = report, model
        self.done = self.expected = 0

    def expect(self, count: int) -> None:
        """So many bytes are likely to be coded in the search."""
        self.expected += count

    def add(self, count: int) -> None:
        """So many bytes more were coded."""
        self.tell(self.done + count)

    def tell(self, done: int) -> None:
        """So many bytes were coded since the search began."""
        self.done = done
        if self.report:
            self.report(done, max(self.expected, done) + self.model, "(the step)")
