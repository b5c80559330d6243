"""Writing a model file tensor by tensor: the source's literals, and each tensor into its slots (SPEC 7.5)."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from ..budget import Budget
from ..dtypes import dtype_of
from ..errors import FormatError, ReconstructionError
from ..files import Partial
from ..model import Literal, SlotCoding, Source, Tensor
from . import slots
from .files import check_paths
from .table import by_name


class TensorWriter(ABC):
    """Writes a model file tensor by tensor. As a context manager it aborts if commit() was not reached."""

    @abstractmethod
    def write_tensor(self, index: int, array: np.ndarray) -> None:
        """Writes the array of tensor `index`, in any order and from any thread.

        Raises ReconstructionError BAD_SIZE if type or element count are not those of the tensor; FormatError TARGET.
        """

    def takes_words(self, index: int) -> bool:
        """True if write_words() takes tensor `index` part by part."""
        return False

    def write_words(self, index: int, first: int, words: np.ndarray) -> None:
        """Writes words of tensor `index` from number `first` on (flat, unsigned), in any order and from any thread.

        After all of them comes wrote(index).  Raises FormatError TARGET.
        """
        raise NotImplementedError

    def wrote(self, index: int) -> None:
        """All words of a tensor were written by write_words()."""
        raise NotImplementedError

    @abstractmethod
    def commit(self) -> None:
        """Puts what was written in place. Raises ReconstructionError MISSING_UNIT if a tensor was not written."""

    @abstractmethod
    def abort(self) -> None:
        """Removes what was written; harmless after commit()."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.abort()


