"""A benchmark is a list of steps; while they run, the terminal is told which, and how long the others may take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One measurement. cost: seconds that it may take, only weighed against those of others; run: gives its rows."""

    section: str
    label: str
    cost: float
    run: Callable[[], list[dict]]


def run_steps(steps: Sequence[Step], done: Callable[[Step, list[dict]], None]) -> None:
    """Run the steps in order. done: gets each with its rows as soon as it is measured."""
    began, spent = time.monotonic(), 0.0
    for number, step in enumerate(steps, 1):
        elapsed, rest = time.monotonic() - began, sum(s.cost for s in steps[number - 1:])
        left = rest * elapsed / spent if spent else rest
        say(f"[{number}/{len(steps)}] {clock(elapsed)}, about {clock(left)} left: {step.section}, {step.label}")
        rows = step.run()
        spent += step.cost
        for row in rows:
            say("    " + "; ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                                   for key, value in row.items()))
        done(step, rows)
    say(f"{len(steps)} steps in {clock(time.monotonic() - began)}")


def say(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"


def table(rows: Sequence[dict]) -> None:
    """Prints rows as a Markdown table, a column for each key; numbers to at most two places."""
    def cell(value: object) -> str:
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    if rows:
        keys = list(dict.fromkeys(key for row in rows for key in row))
        lines = [keys] + [[cell(row.get(key, "")) for key in keys] for row in rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        lines.insert(1, ["-" * width for width in widths])
        for line in lines:
            print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |")
    print(flush=True)
