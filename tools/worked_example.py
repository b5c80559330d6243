"""Annex C of SPEC.md: a small stream, every syntax element and every bin of it.

    python tools/worked_example.py        # print the annex

The stream is made from the recipe below, level by level and without a general-purpose compressor, so
that it has the same bytes everywhere; tests/standard/test_spec.py compares the annex with SPEC.md.
"""

from __future__ import annotations

import os
import pathlib
import re
import sys
from dataclasses import replace

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == "__main__":
    os.environ["REFCODEC_COMPILE"] = "0"           # the loops run as plain Python, so that each bin can be seen

import numpy as np

from refcodec import decode
from refcodec.bitstream import structures as s
from refcodec.bitstream import syntax
from refcodec.bitstream.context import ModelState
from refcodec.bitstream.limits import LEVELS as LIMITS
from refcodec.bitstream.limits import Profile
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import Component, EntropyMode, Quantiser, UniformParameters, UnitType, WordParameters
from refcodec.bitstream.units import MAGIC, ByteSource, seal_unit
from refcodec.bitstream.visitor import Tracer, Writer
from refcodec.digests import joint_digest, piece_digests, seal_of, stated
from refcodec.dtypes import BY_NAME
from refcodec.entropy.fixed_length import decode_fixed, encode_fixed
from refcodec.entropy.huffman import decode_huffman, encode_huffman
from refcodec.entropy.levels import BUCKETS, NODE, NODES, SIGN, LevelTable
from refcodec.entropy.modes import Block
from refcodec.entropy.payload import PayloadReader, encode_payload
from refcodec.entropy.range_coder import Coder
from refcodec.entropy.watch import Observer, watching
from refcodec.model import Model, Tensor

BIAS = np.array([[0.5, -0.75, 1.0], [0.0, 0.6875, -0.25]], np.float32)
IDS = np.array([3, -1, 0, 1000], np.int64)
LEVELS = np.array([[1, 1, -1, 0], [2, -3, 1, 1]], np.int32)
STATES, STEP_MANTISSA, STEP_EXPONENT = 8, 1, -2
WEIGHT = np.array([[0.5, 0.5, -0.25, 0.0], [0.75, -1.5, 0.5, 0.5]], np.float32)      # what the levels stand for


def make_stream() -> bytes:
    """The example's bytes: BIAS and IDS lossless in a joined unit, WEIGHT as levels of a trellis of 8 states."""

    model = Model([Tensor("bias", BIAS), Tensor("ids", IDS), Tensor("weight", WEIGHT)])
    float32, int64 = BY_NAME["float32"], BY_NAME["int64"]
    header = s.ModelHeader("example", tensor_count=3, tensor=[
        s.TensorEntry(t.name, t.dtype.code, len(t.shape), list(t.shape)) for t in model.tensors])
    state = ModelState(Profile.MAIN, 0, header, header.tensor)
    stream, places = MAGIC, []

    def unit(kind: UnitType, function, x) -> None:
        nonlocal stream
        writer = Writer(LIMITS[1], None, state)
        function(writer, x)
        sealed = seal_unit(kind, writer.body(), compress=False)
        places.append((kind, len(stream), len(sealed)))
        stream += sealed

    def descriptor(i: int, delta: int, **chosen) -> s.TensorDescriptor:
        return s.TensorDescriptor(delta, stated(model.tensors[i].digest()),
                                  component=[s.Component(entropy_mode=EntropyMode.CC, **chosen)])

    def tensor_data(descriptors: list[s.TensorDescriptor], arrays: list, unit_digest: int = 0) -> None:
        coded, bypass = encode_payload([Block(d.component[0], *of) for d, of in zip(descriptors, arrays)])
        payload = s.Payload(len(coded), len(bypass), coded, bypass)
        unit(UnitType.TENSOR_DATA, syntax.tensor_data,
             s.TensorData(len(descriptors) - 1, descriptors, 1, [payload], unit_digest))

    unit(UnitType.STREAM_HEADER, syntax.stream_header, s.StreamHeader(profile=Profile.MAIN, level=1))
    unit(UnitType.MODEL_HEADER, syntax.model_header, header)
    of_bias, of_ids = WordParameters(zeros=1, signs=1, trailing=1, shift=19), WordParameters(zeros=1, signs=2)
    tensor_data([descriptor(0, 0, word=of_bias), descriptor(1, 0, word=of_ids)],
                [(BIAS.view(np.uint32), float32), (IDS.view(np.uint64).reshape(1, -1), int64)],
                stated(joined_digest(model)))
    step = s.UniformParameters(STATES.bit_length() - 2, STEP_MANTISSA, STEP_EXPONENT)
    tensor_data([descriptor(2, 2, quantiser=Quantiser.UNIFORM, uniform=step)], [(LEVELS, float32)])
    (_, start, _), (_, first, first_size), (_, second, second_size) = places[1:4]
    unit(UnitType.INDEX, syntax.index, s.Index(2, [
        s.IndexEntry(first - start, first_size, 1, [0, 0]),
        s.IndexEntry(second - first - first_size, second_size, 0, [2])]))
    unit(UnitType.MODEL_END, syntax.model_end, s.ModelEnd(2, model.digest(), stated(seal(header.model_name, model))))
    unit(UnitType.STREAM_END, syntax.stream_end, s.StreamEnd(1, len(places) + 1, places[4][1]))
    return stream


