"""Coverage of the points of SPEC by the required streams: from traces, as text (coverage.md) and coverage.json."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from . import points
from .waivers import SHOWN_BY, WAIVERS

SHOWN = 3                                      # streams that are named for a point
ROOT = Path(__file__).parents[2]


@dataclass
class Coverage:
    """shown: point to the streams that show it, a few; waived: point to reason; wanted: all points, contexts
    included."""

    streams: list[str]
    shown: dict[str, list[str]]
    wanted: set[str]
    waived: dict[str, str]

    @property
    def open(self) -> list[str]:
        """Points without a stream and without a waiver."""
        return sorted(p for p in self.wanted if not self.shown.get(p) and p not in self.waived)


def requirements() -> dict[str, list[str]]:
    """Error codes of Annex B.1 to the requirements that name them."""
    return points.error_codes()


def reason(point: str) -> str | None:
    """Why a point need not be shown, or None."""
    return next((why for pattern, why in WAIVERS.items() if re.fullmatch(pattern, point)), None)


def traced(folder: Path, entries: list[dict]) -> tuple[dict[str, list[str]], set[str]]:
    """(point to streams, branches and paths of the decoder) from a watched decoding of the required streams."""
    jobs = "".join(json.dumps({"id": e["id"], "file": str((folder / e["file"]).absolute()),
                               "references": [str((folder / r).absolute()) for r in e["references"]]}) + "\n"
                   for e in entries if e["required"])
    run = subprocess.run([sys.executable, "-m", "conformance.recipes.watch"], input=jobs, stdout=subprocess.PIPE,
                         text=True, cwd=ROOT, env={**os.environ, "REFCODEC_COMPILE": "0",
                                                   "PYTHONPATH": str(ROOT)}, check=True)
    head, *lines = run.stdout.splitlines()
    shown: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        found = json.loads(line)
        for point in found["points"]:
            if len(shown[point]) < SHOWN:
                shown[point].append(found["id"])
    return shown, set(json.loads(head)["all"])


def measure(folder: Path, entries: list[dict]) -> Coverage:
    """Coverage of the streams of a manifest. folder: of the manifest."""
    shown, paths = traced(folder, entries)
    wanted = points.wanted() | paths | {
        f"{group}:{name}" for group, names in points.contexts().items() for name in names
    }
    breaks = defaultdict(list)
    for e in entries:
        for r in e["requirements"] if e["required"] else []:
            breaks[r].append(e["id"])
    coded = {r for ids in points.error_codes().values() for r in ids}
    for r in points.requirements():
        point = f"requirement:{re.match(r'R([0-9.]+)-', r)[1]}:{r}"
        streams = breaks[r] if r in coded else shown.get(SHOWN_BY.get(r, ""), [])
        shown[point] = streams[:SHOWN]
    _clauses(shown, wanted)
    shown = {p: s for p, s in shown.items() if p in wanted and s}
    waived = {p: why for p in wanted if p not in shown and (why := reason(p))}
    return Coverage([e["id"] for e in entries], shown, wanted, waived)


def _clauses(shown: dict[str, list[str]], wanted: set[str]) -> None:
    # A clause is shown by the points of it and of its parts.
    for point in [p for p in wanted if p.startswith("clause:")]:
        clause = point.split(":")[1]
        inside = (p for p in wanted
                  if not p.startswith("clause:") and shown.get(p) and f"{p.split(':')[1]}.".startswith(f"{clause}."))
        first = next(iter(sorted(inside)), None)
        shown[point] = shown[first] if first else shown.get(f"{SHOWN_BY.get(clause, '')}", [])


def as_json(c: Coverage, spec_version: str) -> str:
    """coverage.json: one point a line."""
    index = {name: i for i, name in enumerate(c.streams)}
    groups, single = {}, sorted(p for p in c.wanted if not p.startswith("context:"))
    for group, names in points.contexts().items():
        ids = [f"{group}:{n}" for n in names]
        open_ = [n for n, p in zip(names, ids) if not c.shown.get(p) and p not in c.waived]
        covered, waived = sum(p in c.shown for p in ids), sum(p in c.waived for p in ids)
        streams = [s for s, _ in Counter(s for p in ids for s in c.shown.get(p, [])).most_common(SHOWN)]
        groups[group] = [covered, len(ids) - waived, [index[s] for s in streams], open_]
    listed = {p: [index[s] for s in c.shown.get(p, [])] for p in single}
    body = [
        f'"spec_version": {json.dumps(spec_version)}', f'"streams": {json.dumps(c.streams)}',
        f'"classes": {json.dumps(points.CLASSES)}'
    ]
    for name, table in (("points", listed), ("groups", groups), ("waived", dict(sorted(c.waived.items())))):
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in table.items())
        body.append(f'"{name}": {{\n{lines}\n}}')
    return "{" + ",\n".join(body) + "}\n"


def _order(requirement: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", requirement)]


def uncovered(entries: list[dict]) -> tuple[set[str], set[str]]:
    """(requirements with a code, codes) that have no invalid stream and no waiver."""
    broken = {r for e in entries for r in e["requirements"]}
    codes = {c for e in entries if e["kind"] == "invalid" for c in e["expected"]["codes"]}
    wanted = requirements()
    missing = {r for ids in wanted.values() for r in ids} - broken
    return {r for r in missing if not reason(f"requirement:{re.match(r'R([0-9.]+)-', r)[1]}:{r}")}, set(wanted) - codes


def report(entries: list[dict], c: Coverage) -> str:
    """coverage.md: counts, what is open, waivers."""
    missing, codes = uncovered(entries)
    kinds = Counter(e["kind"] for e in entries)
    size = sum(e["size"] for e in entries)
    rows = []
    for name, meaning in points.CLASSES.items():
        every = [p for p in c.wanted if p.startswith(f"{name}:")]
        hit, waived = sum(p in c.shown for p in every), sum(p in c.waived for p in every)
        rows.append((name, len(every), hit, waived, len(every) - hit - waived, meaning))
    total = [sum(r[i] for r in rows) for i in range(1, 5)]
    by_reason = defaultdict(list)
    for point, why in sorted(c.waived.items()):
        by_reason[why].append(point)
    share = 100 * total[1] / (total[0] - total[2])
    summary = (f"{total[0]} points, {total[1]} shown ({share:.2f} % of those that are not waived), {total[2]} waived, "
               f"{total[3]} open")
    lines = [
        "# Coverage", "",
        "Made by `python -m conformance.recipes` from a watched decoding of every required stream. A point is named",
        "`class:clause:rest`; coverage.json lists each with streams that show it.", "",
        f"- {len(entries)} streams, {size} bytes: " + ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())),
        f"- {summary}", "", "| class | points | shown | waived | open | a point is |", "|---|---|---|---|---|---|",
        *(f"| {' | '.join(map(str, r))} |"
          for r in rows), "", "Error codes without a stream: " + (", ".join(sorted(codes)) or "none"), "",
        "Open requirements: " + (", ".join(sorted(missing, key=_order)) or "none"), "", "## Open points", "",
        *([f"- `{p}`" for p in c.open] or ["none"]), "", "## Contexts", "", "| group | shown | of |", "|---|---|---|"
    ]
    for group, names in points.contexts().items():
        lines.append(f"| {group.split(':', 1)[1]} | {sum(f'{group}:{n}' in c.shown for n in names)} | {len(names)} |")
    lines += ["", "## Waived points", "", "| reason | points |", "|---|---|"]
    for why, ids in by_reason.items():
        first = ", ".join(f"`{p}`" for p in ids[:6]).replace("|", "&#124;")
        lines.append(f"| {why} | {len(ids)}: {first}{' ...' if len(ids) > 6 else ''} |")
    return "\n".join(lines) + "\n"
