"""Streams in another entropy mode: every word, digest, quantiser, predictor and unit stays, payloads are coded anew.

What the mode cannot code stays as it is, and is counted: components that share a payload with other tensors (only range
coded modes can), levels of a trellis whose path the mode lays otherwise (SPEC 8.5.4), and what 7.7.3 excludes.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from .bitstream import syntax
from .bitstream.structures import (
    BY_DIFFERENCE,
    MASKS,
    RANGE_CODED,
    WORDS,
    Bytes,
    Component,
    EntropyMode,
    Payload,
    Quantiser,
    TensorDescriptor,
    mode_facts,
)
from .bitstream.units import ByteSource, Unit
from .budget import Budget
from .decoder import Progress, StreamDecoder
from .dtypes import BY_NAME
from .encoder.candidate import Part, possible_modes
from .encoder.tensor_job import entries_of
from .entropy.words import choose_parameters
from .errors import EntropyError, ReconstructionError
from .model import Model
from .prediction.neighbours import Neighbours
from .reconstruction.components import Layout, Payloads, decode_integers
from .reconstruction.masks import gather
from .reconstruction.representations import chosen
from .rewriting import Rewriter

PASSES = 3                      # over the integers of a tensor: verified; decoded, coded; compared
ENTRY_ELEMENTS = 1 << 20        # of an entry point of what becomes range coded
JOINED = "share a payload with other tensors"
TRELLIS = "have a trellis whose path the mode lays otherwise"
SEGMENTS = "are predicted anew at each entry point, which the mode has not"
UNABLE = "are of a kind or range that the mode does not code"


@dataclass
class Transcoded:
    """What became of a stream. components: coded arrays.  in_mode: those in the mode now.  kept: the others, by why."""

    components: int = 0
    in_mode: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    kept: Counter[str] = field(default_factory=Counter)


def transcode(stream: Bytes | str | os.PathLike[str], mode: EntropyMode, references: Sequence[Model] = (), *,
              threads: int = 1, budget: Budget | None = None, progress: Progress | None = None) -> bytes:
    """A stream with its components in an entropy mode; see transcode_to."""
    sink = io.BytesIO()
    transcode_to(sink, stream, mode, references, threads=threads, budget=budget, progress=progress)
    return sink.getvalue()


def transcode_to(sink: BinaryIO, stream: Bytes | str | os.PathLike[str], mode: EntropyMode,
                 references: Sequence[Model] = (), *, threads: int = 1, budget: Budget | None = None,
                 progress: Progress | None = None) -> Transcoded:
    """Write a stream with its components in an entropy mode, as far as that can code them, into a binary file object.

    references: the external models that it refers to; those are needed on which coded values depend.  The others: as of
    refcodec.decode.  Tensors that are coded anew are verified by their digests before, and what is coded is decoded and
    compared.
    Raises OmcError as decoding does.
    """
    with StreamDecoder(stream, references, threads=threads, budget=budget) as decoder:
        for number in range(len(decoder.parsed.models)):
            decoder.allow(number, times=PASSES)
        writer = _Transcoder(sink, decoder, mode, progress or (lambda done, total, name: None))
        writer.run()
        writer.result.bytes_before, writer.result.bytes_after = decoder.parsed.source.size, writer.offset
        return writer.result


class _Transcoder(Rewriter):
    """The new stream, unit by unit."""

    def __init__(self, sink: BinaryIO, decoder: StreamDecoder, mode: EntropyMode, progress: Progress):
        super().__init__(sink, decoder.parsed)
        self.decoder, self.mode, self.progress, self.result = decoder, mode, progress, Transcoded()
        units = [unit for model in self.parsed.models for unit in model.tensor_units]
        self.total, self.done = sum(d.word_count * d.word_bytes for unit in units for d in unit.descriptors), 0

    def stream_header(self, unit: Unit) -> None:
        """The profile becomes the mode's, if that is higher."""
        self.profile = int(max(self.parsed.header.profile, self.mode.facts.profile))
        if self.profile == self.parsed.header.profile:
            self.copy(unit)
        else:
            self.unit(unit, syntax.stream_header, replace(self.parsed.header, profile=self.profile))

    def tensor_data(self, unit: Unit) -> None:
        old = self.old_tensors()
        descriptors, payloads = old.descriptors, self.payloads(old)
        if len(descriptors) == 1:
            descriptors, payloads = self._recoded(descriptors[0], payloads)
        else:
            self._count([c for d in descriptors for c in d.component], JOINED)
        self.decoder.budget.put_out(sum(p.coded_size + p.bypass_size for p in payloads), "the new stream")
        self.tensors(unit, descriptors, payloads, old.unit_digest)
        self.done += sum(d.word_count * d.word_bytes for d in descriptors)
        names = self.models[-1].state.tensors
        self.progress(self.done, self.total, names[descriptors[-1].tensor_index].tensor_name)

    def _count(self, components: Sequence[Component], reason: str = "") -> None:
        """Count components: in the mode, or kept for a reason."""
        for c in components:
            if c.coded_flag:
                self.result.components += 1
                if c.entropy_mode == self.mode or not reason:
                    self.result.in_mode += 1
                else:
                    self.result.kept[reason] += 1

    def _recoded(self, d: TensorDescriptor, payloads: Sequence[Payload]
                 ) -> tuple[list[TensorDescriptor], list[Payload]]:
        """The descriptor of a tensor, and its payloads, with those components coded anew that can be."""
        recoder, components, strings = _Recoder(self.decoder, len(self.models) - 1, d, self.mode), [], []
        for c in d.component:
            own = list(payloads[c.first_payload : c.first_payload + c.entry_count_minus1 + 1] if c.coded_flag else ())
            reason = ""
            if c.coded_flag and c.entropy_mode != self.mode:
                found = recoder.component(c)
                if isinstance(found, Part):
                    c, own = found.component, found.payloads
                else:
                    reason = found
            self._count([c], reason)
            components.append(c)
            strings += own
        return [replace(d, component=components)], strings


