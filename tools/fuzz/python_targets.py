"""What is fuzzed in Python, and what counts as a fault: all but an answer or a listed error, in time and memory."""

from __future__ import annotations

import contextlib
import io
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import refcodec
from refcodec.budget import Budget
from refcodec.decoder import StreamDecoder
from refcodec.errors import OmcError
from refcodec.inspection.describe import describe_stream
from refcodec.inspection.trace import trace_stream
from refcodec.model import Model

CODES = {"BAD_MAGIC", "TRUNCATED", "TRAILING_DATA", "RESERVED_VALUE", "FORBIDDEN_PATTERN", "DIGEST_MISMATCH", "ORDER",
         "MISSING_UNIT", "BAD_SIZE", "BAD_ALIGNMENT", "OUT_OF_RANGE", "RESOURCE_LIMIT", "UNSUPPORTED_VERSION",
         "DANGLING_REFERENCE", "DUPLICATE_ID", "ENTROPY_END", "OVERFLOW", "MISSING_REFERENCE"}       # SPEC annex B
MEMORY = 64 << 20               # what the decoder is told that it may take
ADDRESS_SPACE = 1 << 30         # what the process gets beyond what it has
SECONDS = 10.0                  # of computing, for one input


class Fault(AssertionError):
    """What no input may lead to."""


class Hang(BaseException):
    """Raised by the clock. No decoder catches it."""


@dataclass
class Outcome:
    """code: of the error, or ''; digest: of the decoded model; phase: of the error."""

    code: str = ""
    digest: bytes = b""
    phase: str = ""


@dataclass
class Tally:
    """What came of many inputs. faults: (description, input)."""

    name: str
    inputs: int = 0
    answers: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    seconds: float = 0.0
    faults: list[tuple[str, bytes]] = field(default_factory=list)

    def fault(self, description: str, data: bytes) -> None:
        self.faults.append((description, data))


def decode(data: bytes, references: Sequence[Model]) -> Outcome:
    """Every model of a stream. Raises Fault for an accepted model that does not fit its digest."""
    try:
        with StreamDecoder(data, references, budget=Budget.of_level(MEMORY)) as decoder:
            for number in range(max(1, len(decoder.parsed.models))):
                model = decoder.model(number)
            stated = bytes(decoder.parsed.models[-1].end.model_digest)
    except OmcError as error:
        check_error(error)
        return Outcome(error.code, phase=error.phase)
    if model.digest() != stated:
        raise Fault("WRONG-ACCEPT: the model does not fit its digest")
    return Outcome(digest=stated)


def check_error(error: OmcError, codes: set[str] = CODES) -> None:
    """Raises Fault for an error that is not one of the listed, or tells of memory that ran out."""
    if error.code not in codes:
        raise Fault(f"an unlisted code: {error!r}")
    if "not enough memory" in error.message:
        raise Fault(f"over-allocation: {error}")


def describe(path: Path) -> Outcome:
    """`refcodec info` and `refcodec trace`."""
    try:
        describe_stream(str(path))
        for _ in trace_stream(str(path)):
            pass
    except OmcError as error:
        check_error(error)
        return Outcome(error.code)
    return Outcome()


def validator() -> Callable[[Path], Outcome]:
    """`refcodec validate`."""
    from refcodec.cli.main import main

    def run(path: Path) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(["validate", str(path)])
            except SystemExit as stop:
                code = stop.code
        if "Traceback" in err.getvalue() or code not in (0, *range(3, 30)):
            raise Fault(f"validate ends with {code}: {err.getvalue()[-300:]}")
        return Outcome(str(code or ""))
    return run


FORMAT_CODES = CODES | {"BAD_PATH", "MISSING_FILE", "UNSUPPORTED_TYPE", "TARGET", "UNSUPPORTED_FORMAT"}


def read_model(path: Path) -> Outcome:
    """A model file: all of its tensors, or one listed error."""
    try:
        with np.errstate(all="ignore"):
            model = refcodec.load(path)
            for t in model.tensors:
                if t.array.shape != t.shape or t.array.dtype != t.dtype.numpy:
                    raise Fault(f"tensor {t.name!r} is {t.array.dtype} {t.array.shape}, not {t.dtype.name} {t.shape}")
    except OmcError as error:
        check_error(error, FORMAT_CODES)
        return Outcome(error.code)
    return Outcome()


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Limits of this process: address space, and a clock for each input (see `timed`)."""
    def ring(*_):
        raise Hang

    old, before = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGVTALRM, ring)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESS_SPACE, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
        signal.signal(signal.SIGVTALRM, before)


def timed(tally: Tally, data: bytes, run: Callable[[], Outcome]) -> Outcome | None:
    """One run; what is no answer becomes a fault of the tally."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        outcome = run()
    except Hang:
        tally.fault(f"no answer in {SECONDS} s", data)
        outcome = None
    except MemoryError:
        tally.fault("over-allocation", data)
        outcome = None
    except Fault as fault:
        tally.fault(str(fault), data)
        outcome = None
    except Exception as error:
        tally.fault(f"a crash: {error!r}", data)
        outcome = None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    tally.inputs += 1
    tally.slowest = max(tally.slowest, time.process_time() - began)
    tally.answers["fault" if outcome is None else outcome.code or "accepted"] += 1
    return outcome
