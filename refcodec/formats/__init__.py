"""Model files in and out, of the formats that table.py lists: ONNX, safetensors, npz and npy.

ONNX and safetensors files come back byte for byte; tensors are read from disk when they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import FormatError
from .foreign import refuse_folder
from .table import Format, by_ending, by_name, is_known_ending, new_endings, recognised

if TYPE_CHECKING:                       # numpy is loaded when a file is
    from ..budget import Budget
    from ..model import Model, Source, Tensor
    from .writer import TensorWriter

__all__ = ["load", "open_writer", "save"]


def load(path: str | os.PathLike[str], budget: Budget | None = None) -> Model:
    """Model of a file, its format told by the name's ending or else by its first bytes.

    Tensor.array reads the file anew at each access, so the file has to stay.  budget: for what describes its tensors;
    None: the usual one.

    Raises FormatError: MISSING_FILE, UNSUPPORTED_TYPE (with the way to convert it where one is known), or what is wrong
    with the file.
    """
    origin = os.fspath(path)
    path = os.path.abspath(origin)
    if os.path.isdir(path):
        refuse_folder(path)
    try:
        model = recognised(path).load(path, budget or _usual(path))
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {path!r}: {error.strerror or error}") from error
    model.origin = origin
    return model


def _usual(path: str) -> Budget:
    from ..budget import Budget

    budget = Budget()
    budget.give(os.path.getsize(path))
    return budget


def open_writer(path: str | os.PathLike[str], source: Source | None, tensors: Sequence[Tensor],
                budget: Budget | None = None) -> TensorWriter:
    """A writer (write_tensor, commit, abort; a context manager) for the kind of file that `path` names.

    With a source of that kind the source's file comes back; one of several files (external data) needs a folder as
    path.  Otherwise a new file is written, of a format that can hold the tensors.
    tensors: name, dtype and shape are used.  budget: what the files may take, None: any.

    Raises FormatError TARGET where the name says no format that this model can be written in, what the writers do, and
    ReconstructionError RESOURCE_LIMIT.
    """
    own, named = None if source is None else by_name(source.format), by_ending(path)
    if source is not None and (_can_be_folder(path) if len(source.files) > 1 else named and named == own):
        from .writer import SourceWriter
        return SourceWriter(source, tensors, path, budget)
    if named is None or named.create is None or _names_folder(path):
        raise FormatError("TARGET", f"cannot write {os.fspath(path)!r}: {_what_there_is(source, own)}")
    if budget is not None:
        budget.put_out(sum(t.nbytes for t in tensors), "the model")
    return named.writer(tensors, path)


def _names_folder(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).endswith(("/", os.sep)) or os.path.isdir(path)


def _can_be_folder(path: str | os.PathLike[str]) -> bool:
    """True if `path` can be the folder that the several files of a source go to."""
    return not is_known_ending(path) or _names_folder(path)


def _what_there_is(source: Source | None, own: Format | None) -> str:
    new = new_endings()
    if source is None or own is None:
        return f"name a file that ends in {new}"
    if len(source.files) > 1:
        return (f"the model consists of {len(source.files)} files ({own.title} with external data), so name a folder, "
                f"new or empty, to get them back; or a file that ends in {new}, for its tensors")
    return f"name a file that ends in {own.endings[0]} to get back what was coded; or in {new}, for its tensors"


def save(model: Model, path: str | os.PathLike[str], tensors: Sequence[Tensor] | None = None) -> None:
    """Writes a model, tensor by tensor; nothing is left at `path` if it fails.

    path: a file whose ending says its format: that of the model's source, or .safetensors, .npz, .npy (one tensor).
    A model whose source has several files (ONNX with external data) needs a folder, new or empty.
    tensors: replace model.tensors (same order, types and shapes).

    Raises FormatError (TARGET: it cannot be written there), ReconstructionError.
    """
    tensors = model.tensors if tensors is None else tensors
    with open_writer(path, model.source, tensors) as writer:
        for index, tensor in enumerate(tensors):
            writer.write_tensor(index, tensor.array)
        writer.commit()
