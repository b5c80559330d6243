"""Model files that are not read, and how to make one of them that is (informative)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import FormatError


@dataclass(frozen=True)
class Foreign:
    """name: of the format.  endings: of file names.  advice: how to convert it.  is_one: by path and first bytes."""

    name: str
    endings: tuple[str, ...]
    advice: str
    is_one: Callable[[str, bytes], bool]


def _zip_with(path: str, head: bytes, member: str) -> bool:
    if not head.startswith(b"PK\3\4"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name == member or name.endswith("/" + member) for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError):
        return False


FOREIGN = (
    Foreign("a PyTorch checkpoint", (".pt", ".pth", ".bin", ".ckpt"),
            "a pickle may run code, so it is not read; convert it: import torch, safetensors.torch as s; "
            "w = torch.load('model.pt', weights_only=True); "
            "s.save_file({k: t.clone() for k, t in w.items()}, 'model.safetensors')",
            lambda path, head: head.startswith((b"\x80\2", b"\x80\3", b"\x80\4")) or _zip_with(path, head, "data.pkl")),
    Foreign("a GGUF file", (".gguf",),
            "convert it to safetensors: transformers' from_pretrained(folder, gguf_file='model.gguf') and "
            "save_pretrained('folder') do so, or take the model that it was made from",
            lambda path, head: head.startswith(b"GGUF")),
    Foreign("a TFLite model", (".tflite",),
            "convert it to ONNX: python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
            lambda path, head: head[4:8] == b"TFL3"),
    Foreign("a Keras model", (".keras", ".h5", ".hdf5"),
            "convert it to ONNX: keras.saving.load_model('model.keras').export('model.onnx', format='onnx')",
            lambda path, head: head.startswith(b"\x89HDF\r\n\x1a\n") or _zip_with(path, head, "model.weights.h5")),
    Foreign("a TensorFlow graph", (".pb",),
            "convert it to ONNX: python -m tf2onnx.convert --saved-model folder --output model.onnx",
            lambda path, head: False),
)


def foreign_endings() -> set[str]:
    """The endings of all formats that are known and not read."""
    return {ending for row in FOREIGN for ending in row.endings}


def refuse_foreign(path: str, head: bytes | None = None) -> None:
    """Raises FormatError UNSUPPORTED_TYPE if a file is of such a format, by its first bytes, or by its name if None."""
    ending = os.path.splitext(path)[1].lower()
    for row in FOREIGN:
        if row.is_one(path, head) if head is not None else ending in row.endings:
            raise FormatError("UNSUPPORTED_TYPE", f"{os.path.basename(path)!r} is {row.name}: {row.advice}")


def refuse_folder(path: str) -> None:
    """Raises FormatError MISSING_FILE for a folder, with what to give instead."""
    if os.path.exists(os.path.join(path, "saved_model.pb")):
        raise FormatError("UNSUPPORTED_TYPE", f"{path!r} is a TensorFlow SavedModel: convert it to ONNX: "
                          "python -m tf2onnx.convert --saved-model folder --output model.onnx")
    raise FormatError("MISSING_FILE", f"{path!r} is a folder: give the model file inside it")
