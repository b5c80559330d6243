"""The canonical dump of a model: index.json and a file of little-endian words per tensor (conformance/CONTRACT.md)."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..bitstream.cost import StreamCost
from ..dtypes import BY_NAME, DType
from ..errors import FormatError
from ..files import read_bounded
from ..model import Model, Tensor

INDEX = "index.json"
INDEX_BYTES_MAX = 1 << 26
DIMENSIONS_MAX = 64


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
            if self.path.is_symlink():
                raise ValueError("it is a link")
            data = read_bounded(self.path, self.nbytes)
        except OSError as error:
            raise FormatError("MISSING_FILE", f"cannot read {self.path.name}: {error.strerror}") from None
        except ValueError as error:
            raise FormatError("BAD_SIZE", f"{self.path.name}: {error}; {self.name!r} needs {self.nbytes}") from None
        if len(data) != self.nbytes:
            raise FormatError("BAD_SIZE", f"{self.path.name} has {len(data)} bytes, {self.name!r} needs {self.nbytes}")
        return np.frombuffer(data, self.dtype.word.newbyteorder("<")).astype(self.dtype.word)


def little_endian(words: np.ndarray) -> bytes:
    """The bytes of words as a dump holds them."""
    return words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes()


def tensor_results(model: Model) -> Iterator[tuple[Tensor, bytes, str]]:
    """(tensor, bytes, SHA-256 of the bytes) of a model."""
    for tensor in model.tensors:
        data = little_endian(tensor.words)
        yield tensor, data, hashlib.sha256(data).hexdigest()


def write_dump(model: Model, folder: str | os.PathLike[str], cost: StreamCost | None = None) -> None:
    """Write a model as a dump; index.json comes last, so that a folder with it is whole.

    cost: of the stream that the model came from (SPEC A.3), which stands in the index.
    """
    folder, entries = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for i, (tensor, data, digest) in enumerate(tensor_results(model)):
        file = f"{i:04}.bin"
        (folder / file).write_bytes(data)
        entries.append({"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape), "file": file,
                        "sha256": digest})
    index: dict[str, Any] = {"model_digest": model.digest().hex()}
    if cost is not None:
        index["cost"] = {"work": cost.work(), "memory": cost.memory()}
    index["tensors"] = entries
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


class DumpIndex(NamedTuple):
    """An index.json. cost: (work, memory) of the stream, where the decoder tells it."""

    model_digest: str
    tensors: list[DumpTensor]
    cost: tuple[int, int] | None


def read_index(folder: str | os.PathLike[str]) -> DumpIndex:
    """The index of a dump, whose files are not yet read. Raises FormatError where it is no dump."""
    folder = Path(folder)
    try:
        path = folder / INDEX
        if path.is_symlink():
            raise ValueError("it is a link")
        index = json.loads(read_bounded(path, INDEX_BYTES_MAX).decode("utf-8"))
        return DumpIndex(str(index["model_digest"])[:64], [_entry(folder, e) for e in index["tensors"]],
                         _cost(index["cost"]) if "cost" in index else None)
    except FileNotFoundError:
        raise FormatError("MISSING_FILE", f"there is no {INDEX}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError("FORBIDDEN_PATTERN", f"{INDEX} is not of the contract's form: {error}") from None


def _cost(told: dict[str, Any]) -> tuple[int, int]:
    work, memory = told["work"], told["memory"]
    if not all(type(n) is int and 0 <= n < 1 << 64 for n in (work, memory)):
        raise ValueError("cost")
    return work, memory


def _entry(folder: Path, e: dict[str, Any]) -> DumpTensor:
    name, dtype, shape, file, digest = (e[key] for key in ("name", "dtype", "shape", "file", "sha256"))
    if not all(isinstance(text, str) for text in (name, dtype, file, digest)) or not isinstance(shape, list):
        raise ValueError("a member of a tensor has another type than it should")
    if len(shape) > DIMENSIONS_MAX or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape):
        raise ValueError(f"the shape of {name[:100]!r}")
    path = folder / file
    if Path(file).name != file or path.is_symlink() or not path.is_file():
        raise ValueError(f"{file[:100]!r} is no file of this folder")
    return DumpTensor(name, BY_NAME[dtype], tuple(shape), path, digest)


def read_dump(folder: str | os.PathLike[str]) -> Model:
    """The model of a dump, in memory. Raises FormatError."""
    def tensor(t: DumpTensor) -> Tensor:
        words = t.words()
        return Tensor(t.name, dtype=t.dtype, shape=t.shape, load=lambda: words.view(t.dtype.numpy))

    return Model([tensor(t) for t in read_index(folder).tensors])