class SourceWriter(TensorWriter):
    """Writes the files of a Source; nothing stands at target_path before commit().

    source:      files of literals and slots; validated here, for it may come from a hostile stream.
    tensors:     one Tensor for each index that slots name; only name, dtype and shape are used.
    target_path: a file for a source of one file; a folder, new or empty, for a source of several.
    budget:      what the files may take, None: any.

    Raises FormatError BAD_PATH, BAD_SIZE, DANGLING_REFERENCE, FORBIDDEN_PATTERN, TARGET; ReconstructionError
    RESOURCE_LIMIT.
    """

    def __init__(self, source: Source, tensors: Sequence[Tensor], target_path: str | os.PathLike[str],
                 budget: Budget | None = None):
        self.source, self.tensors = source, tensors
        self.target = os.path.abspath(os.fspath(target_path))
        self._places: dict[int, list[tuple[int, int, SlotCoding, int]]] = {}    # tensor -> (file, offset, coding, size)
        self._lock = threading.Lock()
        self._files: list[str] = []         # opened anew for each tensor: a model may have thousands of files
        self._check_source(budget or Budget.of_level())
        self._check_target()
        self._missing = set(self._places)
        self.partial = partial_of(target_path, folder=len(source.files) > 1)
        try:
            self._create()
        except BaseException:
            self.abort()
            raise

    def _check_source(self, budget: Budget) -> None:
        own = by_name(self.source.format)
        if own is None or own.source is None or not self.source.files:
            raise FormatError("FORBIDDEN_PATTERN", f"source of format {self.source.format[:30]!r}, "
                                                   f"{len(self.source.files)} files")
        budget.check_files(len(self.source.files), "the model")
        check_paths([f.path for f in self.source.files])
        total = 0
        for number, file in enumerate(self.source.files):
            offset = 0
            for segment in file.segments:
                if isinstance(segment, Literal):
                    offset += len(segment.data)
                    continue
                if not 0 <= segment.tensor < len(self.tensors):
                    raise FormatError("DANGLING_REFERENCE", f"slot of tensor {segment.tensor}, there are "
                                                            f"{len(self.tensors)}")
                tensor = self.tensors[segment.tensor]
                slots.check_slot(tensor.name, tensor.dtype, tensor.size, segment.coding, segment.size)
                self._places.setdefault(segment.tensor, []).append((number, offset, segment.coding, segment.size))
                offset += segment.size
            total += offset
        budget.put_out(total, "the model's source")

    def _check_target(self) -> None:
        if len(self.source.files) > 1:
            if os.path.lexists(self.target) and (not os.path.isdir(self.target) or os.listdir(self.target)):
                raise FormatError("TARGET", f"{self.target!r} exists and is not an empty folder")
        elif os.path.isdir(self.target):
            raise FormatError("TARGET", f"{self.target!r} is a folder: give a file name")

    def _create(self) -> None:
        """Creates all files in their full size, with their literals."""
        try:
            several, place = len(self.source.files) > 1, self.partial.path
            for file in self.source.files:
                path = os.path.join(place, *file.path.split("/")) if several else place
                if several:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                self._files.append(path)
                with open(path, "xb" if several else "wb") as f:
                    for segment in file.segments:
                        if isinstance(segment, Literal):
                            f.write(segment.data)
                        else:
                            f.seek(segment.size, os.SEEK_CUR)
                    f.truncate()
        except (OSError, OverflowError, ValueError) as error:    # the last two: sizes beyond 63 bits
            raise self._target_error(error) from error

    def _target_error(self, error: Exception) -> FormatError:
        return FormatError("TARGET", f"cannot write {self.target!r}: {getattr(error, 'strerror', None) or error}")

    def write_tensor(self, index: int, array: np.ndarray) -> None:
        """Writes the array of tensor `index` into all of its slots (none: nothing happens).

        Raises ReconstructionError BAD_SIZE if type, element count or a slot's size differ.
        """
        tensor = self.tensors[index]
        words = tensor_words(array, tensor)
        for number, offset, coding, size in self._places.get(index, ()):
            data = slots.encode_words(words, tensor.dtype, coding)
            if data.size != size:
                raise ReconstructionError("BAD_SIZE", f"tensor {tensor.name!r} takes {data.size} bytes, "
                                                      f"its slot {size}", rules="R8.9-1")
            self._write(number, data, offset)
        self.wrote(index)

    def takes_words(self, index: int) -> bool:
        return all(coding == SlotCoding.PLAIN for _, _, coding, _ in self._places.get(index, ()))

    def write_words(self, index: int, first: int, words: np.ndarray) -> None:
        data = slots.encode_words(words, self.tensors[index].dtype, SlotCoding.PLAIN)
        for number, offset, _, _ in self._places.get(index, ()):
            self._write(number, data, offset + first * words.itemsize)

    def wrote(self, index: int) -> None:
        with self._lock:
            self._missing.discard(index)

    def _write(self, number: int, data: np.ndarray, offset: int) -> None:
        try:
            _write_at(self._files[number], data.data, offset)
        except OSError as error:
            raise self._target_error(error) from error

    def commit(self) -> None:
        """Puts the complete files in place, replacing a file of that name.

        Raises ReconstructionError MISSING_UNIT, and aborts, if a tensor was not written.
        """
        if self._missing:
            name = self.tensors[min(self._missing)].name
            count = len(self._missing)
            self.abort()
            raise ReconstructionError("MISSING_UNIT", f"{count} tensors were not written, the first is {name!r}")
        try:
            self.partial.commit()
        except OSError as error:
            raise self._target_error(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Removes what was written; harmless after commit()."""
        self.partial.abort()


def partial_of(target: str | os.PathLike[str], folder: bool = False) -> Partial:
    """What will take the place of a model file, or of a folder of several. Raises FormatError TARGET."""
    try:
        return Partial(target, folder)
    except OSError as error:
        raise FormatError("TARGET", f"cannot write {os.fspath(target)!r}: {error.strerror}") from error


def tensor_words(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Unsigned words of an array that must have the tensor's type and element count.

    Raises ReconstructionError BAD_SIZE.
    """
    array = np.asarray(array)
    try:
        same = dtype_of(array) == tensor.dtype
    except KeyError:
        same = False
    if not same or array.size != tensor.size:
        raise ReconstructionError("BAD_SIZE", f"array of {array.dtype} and shape {array.shape} for tensor {tensor!r}")
    return np.ascontiguousarray(array, tensor.dtype.numpy).reshape(-1).view(tensor.dtype.word)


def _write_at(path: str, data: memoryview, offset: int) -> None:
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        while data:
            n = os.pwrite(handle, data[:1 << 30], offset)          # one call moves at most 2 GB on Linux
            data, offset = data[n:], offset + n
    finally:
        os.close(handle)
