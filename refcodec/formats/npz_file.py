"""npz files of numpy; types that numpy does not know travel as words, named in an entry '__dtypes__'."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Sequence

import numpy as np

from ..budget import Budget
from ..dtypes import BY_NAME
from ..errors import FormatError, ReconstructionError
from ..model import Model, Tensor
from .files import is_text
from .npy_file import checked_dtype, read_array, read_header
from .writer import TensorWriter, partial_of, tensor_words

DTYPES_ENTRY = "__dtypes__"
_END_BYTES_MAX = 22 + 65535      # the end of a zip file's directory, with its comment
_ENTRY_BYTES_MIN, _ENTRY_MEMORY = 46 + 30, 3000       # bytes of an entry in the file, and of its objects in memory
_DEFLATE_RATIO_MAX = 1032       # deflate cannot do better: a larger claim is a lie


def load_npz(path: str, budget: Budget) -> Model:
    """Model of an npz file, tensors in the order of its directory, read at each access.  Raises FormatError."""
    file_size = os.path.getsize(path)
    budget.check_memory(_directory_memory(path, file_size), "the directory of an npz file", FormatError)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError) as error:
        raise FormatError("FORBIDDEN_PATTERN", f"not an npz file: {error}") from error
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in entries:
            raise FormatError("DUPLICATE_ID", f"npz has an entry {name[:100]!r} twice")
        if not info.filename.endswith(".npy") or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FormatError("FORBIDDEN_PATTERN", f"npz entry {info.filename[:100]!r} is not an array of numpy's")
        if info.file_size > _DEFLATE_RATIO_MAX * min(info.compress_size, file_size) or not is_text(name):
            raise FormatError("BAD_SIZE", f"npz entry {name[:100]!a} claims {info.file_size} bytes")
        entries[name] = info
    recorded = _recorded_dtypes(archive, entries.pop(DTYPES_ENTRY, None))
    return Model(tensors=[_npz_tensor(archive, name, info, recorded.get(name)) for name, info in entries.items()])


def _directory_memory(path: str, file_size: int) -> int:
    # What the objects of the directory take: of the entries that its end claims, or as many as the file can hold.
    with open(path, "rb") as f:
        f.seek(max(0, file_size - _END_BYTES_MAX))
        end = f.read()
    at = end.rfind(b"PK\5\6")
    claimed = int.from_bytes(end[at + 10 : at + 12], "little") if at >= 0 else 0
    most = file_size // _ENTRY_BYTES_MIN
    return _ENTRY_MEMORY * (most if claimed == 0xFFFF else min(claimed, most))


def _npz_tensor(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, recorded: str | None) -> Tensor:
    stored, shape = _read_header(archive, info)
    dtype = checked_dtype(stored, name)
    if recorded is not None:
        said = BY_NAME.get(recorded)
        if said is None or said.numpy.isbuiltin == 1 or said.word != stored:
            raise FormatError("FORBIDDEN_PATTERN", f"npz entry {name[:100]!r}: {DTYPES_ENTRY} says {recorded[:30]!r}, "
                                                   f"the array is {stored}")
        dtype = said

    def load() -> np.ndarray:
        array = _entry_array(archive, info)
        if recorded is not None and dtype.bits < 8 and array.size and int(array.max()) >> dtype.bits:
            raise FormatError("OUT_OF_RANGE", f"npz entry {name[:100]!r} has a word of more than {dtype.bits} bits")
        return array.view(dtype.numpy) if recorded is not None else array

    return Tensor(name, dtype=dtype, shape=shape, load=load)


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[np.dtype, tuple[int, ...]]:
    try:
        with archive.open(info) as f:
            return read_header(f, info.file_size, info.filename)
    except FormatError:
        raise
    except Exception as error:      # zipfile has no common base for what a damaged file makes it raise
        raise FormatError("FORBIDDEN_PATTERN", f"npz entry {info.filename[:100]!r}: {error}") from error


def _entry_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    try:
        with archive.open(info) as f:
            return read_array(f, info.file_size, info.filename)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError("FORBIDDEN_PATTERN", f"npz entry {info.filename[:100]!r}: {error}") from error


def _recorded_dtypes(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None) -> dict[str, str]:
    if info is None:
        return {}
    try:
        table = json.loads(_entry_array(archive, info).tobytes().decode("utf-8"))
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise FormatError("FORBIDDEN_PATTERN", f"npz entry {DTYPES_ENTRY} is not a JSON table of type names")
    return table


class NpzWriter(TensorWriter):
    """Writes an npz file. Raises FormatError FORBIDDEN_PATTERN and DUPLICATE_ID for names, TARGET."""

    def __init__(self, tensors: Sequence[Tensor], target_path: str | os.PathLike[str]):
        self.tensors, self.target = tensors, os.path.abspath(os.fspath(target_path))
        names = [t.name for t in tensors]
        for name in names:
            if name == DTYPES_ENTRY or "\0" in name or len(name.encode("utf-8")) > 65000:
                raise FormatError("FORBIDDEN_PATTERN", f"npz cannot hold a tensor named {name[:100]!r}")
        if len(set(names)) != len(names):
            raise FormatError("DUPLICATE_ID", "npz cannot hold two tensors of one name")
        self._order = {f"{name}.npy": i for i, name in enumerate(names)}
        self._missing = set(range(len(tensors)))
        self._lock = threading.Lock()
        self.partial = partial_of(target_path)
        try:
            self._archive = zipfile.ZipFile(self.partial.path, "w", zipfile.ZIP_STORED, allowZip64=True)
            named = {t.name: t.dtype.name for t in tensors if t.dtype.numpy.isbuiltin != 1}
            if named:
                self._put(DTYPES_ENTRY, np.frombuffer(json.dumps(named).encode("utf-8"), np.uint8))
        except BaseException:
            self.partial.abort()
            raise

    def _put(self, name: str, array: np.ndarray) -> None:
        info = zipfile.ZipInfo(f"{name}.npy")       # a fixed date: the same model gives the same file
        try:
            with self._archive.open(info, "w", force_zip64=True) as f:
                np.lib.format.write_array(f, array, allow_pickle=False)
        except OSError as error:
            raise self._target_error(error) from error

    def _target_error(self, error: OSError) -> FormatError:
        return FormatError("TARGET", f"cannot write {self.target!r}: {error.strerror}")

    def write_tensor(self, index: int, array: np.ndarray) -> None:
        tensor = self.tensors[index]
        words = tensor_words(array, tensor)
        stored = tensor.dtype.numpy if tensor.dtype.numpy.isbuiltin == 1 else tensor.dtype.word
        with self._lock:
            self._put(tensor.name, words.view(stored).reshape(tensor.shape))
            self._missing.discard(index)

    def commit(self) -> None:
        if self._missing:
            name = self.tensors[min(self._missing)].name
            self.abort()
            raise ReconstructionError("MISSING_UNIT", f"tensor {name!r} was not written")
        self._archive.filelist.sort(key=lambda info: self._order.get(info.filename, -1))
        try:
            self._archive.close()
            self.partial.commit()
        except OSError as error:
            raise self._target_error(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        try:
            self._archive.close()
        except (OSError, ValueError):
            pass                        # a full disk: the file is removed anyway
        self.partial.abort()
