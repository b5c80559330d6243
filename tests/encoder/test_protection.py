"""Steps that protect small tensors, and a signal-to-noise ratio that is of an update."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.encoder.protection import scales_of
from refcodec.errors import ConfigError
from refcodec.inspection.compare import compare_models


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


@pytest.fixture
def model() -> Model:
    return Model([Tensor("first.weight", normal(8, 9, seed=1, scale=0.02)), Tensor("large.weight", normal(128, 128)),
                  Tensor("large.bias", normal(128, seed=2))], "m")


def snr(model: Model, stream: bytes, references: tuple[Model, ...] = ()) -> dict[str, float]:
    found = compare_models(model, decode(stream, references=list(references)))
    return {r["name"]: r["snr_db"] for r in found["per_tensor"]}


def test_scales_go_with_the_root_of_elements_and_size(model):
    scales = scales_of(model.tensors[:2])
    small, large = model.tensors[:2]
    size = [math.sqrt(float(np.square(t.array.astype(np.float64)).mean())) for t in (small, large)]
    assert scales["first.weight"] / scales["large.weight"] == pytest.approx(
        math.sqrt(small.size * size[0] / (large.size * size[1])))
    logs = [math.log(scales[t.name]) * t.size for t in (small, large)]
    assert sum(logs) == pytest.approx(0, abs=1e-9)                 # what a bit costs on average stays


def test_tensors_without_a_size_have_a_step_all_the_same():
    tensors = [Tensor("zero.weight", np.zeros((4, 4), np.float32)), Tensor("nan.weight", np.full((4, 4), np.nan, "f4")),
               Tensor("huge.weight", np.full((4, 4), 1e300)), Tensor("one.weight", np.ones((4, 4), np.float32))]
    assert set(scales_of(tensors).values()) == {1.0}
    assert scales_of([]) == {}


def test_a_small_tensor_survives_at_the_same_size(model):
    one, safe = (encode(model, Config(bits_per_weight=3.0, protect=p)) for p in (False, True))
    assert len(safe) == pytest.approx(len(one), rel=0.03)
    assert snr(model, one)["first.weight"] < 5 < 18 < snr(model, safe)["first.weight"]


def test_the_ratio_asked_for_is_met(model):
    found = encode(model, Config(snr=25.0, protect=True))
    decoded = decode(found)
    error = sum(float(np.square(t.array.astype("f8") - d.array).sum()) for t, d in zip(model.tensors[:2],
                                                                                       decoded.tensors))
    values = np.concatenate([t.array.reshape(-1) for t in model.tensors[:2]]).astype("f8")
    assert 10 * math.log10(values.var() * values.size / error) == pytest.approx(25, abs=0.05)


def test_a_rule_wins_over_protection(model):
    rules = [dict(match="first.weight", treatment="quantise", scale=64.0)]
    assert snr(model, encode(model, Config(bits_per_weight=3.0, protect=True, rules=rules)))["first.weight"] == \
        pytest.approx(0, abs=0.1)


def test_lossless_and_own_quantisers_are_not_touched(model):
    assert encode(model, Config(protect=True)) == encode(model, Config())
    assert encode(model, Config(quantiser="rp", protect=True)) == encode(model, Config(quantiser="rp"))


def test_versions_of_a_stream_are_copied_where_they_are_as_fine(model):
    other = Model([*model.tensors[:1], Tensor("large.weight", normal(128, 128, seed=5)), model.tensors[2]], "n")
    stream = encode([model, other], Config(snr=20.0, protect=True))
    assert snr(other, stream)["first.weight"] > 25
    assert len(stream) < 1.2 * len(encode([model, other], Config(snr=20.0)))


def test_an_update_does_not_drown_where_its_difference_is_asked_for(model):
    newer = Model([Tensor(t.name, t.array + normal(*t.shape, seed=9, scale=0.01)) for t in model.tensors], "m")
    streams = [encode(newer, Config(snr=20.0, snr_of=what), [model]) for what in ("model", "difference")]
    lost, kept = (decode(s, references=[model]).tensors[1].array - newer.tensors[1].array.astype("f8")
                  for s in streams)
    change = newer.tensors[1].array.astype("f8") - model.tensors[1].array
    assert np.square(lost).mean() > 0.9 * np.square(change).mean()       # the reference alone was good enough
    assert 10 * math.log10(np.square(change).mean() / np.square(kept).mean()) == pytest.approx(20, abs=1)


def test_an_unrelated_reference_does_not_lower_the_ratio(model):
    other = Model([Tensor(t.name, normal(*t.shape, seed=77, scale=3.0)) for t in model.tensors], "m")
    assert snr(model, encode(model, Config(snr=20.0, snr_of="difference"), [other]), (other,))["large.weight"] > 19.9


def test_only_these_two_can_be_asked_for():
    with pytest.raises(ConfigError, match="snr_of is 'update'"):
        Config(snr=20.0, snr_of="update")
