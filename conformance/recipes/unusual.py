"""Valid streams that no encoder here makes: readings of the text that two decoders might not share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream import syntax
from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import (
    Component,
    FileEntry,
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    Metadata,
    MetadataEntry,
    Payload,
    SegmentEntry,
    Topology,
    UnitCoding,
    UnitType,
)
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part
from refcodec.encoder.stream_writer import body_of
from refcodec.entropy.payload import encode_payload

from .builder import Builder
from .byte_coders import (
    LzmaChunk,
    bzip2,
    bzip2_block,
    bzip2_crc,
    deflate,
    dynamic_block,
    low_first,
    lzma_chunk,
    lzma_stored,
    zlib_stream,
)
from .parts import (
    MODES,
    R,
    codebook,
    direct,
    fixed_point,
    integer_codebook,
    integers,
    levels,
    represented,
    spatial,
    uniform,
    words,
)
from .scripts import WORD_CONTEXTS, BinScript, packed, u
from .single import several, simple
from .streams import Recipe


def given(mode: MODES, dtype: str, coded: bytes, bypass: bytes = b"", **parameters):
    """A tensor of words whose payload is given. parameters: of WordParameters, for CC."""
    template = words(dtype, np.zeros((0, 0), BY_NAME[dtype].word), **parameters) if mode == MODES.CC else None
    component = template.component if template else Component(entropy_mode=mode)
    return direct(Part(component, None, BY_NAME[dtype], payloads=[Payload(len(coded), len(bypass), coded, bypass)]))


def byte_tensors(mode: MODES, made: list[tuple[str, bytes, bytes]]):
    """A stream of uint8 tensors. made: name, payload, the bytes that it has to give."""
    return several(lambda: [(name, "uint8", (len(data),), given(mode, "uint8", coded)) for name, coded, data in made])


# General-purpose coders

LITERALS = {97: 2, 98: 3, 99: 3, 256: 2, 257: 2}          # a, b, c, the end, a length of 3


def deflate_streams() -> list[tuple[str, bytes, bytes]]:
    abc, far = b"abcabc", bytes(range(256)) + bytes(44)
    stored = "0" + low_first(0, 2) + "0" * 5 + low_first(300, 16) + low_first(0xFFFF ^ 300, 16) + "".join(
        low_first(b, 8) for b in far)
    blocks = {
        "no distances": (dynamic_block(LITERALS, {}, [97, 98, 99, 97, 98, 99, 256]), abc),
        "one distance of one bit": (dynamic_block(LITERALS, {2: 1}, [97, 98, 99, 257, "0", 256]), abc),
        "a block of nothing": (stored + dynamic_block({256: 1}, {}, [256]), far),
        "a distance beyond the window that CINFO says": (
            stored + dynamic_block({256: 1, 257: 1}, {16: 1}, [257, "0" + low_first(0, 7), 256]), far + far[43:46]),
    }
    return [(name, zlib_stream(deflate(bits, "1"), data, 0), data) for name, (bits, data) in blocks.items()]


def bzip2_streams() -> list[tuple[str, bytes, bytes]]:
    data = b"abracadabra banana"
    check, size = bzip2_crc(data), len(set(data)) + 2
    blocks = {
        "an incomplete code": bzip2_block(data, data,
                                          [6] * size), "codewords of 20 bits": bzip2_block(data, data, [20] * size),
        "selectors that nothing uses": bzip2_block(data, data, selectors=18010)
    }
    made = [(name, bzip2([block], [check], "1"), data) for name, block in blocks.items()]
    return made + [("two blocks", bzip2([bzip2_block(data, data)] * 2, [check] * 2, "1"), data * 2)]


def hello() -> bytes:
    """The range coder's bytes of 'hell', 'o' and a match of four bytes more."""
    chunk = LzmaChunk(0, 0, 0)
    for byte in b"hello":
        chunk.literal(byte)
    chunk.match(4)
    return chunk.coded()


