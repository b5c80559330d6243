"""Requirements of the source files (SPEC 8.9), which a decoder checks only where it writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..bitstream.parser import ParsedModel
from ..errors import FormatError
from ..formats import slots
from ..formats.files import check_path, check_paths
from ..model import Slot, SlotCoding
from ..topology import source_of
from .findings import Finding


def check_files(model: ParsedModel, unit: int) -> Iterator[Finding]:
    """Paths, slot codings and sizes of a topology [R8.9.1-1, R8.9.1-2, R8.9.2-1, R8.9-1]. unit: that of the
    topology."""
    paths = [f.file_path for f in model.topology.file] if model.topology else []
    good: list[str] = []
    for path in paths:
        if (error := _error(check_path, path)) is None:
            good.append(path)
        else:
            yield _at(unit, error)
    if error := _error(check_paths, good):
        yield _at(unit, error)
    for slot in slots_of(model):
        entry = model.state.tensors[slot.tensor]
        count = int(np.prod(entry.dimension, dtype=object))
        dtype = model.state.dtype(slot.tensor)
        if error := _error(slots.check_slot, entry.tensor_name, dtype, count, slot.coding, slot.size):
            yield _at(unit, error)


def check_varints(model: ParsedModel, words: dict[int, np.ndarray], unit: int) -> Iterator[Finding]:
    """The sizes of slots that depend on values [R8.9-1]. words: by tensor, those decoded last."""
    for slot in slots_of(model):
        if slot.coding == SlotCoding.VARINT and slot.tensor in words:
            size = slots.encode_words(words[slot.tensor], model.state.dtype(slot.tensor), slot.coding).size
            if size != slot.size:
                name = model.state.tensors[slot.tensor].tensor_name
                yield _at(unit, FormatError("BAD_SIZE", f"tensor {name!r} takes {size} bytes, its slot {slot.size}",
                                            rules="R8.9-1"))


def slots_of(model: ParsedModel) -> list[Slot]:
    """All slots of a model's source files."""
    files = source_of(model.topology).files if model.topology else []
    return [s for f in files for s in f.segments if isinstance(s, Slot)]


def _error(check: Callable[..., object], *arguments: object) -> FormatError | None:
    try:
        check(*arguments)
    except FormatError as error:
        return error
    return None


def _at(unit: int, error: FormatError) -> Finding:
    error.unit = unit
    return Finding.of(error)
