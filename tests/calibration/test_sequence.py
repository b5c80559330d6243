"""Networks quantised in the order of their graphs, and levels given to the encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import network_model
from helpers.networks import branches, classifier, images, loop, normal, recurrent, saved
from onnx import helper

from refcodec import Config, ConfigError, Model, decode, encode
from refcodec.calibration import Method, Network, measure_of, quantise_network, sensitivities
from refcodec.calibration.layer_moments import LEAST
from refcodec.encoder.given_levels import GivenLevels
from refcodec.entropy.levels import LEVEL_MAX
from refcodec.inspection.describe import describe_stream
from refcodec.quantization.uniform import indices

TOKENS = np.random.default_rng(0).integers(0, 10, (7, 30))
RUNS = {classifier: [{"x": normal(90, 6)}, {"x": normal(40, 6, seed=1)}], images: [{"x": normal(30, 2, 8, 9)}],
        loop: [{"x": normal(30, 6), "turns": np.array(4)}], recurrent: [{"tokens": TOKENS}],
        branches: [{"x": normal(30, 5), "which": np.array(1)}, {"x": normal(40, 5), "which": np.array(7)}]}


def arrays(model: Model, names):
    return {name: model[name].array for name in names}


# Levels that are given

@pytest.mark.parametrize("states", [0, 8, 32])
@pytest.mark.parametrize("column_scan", [0, 1])
@pytest.mark.parametrize("entropy", [None, "auto", "bins"])
def test_given_levels_are_coded_as_they_are(states, column_scan, entropy):
    model = network_model()
    shape = (24, 36) if not column_scan else (36, 24)
    levels = np.random.default_rng(0).integers(-5, 6, shape).astype(np.int32)
    given = {"fc1.weight": GivenLevels(levels, 0.25, states, column_scan)}
    stream = encode(model, Config(step=0.01, levels=given, entropy=entropy))
    decoded = decode(stream)
    expected = 0.25 * indices(levels, states)
    assert np.array_equal(decoded["fc1.weight"].array, expected.T if column_scan else expected)
    (tensor,) = [t for t in describe_stream(stream)["models"][0]["tensors"] if t["name"] == "fc1.weight"]
    assert (tensor["scan"] == "column") == bool(column_scan)
    others = decode(encode(model, Config(step=0.01, entropy=entropy)))
    assert np.array_equal(decoded["fc2.weight"].words, others["fc2.weight"].words)


GOOD = np.zeros((24, 36), np.int32)


@pytest.mark.parametrize("given, code, said", [
    (GivenLevels(GOOD.T, 0.1), "BAD_CONFIG", "integers [24, 36]"), (GivenLevels(GOOD.astype(float), 0.1), "BAD_CONFIG",
                                                                    "float64"),
    (GivenLevels(GOOD, 0.1, 5), "BAD_CONFIG", "states"), (GivenLevels(GOOD, 0.1, 8, 2), "BAD_CONFIG", "column_scan"),
    (GivenLevels(GOOD.astype(np.int64) + LEVEL_MAX + 1, 0.1), "BAD_CONFIG", "larger"),
    (GivenLevels(GOOD, 0.0), "BAD_STEP", "positive")])
def test_levels_that_do_not_fit(given, code, said):
    with pytest.raises(ConfigError) as error:
        encode(network_model(), Config(step=0.01, levels={"fc1.weight": given}))
    assert error.value.code == code
    assert said in error.value.message


@pytest.mark.parametrize("settings", [dict(), dict(snr=30), dict(step=0.1, quality_layers=2),
                                      dict(step=0.1, update="lra"), dict(quantiser="rp")])
def test_levels_need_a_step_beside_them(settings):
    with pytest.raises(ConfigError, match="given levels"):
        Config(levels={"fc1.weight": GivenLevels(GOOD, 0.1)}, **settings)


# Sequences

@pytest.mark.parametrize("make", RUNS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("method", [Method(), Method(states=0), Method(feedback=False, sequential=False)],
                         ids=["all", "no trellis", "neither"])
def test_a_stream_holds_what_was_quantised(make, method, tmp_path):
    """The decoded tensors are the values of the levels; finer prices bring answers nearer to the original's."""
    net = Network(make(tmp_path), RUNS[make])
    found = sensitivities(net)
    measure = measure_of(net.answers(), net.outputs())
    distances = []
    for price in (1e-3, 1e-6):
        made = quantise_network(net, found, price, method)
        decoded = decode(encode(made.model, made.config()))
        assert set(made.levels) | set(made.steps) == set(net.order())
        for name, given in made.levels.items():
            values = np.sort(given.step * indices(given.levels, given.states), axis=None)
            np.testing.assert_allclose(np.sort(decoded[name].array, axis=None), values, rtol=1e-6)
        distances.append(measure(net.answers(arrays(decoded, [*net.order(), *net.fine]))))
    assert distances[1] < 0.05 * distances[0]
    assert set(made.plain) == set(made.steps) == ({"table"} if make is recurrent else set())


