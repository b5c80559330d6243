"""Work and memory as numbers (SPEC A.3): the formulas of the text, and what an encoder expects before it codes."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from refcodec import Config, Model, Tensor, encode
from refcodec.bitstream import cost
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import (
    Component,
    EntropyMode,
    FactorParameters,
    Representation,
    TensorDescriptor,
)
from refcodec.bitstream.units import ByteSource
from refcodec.encoder import model_encoder

SPEC = (pathlib.Path(__file__).resolve().parents[2] / "SPEC.md").read_text()


@pytest.mark.parametrize("line", [
    f"Work(t) = {cost.BYTE_WORK} * B",
    f"Work(t) += word_count * (entropy_mode is CC, CM or MAP ? {cost.RANGE_WORK} : {cost.CODED_WORK})",
    f"Work(t) += {cost.MASK_WORK} * word_count",
    f"Work(t) += multiplications // {cost.PRODUCTS}",
    "Work(t) += m * m * (n + 2 * m)",
    f"Excess(t) = Max(0, Work(t) - {cost.FREE_WORK} * B)",
    f"Memory(t) = {cost.WORD_FACTOR} * B",
    f"words_flag ? {cost.COLUMN_BYTES} * column_count : {cost.LEVEL_BYTES} * word_count",
    f"Memory(t) += {cost.PRODUCT_BYTES} * word_count + {cost.VECTOR_BYTES} * Max(factor_rank, gain count)",
    f"Memory(t) += {cost.SQUARE_BYTES} * m * m",
    f"work   = 2^{cost.UNIT_WORK.bit_length() - 1} * units + 2^{cost.ITEM_WORK.bit_length() - 1} * items + "
    f"{cost.BODY_WORK} * body_bytes",
    f"memory = 2^{cost.ITEM_BYTES.bit_length() - 1} * items + {cost.BODY_FACTOR} * body_bytes",
])
def test_the_numbers_of_the_text(line):
    assert SPEC.count(line) == 1


def descriptor(representation: Representation, shape: tuple[int, int], parts: list[tuple[int, int]], **factor
               ) -> TensorDescriptor:
    return TensorDescriptor(representation=representation, factor=FactorParameters(**factor), word_bytes=1,
                            word_count=shape[0] * shape[1], row_count=shape[0], column_count=shape[1],
                            component=[Component(row_count=r, column_count=c, coded_flag=1, entropy_mode=EntropyMode.CC)
                                       for r, c in parts])


def test_numbers_by_hand():
    """A product, and a decomposition of a tall matrix, of types of one byte."""
    d = descriptor(Representation.LOW_RANK, (10, 20), [(10, 3), (3, 20)], factor_rank=3)
    assert cost.work_of(d) == 4 * 200 + 100 * 90 + 10 * 20 * 3 // 4
    assert cost.memory_of(d) == 4 * 200 + 24 * 90 + 32 * 200 + 24 * 3 * 30
    assert cost.excess_of(d) == 0
    d = descriptor(Representation.AUGMENTATION, (600, 500), [(1, 4)], gain_count_minus1=3)
    assert cost.work_of(d) == 4 * 300000 + 100 * 4 + 600 * 500 * 4 // 4 + 500 * 500 * (600 + 1000)
    assert cost.excess_of(d) == cost.work_of(d) - 500 * 300000
    assert cost.memory_of(d) == 4 * 300000 + 24 * 4 + 32 * 300000 + 24 * 4 * 1100 + 40 * 500 * 500


def model(seed: int, dtype: str = "float32") -> Model:
    rng = np.random.default_rng(seed)
    return Model([Tensor("a", rng.standard_normal((96, 700)).astype(dtype)), Tensor("b", np.arange(9)),
                  Tensor("c", rng.standard_normal(3000).astype(dtype)), Tensor("d", np.zeros((0, 4), dtype))],
                 metadata={"who": b"somebody"})


@pytest.mark.parametrize("options", [
    {}, {"snr": 20.0}, {"snr": 30.0, "quality_layers": 3}, {"update": "ka", "update_rank": 4},
    {"update": "ml", "update_rank": 0}, {"update": "lra", "update_rank": 5}, {"update": "lru", "update_rank": 7},
    {"index": False}, {"entropy": "huffman", "snr": 10.0}], ids=str)
def test_the_encoder_expects_no_less_than_it_costs(options, monkeypatch):
    bounds = []
    lowest = model_encoder.lowest_level

    def seen(structures, models, bound, side=0):
        bounds.append(bound)
        return lowest(structures, models, bound, side)

    monkeypatch.setattr(model_encoder, "lowest_level", seen)
    old = model(1)
    stream = encode(model(2), Config(**options), references=[old] if "update" in options else [])
    parsed = Parser(ByteSource(stream), find_reference=lambda digest: old).parse()
    bound = bounds[-1]
    headers = sum(u.expanded_size for u in parsed.units if u.type in (2, 3, 4))
    assert parsed.cost.units <= bound.units and parsed.cost.tensors <= bound.tensors
    assert parsed.cost.largest <= bound.largest
    assert parsed.cost.items <= bound.items + 64 and parsed.cost.bodies <= bound.bodies + headers
