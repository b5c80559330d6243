"""The pipelines of S1 and S2 end to end: single models, and differences of models in each of the papers' scenarios."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import changed, network_model, weights

from refcodec import Config, ConfigError, Model, Tensor, decode, encode
from refcodec.bitstream.parser import parse
from refcodec.bitstream.structures import EntropyMode, PredictionMode, Quantiser
from refcodec.dtypes import BY_NAME
from refcodec.encoder.quantisers.decimal import qbits_levels, rp_levels
from refcodec.quantization.decimal import reconstruct_decimal

S1, S2 = {"preset": "s1-rp", "rp": 4}, {"preset": "s2-qbits", "q_bits": 8}
UNIT = 1e-4             # of both
BOTH = pytest.mark.parametrize("preset", [S1, S2], ids=["S1", "S2"])


def network(seed: int = 0, widths=(48, 64, 40, 10)) -> Model:
    """Dense layers of at least a thousand elements, with biases."""
    tensors = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        tensors.append(Tensor(f"fc{i}.weight", weights((b, a), seed=seed + i)))
        tensors.append(Tensor(f"fc{i}.bias", weights((b, 1), seed=seed)[:, 0]))
    return Model(tensors, "network")


def paper(values: np.ndarray, preset: dict, base: np.ndarray | None = None) -> np.ndarray:
    """What the papers' decoder gives: float32(base + q / 10^4)."""
    residual = values.astype(np.float64) - (0 if base is None else base.astype(np.float64))
    levels = rp_levels(residual, 4) if preset is S1 else qbits_levels(residual, 8)
    return reconstruct_decimal(levels, 4, BY_NAME["float32"], base)


def descriptors(stream: bytes, references=(), model: int = -1) -> dict[int, object]:
    """Tensor index: descriptor, of one model of a stream."""
    return {d.tensor_index: d for u in parse(stream, references).models[model].tensor_units for d in u.descriptors}


def size(model, preset: dict, references=()) -> int:
    return len(encode(model, Config(**preset), references))


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


# Single models

@BOTH
def test_single_model_is_the_paper_to_the_bit(preset):
    model = network_model()
    stream = encode(model, Config(**preset))
    decoded = decode(stream)
    for before, after in zip(model.tensors, decoded.tensors):
        if before.dtype.kind == "f":
            assert equal(after.array, paper(before.array, preset)), before.name
        else:
            assert np.array_equal(after.array, before.array)
    large = [d for d in descriptors(stream).values() if d.word_count >= 1024]
    assert large
    assert all(d.component[0].quantiser == Quantiser.DECIMAL for d in large)
    assert all((d.component[0].entropy_mode, d.component[0].decimal_exponent) == (EntropyMode.LZMA, 4) for d in large)


def test_more_digits_cost_more_bytes_and_err_less():
    model = network()
    for configs in ([Config(preset="s1-rp", rp=p) for p in (2, 4, 6, 8)],
                    [Config(preset="s2-qbits", q_bits=k) for k in (11, 8, 6, 4)]):
        streams = [encode(model, c) for c in configs]
        errors = [max(float(np.abs(a.array.astype(np.float64) - b.array).max())
                      for a, b in zip(model.tensors, decode(s).tensors)) for s in streams]
        assert sorted(map(len, streams)) == list(map(len, streams))
        assert sorted(errors, reverse=True) == errors
    assert decode(encode(model, Config(**S1))).digest() == decode(encode(model, Config(preset="s1-rp"))).digest()


@BOTH
def test_values_that_no_level_reaches(preset):
    odd, huge = weights((40, 40)), weights((40, 40)) + 1e9
    odd[3, 4] = np.nan
    tensors = [Tensor("odd.weight", odd), Tensor("huge.weight", huge), Tensor("inf.weight", odd * np.float32(np.inf)),
               Tensor("vast.weight", weights((40, 40)) * np.float32(1e30)),
               Tensor("few.weight", np.full((3, 3), 1e9, np.float32))]
    decoded = decode(encode(Model(tensors), Config(**preset))).tensors
    assert equal(decoded[0].array, odd)
    assert equal(decoded[2].array, tensors[2].array)
    assert equal(decoded[3].array, tensors[3].array)
    assert equal(decoded[1].array, paper(huge, preset))               # levels of 44 bits
    assert np.abs(decoded[4].array - 1e9).max() <= 64


def test_bad_settings():
    for wrong in ({"rp": 23}, {"rp": -1}, {"rp": 4, "snr": 30}, {"preset": "s3-rp"}, {"q_bits": 40}):
        with pytest.raises(ConfigError):
            Config(**{"preset": "s1-rp", **wrong})


# Differences of models

@BOTH
def test_sequence_of_versions(preset):
    versions = [network(7)]
    for seed, amount in ((1, 3e-3), (2, 1e-3), (3, 3e-4)):
        versions.append(changed(versions[-1], amount, seed))
    stream = encode(versions, Config(**preset))
    assert len(stream) < 0.85 * sum(size(v, preset) for v in versions)
    for number, version in enumerate(versions):
        for before, after in zip(version.tensors, decode(stream, model=number).tensors):
            error = np.abs(before.array.astype(np.float64) - after.array).max()      # no drift: as good as the first
            assert error <= (1 if preset is S1 else 0.6) * UNIT + 1e-7
    long = size(versions[3], preset, [decode(encode(versions[0], Config(**preset)))])
    short = size(versions[3], preset, [decode(encode(versions[2], Config(**preset)))])
    assert short < long < size(versions[3], preset)


