"""Generated transformers, so that whoever measures chooses what is coded: usual shapes, weights as they look.

A weight is a normal deviate z times the scale of its row, of its column and of its tensor, with heavy tails: Tukey's
h-distribution, z exp(h z^2 / 2), h from 0 to 0.12 by tensor.  Rows and columns have log-normal scales, norms lie
around 1, and a few columns of what reads the residual stream are outliers, as in trained models.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from .output import TYPES, Tensor

VOCABULARY = 32000
BLOCK = 1 << 20                     # elements made at a time
OUTLIERS = 0.002                    # share of the columns


def layer(width: int) -> dict[str, tuple[int, ...]]:
    """The tensors of one layer of a decoder with grouped queries, by name."""
    keys, hidden = width // 4, -(-width * 8 // 3 // 256) * 256
    return {"input_layernorm": (width,), "self_attn.q_proj": (width, width), "self_attn.k_proj": (keys, width),
            "self_attn.v_proj": (keys, width), "self_attn.o_proj": (width, width), "post_attention_layernorm": (width,),
            "mlp.gate_proj": (hidden, width), "mlp.up_proj": (hidden, width), "mlp.down_proj": (width, hidden)}


def shapes(count: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a transformer of at least `count` weights, at most one matrix more."""
    width = 2048 if count >= 300_000_000 else 1024
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, width)}
    rest, number = count - VOCABULARY * width, 0
    while True:
        for name, shape in layer(width).items():
            if rest <= 0:
                return found
            found[f"model.layers.{number}.{name}.weight"] = shape
            rest -= int(np.prod(shape))
        number += 1


def made(label: str, size: int, seed: int) -> list[Tensor]:
    """A transformer whose tensors take at least `size` bytes as type `label` of TYPES."""
    names = shapes(-(-size // TYPES[label].itemsize))
    return [Tensor(name, shape, functools.partial(blocks, shape, (seed, number)))
            for number, (name, shape) in enumerate(names.items())]


def blocks(shape: tuple[int, ...], seed: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The elements of a tensor as float32, some rows at a time."""
    random = np.random.default_rng(seed)
    if len(shape) == 1:
        yield (1 + 0.2 * random.standard_normal(shape)).astype("f4")
        return
    rows, columns = shape
    tail = random.uniform(0, 0.12)
    scale = random.lognormal(-0.5, 0.35) / np.sqrt(columns) * random.lognormal(0, 0.25, (rows, 1))
    across = random.lognormal(0, 0.1, columns)
    across[random.random(columns) < OUTLIERS] *= 6
    step = max(1, BLOCK // columns)
    for first in range(0, rows, step):
        z = random.standard_normal((min(step, rows - first), columns), dtype="f4")
        z *= np.exp(np.float32(tail / 2) * z * z)
        yield z * scale[first:first + step].astype("f4") * across.astype("f4")
