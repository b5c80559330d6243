"""Torch's files without torch: tensors are read, nothing of a file is run.

Two formats: five pickles with the storages behind them (before torch 1.6), and a zip with data.pkl and a member for
each storage.  The unpickler knows the globals that tensors need, and refuses every other.
"""

from __future__ import annotations

import io
import pathlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    size: int


class _View(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles nested dictionaries of tensors and numbers."""

    KNOWN = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: _View(
            storage, offset, shape, strides),
        ("torch._utils", "_rebuild_parameter"): lambda view, *_: view,
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a dictionary of tensors")
        return self.KNOWN[module, name]

    def persistent_load(self, pid):
        _, dtype, key, _, size, *_ = pid
        return _Storage(key, dtype, size)


def read_torch_pickle(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a torch file of either format, by name; those of nested dictionaries as OUTER.INNER.

    Raises pickle.UnpicklingError where the file asks for anything but tensors.
    """
    if zipfile.is_zipfile(path):
        views, storages = _zipped(path)
    else:
        views, storages = _pickled(path)
    tensors = {}
    for name, view in views.items():
        data = storages[view.storage.key][view.offset:]
        strides = tuple(step * data.itemsize for step in view.strides)
        tensors[name] = np.ascontiguousarray(np.lib.stride_tricks.as_strided(data, view.shape, strides))
        tensors[name].shape = view.shape   # ascontiguousarray makes scalars one-dimensional
    return tensors


def _pickled(path: pathlib.Path) -> tuple[dict[str, _View], dict[str, np.ndarray]]:
    """(views by name, storages by key) of the format before 1.6."""
    with open(path, "rb") as file:
        _magic, _protocol, _system, content, keys = (_TensorUnpickler(file).load() for _ in range(5))
        views = _views(content)
        dtypes = {view.storage.key: view.storage.dtype for view in views.values()}
        storages = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    return views, storages


def _zipped(path: pathlib.Path) -> tuple[dict[str, _View], dict[str, np.ndarray]]:
    """(views by name, storages by key) of the format since 1.6."""
    with zipfile.ZipFile(path) as archive:
        index, = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        views = _views(_TensorUnpickler(io.BytesIO(archive.read(index))).load())
        wanted = {view.storage.key: view.storage.dtype for view in views.values()}
        return views, {key: np.frombuffer(archive.read(f"{index.removesuffix('data.pkl')}data/{key}"), dtype)
                       for key, dtype in wanted.items()}


def _views(content: Mapping, prefix: str = "") -> dict[str, _View]:
    """The tensors of nested dictionaries; numbers and texts beside them are left out."""
    found: dict[str, _View] = {}
    for name, value in content.items():
        if isinstance(value, _View):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, Mapping):
            found |= _views(value, f"{prefix}{name}.")
    return found
