"""Roles of tensors whose operator is not known, by name, shape and type (informative: the encoder's choice)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..dtypes import DType
from ..model import Role

# First match wins; the names are those of PyTorch, TensorFlow and JAX checkpoints.
_BY_NAME = [(re.compile(pattern), role) for pattern, role in (
    (r"(running|moving)_?mean$", Role.MEAN),
    (r"(running|moving)_?var(iance)?$", Role.VARIANCE),
    (r"(zero_?points?|qzeros|_zp)$", Role.ZERO_POINT),
    (r"^(?!.*(norm|bn)).*(weight_scale(_inv)?|input_scale|_scales?|\.scales|absmax)$", Role.QUANTISATION_SCALE),
    (r"(num_batches_tracked|position_ids|g_idx|token_type_ids)$", Role.SHAPE),
    (r"(emb|embed|embeddings?|wte|wpe|embed_tokens|lookup)[^/]*[._/](weight|table|embedding)$", Role.EMBEDDING),
    (r"(embeddings?|wte|wpe)$", Role.EMBEDDING),
    (r"(weight_[ih]h|recurrent_kernel)(_l\d+)?(_reverse)?$", Role.RECURRENT_WEIGHT),
)]
_NORM = re.compile(r"(norm|bn|ln|batchnorm|layernorm)[a-z_]*\d*([._/][^._/]*)?$|gamma$|beta$")
_BIAS = re.compile(r"(bias(_[ih]h)?(_l\d+)?(_reverse)?|beta|_b)$")


def guess_role(name: str, shape: Sequence[int], dtype: DType) -> Role:
    """Role of a tensor from its name; what one dimension holds is never called a WEIGHT."""
    lower = name.lower()
    vector = sum(n > 1 for n in shape) <= 1
    for pattern, role in _BY_NAME:
        if pattern.search(lower):
            if role == Role.EMBEDDING and vector or role == Role.QUANTISATION_SCALE and dtype.kind != "f":
                continue
            return role
    if dtype.kind != "f":
        return Role.OTHER if vector or dtype.bits > 16 else Role.WEIGHT
    if not vector:
        return Role.WEIGHT
    if _NORM.search(lower):
        return Role.NORM_BIAS if _BIAS.search(lower) else Role.NORM_SCALE
    return Role.BIAS if _BIAS.search(lower) else Role.OTHER
