"""What an experiment gets and what it gives: a Context, and a Section of tables, figures and remarks."""

from __future__ import annotations

import json
import math
import os
import pathlib
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
Cell = str | int | float | None


@dataclass(frozen=True)
class Context:
    """How an experiment is to be run.

    quick: no torch, no training: what is needed lies in `weights`, and one seed must do.
    seeds: of the trainings.  weights: folder of the committed small weights.  cache: folder where the full mode keeps
    what it trained, so that a run that was interrupted goes on (may be removed at any time).  models: folder of
    published models (tools/fetch_models.py), None where there are none.  progress: draw progress bars.
    """

    quick: bool
    seeds: tuple[int, ...]
    weights: pathlib.Path = HERE / "weights"
    cache: pathlib.Path = HERE.parent.parent / "build" / "experiments"
    models: pathlib.Path | None = None
    progress: bool = False


@dataclass
class Table:
    """rows: a cell per column each.  papers: the paper's own rows (same columns), or its table where columns differ."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    papers: list[list[Cell]] | Table | None = None

    def __post_init__(self):
        papers = self.papers if isinstance(self.papers, list) else []
        wrong = [row for row in [*self.rows, *papers] if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"table {self.title!r} has {len(self.columns)} columns, but a row is {wrong[0]}")


@dataclass
class Series:
    """A line of a figure. errors: a deviation per point, [] where there is one seed.  paper: the paper's own points."""

    label: str
    x: list[float]
    y: list[float]
    errors: list[float] = field(default_factory=list)
    paper: bool = False


@dataclass
class Figure:
    """title: what is seen.  log_x, log_y: logarithmic axes."""

    title: str
    x_label: str
    y_label: str
    series: list[Series]
    log_x: bool = False
    log_y: bool = False


@dataclass
class Section:
    """An experiment's result. paper: where the original is described.  question: what it asks, in a sentence.

    remarks: what came out, and plainly where it differs from the paper and why; '**' marks bold type.
    facts: the numbers that the tests and the closing figures need, by name; 'seeds' is their number.
    """

    title: str
    paper: str
    question: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    facts: dict[str, float | bool | str] = field(default_factory=dict)


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """'mean ± deviation' of a figure over the seeds; the figure alone where there is one."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:{form}}"
    return f"{mean:{form}} ± {statistics.stdev(values):{form.replace(',', '')}}"


def points(label: str, x: Sequence[float], samples: Sequence[Sequence[float]]) -> Series:
    """A line through the means. samples: at each x the values of all seeds."""
    several = len(samples) > 0 and len(samples[0]) > 1
    return Series(label, [float(v) for v in x], [statistics.fmean(s) for s in samples],
                  [statistics.stdev(s) for s in samples] if several else [])


def write(section: Section, path: pathlib.Path) -> None:
    """The section as JSON, whole or not at all."""
    text = json.dumps(_rounded(asdict(section)), indent=1, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: pathlib.Path) -> Section:
    """The section of a JSON file. Raises ValueError, KeyError or TypeError where it is none."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data["tables"] = [_table(t) for t in data["tables"]]
    data["figures"] = [Figure(**{**f, "series": [Series(**s) for s in f["series"]]}) for f in data["figures"]]
    return Section(**data)


def _table(data: dict) -> Table:
    papers = data["papers"]
    return Table(**{**data, "papers": _table(papers) if isinstance(papers, dict) else papers})


def _rounded(value):
    """Floats of six digits, plain ones instead of numpy's: results stay small, and differences readable."""
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
