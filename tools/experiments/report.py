"""The report of the experiments, Markdown and one self-contained HTML page, from the results that are there.

    python tools/experiments/report.py [--results FOLDER]      writes report.md, report.html and figures/ beside it
"""

from __future__ import annotations

import argparse
import html
import os
import pathlib
import re

import plots
from section import HERE, Cell, Section, Table, read

TITLE = "OMC: the papers' experiments, run again"
INTRODUCTION = (
    "Five published systems are the source of OMC. Each experiment below is run again with the reference codec on "
    "networks that are really trained, and stands beside the paper's figures. Figures over several seeds are mean ± "
    "standard deviation. The papers' networks and data are larger than what these trainings use, so that the "
    "comparison is one of kind: which way is better, and by about how much. Every stream was decoded, and its digests "
    "verified, before it was counted.")
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2226; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 3rem; border-top: 2px solid #0b6e99; padding-top: 1rem }
table { border-collapse: collapse; font-size: .86rem; margin: .4rem 0 } .wide { overflow-x: auto }
th, td { padding: .22rem .7rem .22rem 0; text-align: right; border-bottom: 1px solid #e3e6e8; white-space: nowrap }
th:first-child, td:first-child, td.text, th.text { text-align: left } th { border-bottom: 2px solid #9aa4ab }
tr.paper td { color: #7a5b00; background: #fdf8e8 } figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
.source { color: #5b666e } .note { color: #5b666e; font-size: .86rem; margin-top: 0 } nav li { margin: .1rem 0 }
"""


def load(folder: pathlib.Path) -> dict[str, Section]:
    """Name to section, of every .json in the folder."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.json"))}


def text_of(cell: Cell) -> str:
    """A cell as it is printed."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    return cell


def seeds_of(section: Section) -> str:
    """A sentence, '' where the number is not known."""
    count = section.facts.get("seeds")
    return "" if count is None else "One seed." if count == 1 else f"{count} seeds."


def rows_of(table: Table) -> list[tuple[list[str], bool]]:
    """(cells, whether they are the paper's) of each row; a paper's row stands below ours of the same first cell."""
    papers = list(table.papers) if isinstance(table.papers, list) else []
    mixed = []
    for n, row in enumerate(table.rows):
        mixed.append((row, False))
        if all(later[0] != row[0] for later in table.rows[n + 1:]):
            mixed += [(paper, True) for paper in papers if paper[0] == row[0]]
            papers = [paper for paper in papers if paper[0] != row[0]]
    return [([text_of(c) for c in row], paper) for row, paper in mixed + [(paper, True) for paper in papers]]


def markdown(sections: dict[str, Section], figures: str) -> str:
    """The report. figures: folder of the pictures, as it is linked to; '' where there are none."""
    lines = [f"# {TITLE}", "", INTRODUCTION, ""]
    for name, section in sections.items():
        question = f"{section.question} {seeds_of(section)}".strip()
        lines += [f"## {section.title}", "", f"*{section.paper}*", "", question, ""]
        lines += [f"- {remark}" for remark in section.remarks] + [""]
        for table in section.tables:
            lines += _markdown_table(table)
        if figures:
            for n, figure in enumerate(section.figures, 1):
                lines += [f"![{figure.title}]({figures}/{name}-{n}.svg)", ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(table: Table) -> list[str]:
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for cells, paper in rows_of(table):
        marked = [f"*{c}*" if paper and c else c for c in cells]
        lines.append("| " + " | ".join(marked) + " |")
    note = table.note + (" *Slanted: the paper's own.*" if isinstance(table.papers, list) and table.papers else "")
    lines += ["", *([note.strip(), ""] if note else [])]
    return lines + (_markdown_table(table.papers) if isinstance(table.papers, Table) else [])


def page(sections: dict[str, Section], pictures: dict[str, list[str]]) -> str:
    """The report as one HTML page. pictures: SVG elements of each section."""
    links = "".join(f'<li><a href="#{name}">{html.escape(s.title)}</a></li>' for name, s in sections.items())
    parts = [f"<h1>{TITLE}</h1><p>{INTRODUCTION}</p><nav><ul>{links}</ul></nav>"]
    for name, section in sections.items():
        parts.append(f'<h2 id="{name}">{html.escape(section.title)}</h2>'
                     f'<p class="source">{html.escape(section.paper)}</p>'
                     f"<p><em>{html.escape(section.question)}</em> {seeds_of(section)}</p>")
        parts.append("<ul>" + "".join(f"<li>{_inline(r)}</li>" for r in section.remarks) + "</ul>")
        parts += [_html_table(t) for t in section.tables]
        parts += [f"<figure>{picture}</figure>" for picture in pictures.get(name, [])]
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>'
            + "\n".join(parts) + "</body></html>\n")


def _inline(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _html_table(table: Table) -> str:
    rows = rows_of(table)
    words = [all(not re.match(r"[-+\d.]", r[i]) for r, _ in rows if r[i]) for i in range(len(table.columns))]

    def line(cells: list[str], tag: str) -> str:
        return "".join(f'<{tag}{" class=text" if text else ""}>{html.escape(c)}</{tag}>'
                       for c, text in zip(cells, words))

    body = "".join(f'<tr{" class=paper" if paper else ""}>{line(cells, "td")}</tr>\n' for cells, paper in rows)
    note = table.note + (" Yellow: the paper's own." if isinstance(table.papers, list) and table.papers else "")
    other = _html_table(table.papers) if isinstance(table.papers, Table) else ""
    return (f'<h3>{html.escape(table.title)}</h3><div class="wide"><table>'
            f'<tr>{line(table.columns, "th")}</tr>\n{body}</table></div>'
            f'<p class="note">{_inline(note.strip())}</p>{other}')


def write_text(path: pathlib.Path, text: str) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_report(results: pathlib.Path, out: pathlib.Path) -> dict[str, Section]:
    """report.md and report.html in `out`, pictures in results/figures (none without matplotlib)."""
    sections, drawn = load(results), plots.available()
    pictures = {name: [plots.svg(f) for f in s.figures] if drawn else [] for name, s in sections.items()}
    for name, found in pictures.items():
        for n, picture in enumerate(found, 1):
            write_text(results / "figures" / f"{name}-{n}.svg", picture)
    figures = os.path.relpath(results / "figures", out) if drawn else ""
    write_text(out / "report.md", markdown(sections, figures))
    write_text(out / "report.html", page(sections, pictures))
    return sections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    sections = write_report(args.results, args.out)
    print(f"{args.out / 'report.md'}, {args.out / 'report.html'}: {len(sections)} sections"
          + ("" if plots.available() else "; no pictures, for matplotlib is not installed"))


if __name__ == "__main__":
    main()
