"""What is captured in front of a layer, times its matrix, is what the layer computes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.networks import classifier, images, loop, normal, recurrent, saved
from onnx import helper

from refcodec import ConfigError
from refcodec.calibration.layer_inputs import input_rows, rows_taken
from refcodec.calibration.layers import matrix_of
from refcodec.calibration.network import Network

ALL = 1 << 30


def captured(net: Network, layer):
    """(data of the first run, the layer's weight, the value that it computes)."""
    (walk,) = net.walk()
    data = next(walk.data(layer))
    weight = walk.course.flat.session([layer.weight], 1).run([layer.weight], walk.weights)[layer.weight]
    name = layer.node.output[0]
    out = walk.course.flat.session([name], 1).run([name], {**walk.course.runs[0], **walk.weights})[name]
    return data, weight, out


def products(layer, data, weight):
    """rows times matrix: [groups, samples, outputs]."""
    rows = input_rows(layer, data, weight.shape, ALL)
    return np.matmul(rows, matrix_of(layer, weight).astype(np.float64).transpose(0, 2, 1))


CONVOLUTIONS = [dict(), dict(strides=[2, 1], pads=[1, 0, 2, 1]), dict(dilations=[1, 2]), dict(auto_pad="SAME_UPPER"),
                dict(auto_pad="SAME_LOWER", strides=[2, 2]), dict(group=2, pads=[1, 1, 1, 1])]
TRANSPOSED = [dict(), dict(strides=[2, 3]), dict(strides=[2, 2], pads=[1, 0, 0, 2]), dict(dilations=[2, 1]),
              dict(strides=[3, 2], output_padding=[2, 1], group=2), dict(pads=[2, 2, 2, 1])]


@pytest.mark.parametrize("op, attributes", [*(("Conv", a) for a in CONVOLUTIONS),
                                            *(("ConvTranspose", a) for a in TRANSPOSED)])
def test_convolutions(tmp_path, op, attributes):
    groups = attributes.get("group", 1)
    shape = (6, 4 // groups, 3, 2) if op == "Conv" else (4, 6 // groups, 3, 2)
    model = saved(tmp_path, [helper.make_node(op, ["x", "w"], ["y"], **attributes)], {"x": ["n", 4, 7, 6]},
                  {"y": ["n", 6, "a", "b"]}, {"w": normal(*shape)})
    net = Network(model, [{"x": normal(3, 4, 7, 6, seed=1)}])
    (use,) = net.uses("w")
    data, weight, out = captured(net, use.layer)
    found = np.moveaxis(products(use.layer, data, weight), 1, 0).reshape(out.shape[0], *out.shape[2:], 6)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), out, atol=1e-4)


@pytest.mark.parametrize("x, w, node", [
    ((5, 4), (4, 3), ("MatMul", "xw", {})), ((2, 5, 4), (4, 3), ("MatMul", "xw", {})),
    ((5, 4), (3, 5), ("MatMul", "wx", {})), ((2, 5, 4), (2, 4, 3), ("MatMul", "xw", {})),
    ((7, 2, 5, 4), (2, 4, 3), ("MatMul", "xw", {})), ((5, 4), (2, 4, 3), ("MatMul", "xw", {})),
    ((2, 5, 4), (2, 3, 5), ("MatMul", "wx", {})), ((5, 4), (4, 3), ("Gemm", "xw", {})),
    ((4, 5), (3, 4), ("Gemm", "xw", {"transA": 1, "transB": 1})),
    ((4, 5), (5, 3), ("Gemm", "wx", {"transA": 1, "transB": 1}))])
def test_products(tmp_path, x, w, node):
    op, order, attributes = node
    model = saved(tmp_path, [helper.make_node(op, list(order), ["y"], **attributes)], {"x": list(x)}, {"y": None},
                  {"w": normal(*w)})
    net = Network(model, [{"x": normal(*x, seed=1)}])
    (use,) = net.uses("w")
    data, weight, out = captured(net, use.layer)
    found = products(use.layer, data, weight)                    # groups, samples, outputs
    out = np.swapaxes(out, -1, -2) if order == "wx" else out
    if len(found) > 1:
        out = np.moveaxis(out, -3, 0)
    np.testing.assert_allclose(found.reshape(out.shape), out, atol=1e-5)


