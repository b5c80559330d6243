"""Integer arrays outside range coding: raw, Huffman, fixed length, general-purpose coders (SPEC 9.7 to 9.10)."""

from __future__ import annotations

import numpy as np

from ..bitstream.structures import Component, EntropyMode
from ..dtypes import DType
from .byte_coding import best_bytes, decode_bytes
from .fixed_length import decode_fixed, encode_fixed, least_length
from .huffman import decode_huffman, encode_huffman


def encode_integers(c: Component, integers: np.ndarray, dtype: DType | None) -> bytes:
    """The payload of a component in an entropy mode that is not range coded; sets the mode's syntax elements in c.

    integers: any shape, row-major: words of dtype (or their differences), or levels with dtype None.
    Raises EntropyError RESOURCE_LIMIT for a Huffman code of a very large alphabet.
    """
    if c.entropy_mode == EntropyMode.HUFFMAN:
        return encode_huffman(integers)
    if c.entropy_mode == EntropyMode.FIXED:
        c.fixed_length = least_length(integers, dtype is None)
        return encode_fixed(integers, c.fixed_length, dtype is None)
    data, width, planes = best_bytes(integers, c.entropy_mode, dtype is None)
    c.byte.byte_planes_flag = int(planes)
    if dtype is None:
        c.byte.level_bytes_log2 = width.bit_length() - 1
    return data


def decode_integers(c: Component, data: bytes, dtype: DType | None, alphabet_limit: int) -> np.ndarray:
    """The integers of a component, one dimension, row-major: unsigned words of dtype, or signed levels with dtype None.

    alphabet_limit: codebook_size of the level.  Raises EntropyError, OUT_OF_RANGE or ENTROPY_END.
    """
    count, signed = c.word_count, dtype is None
    if c.entropy_mode == EntropyMode.HUFFMAN:
        found = decode_huffman(data, count, np.int64 if signed else dtype.word, alphabet_limit)
    elif c.entropy_mode == EntropyMode.FIXED:
        found = decode_fixed(data, count, c.fixed_length, signed, np.int64 if signed else dtype.word)
    else:
        width = 1 << c.byte.level_bytes_log2 if signed else dtype.word.itemsize
        found = decode_bytes(data, count, c.entropy_mode, width, signed, bool(c.byte.byte_planes_flag))
    return found
