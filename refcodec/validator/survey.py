"""Parsing that goes on after violations (SPEC 6, 7): what is damaged is skipped, what depends on it is not checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bitstream.context import ModelState
from ..bitstream.limits import LEVELS, Profile
from ..bitstream.parser import DESCRIBING, FRAMING, FindReference, ParsedModel, ParsedStream, Parser, X
from ..bitstream.structures import ReferenceEntry, UnitType
from ..bitstream.units import ByteSource, Unit, check_unit, read_body
from ..bitstream.visitor import Reader
from ..errors import OmcError
from .findings import Finding, Kind

# Requirements that say nothing where a unit before was damaged: of its model, or a model header of the stream.
ABOUT_TENSOR_UNITS = {"R7.7.1-3", "R7.9.1-1", "R7.10-1", "R7.10-2"}
VIOLATIONS_MAX = 10                      # of one unit that are listed
ABOUT_MODELS = {"R7.11-1", "R7.11-2"}


class NotChecked(OmcError):
    """Nothing can be said of a unit. message: what, and why."""

    def __init__(self, message: str, unit: int | None):
        super().__init__("", message, unit)


class _LenientReader(Reader):
    """A Reader that hands violations to `report`, and goes on."""

    report: Callable[[OmcError], None]

    def violated(self, error: OmcError) -> None:
        self.report(error)


class Survey(Parser):
    """A Parser that tells `found` of each violation and goes on where it can.

    doubtful: units with violations.  unreadable: numbers of models whose tensor data have no meaning, as their header
    or their folds are damaged.  number_of: (model, unit type): the number of the last such unit.
    """

    def __init__(self, found: Callable[[Finding], None], source: ByteSource, find_reference: FindReference,
                 allow_prefix: bool = False):
        super().__init__(source, find_reference, allow_prefix, self._make_reader)
        self.found = found
        self.doubtful: set[int | None] = set()
        self.unreadable: set[int] = set()
        self.number_of: dict[tuple[int, int], int] = {}
        self._headless: set[int] = set()         # units whose head is wrong, so that their body cannot be understood
        self._incomplete: set[int] = set()       # models that lack tensor data units
        self._unsealed: set[int] = set()         # models of which something that describes them is damaged

    def parse(self) -> ParsedStream:
        """As much of the stream as can be parsed."""
        try:
            super().parse()
        except OmcError as error:
            self.violated(error)
        return self.stream

    def violated(self, error: OmcError) -> None:
        """Reports it, unless it may come of damage that has been reported."""
        number, rules = len(self.stream.models) - 1, set(error.rules)
        of_units = rules & ABOUT_TENSOR_UNITS and number in self._incomplete
        of_bodies = "R8.8-5" in rules and number in self._unsealed
        if of_units or of_bodies or rules & ABOUT_MODELS and self.unreadable:
            self.found(Finding(Kind.UNCHECKED, f"{error.rules[0]}, as units before are damaged", error.unit))
            return
        if error.unit in self.doubtful and error.rules:
            error.message += " (this may follow from the violation before)"
        self.doubtful.add(error.unit)
        self.found(Finding.of(error))

    def _make_reader(self, *arguments: Any) -> Reader:
        reader, count = _LenientReader(*arguments), 0

        def report(error: OmcError) -> None:
            nonlocal count
            count += 1
            self.violated(error)
            if count == VIOLATIONS_MAX:
                raise NotChecked(f"the rest of this unit, after {VIOLATIONS_MAX} violations", error.unit)

        reader.report = report
        return reader

    def _referenced(self, reference: ReferenceEntry, number: int) -> ModelState | None:
        model = super()._referenced(reference, number)
        return model if model and len(model.coded) == len(model.tensors) else None      # as if it were not at hand

    def _next_unit(self, offset: int) -> Unit:
        unit = super()._next_unit(offset)
        if unit.number in self.doubtful:
            self._headless.add(unit.number)
        return unit

    def _read(self, unit: Unit) -> None:
        number = len(self.stream.models) - (unit.type != UnitType.MODEL_HEADER)
        self.number_of[number, unit.type] = unit.number
        try:
            if self.model is None and unit.type not in FRAMING:
                self._skip(unit)
            super()._read(unit)
        except OmcError as error:
            self.violated(error)
            if unit.type == UnitType.TENSOR_DATA:
                self._incomplete.add(number)
        if unit.number in self.doubtful and self.model is not None:
            if unit.type in DESCRIBING:
                self._unsealed.add(number)
            if unit.type == UnitType.LAYER_DESCRIPTORS:
                self.model.layers = None
                self.unreadable.add(number)
            elif unit.type == UnitType.TOPOLOGY:
                self.model.topology = None

    def _structure(self, unit: Unit, function: Callable[[Any, X], None], x: X) -> tuple[Reader, X]:
        outside = unit.type not in FRAMING and len(self.stream.models) - 1 in self.unreadable
        if unit.number in self._headless or outside or unit.type == UnitType.STREAM_HEADER and unit.number:
            self._skip(unit)
        result = super()._structure(unit, function, x)
        if unit.type == UnitType.MODEL_HEADER and unit.number in self.doubtful:
            raise NotChecked("the other units of this model, as its header is wrong", unit.number)
        return result

    def _skip(self, unit: Unit) -> None:
        """What can be said of a unit whose meaning is not known: its check and its expansion. Raises NotChecked."""
        if unit.type == UnitType.TENSOR_DATA:
            check_unit(self.stream.source, unit)
        else:
            read_body(self.stream.source, unit, self.stream.level.unit_bytes, self.header_body)
        raise NotChecked("the body of this unit, as what comes before it is damaged", unit.number)

    def _stream_header(self, unit: Unit) -> None:
        try:
            super()._stream_header(unit)
        finally:
            header = self.stream.header
            if not self.stream.models and (unit.number in self.doubtful or header.level not in LEVELS):
                header.level, header.profile = max(LEVELS), Profile.HIGH      # nothing is beyond what is not known

    def _model_header(self, unit: Unit) -> None:
        number = len(self.stream.models)
        try:
            super()._model_header(unit)
            parents = [number - r.model_distance for r in self.stream.models[number].header.reference
                       if not r.external_flag]
            if self.unreadable.intersection(parents):
                self.unreadable.add(number)
            if self._unsealed.intersection(parents):
                self._unsealed.add(number)
        finally:
            if len(self.stream.models) == number:            # its number is taken, whatever it holds
                self.model = ParsedModel(ModelState(Profile.HIGH, number), unit)
                self.stream.models.append(self.model)
                self.unreadable.add(number)
