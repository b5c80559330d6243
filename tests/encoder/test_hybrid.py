"""Hybrid compression (S5): points and prices, fixed-point levels, activation formats, inference in integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import DATA, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from refcodec import Config, ConfigError, Model, Tensor, decode, encode, load
from refcodec.bitstream.parser import parse
from refcodec.bitstream.structures import EntropyMode, Quantiser, Representation
from refcodec.encoder.hybrid.operating_points import (
    HybridPoint,
    cheapest,
    hybrid_levels,
    hybrid_points,
    level_width,
    price_of_a_bit,
)
from refcodec.integers.allocate import (
    Prices,
    WeightOption,
    adapt,
    allocate_widths,
    best_format,
    layer_inputs,
    with_accumulator,
    with_weights,
)
from refcodec.integers.evaluate import (
    FixedPointNetwork,
    fixed_point_network,
    integer_range,
    integer_weights,
    name_of,
    network_of,
    products_of,
    to_integers,
    width_of,
)
from refcodec.model import ActivationFormat

IMAGES = np.load(DATA / "digits_test.npz")["images"].astype(np.float32)[:, None] / np.float32(16)
LABELS = np.load(DATA / "digits_test.npz")["labels"]


def digits() -> onnx.ModelProto:
    return onnx.load(DATA / "digits_v1.onnx")


def scores(network) -> np.ndarray:
    return ReferenceEvaluator(network).run(None, {"image": IMAGES})[0]


def accuracy(output: np.ndarray) -> float:
    return float(np.mean(output.argmax(axis=1) == LABELS))


def layer_weights(network: onnx.ModelProto) -> dict[str, np.ndarray]:
    tensors = {t.name: numpy_helper.to_array(t) for t in network.graph.initializer}
    return {node.name: tensors[node.input[1]] for node in network.graph.node if node.op_type in ("Conv", "Gemm")}


def coded(w: np.ndarray, point: HybridPoint) -> np.ndarray:
    """The weights of a layer at a point, outputs in rows."""
    choice = hybrid_levels(w.reshape(len(w), -1), point)
    values = [c.values for c in choice.components]
    values = values[0] @ values[1] if point.rank else values[0]
    return values.astype(np.float32).reshape(w.shape)


@pytest.fixture(scope="module")
def points() -> dict[str, list[HybridPoint]]:
    return {name: hybrid_points(w.reshape(len(w), -1), low_rank=w.ndim == 2)
            for name, w in layer_weights(digits()).items()}


# Points and prices

@pytest.mark.parametrize("low_rank", [False, True])
def test_points_tell_the_error_and_the_levels_fit_their_width(low_rank):
    w = weights((40, 12)) @ weights((12, 60), seed=1)                   # of rank 12
    for point in hybrid_points(w, low_rank)[::17]:
        choice = hybrid_levels(w, point)
        assert choice.rank == point.rank
        assert len(choice.components) == (2 if point.rank else 1)
        if point.error < 0.3:
            assert choice.error == pytest.approx(point.error, rel=0.15, abs=1e-6)
        for c in choice.components:
            assert -1 << (c.width - 1) <= c.levels.min()
            assert c.levels.max() < 1 << (c.width - 1)
            assert c.width == level_width(c.levels)
            assert c.fraction_bits == point.fraction_bits


def test_a_matrix_of_low_rank_is_coded_as_factors():
    w = weights((64, 6)) @ weights((6, 80), seed=1)
    found = hybrid_points(w)
    assert cheapest(found, price_of_a_bit([found], 20)).rank in (6, 8, 9)
    assert not any(p.rank for p in hybrid_points(w, low_rank=False))


def test_the_price_meets_the_error_and_falls_with_it(points):
    layers = list(points.values())
    sizes = []
    for snr in (3, 10, 20, 40):
        chosen = [cheapest(p, price_of_a_bit(layers, snr)) for p in layers]
        assert sum(p.error for p in chosen) <= 10 ** (-snr / 10)
        sizes.append(sum(p.bits for p in chosen))
    assert sizes == sorted(sizes)
    with pytest.raises(ConfigError, match="RATE"):
        price_of_a_bit(layers, 200)


def test_a_price_in_rounding_prunes():
    w = weights((50, 60))
    plain, pruned = (hybrid_levels(w, HybridPoint(0, 5, price, 0, 0)).components[0].levels for price in (0.0, 0.35))
    assert np.array_equal(plain, np.rint(w * 32))
    assert (pruned != 0).sum() < 0.9 * (plain != 0).sum()
    assert (np.abs(pruned) <= np.abs(plain)).all()


@settings(max_examples=30, deadline=None)
@given(npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=6),
                   elements=st.floats(-2.0**80, 2.0**80, width=32)))
def test_any_finite_matrix_has_points(w):
    found = hybrid_points(w)
    best = min(found, key=lambda p: p.error)
    choice = hybrid_levels(w, best)
    assert np.isfinite(choice.error)
    assert choice.error < 0.05
    assert all(c.levels.dtype == np.int32 and 1 <= c.width <= 32 for c in choice.components)


@pytest.mark.parametrize("levels, width", [([0], 1), ([-1, 0], 1), ([1], 2), ([-2], 2), ([-3], 3), ([127, -128], 8),
                                           ([], 1)])
def test_level_width(levels, width):
    assert level_width(np.array(levels, np.int32)) == width


# Formats

@pytest.mark.parametrize("form, value, integer", [
    (ActivationFormat(False, 8, 4, 32), 0.09375, 2), (ActivationFormat(False, 8, 4, 32), 0.15625, 2),
    (ActivationFormat(False, 8, 4, 32), -1.0, 0), (ActivationFormat(False, 8, 4, 32), 1e9, 255),
    (ActivationFormat(True, 8, 0, 32), -200.0, -128), (ActivationFormat(True, 8, 0, 32), np.inf, 127),
    (ActivationFormat(True, 8, 0, 32), -np.inf, -128), (ActivationFormat(True, 8, 0, 32), np.nan, 0),
    (ActivationFormat(False, 1, -3, 32), 5.0, 1), (ActivationFormat(True, 4, 1074, 32), 5e-324, 1),
    (ActivationFormat(True, 16, 1074, 32), -1.0, -32768)])
def test_integers_of_activations(form, value, integer):
    assert to_integers(np.array([value]), form)[0].tolist() == [integer]


@settings(max_examples=50, deadline=None)
@given(npst.arrays(np.float64, 20, elements=st.floats(-1e6, 1e6)), st.integers(2, 20))
def test_the_best_format_is_no_worse_than_one_that_clips_nothing(x, width):
    form = best_format(x, width)
    assert form.signed == bool(x.min() < 0)
    assert form.width == width
    integers, _ = to_integers(x, form)
    low, high = integer_range(form)
    assert low <= integers.min()
    assert integers.max() <= high
    step = np.abs(x).max() / (1 << (width - int(form.signed))) * 2
    assert np.square(np.ldexp(integers.astype(float), -form.fraction_bits) - x).sum() <= x.size * step**2


@settings(max_examples=50, deadline=None)
@given(npst.arrays(np.int64, 12, elements=st.integers(-(1 << 30), 1 << 30)), st.integers(-100, 60))
def test_integer_weights_are_the_least_that_are_exact(q, fraction_bits):
    values = np.ldexp(q.astype(np.float64), -fraction_bits)
    found, bits = integer_weights(values)
    assert np.array_equal(np.ldexp(found.astype(np.float64), -bits), values)
    assert (found & 1).any() or not q.any()


@pytest.mark.parametrize("values", [[1.0, 2.0**-40], [np.inf], [np.nan], [0.1, 1 / 3]])
def test_what_is_not_in_fixed_point_is_refused(values):
    with pytest.raises(ConfigError, match="UNSUPPORTED_LAYER"):
        integer_weights(np.array(values))


# Products in integers

def one_layer(op: str, w: np.ndarray, b: np.ndarray | None = None, **attributes) -> onnx.ModelProto:
    names = ["x", "w"] + (["b"] if b is not None else [])
    tensors = [numpy_helper.from_array(w, "w")] + ([numpy_helper.from_array(b, "b")] if b is not None else [])
    graph = helper.make_graph([helper.make_node(op, names, ["y"], "layer", **attributes)], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def eighths(shape, seed: int, limit: int = 8) -> np.ndarray:
    return (np.random.default_rng(seed).integers(-limit, limit + 1, shape) / 8).astype(np.float32)


@pytest.mark.parametrize("op, shape, given_shape, attributes", [
    ("Conv", (6, 4, 3, 2), (2, 4, 9, 10), {}), ("Conv", (6, 2, 3, 2), (2, 4, 9, 10), dict(group=2, strides=[2, 1])),
    ("Conv", (6, 4, 3, 3), (2, 4, 9, 10), dict(pads=[1, 0, 2, 1], dilations=[2, 1])),
    ("Conv", (6, 4, 3, 3), (1, 4, 8, 7), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
    ("Conv", (6, 4, 3, 3), (1, 4, 8, 7), dict(auto_pad="SAME_LOWER")), ("Conv", (6, 4, 5), (2, 4, 20), {}),
    ("Gemm", (5, 7), (3, 5), {}), ("Gemm", (7, 5), (3, 5), dict(transB=1)), ("MatMul", (5, 7), (2, 3, 5), {})])
def test_products_of_integers_are_the_operators(op, shape, given_shape, attributes):
    outputs = shape[0] if op == "Conv" or attributes.get("transB") else shape[1]
    network = one_layer(op, eighths(shape, 1), None if op == "MatMul" else eighths(outputs, 2), **attributes)
    x = eighths(given_shape, 3, 60)
    found = FixedPointNetwork(network, {"layer": ActivationFormat(True, 8, 3, 40)})
    assert np.array_equal(found.run({"x": x})[0], ReferenceEvaluator(network).run(None, {"x": x})[0])
    layer = found.layers["layer"]
    assert layer.fits
    assert layer.clipped == 0
    assert layer.activations == x.size
    assert layer.worst[0] <= layer.seen[0] < 0 < layer.seen[1] <= layer.worst[1]


@pytest.mark.parametrize("signed", [False, True])
def test_the_worst_case_is_reached_and_no_wider(signed):
    w, b = eighths((4, 30), 5), eighths(4, 6)
    network = one_layer("Gemm", w, b, transB=1)
    product = products_of(network)[0]
    form = with_accumulator(ActivationFormat(signed, 6, 2, 64), product)
    low, high = integer_range(form)
    x = np.concatenate([np.where(w > 0, high, low), np.where(w > 0, low, high)]).astype(np.float32) / 4
    found = FixedPointNetwork(network, {"layer": form})
    found.run({"x": x})
    layer = found.layers["layer"]
    assert layer.fits
    assert width_of(layer.worst) == form.accumulator_width
    assert layer.seen[0] - layer.worst[0] <= 8 * 4
    assert layer.worst[1] - layer.seen[1] <= 8 * 4        # but for the bias
    narrower = ActivationFormat(signed, 6, 2, form.accumulator_width - 1)
    assert not FixedPointNetwork(network, {"layer": narrower}).layers["layer"].fits
    outputs, terms = product.rows.shape
    assert form.accumulator_width <= 6 + product.width + int(np.ceil(np.log2(terms))) + 1         # eq. 4, and the bias


@pytest.mark.parametrize("network, name, message", [
    (one_layer("Gemm", eighths((5, 7), 1), alpha=0.5), "layer", "alpha"),
    (one_layer("MatMul", eighths((2, 5, 7), 1)), "layer", "no matrix"),
    (one_layer("ConvTranspose", eighths((4, 6, 3, 3), 1)), "layer", "ConvTranspose"),
    (one_layer("Gemm", weights((5, 7)) * np.float32(10) ** np.arange(7, dtype=np.float32)), "layer", "not in fixed"),
    (one_layer("Gemm", eighths((5, 7), 1)), "other", "no such layer")])
def test_layers_that_cannot_be_taken(network, name, message):
    with pytest.raises(ConfigError, match=message) as error:
        FixedPointNetwork(network, {name: ActivationFormat(True, 8, 0, 32)})
    assert error.value.code == "UNSUPPORTED_LAYER"


def test_accumulators_beyond_exact_sums_are_refused():
    network = one_layer("Gemm", eighths((5, 7), 1) * 2**19 + 0.125)
    with pytest.raises(ConfigError, match="2.53"):
        FixedPointNetwork(network, {"layer": ActivationFormat(True, 48, 0, 64)})


# The digits network

def test_digits_are_read_as_well_at_a_twentieth_of_the_size(points):
    network = digits()
    found = layer_weights(network)
    price = price_of_a_bit(list(points.values()), 4.0)
    chosen = {name: cheapest(p, price) for name, p in points.items()}
    small = with_weights(network, {name: coded(w, chosen[name]) for name, w in found.items()})
    assert accuracy(scores(small)) >= accuracy(scores(network)) - 0.005
    assert sum(p.bits for p in chosen.values()) < 32 / 20 * sum(w.size for w in found.values())


def test_widths_are_allocated_and_no_accumulator_overflows(points):
    network = digits()
    price = price_of_a_bit(list(points.values()), 4.0)
    options = {name: [WeightOption(coded(w, p), p.bits)
                      for p in (cheapest(points[name], price), cheapest(points[name], price / 4))]
               for name, w in layer_weights(network).items()}
    found = allocate_widths(network, {"image": IMAGES[:60]}, 6.0, options)
    assert sum(f.width for f in found.formats.values()) == 24
    assert not any(f.signed for f in found.formats.values())
    assert len({f.width for f in found.formats.values()}) > 1
    small = with_weights(network, {name: options[name][k].array for name, k in found.options.items()})
    integers = FixedPointNetwork(small, found.formats)
    output = integers.run({"image": IMAGES})[0]
    assert accuracy(output) >= accuracy(scores(small)) - 0.01
    for layer in integers.layers.values():
        assert layer.fits
        assert layer.worst[0] <= layer.seen[0]
        assert layer.seen[1] <= layer.worst[1]
        assert width_of(layer.worst) == layer.format.accumulator_width
        assert layer.clipped < 0.01


def test_prices_steer_the_allocation(points):
    rounded = {name: np.rint(w * 64) / np.float32(64) for name, w in layer_weights(digits()).items()}
    network = with_weights(digits(), rounded)
    inputs = {"image": IMAGES[:20]}
    lean, exact = (allocate_widths(network, inputs, 6.0, prices=p) for p in (Prices(9, 1, 1), Prices(1, 1, 99)))
    assert exact.error < lean.error
    given = layer_inputs(network, inputs, list(lean.formats))
    memory = [max(f.width * given[name][0].size for name, f in a.formats.items()) for a in (lean, exact)]
    assert memory[0] < memory[1]


def test_layer_inputs_are_what_the_layers_are_given():
    network = digits()
    names = [name_of(n) for n in network.graph.node if n.op_type in ("Conv", "Gemm")]
    given = layer_inputs(network, {"image": IMAGES[:3]}, names)
    assert np.array_equal(given["0.Conv"], IMAGES[:3])
    assert given["7.Gemm"].shape == (3, 512)
    assert all((x >= 0).all() for x in given.values())


# In a stream

def descriptors(stream: bytes) -> dict:
    """Tensor name to its tensor_descriptor()."""
    parsed = parse(stream).models[0]
    return {parsed.state.tensors[d.tensor_index].tensor_name: d for u in parsed.tensor_units for d in u.descriptors}


def payload_bytes(stream: bytes) -> int:
    """Bytes of the units of tensors that do not share one."""
    parsed = parse(stream).models[0]
    return sum(u.unit.end - u.unit.offset for u in parsed.tensor_units if len(u.descriptors) == 1)


@pytest.fixture(scope="module")
def stream() -> bytes:
    return encode(load(DATA / "digits_v1.onnx"), Config(preset="s5-hybrid"))


def test_the_preset_end_to_end(stream):
    model, decoded = load(DATA / "digits_v1.onnx"), decode(stream)
    assert len(stream) < (DATA / "digits_v1.onnx").stat().st_size / 18
    assert accuracy(scores(network_of(decoded))) >= accuracy(scores(digits())) - 0.005
    found = descriptors(stream)
    kinds = {name: (d.representation, {(c.quantiser, c.entropy_mode) for c in d.component})
             for name, d in found.items()}
    assert kinds["3.Conv.weight"] == (Representation.DIRECT, {(Quantiser.FIXED_POINT, EntropyMode.HUFFMAN)})
    assert kinds["7.Gemm.weight"] == (Representation.LOW_RANK, {(Quantiser.FIXED_POINT, EntropyMode.HUFFMAN)})
    matrix = model["7.Gemm.weight"].array
    point = cheapest(hybrid_points(matrix), 0.0)
    assert decode(encode(model, Config(preset="s5-hybrid", points={"7.Gemm.weight": point})))["7.Gemm.weight"].array \
        == pytest.approx(matrix, abs=2.0 ** -point.fraction_bits)


def test_huffman_is_within_three_percent_of_cm(stream):
    mixed = encode(load(DATA / "digits_v1.onnx"), Config(preset="s5-hybrid", entropy="cm"))
    assert all(np.array_equal(a.words, b.words) for a, b in zip(decode(stream).tensors, decode(mixed).tensors))
    assert payload_bytes(stream) <= 1.03 * payload_bytes(mixed)


@pytest.mark.parametrize("entropy", ["raw", "fixed", "lzma", "auto"])
def test_hybrid_levels_in_every_entropy_mode(stream, points, entropy):
    price = price_of_a_bit(list(points.values()), 4.0)
    chosen = {f"{name}.weight": cheapest(p, price) for name, p in points.items()}
    other = encode(load(DATA / "digits_v1.onnx"), Config(preset="s5-hybrid", entropy=entropy, points=chosen))
    assert all(np.array_equal(a.words, b.words) for a, b in zip(decode(stream).tensors, decode(other).tensors))


def test_formats_travel_with_the_model_and_hold_in_integers():
    model, config = adapt(load(DATA / "digits_v1.onnx"), {"image": IMAGES[:60]}, Config(preset="s5-hybrid"), 6.0)
    decoded = decode(encode(model, config))
    formats = {layer.name: layer.activation for layer in decoded.layers if layer.activation}
    assert formats == {layer.name: layer.activation for layer in model.layers if layer.activation}
    assert len(formats) == 4
    network = fixed_point_network(decoded)
    output = network.run({"image": IMAGES})[0]
    assert accuracy(output) >= accuracy(scores(digits())) - 0.01
    for layer in network.layers.values():
        assert layer.fits
        assert width_of(layer.seen) <= layer.format.accumulator_width


def test_odd_models():
    rng = np.random.default_rng(5)
    tensors = [Tensor("zeros.weight", np.zeros((40, 50), np.float32)), Tensor("row.weight", weights((1, 3000))),
               Tensor("half.weight", weights((40, 50), np.float16)),
               Tensor("nan.weight", np.full((40, 50), np.nan, np.float32)),
               Tensor("low.weight", (rng.normal(size=(64, 3)) @ rng.normal(size=(3, 96))).astype(np.float32)),
               Tensor("steps", np.array(7))]
    decoded = decode(encode(Model(tensors), Config(preset="s5-hybrid", snr=20)))
    assert not decoded["zeros.weight"].array.any()
    assert np.isnan(decoded["nan.weight"].array).all()
    for name in ("row.weight", "half.weight", "low.weight"):
        a, b = (m.array.astype(np.float64) for m in (next(t for t in tensors if t.name == name), decoded[name]))
        assert np.square(a - b).sum() <= 0.01 * np.square(a).sum()


def test_a_model_without_a_network_cannot_run():
    with pytest.raises(ConfigError, match="no network"):
        fixed_point_network(Model([Tensor("w", weights((4, 4)))]))