@BOTH
def test_residual_of_the_paper_to_the_bit(preset):
    reference, model = network(8), changed(network(8), 1e-3)
    stream = encode(model, Config(**preset), [reference])
    found = descriptors(stream, [reference])
    assert found[0].prediction_mode == PredictionMode.INTER
    assert found[0].component[0].quantiser == Quantiser.DECIMAL
    decoded = decode(stream, [reference])
    assert equal(decoded.tensors[0].array, paper(model.tensors[0].array, preset, reference.tensors[0].array))


@BOTH
def test_partial_update_costs_bytes(preset):
    reference = network(9, (64, 80, 96, 80, 64, 48, 10))
    tensors = [Tensor(t.name, t.array) for t in reference.tensors]
    tensors[-2:] = changed(Model(tensors[-2:]), 1e-3).tensors
    update = Model(tensors)
    alone = size(Model(tensors[-2:]), preset, [Model(reference.tensors[-2:])])
    stream = encode(update, Config(**preset), [reference])
    assert len(stream) - alone < 60 * len(tensors)
    assert len(stream) < size(update, preset) / 5
    decoded = decode(stream, [reference])
    assert all(equal(a.array, b.array) for a, b in zip(decoded.tensors[:-2], reference.tensors))
    # The receiver has a decoded model: what was not trained again stays as it is there.
    receiver = decode(encode(reference, Config(**preset)))
    stream = encode(update, Config(**preset), [receiver])
    assert len(stream) < size(update, preset) / 4
    decoded = decode(stream, [receiver])
    assert all(np.abs(a.array - b.array).max() <= 1.001 * UNIT for a, b in zip(decoded.tensors, tensors))


def test_corrupted_prediction():
    clean, model = network(10), changed(network(10), 3e-4)
    corrupted = decode(encode(clean, Config(preset="s1-rp", rp=3)))
    with_clean, with_corrupted, alone = size(model, S1, [clean]), size(model, S1, [corrupted]), size(model, S1)
    assert with_clean < with_corrupted < 0.9 * alone
    decoded = decode(encode(model, Config(**S1), [corrupted]), [corrupted])
    for before, after in zip(model.tensors, decoded.tensors):
        assert np.abs(before.array.astype(np.float64) - after.array).max() <= UNIT + 1e-8


@BOTH
@pytest.mark.parametrize("theirs, ours", [((48, 64, 40, 10), (48, 40, 24, 10)), ((48, 40, 24, 10), (48, 64, 40, 10)),
                                          ((48, 64, 24, 10), (48, 40, 40, 10))], ids=["narrower", "wider", "both"])
def test_pruned_prediction_and_target(preset, theirs, ours):
    whole = network(11)

    def cut(model: Model, widths) -> Model:
        shapes = [s for a, b in zip(widths, widths[1:]) for s in ((b, a), (b,))]
        return Model([Tensor(t.name, np.ascontiguousarray(t.array[tuple(map(slice, shape))]))
                      for t, shape in zip(model.tensors, shapes)])

    reference, model = cut(whole, theirs), cut(changed(whole, 3e-4), ours)
    stream = encode(model, Config(**preset), [reference])
    assert len(stream) < 0.95 * size(model, preset)
    decoded = decode(stream, [reference])
    found = descriptors(stream, [reference])
    for i, (before, other, after) in enumerate(zip(model.tensors, reference.tensors, decoded.tensors)):
        base = np.zeros_like(before.array)
        both = tuple(slice(min(a, b)) for a, b in zip(before.array.shape, other.array.shape))
        base[both] = other.array[both]
        mode = found[i].prediction_mode
        expected = base if mode == PredictionMode.COPY else paper(before.array, preset, base if mode else None)
        assert equal(after.array, expected), before.name
    assert any(d.prediction_mode == PredictionMode.INTER for d in found.values())


@BOTH
def test_layers_on_one_side_only(preset):
    shared, other = network(12), network(40, (30, 50, 20)).tensors
    more = Model(changed(shared, 3e-4).tensors + [Tensor("new." + t.name, t.array) for t in other])
    fewer = Model(changed(shared, 3e-4).tensors[2:])
    for model, reference in ((more, shared), (fewer, shared), (Model(fewer.tensors[::-1]), shared)):
        stream = encode(model, Config(**preset), [reference])
        assert len(stream) < 0.95 * size(model, preset)
        for before, after in zip(model.tensors, decode(stream, [reference]).tensors):
            assert np.abs(before.array.astype(np.float64) - after.array).max() <= 1.001 * UNIT


@BOTH
def test_an_unrelated_reference_costs_nothing(preset):
    model = network(13)
    assert size(model, preset, [network(70)]) <= 1.005 * size(model, preset) + 40      # 40: the reference in the header
