"""The public names are typed: mypy --strict takes a program that uses them, and refuses wrong uses."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers import ROOT

PROGRAM = '''
import pathlib

import numpy as np
import refcodec


def progress(done: int, total: int, name: str) -> None:
    print(done, total, name)


def main() -> None:
    model: refcodec.Model = refcodec.load("v1.onnx")
    stream: bytes = refcodec.encode(model)
    refcodec.encode("v1.onnx", refcodec.Config(snr=40.0), references=[model, pathlib.Path("v0.onnx"), stream])
    refcodec.encode({"w": np.zeros((2, 3), np.float32)}, progress=progress)
    refcodec.encode(["v1.onnx", {"w": np.ones(3)}, model])
    with open("m.omc", "wb") as sink:
        refcodec.encode_to(sink, model, references="v0.onnx")
    reveal_type(refcodec.decode(stream, "v0.onnx", model="v2", threads=2, max_memory=1 << 30, progress=progress))
    with refcodec.open("m.omc", references=stream, model=-1) as tensors:
        reveal_type(tensors["w"])
        reveal_type(tensors.models)
        reveal_type(tensors.tensor("w").dtype.name)
    for tensor in model.tensors:
        reveal_type(tensor.array)
        reveal_type(tensor.shape)
    refcodec.save({"w": np.zeros(3)}, pathlib.Path("w.npz"))
    try:
        refcodec.decode(memoryview(stream))
    except refcodec.OmcError as error:
        reveal_type(error.unit)
        reveal_type(error.rules)
    reveal_type(model == model)
    with refcodec.StreamDecoder("m.omc", [model]) as decoder:
        reveal_type(decoder.model())
'''
REVEALED = ["refcodec.model.Model", "numpy.ndarray[", "tuple[str, ...]", "str", "numpy.ndarray[", "tuple[int, ...]",
            "int | None", "tuple[str, ...]", "bool", "refcodec.model.Model"]
WRONG = {
    "encode(42)": "arg-type", "decode('m.omc', model=1.5)": "arg-type", "encode('m', config={})": "arg-type",
    "save('m.onnx')": "call-arg", "open('m.omc')['w'].nothing": "attr-defined", "Model('m')": "arg-type",
    "decode(b'', progress=len)": "arg-type", "nothing": "attr-defined",
}


def mypy(folder, program: str) -> str:
    """What mypy --strict says of a program that imports the package."""
    (folder / "program.py").write_text(program)
    run = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--hide-error-context",
                          "--no-pretty", "--no-error-summary", "--cache-dir", str(folder / "cache"), "--config-file=",
                          str(folder / "program.py")],
                         cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.stderr == ""
    return run.stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> list[str]:
    """The lines of one run over the program and, after it, each wrong use in a line of its own."""
    wrong = "".join(f"refcodec.{use}\n" for use in WRONG)
    return mypy(tmp_path_factory.mktemp("mypy"), PROGRAM + "\n" + wrong).splitlines()


def test_a_program_is_taken(said):
    last = PROGRAM.count("\n") + 1
    errors = [line for line in said if ": error: " in line and int(line.split(":")[1]) <= last]
    assert errors == []


def test_types_are_told(said):
    revealed = [m[1] for line in said if (m := re.search(r'Revealed type is "([^"]*)"', line))]
    assert len(revealed) == len(REVEALED)
    unlike = [(found, expected) for found, expected in zip(revealed, REVEALED) if not found.startswith(expected)
              and not found.startswith(f"builtins.{expected}")]
    assert unlike == []


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_refused(said, use):
    number = PROGRAM.count("\n") + 2 + list(WRONG).index(use)
    line, = (line for line in said if ": error: " in line and int(line.split(":")[1]) == number)
    assert line.endswith(f"[{WRONG[use]}]")
