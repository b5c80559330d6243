"""The manifest of a conformance suite: what is run and what must come out (conformance/manifest.schema.json)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FormatError

PROFILES = ("baseline", "main", "high")
KINDS = ("valid", "limit", "non-canonical", "extension", "invalid")


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
    """

    tensors: tuple[TensorResult, ...]
    model_digest: str
    earlier: tuple[Decoded, ...] = ()
    final_state: tuple[tuple[int, ...], ...] = ()


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
            data = self.file.read_bytes()
        except OSError as error:
            raise FormatError("MISSING_FILE", f"cannot read stream {self.id}: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != self.sha256:
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
    """Read a manifest; its streams are verified by their digests. Raises FormatError."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        data = json.loads(raw.decode("utf-8"))
        streams = tuple(_stream(e, path.parent) for e in data["streams"])
        manifest = Manifest(path, data["suite_version"], data["spec_version"], data["smoke"], streams,
                            hashlib.sha256(raw).hexdigest())
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError("FORBIDDEN_PATTERN", f"{path} is not a manifest: {error!r}") from None
    ids = [s.id for s in streams]
    if len(set(ids)) != len(ids) or manifest.smoke not in ids:
        raise FormatError("DUPLICATE_ID", f"{path}: ids occur twice, or there is no smoke stream {manifest.smoke!r}")
    for stream in streams:
        stream.verify()
    return manifest


def _stream(e: dict[str, Any], folder: Path) -> Stream:
    if e["kind"] not in KINDS or e["profile"] not in PROFILES:
        raise ValueError(f"{e['id']}: kind {e['kind']!r}, profile {e['profile']!r}")
    return Stream(e["id"], e["revision"], e["profile"], e["level"], e["kind"], e["required"], e["purpose"],
                  tuple(e["clauses"]), tuple(e["requirements"]), tuple(e["features"]), folder / e["file"], e["sha256"],
                  e["size"], tuple(folder / r for r in e["references"]), e["limits"]["seconds"], e["limits"]["memory"],
                  _expected(e["expected"]))


def _expected(e: dict[str, Any]) -> Decoded | Rejected:
    if "codes" in e:
        return Rejected(tuple(e["codes"]), tuple(e["phases"]), e["unit"], e["bit"])
    return _decoded(e)


def _decoded(e: dict[str, Any]) -> Decoded:
    tensors = tuple(TensorResult(t["name"], t["dtype"], tuple(t["shape"]), t["sha256"]) for t in e["tensors"])
    return Decoded(tensors, e["model_digest"], tuple(_decoded(model) for model in e.get("earlier", ())),
                   tuple(tuple(state) for state in e.get("final_state", ())))
