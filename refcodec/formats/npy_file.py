"""npy files of numpy: one array each; the entries of an npz file, too."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import IO

import numpy as np

from ..budget import Budget
from ..dtypes import BY_NAME, DType, dtype_of
from ..errors import FormatError, ReconstructionError
from ..model import Model, Tensor
from .writer import TensorWriter, partial_of, tensor_words

_PARSING = threading.Lock()     # numpy evaluates headers by `ast`, whose depth count threads disturb (CPython 3.11)


def load_npy(path: str, budget: Budget) -> Model:
    """Model of one tensor named 'array'. Its header alone is read."""
    def load() -> np.ndarray:
        with open(path, "rb") as f:
            return read_array(f, os.path.getsize(path), path)

    with open(path, "rb") as f:
        dtype, shape = parsed_header(f, os.path.getsize(path), path)
    return Model(tensors=[Tensor("array", dtype=checked_dtype(dtype, "array"), shape=shape, load=load)])


def parsed_header(f: IO[bytes], size: int, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    """read_header(), with what numpy's parser raises as FormatError FORBIDDEN_PATTERN."""
    try:
        return read_header(f, size, name)
    except FormatError:
        raise
    except Exception as error:      # ValueError, SyntaxError, TypeError, EOFError, RecursionError, ...
        raise FormatError("FORBIDDEN_PATTERN", f"array {os.path.basename(name)[:100]!r}: {error}") from error


def read_header(f: IO[bytes], size: int, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of an npy stream of `size` bytes. Raises FormatError BAD_SIZE, and what numpy's parser raises."""
    # That parser stops at 10000 characters and evaluates literals only.
    version = np.lib.format.read_magic(f)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with _PARSING:
        shape, _, dtype = read(f)
    count = 1
    for n in shape:
        count *= n
    if any(n < 0 for n in shape) or len(shape) > 32 or f.tell() + count * dtype.itemsize != size:
        raise FormatError("BAD_SIZE", f"array {name[:100]!r} of shape {shape[:9]} and {dtype} in {size} bytes")
    return dtype, tuple(int(n) for n in shape)


def read_array(f: IO[bytes], size: int, name: str) -> np.ndarray:
    """A numpy array, C order and native byte order, from an npy stream of `size` bytes."""
    try:
        dtype, shape = read_header(f, size, name)
        checked_dtype(dtype, name)
        f.seek(0)
        with _PARSING:
            array = np.lib.format.read_array(f, allow_pickle=False)
    except FormatError:
        raise
    except Exception as error:      # numpy raises ValueError, SyntaxError, TypeError, zlib.error, EOFError, ...
        raise FormatError("FORBIDDEN_PATTERN", f"array {os.path.basename(name)[:100]!r}: {error}") from error
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)).reshape(shape)


def checked_dtype(stored: np.dtype, name: str) -> DType:
    """The DType of an array in a file. Raises FormatError UNSUPPORTED_TYPE."""
    if stored.kind == "V" and stored.names is None and stored not in [d.numpy for d in BY_NAME.values()]:
        raise FormatError("UNSUPPORTED_TYPE", f"array {name[:100]!r} has numpy's void type {stored}, which does not "
                                              "tell bfloat16 and the like apart: save it as safetensors")
    try:
        return dtype_of(np.empty(0, stored))
    except (KeyError, TypeError):
        raise FormatError("UNSUPPORTED_TYPE", f"array {name[:100]!r} has type {stored}, which is neither "
                                              "number nor bool") from None


class NpyWriter(TensorWriter):
    """Writes the one tensor of a model as an npy file. Raises FormatError TARGET for others, and types of no numpy."""

    def __init__(self, tensors: Sequence[Tensor], target_path: str | os.PathLike[str]):
        self.target = os.path.abspath(os.fspath(target_path))
        if len(tensors) != 1:
            raise FormatError("TARGET", f"an npy file holds one tensor, the model has {len(tensors)}: name an .npz"
                                        " file")
        self.tensor = tensors[0]
        if self.tensor.dtype.numpy.isbuiltin != 1:
            raise FormatError("TARGET", f"an npy file cannot hold {self.tensor.dtype.name}: name an .npz file")
        self.partial, self._written = partial_of(target_path), False

    def _target_error(self, error: OSError) -> FormatError:
        return FormatError("TARGET", f"cannot write {self.target!r}: {error.strerror}")

    def write_tensor(self, index: int, array: np.ndarray) -> None:
        words = tensor_words(array, self.tensor)
        try:
            with open(self.partial.path, "wb") as f:
                np.lib.format.write_array(f, words.view(self.tensor.dtype.numpy).reshape(self.tensor.shape),
                                          allow_pickle=False)
        except OSError as error:
            raise self._target_error(error) from error
        self._written = True

    def commit(self) -> None:
        if not self._written:
            self.abort()
            raise ReconstructionError("MISSING_UNIT", f"tensor {self.tensor.name!r} was not written")
        try:
            self.partial.commit()
        except OSError as error:
            raise self._target_error(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        self.partial.abort()
