"""What is coded: a Model is a sequence of Tensors, its layers, and the file that it came from.

Tensors may be lazy (read from their file when asked), so that a model larger than memory can pass
through encoder and decoder one tensor at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from .dtypes import DType, dtype_of
from .fold import Fold


class Tensor:
    """A named array.

    name:  unique in its model.
    array: numpy array of `shape` and `dtype.numpy`, C order; loaded on each access when lazy.
    """

    def __init__(self, name: str, array: np.ndarray | None = None, *, dtype: DType | None = None,
                 shape: Sequence[int] | None = None, load: Callable[[], np.ndarray] | None = None):
        if array is not None:
            array = np.asarray(array, order="C")
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
            dtype, shape = dtype_of(array), array.shape
        self.name: str = name
        self.dtype: DType = dtype
        self.shape: tuple[int, ...] = tuple(int(n) for n in shape)
        self._array, self._load = array, load

    @property
    def array(self) -> np.ndarray:
        return self._array if self._array is not None else self._load().reshape(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def words(self) -> np.ndarray:
        """The elements as unsigned words, one dimension, row-major (complex: real, imaginary, ...)."""
        return np.ascontiguousarray(self.array).reshape(-1).view(self.dtype.word)

    def digest(self) -> bytes:
        """SHA-256 over name, dtype, shape and little-endian values (SPEC 8.8)."""
        return tensor_digest(self.name, self.dtype, self.shape, self.words)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.dtype.name}, {list(self.shape)})"


def tensor_digest(name: str, dtype: DType, shape: Sequence[int], words: np.ndarray) -> bytes:
    """SHA-256 over name, element type, shape and little-endian words (SPEC 8.8)."""
    h = hashlib.sha256()
    encoded = name.encode("utf-8")
    h.update(len(encoded).to_bytes(4, "little") + encoded + bytes([dtype.code, len(shape)]))
    h.update(b"".join(int(n).to_bytes(8, "little") for n in shape))
    words = np.ascontiguousarray(words)
    h.update(words.astype(words.dtype.newbyteorder("<"), copy=False).data)
    return h.digest()


def model_digest(tensor_digests: Sequence[bytes]) -> bytes:
    """SHA-256 over the tensors' digests in the order of the model (SPEC 8.8)."""
    return hashlib.sha256(b"".join(tensor_digests)).digest()


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


@dataclass
class Model:
    """tensors: in the order of the file. layers: what is known of their use. source: None for npz."""

    tensors: list[Tensor] = field(default_factory=list)
    name: str = ""
    layers: list[Layer] = field(default_factory=list)
    source: Source | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        for t in self.tensors:
            if t.name == name:
                return t
        raise KeyError(name)

    def digest(self) -> bytes:
        """SHA-256 of the model (SPEC 8.8)."""
        return model_digest([t.digest() for t in self.tensors])
