"""Payloads of BINS (SPEC 9.12), drawn at random and damaged where its rules are: elements, tables, sizes, states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.recipes.bins_payload import Element, Pieces, Plane, Script, usual_payload, written
from conformance.recipes.bins_scripts import given
from conformance.recipes.builder import build
from conformance.recipes.edits import EditedStream
from conformance.recipes.parts import MODES, P, any_words, direct, predicted, uniform, words
from conformance.recipes.scripts import packed
from conformance.recipes.single import several
from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import Component, UnitType
from refcodec.dtypes import BY_NAME, DType

from . import damage

EXTREMES = (0, 1, 2, 3, 7, 8, 31, 32, 33, 255, 256, 257, 4095, 4096, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**33 - 2,
            2**33 - 1)
COUNTS = (1, 13, 150)


@dataclass
class Slot:
    """What a payload is put into: a stream of one tensor, or of two of which the second is predicted from the first."""

    dtype: DType
    count: int
    levels: bool = False
    states: int = 0
    base: np.ndarray | None = None

    def stream(self) -> EditedStream:
        """With a payload of zeros."""
        shape, name = (self.count,), self.dtype.name
        if self.levels:
            zeros = Script(1, "signed", [Plane(narrow=1)], levels=True, states=self.states).payload([0] * self.count)
            component = uniform(1, -60, self.states.bit_length() - 2 if self.states else 0)
        else:
            zeros = usual_payload(np.zeros(self.count, np.int64), self.dtype, self.base is not None)
            component = Component()
        part = given(component, name, zeros)
        if self.base is None:
            tensors = [("w", name, shape, direct(part))]
        else:
            tensors = [("base", name, shape, direct(words(self.dtype, self.base[None], MODES.RAW))),
                       ("w", name, shape, predicted(part, P.INTRA, 0, -1))]
        return EditedStream(build(several(lambda: tensors), Profile.MAIN, 1, []), [])


def slots() -> list[Slot]:
    made = []
    for count in COUNTS:
        made += [Slot(BY_NAME[n], count) for n in ("uint2", "float8_e4m3fn", "int16", "bfloat16", "uint32", "float32",
                                                   "int64", "uint64", "float64")]
        made += [Slot(BY_NAME["float32"], count, levels=True, states=states) for states in (0, 4, 8, 64)]
        made += [Slot(BY_NAME[n], count, base=any_words(700 + count, n, (count,)))
                 for n in ("uint8", "float8_e5m2", "float16", "bfloat16", "float32", "int64", "float64")]
    return made


# Drawing

def drawn_bins(rng: random.Random, width: int) -> Plane:
    raw_bits = rng.choice([r for r in (0, 4, 8) if r <= width])
    cells = 1 << width - raw_bits
    narrow = rng.choice((0, 1, 2, rng.randrange(1, 40), 256 if not rng.randrange(8) else 0))
    narrow = min(narrow, cells)
    first = rng.choice((0, cells - narrow, rng.randrange(cells - narrow + 1))) if narrow else 0
    plane = Plane(first, narrow, [], raw_bits)
    above, start, end = 0, first << raw_bits, first + narrow << raw_bits
    for _ in range(min(rng.randrange(14), 256 - narrow)):
        log = rng.randrange(raw_bits, width + 1)
        low = ((above + (1 << log) - 1 >> log) + rng.choice((0, 0, 1, rng.randrange(1 << 4)))) << log
        if narrow and low < end and low + (1 << log) > start:
            above = end
            continue
        if low + (1 << log) > 1 << width:
            continue
        plane.wide.append((low, log))
        above = low + (1 << log)
    if not plane.bins:
        return Plane(wide=[(0, width)], raw_bits=raw_bits)
    return plane


def drawn_table(rng: random.Random, used: list[bool]) -> list[int]:
    """Frequencies of the symbols that are used, and sometimes of one that is not."""
    table = [int(x) for x in used]
    if sum(table) == 1:                              # no symbol may have all slots
        table[table.index(0)] = 1
    for k in range(rng.randrange(1, 9), 0, -1):
        table[rng.choice([s for s, f in enumerate(table) if f])] += (4096 - sum(table)) // k
    where = [s for s, f in enumerate(table) if f]
    while sum(table) < 4096 or max(table) > 4095:
        table[rng.choice(where)] += 4096 - sum(table)
        if max(table) > 4095:
            table[table.index(max(table))] -= 1
    return table


def drawn_plane(rng: random.Random, width: int, pairs: bool, groups: int) -> tuple[Plane, list[bool]]:
    """A plane, and which of its symbols are used."""
    plane = drawn_bins(rng, width)
    used = [rng.randrange(8) > 0 for _ in plane.bins]
    used[rng.randrange(len(used))] = True
    if len(used) > 1:
        tables = 1 << rng.choice((0, 0, 1, 2, 4))
        plane.tables = [drawn_table(rng, used) for _ in range(2 * tables if pairs else tables)]
        plane.choices = [rng.randrange(tables) for _ in range(groups)]
    return plane, used


def drawn_script(rng: random.Random, slot: Slot) -> tuple[Script, list[int]]:
    """A payload that is right, and its integers."""
    t, bits = slot.dtype, rng.randrange(1, 33) if slot.levels else slot.dtype.bits
    tails = 0 if slot.states else rng.randrange(max(0, -(-(bits - 32) // 8)), (bits - 1) // 8 + 1)
    kind = "signed" if slot.levels or slot.base is not None else {"u": "plain", "i": "signed", "f": "float"}[t.kind]
    group = rng.choice((3, 3, 4, 6, 17))
    drawn = [drawn_plane(rng, 8 if p else bits - 8 * tails, slot.states > 0 and p == 0, 1 + (slot.count - 1 >> group))
             for p in range(tails + 1)]
    script = Script(bits, kind, [plane for plane, _ in drawn], slot.levels, slot.states, group)
    if slot.base is not None and t.kind == "f":
        script.may_choose = True
        if rng.randrange(2):
            script.top = rng.choice((0, 1, (1 << t.exponent) - 1, 2047, rng.randrange(1 << t.exponent)))
            script.exponents = [int(p) >> t.mantissa & (1 << t.exponent) - 1 for p in slot.base]
    return script, [drawn_number(rng, script, drawn) for _ in range(slot.count)]


def drawn_number(rng: random.Random, script: Script, drawn: list[tuple[Plane, list[bool]]]) -> int:
    values = []
    for plane, used in drawn:
        low, log = rng.choice([b for b, u in zip(plane.bins, used, strict=True) if u])
        values.append(low + rng.randrange(1 << log))
    head, sign = (values[0], 0) if script.kind == "plain" else (values[0] >> 1, values[0] & 1)
    m = sum(v << 8 * k for k, v in enumerate(values[1:])) | head << 8 * (len(values) - 1)
    if script.kind == "signed":
        return -1 - m if sign else m
    return sign << script.bits - 1 | m


# Damage

def other_element(rng: random.Random, element: Element) -> Element:
    value, descriptor = element
    value = rng.choice((value - 1, value + 1, 2 * value, rng.choice(EXTREMES), rng.choice(EXTREMES), -value))
    if isinstance(descriptor, int):
        return value & (1 << descriptor) - 1, descriptor
    return (max(0, value) if descriptor == "ue" else rng.choice((value, -value))), descriptor


def damaged_header(rng: random.Random, script: Script) -> bytes:
    """One or two elements of the header with other values, left out, or twice."""
    elements = script.elements()
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(min(len(elements), rng.choice((8, 30, 1 << 20))))
        kind = rng.randrange(10)
        if kind == 0 and len(elements) > 1:
            del elements[at]
        elif kind == 1:
            elements.insert(at, elements[at])
        else:
            elements[at] = other_element(rng, elements[at])
    return packed(list(map(written, elements)))


def damage_pieces(rng: random.Random, pieces: Pieces) -> None:
    """One thing of one plane of a chunk."""
    piece = rng.choice(rng.choice(pieces.chunks))
    kind = rng.randrange(9)
    if kind == 0 and piece.states:
        piece.states[rng.randrange(8)] = rng.choice((0, 1, 65535, 65536, 65537, 2**32 - 1, rng.getrandbits(32)))
    elif kind == 1 and piece.words:
        del piece.words[rng.randrange(len(piece.words))]
    elif kind == 2:
        piece.words.insert(rng.randrange(len(piece.words) + 1), rng.getrandbits(16))
    elif kind == 3:
        piece.word_count = max(0, len(piece.words) + rng.choice((-1, 1, rng.randrange(-9, 10), 2**31 - 200)))
        if rng.randrange(2):                                  # at the cost of the extra bits: the sum is right
            piece.extra_size = max(0, len(piece.extra) + 2 * (len(piece.words) - piece.word_count))
    elif kind == 4:
        piece.extra_size = rng.choice((0, 1, 2**32 - 1, max(0, len(piece.extra) + rng.choice((-1, 1)))))
    elif kind == 5:
        piece.extra += bytes(rng.choice((1, 2)))
    elif kind == 6 and piece.extra:
        piece.extra = piece.extra[:-1] + bytes([piece.extra[-1] ^ 1 << rng.randrange(8)])
    elif kind == 7 and piece.raw:
        piece.raw = piece.raw[:-1] + bytes([piece.raw[-1] ^ 1 << rng.randrange(8)])
    elif piece.choices:
        piece.choices = piece.choices[:-1] + bytes([rng.getrandbits(8)])


def damaged_payload(rng: random.Random, script: Script, numbers: list[int]) -> bytes:
    pieces, kind = script.pieces(numbers), rng.randrange(8)
    if kind < 3:
        pieces.header = damaged_header(rng, script)
    elif kind < 5:
        damage_pieces(rng, pieces)
    data = pieces.bytes()
    if kind == 5:
        return data[: rng.randrange(len(data))]
    if kind == 6 and len(data) > 2:
        at = rng.randrange(min(len(data), 60))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    return damage.of_bytes(data, rng) if kind == 7 else data


def inputs(seed: int) -> Iterator[tuple[bytes, np.ndarray | None]]:
    """Streams without end; with the words of the last tensor where the payload is right and they are known."""
    rng = random.Random(seed)
    made = [(slot, slot.stream()) for slot in slots()]
    while True:
        slot, stream = rng.choice(made)
        script, numbers = drawn_script(rng, slot)
        right = not rng.randrange(6)
        data = script.payload(numbers) if right else damaged_payload(rng, script, numbers)
        unit = stream.of(UnitType.TENSOR_DATA, int(slot.base is not None))
        coded, size = unit.find("coded", 0), unit.find("coded_size", 0)
        coded.value, size.value = data, len(data)
        known = right and not slot.levels and slot.base is None
        yield stream.bytes(), np.array([x & (1 << slot.dtype.bits) - 1 for x in numbers],
                                       slot.dtype.word) if known else None
