"""Payloads by the decoder run backwards: its loops ask for a value, a chooser gives one, and the encoder's side
writes it.

In a process that compiles nothing (REFCODEC_COMPILE=0) the observer of the loops is asked for each level, class or bin
before it is decoded. Of several values drawn from a shaped distribution it gives the one that meets the most contexts
which this payload has not met. So any payload that comes out is legal, and most of its contexts are rare ones. Integers
only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refcodec.dtypes import DType
from refcodec.entropy import levels, map_coding, words
from refcodec.entropy.map_loop import MAPS
from refcodec.entropy.modes import Block
from refcodec.entropy.payload import PayloadReader
from refcodec.entropy.range_coder import Coder, encoder_finish, encoder_start
from refcodec.entropy.watch import ENCODE, Observer, watching
from refcodec.entropy.word_parts import code_class
from refcodec.entropy.word_steps import WORDS
from refcodec.errors import EntropyError
from refcodec.reconstruction.random_integers import random_words

FAR = 1 << 60                     # an end of the payload that is never reached
CODED_ROOM, BYPASS_ROOM = 1 << 22, 1 << 20
SCRATCH = np.zeros(1 << 12, np.uint8)       # where an encoder writes that only shows its bins


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


class Probe(Observer):
    """Lists the bins of words that an encoder would code: (context, bin)."""

    def __init__(self):
        self.bins: list[tuple[int, int]] = []

    def bin(self, contexts: list[tuple[int, int]], p: int, value: int, before: Coder, after: Coder) -> None:
        self.bins.append((contexts[0][0], value))


class Chooser(Observer):
    """Chooses. seen: (set, context, bin) met by this payload; target: the magnitudes of levels drift around
    2^target."""

    def __init__(self, draw: Draw, tries: int = 6, largest: int = levels.CLASS_MAX + 1):
        self.draw, self.tries, self.largest = draw, tries, largest
        self.seen: set[tuple[int, int, int]] = set()
        self.max_class, self.shift, self.is_float, self.target, self.left = 1, 0, 0, 0, 0

    # What the decoder tells and asks

    def block_begins(self, payload: PayloadReader, block: Block) -> None:
        self.table, self.shift = block.coder.table, 0
        if self.table is MAPS:
            parameters = self.map_parameters(block.dtype)
            map_coding.put_parameters(parameters, block.dtype, payload.raw, payload.raw_bit)
            layout = map_coding.layout_of(block.dtype, parameters, block.plane_rows)
        elif self.table is WORDS:
            layout = words.layout_of(block.dtype, block.predictor, block.component.word)
        else:
            return
        self.is_float, self.max_class = int(layout[0]), int(layout[3])

    def choose(self, kind: str, where: tuple) -> int:
        choices = {"level": self.some_level, "class": self.some_class, "row shift": self.some_row_shift,
                   "bin": self.some_bin, "bypass": lambda n: self.draw.below(1 << n)}
        return choices[kind](*where)

    def bin(self, contexts: list[tuple[int, int]], p: int, value: int, before: Coder, after: Coder) -> None:
        of_levels = isinstance(self.table, levels.LevelTable)
        self.seen.update((among if of_levels else self.table.size, i, value) for among, (i, _) in enumerate(contexts))

    # Choices

    def best(self, candidates: list, met: Callable[[int], list[tuple[int, int, int]]]) -> int:
        """The candidate that meets the most new contexts; met: lists them. The first one of equals."""
        if len(candidates) == 1 or self.draw.below(4) == 0:
            return candidates[0]
        return max(candidates, key=lambda value: sum(key not in self.seen for key in met(value)))

    def some_level(self, code, model, place, sign_place, positive, negative, q: int) -> int:
        """A level in parity q, from the places of its nodes."""
        def met(k: int) -> list[tuple[int, int, int]]:
            keys = []

            def note(mode, r, buf, model, place, node, bit):
                places = place if isinstance(place, tuple) else (place,)
                keys.extend((among, p + node, bit) for among, p in enumerate(places))
                return bit, r
            levels.code_level(ENCODE, encoder_start(SCRATCH), SCRATCH, note, None, place, sign_place, positive,
                              negative, q, k)
            return keys
        return self.best(self.level_candidates(), met)

    def some_class(self, contexts: np.ndarray, place: int, centre: int) -> int:
        """A class, near the expected one or not."""
        draw, least, most = self.draw, 1, self.max_class - self.shift
        near = [draw.between(max(least, min(most, centre - 3)), max(least, min(most, centre + 3))) for _ in range(2)]
        wide = [draw.between(least, most) for _ in range(2)]
        steps = [min(most, max(least, centre + draw.between(-18, 16))) for _ in range(self.tries)]
        spare = contexts.copy()

        def met(cls: int) -> list[tuple[int, int, int]]:
            probe = Probe()
            with watching(probe):
                code_class(ENCODE, encoder_start(SCRATCH), SCRATCH, spare, place, centre, cls)
            return [(self.table.size, i, bit) for i, bit in probe.bins]
        return self.best(near + steps + wide, met)

    def some_bin(self, sources: tuple, p: int) -> int:
        """The bin that its context has not met, mostly; trailing zeros and repeats come in runs."""
        i, draw = sources[0][0], self.draw
        unseen = [b for b in (0, 1) if (self.table.size, i, b) not in self.seen]
        if len(unseen) == 1 and draw.below(4):
            return unseen[0]
        return int(draw.below(8) < (7 if self.table.kind(i).purpose in ("trailing zeros", "repeats") else 3))

    def some_row_shift(self, contexts: np.ndarray, limit: int, before: int) -> int:
        draw = self.draw
        wanted = draw.pick((before, draw.below(limit + 1), draw.below(min(limit, 3) + 1), 0))
        self.shift = 0 if self.is_float else wanted
        return wanted

    def map_parameters(self, dtype: DType) -> map_coding.MapParameters:
        draw = self.draw
        shift = draw.pick((0, 0, 0, draw.below((dtype.mantissa if dtype.kind == "f" else dtype.bits - 1) + 1)))
        return map_coding.MapParameters(draw.below(4) > 0, draw.below(4) > 0, shift,
                                        draw.pick((0, draw.word())) & (1 << dtype.bits) - 1)

    def drift(self) -> int:
        """The magnitude of the next values, as a number of bits: it stays for a while, then jumps."""
        if self.left == 0:
            quiet = self.draw.below(3) == 0                    # long enough for the means to fall to 0
            self.left = self.draw.between(60, 300) if quiet else self.draw.between(1, 60)
            self.target = -1 if quiet else self.draw.pick(
                (0, 1, 2, self.draw.below(10), self.draw.below(self.largest + 1)))
        self.left -= 1
        return self.target

    def level_candidates(self) -> list[int]:
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


class Driven(PayloadReader):
    """A reader whose payload does not exist yet: read( ) fills the arrays of blocks with what is chosen."""

    def __init__(self, chooser: Chooser):
        super().__init__(b"", b"")
        self.buf, self.raw = np.zeros(CODED_ROOM, np.uint8), chooser.draw.bytes(BYPASS_ROOM)
        self.r = Coder(*encoder_start(self.buf))._replace(end=FAR)

    def bytes(self) -> tuple[bytes, bytes]:
        """(coded, bypass) of what has been read."""
        end = encoder_finish(self.r, self.buf)
        bypass = self.raw[: (self.raw_bit + 7) // 8].copy()
        if self.raw_bit % 8:
            bypass[-1] &= 0xFF00 >> self.raw_bit % 8 & 0xFF
        return self.buf[:end].tobytes(), bypass.tobytes()


def drive(chooser: Chooser, blocks: list[Block]) -> tuple[bytes, bytes]:
    """Fill the arrays of blocks, and the payload (coded, bypass) that they come from. Raises ValueError where none is
    legal."""
    driven = Driven(chooser)
    try:
        with watching(chooser):
            for block in blocks:
                driven.read(block)
    except EntropyError as error:
        raise ValueError(error.message) from None
    return driven.bytes()
