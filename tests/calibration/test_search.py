"""The search for a way and a price, on ways whose bytes and losses are known; and targets that real networks meet."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from helpers.networks import branches, classifier, images, loop, normal, recurrent, saved
from onnx import helper

from refcodec import Config, ConfigError, FormatError, Model, OmcError, Rule, Tensor, decode
from refcodec.calibration import (
    CallableNetwork,
    Judge,
    Network,
    Target,
    calibrate,
    calibrate_network,
    measure_of,
    network_of,
    read_sequences,
    sensitivities,
)
from refcodec.calibration.candidates import METADATA, NOTE_BYTES, ONE_STEP, STEPS, Trial, Way, ways
from refcodec.calibration.decisions import decisions_of
from refcodec.calibration.search import CLOSE, search
from refcodec.inspection.describe import describe_stream

# Ways that are known

WEIGHTS = 1000


@dataclass
class Known:
    """In place of Candidates: of each way, bits of a weight and octaves of the loss at a price of 1 (log2: 0)."""

    target: Target
    curves: dict[str, tuple[float, float]]
    noise: float = 0.0
    weights: int = WEIGHTS
    asked: list[tuple[str, float]] = field(default_factory=list)

    @property
    def limit(self) -> float:
        return 8 * self.target.value / self.weights if self.target.kind == "max_bytes" else self.target.limit

    def trial(self, way: Way, price: float) -> Trial:
        self.asked.append((way.name, price))
        bits, loss = self.curves[way.name]
        bits = max(bits - price / 2, 0.1)
        jitter = self.noise * math.sin(1000 * price)
        found = 2.0 ** (loss + self.target.slope * price + jitter)
        return Trial(way, price, round(bits * self.weights / 8), bits, found, found, found, found, None, (None,) * 3)


A, B = Way("a"), Way("b")


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("start", [-10.0, 0.0, 12.0])
@pytest.mark.parametrize("target", [Target("kl", 0.01), Target("output_snr", 30), Target("bits_per_weight", 3.0),
                                    Target("max_bytes", 400)])
def test_the_best_way_and_its_price_are_found(target, start, noise):
    """The way that takes least where it meets the target, which is not the one that takes least at one price."""
    known = Known(target, {"a": (5.0, -3.0), "b": (4.5, -1.0), "one step": (7.0, -3.0)}, noise)
    found = search(known, [B, ONE_STEP, A], start, effort=24)
    assert found.best.way == A and len(found.trials) <= 24
    # Of a, the price that meets the target exactly.
    if target.by_size:
        exact = 2 * (5.0 - known.limit)
        assert exact - 1e-9 <= found.best.price <= exact + 2 * CLOSE
    else:
        exact = (target.limit + 3) / target.slope
        assert exact - 2 * CLOSE - 2 * noise <= found.best.price <= exact + 2 * noise + 1e-9
    assert len(set(known.asked)) == len(known.asked)
    assert found.best.limited(target) <= known.limit
    assert all((t.made is not None) == (t is found.best) for t in found.trials)


def test_one_step_is_always_tried_and_its_size_told():
    known = Known(Target("kl", 0.01), {"a": (5.0, -3.0), "one step": (7.0, -3.0)})
    found = search(known, [A, ONE_STEP], -6.0, effort=2)
    assert {name for name, _ in known.asked} == {"a", "one step"}
    exact = 7.0 - (known.limit + 3) / 2
    assert search(known, [A, ONE_STEP], 0.0).one_step == pytest.approx(exact * WEIGHTS / 8, rel=0.02)
    assert found.best.way == A


def test_a_search_that_has_no_time_ends_with_what_it_has():
    curves = {"a": (5.0, -3.0), "b": (4.5, -1.0), "one step": (7.0, -3.0)}
    known = Known(Target("kl", 0.01), curves)
    assert search(known, [A, ONE_STEP, B], -8.0, seconds=0.0).best.way == A
    assert [name for name, _ in known.asked] == ["a", "a", "one step"]
    late = Known(Target("kl", 0.01), curves)
    assert search(late, [A, ONE_STEP, B], 20.0, seconds=0.0).best.bound <= 0.01          # but not without any


def test_one_step_wins_where_it_is_best():
    known = Known(Target("kl", 0.01), {"a": (5.0, -3.0), "one step": (4.0, -3.0)})
    assert search(known, [A, ONE_STEP], 3.0).best.way == ONE_STEP


def test_targets_that_are_never_met():
    class Never(Known):
        def trial(self, way, price):
            made = super().trial(way, price)
            made.bound = 0.5
            return made

    with pytest.raises(ConfigError, match=r"0.01 nats a decision cannot be met: of 9 streams .* try more than 9"):
        search(Never(Target("kl", 0.01), {"a": (5.0, -3.0), "one step": (4.0, -3.0)}), [A, ONE_STEP], 0.0, effort=9)
    with pytest.raises(ConfigError, match="10 bytes cannot be reached: the smallest of .* has 12 bytes"):
        search(Known(Target("max_bytes", 10), {"a": (5.0, -3.0), "one step": (4.0, -3.0)}), [A, ONE_STEP], 0.0)


def test_one_step_is_among_all_ways():
    for layers, graph in ((True, True), (True, False), (False, False), (False, True)):
        found = ways(8, layers=layers, graph=graph)
        assert found.index(ONE_STEP) < 2 and STEPS in found and len(set(found)) == len(found)
        assert any(w.method for w in found) == layers


# Real networks

@pytest.fixture
def network(tmp_path):
    """A classifier with correlated inputs."""
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "w2"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=-1)]
    return saved(tmp_path, nodes, {"x": ["n", 40]}, {"p": ["n", 5]}, {
        "w1": normal(32, 40, seed=1, scale=0.2), "b1": normal(32, seed=2), "w2": normal(32, 5, seed=3)})


def inputs(rows: int, seed: int = 0) -> np.ndarray:
    return (normal(rows, 8, seed=seed) @ normal(8, 40, seed=99) + 0.1 * normal(rows, 40, seed=seed + 1)).astype("f4")


def kept_by(model, stream, x):
    """(decisions that stay, divergence) of a stream on other inputs."""
    net = Network(model, [{"x": x}])
    decoded = decode(stream)
    (old,), (new,) = net.answers(), net.answers({n: decoded[n].array for n in (*net.tensors, *net.fine)})
    return ((old["p"].argmax(1) == new["p"].argmax(1)).mean(),
            measure_of([old], net.outputs())([new]))


@pytest.mark.parametrize("target", [Target("decisions", 0.95), Target("kl", 0.01)])
def test_answers_are_kept_on_new_inputs(network, target):
    made = calibrate(network, [[{"x": inputs(900)}]], target)
    assert made.stream != b"" and made.best.size < made.one_step
    decisions, divergence = kept_by(network, made.stream, inputs(2000, seed=7))
    if target.kind == "decisions":
        assert decisions > 0.94 and made.bound >= 0.95
    else:
        assert divergence < 0.012 and made.bound <= 0.01
    assert made.measured == pytest.approx(made.target.shown(made.best.measured))
    note = json.loads(decode(made.stream).metadata[METADATA])
    assert note["target"] == target.kind and note["asked"] == target.value and note["of"] == made.of == 180
    assert note["measured"] == pytest.approx(made.measured, rel=1e-3)
    assert note["bound"] == pytest.approx(made.bound, rel=1e-3)
    assert note["predicted"] == pytest.approx(made.best.predicted, rel=1e-3)
    assert len(decode(made.stream).metadata[METADATA]) <= NOTE_BYTES
    assert len(made.stream) <= made.best.size
    again = calibrate(network, [[{"x": inputs(900)}]], target)
    assert again.stream == made.stream


@pytest.mark.parametrize("target", [Target("max_bytes", 1100), Target("bits_per_weight", 5.0)])
def test_sizes_are_kept(network, target):
    made = calibrate(network, [[{"x": inputs(200)}]], target)
    limit = 1100 if target.kind == "max_bytes" else 5.0 * (32 * 40 + 32 * 5) / 8
    assert 0.85 * limit < len(made.stream) <= limit
    assert made.best.distance < made.one_step


def changed_a_little(model: Model) -> Model:
    """The same network after some training: one tensor differs."""
    def of(t):
        return Tensor(t.name, t.array + (0.05 * normal(*t.shape, seed=8) if t.name == "w1" else 0).astype("f4"))
    return Model([of(t) if t.name == "w1" else t for t in model.tensors], model.name, model.layers, model.source)


def test_an_update_is_quantised_as_a_difference(network):
    """Fewer bytes at the same target than alone; what is the reference's is a copy of it."""
    new, runs = changed_a_little(network), [[{"x": inputs(400)}]]
    alone = calibrate(new, runs, Target("kl", 0.001), effort=8)
    update = calibrate(new, runs, Target("kl", 0.001), references=[network], effort=8)
    assert update.bound <= 0.001 and len(update.stream) < 0.8 * len(alone.stream)
    decoded = decode(update.stream, [network])
    assert np.array_equal(decoded["w2"].words, network["w2"].words)
    tensors = {t["name"]: t for t in describe_stream(update.stream)["models"][0]["tensors"]}
    assert tensors["w2"]["prediction"].startswith("copy") and tensors["w1"]["prediction"].startswith("inter")
    with pytest.raises(OmcError, match="was not given"):
        decode(update.stream)


