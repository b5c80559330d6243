"""A check of encoders: their streams are validated, decoded, and compared with what they declare
(conformance/CONTRACT.md)."""

from __future__ import annotations

import functools
import json
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..api import decode
from ..errors import FormatError, OmcError
from ..formats import load
from ..model import Model
from ..validator import validate
from .adapter import DECODED, UNSUPPORTED
from .dump import read_dump
from .processes import Supervisor
from .report import ALL_PASSED, NOT_ALL_PASSED
from .runner import Run, run_once
from .verdicts import Verdict
from .workspace import Workspace, remove

STREAM = "stream.omc"
SECONDS, MEMORY = 600.0, 8 << 30          # of one run, if nothing else is asked for


@dataclass
class EncoderResult:
    """The verdict on one run. size: bytes of the stream; detail: one line; command: what shows it again."""

    model: Path
    lossless: bool
    verdict: Verdict
    detail: str = ""
    size: int = 0
    seconds: float = 0.0
    command: str = ""
    stderr: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == Verdict.PASS


@dataclass
class EncoderReport:
    """What a check found."""

    command: str
    results: list[EncoderResult] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: every run passed; 20: not."""
        return ALL_PASSED if self.results and all(r.passed for r in self.results) else NOT_ALL_PASSED

    def text(self) -> str:
        """The table for the terminal."""
        lines = []
        for r in self.results:
            what = f"{r.model.name}{' lossless' if r.lossless else ''}"
            lines.append(f"{r.verdict.value:13}{what}: {r.size} bytes, {r.seconds:.1f} s")
            lines += [f"    {r.detail}", f"    {r.command}"] if not r.passed else []
        lines.append(f"{self.command}: {sum(r.passed for r in self.results)} of {len(self.results)} PASS")
        return "\n".join(lines)

    def json(self) -> str:
        """All of it, machine-readable."""
        runs = [{"model": str(r.model), "lossless": r.lossless, "verdict": r.verdict.value, "detail": r.detail,
                 "size": r.size, "seconds": round(r.seconds, 4), "command": r.command, "stderr": r.stderr[-2000:]}
                for r in self.results]
        report = {"encoder": self.command, "passed": self.exit_code == ALL_PASSED, "results": runs}
        return json.dumps(report, indent=1) + "\n"


def encode_command(command: str, model: Path | str, folder: Path | str, lossless: bool) -> list[str]:
    """The command line of the contract."""
    return [*shlex.split(command), "encode", str(model), str(folder), *(["--lossless"] if lossless else [])]


def check_encoder(command: str, models: Sequence[str | Path], *, timeout: float | None = None,
                  memory: int | None = None, progress: Callable[[EncoderResult],
                                                                None] = lambda result: None) -> EncoderReport:
    """Run an encoder (a shell-like command) on model files, each as the encoder likes and without loss.

    timeout: seconds and memory: bytes of address space (0: no limit) per run.  progress: called with each result.
    Raises FormatError for a model that cannot be read.
    """
    loaded = {Path(path): load(str(path)) for path in models}
    report, root = EncoderReport(command), Path(tempfile.mkdtemp(prefix="omc-check-"))
    place = _Place(root / "worker", root)
    supervisor = Supervisor(place.mark)
    try:
        for path, model in loaded.items():
            for lossless in (False, True):
                copy = place.begin_model(path)
                run = run_once(functools.partial(encode_command, command, copy, place.out, lossless), place, supervisor,
                               MEMORY if memory is None else memory, timeout or SECONDS)
                verdict, detail = judge(run, place.out, model, lossless)
                stream = place.out / STREAM
                size = stream.stat().st_size if stream.is_file() else 0
                shown = shlex.join(encode_command(command, path, "OUTDIR", lossless))
                result = EncoderResult(path, lossless, verdict, detail, size, run.seconds, shown, run.stderr)
                report.results.append(result)
                progress(result)
    finally:
        supervisor.close()
        with suppress(OSError):
            remove(root)
    return report


class _Place(Workspace):
    """A Workspace whose input is a model file."""

    def begin_model(self, path: Path) -> Path:
        """A fresh copy of the model, under its name, and an empty out/."""
        self.clear_run()
        self.clear_tmp()
        copy = Path(shutil.copyfile(path, self.run / path.name))
        self.before = self._snapshot()
        return copy


def judge(run: Run, folder: Path, model: Model, lossless: bool) -> tuple[Verdict, str]:
    """Verdict and detail of one run, whose stream and dump are in `folder`. model: what was to be encoded."""
    if run.timed_out:
        return Verdict.TIMEOUT, f"no answer within {run.seconds:.1f} s"
    if run.strays:
        return Verdict.FAIL, "wrote outside its output folder, or links into it: " + ", ".join(run.strays[:5])
    if run.fault:
        return Verdict.CRASH, run.fault
    if run.exit == UNSUPPORTED and isinstance(run.record, dict) and isinstance(run.record.get("feature"), str):
        return Verdict.UNSUPPORTED, run.record["feature"]
    if run.exit != DECODED:
        return Verdict.CRASH, f"exit code {run.exit}" if run.exit >= 0 else f"ended by signal {-run.exit}"
    try:
        declared = read_dump(folder)
    except FormatError as error:
        return Verdict.CRASH, f"exit code 0, but {error.message}"
    if not (folder / STREAM).is_file():
        return Verdict.CRASH, f"exit code 0, but there is no {STREAM}"
    difference = _invalid(folder / STREAM) or _difference(decode(folder / STREAM), declared, model, lossless)
    return (Verdict.FAIL, difference) if difference else (Verdict.PASS, "")


def _invalid(stream: Path) -> str:
    """What is wrong with a stream; '' if it is valid."""
    try:
        validation = validate(stream)
    except OmcError as error:
        return str(error)
    return "" if validation.exit_code == 0 else "the stream is not valid: " + " ".join(
        next(f for f in validation.findings if f.code).text().split())


def _difference(decoded: Model, declared: Model, model: Model, lossless: bool) -> str:
    """Where the decoded model is not the declared one, or not one of the tensors that were given; '' if all is
    right."""
    for name, other in (("declared", declared), ("given", model)):
        if [t.name for t in decoded.tensors] != [t.name for t in other.tensors]:
            return f"the {len(decoded.tensors)} decoded tensors are not the {len(other.tensors)} that were {name}"
        for found, right in zip(decoded.tensors, other.tensors):
            if (found.dtype, found.shape) != (right.dtype, right.shape):
                return (f"tensor {found.name!r} is {found.dtype.name} {list(found.shape)}, {name} was "
                        f"{right.dtype.name} {list(right.shape)}")
            if name == "declared" or lossless:
                wrong = np.flatnonzero(found.words != right.words)
                if wrong.size:
                    return (f"tensor {found.name!r}: word {wrong[0]} is 0x{int(found.words[wrong[0]]):x}, {name} was "
                            f"0x{int(right.words[wrong[0]]):x} ({wrong.size} of {found.words.size} words differ)")
    return ""
