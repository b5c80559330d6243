"""Reports of a check: a table for the terminal, JSON, and JUnit XML for other tools (html_report.py makes a page)."""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from .. import __version__
from .manifest import Manifest
from .suspects import Suspect, suspects
from .verdicts import Result, Verdict

ALL_PASSED, NOT_ALL_PASSED, NO_SMOKE = 0, 20, 21
STDERR_CHARACTERS = 2000          # of the end of standard error that reports keep


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Report:
    """What a check found.

    strays: what changed outside the folders of single runs, by whichever run.  persistent: streams were served;
    not_served: why they were not, where that was tried.  hello: what the decoder says of itself; files: SHA-256 of the
    files that its command names.  started: UTC.
    """

    command: str
    manifest: Manifest
    results: list[Result] = field(default_factory=list)
    smoke: Result | None = None
    strays: list[str] = field(default_factory=list)
    seconds: float = 0.0
    persistent: bool = False
    not_served: str = ""
    jobs: int = 1
    hello: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    started: str = field(default_factory=_now)

    @property
    def exit_code(self) -> int:
        """0: every stream passed, but for known failures; 20: not so; 21: the smoke stream failed, nothing else ran."""
        if self.smoke is not None and not self.smoke.passed:
            return NO_SMOKE
        good = self.results and not self.strays and not any(r.unexpected for r in self.results)
        return ALL_PASSED if good else NOT_ALL_PASSED

    @property
    def conformant(self) -> bool:
        """Every stream passed; a known failure is none."""
        return self.exit_code == ALL_PASSED and all(r.passed for r in self.results)

    def counts(self) -> dict[str, int]:
        """Number of results by verdict, those that occur."""
        found = Counter(r.verdict for r in self.results)
        return {v.value: found[v] for v in Verdict if found[v]}

    def failures(self) -> list[Result]:
        return [r for r in self.results if not r.passed]

    def suspects(self) -> list[Suspect]:
        """What failures have in common, the closest first."""
        failed = {r.stream.id: not r.passed for r in self.results if r.verdict != Verdict.NOT_RUN}
        return suspects(self.manifest, failed)

    def check_command(self, result: Result) -> str:
        """The command that runs one stream again."""
        return shlex.join(["refcodec", "check", "--decoder", self.command, "--manifest", str(self.manifest.path),
                           "--only", result.stream.id])

    @property
    def decoder_name(self) -> str:
        """Name and version as the decoder gives them; its command where it gives none."""
        told = " ".join(str(self.hello[k]) for k in ("name", "version") if self.hello.get(k))
        return told or self.command

    @property
    def form(self) -> str:
        """How streams were given to the decoder, in words."""
        if self.persistent:
            return "each process serving many"
        tried = f" ('serve' does not answer hello: {self.not_served})" if self.not_served else ""
        return f"a process for each{tried}"

    def text(self) -> str:
        """The table for the terminal."""
        lines = self._smoke_lines() or [line for r in self.results for line in self._lines(r)]
        lines += [f"wrote elsewhere: {_line(name)}" for name in self.strays]
        for kind in sorted({r.stream.kind for r in self.results}):
            of_kind = [r for r in self.results if r.stream.kind == kind]
            lines.append(f"{kind:14}{sum(r.passed for r in of_kind):5} of {len(of_kind):4} PASS")
        if found := self.suspects():
            lines += ["what failures have in common, each line without the streams of those above it:",
                      *(f"    {suspect.text()}" for suspect in found)]
        summary = ", ".join(f"{n} {name}" for name, n in self.counts().items()) or "no stream was run"
        known, resumed = sum(not r.passed and bool(r.known) for r in self.results), sum(r.resumed for r in self.results)
        summary += f"; {known} known failures" if known else ""
        summary += f"; {resumed} passed in an earlier run" if resumed else ""
        lines.append(f"{self.decoder_name}: {summary}")
        if self.not_served:
            lines.append(f"{self.form}: with 'serve' (conformance/CONTRACT.md) a check is many times faster")
        lines.append(f"suite {self.manifest.version} ({self.manifest.sha256[:12]}), OMC {self.manifest.spec_version}, "
                     f"refcodec {__version__}, Python {platform.python_version()}, "
                     f"{platform.system()} {platform.machine()}, {self.seconds:.1f} s")
        return _printable("\n".join(lines))

    def _smoke_lines(self) -> list[str]:
        if self.smoke is None or self.smoke.passed:
            return []
        return [f"smoke stream {self.smoke.stream.id}: {self.smoke.verdict.value}: {_line(self.smoke.detail)}",
                f"    {self.smoke.command}", *_indented(self.smoke.stderr)]

    def _lines(self, r: Result) -> list[str]:
        if r.passed and r.known:
            return [f"PASS, known to fail: {r.stream.id}", f"    take it from the list of known failures ({r.known})"]
        if r.passed:
            return []
        if r.known:
            return [f"known {r.verdict.value:13}{r.stream.id}: {r.known}"]
        return [f"{r.verdict.value:13}{r.stream.id}", f"    {_line(r.stream.purpose)}", f"    {_line(r.detail)}",
                *([f"    {r.note}"] if r.note else []), *_indented(r.stderr), f"    {self.check_command(r)}",
                f"    {r.command}"]

    def data(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "decoder": self.command, "decoder_hello": self.hello, "decoder_files": self.files,
            "manifest": str(self.manifest.path), "manifest_sha256": self.manifest.sha256,
            "suite_version": self.manifest.version, "spec_version": self.manifest.spec_version,
            "checker_version": __version__, "python": platform.python_version(), "platform": platform.platform(),
            "processors": os.cpu_count(), "started": self.started, "persistent": self.persistent,
            "not_served": self.not_served, "jobs": self.jobs, "seconds": round(self.seconds, 3),
            "passed": self.conformant, "exit_code": self.exit_code,
            "verdicts": self.counts(), "smoke": self.smoke.verdict.value if self.smoke else None, "strays": self.strays,
            "suspects": [suspect.data() for suspect in self.suspects()],
            "results": [self._result(r) for r in self.results]}

    def _result(self, r: Result) -> dict[str, Any]:
        return {"id": r.stream.id, "verdict": r.verdict.value, "kind": r.stream.kind, "profile": r.stream.profile,
                "required": r.stream.required, "seconds": round(r.seconds, 4), "detail": r.detail, "note": r.note,
                "known": r.known, "resumed": r.resumed, "command": r.command,
                "check_command": "" if r.passed else self.check_command(r), "stderr": r.stderr[-STDERR_CHARACTERS:]}

    def json(self) -> str:
        """All of it, machine-readable."""
        return json.dumps(self.data(), indent=1) + "\n"

    def junit(self) -> str:
        """JUnit XML: each stream is a test case, in a class by its kind."""
        failed = [r for r in self.results if r.unexpected and r.verdict != Verdict.NOT_RUN]
        skipped = [r for r in self.failures() if r not in failed]
        suite = ElementTree.Element("testsuite", name=f"OMC conformance {self.manifest.version}",
                                    tests=str(len(self.results)), failures=str(len(failed)), skipped=str(len(skipped)),
                                    errors="0", time=f"{self.seconds:.3f}", timestamp=self.started)
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in self.data().items():
            if isinstance(value, (str, int, float)):
                ElementTree.SubElement(properties, "property", name=name, value=_printable(str(value)))
        for r in self.results:
            case = ElementTree.SubElement(suite, "testcase", name=r.stream.id, classname=f"conformance.{r.stream.kind}",
                                          time=f"{r.seconds:.3f}")
            if not r.passed or r.known:
                message = f"{r.verdict.value}: {r.detail or r.known}" + (f" (known: {r.known})" if r.known else "")
                tag = "failure" if r in failed else "skipped"
                body = ElementTree.SubElement(case, tag, message=_printable(message))
                body.text = _printable(f"{r.stream.purpose}\n{r.command}\n{r.stderr}")
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _indented(stderr: str) -> list[str]:
    return [f"    | {line}" for line in stderr.splitlines()[-3:]]


def _line(text: str) -> str:
    # What comes from a decoder or a manifest makes no lines of its own in the table
    return " ".join(text[:2000].split())


def _printable(text: str) -> str:
    # XML cannot hold control characters, terminals should not get them
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
