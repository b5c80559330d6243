"""Strict validation: every requirement of SPEC.md that a stream can break, quoted where it is broken."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"Finding": "findings", "Requirement": "texts", "Validation": "findings", "requirements": "texts",
          "validate": "validation"}
__all__ = ["Finding", "Requirement", "Validation", "requirements", "validate"]


def __getattr__(name: str) -> Any:
    # The command line lists its commands without loading the decoder.
    if name not in _HOMES:
        raise AttributeError(f"module 'refcodec.validator' has no attribute {name!r}")
    return getattr(import_module("." + _HOMES[name], __name__), name)
