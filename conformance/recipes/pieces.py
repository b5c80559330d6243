"""Digests of tensors of several pieces (SPEC 8.8): words of each size, ends of pieces, and digests that are wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from refcodec.bitstream.structures import (
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    UnitType,
)
from refcodec.digests import PIECE_BYTES, digests_of, header, joint_digest, piece_digests, stated
from refcodec.dtypes import BY_NAME

from .bins_payload import Plane, Script
from .bins_scripts import coded_words
from .builder import Builder, Coded
from .edits import EditedUnit, all_of, change, on_unit, put
from .faults import Fault, fault
from .parts import MODES, P, codebook, copy, direct, levels, predicted, words
from .single import several, simple
from .streams import Recipe

MODEL, DATA = UnitType.MODEL_HEADER, UnitType.TENSOR_DATA
LONG = 2 * PIECE_BYTES + 5                 # words of one byte in three pieces


def steps(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Words of long runs, that differ from piece to piece, one dimension: a coder of bytes makes them small."""
    t = BY_NAME[dtype]
    count = int(np.prod(shape)) * t.parts
    run = PIECE_BYTES // t.word_bytes // 4
    return ((np.arange(count) // run * 37 + 5) & ((1 << min(t.bits, 30)) - 1)).astype(t.word)


def compressed(dtype: str, shape: tuple[int, ...], column_scan: int = 0) -> Coded:
    matrix = steps(dtype, shape).reshape(shape[0], -1)
    return direct(words(dtype, matrix.T if column_scan else matrix, MODES.BZIP2), column_scan)


def ends(*dtypes: str) -> Callable[[], list]:
    """Tensors of exactly a piece, an element more, exactly two pieces, and an element less than three."""
    def made():
        found = []
        for dtype in dtypes:
            piece = PIECE_BYTES // BY_NAME[dtype].itemsize
            for count in (piece, piece + 1, 2 * piece, 3 * piece - 1):
                found.append((f"{dtype} {count}", dtype, (1, count), compressed(dtype, (1, count))))
        return found
    return made


def arrangements(b: Builder) -> None:
    """Matrices in which the words do not stand in row-major order: pieces do not follow them."""
    shapes = [(1030, 1100), (64, 130, 140)]
    b.model("arrangements", [("column scan", "uint8", shapes[0]), ("fold", "uint8", shapes[1])])
    fold = FoldParameters(1, [2, 0, 1], 1)
    b.layers(LayerDescriptors(1, [LayerDescriptor("layer", "", "Gemm", 1, [LayerTensor(1, 0, 1, fold)])]))
    b.tensors((0, compressed("uint8", shapes[0], 1)))
    matrix = steps("uint8", shapes[1]).reshape(shapes[1]).transpose(2, 0, 1).reshape(shapes[1][2], -1)
    b.tensors((1, direct(words("uint8", matrix, MODES.BZIP2))))
    b.end_model()
    b.end()


def predictions(b: Builder) -> None:
    """A copy and a difference within the model, and from the model before: copies name no pieces."""
    n = PIECE_BYTES // 4 + 3
    base = steps("float32", (1, n)).reshape(1, n)
    for number, distance in enumerate(((), (1,))):
        b.model(f"model {number}", [(name, "float32", (1, n)) for name in ("base", "copy", "difference")], distance)
        b.tensors((0, copy(1, 0) if distance else direct(words("float32", base, MODES.BZIP2))))
        b.tensors((1, copy(0, -1)))
        b.tensors((2, predicted(words("float32", base ^ np.uint32(1 + number), MODES.BZIP2, predictor=base),
                                P.INTER if distance else P.INTRA, len(distance), -2)))
        b.end_model()
    b.end()


def joined(b: Builder) -> None:
    """Tensors of two pieces in joined units, which name none; the unit has the digest of all."""
    n = PIECE_BYTES // 8 + 9
    b.model("joined", [("a", "float64", (1, n)), ("b", "int16", (2, 3)), ("c", "float64", (1, n)),
                       ("d", "uint8", (0,)), ("e", "int16", (3,))])
    constant = direct(levels(np.zeros((1, n)), codebook(np.array([0x3FF0000000000000], np.uint64), 0), dtype="float64"))
    constant.parts[0].array = None
    numbers = np.array([[1, 2, 3], [4, 5, 65535]], np.uint16)
    b.tensors((0, constant), (1, direct(words("int16", numbers))), (2, copy(0, -2)))
    b.tensors((3, direct(words("uint8", np.zeros((1, 0), np.uint8)))), (4, direct(words("int16", numbers[:1]))))
    b.end_model()
    b.end()


def chunks():
    """BINS with words of 8 bytes: each piece is a chunk."""
    matrix = np.tile(np.array([[0, 1, 2, 1, 0, 0, 3]], np.uint64), 37452)[:, : 2 * (PIECE_BYTES // 8) + 11]
    script = Script(64, "plain", [Plane(narrow=1), Plane(narrow=4, tables=[[1800, 1100, 600, 596]]),
                                  *[Plane(narrow=1)] * 3])
    return [("chunks", "uint64", matrix.shape, direct(coded_words(BY_NAME["uint64"], matrix, script)))]


def recipes() -> Iterator[Recipe]:
    """All streams of this module."""
    for bits, dtypes in ((8, ("uint8", "int4")), (16, ("bfloat16",)), (32, ("float32", "complex64")),
                         (64, ("int64", "complex128"))):
        yield Recipe(f"b-pieces-{bits}", f"tensors of one to three pieces, words of {bits} bits: {', '.join(dtypes)}",
                     several(ends(*dtypes)), kind="limit", level=1 if bits > 8 else 2)
    yield Recipe("v-pieces-arrangements", "pieces of tensors whose matrices are turned", arrangements)
    yield Recipe("v-pieces-predictions", "pieces of copies and differences, within a model and between models",
                 predictions)
    yield Recipe("v-pieces-joined", "tensors of two pieces in a joined unit, and an empty one in another", joined,
                 level=3)
    yield Recipe("v-pieces-bins", "BINS: chunks that are pieces", several(chunks))
    yield Recipe("p-pieces", "a tensor of three pieces", simple((1, LONG), lambda: compressed("uint8", (1, LONG)),
                                                                "uint8"))


# Faults

def other(k: int) -> Callable[[bytes], bytes]:
    """piece_digests with a bit of piece k changed."""
    return lambda d: bytes(x ^ (i == 8 * k + 7) for i, x in enumerate(bytes(d)))


def tensor_digests(hashed: Callable[[list[bytes], bytes], bytes]) -> int:
    """What tensor_digest of p-pieces would be over something else; hashed: of (digests of pieces, words)."""
    t, shape = BY_NAME["uint8"], (1, LONG)
    array = steps("uint8", shape)
    return stated(hashlib.sha256(header("w", t, shape) + hashed(piece_digests(array), array.tobytes())).digest())


def joined_digests() -> list[bytes]:
    """The digests of the tensors of the second unit of v-pieces-joined."""
    empty = digests_of("d", BY_NAME["uint8"], (0,), np.zeros(0, np.uint8))
    return [empty.digest, digests_of("e", BY_NAME["int16"], (3,), np.array([1, 2, 3], np.uint16)).digest]


def faults() -> Iterator[Fault]:
    """Digests that are wrong, made of something else, or cut off."""
    for k, name in enumerate(("first", "middle", "last")):
        yield fault("R8.8-3", name, "p-pieces", change(DATA, "piece_digests", other(k)), "DIGEST_MISMATCH",
                    f"a bit of the digest of the {name} piece")
    yield fault("R8.8-3", "order", "p-pieces",
                change(DATA, "piece_digests", lambda d: bytes(d)[8:16] + bytes(d)[:8] + bytes(d)[16:]),
                "DIGEST_MISMATCH", "digests of two pieces the other way round")
    for name, what, hashed in (
            ("words", "the words themselves, as in version 0.1", lambda pieces, array: array),
            ("short", "the first 8 bytes of the digests of its pieces",
             lambda pieces, array: b"".join(p[:8] for p in pieces)),
            ("tree", "the digest of the digests of its pieces", lambda pieces, array: joint_digest(pieces))):
        yield fault("R8.8-1", f"over-{name}", "p-pieces", put(DATA, "tensor_digest", tensor_digests(hashed)),
                    "DIGEST_MISMATCH", f"a tensor_digest over {what}")
    yield fault("R8.8-1", "pieces", "p-pieces", change(DATA, "tensor_digest", lambda v: v ^ 1), "DIGEST_MISMATCH",
                "a bit of the tensor_digest of a tensor whose pieces are right")
    right = joined_digests()
    for name, what, value in (
            ("order", "the digests of the tensors the other way round", stated(joint_digest(right[::-1]))),
            ("short", "the first 8 bytes of the digests of the tensors", stated(joint_digest([d[:8] for d in right]))),
            ("tensor", "the digest of the last tensor itself", stated(right[-1]))):
        yield fault("R8.8-4", name, "v-pieces-joined", put(DATA, "unit_digest", value, unit=1), "DIGEST_MISMATCH",
                    f"a unit_digest of {what}")
    yield fault("R8.8-4", "pieces", "v-pieces-joined", change(DATA, "unit_digest", lambda v: v ^ 1 << 63),
                "DIGEST_MISMATCH", "the first bit of the unit_digest of tensors of two pieces")

    def cut(u: EditedUnit) -> None:
        u.coded = u.body()[:20]

    yield fault("R4.4-1", "pieces", "p-pieces", on_unit(DATA, cut), "TRUNCATED", "a body ends inside piece_digests")
    most = all_of(*(put(MODEL, "dimension", 1 << 18, nth) for nth in range(2)))
    yield fault("R4.4-1", "many-pieces", "level-4", most, "TRUNCATED",
                "2^36 elements of a tensor, whose 65536 pieces the unit does not name")
