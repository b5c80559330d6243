"""What is loaded to parse a stream: neither a compiler nor arrays."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numba", "llvmlite", "numpy", "ml_dtypes", "onnx", "safetensors", "tqdm", "bitstring")


def loaded(statement: str) -> set[str]:
    """The modules of a fresh process after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return set(run.stdout.split())


@pytest.fixture(scope="module")
def after_syntax() -> set[str]:
    return loaded("import refcodec.bitstream.syntax, refcodec.bitstream.parser")


@pytest.mark.parametrize("module", HEAVY)
def test_syntax_and_parser_load_nothing_heavy(after_syntax, module):
    assert module not in after_syntax


@pytest.mark.parametrize("module", ["refcodec.bitstream.derive", "refcodec.bitstream.visitor"])
def test_what_syntax_needs_is_loaded(after_syntax, module):
    assert module in after_syntax


def test_the_package_alone_loads_its_names_and_errors():
    mine = {name for name in loaded("import refcodec") if name.startswith("refcodec")}
    assert mine == {"refcodec", "refcodec.api", "refcodec.errors"}
