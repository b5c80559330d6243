"""Tensors that share something: repeated ones their coded form, small ones a unit (informative)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from ..digests import piece_digests
from ..model import Model, Tensor
from .stream_writer import CodedTensor
from .treatment import Treatment

JOIN_ELEMENTS = 1 << 16        # elements of a joined unit
JOIN_TENSORS = 512
COMPARED = 256                # words in the middle of tensors that say which may be equal


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
    tensors = model.tensors

    def kind(i: int) -> Hashable:
        return tensors[i].dtype.code, tensors[i].shape, treatments[i]

    def middle(i: int) -> Hashable:
        size = tensors[i].size * tensors[i].dtype.parts
        return tensors[i].some_words(max(0, size - COMPARED) // 2, min(size, COMPARED)).tobytes()

    def whole(i: int) -> Hashable:
        return tensors[i].size * tensors[i].dtype.parts > COMPARED and tuple(piece_digests(tensors[i].words))

    groups = [[i for i, t in enumerate(tensors) if t.size]]
    for key in (kind, middle, whole):                  # each reads more, of fewer tensors
        groups = [alike for group in groups for alike in _alike(group, key)]
    return {i: group[0] for group in groups for i in group[1:]}


def _alike(numbers: Sequence[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    # Those with the same key, where there are several.
    found: dict[Hashable, list[int]] = {}
    for i in numbers:
        found.setdefault(key(i), []).append(i)
    return [group for group in found.values() if len(group) > 1]