def correlated(rows: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Inputs of which each is 0.95 of its neighbour and noise, of mean 2."""
    noise, x = normal(rows, inputs, seed=seed), np.empty((rows, inputs), np.float32)
    x[:, 0] = noise[:, 0]
    for j in range(1, inputs):
        x[:, j] = 0.95 * x[:, j - 1] + np.sqrt(1 - 0.95**2) * noise[:, j]
    return x + np.float32(2)


@pytest.fixture
def perceptron(tmp_path):
    """Two layers, which see correlated inputs."""
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "w2", "b2"], ["z"], transB=1),
             helper.make_node("Softmax", ["z"], ["p"], axis=-1)]
    return saved(tmp_path, nodes, {"x": ["n", 64]}, {"p": ["n", 10]}, {
        "w1": normal(48, 64, seed=1, scale=0.1), "b1": normal(48, seed=2), "w2": normal(10, 48, seed=3, scale=0.3),
        "b2": normal(10, seed=4)})


def coded(net, found, price, method, held_out) -> float:
    """Bits of a weight at a distance of 0.01 on held-out inputs, as far as half a bit halves it."""
    made = quantise_network(net, found, price, method)
    stream = encode(made.model, made.config(index=False))
    measure = measure_of(held_out.answers(), held_out.outputs())
    decoded = decode(stream)
    distance = measure(held_out.answers(arrays(decoded, [*net.order(), *net.fine])))
    weights = sum(w.size for w in net.weights.values())
    return 8 * len(stream) / weights + np.log2(distance / 0.01) / 2


def test_what_feedback_and_sequence_gain(perceptron):
    """On inputs that were not calibrated on, at equal distances: fewer bytes."""
    net = Network(perceptron, [{"x": correlated(600, 64)}])
    held_out = Network(perceptron, [{"x": correlated(300, 64, seed=9)}])
    found = sensitivities(net)
    neither, feedback, both = (coded(net, found, 3e-6, method, held_out) for method in (
        Method(feedback=False, sequential=False), Method(sequential=False), Method()))
    assert feedback < neither - 0.5
    assert both < feedback - 0.2


def test_biases_take_up_what_errors_do_to_means(perceptron):
    net = Network(perceptron, [{"x": correlated(600, 64)}])
    made = quantise_network(net, sensitivities(net), 1e-3)
    decoded = decode(encode(made.model, made.config()))
    x = correlated(600, 64).astype(np.float64)
    old = x @ net.weights["w1"].T.astype(np.float64) + net.fine["b1"]
    new = x @ decoded["w1"].array.T.astype(np.float64)
    moved = np.abs((old - new - net.fine["b1"]).mean(axis=0)).max()
    assert np.abs((old - new - decoded["b1"].array).mean(axis=0)).max() < 0.02 * moved
    assert made.model["b2"].array.tolist() != net.fine["b2"].tolist()
    assert np.array_equal(net.model["b1"].array, net.fine["b1"])            # the original stays


@pytest.mark.parametrize("kind", ["Add", "Add, other way round", "BatchNormalization", "Conv and Add", "two users",
                                  "output", "map"])
def test_biases_behind_a_layer(kind, tmp_path):
    """An addition or a normalisation behind it takes up the means, if it is for this layer and its outputs alone."""
    x, tensors = correlated(400, 48), {"w": normal(48, 32, scale=0.2), "b": normal(32, seed=1)}
    add = helper.make_node("Add", ["h", "b"] if kind != "Add, other way round" else ["b", "h"], ["c"])
    first = [helper.make_node("MatMul", ["x", "w"], ["h"]), add]
    outputs, shape = {"y": ["n", 32]}, ["n", 48]
    if kind == "BatchNormalization":
        tensors |= {"scale": np.abs(normal(32, seed=2)) + 1, "mean": normal(32, seed=3), "var": np.abs(normal(32)) + 1}
        first[0] = helper.make_node("Gemm", ["x", "w"], ["h"])
        first[1] = helper.make_node("BatchNormalization", ["h", "scale", "b", "mean", "var"], ["c"], epsilon=0.1)
    elif kind in ("Conv and Add", "map"):
        x, shape, outputs = x.reshape(400, 3, 4, 4), ["n", 3, 4, 4], {"y": ["n", 4, 4, 4]}
        tensors = {"w": normal(4, 3, 3, 3, scale=0.2), "b": normal(*((4, 1, 1) if kind != "map" else (4, 4)), seed=1)}
        first[0] = helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1])
    elif kind == "two users":
        first[1:] = [add, helper.make_node("Mul", ["c", "h"], ["d"]), helper.make_node("Identity", ["d"], ["c2"])]
    elif kind == "output":
        outputs["h"] = ["n", 32]
    last = first[-1].output[0]
    model = saved(tmp_path, [*first, helper.make_node("Tanh", [last], ["y"])], {"x": shape}, outputs, tensors)
    net = Network(model, [{"x": x}])
    made = quantise_network(net, sensitivities(net), 1e-3)
    corrected = not np.array_equal(made.model["b"].array, model["b"].array)
    assert corrected == (kind not in ("two users", "output", "map"))
    if corrected:
        new = {n: decode(encode(made.model, made.config()))[n].array for n in ("w", "b")}
        (old,), (now,), (uncorrected,) = (net.answers(c) for c in ({}, new, {"w": new["w"]}))
        axes = (0, 2, 3) if old["y"].ndim == 4 else 0
        moved = [np.abs(np.arctanh(old["y"] * 0.999).mean(axes) - np.arctanh(a["y"] * 0.999).mean(axes)).mean()
                 for a in (now, uncorrected)]
        assert moved[0] < 0.5 * moved[1]


def test_both_weights_of_a_recurrent_layer_and_its_bias(tmp_path):
    """Inputs and hidden states are one vector; the bias of the inputs takes up what their errors do to means."""
    nodes = [helper.make_node("LSTM", ["x", "w", "r", "b"], ["y", "last"], hidden_size=16),
             helper.make_node("Reshape", ["last", "flat"], ["z"])]
    model = saved(tmp_path, nodes, {"x": ["t", "n", 24]}, {"z": ["n", 16]}, {
        "w": normal(1, 64, 24, seed=1, scale=0.3), "r": normal(1, 64, 16, seed=2, scale=0.3),
        "b": normal(1, 128, seed=3), "flat": np.array([-1, 16])})
    x = [{"x": correlated(10 * 50, 24, seed).reshape(10, 50, 24)} for seed in (0, 1)]
    net, held_out = Network(model, x[:1]), Network(model, x[1:])
    found = sensitivities(net)
    made = quantise_network(net, found, 1e-6)
    assert set(made.levels) == {"w", "r"}
    changed = (made.model["b"].array != net.fine["b"])[0]
    assert changed[:64].any() and not changed[64:].any()
    neither = coded(net, found, 1e-6, Method(feedback=False, sequential=False), held_out)
    assert coded(net, found, 1e-7, Method(), held_out) < neither - 0.5


def test_tensors_that_are_never_run_are_kept_finely(tmp_path):
    model = branches(tmp_path)
    net = Network(model, RUNS[branches][:1])
    made = quantise_network(net, sensitivities(net), 1e-3)
    (never,) = made.never_run
    decoded = decode(encode(made.model, made.config()))
    assert np.abs(decoded[never].array - model[never].array).max() < 1e-3


def test_tensors_without_a_matrix_get_a_step(tmp_path):
    nodes = [helper.make_node("Mul", ["w", "two"], ["ww"]), helper.make_node("MatMul", ["x", "ww"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, {"w": normal(64, 64), "two": np.float32([2.0])})
    net = Network(model, [{"x": normal(30, 64)}])
    made = quantise_network(net, sensitivities(net), 1e-5)
    assert made.plain == {"w": "it is the matrix of no layer that can be captured"}
    stream = encode(made.model, made.config())
    (tensor,) = [t for t in describe_stream(stream)["models"][0]["tensors"] if t["name"] == "w"]
    assert float(tensor["detail"].split()[-1]) == pytest.approx(made.steps["w"], rel=1e-4)


def test_too_few_samples(tmp_path):
    net = Network(classifier(tmp_path), [{"x": normal(LEAST - 1, 6)}])
    made = quantise_network(net, sensitivities(net), 1e-3)
    assert made.levels == {}
    assert f"{LEAST - 1} samples" in made.plain["w1"]


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan")])
def test_no_price(tmp_path, price):
    net = Network(classifier(tmp_path), RUNS[classifier])
    found = sensitivities(net)
    with pytest.raises(ConfigError, match="price"):
        quantise_network(net, found, price)


@pytest.mark.parametrize("settings", [{}, {"coder": "cc"}, {"coder": "cm", "states": 0}, {"states": 0}],
                         ids=["default", "cc", "cm", "no trellis"])
def test_large_tensors_are_quantised_for_what_codes_them(settings, tmp_path):
    """In bins by lanes; else with entry points, from which the trellis begins anew."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 500]}, {"y": ["n", 400]}, {"w": normal(500, 400, scale=0.1)})
    net = Network(model, [{"x": correlated(600, 500)}])
    config = Config(step=1.0, entry_elements=65536, **settings)
    made = quantise_network(net, sensitivities(net), 1e-7, Method(config.uniform.states), config=config)
    stream = encode(made.model, replace(config, rules=made.config().rules, levels=made.levels))
    (tensor,) = [t for t in describe_stream(stream)["models"][0]["tensors"] if t["name"] == "w"]
    assert (tensor["entropy"], tensor["entry_points"]) == (
        (settings["coder"], 3) if "coder" in settings else ("bins", 1))
    given = made.levels["w"]
    assert given.lanes == ("coder" not in settings)
    x = net.courses[0].runs[0]["x"]
    moved = np.square(x @ (decode(stream)["w"].array - model["w"].array)).mean() / (x @ model["w"].array).var()
    assert moved == pytest.approx(made.predicted, rel=0.3)


@pytest.mark.parametrize("given, said", [(GivenLevels(GOOD, 0.1, segments=0), "segments"),
                                         (GivenLevels(GOOD, 0.1, segments=25), "there are 1 to 24"),
                                         (GivenLevels(GOOD, 0.1, segments=2, lanes=True), "one in lanes"),
                                         (GivenLevels(GOOD, 0.1, reference=1), "no such tensor")])
def test_segments_that_there_are_not(given, said):
    with pytest.raises(ConfigError, match=said):
        encode(network_model(), Config(step=0.01, levels={"fc1.weight": given}))
