"""Signatures: outside compiled loops a function takes at most six positional arguments; others are objects or named."""

from __future__ import annotations

import ast

import pytest
from helpers import ROOT

MOST = 6
COMPILED = {"compiled", "inlined"}
FILES = sorted((ROOT / "refcodec").rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def positional(function: Function) -> list[str]:
    """Names of the positional parameters, without the object or class itself."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def is_compiled(function: Function) -> bool:
    marks = (m.func if isinstance(m, ast.Call) else m for m in getattr(function, "decorator_list", []))
    return any(isinstance(mark, ast.Name) and mark.id in COMPILED for mark in marks)


def too_long(source: str) -> list[str]:
    """Functions of more than MOST positional parameters, outside compiled loops."""
    return [getattr(f, "name", "lambda") for f in ast.walk(ast.parse(source))
            if isinstance(f, Function) and len(positional(f)) > MOST and not is_compiled(f)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_take_at_most_six_positional_arguments(path):
    assert too_long(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source, found", [
    ("def f(a, b, c, d, e, f): pass", []), ("def f(a, b, c, d, e, f, g): pass", ["f"]),
    ("def f(a, b, c, /, d, e, f, g): pass", ["f"]), ("def f(a, b, c, d, e, f, *, g, h): pass", []),
    ("class C:\n    def f(self, a, b, c, d, e, f): pass", []),
    ("class C:\n    def f(cls, a, b, c, d, e, f, g): pass", ["f"]),
    ("async def f(a, b, c, d, e, f, g): pass", ["f"]), ("f = lambda a, b, c, d, e, f, g: 0", ["lambda"]),
    ("@compiled\ndef f(a, b, c, d, e, f, g): pass", []),
    ("@clause('9.1')\n@inlined\ndef f(a, b, c, d, e, f, g): pass", []),
    ("@clause('9.1')\ndef f(a, b, c, d, e, f, g): pass", ["f"])])
def test_what_counts(source, found):
    assert too_long(source) == found
