"""A model run in integers beside the same model in floating point (SPEC 7.6.4; informative)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

from ..errors import ConfigError
from ..inspection.text import shown
from ..model import Model
from .evaluate import FixedPointNetwork, network_of


def check_integers(model: Model, inputs: dict[str, np.ndarray], labels: np.ndarray | None = None) -> dict[str, Any]:
    """Layers with activation formats, their accumulators, and how far integers lead the outputs; for json.

    inputs: of the network, by name.  labels: the right classes, if the first output holds a score of each class.
    Raises ConfigError UNSUPPORTED_LAYER as FixedPointNetwork does, BAD_CONFIG where there is nothing to check or a
    label has no score.
    """
    formats = {layer.name: layer.activation for layer in model.layers if layer.activation}
    if not formats:
        raise ConfigError("BAD_CONFIG", "the model has no activation formats; make them with encode --preset s5-hybrid "
                          "--calibration INPUTS.npz")
    proto = network_of(model)
    network = FixedPointNetwork(proto, formats)
    found, wanted = network.run(inputs), list(ReferenceEvaluator(proto).run(None, inputs))
    layers = [{"layer": name, "signed": x.format.signed, "width": x.format.width,
               "fraction_bits": x.format.fraction_bits, "accumulator_width": x.format.accumulator_width,
               "worst_case": list(x.worst), "seen": list(x.seen), "fits": x.fits, "clipped": x.clipped}
              for name, x in network.layers.items()]
    outputs = [{"name": v.name, **_difference(a, b)} for v, a, b in zip(proto.graph.output, wanted, found)]
    result = {"layers": layers, "outputs": outputs, "fits": all(x.fits for x in network.layers.values())}
    if labels is not None:
        result |= {"accuracy_float": _accuracy(wanted[0], labels), "accuracy_integers": _accuracy(found[0], labels)}
    return result


def _difference(wanted: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    error, power = float(np.square(a - b).sum()), float(np.square(a).sum())
    return {"snr_db": 10 * math.log10(power / error) if error and power else None,
            "mean_error": float(np.abs(a - b).mean()) if a.size else 0.0,
            "max_error": float(np.abs(a - b).max(initial=0.0))}


def _accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    classes = scores.reshape(len(scores), -1).argmax(axis=1) if scores.ndim > 1 else np.empty(0)
    if classes.shape != labels.shape:
        raise ConfigError("BAD_CONFIG",
                          f"labels of shape {list(labels.shape)} for an output of shape {list(scores.shape)}")
    return float((classes == labels).mean())


def print_check(x: dict[str, Any]) -> None:
    """check_integers() as tables."""
    print("layer                 takes              accumulator  worst case (any input)       "
          "seen here                    fits  clipped")
    for layer in x["layers"]:
        takes = f"{'s' if layer['signed'] else 'u'}{layer['width']} * 2^{-layer['fraction_bits']}"
        worst, seen = (f"{low:,} .. {high:,}" for low, high in (layer["worst_case"], layer["seen"]))
        print(
            f"{shown(layer['layer'], 40):<21} {takes:<18} {layer['accumulator_width']:>6} bits  {worst:<28} {seen:<28} "
            f"{'yes' if layer['fits'] else 'NO':<4} {100 * layer['clipped']:6.2f} %")
    print("\noutputs in integers, against floating point with the same weights")
    for out in x["outputs"]:
        snr = "equal" if out["snr_db"] is None else f"{out['snr_db']:.2f} dB"
        print(f"  {shown(out['name'])}: {snr}, mean error {out['mean_error']:.6g}, largest {out['max_error']:.6g}")
    if "accuracy_float" in x:
        print(f"  right answers: {100 * x['accuracy_integers']:.2f} % in integers, "
              f"{100 * x['accuracy_float']:.2f} % in floating point")
