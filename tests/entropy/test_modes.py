"""The table of entropy modes: complete, in agreement with SPEC, and every mode codes what its row says it codes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import ROOT, uncompiled
from helpers.words import random_words

from refcodec.bitstream.structures import (
    BYTES,
    RANGE_CODED,
    Component,
    EntropyMode,
    Quantiser,
    UniformParameters,
    mode_facts,
)
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part, possible_modes
from refcodec.entropy.modes import MODES, Block, RangeCoded, Whole, WholeArray, range_coded, whole_array
from refcodec.entropy.payload import PayloadReader, encode_payload
from refcodec.errors import EntropyError

SPEC = (ROOT / "SPEC.md").read_text(encoding="utf-8")
TYPES = [BY_NAME[name] for name in ("float32", "bfloat16", "int8", "uint64", "float4_e2m1fn", "bool")]
EACH = pytest.mark.parametrize("mode", EntropyMode, ids=lambda m: m.name)
BLOCKS = [(mode, words) for mode in RANGE_CODED for words in (False, True) if mode.facts.codes(words)]
EACH_BLOCK = pytest.mark.parametrize("mode, words", BLOCKS, ids=[f"{m.name} {'words' if w else 'levels'}"
                                                                 for m, w in BLOCKS])


def some_levels(seed: int, shape=(17, 23), largest: int = 90) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.4, rng.integers(-largest, largest + 1, shape), 0).astype(np.int32)


def blocks(mode: EntropyMode, words: bool) -> list[Block]:
    """Words of several types without and with a predictor, or levels with and without a trellis."""
    if not words:
        return [Block(Component(Quantiser.UNIFORM, mode, uniform=UniformParameters(size)), some_levels(size),
                      BY_NAME["float32"], kernel_size=1 + size) for size in range(6)]
    rng, found = np.random.default_rng(1), []
    for dtype in TYPES:
        array, predictor = random_words(rng, dtype, (14, 9)), random_words(rng, dtype, (14, 9))
        near = np.where(rng.random(array.shape) < 0.5, predictor, array)
        found += [Block(Component(entropy_mode=mode), array, dtype, plane_rows=5),
                  Block(Component(entropy_mode=mode), near, dtype, predictor, plane_rows=7, first_row=3)]
    return found


def emptied(block: Block) -> Block:
    return replace(block, array=np.zeros_like(block.array))


# The table

@EACH
def test_a_row_for_each_mode(mode):
    facts, row = mode.facts, MODES[mode]
    assert isinstance(row, RangeCoded if facts.range_coded else WholeArray)
    if isinstance(row, RangeCoded):
        assert [row.words is not None, row.levels is not None] == [facts.codes(True), facts.codes(False)]
    assert facts.words or facts.levels


def test_nothing_but_modes_has_a_row():
    assert list(MODES) == list(EntropyMode)


@EACH
def test_clauses_are_those_of_spec(mode):
    for number in filter(None, (mode.facts.words, mode.facts.levels)):
        assert re.search(rf"^#+ {re.escape(number)} ", SPEC, re.MULTILINE), number


@EACH
def test_requirements_are_those_of_spec(mode):
    row = MODES[mode]
    coders = [c for c in (row.words, row.levels) if c] if isinstance(row, RangeCoded) else []
    rules = {mode.facts.rule} if mode.facts.rule else set()
    rules |= {rule for c in coders for _, _, rules in c.failures.values() for rule in rules.split()}
    rules |= {rule for c in coders for rule in c.bypass_rules}
    rules |= {row.word_rule} - {""} if isinstance(row, WholeArray) else set()
    assert rules or mode == EntropyMode.BINS        # whose requirements are those of its payload, in bins.py
    for rule in rules:
        assert f"[{rule}]" in SPEC, rule


@EACH
def test_what_a_mode_does_not_code_has_a_requirement(mode):
    facts = mode.facts
    restricted = not (facts.words and facts.levels and facts.complex_words and facts.profile == 0)
    assert bool(facts.rule) == restricted


def test_the_coders_of_bytes():
    assert {m for m, row in MODES.items() if isinstance(row, WholeArray) and row.byte_coder} == {EntropyMode.RAW,
                                                                                                 *BYTES}


def test_a_reserved_number_has_facts_that_forbid_nothing():
    assert mode_facts(max(EntropyMode) + 1).codes(True)
    assert mode_facts(max(EntropyMode) + 1).codes(False)


@EACH
def test_the_other_kind_is_refused(mode):
    with pytest.raises(ValueError, match=mode.name):
        whole_array(mode) if mode in RANGE_CODED else range_coded(mode, True)


# Range-coded modes

@EACH_BLOCK
def test_blocks_of_one_payload(mode, words):
    coded = blocks(mode, words)
    reader = PayloadReader(*encode_payload(coded))
    for block in coded:
        found = emptied(block)
        reader.read(found)
        np.testing.assert_array_equal(found.array, block.array)
    reader.finish()


@EACH_BLOCK
def test_contexts_persist_from_block_to_block(mode, words):
    block = blocks(mode, words)[0]
    once, twice = (sum(map(len, encode_payload([block] * n))) for n in (1, 2))
    assert twice < 2 * once


def failed(reader: PayloadReader, coded: list[Block]) -> EntropyError | None:
    try:
        for block in coded:
            reader.read(emptied(block))
        reader.finish()
    except EntropyError as error:
        return error
    return None


@EACH_BLOCK
def test_damage_is_an_error_or_other_values(mode, words):
    coded, rng = blocks(mode, words), np.random.default_rng(7)
    good = encode_payload(coded)
    known = {code for b in coded for code, _, _ in b.coder.failures.values()} | {"ENTROPY_END"}
    seen = set()
    for _ in range(60):
        bad = [bytearray(part) for part in good]
        for part in filter(None, bad):
            part[rng.integers(len(part))] ^= 1 << rng.integers(8)
        error = failed(PayloadReader(*bad), coded)
        seen.add(error.code if error else None)
    assert seen - {None}
    assert seen <= known | {None}


@EACH_BLOCK
def test_another_length_is_an_error(mode, words):
    coded = blocks(mode, words)
    payload, bypass = encode_payload(coded)
    for bad in ((payload[:-1], bypass), (payload + b"\0", bypass), (payload, bypass + b"\0"), (b"", bypass)):
        error = failed(PayloadReader(*bad), coded)
        assert error is not None
        assert error.code in ("ENTROPY_END", "OUT_OF_RANGE")


@pytest.mark.parametrize("mode", [m for m in RANGE_CODED if m.facts.levels], ids=lambda m: m.name)
def test_levels_beyond_the_mode_are_refused(mode):
    block = Block(Component(Quantiser.UNIFORM, mode), np.array([[5, range_coded(mode, False).largest + 1]], np.int32),
                  BY_NAME["float32"])
    with pytest.raises(EntropyError, match="larger step"):
        encode_payload([block])


# Modes of whole arrays

@pytest.mark.parametrize("mode", [m for m in EntropyMode if m not in RANGE_CODED], ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [None, *TYPES], ids=lambda d: d.name if d else "levels")
def test_whole_arrays(mode, dtype):
    rng = np.random.default_rng(3)
    integers = some_levels(3) if dtype is None else random_words(rng, dtype, (17, 23)) >> np.uint8(dtype.bits > 63)
    c = Component(Quantiser.UNIFORM if dtype is None else Quantiser.NONE, mode, row_count=17, column_count=23)
    row = whole_array(mode)
    whole = Whole(c, dtype, alphabet_limit=4096)
    data = row.encode(whole, integers)
    found = row.decode(whole, data)
    np.testing.assert_array_equal(found, integers.reshape(-1))
    for bad in (data[:-1], data + b"\0", b""):
        with pytest.raises(EntropyError):
            row.decode(whole, bad)


# What an encoder asks

def part_of(integers: np.ndarray, dtype: str = "float32") -> Part:
    quantiser = Quantiser.NONE if integers.dtype.kind == "u" else Quantiser.UNIFORM
    return Part(Component(quantiser), integers, BY_NAME[dtype])


def possible(part: Part) -> set[EntropyMode]:
    return set(possible_modes(part, list(EntropyMode)))


def test_modes_of_words_and_of_levels():
    assert possible(part_of(np.ones((2, 2), np.uint32))) == {m for m in EntropyMode if m.facts.words}
    assert possible(part_of(np.ones((2, 2), np.int32))) == {m for m in EntropyMode if m.facts.levels}


def test_modes_of_complex_words():
    assert possible(part_of(np.ones((2, 2), np.uint32), "complex64")) == {
        m for m in EntropyMode if m.facts.words and m.facts.complex_words}


@pytest.mark.parametrize("level, coded", [((1 << 30) - 1, True), (-(1 << 30) + 1, True), (1 << 30, False),
                                          (-(1 << 30), False)])
def test_range_coded_modes_have_a_largest_level(level, coded):
    found = possible(part_of(np.array([[0, level]])))
    assert {m for m in RANGE_CODED if m.facts.levels and m in found} == {
        m for m in RANGE_CODED if m.facts.levels and coded}
    assert {m for m in EntropyMode if m not in RANGE_CODED} <= found


@pytest.mark.parametrize("values, coded", [(np.arange(4095), True), (np.arange(4096), False),
                                           (np.arange(20000) % 4095, True), (np.arange(20000) // 4, False)])
def test_huffman_codes_few_different_values(values, coded):
    assert (EntropyMode.HUFFMAN in possible(part_of(values.astype(np.uint32)[None]))) == coded


# The same bytes without the compiler

def digests() -> list[str]:
    return [f"{mode.name} {words} {hashlib.sha256(b''.join(encode_payload(blocks(mode, words)))).hexdigest()}"
            for mode, words in BLOCKS]


def test_same_bytes_without_the_compiler():
    assert uncompiled(__file__).splitlines() == digests()


if __name__ == "__main__":
    print("\n".join(digests()))