def test_recurrent_layers_step_by_step(tmp_path):
    """The gates that the captured inputs give make the hidden states that the runtime has."""
    net = Network(recurrent(tmp_path), [{"tokens": np.random.default_rng(0).integers(0, 10, (7, 3))}])
    (walk,) = net.walk()
    w, r = (x for x in walk.course.wiring.layers if x.op == "LSTM")
    data, weight, _ = captured(net, w)
    from_x = products(w, data, weight).reshape(2, 7, 3, 12)
    states, weight, y = captured(net, r)
    from_h = products(r, states, weight).reshape(2, 7, 3, 12)
    bias = net.model["b"].array.reshape(2, 2, 12).sum(axis=1)
    gates = from_x + from_h + bias[:, None, None]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    cell = np.zeros((3, 3))
    for step in range(7):
        i, o, f, c = np.split(gates[0, step], 4, axis=-1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        np.testing.assert_allclose(sigmoid(o) * np.tanh(cell), y[step, 0], atol=1e-5)


def test_a_loop_has_its_inputs_of_each_turn(tmp_path):
    net = Network(loop(tmp_path), [{"x": normal(3, 6), "turns": np.array(4)}])
    state = normal(3, 6)
    for use in net.uses("w"):
        data, weight, _ = captured(net, use.layer)
        np.testing.assert_allclose(input_rows(use.layer, data, weight.shape, ALL)[0], state, atol=1e-5)
        state = np.tanh(state @ net.weights["w"])


def test_rows_of_a_table(tmp_path):
    tokens = np.random.default_rng(0).integers(-10, 10, (7, 3))
    net = Network(recurrent(tmp_path), [{"tokens": tokens}])
    (use,) = net.uses("table")
    (walk,) = net.walk()
    counts = rows_taken(next(walk.data(use.layer)), 10)
    assert counts.tolist() == [int((tokens % 10 == n).sum()) for n in range(10)]
    with pytest.raises(ConfigError, match="Gather multiplies no matrix"):
        input_rows(use.layer, next(walk.data(use.layer)), (10, 5), ALL)


def test_some_positions_the_same_for_other_weights(tmp_path):
    net = Network(images(tmp_path), [{"x": normal(3, 2, 8, 9)}])
    (use,) = net.uses("c2")
    one, other = net.walk()[0], net.walk()[0]
    other.replace({"c1": net.weights["c1"] * 2})
    shape = net.weights["c2"].shape
    a, b = (input_rows(use.layer, next(walk.data(use.layer)), shape, 20) for walk in (one, other))
    assert a.shape == (2, 20, 27)
    np.testing.assert_allclose(2 * a, b, rtol=1e-4, atol=1e-5)
    again = input_rows(use.layer, next(one.data(use.layer)), shape, 20, seed=1)
    assert not np.array_equal(a, again)


def test_what_cannot_be_captured_is_named(tmp_path):
    model = saved(tmp_path, [helper.make_node("ConvTranspose", ["x", "w"], ["y"], output_shape=[9, 9], name="up")],
                  {"x": [1, 2, 8, 8]}, {"y": None}, {"w": normal(2, 3, 3, 3)})
    net = Network(model, [{"x": normal(1, 2, 8, 8)}])
    (use,) = net.uses("w")
    with pytest.raises(ConfigError, match="layer 'up' cannot be captured"):
        input_rows(use.layer, next(net.walk()[0].data(use.layer)), (2, 3, 3, 3), ALL)


def test_a_product_with_a_vector_and_one_run(tmp_path):
    net = Network(classifier(tmp_path), [{"x": normal(9, 6)}])
    (use,) = net.uses("w2")
    data, weight, out = captured(net, use.layer)
    np.testing.assert_allclose(products(use.layer, data, weight)[0], out, atol=1e-5)
