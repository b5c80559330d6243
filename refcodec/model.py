"""What is coded: a Model is a sequence of Tensors, its layers, and the file that it came from.

Tensors may be lazy (read from their file when asked), so that a model larger than memory can pass
through encoder and decoder one tensor at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from .digests import digests_of, joint_digest
from .dtypes import DType, dtype_of
from .errors import FormatError
from .fold import Fold


class Tensor:
    """A named array, in memory or lazy.

    name:  unique in its model.
    array: of a type that numpy or ml_dtypes has and SPEC 5.2 lists; dtype and shape are its own then.
    dtype, shape, load: of a lazy tensor; load() gives an array of dtype.numpy with as many elements. Where only type
    and shape are asked for (as by a writer), load may be None.
    load_part: load_part(first, count) gives some of its words, where they are read without the others.

    Equal tensors have equal names, element types, shapes and words: NaN payloads and -0 differ. They have no hash.
    A pickle holds the array of a lazy tensor, too.
    Raises FormatError UNSUPPORTED_TYPE for an array of another type.
    """

    def __init__(self, name: str, array: npt.ArrayLike | None = None, *, dtype: DType | None = None,
                 shape: Sequence[int] | None = None, load: Callable[[], np.ndarray] | None = None,
                 load_part: Callable[[int, int], np.ndarray] | None = None):
        self._array: np.ndarray | None = None
        if array is not None:
            self._array = _plain(name, array)
            dtype, shape = dtype_of(self._array), self._array.shape
        if dtype is None or shape is None:
            raise ValueError("a tensor has an array; or dtype and shape, and load if its elements are asked for")
        self.name: str = name
        self.dtype: DType = dtype
        self.shape: tuple[int, ...] = tuple(int(n) for n in shape)
        self._load, self._load_part = load, load_part

    @property
    def array(self) -> np.ndarray:
        """The elements: `shape`, `dtype.numpy`, C order. A lazy tensor is loaded at each access."""
        if self._array is not None:
            return self._array
        if self._load is None:
            raise ValueError(f"tensor {self.name[:100]!r} has neither an array nor what loads it")
        return self._load().reshape(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def words(self) -> np.ndarray:
        """The elements as unsigned words `dtype.word`, one dimension, row-major (complex: real, imaginary, ...)."""
        return np.ascontiguousarray(self.array).reshape(-1).view(self.dtype.word)

    def some_words(self, first: int, count: int) -> np.ndarray:
        """words[first:first + count], read without the others where they lie in a file as they are."""
        if self._array is None and self._load_part is not None:
            return self._load_part(first, count)
        return self.words[first : first + count]

    def digest(self, threads: int = 1) -> bytes:
        """SHA-256 over name, dtype, shape and the digests of the pieces of its values (SPEC 8.8)."""
        return digests_of(self.name, self.dtype, self.shape, self.words, threads).digest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        if self is other:
            return True
        alike = (self.name, self.dtype, self.shape) == (other.name, other.dtype, other.shape)
        return alike and np.array_equal(self.words, other.words)

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[str, DType, tuple[int, ...], np.ndarray]]:
        return _of_words, (self.name, self.dtype, self.shape, self.words)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.dtype.name}, {list(self.shape)})"


def _plain(name: str, array: npt.ArrayLike) -> np.ndarray:
    """An array as a tensor keeps it: C order, native byte order, of an element type of SPEC 5.2."""
    try:
        found = np.asarray(array, order="C")
        found = found.astype(found.dtype.newbyteorder("="), copy=False)
        dtype_of(found)
    except (KeyError, TypeError, ValueError) as error:
        kind = getattr(array, "dtype", type(array).__name__)
        raise FormatError("UNSUPPORTED_TYPE", f"tensor {name[:100]!r} is of {kind}, which is no element type of SPEC "
                                              "5.2") from error
    return found


def _of_words(name: str, dtype: DType, shape: tuple[int, ...], words: np.ndarray) -> Tensor:
    # From a pickle: of words, since not every pickle of numpy knows the types of ml_dtypes.
    return Tensor(name, words.view(dtype.numpy).reshape(shape))


class Role(IntEnum):
    """What a tensor is to its layer (SPEC 7.6, tensor_role)."""

    OTHER = 0
    WEIGHT = 1
    BIAS = 2
    NORM_SCALE = 3
    NORM_BIAS = 4
    MEAN = 5
    VARIANCE = 6
    EMBEDDING = 7
    RECURRENT_WEIGHT = 8
    QUANTISATION_SCALE = 9
    ZERO_POINT = 10
    SHAPE = 11          # an integer tensor that steers shapes, axes or indices


@dataclass
class ActivationFormat:
    """The integers that a layer takes (SPEC 7.6.4): value * 2^fraction_bits, rounded and clipped to `width` bits.

    accumulator_width: bits of two's complement that hold every partial sum of the layer, whatever its input.
    """

    signed: bool
    width: int
    fraction_bits: int
    accumulator_width: int


@dataclass
class Layer:
    """A layer_descriptor(): operator, and the tensors that are its parameters."""

    name: str
    operator_domain: str
    operator_name: str
    tensors: list[tuple[int, Role, Fold | None]] = field(default_factory=list)  # (tensor index, role, fold)
    activation: ActivationFormat | None = None


class SlotCoding(IntEnum):
    """How the words of a tensor stand in its source file (SPEC 7.5, slot_coding)."""

    PLAIN = 0        # little-endian words
    PACKED = 1       # sub-byte words, first in the low bits of a byte
    VARINT = 2       # protobuf varints (sign-extended to 64 bits for signed types), packed


@dataclass
class Literal:
    """Bytes of a source file that belong to no tensor."""

    data: bytes


@dataclass
class Slot:
    """Bytes of a source file that are the words of a tensor."""

    tensor: int
    coding: SlotCoding
    size: int


@dataclass
class SourceFile:
    """One file of the source: path relative to the main file's folder ('/' separated), and its segments."""

    path: str
    segments: list[Literal | Slot] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(len(s.data) if isinstance(s, Literal) else s.size for s in self.segments)


@dataclass
class Source:
    """The file or files that a model came from, without its tensors. files[0] is the main file."""

    format: str                       # name of a row of formats.table that has a source_format
    files: list[SourceFile] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class Model:
    """What is coded.

    tensors:  in the order of the file.
    name:     '' for none.
    layers:   what is known of the tensors' use (SPEC 7.6).
    source:   the file or files without the tensors, where they come back byte for byte (SPEC 7.5), else None.
    metadata: by keys (SPEC 7.8).
    origin:   path of the file that it was read from, for messages.

    Equal models have equal tensors in the same order, and so the same digest; the rest does not count. They have no
    hash. A pickle holds the arrays of lazy tensors, too.
    """

    tensors: list[Tensor] = field(default_factory=list)
    name: str = ""
    layers: list[Layer] = field(default_factory=list)
    source: Source | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
    origin: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        return self is other or self.tensors == other.tensors

    def __repr__(self) -> str:
        kind = f", from {self.source.format}" if self.source else ""
        return f"<Model {self.name!r}: {len(self.tensors)} tensors, {sum(t.nbytes for t in self.tensors)} bytes{kind}>"

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of this name. Raises KeyError."""
        for t in self.tensors:
            if t.name == name:
                return t
        raise KeyError(name)

    def digest(self, threads: int = 1) -> bytes:
        """The digest of the model (SPEC 8.8): SHA-256 over those of its tensors. threads: over pieces of a tensor."""
        return joint_digest([t.digest(threads) for t in self.tensors])
