"""Models from whatever stands for one: a model, a model file, a stream, arrays by name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy.typing as npt

from .bitstream.structures import Bytes
from .bitstream.units import MAGIC
from .budget import Budget
from .decoder import StreamDecoder
from .formats import load
from .model import Model, Tensor

ModelLike: TypeAlias = "Model | str | os.PathLike[str] | Bytes | Mapping[str, npt.ArrayLike]"
ModelsLike: TypeAlias = "ModelLike | Iterable[ModelLike]"


def is_stream(path: str | os.PathLike[str]) -> bool:
    """True if the file begins as an OMC stream. Raises OSError."""
    with open(path, "rb") as f:
        return f.read(len(MAGIC)) == MAGIC


def load_any(path: str | os.PathLike[str], references: Sequence[Model] = (), budget: Budget | None = None) -> Model:
    """A model from a model file, or from a stream: its last, which the budget holds. Raises OmcError."""
    if not os.path.isfile(path) or not is_stream(path):
        return load(path, budget)
    model = _decoded(path, references, budget)
    model.origin = os.fspath(path)
    return model


def _decoded(stream: Bytes | str | os.PathLike[str], references: Sequence[Model], budget: Budget | None) -> Model:
    budget = budget or Budget()
    with StreamDecoder(stream, references, budget=budget) as decoder:
        model = decoder.model()
    budget.hold(sum(t.nbytes for t in model.tensors), "a decoded model")
    return model


def as_model(value: ModelLike, budget: Budget | None = None) -> Model:
    """A model as it is; the model of a path (a model file, or a stream) or of the bytes of a stream; arrays by name.

    budget: for what is decoded; None: the usual one.  Raises OmcError, and TypeError for anything else.
    """
    if isinstance(value, Model):
        return value
    if isinstance(value, (str, os.PathLike)):
        return load_any(value, (), budget)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _decoded(value, (), budget)
    if isinstance(value, Mapping):
        return Model([Tensor(str(name), array) for name, array in value.items()])
    raise TypeError(f"a model is a refcodec.Model, a path, the bytes of a stream, or arrays by name; not "
                    f"{type(value).__name__}")


def as_models(value: ModelsLike, budget: Budget | None = None) -> list[Model]:
    """One or several models: see as_model. Several that come from files get the names of these (name_models)."""
    if isinstance(value, (Model, str, os.PathLike, bytes, bytearray, memoryview, Mapping)):
        return [as_model(value, budget)]
    if not isinstance(value, Iterable):
        return [as_model(value, budget)]                    # which says what is wrong
    given = list(value)
    models = [as_model(v, budget) for v in given]
    paths = [os.fspath(v) for v in given if isinstance(v, (str, os.PathLike))]
    if len(paths) == len(given):
        name_models(models, paths)
    return models


def name_models(models: Sequence[Model], paths: Sequence[str]) -> None:
    """Give each of several models the stem of its file as name, where it has none of its own that no other has."""
    if len(models) < 2:
        return
    stems = [Path(p).stem for p in paths]
    if len(set(stems)) < len(stems):
        stems = [str(Path(p).with_suffix("")) for p in paths]
    own = Counter(m.name for m in models)
    names = [m.name if m.name and own[m.name] == 1 else stem for m, stem in zip(models, stems)]
    for model, name, stem in zip(models, names, stems):
        model.name = stem if names.count(name) > 1 else name
