"""Updates as trainers ship them: a bfloat16 file after some steps of Adam at a low learning rate.

The optimiser keeps float32 weights, of which the file holds the rounded ones.  A step moves the weights of a tensor by
about as much, far less than a bfloat16 step of most of them: only those that cross a border of rounding change, mostly
by one unit in the last place, small weights more often than large ones.  Here the weights of a tensor move by a rate
times the tensor's root mean square, and the rate is found that changes the wanted share of words.  Weights far below
that (DEAD) do not move: they belong to units that no gradient reaches, which real models have many of.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Sequence

import ml_dtypes
import numpy as np

from .output import Tensor, read_header

BF16 = np.dtype(ml_dtypes.bfloat16)
BLOCK = 1 << 20
SAMPLE = 16                         # one in so many words is looked at to find the rate
DEAD = 2.0 ** -12                   # of the root mean square
EXPONENT = 0x7f80


def root_mean_square(words: np.ndarray) -> float:
    """Of the finite ones among bfloat16 words [n] uint16; 0 where there are none."""
    values = words[words & EXPONENT != EXPONENT].view(BF16).astype("f8")
    return float(np.sqrt(np.mean(values * values))) if len(values) else 0.0


def stepped(words: np.ndarray, move: float, dead: float, random: np.random.Generator) -> np.ndarray:
    """bfloat16 words [n] uint16 after their float32 weights moved by `move` times a normal deviate each.

    A float32 weight lies anywhere between the borders of its word.  Those of magnitude `dead` or less, infinities and
    NaNs stay.
    """
    inside = random.integers(-32767, 32767, len(words), dtype=np.int32, endpoint=True)
    exact = words.astype(np.uint32) << 16
    stays = (np.abs(exact.view("f4")) <= max(dead, 1e-37)) | (words & EXPONENT == EXPONENT)
    before = np.where(stays, exact, exact + inside.view(np.uint32)).view("f4")
    moved = before + np.float32(move) * random.standard_normal(len(words), dtype="f4")
    return np.where(stays, words, moved.astype(BF16).view(np.uint16))


def rate_for(tensors: Sequence[np.ndarray], sizes: Sequence[float], share: float, seed: int) -> float:
    """The learning rate that changes `share` of the words of tensors whose root mean squares are `sizes`."""
    samples = [words[::SAMPLE] for words in tensors]
    total, low, high = sum(map(len, samples)), 1e-9, 1.0
    for _ in range(16):
        middle, random = float(np.sqrt(low * high)), np.random.default_rng([seed, 1])
        changed = sum(int(np.count_nonzero(stepped(sample, middle * size, DEAD * size, random) != sample))
                      for sample, size in zip(samples, sizes))
        low, high = (middle, high) if changed < share * total else (low, middle)
    return high


def updated(path: pathlib.Path, share: float, seed: int) -> list[Tensor]:
    """The tensors of a bfloat16 safetensors file with `share` of all words changed.  ValueError: of another type."""
    header, start = read_header(path)
    if {entry["dtype"] for entry in header.values()} != {"BF16"}:
        raise ValueError(f"{path} is no file of bfloat16 tensors alone")
    words = np.memmap(path, np.uint16, "r", offset=start)
    tensors = [words[slice(*(offset // 2 for offset in entry["data_offsets"]))] for entry in header.values()]
    sizes = [root_mean_square(tensor[::SAMPLE]) for tensor in tensors]
    rate = rate_for(tensors, sizes, share, seed)

    def blocks(number: int) -> Iterator[np.ndarray]:
        random, size, tensor = np.random.default_rng([seed, 2, number]), sizes[number], tensors[number]
        for place in range(0, len(tensor), BLOCK):
            yield stepped(tensor[place:place + BLOCK], rate * size, DEAD * size, random).view(BF16)

    return [Tensor(name, tuple(entry["shape"]), functools.partial(blocks, number))
            for number, (name, entry) in enumerate(header.items())]
