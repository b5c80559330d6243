"""SPEC.md cut into its clauses, each as HTML, with its coverage and the streams that show it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from markdown_it import MarkdownIt

from .manifest import Manifest

REQUIREMENT = re.compile(r"\[(R[0-9A-Z.]+-\d+)\]")
HEADING = re.compile(r"^(#{2,4}) (?:Annex )?([0-9A-Z](?:\.\d+)*) (.+)$")

Coverage = dict[str, Any]         # conformance/coverage.json, as read


@dataclass
class Clause:
    """One clause. streams: ids of those that show it; covered of its points; open, waived: the others."""

    number: str
    title: str
    depth: int
    html: str
    requirements: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    covered: int = 0
    points: int = 0
    open: list[str] = field(default_factory=list)
    waived: dict[str, str] = field(default_factory=dict)

    @property
    def coverage(self) -> str:
        """covered, partly, open, or none: nothing in it to cover."""
        if not self.points:
            return "covered" if self.streams else "none"
        return "covered" if self.covered == self.points else "partly" if self.covered else "open"


def clauses(spec: str, manifest: Manifest, coverage: Coverage | None = None) -> list[Clause]:
    """The clauses of the text, in its order. coverage: of the suite."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    found = [Clause(number, title, depth, markdown.render(body), REQUIREMENT.findall(body))
             for number, title, depth, body in _cut(spec)]
    by_number, home = {c.number: c for c in found}, {r: c.number for c in found for r in c.requirements}
    shown = defaultdict(set)
    for stream in manifest.streams:
        for number in {*stream.clauses, *(home.get(r, "") for r in stream.requirements)}:
            shown[number].add(stream.id)
    if coverage:
        _count_points(coverage, by_number, shown)
    for clause in found:
        clause.streams = [s.id for s in manifest.streams if s.id in shown[clause.number]]
    return found


def _cut(spec: str) -> list[tuple[str, str, int, str]]:
    """(number, title, depth, text) of each clause; what stands before the first is left out."""
    parts: list[tuple[str, str, int, list[str]]] = []
    fenced = False
    for line in spec.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else HEADING.match(line)
        if heading:
            parts.append((heading[2], heading[3], len(heading[1]) - 1, []))
        elif parts:
            parts[-1][3].append(line)
    return [(number, title, depth, "\n".join(lines)) for number, title, depth, lines in parts]


def _count_points(coverage: Coverage, by_number: dict[str, Clause], shown: dict[str, set[str]]) -> None:
    """Give each clause its points of coverage.json."""
    ids, waived = coverage.get("streams", []), coverage.get("waived", {})

    def home(name: str) -> Clause | None:
        number = name.split(":", 2)[1] if name.count(":") else ""
        while number and number not in by_number:
            number = number.rpartition(".")[0]
        return by_number.get(number)

    def show(clause: Clause, streams: list[int]) -> None:
        shown[clause.number].update(ids[i] for i in streams)

    for name, streams in coverage.get("points", {}).items():
        if clause := home(name):
            show(clause, streams)
            if name in waived:
                clause.waived[name] = waived[name]
                continue
            clause.points += 1
            clause.covered += bool(streams)
            if not streams:
                clause.open.append(name)
    for name, (covered, points, streams, missing) in coverage.get("groups", {}).items():
        if clause := home(name):
            show(clause, streams)
            clause.points, clause.covered = clause.points + points, clause.covered + covered
            clause.open += [f"{name}: {m}" for m in missing]


def read_spec(manifest: Manifest) -> tuple[str, Coverage | None]:
    """(SPEC.md or nothing, coverage.json or None) of the repository that a manifest stands in."""
    suite = manifest.path.resolve().parent
    spec, coverage = suite.parent / "SPEC.md", suite / "coverage.json"
    text = spec.read_text(encoding="utf-8") if spec.is_file() else ""
    return text, json.loads(coverage.read_text(encoding="utf-8")) if coverage.is_file() else None
