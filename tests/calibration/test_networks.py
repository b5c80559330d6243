"""Networks cut at their layers: the answers of ONNX Runtime itself, whatever weights change; where weights lie."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers import DATA
from helpers.networks import branches, by_runtime, classifier, images, line, loop, normal, recurrent, saved
from onnx import TensorProto, helper, numpy_helper

from refcodec import ConfigError, Model, Tensor, decode, encode, load
from refcodec.calibration import flatten, network
from refcodec.calibration.layers import matrix_of
from refcodec.calibration.network import Network
from refcodec.reconstruction import folded

TOKENS = np.random.default_rng(0).integers(0, 10, (7, 3))
RUNS = {
    classifier: [{"x": normal(9, 6)}, {"x": normal(4, 6, seed=1)}], images: [{"x": normal(3, 2, 8, 9)}],
    branches: [{"x": normal(3, 5), "which": np.array(1)}, {"x": normal(2, 5), "which": np.array(7)}],
    loop: [{"x": normal(3, 6), "turns": np.array(4)}, {"x": normal(2, 6), "turns": np.array(2)}],
    recurrent: [{"tokens": TOKENS}], line: [{"x": normal(20, 8)}],
}
MADE = pytest.mark.parametrize("make", RUNS, ids=lambda make: make.__name__)


def runs_of(net: Network):
    """The runs in the order in which the network has their answers: by courses."""
    return [run for course in net.courses for run in course.runs]


def assert_close(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)


@MADE
def test_answers_are_those_of_the_runtime(make, tmp_path):
    model = make(tmp_path)
    net = Network(model, RUNS[make])
    assert_close(net.answers(), by_runtime(model, runs_of(net)))
    assert net.never_run == []


@MADE
@pytest.mark.parametrize("backwards", [False, True])
def test_answers_with_other_weights(make, backwards, tmp_path):
    """Each weight changed by itself, in the order of use or against it, and all at once."""
    model = make(tmp_path)
    net = Network(model, RUNS[make])
    runs = runs_of(net)
    other = {name: net.weights[name] + normal(*net.weights[name].shape, seed=9, scale=0.3) for name in net.order()}
    for name in net.order()[::-1] if backwards else net.order():
        assert_close(net.answers({name: other[name]}), by_runtime(model, runs, {name: other[name]}))
    assert_close(net.answers(other), by_runtime(model, runs, other))
    assert_close(net.answers(), by_runtime(model, runs))


def test_replaced_weights_stay(tmp_path):
    model = classifier(tmp_path)
    (walk,) = Network(model, RUNS[classifier]).walk()
    walk.go_to(2)
    other = {"w1": normal(8, 6, seed=9)}
    walk.replace(other)
    assert walk.at == 0
    assert_close(walk.answers({}), by_runtime(model, RUNS[classifier], other))


def test_each_activation_is_computed_once(tmp_path, monkeypatch):
    """Weights in their order: what lies before them is never run again."""
    net = Network(images(tmp_path), RUNS[images])
    (course,) = net.courses
    seen, piece = [], course.piece
    monkeypatch.setattr(course, "piece", lambda number, live, weights: seen.append(number) or piece(number, live,
                                                                                                    weights))
    for name in net.order():
        seen.clear()
        net.answers({name: net.weights[name] * 2})
        first = course.piece_of(name)
        assert [n for n in seen if n >= first] == list(range(first, len(course.cuts)))
        assert [n for n in seen if n < first] in ([], [first - 1])


def test_branches_are_courses(tmp_path):
    model = branches(tmp_path)
    net = Network(model, RUNS[branches])
    assert len(net.courses) == 2
    assert all(node.op_type != "If" for course in net.courses for node in course.flat.nodes)
    one = Network(model, RUNS[branches][:1])
    (never,) = one.never_run
    assert never.endswith("w2")
    assert net.outputs() == {"p": "Sigmoid"}


def test_a_loop_is_written_out(tmp_path):
    net = Network(loop(tmp_path), RUNS[loop])
    assert [len(course.wiring.users["w"]) for course in net.courses] == [4, 2]
    assert len(net.uses("w")) == 6


@pytest.mark.parametrize("version", [11, 17])
def test_a_loop_of_older_operators(version, tmp_path):
    model = loop(tmp_path, version)
    net = Network(model, RUNS[loop][:1])
    assert_close(net.answers(), by_runtime(model, RUNS[loop][:1]))


def test_a_long_loop_stays_and_its_weights_can_change(tmp_path, monkeypatch):
    monkeypatch.setattr(flatten, "NODES_MAX", 5)
    model = loop(tmp_path)
    net = Network(model, RUNS[loop][:1])
    assert [node.op_type for node in net.courses[0].flat.nodes].count("Loop") == 1
    assert net.uses("w") == []
    other = {"w": normal(6, 6, seed=5)}
    assert_close(net.answers(other), by_runtime(model, RUNS[loop][:1], other))


def test_a_loop_without_turns(tmp_path):
    model = loop(tmp_path)
    runs = [{"x": normal(3, 6), "turns": np.array(0)}, *RUNS[loop]]
    net = Network(model, runs)
    found = net.answers({"w": normal(6, 6, seed=5)})
    assert_close(found, by_runtime(model, runs_of(net), {"w": normal(6, 6, seed=5)}))


@MADE
def test_places_of_tensors_in_layers(make, tmp_path):
    """The matrix that the codec folds a tensor into, element by element, is where its place says in the layer's."""
    net = Network(make(tmp_path), RUNS[make])
    for name in net.order():
        uses = net.uses(name)
        assert uses
        for use in uses:
            arrays = {value: {**net.weights, **net.fine}[t] for value, t in use.course.flat.weights.items()}
            matrix = matrix_of(use.layer, use.course.static_value(use.layer.weight, arrays))
            place = use.place
            coded = folded(net.weights[name].reshape(-1), net.weights[name].shape, 1, net.folds[name], place.scan)
            groups = place.groups[:, None] if place.column_groups is None else place.column_groups[None]
            assert np.array_equal(matrix[groups, place.outputs[:, None], place.inputs[None]], coded)


