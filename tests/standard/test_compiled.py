"""The compiled loops and the same source without a compiler: the same bytes, the same tensors, on every coding tool."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys

import ml_dtypes
import numpy as np
import pytest
from helpers import (
    all_types_model,
    changed,
    structures_model,
    system_cases,
    tiny_onnx_model,
    uncompiled,
    weights,
)

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.compiler import COMPILE
from refcodec.encoder.config_parts import CODERS


def network(dtype=np.float32, seed: int = 0) -> Model:
    return Model([Tensor("fc1.weight", weights((12, 20), dtype, seed)),
                  Tensor("fc1.bias", weights((12, 1), dtype, seed + 1)[:, 0]),
                  Tensor("conv.weight", weights((6, 4, 3, 3), dtype, seed + 2)), Tensor("n", np.arange(4))])


def lower(model: Model, rows: int) -> Model:
    """A model whose matrices have fewer rows."""
    return Model([Tensor(t.name, t.array[:rows] if len(t.shape) == 2 else t.array) for t in model.tensors])


def cases() -> dict[str, tuple[Model | list[Model], Config, list[Model]]]:
    """Small models that bring in each tool, those of the published systems too; the large one has two entry points."""
    net = network()
    wide = np.zeros((2, 65536), np.float32)
    wide[:, ::4096] = weights((2, 16))
    found = {
        "types": (all_types_model(), Config(), []), "structures": (lower(structures_model(), 20), Config(), []),
        "onnx": (tiny_onnx_model(), Config(step=0.02), []), "update": (changed(net), Config(join_below=1), [net]),
        "residual": (changed(net,
                             1e-3), Config(step=0.001), [net]), "layers": (net, Config(quality_layers=2,
                                                                                       coder="cm"), []),
        "columns": (Model([Tensor("w.weight", np.ascontiguousarray(weights(
            (40, 6)).T))]), Config(step=0.01, effort="best"),
                    []), "snr": (net, Config(snr=20), []), "rate": (network(seed=9), Config(bits_per_weight=8.0), []),
        "entries": (Model([Tensor("wide.weight", wide)]),
                    Config(step=0.5, states=0, entry_elements=65536, rules=[{"match": "*",
                                                                             "treatment": "quantise"}]), []),
    }
    for states in (0, 4, 8, 16, 32, 64):
        for coder in CODERS:
            found[f"{coder}{states}"] = (net, Config(step=0.01, states=states, coder=coder), [])
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        kind = np.dtype(dtype).name
        found[f"update {kind}"] = (changed(network(dtype), 1e-3), Config(), [network(dtype)])
        found[f"lossy {kind}"] = (network(dtype), Config(step=0.01), [])
    return found | system_cases()


@functools.cache
def results(threads: int = 1) -> dict[str, list[str]]:
    """Per case: SHA-256 of the stream, and the digest of the decoded model."""
    out = {}
    for name, (model, config, references) in cases().items():
        config = dataclasses.replace(config, threads=threads)
        stream = encode(model, config, references)
        out[name] = [hashlib.sha256(stream).hexdigest(), decode(stream, references, threads=threads).digest().hex()]
    return out


def test_same_bits_with_two_threads():
    assert results(2) == results(1)


@pytest.mark.long
@pytest.mark.skipif(not COMPILE, reason="the compiler is off")
def test_same_bits_without_the_compiler():
    compiled = results(1)
    assert json.loads(uncompiled(__file__)) == compiled
    assert len(compiled) >= 27 + len(system_cases())


if __name__ == "__main__":
    assert not COMPILE
    json.dump(results(), sys.stdout)
