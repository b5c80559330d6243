"""Verdicts: what a run of a decoder is worth (conformance/CONTRACT.md). Only PASS counts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from ..decoder import StreamDecoder
from ..errors import FormatError, OmcError
from .adapter import DECODED, REJECTED, UNSUPPORTED
from .dump import DumpTensor, little_endian, read_dump, read_index
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
    """The verdict on one stream.

    detail: one line; command: what shows it again; note: what else was seen.  known: why this failure was expected.
    resumed: the stream passed in an earlier run that this one goes on with.
    """

    stream: Stream
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0
    command: str = ""
    note: str = ""
    stderr: str = ""
    known: str = ""
    resumed: bool = False

    @property
    def passed(self) -> bool:
        return self.verdict == Verdict.PASS

    @property
    def unexpected(self) -> bool:
        """A failure that is not known, or a known one that passes."""
        return self.passed == bool(self.known)


def judge(stream: Stream, run: Run, folder: Path, model: int | None = None) -> tuple[Verdict, str]:
    """Verdict and detail of one run, whose output is in `folder`. model: number of the one that was asked for."""
    if run.timed_out:
        return Verdict.TIMEOUT, f"no answer within {run.seconds:.1f} s"
    if run.strays:
        return Verdict.FAIL, "wrote outside its output folder, or links into it: " + ", ".join(run.strays[:5])
    if run.fault:
        return Verdict.CRASH, run.fault
    if run.exit == DECODED:
        return _decoded(stream, folder, model)
    if run.exit not in (REJECTED, UNSUPPORTED):
        return Verdict.CRASH, f"exit code {run.exit}" if run.exit >= 0 else f"ended by signal {-run.exit}"
    record = run.record
    wanted = "code" if run.exit == REJECTED else "feature"
    if not isinstance(record, dict) or not isinstance(record.get(wanted), str):
        return Verdict.CRASH, f"exit code {run.exit} without a record that has a {wanted!r}"
    if os.path.lexists(folder / "index.json"):
        return Verdict.FAIL, f"exit code {run.exit}, but an index.json was left behind"
    if run.exit == UNSUPPORTED:
        return Verdict.UNSUPPORTED, record["feature"]
    return _rejected(stream, record)


def _rejected(stream: Stream, record: Mapping[str, Any]) -> tuple[Verdict, str]:
    where = "".join(f", {k} {record[k]}" for k in ("unit", "bit") if record.get(k) is not None)
    if isinstance(stream.expected, Decoded):
        return Verdict.WRONG_REJECT, f"{record['code']}{where}: {record.get('message', 'a valid stream')}"
    if record["code"] not in stream.expected.codes:
        return Verdict.WRONG_REJECT, f"{record['code']}{where}, expected {' or '.join(stream.expected.codes)}"
    return Verdict.PASS, ""


def _decoded(stream: Stream, folder: Path, model: int | None) -> tuple[Verdict, str]:
    if not isinstance(stream.expected, Decoded):
        return Verdict.WRONG_ACCEPT, f"expected {' or '.join(stream.expected.codes)} ({stream.purpose})"
    expected = stream.expected if model is None else stream.expected.earlier[model]
    which = "" if model is None else f"model {model}: "
    try:
        digest, tensors, cost = read_index(folder)
        difference = first_difference(stream, tensors, expected, model)
    except FormatError as error:
        return Verdict.CRASH, f"{which}exit code 0, but {error.message}"
    if difference is None and digest.lower() != expected.model_digest:
        difference = f"model_digest {digest[:16]}..., expected {expected.model_digest[:16]}..."
    if difference is None and cost is not None and cost != (stream.expected.cost or cost):
        difference = "work {} and memory {} of the stream, expected {} and {}".format(*cost, *stream.expected.cost)
    return (Verdict.PASS, "") if difference is None else (Verdict.FAIL, which + difference)


def first_difference(stream: Stream, tensors: list[DumpTensor], expected: Decoded,
                     model: int | None = None) -> str | None:
    """The first tensor that is not as expected, and the bits of its first wrong element; None: all are right."""
    if len(tensors) != len(expected.tensors):
        return f"{len(tensors)} tensors, expected {len(expected.tensors)}"
    for i, (found, right) in enumerate(zip(tensors, expected.tensors)):
        if (found.name, found.dtype.name, found.shape) != (right.name, right.dtype, right.shape):
            return (f"tensor {i} is {found.name!r} {found.dtype.name} {list(found.shape)}, "
                    f"expected {right.name!r} {right.dtype} {list(right.shape)}")
        words = found.words()
        digest = hashlib.sha256(little_endian(words)).hexdigest()
        if digest != right.sha256:
            return f"tensor {i} {found.name!r}: " + _first_element(stream, i, words, found, model)
        if found.sha256.lower() != digest:
            return f"tensor {i} {found.name!r}: the sha256 in its index entry is not that of its file"
    return None


def _first_element(stream: Stream, i: int, words: np.ndarray, found: DumpTensor, model: int | None) -> str:
    # The right words are not in the manifest: the reference decoder makes them again
    try:
        with StreamDecoder(stream.file, [read_dump(r) for r in stream.references]) as decoder:
            right = decoder.model(-1 if model is None else model).tensors[i].words
        wrong_ones = np.flatnonzero(words != right)
    except OmcError as error:
        return f"its words have another SHA-256 (the reference decoder: {error})"
    except IndexError:
        wrong_ones = np.empty(0, np.intp)
    if not wrong_ones.size:
        return "its words have another SHA-256; they are those of the reference decoder, so the manifest is at fault"
    at = int(wrong_ones[0])
    digits = -(-found.dtype.bits // 4)
    wrong, expected = (f"0x{int(w[at]):0{digits}x}" for w in (words, right))
    return (f"element {at // found.dtype.parts} is {wrong}, expected {expected} "
            f"({wrong_ones.size} of {words.size} words differ)")
