"""Model files in and out: ONNX, safetensors, npz and npy.

ONNX and safetensors files come back byte for byte; tensors are read from disk when they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..errors import FormatError
from ..model import Model, Source, Tensor
from .roles import guess_role
from .writer import SUFFIXES, SourceWriter

__all__ = ["load", "save", "open_writer", "SourceWriter", "guess_role"]


def load(path: str | os.PathLike) -> Model:
    """Model of a file, its kind told by the name's suffix or else by its first bytes.

    Tensor.array reads the file anew at each access, so the file has to stay.  Raises FormatError.
    """
    path = os.path.abspath(os.fspath(path))
    if os.path.isdir(path):
        raise FormatError("MISSING_FILE", f"{path!r} is a folder: give the model file inside it")
    try:
        kind = _kind(path)
        if kind == "onnx":
            from .onnx_file import load_onnx
            return load_onnx(path)
        if kind == "safetensors":
            from .safetensors_file import load_safetensors
            return load_safetensors(path)
        from . import npz_file
        return npz_file.load_npz(path) if kind == "npz" else npz_file.load_npy(path)
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {path!r}: {error.strerror or error}") from error


def _kind(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()[1:]
    if suffix in ("onnx", "safetensors", "npz", "npy"):
        return suffix
    with open(path, "rb") as f:
        head = f.read(16)
    if head.startswith(b"PK\3\4"):
        return "npz"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[8:9] == b"{" and head[4:8] == bytes(4):
        return "safetensors"
    if head[:1] == b"\x08":             # ModelProto.ir_version
        return "onnx"
    raise FormatError("UNSUPPORTED_TYPE", f"{os.path.basename(path)!r} is not ONNX, safetensors, npz or npy")


def open_writer(path: str | os.PathLike, source: Source | None, tensors: Sequence[Tensor],
                size_max: int | None = None):
    """A writer (write_tensor, commit, abort; a context manager) for the kind of file that `path` names.

    With a source of that kind (or a folder or unknown suffix as path) the source's files come back.
    Otherwise .npz and .safetensors are written from scratch.  tensors: name, dtype and shape are used.
    Raises FormatError.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".npz":
        from .npz_file import NpzWriter
        return NpzWriter(tensors, path)
    if suffix == ".safetensors" and (source is None or source.format != "safetensors"):
        from .safetensors_file import new_source
        source = new_source(tensors, "model.safetensors")
    if source is None or suffix in SUFFIXES.values() and suffix != SUFFIXES.get(source.format):
        raise FormatError("TARGET", f"cannot write {os.path.basename(os.fspath(path))!r}: the model does not come "
                                    "from a file of that kind; name a .npz or .safetensors file")
    return SourceWriter(source, tensors, path, size_max)


def save(model: Model, path: str | os.PathLike, tensors: Sequence[Tensor] | None = None) -> None:
    """Writes a model, tensor by tensor; nothing is left at `path` if it fails.

    tensors: replace model.tensors (same order, types and shapes).  Raises FormatError, ReconstructionError.
    """
    tensors = model.tensors if tensors is None else tensors
    with open_writer(path, model.source, tensors) as writer:
        for index, tensor in enumerate(tensors):
            writer.write_tensor(index, tensor.array)
        writer.commit()
