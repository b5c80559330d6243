"""Coverage of SPEC's requirements with error codes, and of its choices, by the streams of the suite."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

from refcodec.bitstream.structures import EntropyMode, PredictionMode, Quantiser, Representation

SPEC = Path(__file__).parents[2] / "SPEC.md"

# Requirements that no stream shows in the contract's form, with the reason.
WAIVERS = {
    "R7.6.4-1": "binds who evaluates layers in integers; a decoder does not test it",
    "R8.9-1": "concerns the writing of source files, the contract asks for tensors",
    "R8.9.1-1": "concerns the writing of source files, the contract asks for tensors",
    "R8.9.1-2": "concerns the writing of source files, the contract asks for tensors",
    "R8.9.2-1": "concerns the writing of source files, the contract asks for tensors",
}


def requirements() -> dict[str, list[str]]:
    """Error codes of Annex B.1 to the requirements that name them."""
    table = SPEC.read_text(encoding="utf-8").split("### B.1")[1].split("### B.2")[0]
    rows = re.findall(r"^\| ([A-Z_]+) \|.*\| ([^|]+) \|$", table, re.MULTILINE)
    return {code: re.findall(r"R[0-9.]+-\d+", ids) for code, ids in rows}


def uncovered(entries: list[dict]) -> tuple[set[str], set[str]]:
    """(requirements, codes) that have no invalid stream and no waiver."""
    shown = {r for e in entries for r in e["requirements"]}
    codes = {c for e in entries if e["kind"] == "invalid" for c in e["expected"]["codes"]}
    wanted = requirements()
    return {r for ids in wanted.values() for r in ids} - shown - set(WAIVERS), set(wanted) - codes


def _order(requirement: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", requirement)]


def report(entries: list[dict]) -> str:
    """coverage.md: counts, what is not covered, waivers, combinations of choices."""
    wanted = sorted({r for ids in requirements().values() for r in ids}, key=_order)
    missing, codes = uncovered(entries)
    waived = [r for r in wanted if r in WAIVERS]
    shown = [r for r in wanted if r not in missing and r not in WAIVERS]
    kinds, features = Counter(e["kind"] for e in entries), {f for e in entries for f in e["features"]}
    choices = [" ".join(m.name for m in c) for c in itertools.product(PredictionMode, Representation, Quantiser, EntropyMode)]
    lines = ["# Coverage", "", "Made by `python -m conformance.recipes`.", "",
             f"- {len(entries)} streams, {sum(e['size'] for e in entries)} bytes: " + ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())),
             f"- requirements with an error code: {len(shown)} of {len(wanted)} shown by an invalid stream, {len(waived)} waived, "
             f"{len(missing)} open", f"- error codes: {len(requirements()) - len(codes)} of {len(requirements())}",
             f"- (prediction, representation, quantiser, entropy mode): {sum(c in features for c in choices)} that occur", "",
             "Error codes without a stream: " + (", ".join(sorted(codes)) or "none"), "",
             "Open requirements: " + (", ".join(sorted(missing, key=_order)) or "none"), "", "| waived | reason |", "|---|---|",
             *(f"| {r} | {WAIVERS[r]} |" for r in waived)]
    return "\n".join(lines) + "\n"
