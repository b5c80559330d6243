"""One self-contained HTML page of the results of one or more decoders (page/ holds its template, style and script)."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bitstream.visitor import TraceElement
from ..errors import ConfigError
from .badge import badge
from .excerpts import excerpt
from .manifest import Decoded, Manifest
from .suspects import CHOICES, Suspect, suspects
from .verdicts import Verdict

try:
    import jinja2
    from markupsafe import Markup

    from .spec_page import REQUIREMENT, Clause, clauses, read_spec
except ImportError as error:
    raise ConfigError("BAD_CONFIG", f"the HTML report needs {error.name}: pip install 'refcodec[report]'") from None

PAGE = Path(__file__).parent / "page"
EXCERPTS_MAX = 100                # failures of a run that get a trace excerpt
VALUE_CHARACTERS = 60
Row = tuple[str, str, list[str]]  # of the matrix: label, what finds it in the table of streams, ids of its streams
SHOWN_AT_ONCE = 3                 # streams beside a requirement; more of them are folded


@dataclass
class Run:
    """One report of `refcodec check --json`, as the page shows it. short: its letter in the tables."""

    data: dict[str, Any]
    short: str
    same_suite: bool

    def __post_init__(self) -> None:
        hello = self.data.get("decoder_hello") or {}
        self.name = " ".join(str(hello[k]) for k in ("name", "version") if hello.get(k)) or str(self.data["decoder"])
        self.results = {r["id"]: r for r in self.data["results"]}
        self.counts = Counter(r["verdict"] for r in self.data["results"])
        self.badge = Markup(badge(self.data))

    def state(self, name: str) -> str:
        """pass, known, fail or none, of one stream."""
        result = self.results.get(name)
        if result is None or result["verdict"] == Verdict.NOT_RUN.value:
            return "none"
        if result["verdict"] == Verdict.PASS.value:
            return "fail" if result.get("known") else "pass"
        return "known" if result.get("known") else "fail"

    def suspects(self, manifest: Manifest) -> list[Suspect]:
        """What failures have in common, as far as both know the streams."""
        verdicts = {name: result["verdict"] for name, result in self.results.items()}
        return suspects(manifest, {name: verdict != Verdict.PASS.value for name, verdict in verdicts.items()
                                   if verdict != Verdict.NOT_RUN.value})

    def failures(self) -> list[dict[str, Any]]:
        return [r for r in self.data["results"] if self.state(r["id"]) in ("known", "fail")]


def page(reports: list[dict[str, Any]], manifest: Manifest) -> str:
    """The page of one or more reports, as `Report.data()` gives them or `--json` wrote them, of the same suite."""
    runs = [Run(data, chr(ord("A") + i), data.get("manifest_sha256") == manifest.sha256)
            for i, data in enumerate(reports)]
    spec, coverage = read_spec(manifest)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.tests["decoded"] = lambda expected: isinstance(expected, Decoded)
    environment.globals.update(score=_score, shown=_shown, finding=_finding, worst=lambda names: _worst(runs, names))
    found = clauses(spec, manifest, coverage)
    place = {stream.id: i for i, stream in enumerate(manifest.streams)}
    by_clause = {c.number: [place[name] for name in c.streams] for c in found if c.streams}
    return environment.get_template("page.html").render(
        style=Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        script=Markup((PAGE / "page.js").read_text(encoding="utf-8")),
        runs=runs, manifest=manifest, streams=manifest.streams, verdicts=[v.value for v in Verdict],
        suspects=[(run, suspect) for run in runs for suspect in run.suspects(manifest)],
        groups=_matrix(manifest), heat=_heat(manifest), used=_features(manifest),
        clauses=[(c, _clause_state(c, runs), _with_links(c, manifest, runs)) for c in found],
        clause_numbers={c.number for c in found}, by_clause=Markup(json.dumps(by_clause, separators=(",", ":"))),
        has_coverage=coverage is not None,
        failures=[_Failure(run, r, manifest, i) for run in runs for i, r in enumerate(run.failures())])


def _finding(features: Sequence[str]) -> str:
    """What finds the streams of features in the table of streams."""
    words = []
    for feature in features:
        name, _, value = feature.partition("=")
        words.append(value if name == "code" else f"[{value if name in ('kind', 'requirement') else feature}]")
    return " ".join(words)


# ---- The matrix ------------------------------------------------------------------------------------------------------

def _features(manifest: Manifest) -> dict[str, list[str]]:
    """Features by group, for the matrix and the filter."""
    groups: dict[str, set[str]] = defaultdict(set)
    for stream in manifest.streams:
        for feature in stream.features:
            groups[_group(feature)].add(feature)
    return {name: sorted(groups[name], key=_natural) for name in sorted(groups)}


def _natural(text: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def _group(feature: str) -> str:
    if len(feature.split()) == len(CHOICES):
        return "choices together"
    if feature.startswith("unit "):
        return "units"
    name, _, value = feature.partition("=")
    return "flags" if name.endswith("_flag") else name if value else "others"


def _matrix(manifest: Manifest) -> list[tuple[str, list[Row]]]:
    """(group, rows)."""
    by_feature = defaultdict(list)
    for stream in manifest.streams:
        by_feature["kind", stream.kind].append(stream.id)
        by_feature["profile", stream.profile].append(stream.id)
        for feature in stream.features:
            group = _group(feature)
            if group not in ("choices together", "profile"):
                by_feature[group, feature].append(stream.id)
    groups = defaultdict(list)
    for group, feature in sorted(by_feature, key=lambda k: (k[0], _natural(k[1]))):
        groups[group].append((feature.removeprefix(f"{group}="), f"[{feature}]", by_feature[group, feature]))
    first = ("kind", "profile", "level", *CHOICES, "element_type")
    return [(g, groups[g]) for g in (*first, *(g for g in groups if g not in first)) if g in groups]


def _heat(manifest: Manifest) -> tuple[list[str], list[tuple[str, list[tuple[str, list[str]] | None]]]]:
    """(columns, rows): quantiser and entropy mode by prediction and representation; a cell is (what finds it, ids)."""
    cells = defaultdict(list)
    for stream in manifest.streams:
        for feature in stream.features:
            if len(feature.split()) == len(CHOICES):
                cells[feature].append(stream.id)
    pairs = {tuple(f.split()) for f in cells}
    columns, rows = sorted({p[2:] for p in pairs}), sorted({p[:2] for p in pairs})

    def cell(row: tuple[str, ...], column: tuple[str, ...]) -> tuple[str, list[str]] | None:
        name = " ".join(row + column)
        return (f"[{name}]", cells[name]) if name in cells else None

    return [" ".join(c) for c in columns], [(" ".join(r), [cell(r, c) for c in columns]) for r in rows]


def _score(run: Run, names: list[str]) -> Markup:
    """A cell of the matrix: how many pass, of those that were run."""
    states = [state for state in map(run.state, names) if state != "none"]
    passed = states.count("pass")
    if not states:
        return Markup('<td class="none">–</td>')
    colour = "pass" if passed == len(states) else "fail" if "fail" in states else "known"
    return Markup(f'<td class="{colour}">{passed}<small>/{len(states)}</small></td>')


def _worst(runs: list[Run], names: list[str]) -> str:
    """The state of several streams over all runs."""
    states = {run.state(name) for run in runs for name in names}
    return next((s for s in ("fail", "known", "pass") if s in states), "none")


# ---- SPEC.md ---------------------------------------------------------------------------------------------------------

def _clause_state(clause: Clause, runs: list[Run]) -> str:
    """fail, known, or else what its coverage is."""
    worst = _worst(runs, clause.streams)
    return worst if worst in ("fail", "known") else clause.coverage


def _with_links(clause: Clause, manifest: Manifest, runs: list[Run]) -> Markup:
    """The clause's HTML, each requirement with an anchor, a colour and the streams that break it."""
    breaking = defaultdict(list)
    for stream in manifest.streams:
        for requirement in stream.requirements:
            breaking[requirement].append(stream.id)

    def link(found: re.Match[str]) -> str:
        name = found[1]
        streams = breaking[name]
        shown = "".join(f' <a class="chip {_worst(runs, [s])}" href="#s-{s}">{s}</a>' for s in streams)
        if len(streams) > SHOWN_AT_ONCE:
            shown = f'<details class="broken"><summary>{len(streams)} streams</summary>{shown}</details>'
        return f'<a class="requirement {_worst(runs, streams)}" id="r-{name}" href="#r-{name}">{name}</a>{shown}'

    return Markup(REQUIREMENT.sub(link, clause.html))


def _shown(value: object) -> str:
    """A value of the trace, shortened."""
    text = bytes(value[:VALUE_CHARACTERS]).hex(" ") if isinstance(value, (bytes, memoryview)) else str(value)
    return text if len(text) <= VALUE_CHARACTERS else text[: VALUE_CHARACTERS - 1] + "…"


# ---- Failures --------------------------------------------------------------------------------------------------------

class _Failure:
    """A section of the page."""

    def __init__(self, run: Run, result: dict[str, Any], manifest: Manifest, number: int):
        self.run, self.result = run, result
        self.stream = next((s for s in manifest.streams if s.id == result["id"]), None)
        self.title = ""
        self.elements: list[TraceElement] = []
        if self.stream is not None and run.same_suite and number < EXCERPTS_MAX:
            self.title, self.elements = excerpt(self.stream, result["detail"])
