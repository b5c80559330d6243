"""What decoding the tensor data units of a stream takes, told before anything is decoded (SPEC A.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .bitstream.cost import memory_of, work_of
from .bitstream.parser import ParsedStream, TensorUnit
from .bitstream.structures import BY_TENSOR, PredictionMode, TensorDescriptor
from .pieces import in_pieces


@dataclass
class Cost:
    """Of a unit, with all that it is predicted from in the stream.

    work: units (bitstream/cost.py), as often as anything is decoded.  memory: bytes at a time.  made: bytes of
    its own tensors.  needed: (model, place) of the units that are decoded for it.
    """

    work: int
    memory: int
    made: int
    needed: set[tuple[int, int]]


class Costs:
    """The costs of a parsed stream. A unit's are computed when they are asked for, and kept."""

    def __init__(self, parsed: ParsedStream):
        self.parsed = parsed
        self._known: dict[tuple[int, int], Cost] = {}

    def of(self, number: int, position: int) -> Cost:
        """The cost of a tensor data unit: its model, and its place among the units of that."""
        if (number, position) not in self._known:
            self._known[number, position] = self._compute(number, self.parsed.models[number].tensor_units[position])
        return self._known[number, position]

    def _compute(self, number: int, unit: TensorUnit) -> Cost:
        d = unit.descriptors[0]
        if in_pieces(d, self.parsed.models[number].state.fold(d.tensor_index)):
            memory = d.word_count * d.word_bytes * (3 if d.prediction_mode in BY_TENSOR else 1)
        else:
            payloads = sum(coded + bypass for _, coded, bypass in unit.places)
            memory = sum(map(memory_of, unit.descriptors)) + payloads
        own = {x.tensor_index for x in unit.descriptors}
        needed = {self._place(*source) for x in unit.descriptors
                  if (source := self.predicting(number, x)) and not (source[0] == number and source[1] in own)}
        made = sum(x.word_count * x.word_bytes for x in unit.descriptors)
        found = Cost(sum(map(work_of, unit.descriptors)), memory, made, needed)
        for other in (self.of(*place) for place in needed):
            found.work += other.work
            found.memory = max(found.memory, other.memory)
        return found

    def together(self, number: int, positions: Iterable[int]) -> tuple[int, int]:
        """Of some units of a model: their work in all, and the bytes of tensors that are made, each once."""
        wanted = [(number, p) for p in positions]
        seen, left = set(wanted), list(wanted)
        while left:
            more = self.of(*left.pop()).needed - seen
            seen |= more
            left += more
        return sum(self.of(*place).work for place in wanted), sum(self.of(*place).made for place in seen)

    def _place(self, number: int, index: int) -> tuple[int, int]:
        return number, self.parsed.models[number].unit_of[index]

    def predicting(self, number: int, d: TensorDescriptor) -> tuple[int, int] | None:
        """(model, tensor) of the stream whose words are decoded for those of a tensor; of copies, what they copy.

        None: there is none, or it is a tensor of an external model.
        """
        return self._source(*self.copies(number, d)[-1])

    def copies(self, number: int, d: TensorDescriptor) -> list[tuple[int, TensorDescriptor]]:
        """(model, descriptor) of a tensor; then, if it is a copy, of the copies through which it is one, each in a unit
        of its own."""
        found = [(number, d)]
        while d.prediction_mode == PredictionMode.COPY and (source := self._source(number, d)):
            number, position = self._place(*source)
            unit = self.parsed.models[number].tensor_units[position]
            d = unit.descriptors[0]
            if len(unit.descriptors) > 1 or d.prediction_mode != PredictionMode.COPY:
                break
            found.append((number, d))
        return found

    def _source(self, number: int, d: TensorDescriptor) -> tuple[int, int] | None:
        if d.prediction_mode not in BY_TENSOR:
            return None
        if d.within_model:
            return number, d.predicting_tensor
        entry = self.parsed.models[number].header.reference[d.reference_index - 1]
        return None if entry.external_flag else (number - entry.model_distance, d.predicting_tensor)
