"""Some units of a stream: those with the numbers, and with the tensors, that a user names (informative)."""

from __future__ import annotations

from collections.abc import Sequence

from ..bitstream.parser import ParsedStream
from ..errors import ConfigError


def units_of(stream: ParsedStream, tensors: Sequence[str], units: Sequence[int]) -> set[int]:
    """Numbers of the units asked for, and of the tensor data units of the tensors asked for, in all models.

    Raises ConfigError BAD_CONFIG where the stream has no such unit or tensor.
    """
    found, holders = set(units), _holders(stream)
    if missing := [n for n in units if not 0 <= n < len(stream.units)]:
        raise ConfigError("BAD_CONFIG", f"there is no unit {missing[0]}: the stream has units 0 to "
                          f"{len(stream.units) - 1}")
    if unknown := [name for name in tensors if name not in holders]:
        raise ConfigError("BAD_CONFIG", f"no tensor {unknown[0]!r} in the stream; 'refcodec info' lists them")
    return found.union(*(holders[name] for name in tensors))


def _holders(stream: ParsedStream) -> dict[str, set[int]]:
    """By the name of a tensor: the numbers of the tensor data units that hold it in any model."""
    holders: dict[str, set[int]] = {}
    for model in stream.models:
        for unit in model.tensor_units:
            for d in unit.descriptors:
                holders.setdefault(model.state.tensors[d.tensor_index].tensor_name, set()).add(unit.unit.number)
    return holders
