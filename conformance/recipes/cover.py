"""Streams for points of coverage that no other recipe meets: ends of ranges, limits reached, units in every order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.structures import (
    ActivationFormat,
    FileEntry,
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    Payload,
    SegmentEntry,
    Topology,
    UnitCoding,
    UnitType,
)
from refcodec.entropy.fixed_length import encode_fixed
from refcodec.reconstruction.random_integers import random_words

from .builder import Builder
from .edits import payload, put, set_unit
from .faults import Fault, fault
from .parts import (
    LEVEL_BLOCKS,
    MODES,
    WORD_BLOCKS,
    P,
    R,
    any_words,
    codebook,
    copy,
    decimal,
    direct,
    fixed_point,
    float_words,
    highest,
    integer_codebook,
    integers,
    levels,
    represented,
    small_levels,
    spatial,
    uniform,
    words,
)
from .single import several, simple
from .streams import Recipe

ONE = LEVELS[1]
_, MODEL, TOPOLOGY, LAYERS, DATA, METADATA, INDEX, _, _ = UnitType


def byte(value: int = 7):
    """A tensor of one byte."""
    return direct(words("uint8", np.array([[value]], np.uint8)))


# Units

def orders(b: Builder) -> None:
    """Models of few units, in the orders that other streams do not have; empty tables, files, layers, metadata,
    indexes."""
    nothing, files = LayerDescriptors(0, []), Topology(2, 1, [FileEntry("empty.safetensors", 0, [])])
    parts = {
        "topology": lambda: b.topology(files), "layers": lambda: b.layers(nothing), "metadata": lambda: b.metadata({}),
        "index": b.index
    }
    for names in ("", "metadata", "index", "layers", "layers metadata", "layers index", "topology", "topology index",
                  "topology metadata index"):
        b.model(names)
        for name in names.split():
            parts[name]()
        b.end_model()
    for names, after in (("topology", ""), ("", "index"), ("topology layers", "metadata index")):
        b.model(f"{names} tensor {after}", [("w", "uint8", (1,)), ("empty", "uint8", (0,))])
        for name in names.split():
            parts[name]()
        b.tensors((0, byte()))
        b.tensors((1, direct(words("uint8", np.zeros((1, 0), np.uint8)))))
        for name in after.split():
            parts[name]()
        b.end_model()
    b.end()


def sources(b: Builder) -> None:
    """A safetensors source: an empty literal, a slot of no bytes, a tensor in two slots."""
    b.model("source", [("w", "uint8", (1,)), ("empty", "uint8", (0,))])
    segments = [
        SegmentEntry(literal_size=0),
        SegmentEntry(1, 0, 0, 0, 1),
        SegmentEntry(1, 0, 0, 0, 0),
        SegmentEntry(1, 0, -2, 2, 1),
        SegmentEntry(literal_size=3, literal=b"end")
    ]
    b.topology(Topology(2, 1, [FileEntry("w.safetensors", len(segments), segments)]))
    b.tensors((0, byte()))
    b.tensors((1, direct(words("uint8", np.zeros((1, 0), np.uint8)))))
    b.end_model()
    b.end()


def layers(b: Builder) -> None:
    """All roles, a fold of a scalar and ones without rows or columns, activation formats at the ends of their
    ranges."""
    b.model("layers", [(f"w{i}", "float32", (2, 3)) for i in range(16)] + [("scalar", "float32", ()),
                                                                           ("wide", "float32", (2, 3))])
    listed = [LayerDescriptor(f"role {i}", "", "Op", 1, [LayerTensor(i, i)]) for i in range(16)]
    listed.append(LayerDescriptor("folds", "", "Op", 2, [LayerTensor(16, 1, 1, FoldParameters(0, [], 65534)),
                                                         LayerTensor(17, 1, 1, FoldParameters(2, [1, 0], 2))]))
    ends = [(0, 1, -1074, 1), (1, 2, -1073, 2), (0, 63, 1073, 63), (1, 64, 1074, 64)]
    listed += [LayerDescriptor(f"integers {i}", "", "Relu", 0, [], 1, ActivationFormat(*f)) for i, f in enumerate(ends)]
    b.layers(LayerDescriptors(len(listed), listed))
    b.tensors(*[(i, direct(words("float32", float_words(300 + i, (2, 3))))) for i in range(16)])
    b.tensors((16, direct(words("float32", float_words(316, (1, 1))))))
    b.tensors((17, direct(levels(small_levels(317, (6, 1)), uniform()))))
    b.index()
    b.end_model()
    b.end()


def extensions(b: Builder) -> None:
    """Extension units of the codings that extensions.omc has not."""
    b.model("m", [("w", "uint8", (1,))])
    for coding in (UnitCoding.DEFLATE, UnitCoding.DEFLATE_HEADER):
        b.sealed(62, coding, b"not expandable", bytes(5))
    b.tensors((0, byte()))
    b.end_model()
    b.end()


def distances(b: Builder) -> None:
    """The farthest reference that a stream of level 1 can have."""
    for i in range(ONE.models):
        b.model(str(i), [("w", "uint8", (1,))], [1, i] if i else [])
        b.tensors((0, copy(2, 0) if i == ONE.models - 1 else byte(i)))
        b.end_model()
    b.end()


def all_joined(mode: MODES):
    """One joined unit of every quantiser that an entropy mode codes."""
    def write(b: Builder) -> None:
        n, shape = small_levels(330, (4, 5)), (4, 5)
        few = np.clip(n, -1, 1)
        quantisers = [("uniform", levels(n, uniform(), mode)), ("decimal", levels(n, decimal(2), mode)),
                      ("fixed point", levels(n, fixed_point(16), mode)),
                      ("codebook", levels(few, codebook(np.array([0x3F800000, 0, 0xBF800000], np.uint32), 1), mode)),
                      ("integers", levels(few, integer_codebook([-9, 0, 5], 1), mode))]
        b.model("joined", [(name, "float32", shape) for name, _ in quantisers])
        b.tensors(*[(i, direct(part)) for i, (_, part) in enumerate(quantisers)])
        b.end_model()
        b.end()
    return write


def joined_grids(b: Builder) -> None:
    """Scaled grids in joined units, by every mode that can."""
    scales = float_words(340, (4,)).astype("<u4").tobytes()
    b.model("grids", [(f"{m.name}{i}", "float32", (4, 5)) for m in WORD_BLOCKS for i in (0, 1)])
    for k, mode in enumerate(WORD_BLOCKS):
        b.tensors(*[(2 * k + i, direct(words("float16", float_words(341 + i, (4, 5), "float16"), mode, quantiser=3,
                                             scales=scales))) for i in (0, 1)])
    b.end_model()
    b.end()


# Ranges

def steps():
    """Parameters of quantisers one step from the ends of their ranges; integers of a codebook at the ends."""
    n = np.array([[1, -1], [3, 0]])
    edge, big = [-(2**30), 1 - 2**30, 2**30 - 1, 2**30], np.array([[-4, -3], [-2, -1]])
    made = [("step 2 * 2^-1073", "float64", levels(n, uniform(2, -1073))),
            ("step 65534 * 2^969", "float64", levels(n, uniform(65534, 969))),
            ("decimal 1", "float32", levels(n, decimal(1))), ("decimal 21", "float32", levels(n, decimal(21))),
            ("width 2", "float32", levels(np.array([[1, -2], [0, 0]]), fixed_point(2, -100))),
            ("width 31", "float64", levels(np.array([[2**30 - 1, -(2**30)], [0, 1]]), fixed_point(31, 1073),
                                           MODES.RAW)),
            ("fraction bits -969", "float64", levels(n, fixed_point(9, -969))),
            ("fraction bits -970", "float64", levels(n, fixed_point(9, -970))),
            ("largest integers", "float32", levels(big, integer_codebook([*edge, 0], 4, 1, -20))),
            ("one integer", "float32", levels(np.zeros((2, 2)), integer_codebook([5], 0))),
            ("fixed length 63", "float64", levels(n, uniform(), MODES.FIXED)),
            ("trellis off", "float32", levels(n, uniform(32768, 0)))]
    made[9][2].array = None
    made[10][2].component.fixed_length, data = 63, encode_fixed(n, 63, True)
    made[10][2].payloads = [Payload(len(data), 0, data, b"")]
    return [(name, t, (2, 2), direct(part)) for name, t, part in made]


def offsets():
    """Offsets at the ends of the range, written in full, and shifts beside the ends."""
    made = []
    for name, t, offset in (("none", "int32", 0), ("one", "uint16", 1), ("largest but one", "int64", 2**64 - 2),
                            ("largest", "uint4", 15)):
        part = words(t, any_words(350, t, (2, 3)), offset=offset)
        part.component.word_offset_flag = 1
        made.append((name, t, (2, 3), direct(part)))
    for shift in (1, 22, 23):
        w = any_words(351, "float32", (2, 3)) >> np.uint32(shift) << np.uint32(shift)
        made.append((f"shift {shift}", "float32", (2, 3), direct(words("float32", w, shift=shift))))
    return made


def masks():
    """Random masks of none, one, all but one and all elements, the least and the largest density and seed."""
    made, size, shape = [], 20, (4, 5)
    for name, seed, count in (("none", 0, 0), ("one", 2**64 - 1, 1), ("all but one", 3, size - 1), ("all", 4, size)):
        draws = np.sort(random_words(seed, 0, size) >> np.uint64(32))
        density = 0 if count == 0 else 2**32 - 1 if count == size else int(draws[count - 1]) + 1
        part = words("float32", float_words(360, (1, count)))
        made.append((name, "float32", shape,
                     represented(R.RANDOM_MASK, [part], selected_count=count, random_density=density,
                                 random_seed=seed)))
    return made


def gains(b: Builder) -> None:
    """Augmentations of one gain and of all, of a matrix with more rows than columns, without a product."""
    w = float_words(370, (5, 3))
    b.model(
        "gains",
        [(name, "float32", (5, 3))
         for name in ("x", "one", "all", "mapped", "zero", "of zero", "rank 1", "of rank 1", "block", "of a block")])
    b.tensors((0, direct(words("float32", w))))
    for i, count in ((1, 1), (2, 3)):
        b.tensors((i,
                   represented(R.AUGMENTATION, [levels(np.arange(1, count + 1)[None], uniform(1, -5))], P.INTRA, 0, -i,
                               gain_count_minus1=count - 1)))
    b.tensors((3, represented(R.MAPPING, [levels(small_levels(371, (5, 2)), uniform())], P.INTRA, 0, -3,
                              factor_rank=2)))
    tiny = np.zeros((5, 3), np.uint32)                                  # a block far below the largest element
    tiny[0, 0], tiny[1:3, 1:] = 0x3F800000, [[0x30800000, 0x30000000], [0x30000000, 0x30800000]]
    for i, base in ((8, tiny), (4, np.zeros(
        (5, 3), np.uint32)), (6, np.tile(np.array([0x3F800000, 0x40000000, 0xBF800000], np.uint32), (5, 1)))):
        b.tensors((i, direct(words("float32", base))))
        b.tensors(
            (i + 1, represented(R.MAPPING, [levels(small_levels(372, (5, 3)), uniform())], P.INTRA, 0, -1,
                                factor_rank=3)))
    b.end_model()
    b.end()


# Limits of level 1

def largest_tensor(b: Builder) -> None:
    """As many elements, and bytes, as a tensor may have: nothing of them is coded."""
    shape = (ONE.tensor_elements,)
    part = levels(np.zeros((1, 1)), codebook(np.array([0x3F800000], np.uint32), 0))
    part.array = None
    b.model("largest", [("ones", "float32", shape)])
    b.tensors((0, direct(part)))
    b.end_model()
    b.end()


def largest_codebooks():
    size = ONE.codebook_size
    entries = integers(380, (size,), 0, 255).astype(np.uint8)
    n = np.array([[0, 1 - size, -1]])
    return [("words", "uint8", (1, 3), direct(levels(n, codebook(entries, size - 1)))),
            ("integers", "float32", (1, 3), direct(levels(n, integer_codebook([i % 3 for i in range(size)],
                                                                              size - 1))))]


def many_parts(b: Builder) -> None:
    """As many files, segments, layers, tensors of a layer, metadata and index entries as level 1 allows."""
    b.model("parts", [(f"{i:x}", "uint8", (1,)) for i in range(ONE.tensors)])
    files = [FileEntry(f"{i}", 0, []) for i in range(ONE.files - 1)]
    segments = [SegmentEntry(literal_size=i % 2, literal=b"x"[: i % 2]) for i in range(ONE.segments)]
    b.topology(Topology(1, ONE.files, [FileEntry("main", len(segments), segments), *files]))
    first = LayerDescriptor("all", "", "Op", ONE.tensors, [LayerTensor(i, 0) for i in range(ONE.tensors)])
    b.layers(LayerDescriptors(ONE.layers,
                              [first, *(LayerDescriptor("", "", "", 0, []) for _ in range(ONE.layers - 1))]))
    one = codebook(np.array([9], np.uint8), 0)
    for i in range(ONE.tensors):
        part = levels(np.zeros((1, 1)), one)
        part.array = None
        b.tensors((i, direct(part)))
    b.metadata({f"{i:x}": b"" for i in range(ONE.tensors)})
    b.index()
    b.end_model()
    b.end()


def joined_index(b: Builder) -> None:
    """An index of a unit of as many tensors as level 1 allows; as many units as it allows are extensions."""
    b.model("joined", [(f"{i:x}", "uint8", (1,)) for i in range(ONE.joined_tensors)])
    b.tensors(*[(i, byte(i & 3)) for i in range(ONE.joined_tensors)])
    b.index()
    b.end_model()
    while b.units < ONE.units - 1:
        b.put(32, b"")
    b.end()


def largest_body(b: Builder) -> None:
    """A body of as many bytes as level 1 allows, expanded from few."""
    b.model("m", [("w", "uint8", (1,))])
    b.tensors((0, byte()))
    head = 7  # metadata_count and the key 8 bits, metadata_size 43, which alignment makes whole bytes
    b.metadata({"": bytes(ONE.unit_bytes - head)}, UnitCoding.LZMA)
    b.end_model()
    b.end()


def largest_rank():
    """Factors of the largest rank, all zero but for the corner."""
    side, n = ONE.decomposition_size, np.zeros((ONE.decomposition_size,) * 2, np.int64)
    n[0, 0] = 5
    return [("product", "float32", (side, side), represented(
        R.LOW_RANK, [levels(n, uniform(), MODES.HUFFMAN) for _ in range(2)], factor_rank=side))]


def recipes() -> Iterator[Recipe]:
    """All streams of this module."""
    yield Recipe("v-orders",
                 "units in the orders that other streams do not have; empty tables, files, layers, metadata, indexes",
                 orders)
    yield Recipe("v-sources", "a safetensors source: an empty literal, a slot of no bytes, a tensor in two slots",
                 sources)
    yield Recipe("v-layers", "all roles, folds without rows or columns, activation formats at the ends of their ranges",
                 layers)
    yield Recipe("v-extensions", "extension units in the codings DEFLATE and DEFLATE_HEADER", extensions,
                 kind="extension")
    for m in LEVEL_BLOCKS:
        yield Recipe(f"v-joined-{m.name.lower()}", f"every quantiser of levels in a joined unit, entropy mode {m.name}",
                     all_joined(m), profile=m.facts.profile)
    yield Recipe("v-joined-grids",
                 f"scaled grids in joined units, entropy modes {' and '.join(m.name for m in WORD_BLOCKS)}",
                 joined_grids, profile=highest(WORD_BLOCKS))
    yield Recipe("v-steps", "parameters of quantisers beside the ends of their ranges", several(steps), kind="limit")
    yield Recipe("v-offsets", "offsets and shifts of words at the ends of their ranges", several(offsets), kind="limit")
    yield Recipe("v-masks", "random masks of none, one, all but one and all elements", several(masks), kind="limit")
    yield Recipe("v-spatial-least", "the least index that spatial prediction may give", simple((1, 2), lambda: spatial(
        levels(np.array([[-(2**31), 0]]), uniform(1, -40), MODES.RAW), 0), "float64"), kind="limit")
    yield Recipe("v-one-word", "one float16 word, nine bits of it in the bypass substream", simple(
        (1, 1), lambda: direct(words("float16", np.array([[0x3C01]], np.uint16))), "float16"))
    yield Recipe("v-gains", "augmentations of one gain and of all, of a matrix with more rows than columns", gains,
                 profile=Profile.MAIN)
    yield Recipe("limit-distance", "the farthest reference of level 1", distances, kind="limit")
    yield Recipe("limit-elements", "as many elements and bytes of a tensor as level 1 allows", largest_tensor,
                 kind="limit")
    yield Recipe("limit-codebooks", "codebooks as large as level 1 allows", several(largest_codebooks), kind="limit")
    yield Recipe("limit-parts", "as many files, segments, layers, metadata and index entries as level 1 allows",
                 many_parts, kind="limit")
    yield Recipe("limit-units", "as many units and joined tensors as level 1 allows", joined_index, kind="limit")
    yield Recipe("limit-body", "a body of as many bytes as level 1 allows", largest_body, kind="limit")
    yield Recipe("limit-rank", "factors of the largest rank of level 1", several(largest_rank), kind="limit")
    yield Recipe(
        "limit-empty-rows", "a tensor of no elements whose rows are at the limit",
        simple((ONE.tensor_elements, 0), lambda: direct(words("uint8", np.zeros((ONE.tensor_elements, 0), np.uint8))),
               "uint8"), kind="limit")


# Beyond

def faults() -> Iterator[Fault]:
    """Limits passed by one, and numbers at a limit that the rest of the stream cannot hold."""
    counts = [("smoke", MODEL, "rank", ONE.rank), ("smoke", MODEL, "reference_count", ONE.references),
              ("smoke", MODEL, "tensor_count", ONE.tensors), ("v-sources", TOPOLOGY, "file_count", ONE.files),
              ("v-sources", TOPOLOGY, "segment_count", ONE.segments), ("v-layers", LAYERS, "layer_count", ONE.layers),
              ("v-layers", LAYERS, "layer_tensor_count", ONE.tensors),
              ("smoke", DATA, "tensor_count_minus1", ONE.joined_tensors - 1),
              ("units-plain", METADATA, "metadata_count", ONE.tensors),
              ("units-plain", INDEX, "index_count", ONE.tensors),
              ("units-plain", INDEX, "indexed_tensor_count_minus1", ONE.joined_tensors - 1),
              ("c-none-direct-codebook", DATA, "codebook_size_minus1", ONE.codebook_size - 1),
              ("c-none-direct-integercodebook", DATA, "codebook_size_minus1", ONE.codebook_size - 1),
              ("c-none-lowrank-uniform", DATA, "factor_rank", ONE.decomposition_size),
              ("v-sources", TOPOLOGY, "literal_size", ONE.unit_bytes),
              ("units-plain", METADATA, "metadata_size", ONE.unit_bytes)]
    for parent, unit, name, most in counts:
        which = f"{name.replace('_', '')}{'-integers' if 'integercodebook' in parent else ''}"
        yield fault("R4.3-1", which, parent, put(unit, name, most + 1), "RESOURCE_LIMIT TRUNCATED",
                    f"{name} beyond the limit of level 1, in a stream that is not so long")
    for parent, unit, name in (("v-sources", TOPOLOGY, "literal_size"), ("units-plain", METADATA, "metadata_size")):
        yield fault("R4.4-1", name.replace("_", ""), parent, put(unit, name, ONE.unit_bytes),
                    "TRUNCATED RESOURCE_LIMIT", f"{name} at the limit, in a stream that is not so long")
    yield fault("R7.4-1", "farthest", "limit-distance", put(MODEL, "model_distance", ONE.models, 1, ONE.models - 1),
                "DANGLING_REFERENCE", "a distance at its limit, which no stream of level 1 can have")
    yield fault("R4.4-7", "offset", "v-offsets", put(DATA, "word_offset", 255, unit=3), "OUT_OF_RANGE",
                "an offset of a uint4 beyond 15")
    yield fault("R4.4-1", "nothing", "units-plain", set_unit(METADATA, coded=b""), "TRUNCATED", "a body of no bytes")
    yield fault("R9.1.4-1", "code", "e-bytes", payload(lambda data: b"\xa0"), "ENTROPY_END",
                "a payload in the last interval, but not its first byte")
    yield fault("R8.7.1-1", "least", "v-spatial-least", payload(lambda data: data[:4] + b"\xff" * 4), "OUT_OF_RANGE",
                "an index of -2^31 - 1")
    yield fault("R9.5-3", "bits", "v-one-word", payload(lambda data: data[:-1] + bytes([data[-1] | 1]), name="bypass"),
                "ENTROPY_END", "a bit after the last of the bypass substream is 1")
