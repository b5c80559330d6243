"""The version of the standard (SPEC 7.3), its profiles and levels (SPEC annex A)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

VERSION = (0, 2)     # version_major, version_minor
UPGRADED = (0, 1)    # whose streams `refcodec upgrade` takes


class Profile(IntEnum):
    """profile: the coding tools that a stream may use."""

    BASELINE = 0     # raw and context coding; no trellis, no mixing
    MAIN = 1         # baseline and trellis-coded quantisation
    HIGH = 2         # main and mixed coding


@dataclass(frozen=True)
class Level:
    """What a decoder of this level must carry, and nothing beyond it."""

    number: int
    units: int                # in the stream
    models: int               # in the stream
    references: int           # of one model
    nesting: int              # predictions of predictions
    tensors: int              # in one model
    layers: int               # in one model
    rank: int                 # axes of one tensor
    name_length: int          # bytes of one string
    tensor_elements: int      # in one tensor
    tensor_memory: int        # bytes of the words of one tensor
    codebook_size: int        # entries
    unit_bytes: int           # expanded body of one unit that is not tensor data
    segments: int             # of one model's source files
    files: int                # of one model's source
    joined_tensors: int       # in one tensor data unit
    joined_elements: int      # in one tensor data unit with several tensors
    decomposition_size: int   # smaller side of a decomposed matrix; rank of factors
    multiplications: int      # in the product of factors of one tensor
    work: int                 # excess work of the stream (SPEC A.3)
    memory: int               # bytes for parsing the stream and decoding a unit of it (SPEC A.3)


LEVELS = {
    1: Level(1, 1 << 12, 16, 4, 8, 1 << 10, 1 << 10, 8, 1 << 8, 1 << 22, 1 << 24, 4096, 1 << 22, 1 << 12, 16, 1 << 10,
             1 << 16, 256, 1 << 30, 1 << 30, 3 << 26),
    2: Level(2, 1 << 16, 256, 16, 32, 1 << 14, 1 << 14, 16, 1 << 10, 1 << 26, 1 << 28, 65536, 1 << 26, 1 << 16, 256,
             1 << 12, 1 << 18, 1024, 1 << 36, 1 << 33, 3 << 30),
    3: Level(3, 1 << 20, 4096, 64, 64, 1 << 18, 1 << 18, 32, 1 << 12, 1 << 30, 1 << 32, 1 << 18, 1 << 28, 1 << 20, 4096,
             1 << 14, 1 << 20, 4096, 1 << 40, 1 << 36, 3 << 34),
    4: Level(4, 1 << 24, 65536, 256, 64, 1 << 22, 1 << 22, 48, 1 << 16, 1 << 36, 1 << 38, 1 << 20, 1 << 31, 1 << 24,
             65536, 1 << 16, 1 << 22, 16384, 1 << 44, 1 << 62, 1 << 62),
}


DECOMPOSITION_WORK = 16       # m^2 * n may be this many times the cube of decomposition_size


def size_needed(rows: int, columns: int) -> int:
    """The least s with m <= s and m^2 * n <= 16 * s^3, to be compared with decomposition_size [R7.7.1-12]."""
    m, n = sorted((rows, columns))
    s = m
    while DECOMPOSITION_WORK * s**3 < m * m * n:
        s += max(1, s // 64)
    while s > m and DECOMPOSITION_WORK * (s - 1) ** 3 >= m * m * n:
        s -= 1
    return s
