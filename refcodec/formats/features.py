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
from . import load, save
from .table import ending_of

LAYER = "features"          # the layer that holds all tensors, for their folds


def load_features(path: str | os.PathLike[str], sequence: bool | None = None) -> list[Model]:
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
    frame: np.ndarray = array()[n]
    return frame


def _frame(tensors: Sequence[Tensor], name: str = "") -> Model:
    """A model of feature tensors. Its layer says that they are no weights, and how images are folded (SPEC 8.3)."""
    folds = [Fold(tuple(range(len(t.shape))), len(t.shape) - 1) if len(t.shape) > 2 else None for t in tensors]
    layer = Layer(LAYER, "", "", [(i, Role.OTHER, fold) for i, fold in enumerate(folds)])
    return Model(list(tensors), name, [layer] if tensors else [])


def save_features(models: Sequence[Model], path: str | os.PathLike[str]) -> None:
    """Writes frames to an npz file, or to an npy file if they have one tensor; nothing is left at `path` if it fails.

    Frames of a sequence are stacked along a new axis 0.  Raises FormatError: BAD_SIZE where frames differ in names,
    types or shapes, TARGET where the file cannot hold them; and what reading a tensor raises.
    """
    signature = [[(t.name, t.dtype.name, t.shape) for t in model.tensors] for model in models]
    if not signature or any(s != signature[0] for s in signature):
        raise FormatError("BAD_SIZE", "frames of a sequence have the same tensors: names, types and shapes")
    tensors = [_stacked([model.tensors[i] for model in models]) for i in range(len(signature[0]))]
    if ending_of(path) not in (".npz", ".npy"):
        raise FormatError("TARGET", f"name an .npz file for features ({len(tensors)} tensors)")
    save(Model(tensors), path)


def _stacked(frames: Sequence[Tensor]) -> Tensor:
    first = frames[0]
    if len(frames) == 1:
        return first
    return Tensor(first.name, dtype=first.dtype, shape=(len(frames), *first.shape),
                  load=lambda: np.stack([frame.array for frame in frames]))