def seal(name: str, model: Model) -> bytes:
    """The seal of the model: nothing describes it but its name."""
    return seal_of(model.digest(), name, [None] * 3)


def joined_digest(model: Model) -> bytes:
    """The digest of the joined unit of bias and ids."""
    return joint_digest([t.digest() for t in model.tensors[:2]])


def hex_dump(data: bytes) -> list[str]:
    return [f"{i:04x}  {data[i : i + 16].hex(' ')}" for i in range(0, len(data), 16)]


def shown(value) -> str:
    if isinstance(value, (bytes, memoryview)):
        data = bytes(value)
        return data.hex(" ") if len(data) <= 16 else data[:12].hex(" ") + f" ... ({len(data)} bytes)"
    return f'"{value}"' if isinstance(value, str) else f"{value:#018x}" if value >= 1 << 32 else str(int(value))


def element_lines(stream: bytes) -> list[str]:
    """Every unit and every syntax element: bit in the body, bits, name, descriptor, value."""

    elements: list = []
    parsed = Parser(ByteSource(stream), make_reader=Tracer, on_reader=lambda r: elements.extend(r.elements)).parse()
    lines = [f"omc_magic at 0x0000: {stream[:4].hex(' ')}"]
    for unit in parsed.units:
        head, check = stream[unit.offset : unit.body_offset].hex(" "), stream[unit.end - 4 : unit.end].hex(" ")
        lines.append(f"unit {unit.number} at {unit.offset:#06x}: {UnitType(unit.type).name}, coded_size {unit.size}, "
                     f"head {head}, unit_check {check}")
        for e in (e for e in elements if e.unit == unit.number):
            lines.append(f"  {e.bit:5} {e.bits:4}  {e.clause:6} {e.name:28} {e.descriptor:7} {shown(e.value)}".rstrip())
    return lines


class BinLog(Observer):
    """One line for each bin and each run of bypass bits of a decoder."""

    def __init__(self):
        self.lines: list[str] = []

    def block_begins(self, payload: PayloadReader, block: Block) -> None:
        rows, columns = block.array.shape
        self.lines.append(f"{'words' if block.words else 'levels'} of unit {payload.unit}, {rows} rows of {columns}")
        self.table, self.element = block.coder.table, -1

    def block_ends(self, payload: PayloadReader, block: Block) -> None:
        r = payload.r
        self.lines.append(f"  at the end: range {r.range:08x}, code {r.code:08x}, position {r.pos}, "
                          f"bypass substream at bit {payload.raw_bit}")

    def bin(self, contexts: list[tuple[int, int]], p: int, value: int, before: Coder, after: Coder) -> None:
        self._line(self._what(contexts[0][0]), p, before, value)

    def bypass(self, n: int, value: int, before: Coder, after: Coder) -> None:
        if n:
            self._line(f"Bypass({n})", "", before, value)

    def _what(self, i: int) -> str:
        """What a bin with context i is; it begins an element if it is the first kind of its table."""
        kind = self.table.kind(i)
        if isinstance(self.table, LevelTable):
            place, node = divmod(i, NODES)
            self.element += kind is NODE.kinds[0]
            where = f"sign_place {place - BUCKETS}" if node == SIGN else f"place {place}"
            return f"{kind.purpose}, {where}, node {node}"
        self.element += kind is self.table.kinds[0]
        singular = re.sub(r"(?<!s)s\b|(?<=ss)es\b", "", kind.purpose)
        return f"{re.sub(' (flag|bit)$', '', singular)}, context {i}"

    def _line(self, what: str, p: int | str, r: Coder, value: int) -> None:
        place = str(self.element) if self.element >= 0 else "-"
        self.lines.append(f"  {place:>3}  {what:32} {p:>6}  {r.range:08x}  {r.code:08x}  {value}")


