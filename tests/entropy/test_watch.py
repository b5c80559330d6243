"""The observer beside the loops: what it is told of every range-coded mode, and that what it chooses is coded."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import sys

import numpy as np
import pytest
from helpers import ROOT, uncompiled

from refcodec.bitstream.structures import Component, Quantiser, UniformParameters, WordParameters
from refcodec.compiler import COMPILE
from refcodec.dtypes import BY_NAME
from refcodec.entropy.levels import NODE, NODES, node_name
from refcodec.entropy.modes import MODES, Block, RangeCoded
from refcodec.entropy.payload import PayloadReader, encode_payload
from refcodec.entropy.range_coder import Coder, encoder_finish, encoder_start
from refcodec.entropy.watch import NOBODY, ContextTable, Observer, observer, watching

CODERS = {f"{mode.name} {kind}": (mode, kind == "words") for mode, row in MODES.items() if isinstance(row, RangeCoded)
          for kind in ("words", "levels") if getattr(row, kind)}


def block_of(name: str) -> Block:
    """Something to code: few values, some of them repeated, far out, negative or zero."""
    mode, words = CODERS[name]
    rng = np.random.default_rng(7)
    if words:
        array = rng.choice(rng.normal(0, 1, 40), (12, 17)).astype(np.float32)
        array[3], array[5, 2] = 0, 1e30
        parameters = WordParameters(zeros=1, signs=2, repeats=1, row_shifts=1, trailing=1)
        component = Component(entropy_mode=mode, word=parameters)
        return Block(component, array.view(np.uint32), BY_NAME["float32"], plane_rows=4)
    array = np.rint(rng.laplace(0, 3, (12, 17))).astype(np.int32)
    array[5, 2] = -1 << 29
    component = Component(Quantiser.UNIFORM, mode, uniform=UniformParameters(trellis_size=2))
    return Block(component, array, BY_NAME["float32"])


def empty(block: Block) -> Block:
    return dataclasses.replace(block, array=np.zeros_like(block.array))


class Log(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.events: list[str] = []

    def payload_begins(self, payload):
        self.events.append(f"payload of unit {payload.unit} begins")

    def block_begins(self, payload, block):
        self.events.append("block begins")

    def block_ends(self, payload, block):
        self.events.append("block ends")

    def payload_ends(self, payload):
        self.events.append("payload ends")


class Steps(Observer):
    """Adds up the bits of what is decoded, and keeps its values."""

    def __init__(self):
        self.bits, self.values, self.names, self.points = 0.0, [], set(), set()
        self.position = None

    def block_begins(self, payload, block):
        self.table = block.coder.table

    def bin(self, contexts, p, value, before, after):
        self.bits -= np.log2((p if value else 65536 - p) / 65536)
        self.names.add(self.table.kind(contexts[0][0]).name)
        for among, (i, _) in enumerate(contexts):
            self.points.update(self.table.points(i, value, among))
        self._step(value, before, after)

    def bypass(self, n, value, before, after):
        self.bits += n
        self._step(value, before, after)

    def _step(self, value, before, after):
        assert self.position in (None, before)
        self.position = after
        self.values.append(int(value))


class Giver(Observer):
    """Chooses each bin and each run of bypass bits."""

    def __init__(self, values: list[int]):
        self.values = values[::-1]

    def choose(self, kind, where):
        return self.values.pop() if kind in ("bin", "bypass") else None


def seen(name: str) -> dict:
    """What the observers of one coder find."""
    block = block_of(name)
    coded, bypass = encode_payload([block])
    steps, out = Steps(), empty(block)
    with watching(steps):
        PayloadReader(coded, bypass).read(out)
    writer, again = PayloadReader(b"", bypass), empty(block)
    writer.buf = np.zeros(1 << 14, np.uint8)
    writer.r = Coder(*encoder_start(writer.buf))._replace(end=1 << 60)
    with watching(Giver(steps.values)):
        writer.read(again)
    written = writer.buf[: encoder_finish(writer.r, writer.buf)].tobytes()
    known = {f"{group}:{point}" for group, points in block.coder.table.groups().items() for point in points}
    return {"decoded": bool((out.array == block.array).all()), "excess": 8 * len(coded) - steps.bits,
            "names": sorted(steps.names), "unknown": sorted(steps.points - known), "points": len(steps.points),
            "chosen": bool((again.array == block.array).all()), "written": written == coded}


@functools.cache
def found() -> dict[str, dict]:
    return json.loads(uncompiled(__file__))


@pytest.mark.parametrize("name", CODERS)
def test_bins_and_bypass_bits_make_up_the_payload(name):
    """Their costs add up to its size, but for the byte or so that ends it."""
    assert found()[name]["decoded"]
    assert -8 < found()[name]["excess"] < 16


@pytest.mark.parametrize("name", CODERS)
def test_contexts_are_what_the_table_says(name):
    assert found()[name]["points"] > 20
    assert found()[name]["unknown"] == []
    assert len(found()[name]["names"]) >= 5


@pytest.mark.parametrize("name", CODERS)
def test_what_is_chosen_is_written_as_an_encoder_does(name):
    assert found()[name]["chosen"]
    assert found()[name]["written"]


def test_payloads_and_blocks_are_told_of_compiled_loops_too():
    block, log = block_of("CC words"), Log()
    coded, bypass = encode_payload([block, block])
    with watching(log):
        reader = PayloadReader(coded, bypass, unit=7)
        reader.read(empty(block))
        reader.read(empty(block))
        reader.finish()
    assert log.events == ["payload of unit 7 begins", *["block begins", "block ends"] * 2, "payload ends"]


def test_one_observer_at_a_time():
    outer, inner = Log(), Log()
    with watching(outer):
        with watching(inner):
            assert observer() is inner
        assert observer() is outer
    assert observer() is NOBODY


def test_an_observer_leaves_with_an_error():
    with pytest.raises(ZeroDivisionError), watching(Log()):
        raise ZeroDivisionError
    assert observer() is NOBODY


@pytest.mark.skipif(not COMPILE, reason="the compiler is off")
@pytest.mark.parametrize("one", [Steps(), Giver([])])
def test_compiled_loops_cannot_be_watched(one):
    with pytest.raises(RuntimeError, match="REFCODEC_COMPILE=0"), watching(one):
        pass


def test_a_table_numbers_its_contexts():
    table = ContextTable("9.5", "word", 250)
    first = table.add("a_flag", "flags", 6, row=3)
    second = table.add("b_flag", "others", 2, unused=lambda i, bit: i == 1 and bit == 1)
    assert (first, second, table.size) == (0, 6, 8)
    assert [table.kind(i).name for i in (0, 5, 6, 7)] == ["a_flag", "a_flag", "b_flag", "b_flag"]
    assert table.points(4, 1) == ["flags by set:1=1", "flags by place:1=1"]
    assert table.points(7, 0) == ["others:7=0"]
    assert table.groups() == {"flags by set": ["0=0", "0=1", "1=0", "1=1"],
                              "flags by place": ["0=0", "0=1", "1=0", "1=1", "2=0", "2=1"],
                              "others": ["6=0", "6=1", "7=0"]}


def test_nodes_are_those_of_the_text():
    text = (ROOT / "SPEC.md").read_text()
    rows = re.findall(r"^\| (\d+) (?:\+ [^|]+ )?\| (\w+)", text.split("#### 9.3.4")[1].split("#### 9.3.5")[0],
                      re.MULTILINE)
    assert [int(first) for first, _ in rows] == [kind.first for kind in NODE.kinds]
    assert sum(kind.size for kind in NODE.kinds) == NODES - 1
    assert [node_name(n) for n in (0, 3, 20, 34, 38)] == ["sig 0", "gt1 1", "sign", "top bit 13", "second bit 1 1"]


@pytest.mark.parametrize("number, name", [(0, "CC words"), (1, "MAP words")])
def test_contexts_are_for_what_the_text_says(number, name):
    text = (ROOT / "SPEC.md").read_text()
    table = re.findall(r"\| first context \| number \| for \|\n\|[-|]+\n((?:\|.*\n)+)", text)[number]
    rows = [re.match(r"\| (\d+) \| (\d+) \| '?(.*?)'? \|", line).groups() for line in table.splitlines()]
    kinds = block_of(name).coder.table.kinds
    assert [(int(first), int(size)) for first, size, _ in rows] == [(kind.first, kind.size) for kind in kinds]
    assert all(what.startswith(kind.purpose) for (_, _, what), kind in zip(rows, kinds))


if __name__ == "__main__":
    assert not COMPILE
    json.dump({name: seen(name) for name in CODERS}, sys.stdout)
