"""Valid streams: element types, parameters of words, folds, joined units, models, units, limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream import syntax
from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.structures import (
    BYTES, ActivationFormat, FileEntry, FoldParameters, LayerDescriptor, LayerDescriptors, LayerTensor, Metadata,
    MetadataEntry, SegmentEntry, Topology, UnitCoding, UnitType,
)
from refcodec.dtypes import BY_CODE, BY_NAME
from refcodec.encoder.stream_writer import body_of
from refcodec.model import Model, Tensor

from .builder import Builder
from .parts import (
    MODES, P, R, any_words, codebook, copy, decimal, direct, fixed_point, float_words, integer_codebook, integers,
    levels, predicted, represented, small_levels, spatial, uniform, words,
)
from .streams import External, Recipe

WORD_MODES = (MODES.RAW, MODES.CC, MODES.MAP, MODES.HUFFMAN, MODES.FIXED, *BYTES)
FINE_TYPES = [t for t in BY_CODE.values() if t.parts == 1 and t.name != "float8_e8m0fnu"]     # that levels can be rounded to


def single(b: Builder, shape: tuple[int, ...], coded, dtype: str = "float32") -> None:
    """A whole model of one tensor."""
    b.model("m", [("w", dtype, shape)])
    b.tensors((0, coded))
    b.end_model()


def simple(shape: tuple[int, ...], make, dtype: str = "float32"):
    """A stream of one model of one tensor; make() gives its coding."""
    def write(b: Builder) -> None:
        single(b, shape, make(), dtype)
        b.end()
    return write


def several(tensors):
    """A stream of one model; tensors: () to a list of (name, element type, shape, coding)."""
    def write(b: Builder) -> None:
        made = tensors()
        b.model("m", [t[:3] for t in made])
        for i, t in enumerate(made):
            b.tensors((i, t[3]))
        b.end_model()
        b.end()
    return write


def external_models() -> External:
    """The models outside the streams that some refer to, by name."""
    arrays = [("w", any_words(31, "float32", (6, 8)) & np.uint32(0x3FFFFFFF)), ("n", any_words(32, "int16", (5,)))]
    return {"old": Model([Tensor(n, w.view(BY_NAME["float32" if n == "w" else "int16"].numpy)) for n, w in arrays], "old")}


# Element types

def all_types(mode: MODES):
    def tensors():
        made = []
        for t in BY_CODE.values():
            if mode == MODES.MAP and t.parts != 1:
                continue
            w = any_words(t.code, t.name, (4, 6 * t.parts))
            if mode == MODES.HUFFMAN and t.bits == 64:
                w = w >> np.uint64(2)
            made.append((t.name, t.name, (4, 6), direct(words(t, w, mode, planes=mode in (MODES.DEFLATE, MODES.BZIP2)))))
        return made
    return several(tensors)


def all_types_of_levels(make):
    def tensors():
        made = []
        for t in FINE_TYPES:
            low, high = (0, 1) if t.kind == "u" else (-2, 1) if t.name == "int2" else (-3, 3)
            made.append((t.name, t.name, (3, 5), direct(levels(integers(t.code, (3, 5), low, high), make()))))
        return made
    return several(tensors)


def types_of_codebooks():
    made = []
    for t in BY_CODE.values():
        entries = any_words(t.code + 400, t.name, (3,))
        made.append((t.name, t.name, (3, 5), direct(levels(integers(t.code, (3, 5 * t.parts), -1, 1), codebook(entries, 1)))))
    return made


# Words

def word_parameters():
    floats, n = float_words(60, (6, 10)), any_words(61, "int32", (6, 10))
    magnitudes, shifts = floats & np.uint32(0x7FFFFFFF), np.array([0, 3, 8, 12, 5, 0], np.uint32)[:, None]
    rows = [("signs 0", "float32", magnitudes, {"signs": 0}), ("signs 2", "float32", floats, {"signs": 2}),
            ("no zeros", "float32", floats | np.uint32(0x3C000001), {"zeros": 0}),
            ("scale 1", "float32", floats, {"scale_rule": 1}), ("scale 2", "float32", floats, {"scale_rule": 2}),
            ("shift", "float32", floats >> np.uint32(13) << np.uint32(13), {"shift": 13}),
            ("row shifts", "float32", floats >> shifts << shifts, {"row_shifts": 1}),
            ("trailing", "float32", floats >> np.uint32(9) << np.uint32(9), {"trailing": 1}),
            ("repeats", "float32", np.vstack([floats[:3], floats[:3]]), {"repeats": 1}),
            ("offset", "int32", n, {"offset": 0xFFFFFF00}), ("integer shift", "int32", n << np.uint32(4), {"shift": 4}),
            ("integer rows", "int32", n >> shifts << shifts, {"row_shifts": 1, "signs": 2}),
            ("largest shift", "int32", n << np.uint32(31), {"shift": 31})]
    return [(name, t, (6, 10), direct(words(t, w, **p))) for name, t, w, p in rows]


def constants():
    """Words that are all the same, all zero, the extremes of their types."""
    made = []
    for t in BY_CODE.values():
        for name, word in (("zeros", 0), ("ones", (1 << t.bits) - 1), ("sign", 1 << t.bits - 1)):
            for mode in (MODES.CC, MODES.FIXED):
                w = np.full((2, 3 * t.parts), word, t.word)
                made.append((f"{t.name} {name} {mode.name}", t.name, (2, 3), direct(words(t, w, mode))))
    return made


# Shapes, folds and scans

def shapes():
    return [(f"{list(shape)} {scan}", "float32", shape, direct(words("float32", float_words(70 + i, (rows, columns)[:: 1 - 2 * scan])), scan))
            for i, (shape, rows, columns) in enumerate([((), 1, 1), ((5,), 1, 5), ((1, 1), 1, 1), ((0, 7), 0, 7), ((3, 0), 3, 0),
                                                        ((4, 3, 2, 2), 4, 12), ((2, 1, 2, 1, 2, 1, 2, 1), 2, 8)])
            for scan in (0, 1)]


def folds(b: Builder) -> None:
    """Folds of three axes in all orders, with kernels, by levels and words, and a spatial one with planes."""
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    shape = (4, 3, 6)
    b.model("folds", [(f"w{i}", "float32", shape) for i in range(8)])
    folds = [FoldParameters(1 + i % 2, list(order), (1, 3, 4, 2)[i % 4]) for i, order in enumerate(orders)]
    folds += [FoldParameters(2, [0, 1, 2], 1), FoldParameters(0, [2, 1, 0], 65535)]
    layers = [LayerDescriptor(f"layer{i}", "", "Conv", 1, [LayerTensor(i, i, 1, f)]) for i, f in enumerate(folds)]
    layers.append(LayerDescriptor("integers", "ai.onnx", "Gemm", 1, [LayerTensor(7, 13)], 1, ActivationFormat(1, 8, -3, 64)))
    b.layers(LayerDescriptors(len(layers), layers))
    for i, f in enumerate(folds):
        n = small_levels(80 + i, _sides(shape, f))
        if i == 6:
            b.tensors((i, spatial(levels(n, uniform()), 2)))
        else:
            b.tensors((i, direct(levels(n, uniform(), kernel_size=f.kernel_size))))
    b.end_model()
    b.end()


def _sides(shape: tuple[int, ...], f: FoldParameters) -> tuple[int, int]:
    rows = int(np.prod([shape[a] for a in f.axis[: f.row_axis_count]], dtype=np.int64))
    return rows, int(np.prod(shape)) // rows


def kernels(mode: MODES):
    return several(lambda: [(f"conv{k}", "float32", (6, 4, k, k), direct(levels(small_levels(90 + k, (6, 4 * k * k)), uniform(), mode,
                                                                               kernel_size=k * k))) for k in (1, 2, 3)])


# Trellises

def trellis(mode: MODES):
    return several(lambda: [(f"{2 << size} states", "float32", (9, 12), direct(levels(small_levels(size, (9, 12)), uniform(5, -9, size), mode)))
                            for size in (1, 2, 3, 4, 5)])


# Units and models

def joined(b: Builder) -> None:
    """One payload for words of several types and levels, with copies, predictions and an empty tensor among them."""
    w = float_words(110, (4, 5))
    table = [("words", "float32", (4, 5)), ("copy", "float32", (4, 5)), ("difference", "float32", (4, 5)), ("levels", "float32", (4, 5)),
             ("map", "uint8", (4, 5)), ("empty", "int8", (0, 5)), ("constant", "float32", (4, 5)), ("residual", "float32", (4, 5)),
             ("more levels", "float16", (3, 3, 2, 2))]
    b.model("joined", table)
    one = codebook(np.array([0x3F800000], np.uint32), 0)
    coded = [direct(words("float32", w)), copy(0, -1), predicted(words("float32", w ^ np.uint32(5), predictor=w), P.INTRA, 0, -2),
             direct(levels(small_levels(111, (4, 5)), uniform())), direct(words("uint8", any_words(112, "uint8", (4, 5)), MODES.MAP)),
             direct(words("int8", np.zeros((0, 5), np.uint8))), direct(levels(np.zeros((4, 5)), one)),
             predicted(levels(small_levels(113, (4, 5)), uniform()), P.INTRA, 0, -7),
             direct(levels(small_levels(114, (3, 12)), uniform(), kernel_size=4, dtype="float16"))]
    coded[6].parts[0].array = None
    b.tensors(*enumerate(coded))
    b.end_model()
    b.end()


def models(b: Builder) -> None:
    """Four models: one of its own table, two that inherit it (one as an enhancement), one of another table that refers to all."""
    w = float_words(120, (5, 6))
    b.model("first", [("w", "float32", (5, 6)), ("v", "int16", (4,))])
    b.layers(LayerDescriptors(1, [LayerDescriptor("fc", "", "Gemm", 1, [LayerTensor(0, 1, 1, FoldParameters(1, [1, 0], 1))])]))
    b.tensors((1, direct(words("int16", any_words(121, "int16", (1, 4))))))
    b.tensors((0, direct(words("float32", w.T))))
    b.end_model()
    for name, better in (("second", False), ("finer", True)):
        b.model(name, references=[1], inherit=True, enhancement=better)
        b.tensors((0, predicted(levels(small_levels(122 + better, (6, 5)), uniform(1, -8)), P.INTER, 1, 0)))
        b.tensors((1, copy(1, 0)))
        b.end_model()
    b.model("third", [("v", "int16", (4,)), ("larger", "float32", (7, 8)), ("smaller", "float32", (2, 3))], [1, 2, 3])
    b.tensors((0, copy(2, 1)))
    b.tensors((1, predicted(levels(small_levels(125, (7, 8)), uniform()), P.INTER, 1, -1)))
    b.tensors((2, predicted(levels(small_levels(126, (2, 3)), uniform()), P.INTER, 3, -2)))
    b.end_model()
    b.end()


def external(b: Builder, digest: bytes, old: np.ndarray) -> None:
    """An update of a model outside the stream: words, levels, a copy."""
    b.model("update", [("w", "float32", (6, 8)), ("w2", "float32", (6, 8)), ("n", "int16", (5,))], [digest])
    b.tensors((0, predicted(words("float32", old ^ np.uint32(0x1234), predictor=old), P.INTER, 1, 0)))
    b.tensors((1, predicted(levels(small_levels(130, (6, 8)), uniform()), P.INTER, 1, -1)))
    b.tensors((2, copy(1, -1)))
    b.end_model()
    b.end()


FOUR_BITS = any_words(141, "int4", (1, 5))


def topology() -> Topology:
    literals = [b"a source file: ", b" between ", b" end", b"external data "]
    varints = sum(10 if w > 7 else 1 for w in FOUR_BITS.flat)            # negative numbers take ten bytes
    entry = [SegmentEntry(literal_size=len(x), literal=x) for x in literals]
    return Topology(1, 2, [FileEntry("model.onnx", 5, [entry[0], SegmentEntry(1, 0, 0, 0, 96), entry[1], SegmentEntry(1, 0, 0, 1, 3), entry[2]]),
                           FileEntry("data/weights.bin", 2, [entry[3], SegmentEntry(1, 0, -1, 2, varints)])])


def side_units(coding: UnitCoding):
    """Every unit that describes a model, in a unit coding. INDEX and MODEL_HEADER have no preset dictionary."""
    def write(b: Builder) -> None:
        own = UnitCoding.DEFLATE if coding == UnitCoding.DEFLATE_HEADER else coding
        b.model("source " * 8, [("a weight of four letters", "float32", (4, 6)), ("a weight of four bits", "int4", (5,))], coding=own)
        b.topology(topology(), coding)
        layer = LayerDescriptor("a weight of", "", "Gemm", 2, [LayerTensor(0, 1), LayerTensor(1, 2)])
        b.layers(LayerDescriptors(2, [layer, layer]), coding)
        b.tensors((0, direct(words("float32", float_words(140, (4, 6))))))
        b.tensors((1, direct(words("int4", FOUR_BITS))))
        b.metadata({"author of four letters": b"nobody nobody nobody", "": b"", "größe": bytes(range(40)) * 2}, coding)
        b.index(own)
        b.end_model()
        b.end()
    return write


def extensions(b: Builder) -> None:
    """Extension units of all codings wherever they may stand; their bodies and checks mean nothing."""
    b.put(32, b"before the model")
    b.model("m", [("w", "float32", (2, 3))])
    b.put(63, b"\xff\xfe not expandable", UnitCoding.PLAIN)
    b.tensors((0, direct(words("float32", float_words(150, (2, 3))))))
    b.put(40, b"")
    b.data[-1] ^= 255
    b.data += bytes([33 << 2 | 2, 3, 200, 1]) + b"abc" + bytes(4)
    b.units += 1
    b.end_model()
    b.put(47, bytes(300))
    b.end()


def entry_points(b: Builder) -> None:
    """Two entry points of levels and three of a map, mostly zeros."""
    n = np.where(integers(160, (264, 500), 0, 199) == 0, 1, 0)
    maps = np.where(integers(161, (197, 1009), 0, 299) == 0, 200, 0).astype(np.uint8)
    b.model("entries", [("levels", "float32", n.shape), ("map", "uint8", maps.shape)])
    b.tensors((0, direct(levels(n, uniform(), entries=2))))
    b.tensors((1, direct(words("uint8", maps, MODES.MAP, entries=3))))
    b.end_model()
    b.end()


# Limits and other ends of ranges

def nesting(b: Builder) -> None:
    count = LEVELS[1].nesting + 1
    b.model("chain", [(f"w{i}", "float32", (2, 3)) for i in range(count)])
    b.tensors((0, direct(words("float32", float_words(170, (2, 3))))))
    for i in range(1, count):
        b.tensors((i, predicted(levels(np.ones((2, 3)), uniform()), P.INTRA, 0, -1) if i % 2 else copy(0, -1)))
    b.end_model()
    b.end()


def many_tensors(b: Builder) -> None:
    level = LEVELS[1]
    b.model("many", [(f"{i:x}", "uint8", (64,)) for i in range(level.tensors)])
    b.tensors(*[(i, direct(words("uint8", np.full((1, 64), i >> 6, np.uint8), scale_rule=2))) for i in range(level.joined_tensors)])
    b.end_model()
    b.end()


def many_models(b: Builder) -> None:
    for i in range(LEVELS[1].models):
        distances = list(range(1, min(i, LEVELS[1].references) + 1))
        b.model("n" * LEVELS[1].name_length if i == 0 else "", [("w", "int8", (3,))] if i == 0 else [], distances, inherit=i > 0)
        b.tensors((0, copy(len(distances), 0) if i else direct(words("int8", np.array([[1, 128, 255]], np.uint8)))))
        b.end_model()
    b.end()


def largest_steps():
    made = []
    for name, t, m, e, n in (("smallest float64", "float64", 1, -1074, 3), ("largest float64", "float64", 65535, 970, 2**37 >> 6),
                             ("subnormal float32", "float32", 1, -149, 3), ("below float32", "float32", 1, -151, 3),
                             ("largest float32", "float32", 65535, 112, 1), ("tie float16", "float16", 2049, 0, 1),
                             ("tie bfloat16", "bfloat16", 257, 0, 3), ("tie int8", "int8", 1, -1, 5)):
        n = min(n, 1 << 30 - 1)
        made.append((name, t, (2, 2), direct(levels(np.array([[n, -n], [1, 0]]) if name != "largest float64" else
                                                    np.array([[1, -1], [2, 0]]), uniform(m, e)))))
    return made


def wide_levels():
    edge = np.array([[2**31 - 1, -(2**31)], [0, 1]])
    near = np.array([[2**30 - 1, 1 - 2**30], [0, 1]])
    big = np.array([[2**53, -(2**53)], [5, -1]])
    return [*((f"edge {m.name}", "float64", (2, 2), direct(levels(edge, uniform(), m))) for m in (MODES.RAW, MODES.HUFFMAN, MODES.FIXED)),
            ("near CC", "float64", (2, 2), direct(levels(near, uniform(), MODES.CC))),
            *((f"decimal {m.name} {p}", "float64", (2, 2), direct(levels(big, decimal(p), m, width=8)))
              for m in (MODES.RAW, MODES.HUFFMAN, MODES.LZMA) for p in (0, 22)),
            *((f"fixed point {w}", "float64", (2, 2), direct(levels(np.array([[2**(w - 1) - 1, -(2**(w - 1))], [0, 0]]), fixed_point(w, g), MODES.RAW)))
              for w, g in ((1, 0), (2, 1074), (32, 0)))]


def recipes() -> Iterator[Recipe]:
    """The valid streams that are no combinations."""
    yield Recipe("smoke", "one float32 tensor of raw words: what every decoder must decode before the suite starts",
                 simple((2, 3), lambda: direct(words("float32", float_words(1, (2, 3)), MODES.RAW))))
    for mode in WORD_MODES:
        yield Recipe(f"types-{mode.name.lower()}", f"any words of every element type, entropy mode {mode.name}", all_types(mode))
    for name, make in {"uniform": lambda: uniform(1, 0), "decimal": lambda: decimal(0), "fixedpoint": lambda: fixed_point(3, 0),
                       "integercodebook": lambda: integer_codebook([-3, -2, -1, 0, 1, 2, 3], 3, 1, 0)}.items():
        yield Recipe(f"types-{name}", f"quantiser {name} in every element type that has it", all_types_of_levels(make))
    yield Recipe("types-codebook", "codebooks of every element type", several(types_of_codebooks))
    yield Recipe("words-parameters", "word_parameters( ): each element with each value, with words that keep its promise",
                 several(word_parameters))
    yield Recipe("words-constant", "constant words: zero, all ones, the top bit alone, of every element type", several(constants))
    yield Recipe("shapes", "ranks 0 to 8, empty axes, both scans", several(shapes))
    yield Recipe("folds", "layer descriptors: all orders of three axes, kernels, planes, roles, an activation format", folds)
    yield Recipe("kernels-cc", "context coding of levels with kernels of 1, 4 and 9", kernels(MODES.CC))
    yield Recipe("kernels-cm", "mixed coding of levels with kernels of 1, 4 and 9", kernels(MODES.CM), profile=Profile.HIGH)
    yield Recipe("trellis-cc", "trellises of all sizes, context coding", trellis(MODES.CC), profile=Profile.MAIN)
    yield Recipe("trellis-cm", "trellises of all sizes, mixed coding", trellis(MODES.CM), profile=Profile.HIGH)
    yield Recipe("trellis-raw", "trellises of all sizes, raw levels", trellis(MODES.RAW), profile=Profile.MAIN)
    yield Recipe("joined", "a joined unit of words, levels, a map, a copy, differences, an empty and a constant tensor", joined)
    yield Recipe("models", "four models: inherited tables and folds, an enhancement, references to models of other shapes", models)
    old = external_models()["old"]
    yield Recipe("external", "an update of a model that is not in the stream", lambda b: external(b, old.digest(), old["w"].words.reshape(6, 8)),
                 references=("old",))
    for coding in UnitCoding:
        yield Recipe(f"units-{coding.name.lower().replace('_', '')}", f"model header, topology, layers, metadata and index in unit_coding {coding.name}",
                     side_units(coding))
    yield Recipe("extensions", "extension units, to be skipped without a look at body or check", extensions, kind="extension")
    yield Recipe("entries", "entry points of levels and of a map", entry_points)
    yield Recipe("limit-nesting", "predictions of predictions up to the limit of level 1", nesting, kind="limit")
    yield Recipe("limit-tensors", "as many tensors, and elements of a joined unit, as level 1 allows", many_tensors, kind="limit")
    yield Recipe("limit-models", "as many models and references, and as long a name, as level 1 allows", many_models, kind="limit")
    yield Recipe("limit-steps", "steps at the ends of the range, subnormal values, ties", several(largest_steps), kind="limit")
    yield Recipe("limit-levels", "levels at the ends of their range", several(wide_levels), kind="limit")
    for level in (2, 3, 4):
        yield Recipe(f"level-{level}", f"a stream of level {level}", simple((2, 3), lambda: direct(words("int8", np.ones((2, 3), np.uint8)))
                                                                         , "int8"), level=level)
    yield Recipe("n-stored", "a metadata unit whose DEFLATE body is one stored block", stored, kind="non-canonical")
    yield Recipe("n-bool", "words of bool other than 0 and 1", simple(
        (2, 3), lambda: direct(words("bool", np.array([[0, 1, 2], [127, 128, 255]], np.uint8))), "bool"), kind="non-canonical")
    yield Recipe("n-low-rank-zero", "an update of rank 1 whose factors are all zero", zero_update, kind="non-canonical")


def stored(b: Builder) -> None:
    b.model("m", [("w", "int8", (2,))])
    b.tensors((0, direct(words("int8", np.array([[3, 4]], np.uint8)))))
    body = body_of(syntax.metadata, Metadata(1, [MetadataEntry("key", 5, b"value")]), b.level)
    size = len(body).to_bytes(2, "little")
    b.sealed(UnitType.METADATA, UnitCoding.DEFLATE, b"\x01" + size + bytes(255 - x for x in size) + body, len(body))
    b.end_model()
    b.end()


def zero_update(b: Builder) -> None:
    b.model("m", [("x", "float32", (4, 5)), ("y", "float32", (4, 5))])
    b.tensors((0, direct(words("float32", float_words(180, (4, 5))))))
    parts = [levels(np.zeros(s), uniform()) for s in ((4, 1), (1, 5))]
    b.tensors((1, represented(R.LOW_RANK, parts, P.INTRA, 0, -1, factor_rank=1)))
    b.end_model()
    b.end()
