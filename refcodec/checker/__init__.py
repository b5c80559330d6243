"""Conformance: any decoder against a manifest of streams, a verdict for each (conformance/CONTRACT.md)."""

from __future__ import annotations

from importlib import import_module

_HOMES = {"Manifest": "manifest", "Report": "report", "Result": "verdicts", "Session": "session", "Stream": "manifest",
          "Verdict": "verdicts", "check": "checking", "load_manifest": "manifest", "pytest_params": "session"}
__all__ = ["Manifest", "Report", "Result", "Session", "Stream", "Verdict", "check", "load_manifest", "pytest_params"]


def __getattr__(name: str) -> object:
    # The command line lists its commands without loading the decoder.
    if name not in _HOMES:
        raise AttributeError(f"module 'refcodec.checker' has no attribute {name!r}")
    value = getattr(import_module("." + _HOMES[name], __name__), name)
    globals()[name] = value
    return value
