"""The manifest of a conformance suite: what is run and what must come out (conformance/manifest.schema.json)."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..files import read_bounded
from ..formats.files import check_path
from .schema import Misfit, check_manifest

PROFILES = ("baseline", "main", "high")
MANIFEST_BYTES_MAX = 1 << 26
STREAM_BYTES_MAX = 1 << 30        # of a stream, and of all files of a reference
SECONDS_MAX, MEMORY_MAX = 86_400, 1 << 44
REFERENCES_MAX, DUMP_FILES_MAX = 64, 10_000


@dataclass(frozen=True)
class TensorResult:
    """What one tensor must be. sha256: of its words in the dump."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class Decoded:
    """The model that must come out: the last of the stream. earlier: the models before it, in order.

    final_state: advisory, (unit, bit, range, code, position) of the range decoder at the end of each payload.
    cost: (work, memory) of the stream, SPEC A.3; empty where the manifest does not tell.
    """

    tensors: tuple[TensorResult, ...]
    model_digest: str
    earlier: tuple[Decoded, ...] = ()
    final_state: tuple[tuple[int, ...], ...] = ()
    cost: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """The stream must be rejected with one of `codes`. phases, unit, bit: where the reference decoder sees it
    (advisory)."""

    codes: tuple[str, ...]
    phases: tuple[str, ...] = ()
    unit: int | None = None
    bit: int | None = None


@dataclass(frozen=True)
class Stream:
    """One entry of the manifest. file, references: paths in the suite's folder; limits: seconds and bytes of memory."""

    id: str
    revision: int
    profile: str
    level: int
    kind: str
    required: bool
    purpose: str
    clauses: tuple[str, ...]
    requirements: tuple[str, ...]
    features: tuple[str, ...]
    file: Path
    sha256: str
    size: int
    references: tuple[Path, ...]
    seconds: float
    memory: int
    expected: Decoded | Rejected

    def verify(self) -> None:
        """Raises FormatError where the file is not the one of the manifest."""
        try:
            data = read_bounded(self.file, self.size)
        except OSError as error:
            raise FormatError("MISSING_FILE", f"cannot read stream {self.id}: {error.strerror}") from None
        except ValueError as error:
            raise FormatError("BAD_SIZE", f"stream {self.id}: {error}") from None
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.sha256:
            raise FormatError("DIGEST_MISMATCH", f"stream {self.id} is not the file that the manifest describes")


@dataclass(frozen=True)
class Manifest:
    """A suite. smoke: id of the stream that has to pass before the others are run; sha256: of the manifest itself."""

    path: Path
    version: str
    spec_version: str
    smoke: str
    streams: tuple[Stream, ...] = field(default=())
    sha256: str = ""

    def __getitem__(self, name: str) -> Stream:
        for stream in self.streams:
            if stream.id == name:
                return stream
        raise KeyError(name)


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest; its streams are verified by their digests, and lie in its folder. Raises FormatError."""
    path = Path(path)
    try:
        raw = read_bounded(path, MANIFEST_BYTES_MAX)
        data = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        check_manifest(data)
        json.dumps(data, ensure_ascii=False).encode("utf-8")         # no text that cannot be written again
        folder = Path(os.path.realpath(path.parent))
        streams = tuple(_stream(e, folder) for e in data["streams"])
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {error.filename or path}: {error.strerror}") from None
    except (ValueError, Misfit, RecursionError) as error:
        raise FormatError("FORBIDDEN_PATTERN", f"{path} is not a manifest: {error}") from None
    manifest = Manifest(path, data["suite_version"], data["spec_version"], data["smoke"], streams,
                        hashlib.sha256(raw).hexdigest())
    ids = [s.id for s in streams]
    if len(set(ids)) != len(ids) or manifest.smoke not in ids:
        raise FormatError("DUPLICATE_ID", f"{path}: ids occur twice, or there is no smoke stream {manifest.smoke!r}")
    for stream in streams:
        stream.verify()
    return manifest


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _stream(e: dict[str, Any], folder: Path) -> Stream:
    seconds, memory = e["limits"]["seconds"], e["limits"]["memory"]
    if e["size"] > STREAM_BYTES_MAX or seconds > SECONDS_MAX or memory > MEMORY_MAX \
            or len(e["references"]) > REFERENCES_MAX:
        raise ValueError(f"size, limits or references of {e['id']} are beyond what a check takes")
    return Stream(e["id"], e["revision"], e["profile"], e["level"], e["kind"], e["required"], e["purpose"],
                  tuple(e["clauses"]), tuple(e["requirements"]), tuple(e["features"]), _inside(folder, e["file"]),
                  e["sha256"], e["size"], tuple(_dump(_inside(folder, r)) for r in e["references"]), seconds, memory,
                  _expected(e["expected"]))


def _inside(folder: Path, name: str) -> Path:
    """The path of a file or folder of the suite. Raises FormatError BAD_PATH where it leads out of its folder."""
    check_path(name)
    if not Path(os.path.realpath(folder / name)).is_relative_to(folder):
        raise FormatError("BAD_PATH", f"{name!r} leads out of the suite's folder")
    return folder / name


def _dump(folder: Path) -> Path:
    """A folder of a dump: regular files alone, as they are copied for each run. Raises FormatError."""
    total = 0
    try:
        with os.scandir(folder) as found:
            for count, entry in enumerate(found):
                status = entry.stat(follow_symlinks=False)
                total += status.st_size
                if not stat.S_ISREG(status.st_mode) or total > STREAM_BYTES_MAX or count > DUMP_FILES_MAX:
                    raise FormatError("FORBIDDEN_PATTERN", f"{folder} is no dump: {entry.name!r} is no file, or it is "
                                      "too large")
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {folder}: {error.strerror}") from None
    return folder


def _expected(e: dict[str, Any]) -> Decoded | Rejected:
    if "codes" in e:
        return Rejected(tuple(e["codes"]), tuple(e["phases"]), e["unit"], e["bit"])
    return _decoded(e)


def _decoded(e: dict[str, Any]) -> Decoded:
    tensors = tuple(TensorResult(t["name"], t["dtype"], tuple(t["shape"]), t["sha256"]) for t in e["tensors"])
    return Decoded(tensors, e["model_digest"], tuple(_decoded(model) for model in e.get("earlier", ())),
                   tuple(tuple(state) for state in e.get("final_state", ())),
                   (e["cost"]["work"], e["cost"]["memory"]) if "cost" in e else ())
