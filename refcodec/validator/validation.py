"""The strict validator: parse all, decode all, and check what a decoder need not (SPEC 7.6.4, 8.9)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..bitstream.parser import ParsedModel, TensorUnit
from ..bitstream.structures import BY_TENSOR, TensorDescriptor, UnitType
from ..bitstream.units import EXTENSION_TYPES, ByteSource
from ..budget import Budget
from ..decoder import StreamDecoder
from ..errors import OmcError, ReconstructionError
from ..model import Model
from .advice import advice
from .evaluation import check_accumulators
from .findings import Finding, Kind, Validation
from .source_files import check_files, check_varints
from .survey import NotChecked, Survey


class _Enough(Exception):
    """The first violation has been found, and no more are asked for."""


def validate(stream: bytes | str | os.PathLike[str] | ByteSource, references: Sequence[Model] = (), *,
             every: bool = False, budget: Budget | None = None,
             progress: Callable[[int, int, str], None] = lambda done, total, name: None) -> Validation:
    """Check a stream against every requirement of SPEC.md that a stream can break.

    stream: bytes, a path, or a source. references: the external models that it refers to.  every: go on after the first
    violation, with the next element, unit or tensor.  budget: as of StreamDecoder.  progress: called
    with bytes done, bytes in all, and a tensor's name.  Raises FormatError MISSING_FILE for a path that cannot be
    read, nothing else.
    """
    validation = Validation()

    def found(finding: Finding) -> None:
        validation.findings.append(finding)
        if finding.kind == Kind.VIOLATION and not every:
            raise _Enough

    surveys: list[Survey] = []

    def make_parser(*arguments: Any) -> Survey:
        surveys.append(Survey(found, *arguments))
        return surveys[0]

    try:
        with StreamDecoder(stream, references, budget=budget, make_parser=make_parser) as decoder:
            _Values(decoder, surveys[0], found, validation, progress).check()
            for warning in advice(decoder.parsed):
                found(warning)
    except _Enough:
        pass
    if surveys:
        validation.units, validation.models = len(surveys[0].stream.units), len(surveys[0].stream.models)
    return validation


class _Values:
    """All that comes after parsing: the values of tensors, model by model."""

    def __init__(self, decoder: StreamDecoder, survey: Survey, found: Callable[[Finding], None], validation: Validation,
                 progress: Callable[[int, int, str], None]):
        self.decoder, self.survey, self.found = decoder, survey, found
        self.validation, self.progress = validation, progress
        self.models = decoder.parsed.models
        self.good: set[tuple[int, int]] = set()              # (model, tensor) whose values are known
        self.missing: set[bytes] = set()                     # digests of external models that are not at hand
        self.total = sum(d.word_count * d.word_bytes for m in self.models for u in m.tensor_units
                         for d in u.descriptors)
        self.done = 0

    def check(self) -> None:
        for number, model in enumerate(self.models):
            if number in self.survey.unreadable:
                continue
            digests: dict[int, bytes] = {}
            for position, tensors in enumerate(model.tensor_units):
                digests |= self._unit(number, position, tensors)
            self._whole(number, model, digests)
        for unit in self.decoder.parsed.units:
            if unit.type in EXTENSION_TYPES:
                self.found(
                    Finding(Kind.WARNING, f"an extension unit of type {unit.type}: decoders skip it, and so does this "
                            "check", unit.number))

    def _unit(self, number: int, position: int, unit: TensorUnit) -> dict[int, bytes]:
        reason = self._obstacle(number, unit)
        names = ", ".join(repr(self._name(number, d.tensor_index)) for d in unit.descriptors)
        try:
            if reason:
                raise NotChecked(f"tensor {names}, as {reason}", unit.unit.number)
            self.decoder.allow(number, [position])
            words, digests = self.decoder.decode_unit(number, position)
        except OmcError as error:
            self.found(Finding.of(error))
            return {}
        finally:
            self.done += sum(d.word_count * d.word_bytes for d in unit.descriptors)
            self.progress(self.done, self.total, names)
        self.good.update((number, i) for i in words)
        self.validation.tensors += len(words)
        self._slots(number, words)
        return digests

    def _slots(self, number: int, words: dict[int, np.ndarray]) -> None:
        model = self.models[number]
        unit = self.survey.number_of.get((number, UnitType.TOPOLOGY), model.unit.number)
        for finding in check_varints(model, words, unit):
            self.found(finding)

    def _name(self, number: int, index: int) -> str:
        return self.models[number].state.tensors[index].tensor_name

    def _obstacle(self, number: int, unit: TensorUnit) -> str:
        """Why the tensors of a unit cannot be decoded; '' if they can."""
        if unit.unit.number in self.survey.doubtful or self.models[number].unit.number in self.survey.doubtful:
            return "its description is damaged"
        for d in unit.descriptors:
            if reason := self._missing(number, d, {e.tensor_index for e in unit.descriptors}):
                return reason
        return ""

    def _missing(self, number: int, d: TensorDescriptor, here: set[int]) -> str:
        if d.prediction_mode not in BY_TENSOR:
            return ""
        index = d.predicting_tensor
        if d.within_model:
            known = index in here or (number, index) in self.good
            return "" if known else f"it is predicted from {self._name(number, index)!r}, which is not known"
        entry = self.models[number].header.reference[d.reference_index - 1]
        if not entry.external_flag:
            earlier = number - entry.model_distance
            known = (earlier, index) in self.good
            return "" if known else f"it is predicted from tensor {index} of model {earlier}, which is not known"
        digest = bytes(entry.reference_digest)
        if digest in self.missing:
            return "its reference model is not at hand"
        if self.decoder.find_reference(digest) is None:
            self.missing.add(digest)                         # reported once, by the decoder
        return ""

    def _whole(self, number: int, model: ParsedModel, digests: dict[int, bytes]) -> None:
        """What needs more than one tensor: the digest, the source files, accumulators."""
        complete, end = len(digests) == len(model.state.tensors), model.end_unit
        if complete and end is not None and end.number not in self.survey.doubtful:
            try:
                self.decoder.check_model_digest(number, digests)
            except ReconstructionError as error:
                self.found(Finding.of(error))
        elif end is not None:
            self.found(Finding(Kind.UNCHECKED, f"model_digest of model {number}, as tensors are missing", end.number))
        own = self.survey.number_of.get((number, UnitType.TOPOLOGY))
        if own is not None and model.topology is not None:
            for finding in check_files(model, own):
                self.found(finding)
        layers = self.survey.number_of.get((number, UnitType.LAYER_DESCRIPTORS), model.unit.number)
        if complete and model.layers is not None:
            described = self.decoder.describe(number, lambda i: self.decoder.words(number, i))
            for finding in check_accumulators(described, layers, self.decoder.budget):
                self.found(finding)
