"""Streams of extremes, chosen by analysis: ties, subnormals, signed zeros and largest values of each quantiser and
type; runs that
take the estimator and the range coder to their ends; accumulators at their bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import UnitType
from refcodec.dtypes import BY_CODE, BY_NAME, DType
from refcodec.quantization.rounding import NARROW_FORMATS, supports

from .builder import Builder
from .edits import put
from .faults import Fault, fault
from .parts import (
    LEVEL_BLOCKS,
    MODES,
    WORD_BLOCKS,
    P,
    Q,
    R,
    decimal,
    direct,
    fixed_point,
    float_words,
    highest,
    integer_codebook,
    integers,
    levels,
    predicted,
    represented,
    uniform,
    words,
)
from .single import several
from .streams import Recipe

FORMATS = NARROW_FORMATS | {"float32": (127, 0x7F7FFFFF), "float64": (1023, 0x7FEFFFFFFFFFFFFF)}
TYPES = [t for t in BY_CODE.values() if t.parts == 1 and supports(t)]
MAX = (1 << 30) - 1


# Rounding: levels of steps that make values between two words of a type

def float_levels(t: DType) -> list[tuple[int, list[int]]]:
    """(exponent of the step, levels): what has every way of rounding to a float type."""
    bias, largest = FORMATS[t.name]
    m = t.mantissa
    least = 1 - bias - m                                            # exponent of the smallest subnormal
    top = (largest >> m) - bias - m                                 # exponent of the last bit of the largest value
    significand = (largest & (1 << m) - 1) | 1 << m
    small = [1, -1, 2, 3, -3, 4, 5, 6, 7, 9]                        # in half units: ties at the odd ones
    if m < 20:
        carry = [(1 << m + 2) - 1, (2 << m) + 1, (2 << m) + 3, -(2 << m) - 1]
        steps = [(least - 1, [*small, (1 << m + 2) - 1]), (least - 2, [1, 3, 5, -1, 7]), (least + 1, carry),
                 (top, [significand, -significand])]
        return [(e, [n for n in listed if abs(n) << max(0, e - top) <= significand << max(0, top - e)])
                for e, listed in steps]
    return [(max(least - 1, -1074), small), (top - 1 if m < 30 else top, [2 * significand if m < 30 else 1, -1])]


def integer_levels(t: DType) -> list[tuple[int, list[int]]]:
    """The same for an integer type: halves, and the ends of its range."""
    bits = 1 if t.name == "bool" else t.bits
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if t.kind == "i" else (0, (1 << bits) - 1)
    halves = [n for n in (1, -1, 3, 5, 7, -3, -5) if low <= round(n / 2) <= high]
    ends = [n for n in (low, high) if -(1 << 31) <= n < 1 << 31]
    return [(-1, halves), (0, ends), *([(63, [-1])] if t.name == "int64" else [])]


def rounded():
    """Uniform levels that are rounded in every way, in every type."""
    made = []
    for t in TYPES:
        for e, listed in float_levels(t) if t.kind == "f" else integer_levels(t):
            if listed and -1074 <= e <= 970:
                made.append((f"{t.name} 2^{e}", t.name, (len(listed), ),
                             direct(levels(np.array([listed]), uniform(1, e), MODES.RAW))))
    made.append(("uint32 2^32 - 1", "uint32", (1,), direct(levels(np.array([[65537]]), uniform(65535, 0)))))
    return made


def ends():
    """The largest value of each type, and the least, by a step that the faults double."""
    made = []
    for t in (t for t in TYPES if t.name not in ("float64",)):
        if t.kind == "f":
            e, listed = float_levels(t)[-1]
            values = [(e, listed[0])]
        else:
            bits = 1 if t.name == "bool" else t.bits
            values = [(0, (1 << bits - (t.kind == "i")) - 1), (0, -(1 << bits - 1)) if t.kind == "i" else (-1, -1)]
        if t.bits == 64 and t.kind != "f":
            values = [(62, 1), (63, -1)] if t.kind == "i" else [(63, 1), (-1, -1)]
        for e, n in values:
            part = levels(np.array([[65537 if t.name == "uint32" and n > 0 else n]]),
                          uniform(65535 if t.name == "uint32" and n > 0 else 1, e), MODES.RAW, 8)
            made.append((f"{t.name} {n}", t.name, (1,), direct(part)))
    return made


def faults() -> Iterator[Fault]:
    """Each value of ends( ), doubled: no word of its type has it."""
    for i, (name, t, _, coded) in enumerate(ends()):
        e, kind = coded.parts[0].component.uniform.step_exponent, BY_NAME[t].kind
        yield fault("R8.5-3" if kind == "f" else "R8.5-4",
                    f"beyond-{name.replace(' ', '').replace('-', 'minus').replace('_', '')}", "e-ends",
                    put(UnitType.TENSOR_DATA, "step_exponent", e + 1,
                        unit=i), "OVERFLOW", f"a value beyond the ends of {t}")


def quantised():
    """Ties, subnormals, -0 and the largest value by every quantiser, in float16, float32 and int8."""
    half = [1, -1, 3, 5, -3, 7]
    made = [("trellis", "float16", (6, ), direct(levels(np.array([half]), uniform(1, -25, 1)))),
            ("trellis largest", "float16", (1, ), direct(levels(np.array([[2047]]), uniform(1, 4, 1)))),
            ("decimal ties", "int8", (6, ), direct(levels(np.array([[5, -5, 15, 25, 35, -15]]), decimal(1)))),
            ("decimal ties of float16", "float16", (3, ), direct(levels(np.array([[20490, 20510, -20490]]),
                                                                        decimal(1)))),
            ("decimal subnormal", "float16", (3, ), direct(levels(np.array([[1, -1, 3000]]), decimal(8)))),
            ("decimal largest", "float16", (1, ), direct(levels(np.array([[655040]]), decimal(1)))),
            ("fixed point", "float16", (6, ), direct(levels(np.array([half]), fixed_point(9, 25)))),
            ("fixed point largest", "float16", (1, ), direct(levels(np.array([[2047]]), fixed_point(12, -5)))),
            ("integers", "float16", (6, ), direct(levels(np.arange(6)[None], integer_codebook(half, 0, 1, -25)))),
            ("integers largest", "float16", (1, ), direct(levels(np.array([[0]]), integer_codebook([2047, 1], 0, 1,
                                                                                                   5))))]
    halves = np.array([[0x0001, 0x0003, 0x0005, 0x8001, 0x8000, 0x3C00, 0x7BFF]], np.uint16)
    for name, scale in (("ties", 0x33800000 >> 1), ("subnormals", 0x00000001), ("half the least", 0x00800000),
                        ("ones", 0x3F800000), ("2^-127", 0x00400000), ("largest", 0x7F7FFFFF)):
        w = halves if name != "largest" else np.array([[0x3C00, 0x0000, 0x8000]], np.uint16)
        part = words("float16", w, quantiser=Q.GRID, scales=int(scale).to_bytes(4, "little"))
        made.append((f"grid {name}", "float32", w.shape, direct(part)))
    for name, e in (("factors", -13), ("factors largest", 2)):
        left, right = (np.array([[1], [3], [5], [-1]]), np.array([[1, -1, 3]])) if e < 0 else (np.array([[2047]]),
                                                                                               np.array([[1]]))
        parts = [levels(left, uniform(1, e)), levels(right, uniform(1, -12 if e < 0 else 3))]
        made.append((name, "float16", (left.shape[0], right.shape[1]), represented(R.LOW_RANK, parts, factor_rank=1)))
    return made


def sums(b: Builder) -> None:
    """Residuals added to predictions: ties of the sum in float64 and in float32, NaN and infinities, -0 and what
    cancels."""
    base = np.array(
        [[0x3FF0000000000000, 0x7FF8000000000001, 0x8000000000000000, 0x7FF0000000000000, 0xBFF0000000000000, 1]],
        np.uint64)
    b.model("sums", [(f"w{i}", "float64", (6, )) for i in range(4)] + [("int64", "int64", (3, )),
                                                                       ("difference", "int64", (3, ))])
    b.tensors((0, direct(words("float64", base))))
    for i, (m, e, n) in enumerate(
        ((1, -53, [1, 1, 0, 1, -1, 0]), (3, -53, [1, -1, 0, 1, 1, 0]), (1, 0, [-1, 0, 0, 0, 1, 0])), 1):
        b.tensors((i, predicted(levels(np.array([n]), uniform(m, e)), P.INTRA, 0, -i)))
    b.tensors((4, direct(words("int64", np.array([[2**53 + 1, 2**63 - 2048, 2**64 - 2**62]], np.uint64)))))
    b.tensors((5, predicted(levels(np.array([[0, -1, 1]]), uniform(1, 0)), P.INTRA, 0, -1)))
    b.end_model()
    b.end()


# Arithmetic coding

def runs() -> list[tuple]:
    """Long runs of one value with a surprise at their end: probabilities at both ends, carries, the smallest ranges."""
    made = []
    for usual, odd in ((0, -MAX), (0, MAX), (-1, 0), (3, -MAX), (-MAX, 0), (1, MAX)):
        n = np.full((1, 1000), usual)
        n[0, 700], n[0, 900:903], n[0, -1] = odd, odd, odd
        made.append((f"levels {usual} {odd}", "float64", n.shape, direct(levels(n, uniform(1, -40)))))
    for name, usual, odd in (("words", 0, 0x7F7FFFFF), ("words again", 0x3F800000, 0)):
        w = np.full((1, 2000), usual, np.uint32)
        w[0, 1500], w[0, 1800:1803], w[0, -1] = odd, odd, odd
        for mode in WORD_BLOCKS:
            made.append((f"{name} {mode.name}", "float32", w.shape, direct(words("float32", w, mode))))
    return made


def surprises(mode: MODES):
    """Levels whose signs and sizes turn against what was learned, at growing distances."""
    def tensors():
        made = []
        for k, (usual, odd) in enumerate(((0, -MAX), (5, -5), (-MAX, MAX), (1, 0), (-2, 2**29))):
            n = np.full((2, 200), usual, np.int64)
            for j in range(1, 14):
                n[0, j * (j + 1)] = odd
            n[1] = n[0, ::-1]
            made.append((f"{usual} {odd}", "float64", n.shape, direct(levels(n, uniform(1, -40), mode,
                                                                             dtype="float64"))))
            n = np.where(integers(500 + k, (68, 6), 0, 9) == 0, odd, usual)
            made.append(
                (f"{usual} {odd} tall", "float64", n.shape, direct(levels(n, uniform(1, -40), mode, dtype="float64"))))
        ramp = np.array([[(-1) ** (i // 3) * min(MAX, 1 << i % 31) for i in range(200)]])
        for k, size in enumerate((1, 5)):
            n = np.where(
                integers(560 + k, (40, 5), 0, 11) == 0, 0, np.where(integers(562 + k, (40, 5), 0, 2) == 0, MAX, -MAX))
            made.append(
                (f"largest {size}", "float64", n.shape, direct(levels(n, uniform(1, -40, size), mode,
                                                                      dtype="float64"))))
        made.append(("ramp", "float64", ramp.shape, direct(levels(ramp, uniform(1, -40), mode, dtype="float64"))))
        return made
    return several(tensors)


def single_bytes():
    """Payloads of one byte: few elements that are likely."""
    return [(f"{m.name} {i}", "float32", (1, i + 1), direct(levels(np.full((1, i + 1), k), uniform(), m)))
            for m in (MODES.CC, ) for i, k in enumerate((0, 0, 0, 0))]


def repeats():
    """Words that repeat earlier ones in the same and in the opposite order, in runs of all lengths, with other
    signs."""
    base, made = float_words(510, (40,)), []
    parts = [base]
    for length in range(1, 20):
        parts += [base[5 : 7 + length], float_words(511 + length, (1,))]
        parts += [base[20 : 8 + (20 - length) % 12 : -1][: length + 2], float_words(540 + length, (1,))]
        parts += [base[5 : 7 + length] ^ np.uint32(0x80000000), float_words(570 + length, (1,))]
    flat = np.concatenate(parts)
    made.append(("order", "float32", (1, flat.size), direct(words("float32", flat[None], repeats=1))))
    tail = np.concatenate(
        [base[:4], base[3::-1],
         np.zeros(3, np.uint32), base[:4],
         np.zeros(3, np.uint32), base[3::-1]])
    made.append(("start", "float32", (1, tail.size), direct(words("float32", tail[None], repeats=1, signs=2))))
    far = np.concatenate([base[:3], integers(512, (1021,), 1, 1 << 30).astype(np.uint32), base[:3]])
    made.append(("window", "float32", (1, far.size), direct(words("float32", far[None], repeats=1))))
    shifted = np.concatenate([base[:9], base[:9]]) >> np.uint32(6) << np.uint32(6)
    made.append(
        ("shifts", "float32", (2, 9), direct(words("float32", shifted.reshape(2, 9), repeats=1, row_shifts=1,
                                                   shift=4))))
    return made


def far_words(b: Builder) -> None:
    """Words that repeat others at the edge of the largest window, and beyond it."""
    base = float_words(514, (10,)) | np.uint32(0x3C000000)
    w = np.concatenate([base, np.zeros(65530, np.uint32), base[:3:-1], base[:3]])
    b.model("far", [("w", "float32", w.shape)])
    b.tensors((0, direct(words("float32", w[None], repeats=1))))
    b.end_model()
    b.end()


def long_words():
    """More words than the windows of the means hold, in one row and in one column."""
    w = float_words(520, (1100,))
    made = [(f"{mode.name} {shape}", "float32", shape, direct(words("float32", w.reshape(shape), mode)))
            for mode in WORD_BLOCKS for shape in ((1, 1100), (1100, 1))]
    steady = [("steady", "float32", (20, 20), direct(words("float32", w[:400].reshape(20, 20), scale_rule=2,
                                                           trailing=1)))]
    n = np.array([[i % 7 - 3 for i in range(200)]])
    return made + steady + [(f"levels {n.T.shape if flip else n.shape}", "float32", n.T.shape if flip else n.shape,
                             direct(levels(n.T if flip else n, uniform(), MODES.CC))) for flip in (0, 1)]


def long_codes():
    """Huffman codes longer than ten bits, of values and of indices; several codes of indices; gaps with extra bits."""
    counts = [1 << max(0, 11 - i) for i in range(14)]                 # a code of up to 13 bits
    flat = np.concatenate([np.full(c, i + 1) for i, c in enumerate(counts)])
    order = np.argsort(integers(530, (flat.size,), 0, 1 << 40), kind="stable")
    sparse = np.zeros(6000, np.int64)
    position = 0
    for i in range(300):
        position += 1 + int(integers(531 + i, (1,), 0, 3 if (i // 30) % 2 else 40)[0])
        sparse[min(position, 5999)] = 1 + i % 3
    return [("values", "float32", (1, flat.size), direct(levels(flat[order][None], uniform(), MODES.HUFFMAN))),
            ("indices", "float32", (1, sparse.size), direct(levels(sparse[None], uniform(), MODES.HUFFMAN))),
            ("nothing", "float32", (1, 9), direct(levels(np.zeros((1, 9)), uniform(), MODES.HUFFMAN)))]


def recipes() -> Iterator[Recipe]:
    """All streams of this module."""
    yield Recipe("e-rounding", "levels whose values are rounded in every way, in every type", several(rounded),
                 kind="limit")
    yield Recipe("e-ends", "the largest and the least value of each type", several(ends), kind="limit")
    yield Recipe("e-quantisers", "ties, subnormals, -0 and the largest value by every quantiser", several(quantised),
                 kind="limit", profile=Profile.MAIN)
    yield Recipe("e-sums",
                 "residuals added to predictions: ties of the sums, NaN, infinities, -0, integers beyond 2^53", sums,
                 kind="limit")
    yield Recipe("e-runs", "long runs and a surprise: the estimator at both ends, the smallest ranges, carries",
                 several(runs), kind="limit", profile=highest(WORD_BLOCKS))
    for m in LEVEL_BLOCKS:
        yield Recipe(f"e-surprises-{m.name.lower()}", f"levels against what was learned, {m.facts.called}",
                     surprises(m), kind="limit", profile=max(Profile.MAIN, m.facts.profile))
    yield Recipe("e-bytes", "payloads of one byte", several(single_bytes), kind="limit")
    yield Recipe("e-repeats", "repeated words in both orders, runs of all lengths, both signs, beyond the window",
                 several(repeats), kind="limit")
    yield Recipe("e-far", "words that repeat others at the edge of the largest window, and beyond it", far_words,
                 kind="limit")
    yield Recipe("e-windows", "more words and levels than the windows of the means hold", several(long_words),
                 kind="limit", profile=highest(WORD_BLOCKS))
    yield Recipe("e-codes", "Huffman codes longer than ten bits, several codes of indices, no entry at all",
                 several(long_codes), kind="limit")
