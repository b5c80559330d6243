"""What each tensor would have cost in other entropy modes, and without its prediction (informative).

The integers of a stream are decoded and coded anew, so that the sizes are true ones of any stream, whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .bitstream.limits import Profile
from .bitstream.structures import (
    MASKS,
    Component,
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    TensorDescriptor,
)
from .decoder import StreamDecoder
from .dtypes import BY_NAME
from .encoder.candidate import Part, possible_modes
from .entropy.words import choose_parameters
from .reconstruction.components import decode_levels, decode_words


def alternatives(decoder: StreamDecoder, number: int) -> Iterator[dict]:
    """For every component of a model that is not in a joined unit: what was picked, and bytes by way of coding."""
    model = decoder.parsed.models[number]
    for unit in model.tensor_units:
        d = unit.descriptors[0]
        for k, c in enumerate(d.component if len(unit.descriptors) == 1 else ()):
            if c.coded_flag:
                picked = sum(p[1] + p[2] for p in unit.places[c.first_payload : c.first_payload + c.entry_count_minus1 + 1])
                yield {"tensor": model.state.tensors[d.tensor_index].tensor_name, "component": k,
                       "prediction": PredictionMode(d.prediction_mode).name.lower(),
                       "representation": Representation(d.representation).name.lower(),
                       "quantiser": Quantiser(c.quantiser).name.lower(), "entropy": EntropyMode(c.entropy_mode).name.lower(),
                       "bytes": picked, "alternatives": _sizes(decoder, number, d, c, decoder.threads)}


def _sizes(decoder: StreamDecoder, number: int, d: TensorDescriptor, c: Component, threads: int) -> dict[str, int]:
    parts = dict(_parts(decoder, number, d, c))
    modes = [m for m in EntropyMode if m != EntropyMode.CM or decoder.parsed.header.profile >= Profile.HIGH]
    return {f"{EntropyMode(m).name.lower()}{suffix}": _payload_bytes(part.with_mode(m).code(threads))
            for suffix, part in parts.items() for m in possible_modes(part, modes)}


def _payload_bytes(part: Part) -> int:
    return sum(p.coded_size + p.bypass_size for p in part.payloads)


def _parts(decoder: StreamDecoder, number: int, d: TensorDescriptor, c: Component) -> Iterator[tuple[str, Part]]:
    matrix, payloads, predictor = decoder.component_source(number, d, c)
    kernel = {"kernel_size": matrix.kernel_size, "plane_rows": matrix.plane_rows}
    if not c.words_flag:
        yield "", Part(_bare(c), decode_levels(c, matrix, payloads), matrix.dtype, **kernel)
        return
    dtype = BY_NAME["float16"] if c.quantiser == Quantiser.GRID else matrix.dtype
    if c.quantiser == Quantiser.GRID or d.representation in MASKS:
        return
    words = decode_words(c, matrix, payloads, predictor, decoder.threads)
    yield "", _words_part(c, words, dtype, predictor, kernel)
    if predictor is not None:
        yield " without prediction", _words_part(c, words, dtype, None, kernel)


def _words_part(c: Component, words: np.ndarray, dtype, predictor: np.ndarray | None, kernel: dict) -> Part:
    parameters = choose_parameters(words, dtype, predictor)
    bare = _bare(c)
    bare.word, bare.word_offset_flag = parameters, int(parameters.offset != 0)
    return Part(bare, words, dtype, predictor, **kernel)


def _bare(c: Component) -> Component:
    """The same quantiser and entry points; arrays of the descriptor do not count."""
    return Component(c.quantiser, c.entropy_mode, uniform=c.uniform, word=c.word, entry_count_minus1=c.entry_count_minus1)