def test_a_weight_that_is_scaled_has_no_place(tmp_path):
    nodes = [helper.make_node("Mul", ["w", "two"], ["ww"]), helper.make_node("MatMul", ["x", "ww"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, {"w": normal(64, 64),
                                                                         "two": np.float32([2.0])})
    runs, other = [{"x": normal(3, 64)}], {"w": normal(64, 64, seed=1)}
    net = Network(model, runs)
    assert net.uses("w") == []
    assert_close(net.answers(other), by_runtime(model, runs, other))


def test_weights_on_the_left_and_of_several_heads(tmp_path):
    nodes = [helper.make_node("MatMul", ["left", "x"], ["h"]), helper.make_node("MatMul", ["h", "heads"], ["y"])]
    model = saved(tmp_path, nodes, {"x": [6, 4]}, {"y": [2, 5, 3]}, {"left": normal(5, 6), "heads": normal(2, 4, 3)})
    net = Network(model, [{"x": normal(6, 4)}])
    (left,), (heads,) = net.uses("left"), net.uses("heads")
    assert (left.layer.side, left.layer.data, list(left.place.outputs)) == (0, "x", list(range(5)))
    assert list(heads.place.groups) == [0] * 3 + [1] * 3
    assert list(heads.place.inputs) == list(range(4))


def test_a_stream_of_a_network_can_be_run(tmp_path):
    model = classifier(tmp_path)
    decoded = decode(encode(model))
    assert_close(Network(decoded, RUNS[classifier]).answers(), by_runtime(model, RUNS[classifier]))


def test_what_recurrent_layers_take_in(tmp_path):
    """Hidden states before each step, forwards and backwards, from the outputs of the layer."""
    model = recurrent(tmp_path)
    net = Network(model, RUNS[recurrent])
    (walk,) = net.walk()
    lstm = next(x for x in walk.course.wiring.layers if x.op == "LSTM" and x.side == 2)
    (data, hidden), = walk.data(lstm)
    assert data.shape == (7, 3, 5)
    assert hidden.shape == (7, 2, 3, 3)
    assert not hidden[0, 0].any() and not hidden[-1, 1].any()
    assert hidden[1:, 0].any() and hidden[:-1, 1].any()
    y = walk.course.hidden(lstm, walk.live[0], walk.weights)
    assert np.array_equal(hidden[1:, 0], y[:-1, 0]) and np.array_equal(hidden[:-1, 1], y[1:, 1])


# Refused

def refusal(code, action):
    with pytest.raises(ConfigError) as error:
        action()
    assert error.value.code == code
    return error.value.message


def test_without_the_runtime(tmp_path, monkeypatch):
    model = classifier(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = refusal("BAD_CONFIG", lambda: Network(model, RUNS[classifier]).answers())
    assert "pip install 'refcodec[calibration]'" in said


def test_no_runs(tmp_path):
    assert "give some" in refusal("BAD_CONFIG", lambda: Network(classifier(tmp_path), []))


def test_no_network():
    assert "ONNX" in refusal("UNSUPPORTED_LAYER", lambda: Network(Model([Tensor("w", normal(8, 8))]), [{}]))


def test_no_weights(tmp_path):
    model = saved(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, {})
    refusal("NOTHING_TO_QUANTISE", lambda: Network(model, [{"x": normal(2)}]))


def test_outputs_without_weights(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Shape", ["x"], ["y"])]
    model = saved(tmp_path, nodes, {"x": ["n", 6]}, {"y": (TensorProto.INT64, [2])}, {"w": normal(6, 5)})
    assert "no output" in refusal("UNSUPPORTED_LAYER", lambda: Network(model, [{"x": normal(3, 6)}]))


def test_an_operator_that_the_runtime_does_not_have(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Strange", ["h"], ["y"], domain="far")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(normal(6, 5), "w")])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("far", 1)]).SerializeToString())
    net = Network(load(tmp_path / "m.onnx"), [{"x": normal(3, 6)}])
    assert "Strange" in refusal("UNSUPPORTED_LAYER", net.answers)


def test_inputs_on_which_it_fails(tmp_path):
    net = Network(recurrent(tmp_path), [{"tokens": TOKENS + 100}])
    assert "fails on the inputs" in refusal("UNSUPPORTED_LAYER", net.answers)


def test_more_live_values_than_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "LIVE_BYTES_MAX", 1000)
    net = Network(images(tmp_path), RUNS[images])
    assert "fewer inputs" in refusal("BAD_CONFIG", lambda: net.answers({"w": net.weights["w"]}))


def test_a_sequence_between_layers(tmp_path):
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["q"]), helper.make_node("MatMul", ["x", "w"], ["h"]),
             helper.make_node("SequenceAt", ["q", "zero"], ["a"]), helper.make_node("Add", ["a", "h"], ["y"])]
    model = saved(tmp_path, nodes, {"x": [6, 6]}, {"y": [6, 6]}, {"w": normal(6, 6), "zero": np.array(0)})
    net = Network(model, [{"x": normal(6, 6)}])
    assert "'q'" in refusal("UNSUPPORTED_LAYER", lambda: net.answers({"w": net.weights["w"]}))


def test_digits_is_what_it_was():
    model = load(DATA / "digits_v2.onnx")
    images = np.load(DATA / "digits_test.npz")["images"][:64, None].astype(np.float32)
    net = Network(model, [{"image": images}])
    assert_close(net.answers(), by_runtime(model, [{"image": images}]))
    assert [len(net.uses(name)) for name in net.order()] == [1, 1, 1, 1]
