"""Feature tensors: activations in npz and npy files, one model per frame (S3 of the source papers).

An array of an npz file is a tensor of its name; that of an npy file is called 'array'.  The last two axes of an array
of three axes or more are the rows and columns of an image, those before them count its planes (channels): C x H x W.
With fewer axes it is a table or a vector.

In a *sequence* axis 0 of every array counts frames: the frames are models of the same tensors, without that axis, each
predicted from the one before where that helps.  A sequence of one frame is no sequence: its arrays keep their axes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import FormatError
from ..fold import Fold
from ..model import Layer, Model, Role, Tensor
from . import load
from .npz_file import NpzWriter
from .writer import tensor_words

LAYER = "features"          # the layer that holds all tensors, for their folds


def load_features(path: str | os.PathLike, sequence: bool | None = None) -> list[Model]:
    """The frames of an npz or npy file as models, in order; save_features is the inverse.

    sequence: True: axis 0 of every array counts frames; False: there is one frame.  None: True if all arrays are as
    long in axis 0 and one of them has four axes (N x C x H x W).  Arrays are read when a tensor is, and then kept.
    Raises FormatError: no npz or npy file (formats.load), and BAD_SIZE where `sequence` does not fit the arrays.
    """
    model = load(path)
    if model.source is not None:
        raise FormatError("UNSUPPORTED_TYPE", f"{os.path.basename(os.fspath(path))!r} is no npz or npy file")
    lengths = {t.shape[0] if t.shape else None for t in model.tensors}
    common = lengths.pop() if len(lengths) == 1 else None
    if sequence is None:
        sequence = bool(common) and any(len(t.shape) == 4 for t in model.tensors)
    if not sequence or common == 1:
        return [_frame(model.tensors)]
    if not common:
        raise FormatError("BAD_SIZE", "in a sequence all arrays have the same, positive, number of frames in axis 0")
    loads = [functools.cache(_loader(t)) for t in model.tensors]
    return [_frame([Tensor(t.name, dtype=t.dtype, shape=t.shape[1:], load=functools.partial(_slice, array, n))
                    for t, array in zip(model.tensors, loads)], str(n)) for n in range(common)]


def _loader(tensor: Tensor) -> Callable[[], np.ndarray]:
    return lambda: tensor.array


def _slice(array: Callable[[], np.ndarray], n: int) -> np.ndarray:
    return array()[n]


def _frame(tensors: Sequence[Tensor], name: str = "") -> Model:
    """A model of feature tensors. Its layer says that they are no weights, and how images are folded (SPEC 8.3)."""
    folds = [Fold(tuple(range(len(t.shape))), len(t.shape) - 1) if len(t.shape) > 2 else None for t in tensors]
    layer = Layer(LAYER, "", "", [(i, Role.OTHER, fold) for i, fold in enumerate(folds)])
    return Model(list(tensors), name, [layer] if tensors else [])


def save_features(models: Sequence[Model], path: str | os.PathLike) -> None:
    """Writes frames to an npz file, or to an npy file if they have one tensor; nothing is left at `path` if it fails.

    Frames of a sequence are stacked along a new axis 0.  Raises FormatError: BAD_SIZE where frames differ in names,
    types or shapes, TARGET where the file cannot hold them; and what reading a tensor raises.
    """
    signature = [[(t.name, t.dtype.name, t.shape) for t in model.tensors] for model in models]
    if not signature or any(s != signature[0] for s in signature):
        raise FormatError("BAD_SIZE", "frames of a sequence have the same tensors: names, types and shapes")
    tensors = [_stacked([model.tensors[i] for model in models]) for i in range(len(signature[0]))]
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".npy" and len(tensors) == 1:
        _save_npy(tensors[0], os.path.abspath(os.fspath(path)))
        return
    if suffix != ".npz":
        raise FormatError("TARGET", f"name an .npz file for features ({len(tensors)} tensors)")
    with NpzWriter(tensors, path) as writer:
        for i, tensor in enumerate(tensors):
            writer.write_tensor(i, tensor.array)
        writer.commit()


def _stacked(frames: Sequence[Tensor]) -> Tensor:
    first = frames[0]
    if len(frames) == 1:
        return first
    return Tensor(first.name, dtype=first.dtype, shape=(len(frames), *first.shape),
                  load=lambda: np.stack([frame.array for frame in frames]))


def _save_npy(tensor: Tensor, path: str) -> None:
    if tensor.dtype.numpy.isbuiltin != 1:
        raise FormatError("TARGET", f"an npy file cannot hold {tensor.dtype.name}: name an .npz file")
    array = tensor_words(tensor.array, tensor).view(tensor.dtype.numpy).reshape(tensor.shape)
    partial = f"{os.path.dirname(path)}/.{os.path.basename(path)}.{os.urandom(6).hex()}.partial"
    try:
        with open(partial, "xb") as f:
            np.lib.format.write_array(f, array, allow_pickle=False)
        os.replace(partial, path)
    except OSError as error:
        if os.path.lexists(partial):
            os.remove(partial)
        raise FormatError("TARGET", f"cannot write {path!r}: {error.strerror}") from error
