"""Mutants of the reference decoder: small faults by which tools/mutation_study.py measures the conformance suite.

Each is (exact text that occurs once in a file, what takes its place, what is wrong then). EQUIVALENT says of those
that no stream can tell from the original why that is so.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import bins, bits, coders, equivalent, structure, values


@dataclass(frozen=True)
class Mutant:
    """A fault. file: below refcodec/; equivalent: why no stream can show it, or nothing."""

    file: str
    old: str
    new: str
    what: str
    equivalent: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.file, self.old, self.new

    @property
    def area(self) -> str:
        """The folder of the file, or its name."""
        return self.file.split("/")[0].removesuffix(".py")

    def applied(self, text: str) -> str:
        """The text of the file with the fault. Raises ValueError where the old text does not occur exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} occurs {text.count(self.old)} times")
        return text.replace(self.old, self.new)


def all_mutants() -> list[Mutant]:
    """All mutants, the first of each file before the second of each, so that a part of them is a sample."""
    made = []
    for module in (structure, bits, coders, bins, values):
        for file, faults in module.MUTANTS.items():
            made += [(number, Mutant(file, old, new, what, equivalent.EQUIVALENT.get((file, old, new), "")))
                     for number, (old, new, what) in enumerate(faults)]
    return [mutant for _, mutant in sorted(made, key=lambda m: m[0])]
