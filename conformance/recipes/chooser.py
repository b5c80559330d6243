"""Payloads by the decoder run backwards: its loops ask for a value, a chooser gives one, and the encoder's side
writes it.

In a process that compiles nothing (REFCODEC_COMPILE=0) the functions that decode a level, a class or a bin are
replaced by
ones that choose: of several values drawn from a shaped distribution the one that meets the most contexts which this
payload
has not met. So any payload that comes out is legal, and most of its contexts are rare ones. Integers only.
"""

from __future__ import annotations

import numpy as np

from refcodec.entropy import (
    context_coding,
    levels,
    map_coding,
    map_loop,
    mixed_coding,
    payload,
    range_coder,
    word_loop,
    words,
)
from refcodec.entropy.range_coder import (
    ENCODE,
    Coder,
    code_bin,
    encoder_finish,
    encoder_start,
)
from refcodec.reconstruction.random_integers import random_words

FAR = 1 << 60                     # an end of the payload that is never reached
CODED_ROOM, BYPASS_ROOM = 1 << 22, 1 << 20


class Draw:
    """Integers of a seed, one after the other: the words of SPEC 8.6.6."""

    def __init__(self, seed: int):
        self.seed, self.position, self.words = seed, 0, []

    def word(self) -> int:
        """The next 64 bits."""
        if not self.words:
            self.words = random_words(self.seed, self.position, 256).tolist()[::-1]
            self.position += 256
        return self.words.pop()

    def below(self, n: int) -> int:
        """0 .. n-1."""
        return self.word() % n

    def pick(self, items):
        return items[self.below(len(items))]

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)

    def bytes(self, n: int) -> np.ndarray:
        """uint8 [n]."""
        found = random_words(self.seed ^ 0x5DEECE66D, self.position, n // 8 + 1)
        self.position += n // 8 + 1
        return found.astype("<u8").view(np.uint8)[:n].copy()


class Chooser:
    """Chooses. seen: (set, context, bin) met by this payload; target: the magnitudes of levels drift around
    2^target."""

    def __init__(self, draw: Draw, tries: int = 6, largest: int = levels.CLASS_MAX + 1):
        self.draw, self.tries, self.largest = draw, tries, largest
        self.seen: set[tuple[int, int]] = set()
        self.probing: list | None = None
        self.max_class, self.shift, self.is_float, self.target, self.left = 1, 0, 0, 0, 0

    def fresh(self, keys: list) -> int:
        return sum(key not in self.seen for key in keys)

    def best(self, candidates: list, met) -> int:
        """The candidate that meets the most new contexts; met: lists them. The first one of equals."""
        if len(candidates) == 1 or self.draw.below(4) == 0:
            return candidates[0]
        return max(candidates, key=lambda value: self.fresh(met(value)))

    @staticmethod
    def usual(contexts: int, i: int) -> int:
        """Eighths of 1 among the bins of a context: trailing zeros and repeats come in runs."""
        runs = i >= word_loop.TRAILING_PLACE or word_loop.REPEAT_PLACE <= i < word_loop.REPEAT_SIGN_PLACE
        if contexts == map_loop.CONTEXTS:
            runs = i >= map_loop.TRAILING_PLACE
        return 7 if runs else 3

    def drift(self) -> int:
        """The magnitude of the next values, as a number of bits: it stays for a while, then jumps."""
        if self.left == 0:
            quiet = self.draw.below(3) == 0                    # long enough for the means to fall to 0
            self.left = self.draw.between(60, 300) if quiet else self.draw.between(1, 60)
            self.target = -1 if quiet else self.draw.pick(
                (0, 1, 2, self.draw.below(10), self.draw.below(self.largest + 1)))
        self.left -= 1
        return self.target

    def level(self) -> list[int]:
        """Levels to choose among."""
        target, found = self.drift(), []
        if target < 0:
            return [0] if self.draw.below(4) else [0, self.draw.pick((1, -1, 2, -3))]
        for _ in range(self.tries):
            size = self.draw.pick(
                (target, target, self.draw.below(target + 1), min(self.largest, target + self.draw.below(4)), 0))
            magnitude = min(levels.LEVEL_MAX, (1 << size >> 1) + self.draw.below(max(1, 1 << size >> 1)))
            found.append(-magnitude if self.draw.below(2) else magnitude)
        return found


class Driven(payload.PayloadReader):
    """A reader whose payload does not exist yet: read( ) fills the arrays of blocks with what is chosen."""

    def __init__(self, chooser: Chooser):
        super().__init__(b"", b"")
        self.buf, self.raw = np.zeros(CODED_ROOM, np.uint8), chooser.draw.bytes(BYPASS_ROOM)
        self.r = Coder(*encoder_start(self.buf))._replace(end=FAR)
        self.chooser = chooser

    def bytes(self) -> tuple[bytes, bytes]:
        """(coded, bypass) of what has been read."""
        end = encoder_finish(self.r, self.buf)
        bypass = self.raw[: (self.raw_bit + 7) // 8].copy()
        if self.raw_bit % 8:
            bypass[-1] &= 0xFF00 >> self.raw_bit % 8 & 0xFF
        return self.buf[:end].tobytes(), bypass.tobytes()


def drive(chooser: Chooser, blocks: list) -> tuple[bytes, bytes]:
    """Fill the arrays of blocks, and the payload (coded, bypass) that they come from. Raises ValueError where none is
    legal."""
    driven, replaced = Driven(chooser), _choosing(chooser)
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    try:
        for module, name, function in replaced:
            setattr(module, name, function)
        for block in blocks:
            driven.read(block)
    except payload.EntropyError as error:
        raise ValueError(error.message) from None
    finally:
        for module, name, function in before:
            setattr(module, name, function)
    return driven.bytes()


_level, _class, _rows, _planes = levels.code_level, word_loop.code_class, word_loop.decode_rows, map_loop.decode_map_rows
_bypass = range_coder.code_bypass
SCRATCH = np.zeros(1 << 12, np.uint8)


def _choosing(c: Chooser) -> list[tuple]:
    """(module, name, function): what stands in the decoder's place, so that its loops ask this chooser."""
    def met_by_level(code_places, q):
        def met(k):
            keys = []

            def note(mode, r, buf, model, place, node, bit):
                places = place if isinstance(place, tuple) else (place,)
                keys.extend((i, p + node, bit) for i, p in enumerate(places))
                return bit, r
            _level(note, ENCODE, encoder_start(SCRATCH), SCRATCH, None, *code_places, q, k)
            return keys
        return met

    def code_level(code, mode, r, buf, model, place, sign_place, positive, negative, q, k):
        met = met_by_level((place, sign_place, positive, negative), q)
        k = c.best(c.level(), met)
        c.seen.update(met(k))
        return _level(code, ENCODE, r, buf, model, place, sign_place, positive, negative, q, k)

    def word_bin(mode, r, buf, contexts, i, bit):
        if c.probing is not None:
            c.probing.append((len(contexts), i, bit))
            return bit, r
        if mode != ENCODE:
            unseen = [b for b in (0, 1) if (len(contexts), i, b) not in c.seen]
            bit = unseen[0] if len(unseen) == 1 and c.draw.below(4) else int(
                c.draw.below(8) < c.usual(len(contexts), i))
        c.seen.add((len(contexts), i, bit))
        return code_bin(ENCODE, r, buf, contexts, i, bit, range_coder.WORD_COUNT_LIMIT)

    def code_class(mode, r, buf, contexts, place, centre, value):
        least, most = 1, c.max_class - c.shift
        near = [c.draw.between(max(least, min(most, centre - 3)), max(least, min(most, centre + 3))) for _ in range(2)]
        wide = [c.draw.between(least, most) for _ in range(2)]
        steps = [min(most, max(least, centre + c.draw.between(-18, 16))) for _ in range(c.tries)]

        def met(cls):
            c.probing = []
            _class(ENCODE, encoder_start(SCRATCH), SCRATCH, contexts, place, centre, cls)
            keys, c.probing = c.probing, None
            return keys
        return _class(ENCODE, r, buf, contexts, place, centre, c.best(near + steps + wide, met))

    def bypass(mode, r, buf, value, n):
        return _bypass(ENCODE, r, buf, value if mode == ENCODE else c.draw.below(1 << n), n)

    def row_shift(mode, values, i, limit, shift, contexts, r, buf):
        wanted = c.draw.pick((shift, c.draw.below(limit + 1), c.draw.below(min(limit, 3) + 1), 0))
        same, r = word_bin(ENCODE, r, buf, contexts, word_loop.SHIFT_PLACE, 1 if wanted == shift else 0)
        r = r if same else _bypass(ENCODE, r, buf, wanted, 6)[1]
        c.shift = 0 if c.is_float else wanted
        return wanted, r

    def decode_rows(values, exponents, layout, *rest):
        c.is_float, c.max_class, c.shift = int(layout[0]), int(layout[3]), 0
        return _rows(values, exponents, layout, *rest)

    def decode_map_rows(values, predictor, layout, *rest):
        c.is_float, c.max_class, c.shift = int(layout[0]), int(layout[3]), 0
        return _planes(values, predictor, layout, *rest)

    def get_parameters(dtype, raw, bit):
        bits = dtype.mantissa if dtype.kind == "f" else dtype.bits - 1
        shift = c.draw.pick((0, 0, 0, c.draw.below(bits + 1)))
        chosen = map_coding.MapParameters(
            c.draw.below(4) > 0,
            c.draw.below(4) > 0, shift,
            c.draw.pick((0, c.draw.word())) & (1 << dtype.bits) - 1)
        return chosen, map_coding._put_parameters(chosen, dtype, raw, bit)

    return [(context_coding, "code_level", code_level), (mixed_coding, "code_level", code_level),
            (word_loop, "word_bin", word_bin), (map_loop, "word_bin", word_bin), (word_loop, "code_class", code_class),
            (map_loop, "code_class", code_class), (word_loop, "code_bypass", bypass),
            (word_loop, "_code_row_shift", row_shift), (words, "decode_rows", decode_rows),
            (map_coding, "decode_map_rows", decode_map_rows), (map_coding, "_get_parameters", get_parameters)]
