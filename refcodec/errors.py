"""Errors of the codec: one base class, one class per phase, one code per broken rule (SPEC annex B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class OmcError(Exception):
    """Base of every error that refcodec raises on purpose.

    code:    an upper-case word of SPEC annex B, e.g. ``"TRUNCATED"``.
    message: what rule was broken and what to do, one line.
    unit:    index of the unit in the stream, counted from 0, or None outside a stream.
    bit:     bit position inside that unit's body, or None where it has no meaning.
    rules:   ids of the requirements of SPEC that the stream breaks by this, the nearest first; given as one string.

    It can be pickled, with all of these.
    """

    phase = "usage"

    def __init__(self, code: str, message: str, unit: int | None = None, bit: int | None = None,
                 rules: str = ""):
        super().__init__(message)
        self.code, self.message, self.unit, self.bit = code, message, unit, bit
        self.rules = tuple(rules.split())

    def __reduce__(self) -> tuple[Callable[..., OmcError], tuple[type[OmcError], dict[str, Any]]]:
        return _again, (type(self), self.__dict__)

    def __str__(self) -> str:
        where = "" if self.unit is None else f" [unit {self.unit}" + (
            "" if self.bit is None else f", bit {self.bit}") + "]"
        return f"{self.code}: {self.message}{where}"


def _again(kind: type[OmcError], state: dict[str, Any]) -> OmcError:
    # From a pickle; subclasses may be made of other arguments than these, so none is made.
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


class ContainerError(OmcError):
    """The stream cannot be cut into units (SPEC 6.2)."""

    phase = "container"


class StreamSyntaxError(OmcError):
    """A syntax structure cannot be parsed (SPEC 6)."""

    phase = "syntax"


class SemanticsError(OmcError):
    """A syntax element has a value that SPEC 7 forbids here."""

    phase = "semantics"


class EntropyError(OmcError):
    """An entropy-coded payload does not end as SPEC 9 demands."""

    phase = "entropy"


class ReconstructionError(OmcError):
    """Values cannot be rebuilt, or differ from their digest (SPEC 8)."""

    phase = "reconstruction"


class FormatError(OmcError):
    """A model file is damaged, of a format that is not known, or cannot hold the model."""

    phase = "format"


class ConfigError(OmcError):
    """The encoder was asked for something that it cannot do."""

    phase = "configuration"
