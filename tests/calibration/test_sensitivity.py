"""Sensitivities where they are known in closed form; distances of outputs; steps; the file beside the model."""

from __future__ import annotations

import json
import os
import tomllib

import numpy as np
import pytest
from helpers import network_model
from helpers.networks import branches, classifier, line, normal, saved
from onnx import helper

from refcodec import Config, ConfigError, Model, Tensor
from refcodec.calibration.cache import key_of, store, stored
from refcodec.calibration.callable import CallableNetwork
from refcodec.calibration.measure import measure_of
from refcodec.calibration.network import Network
from refcodec.calibration.sensitivity import DRAWS, HIGH, LOW, sensitivities
from refcodec.calibration.steps import COARSEST, configuration, plan_steps


def refusal(code, action):
    with pytest.raises(ConfigError) as error:
        action()
    assert error.value.code == code
    return error.value.message


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# Distances

P = softmax(normal(40, 5).astype(np.float64))
Q = softmax(normal(40, 5, seed=1).astype(np.float64))


def test_classes():
    measure = measure_of([{"p": P[:10]}, {"p": P[10:]}], {"p": "Softmax"})
    (output,) = measure.outputs
    assert (output.kind, output.axis, output.decisions) == ("classes", 1, 40)
    assert measure([{"p": P[:10]}, {"p": P[10:]}]) == pytest.approx(0, abs=1e-12)
    expected = (P * np.log(P / Q)).sum(axis=1).mean()
    assert measure([{"p": Q[:10]}, {"p": Q[10:]}]) == pytest.approx(expected)
    assert measure([{"p": np.full_like(P, np.nan)}] * 2) == np.inf


def test_classes_along_another_axis_and_their_logarithms():
    p, q = np.moveaxis(P.reshape(4, 10, 5), 2, 1), np.moveaxis(Q.reshape(4, 10, 5), 2, 1)
    expected = (P * np.log(P / Q)).sum(axis=1).mean()
    measure = measure_of([{"p": p}], {"p": ""})
    assert (measure.outputs[0].kind, measure.outputs[0].axis, measure.outputs[0].decisions) == ("classes", 1, 40)
    assert measure([{"p": q}]) == pytest.approx(expected)
    measure = measure_of([{"p": np.log(P)}], {"p": "LogSoftmax"})
    assert measure.outputs[0].kind == "log-classes"
    assert measure([{"p": np.log(Q)}]) == pytest.approx(expected)


