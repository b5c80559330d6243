"""A stream opened for its tensors: a lazy mapping whose every array is verified when it is read (SPEC 8.8)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np

from .bitstream.structures import Bytes, PredictionMode
from .budget import Budget
from .decoder import StreamDecoder
from .model import Model, Tensor
from .places import words_in

Index: TypeAlias = "int | slice | EllipsisType | np.ndarray | None | tuple[Any, ...]"


class Slice:
    """A tensor that is not decoded yet: indexing decodes the rows that are asked for, as numpy would give them.

    Rows go along the first dimension. Of a tensor in BINS, without a fold, the pieces that hold the rows are read,
    decoded and verified, and no more; any other tensor is decoded as a whole. The result is the same.

    shape, dtype: those of the whole tensor.
    """

    def __init__(self, opened: OpenStream, tensor: Tensor, index: int):
        self._opened, self._tensor, self._index = opened, tensor, index
        self.shape, self.dtype = tensor.shape, tensor.dtype.numpy

    def __getitem__(self, key: Index) -> np.ndarray:
        first, *others = (key or (...,)) if isinstance(key, tuple) else (key,)
        if not self.shape or not isinstance(first, (int, np.integer, slice)):
            array: np.ndarray = self._rows(0, self.shape[0] if self.shape else 1)[key]
            return array
        wanted = range(self.shape[0])[first]           # IndexError as of any sequence
        if isinstance(wanted, int):
            found: np.ndarray = self._rows(wanted, wanted + 1)[(0, *others)]
            return found
        low, high = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
        found = self._rows(low, high)[(slice(None, None, wanted.step), *others)]
        return found

    def _rows(self, first: int, end: int) -> np.ndarray:
        return self._opened.rows(self._tensor.name, first, end)

    def __repr__(self) -> str:
        return f"<Slice: {self._tensor!r}>"


class OpenStream(Mapping[str, np.ndarray]):
    """The tensors of one model of a stream: name to numpy array, in the order of the model.

    An array is decoded at each access, with what it is predicted from and nothing else, and is the caller's own. Its
    digest (the tensor_digest of SPEC 7.7.1) and the check of its unit are verified then; the digest over the whole
    model is by decode().

    stream, references, threads, budget, allow_prefix: as of decode().  model: see `number`.

    models: names of the models of the stream, in order; a quality layer is a model.
    number: of the model that is open: the number or name given, by default the last.  name: its name.

    A context manager: on leaving it, or after close(), nothing can be read any more (ValueError).
    Raises OmcError of the phases container, syntax and semantics when it is opened; of the phases entropy and
    reconstruction when an array is read; KeyError for a name that the model does not have.
    """

    def __init__(self, stream: Bytes | str | os.PathLike[str], references: Sequence[Model] = (), *,
                 model: int | str = -1, threads: int = 1, budget: Budget | None = None, allow_prefix: bool = False):
        self._decoder = StreamDecoder(stream, references, threads=threads, budget=budget,
                                      allow_prefix=allow_prefix, lazy=True)
        try:
            self.number = self._decoder.model_number(model)
        except BaseException:
            self.close()
            raise
        self._closed = False
        self.models: tuple[str, ...] = tuple(self._decoder.model_names)
        described = self._decoder.describe(self.number, self._words)
        self.name = described.name
        self._tensors = {t.name: t for t in described.tensors}
        self._numbers = {t.name: i for i, t in enumerate(described.tensors)}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensor(name).array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors                # of Mapping it would decode the array

    def tensor(self, name: str) -> Tensor:
        """A lazy tensor: its dtype and shape are known at once, its array is decoded at each access."""
        return self._tensors[name]

    def get_slice(self, name: str) -> Slice:
        """A tensor of which rows are decoded when it is indexed: get_slice("w")[10:20]. Raises KeyError."""
        return Slice(self, self._tensors[name], self._numbers[name])

    def rows(self, name: str, first: int, end: int) -> np.ndarray:
        """Rows `first` to `end`, 0 <= first <= end, of the first dimension; of a scalar its one element."""
        self._check_open()
        tensor = self._tensors[name]
        row = tensor.size // tensor.shape[0] if tensor.shape and tensor.shape[0] else 1
        row *= tensor.dtype.parts
        self._allow(self._numbers[name], (end - first) * row * tensor.dtype.word_bytes)
        words = self._decoder.words_between(self.number, self._numbers[name], first * row, end * row)
        return words.view(tensor.dtype.numpy).reshape(end - first, *tensor.shape[1:]) if tensor.shape else (
            words.view(tensor.dtype.numpy).reshape(()))

    def read_into(self, name: str, out: Any) -> None:
        """Decode a tensor into an array, or a tensor of torch, that is there; without another copy where its coding
        allows it.

        out: of its dtype and shape, C-contiguous, writable; of torch, on the CPU. What it holds after an error is of no
        meaning.  Raises KeyError for the name, ValueError for what does not fit, OmcError.
        """
        self._check_open()
        tensor = self._tensors[name]
        words = words_in(out, tensor.dtype, tensor.shape)
        index = self._numbers[name]
        self._allow(index, tensor.nbytes)
        if self._shared(index):
            words[:] = self._decoder.words(self.number, index)
        else:
            self._decoder.decode_unit(self.number, self._decoder.parsed.models[self.number].unit_of[index], words)

    def _allow(self, index: int, size: int) -> None:
        # Each access is an operation of its own.
        decoder = self._decoder
        decoder.budget.begin()
        decoder.budget.put_out(size, f"tensor {decoder.parsed.models[self.number].state.tensors[index].tensor_name!r}")
        decoder.allow(self.number, [decoder.parsed.models[self.number].unit_of[index]])

    def _words(self, index: int) -> np.ndarray:
        self._check_open()
        state = self._decoder.parsed.models[self.number].state
        self._allow(index, math.prod(state.tensors[index].dimension) * state.dtype(index).itemsize)
        if self._shared(index):
            return self._decoder.words(self.number, index).copy()       # what the decoder keeps is not the caller's
        words, _ = self._decoder.decode_unit(self.number, self._decoder.parsed.models[self.number].unit_of[index])
        return words[index]

    def _shared(self, index: int) -> bool:
        # True if the decoder keeps what it decodes: of several tensors, or of one that another is a copy of.
        parsed = self._decoder.parsed.models[self.number]
        unit = parsed.tensor_units[parsed.unit_of[index]]
        return len(unit.descriptors) > 1 or unit.descriptors[0].prediction_mode == PredictionMode.COPY

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the stream is closed")

    def close(self) -> None:
        """Closes the file; harmless when it is closed."""
        self._closed = True
        self._decoder.__exit__()

    def __enter__(self) -> OpenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<OpenStream: model {self.number} {self.name!r} of {len(self.models)}, {len(self)} tensors>"
