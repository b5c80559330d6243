"""What SPEC allows, but no encoder should write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..bitstream.parser import ParsedModel, ParsedStream
from ..bitstream.structures import Component, Quantiser, UnitCoding
from ..model import Literal, Role
from ..topology import source_of
from .findings import Finding, Kind


def advice(stream: ParsedStream) -> Iterator[Finding]:
    """Warnings about a parsed stream."""
    for unit in stream.units:
        if unit.coding != UnitCoding.PLAIN and unit.size >= unit.expanded_size:
            yield _warning(f"unit_coding {unit.coding.name} takes {unit.size} bytes for a body of {unit.expanded_size}",
                           unit.number)
    for model in stream.models:
        yield from _of_layers(model)
        yield from _of_source(model)
        for tensors in model.tensor_units:
            for d in tensors.descriptors:
                for c in d.component:
                    yield from (_warning(f"tensor {d.tensor_index}: {text}", tensors.unit.number)
                                for text in _of_component(c))


def _of_layers(model: ParsedModel) -> Iterator[Finding]:
    known = Role._value2member_map_
    for layer in model.layers.layer if model.layers else ():
        for t in layer.layer_tensor:
            if t.tensor_role not in known:
                yield _warning(
                    f"layer {layer.layer_name!r}: tensor_role {t.tensor_role} is reserved; decoders take it as "
                    "OTHER", model.unit.number)


def _of_source(model: ParsedModel) -> Iterator[Finding]:
    for file in source_of(model.topology).files if model.topology else ():
        literals = [isinstance(s, Literal) for s in file.segments]
        if any(a and b for a, b in zip(literals, literals[1:])):
            yield _warning(f"file {file.path!r}: neighbouring literals could be one", model.unit.number)
        if any(isinstance(s, Literal) and not s.data for s in file.segments):
            yield _warning(f"file {file.path!r}: an empty literal", model.unit.number)


def _of_component(c: Component) -> Iterator[str]:
    entries: list[Any] = []
    if c.quantiser == Quantiser.CODEBOOK:
        words = c.codebook.codebook_words
        entries = [words[i:i + c.word_bytes] for i in range(0, len(words), c.word_bytes)]
    elif c.quantiser == Quantiser.INTEGER_CODEBOOK:
        entries = c.integer_codebook.codebook_integer
    if len(set(entries)) < len(entries):
        yield "entries of its codebook are equal"


def _warning(text: str, unit: int) -> Finding:
    return Finding(Kind.WARNING, text, unit)