def further_payloads() -> list[str]:
    """C.6: payloads of one segment each, for the tools that the stream does not use. Each is decoded again."""

    def words(rows: list[str], dtype: str) -> np.ndarray:
        return np.array([[int(w, 16) for w in row.split()] for row in rows], BY_NAME[dtype].word)

    def shown_words(array: np.ndarray) -> str:
        return ("\n" + 13 * " ").join(" ".join(f"{int(w):0{2 * array.itemsize}x}" for w in row) for row in array)

    lines: list[str] = []

    def add(title: str, facts: list[str], block: Block) -> None:
        coded, bypass = encode_payload([block])
        reader, empty = PayloadReader(coded, bypass), replace(block, array=np.zeros_like(block.array))
        reader.read(empty)
        reader.finish()
        assert np.array_equal(empty.array, block.array), title
        lines.extend(
            [title, *(f"  {f}" for f in facts), f"  coded:  {coded.hex(' ')}", f"  bypass: {bypass.hex(' ')}".rstrip()])

    def add_levels(title: str, levels: list[list[int]], states: int, kernel_size: int, mode: EntropyMode) -> None:
        step = UniformParameters(states.bit_length() - 2 if states else 0)
        facts = [f"states {states}, kernel_size {kernel_size}"] + [f"row {i}: {row}" for i, row in enumerate(levels)]
        add(title, facts, Block(Component(Quantiser.UNIFORM, mode, uniform=step), np.array(levels, np.int32),
                                BY_NAME["float32"], kernel_size=kernel_size))

    def add_words(title: str, dtype: str, rows: list[str], predictor: list[str] | None = None, **chosen) -> None:
        array, params = words(rows, dtype), WordParameters(**chosen)
        base = None if predictor is None else words(predictor, dtype)
        kind = BY_NAME[dtype]
        facts = [
            f"{dtype}; word_zeros_flag {params.zeros}, word_sign_mode {params.signs}, "
            f"word_scale_rule {params.scale_rule},",
            f"word_row_shift_flag {params.row_shifts}, word_trailing_flag {params.trailing}, "
            f"word_shift {params.shift}, word_offset {params.offset}"
        ]
        if base is not None:
            facts.append(f"predictor: {shown_words(base)}")
        facts.append(f"words:     {shown_words(array)}")
        add(title, facts, Block(Component(entropy_mode=EntropyMode.CC, word=params), array, kind, base))

    def add_map(title: str, dtype: str, rows: list[str], predictor: list[str] | None = None) -> None:
        array, base, kind = words(rows, dtype), None if predictor is None else words(predictor, dtype), BY_NAME[dtype]
        facts = [f"{dtype}; plane_rows 2"] + ([f"predictor: {shown_words(base)}"] if predictor else [])
        add(title, [*facts, f"words:     {shown_words(array)}"],
            Block(Component(entropy_mode=EntropyMode.MAP), array, kind, base, plane_rows=2))

    def add_integers(title: str, integers: list[int], encode, decode) -> None:
        payload = encode(np.array(integers))
        assert decode(payload, len(integers)).tolist() == integers, title
        lines.extend([title, f"  integers: {integers}", f"  coded:  {payload.hex(' ')}"])

    matrix = [[3, -1, 0, 2, -1, 0, 3, -1], [2, -1, 1, 2, 0, 0, 4, -1], [-5, 40, 0, 0, 1, -1, 700, 12]]
    add_levels("CC, plain quantiser", matrix, 0, 1, EntropyMode.CC)
    add_levels("CM, plain quantiser", matrix, 0, 1, EntropyMode.CM)
    add_levels("CM, trellis and kernels", matrix, 8, 3, EntropyMode.CM)
    add_words("repeats forwards, backwards and with other signs", "float32",
              ["3fc00000 c0100000 40400000 00000000 3f9e0419 3fc00000 c0100000 40400000 80000000 bf9e0419",
               "3f9e0419 00000000 40400000 c0100000 3fc00000 3e123456 bdabcdef 3fc00000 40100000 c0400000"], repeats=1)
    add_words("row shifts and a steady expectation", "float32",
              ["3f800000 3fa00000 40000000 bf000000", "3f8001a0 3fa34560 40012340 bf0ff000",
               "3f812345 3fa98765 40000001 bf0fffff"], row_shifts=1, scale_rule=2, signs=2)
    add_words("trailing zeros, no zeros, no signs", "float16", ["3c00 3c40 3d80 3e01 4200 3800"], zeros=0, signs=0,
              trailing=1, scale_rule=1)
    add_words("differences by the predictor's exponent", "bfloat16",
              ["3f80 3f82 bf00 0000 4049 8000", "3e99 3f81 c000 0001 4049 7f80"],
              ["3f80 3f80 bf01 0000 4049 0000", "3e99 3f80 c000 8001 404a 7f7f"], scale_rule=2, signs=1)
    add_words("integers with offset and shift", "int16", ["0064 0068 0060 0064 ff9c", "0164 0064 0068 0064 7ffc"],
              offset=0x64, shift=2, signs=2)
    add_words("differences of integers", "uint8", ["10 11 ff 00 7f"], ["10 10 00 ff 80"], signs=1)
    planes = [
        "3c00 3c40 3c40 0000 b800", "3c00 3c40 8000 4123 3c00", "2e66 2e66 0000 0001 3c00", "2e00 3c40 2e66 2e66 4900"
    ]
    add_map("MAP, two planes", "float16", planes)
    add_map("MAP, with a predictor", "float16", planes, ["3c00 3c40 3c41 0000 b800", "3c10 3c40 0000 4123 3c00",
                                                         "2e66 2e67 0000 0001 3c00", "2e00 3c40 2e66 0000 4800"])
    add_map("MAP, integers", "uint8", ["80 84 88 7c", "80 80 88 00", "fc 80 84 84", "78 80 84 80"])
    add_integers("HUFFMAN, levels", [5, 0, 0, 0, -1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1], encode_huffman,
                 decode_huffman)
    add_integers("FIXED, levels, fixed_length 5", [5, -16, 15, 0, -1], lambda values: encode_fixed(values, 5, True),
                 lambda data, count: decode_fixed(data, count, 5, True))
    return lines


