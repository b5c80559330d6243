"""A stream opened for its tensors: a lazy mapping whose every array is verified when it is read (SPEC 8.8)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .bitstream.structures import Bytes, PredictionMode
from .decoder import StreamDecoder
from .model import Model, Tensor


class OpenStream(Mapping[str, np.ndarray]):
    """The tensors of one model of a stream: name to numpy array, in the order of the model.

    An array is decoded at each access, with what it is predicted from and nothing else, and is the caller's own. Its
    digest (the tensor_digest of SPEC 7.7.1) is checked then; the digest over the whole model is checked by decode().

    stream, references, threads, max_memory, allow_prefix: as of decode().  model: see `number`.

    models: names of the models of the stream, in order; a quality layer is a model.
    number: of the model that is open: the number or name given, by default the last.  name: its name.

    A context manager: on leaving it, or after close(), nothing can be read any more (ValueError).
    Raises OmcError of the phases container, syntax and semantics when it is opened; of the phases entropy and
    reconstruction when an array is read; KeyError for a name that the model does not have.
    """

    def __init__(self, stream: Bytes | str | os.PathLike[str], references: Sequence[Model] = (), *,
                 model: int | str = -1, threads: int = 1, max_memory: int | None = None, allow_prefix: bool = False):
        self._decoder = StreamDecoder(stream, references, threads=threads, max_memory=max_memory,
                                      allow_prefix=allow_prefix)
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

    def _words(self, index: int) -> np.ndarray:
        if self._closed:
            raise ValueError("the stream is closed")
        parsed = self._decoder.parsed.models[self.number]
        unit = parsed.tensor_units[parsed.unit_of[index]]
        if len(unit.descriptors) > 1 or unit.descriptors[0].prediction_mode == PredictionMode.COPY:
            return self._decoder.words(self.number, index).copy()       # what the decoder keeps is not the caller's
        words, _ = self._decoder.decode_unit(self.number, parsed.unit_of[index])
        return words[index]

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
