"""Mutants that no stream can tell from the original: (file, old, new) to the reason."""

from __future__ import annotations

EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("entropy/words.py", 'magnitude - (negative << (dtype.bits - 1)))', 'magnitude + (negative << (dtype.bits - 1)))'):
        "2^(bits-1) and -2^(bits-1) are the same modulo 2^bits, and all that is made of them is taken modulo 2^bits",
    ("entropy/huffman.py", 'if entries > count:', 'if entries > count + 1:'):
        "each entry takes an element at least, so that the last of count + 1 lies outside the array: OUT_OF_RANGE, too",
    ("entropy/words.py", 'np.where((x < 0) & (x != top), -x | top, x)', 'np.where(x < 0, -x | top, x)'):
        "-top | top is top",
    ("entropy/payload.py", 'if count > ELEMENTS_PER_BYTE * coded_size:', 'if False:'):
        "says sooner, and before anything is allocated, what the end of the payload says anyway: ENTROPY_END (9.1.4)",
    ("bitstream/syntax.py", 'x.step_exponent, -1074, 970)', 'x.step_exponent, -1075, 970)'):
        "reconstruction finds the same step out of range: R8.5-5, OUT_OF_RANGE, too",
    ("bitstream/syntax.py", 'x.trellis_size, 3, 0, 5)', 'x.trellis_size, 3, 0, 7)'):
        "reconstruction has no trellis of so many states: OUT_OF_RANGE, too",
    ("reconstruction/decomposition.py", 'r = (float(d[at(i)]) - g) * s + 2.0 * c * b',
     'r = (float(d[at(i)]) - g) * s + c * b * 2.0'): "doubling is exact, before a product or after it",
    ("entropy/context_coding.py", '(3 * left + up + 4)', '(3 * up + left + 4)'):
        "nine contexts that start alike, each for one pair of signs, in another order",
}
