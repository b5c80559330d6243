"""The formats of model files, one row each. What reads, writes, describes or names a format looks here.

To add a source format: its value in the table of SPEC 7.5 and in `SourceFormat`, a module that reads it into a Model
whose source is literals and slots (SPEC 8.9 then writes it), and a row.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..bitstream.structures import SourceFormat
from ..bitstream.units import MAGIC
from ..errors import FormatError
from .foreign import foreign_endings, refuse_foreign

if TYPE_CHECKING:
    from ..budget import Budget
    from ..model import Model, Tensor
    from .writer import TensorWriter

HEAD = 16                       # bytes by which a file is told whose name says nothing


@dataclass(frozen=True)
class Format:
    """One row.

    title:     as messages have it; in lower case it is the `name` that `refcodec info` and Source.format have, and that
               of SourceFormat, too.
    endings:   of file names, in lower case; a new file gets the first.
    source:    source_format of streams that give such a file back byte for byte; None: they keep its tensors alone.
    begins:    tells by the first HEAD bytes whether a file is one.
    read:      'module:function' of this package: the Model of (absolute path, budget), which is asked before what
               describes the tensors is read. Raises FormatError and OSError.
    create:    'module:function' of this package: the TensorWriter of (tensors, path) that makes a new file, whatever
               the model came from; None: only a model of that source is written. Raises FormatError.
    clause:    of SPEC.md, where the format is part of streams.
    """

    title: str
    endings: tuple[str, ...]
    source: SourceFormat | None
    begins: Callable[[bytes], bool]
    read: str
    create: str | None
    clause: str | None = None

    @property
    def name(self) -> str:
        return self.title.lower()

    def load(self, path: str, budget: Budget) -> Model:
        """The model of a file of this format."""
        model: Model = _function(self.read)(path, budget)
        return model

    def writer(self, tensors: Sequence[Tensor], path: str | os.PathLike[str]) -> TensorWriter:
        """What writes a new file of these tensors. Only where `create` is not None."""
        if self.create is None:
            raise ValueError(f"{self.title} files are not made anew")
        writer: TensorWriter = _function(self.create)(tensors, path)
        return writer


FORMATS = (
    Format("ONNX", (".onnx",), SourceFormat.ONNX, lambda head: head[:1] == b"\x08",          # ModelProto.ir_version
           "onnx_file:load_onnx", None, "7.5"),
    Format("safetensors", (".safetensors",), SourceFormat.SAFETENSORS,
           lambda head: head[8:9] == b"{" and head[4:8] == bytes(4),
           "safetensors_file:load_safetensors", "safetensors_file:new_file", "7.5"),
    Format("npz", (".npz",), None, lambda head: head.startswith(b"PK\3\4"), "npz_file:load_npz", "npz_file:NpzWriter"),
    Format("npy", (".npy",), None, lambda head: head.startswith(b"\x93NUMPY"), "npy_file:load_npy",
           "npy_file:NpyWriter"),
)


def _function(place: str) -> Callable[..., Any]:
    # Loaded when it is needed, so that the table can be read without numpy.
    module, name = place.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(f".{module}", __package__), name)
    return function


def ending_of(path: str | os.PathLike[str]) -> str:
    """The ending of a file name, in lower case and with its dot; '' if there is none."""
    return os.path.splitext(os.fspath(path))[1].lower()


def by_ending(path: str | os.PathLike[str]) -> Format | None:
    """The format that a file name says, or None."""
    return next((row for row in FORMATS if ending_of(path) in row.endings), None)


def by_name(name: str) -> Format | None:
    """The format of Source.format, or None."""
    return next((row for row in FORMATS if row.name == name), None)


def by_source(value: int) -> Format:
    """The format of a source_format that a parser let pass."""
    return next(row for row in FORMATS if row.source == value)


def recognised(path: str) -> Format:
    """The format of a file: by its name's ending, else by its first bytes.

    Raises FormatError UNSUPPORTED_TYPE, which says how to convert it where that is known; OSError.
    """
    if (row := by_ending(path)) is not None:
        return row
    with open(path, "rb") as f:
        head = f.read(HEAD)
    if head.startswith(MAGIC):
        raise FormatError("UNSUPPORTED_TYPE", f"{os.path.basename(path)!r} is an OMC stream: decode it")
    refuse_foreign(path, head)
    for row in FORMATS:
        if row.begins(head):
            return row
    refuse_foreign(path)
    raise FormatError("UNSUPPORTED_TYPE", f"{os.path.basename(path)!r} is not {listed([row.title for row in FORMATS])}")


def is_known_ending(path: str | os.PathLike[str]) -> bool:
    """True if the name is that of a model file, of a format of the table or of another: no name for a folder."""
    return by_ending(path) is not None or ending_of(path) in foreign_endings()


def listed(words: Sequence[str]) -> str:
    """'a, b or c'."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def readable_endings() -> str:
    """The endings of files that can be read, for a help text: '.onnx, .safetensors, .npz or .npy'."""
    return listed([ending for row in FORMATS for ending in row.endings])


def new_endings() -> str:
    """The endings of files that any model can be written to, for messages: '.safetensors, .npz or .npy'."""
    return listed([ending for row in FORMATS if row.create for ending in row.endings])


def exact_formats() -> str:
    """The formats whose files come back byte for byte, for a help text."""
    return listed([row.title for row in FORMATS if row.source is not None])
