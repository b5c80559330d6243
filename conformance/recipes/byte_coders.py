"""Small writers of DEFLATE, bzip2 and LZMA2, for streams that no encoder makes: what the formats leave open (SPEC
9.9.2)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from .scripts import packed, u

# DEFLATE: bits from the lowest of a byte on, codewords from their highest bit on (RFC 1951)

LENGTH_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


def low_first(value: int, n: int) -> str:
    return u(value, n)[::-1]


def canonical(lengths: dict[int, int]) -> dict[int, str]:
    """Codewords of a canonical code, by symbol; over-full codes get the low bits of theirs."""
    code, found, last = 0, {}, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - last
        found[symbol], last = u(code, length), length
        code += 1
    return found


def dynamic_block(literals: dict[int, int], distances: dict[int, int], symbols: Sequence[str | int],
                  hlit: int | None = None, last: bool = True) -> str:
    """A block of type 2. literals, distances: lengths of codewords by symbol; symbols: literal symbols, or bits as
    they are."""
    hlit = hlit or max(257, max(literals) + 1)
    hdist = max(1, max(distances, default=0) + 1)
    listed = [literals.get(i, 0) for i in range(hlit)] + [distances.get(i, 0) for i in range(hdist)]
    used = dict.fromkeys(range(16), 5) | {17: 2, 18: 2}            # complete: 16 / 32 + 2 / 4
    code = canonical(used)
    text = [str(int(last)), low_first(2, 2), low_first(hlit - 257, 5), low_first(hdist - 1, 5), low_first(19 - 4, 4)]
    text += [low_first(used.get(symbol, 0), 3) for symbol in LENGTH_ORDER]
    i = 0
    while i < len(listed):
        zeros = next((k for k, length in enumerate(listed[i:]) if length), len(listed) - i)
        if zeros >= 3:
            run = min(zeros, 138)
            text.append(code[18] + low_first(run - 11, 7) if run >= 11 else code[17] + low_first(run - 3, 3))
            i += run
        else:
            text.append(code[listed[i]])
            i += 1
    words = canonical(literals)
    return "".join(text) + "".join(s if isinstance(s, str) else words[s] for s in symbols)


def deflate(bits: str, padding: str = "0") -> bytes:
    bits += padding * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def zlib_stream(coded: bytes, data: bytes, cinfo: int = 7) -> bytes:
    """A zlib container. cinfo: the window that it claims, 2^(cinfo + 8)."""
    head = bytes([cinfo << 4 | 8, 0])
    return head[:1] + bytes([-int.from_bytes(head, "big") % 31]) + coded + zlib.adler32(data).to_bytes(4, "big")


def zlib_stored(data: bytes) -> bytes:
    size = len(data).to_bytes(2, "little")
    return zlib_stream(b"\x01" + size + bytes(255 - b for b in size) + data, data)


# bzip2 (1.0.8): bits from the highest of a byte on

BLOCK, END = u(0x314159265359, 48), u(0x177245385090, 48)


def bzip2_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc ^ 0xFFFFFFFF


def bzip2_symbols(block: bytes) -> tuple[int, list[int], list[int]]:
    """(origin, used bytes, symbols with the end) of a block: sorted rotations, move to front, runs of zeros."""
    n = len(block)
    order = sorted(range(n), key=lambda i: block[i:] + block[:i])
    front, symbols, zeros = sorted(set(block)), [], 0
    used = list(front)
    for i in order:
        place = front.index(block[i - 1])
        front.insert(0, front.pop(place))
        if place == 0:
            zeros += 1
            continue
        symbols += _run(zeros) + [place + 1]
        zeros = 0
    return order.index(0), used, symbols + _run(zeros) + [len(used) + 1]


def _run(length: int) -> list[int]:
    digits = []
    while length > 0:
        digits.append(0 if length & 1 else 1)
        length = (length - 1) // 2
    return digits


def bzip2_block(block: bytes, data: bytes, lengths: Sequence[int] | None = None, selectors: int = 0,
                randomised: int = 0) -> str:
    """One block. block: data after its runs are coded; lengths: of codewords, by symbol; selectors: more than are
    needed."""
    origin, used, symbols = bzip2_symbols(block)
    size = len(used) + 2
    lengths = lengths or [max(1, (size - 1).bit_length())] * size
    code = canonical(dict(enumerate(lengths)))
    rows = [[16 * i + j in used for j in range(16)] for i in range(16)]
    table = u(lengths[0], 5) + "0"
    for a, b in zip(lengths, lengths[1:]):
        table += ("10" * (b - a) if b > a else "11" * (a - b)) + "0"
    count = (len(symbols) + 49) // 50 + selectors
    return "".join([
        BLOCK,
        u(bzip2_crc(data), 32),
        str(randomised),
        u(origin, 24), *(str(int(any(r))) for r in rows), *("".join(str(int(x)) for x in r) for r in rows if any(r)),
        u(2, 3),
        u(count, 15), "0" * count, table, table, *(code[s] for s in symbols)
    ])


def bzip2(blocks: Sequence[str], checks: Sequence[int], padding: str = "0") -> bytes:
    """A stream of blocks with the CRCs `checks`."""
    combined = 0
    for check in checks:
        combined = (combined << 1 | combined >> 31) & 0xFFFFFFFF ^ check
    return b"BZh1" + packed([*blocks, END, u(combined, 32)], padding)


# LZMA2: literals and matches of distance 1 only

class LzmaChunk:
    """The range encoder of LZMA with the contexts that literals and matches of distance 1 need. lc is 0."""

    def __init__(self, lp: int, pb: int, position: int, before: int = 0):
        self.lp, self.pb, self.position, self.state = lp, pb, position, 0
        self.low, self.range, self.cache, self.pending, self.out = 0, 0xFFFFFFFF, 0, 1, bytearray()
        self.p: dict[tuple, int] = {}

    def bit(self, bit: int, *context) -> None:
        p = self.p.get(context, 1024)
        bound = (self.range >> 11) * p
        if bit:
            self.low, self.range = self.low + bound, self.range - bound
        else:
            self.range = bound
        self.p[context] = p - (p >> 5) if bit else p + ((2048 - p) >> 5)
        while self.range < 1 << 24:
            self.range = self.range << 8
            self._shift()

    def _shift(self) -> None:
        if self.low < 0xFF000000 or self.low >> 32:
            self.out += bytes([(self.cache +
                                (self.low >> 32)) & 255]) + bytes([(255 + (self.low >> 32)) & 255]) * (self.pending - 1)
            self.cache, self.pending = self.low >> 24 & 255, 0
        self.pending += 1
        self.low = self.low << 8 & 0xFFFFFFFF

    def tree(self, value: int, n: int, *context) -> None:
        node = 1
        for k in reversed(range(n)):
            self.bit(value >> k & 1, *context, node)
            node = 2 * node + (value >> k & 1)

    def literal(self, byte: int) -> None:
        """A literal that does not follow a match."""
        self.bit(0, "match", self.state, self.position & (1 << self.pb) - 1)
        self.tree(byte, 8, "literal", self.position & (1 << self.lp) - 1)
        self.position += 1

    def match(self, length: int) -> None:
        """The last byte `length` times again, 2 to 9."""
        at = self.position & (1 << self.pb) - 1
        self.bit(1, "match", self.state, at)
        self.bit(0, "again", self.state)
        self.bit(0, "length")
        self.tree(length - 2, 3, "low", at)
        self.tree(0, 6, "distance", min(length - 2, 3))
        self.state, self.position = 7, self.position + length

    def coded(self) -> bytes:
        for _ in range(5):
            self._shift()
        return bytes(self.out)


def lzma_stored(data: bytes) -> bytes:
    """A chunk of bytes as they are, which resets the dictionary."""
    return b"\x01" + (len(data) - 1).to_bytes(2, "big") + data


def lzma_chunk(coded: bytes, size: int, lp: int, pb: int, reset: int = 0xC0) -> bytes:
    """A chunk of LZMA that makes `size` bytes. reset: 0xC0 state and properties, 0xE0 the dictionary, too."""
    return (bytes([reset | size - 1 >> 16]) + (size - 1 & 0xFFFF).to_bytes(2, "big") +
            (len(coded) - 1).to_bytes(2, "big") + bytes([(pb * 5 + lp) * 9]) + coded)