def lzma_streams() -> list[tuple[str, bytes, bytes]]:
    """Positions for lp and pb count from the last reset of the dictionary, through a stored chunk, too."""
    made, text = [("a match", lzma_chunk(hello(), 9, 0, 0, 0xE0) + b"\0", b"hellooooo")], bytes(range(60, 90)) * 3
    for lp, pb in ((0, 0), (2, 2), (4, 4)):
        chunk = LzmaChunk(lp, pb, position=3)
        for byte in text:
            chunk.literal(byte)
        chunk.match(5)
        coded = lzma_stored(b"xyz") + lzma_chunk(chunk.coded(), len(text) + 5, lp, pb) + b"\0"
        made.append((f"lp {lp}, pb {pb}", coded, b"xyz" + text + text[-1:] * 5))
    return made


def padded_unit(b: Builder) -> None:
    """Metadata in a DEFLATE block that ends inside a byte, whose other bits are 1."""
    b.model("m", [("w", "int8", (2,))])
    b.tensors((0, direct(words("int8", np.array([[3, 4]], np.uint8)))))
    body = body_of(syntax.metadata, Metadata(1, [MetadataEntry("key", 5, b"value")]), b.level)
    used = [*sorted(set(body)), 256]
    lengths = dict.fromkeys([*used, *range(200, 216 - len(used))], 4)        # sixteen codewords of four bits
    b.sealed(UnitType.METADATA, UnitCoding.DEFLATE, deflate(dynamic_block(lengths, {}, [*body, 256]), "1"), body)
    b.end_model()
    b.end()


# Integers at the end of their range

def class_64():
    """int64 words of class 64 with signs and mantissas of any kind: all are -2^63, contexts see what was coded."""
    s, bypass, sign_context = BinScript(WORD_CONTEXTS), "", 256
    for i, sign in enumerate((0, 0, 0, 1, 0, 1, 0, 0)):
        zero, centre, top = (20, 4, 319) if i == 0 else (31, 64, 303)
        s.bins(zero, 0).class_(671, centre, 64).bins(top, 0).bins(top + 1, 0).bins(sign_context, sign)
        sign_context, bypass = 257 + sign, bypass + u(i, 61)
    return given(MODES.CC, "int64", s.coded(), packed(bypass), signs=2, scale_rule=2)


def beyond_int8(values: list[int], predictor: int | None = None) -> tuple[bytes, bytes]:
    """A payload of MAP for int8 with the values v of 9.6.2, of which 128 is none that an int8 has.

    It is that of int16 words, whose map_offset has eight bits more; all bins are the same while no class beyond 8 is
    expected.
    """
    block = words("int16", np.array([values], np.int16).view(np.uint16), MODES.MAP).block()
    coded, bypass = encode_payload([block])
    text = "".join(f"{b:08b}" for b in bypass)
    used = len(text.rstrip("0")) if int(text, 2) else 24
    return coded, packed(text[:8] + text[16:max(24, used)])


# Units, components without integers, segments

def extensions_first(b: Builder) -> None:
    """Extension units before the stream header."""
    head = b.data[4:]
    del b.data[4:]
    b.units = 0
    b.put(32, b"first of all")
    b.put(63, b"")
    b.data += head
    b.units += 1
    b.model("m", [("w", "int8", (2,))])
    b.tensors((0, direct(words("int8", np.array([[3, 4]], np.uint8)))))
    b.end_model()
    b.end()


def constants_of_one_entry():
    """Codebooks of one entry: nothing is coded, and the parameters of the entropy mode stand in the component all the
    same."""
    made = []
    for mode in (m for m in MODES if m.facts.levels and m.facts.profile == Profile.BASELINE):
        for name, component in (("words", codebook(np.array([0x3FC00000], np.uint32),
                                                   0)), ("integers", integer_codebook([-5], 0))):
            component.entropy_mode = mode
            component.fixed_length, component.byte.level_bytes_log2, component.byte.byte_planes_flag = 33, 3, 1
            if mode == MODES.RAW:
                component.byte.byte_planes_flag = 0
            made.append((f"{mode.name} {name}", "float32", (3, 5), direct(Part(component, None, BY_NAME["float32"]))))
    return made


