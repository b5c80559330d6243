"""What decoding costs, told by descriptors before anything is decoded: work and memory as numbers (SPEC A.3).

    work_of(d), memory_of(d)         of a tensor, by its descriptor
    excess_of(d)                     its work beyond what is allowed for the bytes that it puts out
    StreamCost                       the same of a stream, as far as it has been parsed

A unit of work is about a nanosecond of one core; memory is in bytes. Both follow from shapes, counts and tools alone,
never from the size of payloads, so that every decoder finds the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from .limits import Level
from .structures import DECOMPOSED, FACTORED, RANGE_CODED, Representation, TensorDescriptor

# Work
BYTE_WORK = 4          # of a byte of a tensor's words,
CODED_WORK = 16        # of an integer of a component that is coded,
RANGE_WORK = 100       # of one that is range coded,
MASK_WORK = 8          # of an element that a random mask may choose,
PRODUCTS = 4           # so many multiplications of factors are a unit,
FREE_WORK = 500        # allowed for each byte of a tensor's words: what is beyond it is excess;
UNIT_WORK = 1 << 17    # of a unit,
ITEM_WORK = 1 << 13    # of an entry of a list in a body,
BODY_WORK = 32         # of a byte of an expanded body that is not tensor data

# Memory, in bytes
WORD_FACTOR = 4        # per byte of a tensor's words,
LEVEL_BYTES = 24       # per level or index of a component,
COLUMN_BYTES = 80      # per column of a component of words,
PRODUCT_BYTES = 32     # per element of a matrix made of factors,
VECTOR_BYTES = 24      # per entry of a factor that is not coded, but made of a seed or of a decomposition,
SQUARE_BYTES = 40      # per square of the smaller side of a decomposed matrix;
ITEM_BYTES = 1 << 9    # per entry of a list in a body,
BODY_FACTOR = 2        # per byte of an expanded body that is not tensor data


def multiplications(d: TensorDescriptor) -> int:
    """In the product of factors of a tensor [R7.7.1-13]; 0 for one that has none."""
    gains = d.factor.gain_count_minus1 + 1 if d.representation == Representation.AUGMENTATION else 0
    return d.row_count * d.column_count * (d.factor.factor_rank + gains) if d.representation in FACTORED else 0


def decomposition_work(rows: int, columns: int) -> int:
    """Of the singular vectors of a matrix [8.6.7]."""
    m, n = sorted((rows, columns))
    return m * m * (n + 2 * m)


def work_of(d: TensorDescriptor) -> int:
    """Work of decoding a tensor, its predicting tensor not counted."""
    work = BYTE_WORK * d.word_count * d.word_bytes + multiplications(d) // PRODUCTS
    for c in d.component:
        work += c.word_count * c.coded_flag * (RANGE_WORK if c.entropy_mode in RANGE_CODED else CODED_WORK)
    if d.representation == Representation.RANDOM_MASK:
        work += MASK_WORK * d.word_count
    if d.component and d.representation in DECOMPOSED:
        work += decomposition_work(d.row_count, d.column_count)
    return work


def excess_of(d: TensorDescriptor) -> int:
    """Work of a tensor beyond what the bytes that it puts out are allowed."""
    return max(0, work_of(d) - FREE_WORK * d.word_count * d.word_bytes)


def memory_of(d: TensorDescriptor) -> int:
    """Bytes that decoding a tensor takes at most, besides a constant and its payloads; its words are among them."""
    need = WORD_FACTOR * d.word_count * d.word_bytes
    for c in d.component:
        need += COLUMN_BYTES * c.column_count if c.words_flag else LEVEL_BYTES * c.word_count
    if d.component and d.representation in FACTORED:
        rank = max(d.factor.factor_rank, d.factor.gain_count_minus1 + 1)
        need += PRODUCT_BYTES * d.word_count + VECTOR_BYTES * rank * (d.row_count + d.column_count)
    if d.component and d.representation in DECOMPOSED:
        need += SQUARE_BYTES * min(d.row_count, d.column_count) ** 2
    return need


@dataclass
class StreamCost:
    """Of the units of a stream that have been parsed.

    units: of any type.  items: entries of the lists in their bodies.  bodies: bytes of their expanded bodies that are
    not tensor data.  tensors: sum of the excess work of tensors.  largest: memory of the tensor data unit that takes
    most.
    """

    units: int = 0
    items: int = 0
    bodies: int = 0
    tensors: int = 0
    largest: int = 0

    def work(self) -> int:
        """Excess work: all that is not allowed for by bytes that tensors put out."""
        return UNIT_WORK * self.units + ITEM_WORK * self.items + BODY_WORK * self.bodies + self.tensors

    def memory(self) -> int:
        """Bytes for what has been parsed and for one tensor data unit at a time."""
        return ITEM_BYTES * self.items + BODY_FACTOR * self.bodies + self.largest

    def fits(self, level: Level) -> bool:
        """True if a level allows this."""
        return self.work() <= level.work and self.memory() <= level.memory

    def add_tensors(self, descriptors: list[TensorDescriptor]) -> None:
        """Count the tensors of a tensor data unit."""
        self.tensors += sum(map(excess_of, descriptors))
        self.largest = max(self.largest, sum(map(memory_of, descriptors)))