def test_inputs_to_judge_on(network):
    made = calibrate(network, [[{"x": inputs(200)}]], Target("kl", 0.02), held_out=[[{"x": inputs(60, seed=5)}]],
                     effort=6)
    assert made.of == 60 and len(made.trials) <= 6


def test_noise_gives_steps_alone(tmp_path):
    model = classifier(tmp_path)
    made = calibrate(model, read_sequences(["noise"], network_of(model)), Target("max_bytes", 800), noise=True)
    assert {t.way for t in made.trials} == {STEPS, ONE_STEP}


@pytest.mark.parametrize("make, runs", [
    (images, [{"x": normal(1, 2, 8, 9, seed=s)} for s in range(50)]),
    (recurrent, [{"tokens": np.random.default_rng(s).integers(0, 10, (7, 3))} for s in range(50)]),
    (loop, [{"x": normal(2, 6, seed=s), "turns": np.array(4)} for s in range(50)]),
    (branches, [{"x": normal(1, 5, seed=s), "which": np.array(s % 2)} for s in range(60)])])
def test_every_kind_of_network(make, runs, tmp_path):
    made = calibrate(make(tmp_path), [runs], Target("output_snr", 20), effort=6, config=Config(step=1.0, states=0))
    assert made.bound >= 20 and made.never_run == []


