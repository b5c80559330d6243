"""Adaptive memory allocation of S5: widths of activations chosen together with the weights, run in integers."""

from __future__ import annotations

import numpy as np
from data import test_images
from section import HERE, Table

from refcodec import Config, decode, encode, load
from refcodec.integers.allocate import (
    adapt,
    best_format,
    layer_inputs,
    with_accumulator,
)
from refcodec.integers.evaluate import (
    FixedPointNetwork,
    fixed_point_network,
    network_of,
)

NETWORK = HERE.parents[1] / "tests" / "data" / "digits_v1.onnx"
CALIBRATION = 60                      # images, which are not among those whose accuracy is told
WIDTHS = (8.0, 6.0, 5.0, 4.0, 3.0)      # of activations, in the mean over the layers


def memory_table() -> tuple[Table, dict, str]:
    """The table, its facts and a remark; the bundled network of digits, as its stream decodes."""
    images, labels = test_images(8).images, test_images(8).labels
    tested, right = images[CALIBRATION:], labels[CALIBRATION:]
    model, rows, facts = load(NETWORK), [], {"accumulators_fit": True}
    original = _accuracy(_float_scores(network_of(model), tested), right)
    for width in WIDTHS:
        adapted, config = adapt(model, {"image": images[:CALIBRATION]}, Config(preset="s5-hybrid"), width)
        stream = encode(adapted, config)
        network = fixed_point_network(decode(stream))
        chosen = _accuracy(network.run({"image": tested})[0], right)
        facts["accumulators_fit"] &= all(layer.fits for layer in network.layers.values())
        given = layer_inputs(network_of(model), {"image": images[:1]}, list(network.layers))
        sizes = {name: x[0].size for name, x in given.items()}
        formats = {name: layer.format for name, layer in network.layers.items()}
        memory = max(f.width * sizes[name] for name, f in formats.items())
        equal, equal_memory = _equal_widths(network, decode(stream), round(width), images[:CALIBRATION], tested, right,
                                            sizes)
        rows.append([
            f"{width:g}", " ".join(str(f.width) for f in formats.values()), f"{memory:,}", f"{chosen:.2f}",
            f"{equal_memory:,}", f"{equal:.2f}",
            max(f.accumulator_width for f in formats.values()), f"{len(stream):,}"
        ])
        facts[f"memory_{width:g}_accuracy"] = chosen
        facts[f"memory_{width:g}_equal_accuracy"] = equal
    facts["memory_float_accuracy"] = original
    table = Table(
        "Activations in fixed point: widths by layer (equations 4 to 6 of the paper)", [
            "mean width", "widths", "largest map, bits", "accuracy %", "equal widths: bits", "accuracy %",
            "accumulators, bits", "stream, bytes"
        ], rows, "The bundled convolutional network, weights of the hybrid pipeline, all products in integers as its "
        f"stream decodes; float32: {original:.2f} %. "
        f"{CALIBRATION} images to choose by, {len(right)} others to test.")
    least = min(w for w in WIDTHS if facts[f"memory_{w:g}_accuracy"] >= original - 1)
    gain = [facts[f"memory_{w:g}_accuracy"] - facts[f"memory_{w:g}_equal_accuracy"] for w in WIDTHS]
    remark = (
        f"**Memory**: activations of {least:g} bits in the mean keep the accuracy within a point; against "
        f"equal widths the chosen ones are worth {min(gain):+.2f} to {max(gain):+.2f} points. " +
        ("No accumulator can overflow the width that the stream signals."
         if facts["accumulators_fit"] else "An accumulator can overflow the width that the stream signals."))
    return table, facts, remark


def _equal_widths(network: FixedPointNetwork, model, width: int, calibration, tested, right,
                  sizes) -> tuple[float, int]:
    """(accuracy, largest map in bits) with one width for all layers."""
    proto = network_of(model)
    given = layer_inputs(proto, {"image": calibration}, list(network.layers))
    formats = {name: with_accumulator(best_format(x, width), network.products[name]) for name, x in given.items()}
    scores = FixedPointNetwork(proto, formats).run({"image": tested})[0]
    return _accuracy(scores, right), max(width * size for size in sizes.values())


def _float_scores(proto, images: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(proto).run(None, {"image": images})[0]


def _accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float(np.mean(scores.argmax(axis=1) == labels))