def annex() -> str:
    """The text of Annex C."""
    log, stream = BinLog(), make_stream()
    with watching(log):
        decoded = decode(stream, threads=1)
    fence = "```"
    parts = [f"""## Annex C Worked example (informative)

### C.1 Recipe

A stream of the MAIN profile, level 1, with one model, 'example', of three tensors:

| tensor | type | shape | coded as |
|---|---|---|---|
| bias | float32 | 2, 3 | words by 9.5; word_shift 19, so M' = 4; word_trailing_flag 1 |
| ids | int64 | 4 | words by 9.5, joined with bias |
| weight | float32 | 2, 4 | levels by 9.3, {STATES} states, step {STEP_MANTISSA} * 2^{STEP_EXPONENT} |

{fence}
bias   = {BIAS.tolist()}
ids    = {IDS.tolist()}
levels = {LEVELS.tolist()}
weight = {WEIGHT.tolist()}
{fence}

All units are PLAIN. The folds are the default ones: bias is a matrix of 2 rows of 3, ids of 1 row of 4, weight of 2
rows of 4.

### C.2 Bytes

The stream has {len(stream)} bytes (offset and content in hexadecimal).

{fence}hex""", *hex_dump(stream), f"""{fence}

### C.3 Units and syntax elements

Each line has the position in the body in bits, the number of bits, the clause, name and descriptor of the element, and
its value.

{fence}""", *element_lines(stream), f"""{fence}

### C.4 Bins

Each line has the number of the element in its matrix, what is decoded, the probability of a 1 (p of 9.1.2), range and
code before, and the result. The bits of the bypass substream are not listed: the sign and then the low two mantissa
bits of each element of bias that is not zero, as far as trailing zeros have not given them, and the low mantissa bits
of ids.

{fence}""", *log.lines, f"""{fence}

At the end of each payload the position is 3 bytes past its end and code is less than 2^24 (R9.1.4-1).

### C.5 Decoded tensors
""", fence]
    for t in decoded.tensors:
        words = " ".join(f"{int(w):0{2 * t.dtype.itemsize}x}" for w in t.words)
        (piece,) = piece_digests(t.words)
        parts.append(f"{t.name}: words {words}\n  piece  {piece.hex()}\n  digest {t.digest().hex()}")
    parts.append(f"unit of bias and ids, digest {joined_digest(decoded).hex()}")
    parts.append(f"model digest {decoded.digest().hex()}")
    parts.append(f"seal         {seal(decoded.name, decoded).hex()}\n{fence}")
    parts.append(f"""
### C.6 Further payloads

Each is the payload of one segment of a component. Words are in hexadecimal, a row in each line.

{fence}""")
    parts.extend([*further_payloads(), fence])
    return "\n".join(parts)


if __name__ == "__main__":
    print(annex())