def planes_across_segments(b: Builder) -> None:
    """Planes of 67 rows, segments of 100 rows: a plane begins inside each segment, and a segment inside a plane."""
    shape = (3, 67, 1009)
    b.model("planes", [("map", "uint8", shape), ("spatial", "float32", shape)])
    folds = [LayerTensor(i, 0, 1, FoldParameters(2, [0, 1, 2], 1)) for i in range(2)]
    b.layers(LayerDescriptors(1, [LayerDescriptor("maps", "", "", 2, folds)]))
    rows = (201, 1009)
    maps = np.where(integers(163, rows, 0, 299) == 0, 200, 0).astype(np.uint8)
    n = np.where(integers(164, rows, 0, 299) == 0, 1, 0)
    b.tensors((0, direct(words("uint8", maps, MODES.MAP, entries=2))))
    b.tensors((1, spatial(levels(n, uniform(), entries=2), 2)))
    b.end_model()
    b.end()


def slots_that_do_not_fit(b: Builder) -> None:
    """A topology that could not be written: decoding tensors does not touch it."""
    b.model("m", [("w", "int8", (2,))])
    segments = [SegmentEntry(1, 0, 0, 0, 99), SegmentEntry(1, 0, -1, 1, 1)]
    b.topology(Topology(1, 2, [FileEntry("../outside", 2, segments), FileEntry("../outside", 0, [])]))
    b.tensors((0, direct(words("int8", np.array([[3, 4]], np.uint8)))))
    b.end_model()
    b.end()


def nothing_times_nothing():
    """Factors that are constants of one entry: no payload, whatever the size of the matrix."""
    parts = [Part(integer_codebook([3], 0), None, BY_NAME["float32"]) for _ in range(2)]
    return represented(R.LOW_RANK, parts, factor_rank=2)


def recipes() -> Iterator[Recipe]:
    """All of them."""
    def odd(name: str, purpose: str, write, kind: str = "non-canonical", **options) -> Recipe:
        return Recipe(name, purpose, write, kind, **options)

    yield odd("n-deflate", "DEFLATE: codes of no and of one codeword, any bits at the end, CINFO",
              byte_tensors(MODES.DEFLATE, deflate_streams()))
    yield odd("n-deflate-unit", "a DEFLATE unit that ends with bits of 1", padded_unit)
    yield odd("n-bzip2", "bzip2: incomplete codes, selectors that nothing uses, any bits at the end",
              byte_tensors(MODES.BZIP2, bzip2_streams()))
    yield odd("n-lzma", "LZMA2: a stored chunk, then lp and pb", byte_tensors(MODES.LZMA, lzma_streams()))
    yield odd("n-words-class64", "int64 words of class 64, with signs and mantissas that mean nothing",
              simple((8, 1), class_64, "int64"))
    coded, bypass = beyond_int8([128, 128, -128, 128, -128, -128, 3, 128])
    yield odd("n-map-beyond", "a map of int8 with values of 128, which are not equal to -128", simple(
        (8,), lambda: given(MODES.MAP, "int8", coded, bypass), "int8"))
    yield odd("extensions-first", "extension units before the stream header", extensions_first, "extension")
    yield odd("codebook-one", "codebooks of one entry in each entropy mode", several(constants_of_one_entry), "valid")
    yield odd("entries-planes", "planes that begin inside segments, and segments inside planes", planes_across_segments,
              "valid")
    yield odd("n-slots", "slots and paths that could not be written", slots_that_do_not_fit)
    yield odd("p-product", "a product of factors without payloads", simple((4, 6), nothing_times_nothing), "valid",
              level=4)
    yield odd(
        "p-fixedpoint-spatial", "fixed point of 3 bits with spatial prediction: differences beyond the width",
        simple((2, 4),
               lambda: spatial(levels(np.array([[3, -7, 7, -6], [0, 0, -1, 1]]), fixed_point(3, 0), MODES.RAW), 0)),
        "valid")
