"""Reports of a check: a table for the terminal, JSON, and JUnit XML for other tools."""

from __future__ import annotations

import json
import platform
import shlex
from collections import Counter
from dataclasses import dataclass, field
from xml.etree import ElementTree

from .manifest import Manifest
from .verdicts import Result, Verdict

ALL_PASSED, NOT_ALL_PASSED, NO_SMOKE = 0, 20, 21


@dataclass
class Report:
    """What a check found. strays: what changed outside the folders of single runs, by whichever run."""

    command: str
    manifest: Manifest
    results: list[Result] = field(default_factory=list)
    smoke: Result | None = None
    strays: list[str] = field(default_factory=list)
    seconds: float = 0.0
    persistent: bool = False

    @property
    def exit_code(self) -> int:
        """0: every stream passed; 20: not all; 21: the smoke stream did not, nothing else was run."""
        if self.smoke is not None and not self.smoke.passed:
            return NO_SMOKE
        return ALL_PASSED if self.results and all(r.passed for r in self.results) and not self.strays else NOT_ALL_PASSED

    def counts(self) -> dict[str, int]:
        """Number of results by verdict, those that occur."""
        found = Counter(r.verdict for r in self.results)
        return {v.value: found[v] for v in Verdict if found[v]}

    def failures(self) -> list[Result]:
        return [r for r in self.results if not r.passed]

    def check_command(self, result: Result) -> str:
        """The command that runs one stream again."""
        return shlex.join(["refcodec", "check", "--decoder", self.command, "--manifest", str(self.manifest.path),
                           "--only", result.stream.id])

    def text(self) -> str:
        """The table for the terminal."""
        lines = []
        if self.smoke is not None and not self.smoke.passed:
            lines += [f"smoke stream {self.smoke.stream.id}: {self.smoke.verdict.value}: {self.smoke.detail}",
                      f"    {self.smoke.command}", *_indented(self.smoke.stderr)]
        else:
            for r in self.failures():
                lines += [f"{r.verdict.value:13}{r.stream.id}", f"    {r.stream.purpose}", f"    {r.detail}",
                          *([f"    {r.note}"] if r.note else []), *_indented(r.stderr), f"    {self.check_command(r)}",
                          f"    {r.command}"]
        lines += [f"wrote elsewhere: {name}" for name in self.strays]
        kinds = sorted({r.stream.kind for r in self.results})
        for kind in kinds:
            of_kind = [r for r in self.results if r.stream.kind == kind]
            lines.append(f"{kind:14}{sum(r.passed for r in of_kind):5} of {len(of_kind):4} PASS")
        summary = ", ".join(f"{n} {name}" for name, n in self.counts().items()) or "no stream was run"
        lines.append(f"{summary}; suite {self.manifest.version}, OMC {self.manifest.spec_version}, {self.seconds:.1f} s")
        return "\n".join(lines)

    def json(self) -> str:
        """All results, machine-readable."""
        return json.dumps({
            "decoder": self.command, "manifest": str(self.manifest.path), "suite_version": self.manifest.version,
            "spec_version": self.manifest.spec_version, "platform": platform.platform(), "persistent": self.persistent,
            "seconds": round(self.seconds, 3), "passed": self.exit_code == ALL_PASSED, "verdicts": self.counts(),
            "smoke": self.smoke.verdict.value if self.smoke else None, "strays": self.strays,
            "results": [{"id": r.stream.id, "verdict": r.verdict.value, "kind": r.stream.kind, "profile": r.stream.profile,
                         "required": r.stream.required, "seconds": round(r.seconds, 4), "detail": r.detail, "note": r.note,
                         "command": r.command} for r in self.results]}, indent=1) + "\n"

    def junit(self) -> str:
        """JUnit XML: each stream is a test case, in a class by its kind."""
        failures = self.failures()
        skipped = [r for r in failures if r.verdict == Verdict.NOT_RUN]
        suite = ElementTree.Element("testsuite", name=f"OMC conformance {self.manifest.version}", tests=str(len(self.results)),
                                    failures=str(len(failures) - len(skipped)), skipped=str(len(skipped)), errors="0",
                                    time=f"{self.seconds:.3f}")
        for r in self.results:
            case = ElementTree.SubElement(suite, "testcase", name=r.stream.id, classname=f"conformance.{r.stream.kind}",
                                          time=f"{r.seconds:.3f}")
            if not r.passed:
                tag = "skipped" if r.verdict == Verdict.NOT_RUN else "failure"
                body = ElementTree.SubElement(case, tag, message=_printable(f"{r.verdict.value}: {r.detail}"))
                body.text = _printable(f"{r.stream.purpose}\n{r.command}\n{r.stderr}")
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _indented(stderr: str) -> list[str]:
    return [f"    | {_printable(line)}" for line in stderr.splitlines()[-3:]]


def _printable(text: str) -> str:
    # XML cannot hold control characters, terminals should not get them
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
