"""Tensors that share something: repeated ones their coded form, small ones a unit (informative)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..model import Model, Tensor
from .stream_writer import CodedTensor
from .treatment import Treatment

JOIN_ELEMENTS = 1 << 16        # elements of a joined unit
JOIN_TENSORS = 512


def joined_units(entries: Sequence[CodedTensor], tensors: Sequence[Tensor]) -> list[list[CodedTensor]]:
    """Entries in ascending order of tensors, cut into units of bounded size."""
    units: list[list[CodedTensor]] = [[]]
    elements = 0
    for entry in sorted(entries, key=lambda e: e[0]):
        size = tensors[entry[0]].size * tensors[entry[0]].dtype.parts
        if units[-1] and (elements + size > JOIN_ELEMENTS or len(units[-1]) >= JOIN_TENSORS):
            units.append([])
            elements = 0
        units[-1].append(entry)
        elements += size
    return units


def find_copies(model: Model, treatments: Sequence[Treatment]) -> dict[int, int]:
    """Tensors that repeat an earlier one of the same type, shape and treatment: index to index."""
    seen: dict[tuple[int, tuple[int, ...], Treatment, bytes], list[int]] = {}
    groups: dict[tuple[int, tuple[int, ...], Treatment], list[int]] = {}
    for i, t in enumerate(model.tensors):
        if t.size:
            groups.setdefault((t.dtype.code, t.shape, treatments[i]), []).append(i)
    copies: dict[int, int] = {}
    for kind, group in groups.items():
        for i in group if len(group) > 1 else ():
            words = model.tensors[i].words
            key = (*kind, words[:: max(1, words.size // 64)].tobytes())
            for k in seen.setdefault(key, []):
                if np.array_equal(model.tensors[k].words, words):
                    copies[i] = k
                    break
            else:
                seen[key].append(i)
    return copies