def test_chances():
    p, q = P[:, :1], Q[:, :1]
    measure = measure_of([{"p": p}], {"p": "Sigmoid"})
    assert (measure.outputs[0].kind, measure.outputs[0].decisions) == ("chances", 40)
    assert measure([{"p": q}]) == pytest.approx((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean())
    assert np.isfinite(measure([{"p": np.zeros_like(p)}]))


def test_values():
    a, b = normal(30, 3), normal(30, 3, seed=1)
    measure = measure_of([{"y": a}], {"y": "Gemm"})
    assert measure.outputs[0].kind == "values"
    assert measure([{"y": a + b}]) == pytest.approx(np.square(b.astype(float)).mean() / a.astype(float).var(), rel=1e-5)


def test_probabilities_alone_count_unless_others_are_named():
    reference = [{"y": normal(30, 3), "p": P, "n": np.arange(30)}]
    origins = {"y": "Gemm", "p": "Softmax", "n": "ArgMax"}
    assert [o.name for o in measure_of(reference, origins).outputs] == ["p"]
    assert [o.name for o in measure_of(reference, origins, ["y", "p"]).outputs] == ["y", "p"]
    for name, said in (("n", "int64"), ("z", "it has y, p, n")):
        assert said in refusal("BAD_CONFIG", lambda name=name: measure_of(reference, origins, [name]))


@pytest.mark.parametrize("array, said", [
    (P[:3], "too few inputs"), (np.ones((20, 3), np.float32), "for all inputs"), (np.arange(20), "floating point"),
    (np.full((20, 3), np.nan), "'y' of the unchanged network is not finite")])
def test_outputs_that_tell_nothing(array, said):
    assert said in refusal("BAD_CONFIG", lambda: measure_of([{"y": array}], {"y": ""}))


# Sensitivities

def test_of_a_product_in_closed_form(tmp_path):
    """Noise of variance v in y = w x moves each y by v |x|^2 on average."""
    model, x = line(tmp_path, outputs=60), normal(200, 8)
    net = Network(model, [{"x": x}])
    found = sensitivities(net)
    (s,) = found.tensors
    variance = net.answers()[0]["y"].astype(np.float64).var()
    expected = np.square(x.astype(np.float64)).sum(axis=1).mean() / variance / s.elements
    assert s.value == pytest.approx(expected, rel=0.1)
    assert LOW <= s.distance <= HIGH
    assert s.spread < 0.15
    assert (found.outputs[0].kind, found.never_run) == ("values", [])


def test_of_probabilities_in_closed_form(tmp_path):
    """Noise of variance v in the logits gives v/2 (1 - sum p^2) nats."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=-1)]
    model = saved(tmp_path, nodes, {"x": ["n", 8]}, {"p": ["n", 50]}, {"w": normal(8, 50, scale=0.3)})
    x = normal(200, 8)
    net = Network(model, [{"x": x}])
    (s,) = sensitivities(net).tensors
    p = net.answers()[0]["p"].astype(np.float64)
    expected = (np.square(x.astype(np.float64)).sum(axis=1) * (1 - np.square(p).sum(axis=1)) / 2).mean() / s.elements
    assert s.value == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_the_noise_adapts(tmp_path, scale):
    """The same network in other units of its weights: the sensitivity has the inverse of their square."""
    def network(scale):
        nodes = [helper.make_node("Gemm", ["x", "w"], ["h"], transB=1), helper.make_node("Mul", ["h", "back"], ["z"]),
                 helper.make_node("Sigmoid", ["z"], ["p"])]
        return Network(saved(tmp_path, nodes, {"x": ["n", 8]}, {"p": ["n", 20]}, {
            "w": (normal(20, 8) * np.float32(scale)), "back": np.float32([200 / scale])}), [{"x": normal(50, 8)}])
    (one,), (other,) = sensitivities(network(1.0)).tensors, sensitivities(network(scale)).tensors
    assert other.value * scale**2 == pytest.approx(one.value, rel=1e-2)
    assert LOW <= other.distance <= HIGH


def test_it_is_the_same_again_and_another_with_another_seed(tmp_path):
    model, runs = classifier(tmp_path), [{"x": normal(50, 6)}]
    one, two = sensitivities(Network(model, runs)), sensitivities(Network(model, runs))
    other = sensitivities(Network(model, runs), seed=1)
    assert one == two
    assert [s.value for s in one.tensors] != [s.value for s in other.tensors]


def test_a_shared_weight_once(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 6]}, {"y": ["n", 6]}, {"w": normal(6, 6)})
    assert [s.name for s in sensitivities(Network(model, [{"x": normal(50, 6)}])).tensors] == ["w"]


def test_what_is_never_run_is_named(tmp_path):
    net = Network(branches(tmp_path), [{"x": normal(20, 5), "which": np.array(0)}])
    found = sensitivities(net)
    assert [s.name for s in found.tensors][0] == "w0"
    assert [name[-2:] for name in found.never_run] == ["w1"]


def test_a_tensor_that_moves_nothing(tmp_path):
    """Behind a gate that is shut: sensitivity 0. Where it is all that there is, that is an error."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "shut"], ["z"]),
             helper.make_node("MatMul", ["x", "v"], ["u"]), helper.make_node("Add", ["z", "u"], ["y"])]
    tensors = {"w": normal(6, 5), "v": normal(6, 5, seed=1), "shut": np.float32([0])}
    model = saved(tmp_path, nodes, {"x": ["n", 6]}, {"y": ["n", 5]}, tensors)
    found = sensitivities(Network(model, [{"x": normal(30, 6)}]))
    assert [s.value > 0 for s in found.tensors] == [False, True]
    plan = plan_steps(found, tensors, 3.0)
    assert plan.tensors[0].step == pytest.approx(plan.tensors[1].step)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "shut"], ["z"]),
             helper.make_node("Add", ["z", "x"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 6]}, {"y": ["n", 6]}, {"w": normal(6, 6), "shut": np.float32([0])})
    net = Network(model, [{"x": normal(30, 6)}])
    assert "no weight moves y" in refusal("UNSUPPORTED_LAYER", lambda: sensitivities(net))


