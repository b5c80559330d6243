"""The result of a check as a small picture: SVG that needs no font, script or server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

GREEN, AMBER, RED = "#1a7f37", "#9a6700", "#b42318"
CHARACTER, MARGIN = 6.6, 10       # pixels; textLength makes up for the differences of fonts


def badge(run: Mapping[str, Any]) -> str:
    """SVG of one run, as `Report.data()` gives it: version of OMC, streams that passed, of how many."""
    total, passed = len(run["results"]), sum(r["verdict"] == "PASS" for r in run["results"])
    colour = GREEN if run.get("passed") else AMBER if run.get("exit_code") == 0 else RED
    left, right = f"OMC {run['spec_version']} conformance", f"{passed} of {total} PASS"
    a, b = (CHARACTER * len(text) + 2 * MARGIN for text in (left, right))
    label = escape(f"{left}: {right}")

    def text(x: float, value: str) -> str:
        return f'<text x="{x:.1f}" y="14" textLength="{CHARACTER * len(value):.1f}">{escape(value)}</text>'

    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{a + b:.1f}" height="20" role="img" aria-label="{label}">'
            f'<title>{label}</title>'
            f'<rect width="{a + b:.1f}" height="20" rx="4" fill="#444c56"/>'
            f'<path d="M{a:.1f} 0h{b - 4:.1f}a4 4 0 0 1 4 4v12a4 4 0 0 1 -4 4h-{b - 4:.1f}z" fill="{colour}"/>'
            f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
            f'{text(a / 2, left)}{text(a + b / 2, right)}</g></svg>\n')
