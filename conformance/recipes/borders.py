"""Streams at the borders of sizes, windows and words that few streams come near; the parents of border_faults.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream import syntax
from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.structures import (
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    Metadata,
    MetadataEntry,
    UnitCoding,
    UnitType,
)
from refcodec.bitstream.units import DICTIONARY_SIZE, leb, seal
from refcodec.dtypes import BY_CODE, DType
from refcodec.encoder.stream_writer import body_of

from .builder import Builder
from .byte_coders import deflate, low_first
from .huffman_scripts import first_value, given, huffman, table
from .parts import (
    MODES,
    P,
    R,
    any_words,
    codebook,
    decimal,
    direct,
    fixed_point,
    float_words,
    integer_codebook,
    integers,
    levels,
    predicted,
    represented,
    uniform,
    words,
)
from .scripts import u, ue
from .single import several
from .streams import Recipe

SIMPLE_TYPES = [t for t in BY_CODE.values() if t.parts == 1]
FLOATS = [t for t in SIMPLE_TYPES if t.kind == "f"]


# Units

def model_of_one(b: Builder) -> None:
    b.model("m", [("w", "int8", (2,))])
    b.tensors((0, direct(words("int8", np.array([[3, 4]], np.uint8)))))


def longest_leb(b: Builder) -> None:
    """Extension units whose expanded_size, which nobody looks at, has nine bytes: 2^56 and 2^63 - 1."""
    model_of_one(b)
    for coding, size in ((UnitCoding.DEFLATE, 1 << 56), (UnitCoding.LZMA, (1 << 63) - 1), (UnitCoding.DEFLATE_HEADER,
                                                                                           (1 << 56) - 1)):
        b.data += seal(bytes([33 << 2 | coding]) + leb(1) + leb(size), b"x")
        b.units += 1
    b.end_model()
    b.end()


def largest_body(b: Builder) -> None:
    """A metadata unit of exactly as many bytes as level 1 allows."""
    model_of_one(b)
    size = LEVELS[1].unit_bytes
    near = size - 64
    rest = len(body_of(syntax.metadata, Metadata(1, [MetadataEntry("k", near, bytes(near))]), b.level)) - near
    b.metadata({"k": bytes(size - rest)}, UnitCoding.LZMA)
    b.end_model()
    b.end()


def far_dictionary(b: Builder) -> None:
    """A metadata body whose first three bytes are those at the far end of the preset dictionary."""
    body = body_of(syntax.metadata, Metadata(1, [MetadataEntry("k", 1, b"v")]), b.level)
    text = body[:3].decode()                                # 'Hk@', of which the names of the tensors are made
    for pad in range(3):
        names = [(text * 84)[pad:] + f"{i:x}" for i in range(130)]
        trial = Builder(b.profile)
        trial.model("", [(name, "int8", (0,)) for name in names])
        if trial.header_body[-DICTIONARY_SIZE:].startswith(body[:3]):
            break
    b.model("", [(name, "int8", (0,)) for name in names], coding=UnitCoding.DEFLATE)
    empty = np.zeros((1, 0), np.uint8)
    b.tensors(*[(i, direct(words("int8", empty))) for i in range(len(names))])
    match = "0000001" + f"{29:05b}" + low_first((1 << 13) - 1, 13)         # a length of 3, the distance 32768
    literals = "".join(f"{0x30 + byte:08b}" if byte < 144 else f"{0x190 + byte - 144:09b}" for byte in body[3:])
    b.sealed(UnitType.METADATA, UnitCoding.DEFLATE_HEADER, deflate("1" + low_first(1, 2) + match + literals + "0" * 7),
             body)
    b.end_model()
    b.end()


# Payloads

def far_matches(b: Builder) -> None:
    """LZMA2 references over more than 4096 bytes, in a payload and in a unit."""
    once = bytes(range(1, 65))
    data = once + bytes(5000) + once
    b.model("m", [("w", "uint8", (len(data),))])
    b.tensors((0, direct(words("uint8", np.frombuffer(data, np.uint8)[None], MODES.LZMA))))
    b.metadata({"far": data}, UnitCoding.LZMA)
    b.end_model()
    b.end()


def many_per_byte(b: Builder) -> None:
    """More than 8192 zeros of each byte of a payload, alone and joined. The limit is 11398 (SPEC 9.1.4)."""
    shape = (1, 17000)
    b.model("zeros", [(f"{i}", "float32", shape) for i in range(3)])
    b.tensors((0, direct(levels(np.zeros(shape), uniform()))))
    b.tensors(*[(i, direct(levels(np.zeros(shape), uniform()))) for i in (1, 2)])
    b.end_model()
    b.end()


DEEP = [*range(1, 21), 20]                                  # lengths of a code with two codewords of 20 bits


def codeword(rank: int) -> str:
    return "1" * rank + ("0" if rank < 20 else "")


def deep_codes():
    """Codewords of 19 and 20 bits for values and indices; entries of 54 bits, which 14 extra bits are a part of."""
    values = table(21, first_value(1, 2), ue(20), DEEP)
    near = huffman(values, 21, 15, (), [table(21, ue(0), ue(20), DEEP)],
                   [codeword(i) + codeword(v) for i, v in ((20, 20), (19, 18), (0, 20), (18, 19), (20, 0))], 96)
    far = huffman(values, 1 << 16, 1, (), [table(21, ue(11), ue(20), DEEP)],
                  [codeword(20) + u((1 << 14) - 1, 14) + codeword(20), codeword(0) + u(5, 4) + codeword(19)], 66000)
    return [("near", "float32", (8, 12), given(uniform(), "float32", near)),
            ("far", "float32", (66000, ), given(uniform(), "float32", far))]


def index_borders():
    """Bounds at the last index of their symbol, one before it and one after it."""
    made = []
    for precision, bound in ((0, 8), (1, 12), (2, 16), (2, 10), (2, 15), (2, 17), (0, 9), (0, 7), (15, 4)):
        last, extra = last_symbol(bound, precision)
        entries = ["0" + "10", "1" + u((1 << extra) - 1 if bound != 17 else 0, extra) + "11"]
        payload = huffman(bound=bound, precision=precision, indices=(table(2, ue(0),
                                                                           ue(0) + u(0, 6) + ue(last - 2), [1, 1]), ),
                          entries=entries, count=60)
        made.append((f"{precision} {bound}", "float32", (60,), given(uniform(), "float32", payload)))
    return made


def last_symbol(bound: int, precision: int) -> tuple[int, int]:
    """The symbol of the bound, and its extra bits: those that the indices up to the bound need."""
    v = bound - 1
    extra = max(v.bit_length() - precision - 1, 0)
    return (extra << precision) + (v >> extra), (v & ((1 << extra) - 1)).bit_length()


def far_repeats():
    """Words that repeat ones more than 2^15 words back, and ones beyond the window of 2^16."""
    w = np.zeros((1, 66010), np.uint32)
    w[0, :3] = w[0, 66000:66003] = 0x3F800001, 0x40000003, 0x40400007
    w[0, 20000:20003] = w[0, 66004:66007] = 0x3F812345, 0x40054321, 0x40456789
    return [("far", "float32", w.shape, direct(words("float32", w, repeats=1)))]


def adaptive_windows():
    """Rows, columns and planes of more coded elements than their windows hold; words and maps."""
    t, made = "float8_e5m2", []
    for i, (rows, columns) in enumerate(((2, 140), (300, 2), (40, 30))):
        for rule in (0, 1) if rows < columns else (0,):
            w = float_words(700 + i, (rows, columns), t) | np.uint8(1)
            made.append((f"words {rows} {columns} {rule}", t, w.shape, direct(words(t, w, scale_rule=rule))))
        n = integers(710 + i, (rows, columns), 1, 15) << integers(720 + i, (rows, columns), 0, 9)
        made.append((f"integers {rows} {columns}", "int16", n.shape, direct(words("int16", n.astype(np.uint16)))))
    planes = float_words(730, (3 * 23, 23), t) | np.uint8(1)
    return [*made, ("map", t, (3, 23, 23), direct(words(t, planes.reshape(3, 529), MODES.MAP))),
            ("planes", t, (69, 23), direct(words(t, planes, MODES.MAP)))]


# Words

def signed_zeros(t: DType) -> np.ndarray:
    """0, -0, 1 and -1 units, the ends of a float type: words that stand next to each other in its order."""
    top = 1 << t.bits - 1
    return np.array([0, top, 1, top | 1, top - 1, 2 * top - 1, 2, top | 2], t.word)


def zero_order(b: Builder) -> None:
    """Each of these words predicted from each, in every float type, by differences and in a map."""
    modes = (MODES.CC, MODES.FIXED, MODES.MAP)
    pairs = {t.name: np.meshgrid(signed_zeros(t), signed_zeros(t)) for t in FLOATS}
    b.model("order",
            [(f"{t.name} {part}", t.name, (8, 8)) for t in FLOATS for part in ("from", *(m.name for m in modes))])
    for k, t in enumerate(FLOATS):
        before, after = pairs[t.name]
        b.tensors((4 * k, direct(words(t, before, MODES.FIXED))))
        for i, mode in enumerate(modes, 1):
            b.tensors((4 * k + i, predicted(words(t, after, mode, predictor=before), P.INTRA, 0, -i)))
    b.end_model()
    b.end()


def predicted_maps(b: Builder) -> None:
    """Maps of any words, predicted from words of which two in three are the same, in every type that maps may have."""
    b.model("maps", [(f"{t.name} {part}", t.name, (4, 6)) for t in SIMPLE_TYPES for part in ("from", "map")])
    for k, t in enumerate(SIMPLE_TYPES):
        before, other = any_words(730 + t.code, t.name, (4, 6)), any_words(760 + t.code, t.name, (4, 6))
        after = np.where(integers(790 + t.code, (4, 6), 0, 2) == 0, other, before).astype(t.word)
        b.tensors((2 * k, direct(words(t, before, MODES.FIXED))))
        b.tensors((2 * k + 1, predicted(words(t, after, MODES.MAP, predictor=before), P.INTRA, 0, -1)))
    b.end_model()
    b.end()


def largest_shift(t: DType) -> int:
    return t.mantissa if t.kind == "f" else t.bits - 1


def shifted(t: DType) -> np.ndarray:
    """Words of which only the bits above the largest shift vary."""
    w = (integers(t.code + 800, (2, 3 * t.parts), 0, 1) << (1 if t.kind == "f" else 0)).astype(t.word)
    w[0, 0], w[1, 1] = 1, 0
    return w << t.word.type(largest_shift(t))


def word_shifts():
    return [(t.name, t.name, (2, 3), direct(words(t, shifted(t), shift=largest_shift(t)))) for t in SHIFTED]


def map_shifts():
    return [(t.name, t.name, (2, 3), direct(words(t, shifted(t), MODES.MAP))) for t in SHIFTED]


SHIFTED = [t for t in SIMPLE_TYPES if t.name != "bool"]


# Values

def non_finite(t: DType) -> np.ndarray:
    """Words [2, 6] of a float type: NaN and infinities of both signs, among ordinary ones."""
    top, exponent = 1 << t.bits - 1, ((1 << t.exponent) - 1) << t.mantissa
    ones = float_words(820 + t.code, (12,), t.name)
    ones[[1, 4, 7, 8]] = exponent, exponent | 1, top | exponent, top | exponent | (1 << t.mantissa) - 1
    return ones.reshape(2, 6)


def bad_predictions(b: Builder) -> None:
    """Residuals of every quantiser that has a prediction, added to NaN and infinities, which predict 0."""
    types = [
        t for t in FLOATS if t.name in ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
    ]
    n = np.array([[0, 1, -1, 2, 3, -2], [1, -3, 0, 2, -1, 1]])
    makers = (lambda: uniform(1, -2), lambda: uniform(1, -2, 1), lambda: decimal(1), lambda: fixed_point(3, 1),
              lambda: integer_codebook([-3, -2, -1, 0, 1, 2, 3], 3, 1, -2))
    b.model("references", [(t.name, t.name, (2, 6)) for t in types])
    for i, t in enumerate(types):
        b.tensors((i, direct(words(t, non_finite(t), MODES.RAW))))
    b.end_model()
    b.model("predicted", [(f"{t.name} {k}", t.name, (2, 6)) for t in types for k in range(len(makers) + 1)], [1])
    for i in range(len(types)):
        first = (len(makers) + 1) * i
        for k, make in enumerate(makers):
            b.tensors((first + k, predicted(levels(n, make()), P.INTER, 1, i - first - k)))
        parts = [levels(np.array([[1], [2]]), uniform(1, -1)), levels(n[:1], uniform(1, -1))]
        last = first + len(makers)
        b.tensors((last, represented(R.LOW_RANK, parts, P.INTER, 1, i - last, factor_rank=1)))
    b.end_model()
    b.end()


WIDTHS = (1, 2, 9, 16, 31)


def wide_by_one():
    """Levels just beyond a width, of one bit more: 2^(w - 1) and -2^(w - 1) - 1."""
    return [(f"{w} {n} {mode.name}", "float64", (1, 2), direct(levels(np.array([[n, 0]]), fixed_point(w + 1, 0), mode)))
            for w in WIDTHS for n in (1 << w - 1, -(1 << w - 1) - 1)
            for mode in ((MODES.RAW,) if w > 30 else (MODES.RAW, MODES.CC))]


def codebook_ends():
    """The first and the last entry of codebooks, zero_index in their middle."""
    n = np.array([[-2, 2, 0, 1]])
    return [("words", "int8", (4,), direct(levels(n, codebook(np.arange(5, dtype=np.uint8) + 7, 2)))),
            ("integers", "float32", (4,), direct(levels(n, integer_codebook([-9, -4, 0, 4, 9], 2))))]


# Folds

def cyclic_folds(b: Builder) -> None:
    """Four axes in cycles of three and four, of words and of complex words, scanned by rows and by columns."""
    orders, shape = [(1, 2, 0, 3), (3, 0, 1, 2), (1, 2, 3, 0), (2, 0, 3, 1)], (2, 3, 2, 3)
    made = [(f"{t} {order} {scan}", t, FoldParameters(2, list(order), 1), scan)
            for t, some in (("uint8", orders), ("complex64", orders[:2])) for order in some for scan in (0, 1)]
    b.model("folds", [(name, t, shape) for name, t, _, _ in made])
    b.layers(LayerDescriptors(len(made), [LayerDescriptor(name, "", "Conv", 1, [LayerTensor(i, i, 1, f)])
                                          for i, (name, _, f, _) in enumerate(made)]))
    for i, (_, t, f, scan) in enumerate(made):
        rows = shape[f.axis[0]] * shape[f.axis[1]]
        sides = (rows, 36 // rows)[:: 1 - 2 * scan]
        b.tensors((i, direct(words(t, any_words(840 + i, t, (sides[0], sides[1] * (1 + (t == "complex64"))))), scan)))
    b.end_model()
    b.end()


def four_references(b: Builder) -> None:
    """As many references as level 1 allows, to models of which there are more."""
    for i in range(6):
        distances = list(range(1, min(i, LEVELS[1].references) + 1))
        b.model(f"{i}", [("w", "int8", (2,))], distances)
        b.tensors((0, direct(words("int8", np.array([[i, 9]], np.uint8)))))
        b.end_model()
    b.end()


def recipes() -> Iterator[Recipe]:
    """All streams of this module."""
    yield Recipe("b-leb", "leb(v) of eight and nine bytes: the sizes of extension units", longest_leb, kind="extension")
    yield Recipe("b-body", "a unit body of exactly as many bytes as level 1 allows", largest_body, kind="limit")
    yield Recipe("b-dictionary", "the first byte of a preset dictionary of 32768 bytes", far_dictionary, kind="limit")
    yield Recipe("b-lzma-far", "LZMA2 references over more than 4096 bytes", far_matches)
    yield Recipe("b-elements", "more than 8192 elements of a coded byte", many_per_byte)
    yield Recipe("b-huffman-deep", "codewords of 20 bits of values and of indices", several(deep_codes), kind="limit")
    yield Recipe("b-huffman-bounds", "bounds at the last index of their symbol, before and after it",
                 several(index_borders))
    yield Recipe("b-repeats", "repeats of words more than 2^15 and more than 2^16 back", several(far_repeats),
                 kind="limit")
    yield Recipe("b-windows", "rows, columns and planes longer than the windows of their means",
                 several(adaptive_windows))
    yield Recipe("b-zeros", "0, -0 and their neighbours predicted from each other, in every float type", zero_order)
    yield Recipe("b-maps", "maps of every type predicted from words of any bits", predicted_maps)
    yield Recipe("b-word-shifts", "the largest word_shift of every type", several(word_shifts), kind="limit")
    yield Recipe("b-map-shifts", "the largest map_shift of every type", several(map_shifts), kind="limit")
    yield Recipe("b-predictions", "NaN and infinities as predictions, every quantiser", bad_predictions,
                 profile=Profile.MAIN)
    yield Recipe("b-widths", "levels that a fixed-point width of one bit less cannot hold", several(wide_by_one))
    yield Recipe("b-codebooks", "the first and the last entry of a codebook", several(codebook_ends),
                 profile=Profile.MAIN)
    yield Recipe("b-folds", "folds of four axes that are not their own inverses, complex ones and column scans too",
                 cyclic_folds)
    yield Recipe("b-references", "as many references as level 1 allows", four_references, kind="limit")
