"""Words of every type, and feature maps: what the coders of words and of maps are tried on."""

import numpy as np

from refcodec.dtypes import BY_NAME

TYPES = [d for d in BY_NAME.values() if d.parts == 1]


def random_words(rng, dtype, shape):
    return rng.integers(0, 1 << dtype.bits, shape, dtype=np.uint64).astype(dtype.word)


def special_words(dtype):
    """Zeros of both signs, subnormals, the largest finite words, infinities, NaNs, integer extremes: one row."""
    top, sign = (1 << dtype.bits) - 1, 1 << (dtype.bits - 1)
    words = [0, 1, 2, 3, top, top - 1, sign, sign - 1, sign + 1, sign >> 1, top ^ (sign >> 1), 0, 0,
             1 << dtype.mantissa]
    return np.array([[w & top for w in words]], np.uint64).astype(dtype.word)


def smooth_maps(channels=24, height=28, width=28, seed=0):
    """Maps such as convolutions give: a few smooth images, mixed and rectified; float32 [C, H, W]."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((8, height + 8, width + 8))
    for _ in range(6):
        images = (images[:, :-1] + images[:, 1:])[:, :, :-1] + (images[:, :-1] + images[:, 1:])[:, :, 1:]
    images = images[:, 1:height + 1, 1:width + 1] / images.std()
    mixed = np.tensordot(rng.standard_normal((channels, 8)), images, 1) - 0.5
    return np.clip(mixed, 0, 2).astype(np.float32)