def test_a_tensor_that_cannot_be_measured(tmp_path):
    """The logarithm of what is exactly 0 until there is noise."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Sub", ["h", "same"], ["d"]),
             helper.make_node("Sqrt", ["d"], ["y"])]
    x = np.eye(6, dtype=np.float32)
    w = normal(6, 6)
    model = saved(tmp_path, nodes, {"x": [6, 6]}, {"y": [6, 6]}, {"w": w, "same": np.where(np.eye(6) > 0, w - 4, w)})
    net = Network(model, [{"x": x}])
    assert "'w'" in refusal("UNSUPPORTED_LAYER", lambda: sensitivities(net))


def test_progress(tmp_path):
    seen = []
    net = Network(classifier(tmp_path), [{"x": normal(50, 6)}])
    sensitivities(net, progress=lambda done, total, name: seen.append((done, total, name)))
    assert seen == [(48, 88, "w1"), (88, 88, "w2")]


# Networks that are no graph

def perceptron(weights):
    """Any function of arrays by name will do; here one of numpy."""
    h = np.maximum(X @ weights["fc1.weight"].T + weights["fc1.bias"], 0)
    return {"p": softmax(h @ weights["fc2.weight"].T)}


X = normal(60, 36).astype(np.float64)


def test_a_function_for_a_network():
    model = Model([t for t in network_model().tensors if t.name.startswith("fc")])
    calls = []
    net = CallableNetwork(model, lambda w: calls.append(1) or perceptron(w), inputs={"fc1.weight": X})
    found = sensitivities(net)
    assert [s.name for s in found.tensors] == ["fc1.weight", "fc2.weight"]
    assert all(s.value > 0 and LOW <= s.distance <= HIGH for s in found.tensors)
    assert len(calls) >= 1 + 2 * DRAWS
    assert found.outputs[0].kind == "classes"


def test_functions_that_are_refused():
    model = network_model()
    assert "mapping" in refusal("BAD_CONFIG", lambda: CallableNetwork(model, lambda w: w["fc1.weight"]))
    assert "'q'" in refusal("BAD_CONFIG", lambda: CallableNetwork(model, lambda w: {"p": P}, chances=["q"]))
    assert "'none'" in refusal("BAD_CONFIG", lambda: CallableNetwork(model, lambda w: {"p": P}, inputs={"none": X}))
    assert "[samples, inputs]" in refusal(
        "BAD_CONFIG", lambda: CallableNetwork(model, lambda w: {"p": P}, inputs={"fc1.weight": X[0]}))
    refusal("NOTHING_TO_QUANTISE", lambda: CallableNetwork(Model([Tensor("n", np.arange(4))]), perceptron))


# Steps

def test_steps_at_a_common_price(tmp_path):
    net = Network(classifier(tmp_path), [{"x": normal(50, 6)}])
    found = sensitivities(net)
    plan = plan_steps(found, net.weights, 3.0)
    assert plan.bits_per_weight == pytest.approx(3.0, abs=0.15)
    a, b = plan.tensors
    assert a.step**2 * a.sensitivity.value == pytest.approx(b.step**2 * b.sensitivity.value)
    finer = plan_steps(found, net.weights, 5.0)
    assert finer.distance < plan.distance / 8
    assert all(x.step < y.step for x, y in zip(finer.tensors, plan.tensors))
    rms = np.sqrt(np.square(net.weights["w1"]).mean())
    assert plan_steps(found, net.weights, 1e-9).tensors[0].step == pytest.approx(COARSEST * rms)
    for bits in (0.0, -1.0, 25.0, float("nan")):
        refusal("BAD_CONFIG", lambda bits=bits: plan_steps(found, net.weights, bits))


def test_the_configuration_fits_each_name_alone(tmp_path):
    net = Network(classifier(tmp_path), [{"x": normal(50, 6)}])
    found = sensitivities(net)
    for s, name in zip(found.tensors, ['a[0]/"weird"\n*\x7f?', "ä€\U0001f600"]):
        s.name = name
    plan = plan_steps(found, dict(zip([s.name for s in found.tensors], net.weights.values())), 3.0)
    settings = tomllib.loads(configuration(plan, ["never"]))
    config = Config(**settings)
    assert [rule.treatment for rule in config.rules] == ["fine", "quantise", "quantise"]
    for asked, rule in zip(plan.tensors, config.rules[1:]):
        assert config.step * rule.scale == pytest.approx(asked.step, rel=1e-4)
    from refcodec.encoder.treatment import rule_of
    assert rule_of(Tensor('a[0]/"weird"\n*\x7f?', np.zeros(2)), config) == config.rules[1]
    assert rule_of(Tensor('a0/"weird"\nxx\x7f?', np.zeros(2)), config) is None


# The file beside the model

def test_kept_and_found_again(tmp_path):
    model, runs = classifier(tmp_path), [{"x": normal(50, 6)}]
    found, key, path = sensitivities(Network(model, runs)), key_of(model, runs, [], 0), str(tmp_path / "s.json")
    assert stored(path, key) is None
    assert store(path, key, found)
    assert stored(path, key) == found
    assert stored(path, key_of(model, runs, [], 1)) is None
    assert not store(str(tmp_path), key, found)
    assert not store(str(tmp_path / "no" / "s.json"), key, found)


def test_the_key_is_of_all_that_matters(tmp_path):
    one, two = classifier(tmp_path), branches(tmp_path)
    runs, others = [{"x": normal(50, 6)}], [{"x": normal(50, 6, seed=1)}]
    keys = {key_of(one, runs, [], 0), key_of(two, runs, [], 0), key_of(one, others, [], 0), key_of(one, runs, ["p"], 0),
            key_of(one, runs, [], 1)}
    one.source.files[0].segments[0].data += b"x"                # the same tensors in another graph
    assert len(keys | {key_of(one, runs, [], 0)}) == 6


@pytest.mark.parametrize("damage", [
    lambda d: d.pop("format"), lambda d: d.update(format=2), lambda d: d.update(tensors=[]),
    lambda d: d.update(outputs=[]), lambda d: d.update(tensors=3), lambda d: d.update(never_run=None),
    lambda d: d["tensors"][0].update(value=-1.0), lambda d: d["tensors"][0].update(value=float("nan")),
    lambda d: d["tensors"][0].update(extra=1), lambda d: d["tensors"][0].pop("name"),
    lambda d: d["outputs"][0].update(kind="strange")])
def test_a_damaged_file_is_not_used(tmp_path, damage):
    model, runs = classifier(tmp_path), [{"x": normal(50, 6)}]
    found, key, path = sensitivities(Network(model, runs)), key_of(model, runs, [], 0), str(tmp_path / "s.json")
    store(path, key, found)
    with open(path) as f:
        data = json.load(f)
    damage(data)
    with open(path, "w") as f:
        json.dump(data, f)
    assert stored(path, key) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100000])
def test_no_json_is_not_used(tmp_path, text):
    (tmp_path / "s.json").write_bytes(text)
    assert stored(str(tmp_path / "s.json"), "key") is None
    assert os.path.getsize(tmp_path / "s.json") == len(text)
