"""The canonical dump of a model: index.json and a file of little-endian words per tensor (conformance/CONTRACT.md)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..dtypes import BY_NAME, DType
from ..errors import FormatError
from ..model import Model, Tensor

INDEX = "index.json"
INDEX_BYTES_MAX = 1 << 26


@dataclass(frozen=True)
class DumpTensor:
    """One entry of index.json. path: of its words; sha256: of that file, as the index says."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    path: Path
    sha256: str

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)

    def words(self) -> np.ndarray:
        """The words, row-major, of the type's word. Raises FormatError BAD_SIZE."""
        try:
            size = self.path.stat().st_size               # before anything is read: it may be of any size
            data = self.path.read_bytes() if size == self.nbytes else b""
        except OSError as error:
            raise FormatError("MISSING_FILE", f"cannot read {self.path.name}: {error.strerror}") from None
        if size != self.nbytes:
            raise FormatError("BAD_SIZE", f"{self.path.name} has {size} bytes, {self.name!r} needs {self.nbytes}")
        return np.frombuffer(data, self.dtype.word.newbyteorder("<")).astype(self.dtype.word)


def little_endian(words: np.ndarray) -> bytes:
    """The bytes of words as a dump holds them."""
    return words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes()


def tensor_results(model: Model) -> Iterator[tuple[Tensor, bytes, str]]:
    """(tensor, bytes, SHA-256 of the bytes) of a model."""
    for tensor in model.tensors:
        data = little_endian(tensor.words)
        yield tensor, data, hashlib.sha256(data).hexdigest()


def write_dump(model: Model, folder: str | os.PathLike[str]) -> None:
    """Write a model as a dump; index.json comes last, so that a folder with it is whole."""
    folder, entries = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for i, (tensor, data, digest) in enumerate(tensor_results(model)):
        file = f"{i:04}.bin"
        (folder / file).write_bytes(data)
        entries.append({"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape), "file": file,
                        "sha256": digest})
    index = {"model_digest": model.digest().hex(), "tensors": entries}
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def read_index(folder: str | os.PathLike[str]) -> tuple[str, list[DumpTensor]]:
    """(model digest, tensors) of a dump, its files not yet read. Raises FormatError where it is no dump."""
    folder = Path(folder)
    try:
        path = folder / INDEX
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > INDEX_BYTES_MAX:
            raise ValueError("it is no file, or too large")
        index = json.loads(path.read_text(encoding="utf-8"))
        return str(index["model_digest"]), [_entry(folder, e) for e in index["tensors"]]
    except FileNotFoundError:
        raise FormatError("MISSING_FILE", f"there is no {INDEX}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError("FORBIDDEN_PATTERN", f"{INDEX} is not of the contract's form: {error}") from None


def _entry(folder: Path, e: dict[str, Any]) -> DumpTensor:
    shape = tuple(e["shape"])
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {e['shape']!r}")
    path = folder / e["file"]
    if Path(e["file"]).name != e["file"] or path.is_symlink() or not path.is_file():
        raise ValueError(f"{e['file']!r} is no file of this folder")
    return DumpTensor(e["name"], BY_NAME[e["dtype"]], shape, path, str(e["sha256"]))


def read_dump(folder: str | os.PathLike[str]) -> Model:
    """The model of a dump, in memory. Raises FormatError."""
    def tensor(t: DumpTensor) -> Tensor:
        words = t.words()
        return Tensor(t.name, dtype=t.dtype, shape=t.shape, load=lambda: words.view(t.dtype.numpy))

    return Model([tensor(t) for t in read_index(folder)[1]])