def test_branches_that_are_never_run_are_left_safe(tmp_path):
    model = branches(tmp_path)
    made = calibrate(model, [[{"x": normal(2, 5, seed=s), "which": np.array(1)} for s in range(50)]],
                     Target("output_snr", 10))
    (never,) = made.never_run
    assert np.abs(decode(made.stream)[never].array - model[never].array).max() < 1e-3


# Networks that are no graph

def run_of(x):
    def run(weights):
        scores = np.exp(np.maximum(x @ weights["a.weight"].T, 0) @ weights["b.weight"].T)
        return {"p": scores / scores.sum(axis=1, keepdims=True)}
    return run


@pytest.mark.parametrize("layers", [False, True])
def test_a_function_that_runs_the_network(layers):
    model = Model([Tensor("a.weight", normal(24, 40, scale=0.2)), Tensor("b.weight", normal(5, 24, seed=1, scale=0.5))])
    x, y = inputs(400), inputs(100, seed=5)
    known = {"a.weight": x, "b.weight": np.maximum(x @ model["a.weight"].array.T, 0)} if layers else {}
    net, other = CallableNetwork(model, run_of(x), inputs=known), CallableNetwork(model, run_of(y))
    found = sensitivities(net)
    judge = Judge(other, [np.arange(100)], found.outputs, decisions_of(found.outputs))
    made = calibrate_network(net, found, judge, Target("kl", 0.01))
    assert made.bound <= 0.01 and ("feedback" in made.best.way.name) == layers
    decoded = decode(made.stream)
    measure = measure_of(other.answers(), other.outputs())
    assert measure(other.answers({n: decoded[n].array for n in net.weights})) == pytest.approx(made.measured, rel=1e-6)


def test_layer_inputs_that_do_not_fit():
    model = Model([Tensor("a.weight", normal(24, 40, scale=0.2)), Tensor("b.weight", normal(5, 24, scale=0.2))])
    with pytest.raises(ConfigError, match=r"'a.weight' are \[9, 24\]; its matrix is \[24, 40\]"):
        CallableNetwork(model, run_of(inputs(9)), inputs={"a.weight": normal(9, 24)})


# What is refused

@pytest.mark.parametrize("config, said", [
    (Config(step=1.0, rules=[Rule("*", "fine")]), "rules"), (Config(preset="auto"), "preset"),
    (Config(quantiser="k-means"), "no other"), (Config(step=1.0, quality_layers=2), "one layer"),
    (Config(update="lra"), "an update")])
def test_configurations_that_say_it_themselves(config, said, network):
    with pytest.raises(ConfigError, match=said):
        calibrate(network, [[{"x": inputs(50)}]], Target("kl", 0.01), config=config)


@pytest.mark.parametrize("runs, settings, code, said", [
    ([{"y": inputs(50)}], {}, "BAD_SIZE", "run 0 has no array for the network's input 'x'"),
    ([{"x": inputs(50)[:, :39]}], {}, "BAD_SIZE", r"input 'x' has the shape [?, 40], the array in run 0 [50, 39]"),
    ([{"x": inputs(50)}], dict(effort=1), "BAD_CONFIG", "2 streams are tried at least"),
    ([{"x": inputs(50)}], dict(seed=-1), "BAD_CONFIG", "a seed is 0 or more"),
    ([{"x": inputs(50)}], dict(noise=True), "BAD_CONFIG", "noise does not show"),
    ([{"x": inputs(50)}], dict(decisions=["argmax:q"]), "BAD_CONFIG", "no output 'q'"),
    ([{"x": inputs(50)}], dict(outputs=["q"]), "BAD_CONFIG", "no output 'q'"),
    ([{"x": inputs(50)}], dict(feed={"p": "y"}), "BAD_CONFIG", "one only"),
    ([], {}, "BAD_SIZE", "give some")])
def test_inputs_and_settings_that_do_not_fit(runs, settings, code, said, network):
    with pytest.raises((ConfigError, FormatError)) as error:
        calibrate(network, [runs], Target("kl", 0.01), **settings)
    assert error.value.code == code and said in error.value.message


def test_a_network_that_does_not_depend_on_its_weights(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["x"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 6]}, {"y": ["n", 6]}, {"w": normal(6, 6)})
    with pytest.raises(ConfigError, match="no output of the network depends on its weights"):
        calibrate(model, [[{"x": normal(60, 6)}]], Target("output_snr", 10))


def test_a_model_that_is_no_network():
    with pytest.raises(ConfigError, match="does not come from an ONNX file"):
        calibrate(Model([Tensor("w", normal(6, 6))]), [[{"x": normal(60, 6)}]], Target("output_snr", 10))
