"""Accumulators of layers with an activation format (SPEC 7.6.4), which only an evaluation in integers touches."""

from __future__ import annotations

from collections.abc import Iterator

from ..budget import Budget
from ..errors import OmcError
from ..model import Model
from .findings import Finding, Kind

NODE_WORK = 2000          # of a node that is looked at, for each layer (budget.py)


def check_accumulators(model: Model, unit: int, budget: Budget) -> Iterator[Finding]:
    """R7.6.4-1 for each layer with an activation format. unit: of the layer descriptors."""
    layers = [(x, x.activation) for x in model.layers if x.activation]
    if not layers:
        return
    from ..integers.evaluate import LayerCheck, network_of, products_of  # onnx is loaded for these alone

    try:
        network = network_of(model, budget)
        nodes = len(network.graph.node) + len(network.graph.initializer)
        budget.spend_work(NODE_WORK * nodes * len(layers), f"{len(layers)} layers in a network of {nodes} nodes")
    except Exception as error:                       # the bytes of the network may be anything
        yield Finding(Kind.UNCHECKED, f"R7.6.4-1, as the network cannot be read: {error}", unit)
        return
    for layer, activation in layers:
        try:
            (product,) = products_of(network, {layer.name})
            check = LayerCheck(activation, product.worst_case(activation))
        except (OmcError, ValueError, OverflowError, IndexError) as error:
            yield Finding(Kind.UNCHECKED, f"R7.6.4-1 of layer {layer.name!r}: {error}", unit)
            continue
        if not check.fits:
            low, high = check.worst
            yield Finding(Kind.VIOLATION, f"layer {layer.name!r}: its sums reach {low}..{high}, beyond "
                          f"{activation.accumulator_width} bits", unit, rules=("R7.6.4-1",), phase="semantics")
