"""Units and models: joined tensors, inheritance, references inside and outside, every side unit, extensions."""

from __future__ import annotations

import numpy as np

from refcodec.bitstream import syntax
from refcodec.bitstream.structures import (
    FileEntry,
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    Metadata,
    MetadataEntry,
    SegmentEntry,
    Topology,
    UnitCoding,
    UnitType,
)
from refcodec.dtypes import BY_NAME
from refcodec.encoder.stream_writer import body_of
from refcodec.model import Model, Tensor

from .builder import Builder
from .parts import (
    MODES,
    P,
    any_words,
    codebook,
    copy,
    direct,
    float_words,
    levels,
    predicted,
    small_levels,
    uniform,
    words,
)
from .streams import External


def external_models() -> External:
    """The models outside the streams that some refer to, by name."""
    arrays = [("w", any_words(31, "float32", (6, 8)) & np.uint32(0x3FFFFFFF)), ("n", any_words(32, "int16", (5,)))]
    return {
        "old": Model([Tensor(n, w.view(BY_NAME["float32" if n == "w" else "int16"].numpy)) for n, w in arrays], "old")
    }


def joined(b: Builder) -> None:
    """One payload for words of several types and levels, with copies, predictions and an empty tensor among them."""
    w = float_words(110, (4, 5))
    table = [("words", "float32", (4, 5)), ("copy", "float32", (4, 5)), ("difference", "float32", (4, 5)),
             ("levels", "float32", (4, 5)), ("map", "uint8", (4, 5)), ("empty", "int8", (0, 5)),
             ("constant", "float32", (4, 5)), ("residual", "float32", (4, 5)), ("more levels", "float16", (3, 3, 2, 2))]
    b.model("joined", table)
    one = codebook(np.array([0x3F800000], np.uint32), 0)
    coded = [
        direct(words("float32", w)),
        copy(0, -1),
        predicted(words("float32", w ^ np.uint32(5), predictor=w), P.INTRA, 0, -2),
        direct(levels(small_levels(111, (4, 5)), uniform())),
        direct(words("uint8", any_words(112, "uint8", (4, 5)), MODES.MAP)),
        direct(words("int8", np.zeros((0, 5), np.uint8))),
        direct(levels(np.zeros((4, 5)), one)),
        predicted(levels(small_levels(113, (4, 5)), uniform()), P.INTRA, 0, -7),
        direct(levels(small_levels(114, (3, 12)), uniform(), kernel_size=4, dtype="float16"))
    ]
    coded[6].parts[0].array = None
    b.tensors(*enumerate(coded))
    b.end_model()
    b.end()


def models(b: Builder) -> None:
    """Four models: one of its own table, two that inherit it (one as an enhancement), one of another table that
    refers to all."""
    w = float_words(120, (5, 6))
    b.model("first", [("w", "float32", (5, 6)), ("v", "int16", (4,))])
    b.layers(
        LayerDescriptors(1,
                         [LayerDescriptor("fc", "", "Gemm", 1, [LayerTensor(0, 1, 1, FoldParameters(1, [1, 0], 1))])]))
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
    return Topology(1, 2, [
        FileEntry("model.onnx", 5,
                  [entry[0], SegmentEntry(1, 0, 0, 0, 96), entry[1],
                   SegmentEntry(1, 0, 0, 1, 3), entry[2]]),
        FileEntry("data/weights.bin", 2, [entry[3], SegmentEntry(1, 0, -1, 2, varints)])
    ])


def side_units(coding: UnitCoding):
    """Every unit that describes a model, in a unit coding. INDEX and MODEL_HEADER have no preset dictionary."""
    def write(b: Builder) -> None:
        own = UnitCoding.DEFLATE if coding == UnitCoding.DEFLATE_HEADER else coding
        b.model("source " * 8, [("a weight of four letters", "float32", (4, 6)),
                                ("a weight of four bits", "int4", (5, ))], coding=own)
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


def stored(b: Builder) -> None:
    b.model("m", [("w", "int8", (2,))])
    b.tensors((0, direct(words("int8", np.array([[3, 4]], np.uint8)))))
    body = body_of(syntax.metadata, Metadata(1, [MetadataEntry("key", 5, b"value")]), b.level)
    size = len(body).to_bytes(2, "little")
    b.sealed(UnitType.METADATA, UnitCoding.DEFLATE, b"\x01" + size + bytes(255 - x for x in size) + body, body)
    b.end_model()
    b.end()
