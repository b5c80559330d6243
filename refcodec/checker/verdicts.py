"""Verdicts: what a run of a decoder is worth (conformance/CONTRACT.md). Only PASS counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from ..decoder import decode
from ..errors import FormatError, OmcError
from .adapter import DECODED, REJECTED, UNSUPPORTED
from .dump import DumpTensor, read_dump, read_index
from .manifest import Decoded, Stream
from .runner import Run


class Verdict(Enum):
    """What came of one stream."""

    PASS = "PASS"
    FAIL = "FAIL"                        # another output than the expected
    WRONG_ACCEPT = "WRONG-ACCEPT"        # an invalid stream was decoded
    WRONG_REJECT = "WRONG-REJECT"        # a valid stream was rejected, or an invalid one for another reason
    CRASH = "CRASH"                      # neither decoded nor rejected in the contract's form
    TIMEOUT = "TIMEOUT"
    UNSUPPORTED = "UNSUPPORTED"
    NOT_RUN = "NOT-RUN"


@dataclass
class Result:
    """The verdict on one stream. detail: one line; command: what shows it again; note: what else was seen."""

    stream: Stream
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0
    command: str = ""
    note: str = ""
    stderr: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == Verdict.PASS


def judge(stream: Stream, run: Run, folder: Path) -> tuple[Verdict, str]:
    """Verdict and detail of one run, whose output is in `folder`."""
    if run.timed_out:
        return Verdict.TIMEOUT, f"no answer within {run.seconds:.1f} s"
    if run.strays:
        return Verdict.FAIL, "wrote outside its output folder: " + ", ".join(run.strays[:5])
    if run.fault:
        return Verdict.CRASH, run.fault
    if run.exit == DECODED:
        return _decoded(stream, folder)
    if run.exit not in (REJECTED, UNSUPPORTED):
        return Verdict.CRASH, f"exit code {run.exit}" if run.exit >= 0 else f"ended by signal {-run.exit}"
    record = run.record
    wanted = "code" if run.exit == REJECTED else "feature"
    if not isinstance(record, dict) or not isinstance(record.get(wanted), str):
        return Verdict.CRASH, f"exit code {run.exit} without a record that has a {wanted!r}"
    if (folder / "index.json").exists():
        return Verdict.FAIL, f"exit code {run.exit}, but an index.json was left behind"
    if run.exit == UNSUPPORTED:
        return Verdict.UNSUPPORTED, record["feature"]
    return _rejected(stream, record)


def _rejected(stream: Stream, record: dict) -> tuple[Verdict, str]:
    where = "".join(f", {k} {record[k]}" for k in ("unit", "bit") if record.get(k) is not None)
    if isinstance(stream.expected, Decoded):
        return Verdict.WRONG_REJECT, f"{record['code']}{where}: {record.get('message', 'a valid stream')}"
    if record["code"] not in stream.expected.codes:
        return Verdict.WRONG_REJECT, f"{record['code']}{where}, expected {' or '.join(stream.expected.codes)}"
    return Verdict.PASS, ""


def _decoded(stream: Stream, folder: Path) -> tuple[Verdict, str]:
    if not isinstance(stream.expected, Decoded):
        return Verdict.WRONG_ACCEPT, f"expected {' or '.join(stream.expected.codes)} ({stream.purpose})"
    try:
        digest, tensors = read_index(folder)
        difference = first_difference(stream, tensors)
    except FormatError as error:
        return Verdict.CRASH, f"exit code 0, but {error.message}"
    if difference is None and digest.lower() != stream.expected.model_digest:
        difference = f"model_digest {digest[:16]}..., expected {stream.expected.model_digest[:16]}..."
    return (Verdict.PASS, "") if difference is None else (Verdict.FAIL, difference)


def first_difference(stream: Stream, tensors: list[DumpTensor]) -> str | None:
    """The first tensor that is not as expected, with its first wrong element and that element's bits; None: all are right."""
    expected = stream.expected.tensors
    if len(tensors) != len(expected):
        return f"{len(tensors)} tensors, expected {len(expected)}"
    for i, (found, right) in enumerate(zip(tensors, expected)):
        if (found.name, found.dtype.name, found.shape) != (right.name, right.dtype, right.shape):
            return (f"tensor {i} is {found.name!r} {found.dtype.name} {list(found.shape)}, "
                    f"expected {right.name!r} {right.dtype} {list(right.shape)}")
        words = found.words()
        digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
        if digest != right.sha256:
            return f"tensor {i} {found.name!r}: " + _first_element(stream, i, words, found)
        if found.sha256.lower() != digest:
            return f"tensor {i} {found.name!r}: the sha256 in its index entry is not that of its file"
    return None


def _first_element(stream: Stream, i: int, words: np.ndarray, found: DumpTensor) -> str:
    # The right words are not in the manifest: the reference decoder makes them again
    try:
        right = decode(stream.file, [read_dump(r) for r in stream.references]).tensors[i].words
    except OmcError as error:
        return f"its words have another SHA-256 (the reference decoder: {error})"
    at = int(np.flatnonzero(words != right)[0])
    width = found.dtype.bits
    return (f"element {at // found.dtype.parts} is 0x{int(words[at]):0{-(-width // 4)}x}, expected 0x{int(right[at]):0{-(-width // 4)}x} "
            f"({int((words != right).sum())} of {words.size} words differ)")
