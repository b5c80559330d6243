"""What decoding a tensor costs, told from its descriptor before anything is decoded (SPEC A.2)."""

from __future__ import annotations

from ..bitstream.structures import DECOMPOSED, FACTORED, RANGE_CODED, Representation, TensorDescriptor

# Units of work, of about a nanosecond each on one processor: for each
BYTE = 4                   # byte of the tensor's words: it is made, hashed and put out
ELEMENT = 16               # integer of a component that is coded in bits or bytes
RANGE_ELEMENT = 100        # integer of a component that is range coded
MASK_ELEMENT = 8           # element that a random mask may choose
PRODUCTS = 8               # so many multiplications of factors are one unit
ROTATIONS = (5, 8)         # m * m * n of a decomposition, times this fraction


def work_of(d: TensorDescriptor) -> int:
    """Units of work that decoding one tensor takes, without what it is predicted from."""
    work = BYTE * d.word_count * d.word_bytes
    for c in d.component:
        if c.coded_flag:
            work += c.word_count * (RANGE_ELEMENT if c.entropy_mode in RANGE_CODED else ELEMENT)
    if d.component and d.representation in FACTORED:
        work += d.word_count * (d.factor.factor_rank + d.factor.gain_count_minus1 + 1) // PRODUCTS
    if d.representation in DECOMPOSED:
        m, n = sorted((d.row_count, d.column_count))
        work += m * m * n * ROTATIONS[0] // ROTATIONS[1]
    if d.representation == Representation.RANDOM_MASK:
        work += MASK_ELEMENT * d.word_count
    return work
