"""Relative indices with Huffman codes, and fixed length: round trips, extremes, damage, the search (SPEC 9.7, 9.8)."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import uncompiled
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refcodec.compiler import COMPILE
from refcodec.entropy.fixed_length import decode_fixed, encode_fixed, least_length
from refcodec.entropy.huffman import decode_huffman, encode_huffman, search_bound
from refcodec.entropy.huffman_loop import INDEX_MAX, LENGTH_MAX
from refcodec.entropy.huffman_search import sparse as sparse_form
from refcodec.entropy.huffman_tables import canonical_codes, code_lengths, index_symbols, symbol_extents
from refcodec.errors import EntropyError

ROOT = Path(__file__).resolve().parents[2]
CODES = {"ENTROPY_END", "OUT_OF_RANGE", "FORBIDDEN_PATTERN", "RESOURCE_LIMIT"}
TYPES = st.sampled_from([np.dtype(f"{kind}{width}") for kind in "iu" for width in (1, 2, 4, 8)])
LOW, HIGH = -(1 << 63), (1 << 63) - 1


def sparse(size: int, density: float, seed: int = 0, scale: float = 3) -> np.ndarray:
    """Levels int64, a part `density` of which is not 0, in denser and sparser regions."""
    rng = np.random.default_rng(seed)
    local = density * np.exp(rng.normal(0, 0.7, size // 200 + 1)).repeat(200)[:size]
    values = np.rint(rng.laplace(0, scale, size)).astype(np.int64)
    return np.where(rng.random(size) < local, np.where(values, values, 1), 0)


def cases() -> dict[str, np.ndarray]:
    wide = np.zeros(200_000, np.int64)
    wide[[5, 70_000, 150_003]] = 1, 2, -1
    return {
        "empty": np.zeros(0, np.int64), "zeros": np.zeros(1000, np.int64), "one": np.array([7]),
        "constant": np.full(5000, -3), "every third": np.tile([0, 0, 9],
                                                              400), "last": np.eye(1, 999, 998, dtype=np.int64)[0],
        "extremes": np.array([LOW, 0, HIGH, LOW, -1, HIGH]), "words": np.array([0, 2**64 - 1, 2**63, 1], np.uint64),
        "far": wide, "dense": sparse(3000, 1), "sparse": sparse(4000, 0.1), "bytes": np.arange(256, dtype=np.uint8),
        "scattered": np.random.default_rng(1).integers(LOW, HIGH,
                                                       300), "deep": np.repeat(np.arange(1, 26),
                                                                               np.minimum(1 << np.arange(25), 3000)),
    }


def code_of(call) -> str:
    with pytest.raises(EntropyError) as error:
        call()
    return error.value.code


def bits(text: str) -> bytes:
    text = text.replace(" ", "")
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


class SpecDecoder:
    """SPEC 9.7 word by word, bit by bit."""

    def __init__(self, data: bytes):
        self.text, self.at = "".join(f"{byte:08b}" for byte in data), 0

    def u(self, n: int) -> int:
        self.at += n
        return int(self.text[self.at - n:self.at] or "0", 2)

    def ue(self) -> int:
        z = 0
        while not self.u(1):
            z += 1
        return (1 << z) - 1 + self.u(z)

    def se(self) -> int:
        k = self.ue()
        return (k + 1) // 2 if k % 2 else -(k // 2)

    def table(self, n: int, first: int) -> list[tuple[int, int]]:
        symbols, shift = [], -1
        while len(symbols) < n:
            run = self.ue() if n - len(symbols) > 1 else 0
            symbols += range(first, first + run + 1)
            if len(symbols) < n:
                shift = self.u(6) if shift < 0 else shift
                high = self.ue()
                first = symbols[-1] + 2 + (high << shift) + self.u(shift)
        lengths = [self.u(5)]
        while len(lengths) < n:
            lengths.append(lengths[-1] + self.se())
        return sorted(zip(lengths, symbols))

    def symbol(self, table: list[tuple[int, int]]) -> int:
        word = 0
        window = int(self.text[self.at:self.at + LENGTH_MAX].ljust(LENGTH_MAX, "0"), 2)
        for length, symbol in table:
            word += 1 << (LENGTH_MAX - length)
            if window < word:
                self.at += length
                return symbol
        raise AssertionError("incomplete")

    def array(self, count: int) -> list[int]:
        element, entries = [0] * count, self.u(count.bit_length())
        if entries:
            n, width = self.ue() + 1, self.u(6) + 1
            first = self.u(width)
            values = self.table(n, first - (first >> (width - 1) << width))
            b, precision, thresholds = self.u(16) + 1, self.u(4), [0] * self.u(3)
            for k in range(len(thresholds)):
                thresholds[k] = (thresholds[k - 1] if k else 0) + self.ue()
            tables = []
            for _ in range(len(thresholds) + 1):
                n = self.ue() + 1
                tables.append(self.table(n, self.ue()))
            top = max((b - 1).bit_length() - precision - 1, 0)
            last = (top << precision) + ((b - 1) >> top)
        position, mean = -1, 128
        for _ in range(entries):
            s = self.symbol(tables[sum(t <= mean for t in thresholds)])
            e = max((s >> precision) - 1, 0)
            least = ((s - (e << precision)) << e) + 1
            index = least + self.u((b - least).bit_length() if s == last else e)
            position += index
            element[position] = self.symbol(values)
            mean += ((index << 4) - mean) >> 3
        assert len(self.text) - self.at in range(8)
        assert "1" not in self.text[self.at:]
        return element


# Huffman


@pytest.mark.parametrize("name", cases())
def test_the_text_decodes_it(name):
    values = cases()[name]
    expected = values.view(np.int64) if values.dtype == np.uint64 else values
    for bound in (None, 3):
        assert SpecDecoder(encode_huffman(values, bound)).array(values.size) == expected.tolist()


@pytest.mark.parametrize("name", cases())
def test_cases(name):
    values = cases()[name]
    data = encode_huffman(values)
    decoded = decode_huffman(data, values.size, values.dtype)
    assert decoded.dtype == values.dtype
    assert np.array_equal(decoded, values)
    for bound in (1, 2, 15, INDEX_MAX):
        assert np.array_equal(decode_huffman(encode_huffman(values, bound), values.size, values.dtype), values)


@settings(max_examples=80, deadline=None)
@given(TYPES.flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 60), fill=st.just(0))),
       st.one_of(st.none(), st.integers(1, 70)))
def test_round_trip(values, bound):
    assert np.array_equal(decode_huffman(encode_huffman(values, bound), values.size, values.dtype), values)


@pytest.mark.parametrize("values", [(-3, 2**63 - 1), (-4, 2**63 - 1), (-2**63, 2**63 - 1), (-2**62 - 5, 2**62 + 3),
                                    (-2**63, -1, 2**63 - 1), (-2**63, -2**63 + 3, 2**63 - 9, 2**63 - 1),
                                    (-2, 2**63 - 1)])
def test_gaps_of_64_bits(values):
    values = np.array(values, np.int64)  # prefix and low bits of a gap stay within R9.7.3-2
    assert np.array_equal(decode_huffman(encode_huffman(values), values.size, values.dtype), values)


def test_sizes():
    assert encode_huffman(np.zeros(10**6, np.int64)) == bytes(3)
    assert len(encode_huffman(np.full(10**6, 5))) == len(encode_huffman(np.full(600_000, 5))) <= 12  # none per element
    values = sparse(100_000, 0.08)
    searched = len(encode_huffman(values))
    assert searched <= min(len(encode_huffman(values, bound)) for bound in (1, 7, 15, 31, 300)) + 8
    assert len(encode_huffman(values, 15)) > 1.05 * searched


def test_search_is_exhaustive():
    for seed in range(3):
        values = sparse(3000, 0.06, seed)
        found, array = search_bound(values), sparse_form(values)
        largest = int(array.distances[-1])
        sizes = [min(array.size(b, p) for p in (1, 2, 3, 4, 15)) for b in range(1, largest + 1)]
        assert min(array.size(found, p) for p in (1, 2, 3, 4, 15)) <= min(sizes) * 1.001
    assert search_bound(np.zeros(9, np.int64)) == search_bound(np.ones(9, np.int64)) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=300))
def test_codes(counts):
    lengths = code_lengths(np.array(counts))
    codes = canonical_codes(lengths)
    assert int((1 << (LENGTH_MAX - lengths)).sum()) == 1 << LENGTH_MAX
    words = sorted((int(length), int(code)) for length, code in zip(lengths, codes))
    starts = [code << (LENGTH_MAX - length) for length, code in words]
    assert starts == sorted(set(starts))
    assert starts[0] == 0


@pytest.mark.parametrize("precision", range(16))
def test_index_symbols(precision):
    for bound in (1, 2, 3, 4, 5, 31, 1000, INDEX_MAX - 1, INDEX_MAX):
        first, extra = symbol_extents(bound, precision)
        indices = np.arange(1, bound + 1)
        symbols = index_symbols(indices, precision)
        assert symbols[-1] == len(first) - 1
        assert extra.max() <= 15
        assert extra[-1] == int(bound - first[-1]).bit_length()
        assert np.all(indices - first[symbols] >= 0)
        assert np.all((indices - first[symbols]) >> extra[symbols] == 0)


def test_table_by_hand():
    # Elements 0 0 5 0 5 5: indices 3, 2, 1 and one value; bound 3, precision 15, codes 0: 10, 1: 11, 2: 0.
    head = "011" + "1 000011 0101 00000" + "0000000000000010 1111 000"
    table = "011 1 011 00010 1 010"  # lengths 2 2 3 are over-full, see below
    assert code_of(lambda: decode_huffman(bits(head + table + "0"), 6)) == "FORBIDDEN_PATTERN"
    table = "011 1 011 00010 1 011"  # lengths 2 2 1
    data = bits(head + table + "0 11 10")
    assert decode_huffman(data, 6).tolist() == [0, 0, 5, 0, 5, 5]
    assert code_of(lambda: decode_huffman(data, 5)) in CODES
    assert code_of(lambda: decode_huffman(data + b"\0", 6)) == "ENTROPY_END"
    assert code_of(lambda: decode_huffman(bits(head + table + "0 11 10 1"), 6)) == "ENTROPY_END"
    assert code_of(lambda: decode_huffman(bits(head + table + "0 11 0"), 6)) == "OUT_OF_RANGE"  # behind the end
    assert code_of(lambda: decode_huffman(bits("111"), 6)) == "OUT_OF_RANGE"  # seven entries
    incomplete = "011 1 011 00010 1 1"  # lengths 2 2 2
    assert code_of(lambda: decode_huffman(bits(head + incomplete + "0 11 10"), 6)) == "FORBIDDEN_PATTERN"
    beyond = "011 010 011 00010 1 011"  # index symbols 1 2 3, of which 3 lies above the bound
    assert code_of(lambda: decode_huffman(bits(head + beyond + "0" * 30), 6)) == "OUT_OF_RANGE"
    lone = "011" + "1 000011 0101 00001"  # a lone symbol with a codeword of one bit
    assert code_of(lambda: decode_huffman(bits(lone + "0" * 60), 6)) == "FORBIDDEN_PATTERN"


def test_limits():
    data = encode_huffman(np.arange(1, 1001))
    assert code_of(lambda: decode_huffman(data, 1000, np.int64, 999)) == "RESOURCE_LIMIT"
    assert decode_huffman(data, 1000, np.int16, 1000)[-1] == 1000
    assert code_of(lambda: encode_huffman(np.arange(1, 1001), None, 1000)) == "RESOURCE_LIMIT"
    assert code_of(lambda: decode_huffman(data, 1000, np.uint8)) == "OUT_OF_RANGE"
    assert code_of(lambda: decode_huffman(encode_huffman(np.array([-1])), 1, np.uint32)) == "OUT_OF_RANGE"
    assert code_of(lambda: decode_huffman(b"\xff\xff\0\0", 1 << 16)) in CODES
    assert code_of(lambda: decode_huffman(b"\x40\0" + bytes(7), 3)) in CODES  # an endless ue(v)


@pytest.mark.parametrize("name", ["sparse", "extremes", "scattered", "far", "dense"])
def test_damage(name):
    values = cases()[name]
    data, rng = encode_huffman(values), np.random.default_rng(3)
    damaged = [data[:k] for k in range(0, len(data), max(1, len(data) // 40))]
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(min(len(data), rng.choice([12, 60, 10**6])))] ^= 1 << rng.integers(8)
        damaged.append(bytes(changed))
    damaged += [rng.bytes(rng.integers(1, 80)) for _ in range(150)]
    for payload in damaged:
        try:
            assert decode_huffman(payload, values.size, values.dtype).size == values.size
        except EntropyError as error:
            assert error.code in CODES


# Fixed length


@settings(max_examples=60, deadline=None)
@given(TYPES.flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40))), st.integers(0, 9))
def test_fixed_round_trip(values, more):
    signed = values.dtype.kind == "i"
    length = min(least_length(values, signed) + more, 64)
    data = encode_fixed(values, length, signed)
    assert len(data) == (values.size * length + 7) // 8
    decoded = decode_fixed(data, values.size, length, signed)
    assert np.array_equal(decoded, values)
    assert decoded.dtype.kind == values.dtype.kind
    assert 8 * decoded.itemsize >= length
    assert decoded.itemsize == 1 or 4 * decoded.itemsize < length


def test_fixed_layout():
    assert encode_fixed(np.array([1, -1, 3]), 3, True) == bits("001 111 011")
    assert decode_fixed(bits("001 111 011"), 3, 3, False).tolist() == [1, 7, 3]
    extremes = np.array([LOW, HIGH, -1])
    assert decode_fixed(encode_fixed(extremes, 64, True), 3, 64, True).tolist() == extremes.tolist()
    words = np.array([2**64 - 1, 0, 2**63], np.uint64)
    assert decode_fixed(encode_fixed(words, 64, False), 3, 64, False).tolist() == words.tolist()
    assert least_length(np.array([-4, 3]), True) == 3
    assert least_length(np.array([4]), True) == 4
    assert least_length(np.zeros(3, np.int64), True) == 1
    assert least_length(np.array([7]), False) == 3
    assert code_of(lambda: encode_fixed(np.array([4]), 3, True)) == "OUT_OF_RANGE"
    assert code_of(lambda: encode_fixed(np.array([-1]), 3, False)) == "OUT_OF_RANGE"
    for payload in (b"\x01", b"", bytes(2)):
        assert code_of(lambda payload=payload: decode_fixed(payload, 2, 3, True)) == "ENTROPY_END"


# The same bits without the compiler


def results() -> dict[str, str]:
    out = {}
    for name, values in cases().items():
        data = encode_huffman(values[:20_000])
        back = decode_huffman(data, values[:20_000].size, values.dtype)
        signed = values.dtype.kind == "i"
        fixed = encode_fixed(values[:2000], least_length(values, signed), signed)
        whole = decode_fixed(fixed, values[:2000].size, least_length(values, signed), signed)
        middle = len(data) // 2
        changed = data[:middle] + bytes(byte ^ 16 for byte in data[middle:middle + 1]) + data[middle + 1:]
        try:
            damage = decode_huffman(changed, values[:20_000].size, values.dtype).tobytes()
        except EntropyError as error:
            damage = str(error).encode()
        out[name] = hashlib.sha256(b"".join((data, back.tobytes(), fixed, whole.tobytes(), damage))).hexdigest()
    return out


@pytest.mark.skipif(not COMPILE, reason="the compiler is off")
def test_same_bits_without_the_compiler():
    assert json.loads(uncompiled(__file__)) == results()


if __name__ == "__main__":
    assert not COMPILE
    json.dump(results(), sys.stdout)