class _Recoder:
    """Codes the components of a tensor that has a unit of its own in another entropy mode."""

    def __init__(self, decoder: StreamDecoder, number: int, d: TensorDescriptor, mode: EntropyMode):
        self.decoder, self.number, self.d, self.mode = decoder, number, d, mode
        self.verified = False

    def component(self, c: Component) -> Part | str:
        """A component with its payloads in the mode, or why it stays as it is."""
        trellis = c.quantiser == Quantiser.UNIFORM and c.uniform.states > 0
        if trellis and mode_facts(c.entropy_mode).lanes != self.mode.facts.lanes:
            return TRELLIS
        bound = trellis or Neighbours.of(self.d) is not None         # values depend on where segments begin
        if bound and c.entry_count_minus1 and self.mode not in RANGE_CODED:
            return SEGMENTS
        part = self._decoded(c)
        if not possible_modes(part, [self.mode]):
            return UNABLE
        new = part.with_mode(self.mode)
        if self.mode in RANGE_CODED and not (bound or c.entropy_mode in RANGE_CODED):
            new.component.entry_count_minus1 = entries_of((c.row_count, c.column_count), ENTRY_ELEMENTS) - 1
        if self.mode in RANGE_CODED and c.quantiser in WORDS:
            assert part.array is not None
            new.component.word = choose_parameters(part.array, part.dtype, part.predictor)
            new.component.word_offset_flag = int(new.component.word.offset != 0)
        try:
            new.code(self.decoder.threads)
        except EntropyError:
            return UNABLE
        self._check(new, part)
        return new

    def _decoded(self, c: Component) -> Part:
        """A component and the integers that it codes, of a tensor whose digest has been verified."""
        if not self.verified:
            model = self.decoder.parsed.models[self.number]
            self.decoder.decode_unit(self.number, model.unit_of[self.d.tensor_index])
            self.verified = True
        layout, payloads, predictor = self._sources(c)
        array = decode_integers(c, layout, payloads, predictor, self.decoder.threads)
        dtype = BY_NAME["float16"] if c.quantiser == Quantiser.GRID else layout.dtype
        return Part(c, array, dtype, predictor, layout.kernel_size, layout.plane_rows)

    def _sources(self, c: Component) -> tuple[Layout, Payloads, np.ndarray | None]:
        """Layout, payloads and the words of which a component codes the differences, or None."""
        layout, payloads, predictor = self.decoder.component_source(self.number, self.d, c)
        if c.quantiser != Quantiser.NONE or self.d.prediction_mode not in BY_DIFFERENCE:
            predictor = None
        if predictor is not None and self.d.representation in MASKS:
            predictor = gather(predictor, chosen(self.d)).reshape(c.row_count, c.column_count)
        return layout, payloads, predictor

    def _check(self, new: Part, old: Part) -> None:
        """Decodes what was coded: it must be what was there. ReconstructionError DIGEST_MISMATCH: it is not."""
        strings = [bytes(part) for p in new.payloads for part in (p.coded, p.bypass)]
        places, offset = [], 0
        for p in new.payloads:
            places.append((offset, p.coded_size, p.bypass_size))
            offset += p.coded_size + p.bypass_size
        layout, payloads, predictor = self._sources(old.component)
        payloads = replace(payloads, source=ByteSource(b"".join(strings)), places=places)
        found = decode_integers(new.component, layout, payloads, predictor, self.decoder.threads)
        if old.array is None or not np.array_equal(found, old.array):
            raise ReconstructionError("DIGEST_MISMATCH", f"tensor {self.d.tensor_index}, coded by {self.mode.name}, "
                                      "does not decode to what it was")
