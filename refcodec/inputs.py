"""A model from a file: a model file, or a stream to be decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .bitstream.units import MAGIC
from .decoder import StreamDecoder
from .formats import load
from .model import Model


def is_stream(path: str) -> bool:
    """True if the file begins as an OMC stream."""
    with open(path, "rb") as f:
        return f.read(4) == MAGIC


def load_any(path: str, references: Sequence[Model] = ()) -> Model:
    """A model from a model file or from a stream."""
    if os.path.isfile(path) and is_stream(path):
        with StreamDecoder(path, references) as decoder:
            return decoder.model()
    return load(path)
