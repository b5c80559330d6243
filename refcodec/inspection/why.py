"""What each tensor would have cost in other entropy modes, and without its prediction (informative).

The integers of a stream are decoded and coded anew, so that the sizes are true ones of any stream, whoever made it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

from ..bitstream.structures import (
    MASKS,
    Component,
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    TensorDescriptor,
)
from ..decoder import StreamDecoder
from ..encoder.candidate import Part, possible_modes
from ..entropy.words import choose_parameters
from ..reconstruction.components import Layout, decode_levels, decode_words
from ..reconstruction.masks import gather
from ..reconstruction.representations import chosen


def alternatives(decoder: StreamDecoder, number: int, only: Container[int]) -> Iterator[dict[str, Any]]:
    """For every coded component of the tensors `only` of a model: what was picked, and bytes by way of coding.

    A joined unit is one entry, with the names of its tensors as 'joined': they share one payload.
    """
    model = decoder.parsed.models[number]
    for unit in model.tensor_units:
        if not any(d.tensor_index in only for d in unit.descriptors):
            continue
        names = [model.state.tensors[d.tensor_index].tensor_name for d in unit.descriptors]
        if len(names) > 1 and unit.places:
            yield {"tensor": names[0], "component": 0, "joined": names, "bytes": sum(p[1] + p[2] for p in unit.places),
                   "alternatives": {}}
            continue
        d = unit.descriptors[0]
        for k, c in enumerate(d.component):
            if c.coded_flag:
                picked = sum(p[1] + p[2]
                             for p in unit.places[c.first_payload:c.first_payload + c.entry_count_minus1 + 1])
                yield {"tensor": names[0], "component": k, "joined": [],
                       "prediction": PredictionMode(d.prediction_mode).name.lower(),
                       "representation": Representation(d.representation).name.lower(),
                       "quantiser": Quantiser(c.quantiser).name.lower(),
                       "entropy": EntropyMode(c.entropy_mode).name.lower(),
                       "bytes": picked, "alternatives": _sizes(decoder, number, d, c, decoder.threads)}


def summed(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over all components of a model: bytes as picked, of the smallest ways, and of each entropy mode where it can
    code.

    modes: by name, bytes, and how many components (or joined units) are kept as they are because it cannot code them.
    """
    modes = {}
    for mode in EntropyMode:
        name = mode.name.lower()
        sizes = [x["alternatives"].get(name) for x in found]
        if any(size is not None for size in sizes):
            modes[name] = {"bytes": sum(x["bytes"] if size is None else size for x, size in zip(found, sizes)),
                           "kept": sizes.count(None)}
    return {"picked": sum(x["bytes"] for x in found), "modes": modes,
            "smallest": sum(min([x["bytes"], *x["alternatives"].values()]) for x in found)}


def _sizes(decoder: StreamDecoder, number: int, d: TensorDescriptor, c: Component, threads: int) -> dict[str, int]:
    return {f"{EntropyMode(m).name.lower()}{suffix}": _payload_bytes(part.with_mode(m).code(threads))
            for suffix, part in _parts(decoder, number, d, c) for m in possible_modes(part, list(EntropyMode))}


def _payload_bytes(part: Part) -> int:
    return sum(p.coded_size + p.bypass_size for p in part.payloads)


def _parts(decoder: StreamDecoder, number: int, d: TensorDescriptor, c: Component) -> Iterator[tuple[str, Part]]:
    layout, payloads, predictor = decoder.component_source(number, d, c)
    kernel_size, plane_rows = layout.kernel_size, layout.plane_rows
    if not c.words_flag:
        levels = decode_levels(c, layout, payloads)
        yield "", Part(_bare(c), levels, layout.dtype, kernel_size=kernel_size, plane_rows=plane_rows)
        return
    if d.representation in MASKS:
        layout = Layout(layout.dtype)
        predictor = None if predictor is None else gather(predictor, chosen(d)).reshape(c.row_count, c.column_count)
    if c.quantiser == Quantiser.GRID:
        return
    words = decode_words(c, layout, payloads, predictor, decoder.threads)
    for suffix, base in {"": predictor, " without prediction": None}.items():
        if not suffix or predictor is not None:
            parameters = choose_parameters(words, layout.dtype, base)
            bare = _bare(c)
            bare.word, bare.word_offset_flag = parameters, int(parameters.offset != 0)
            yield suffix, Part(bare, words, layout.dtype, base, kernel_size, plane_rows)


def _bare(c: Component) -> Component:
    """The same quantiser and entry points; arrays of the descriptor do not count."""
    return Component(c.quantiser, c.entropy_mode, uniform=c.uniform, word=c.word,
                     entry_count_minus1=c.entry_count_minus1)
