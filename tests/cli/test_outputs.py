"""What commands write never takes the place of what they read, nor of what they would not write."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from refcodec.cli.exit_codes import CONFIG, FORMAT, REJECTED


def contents(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def linked(files):
    """Beside the files: ways to m.safetensors and m.omc by symbolic and by hard links."""
    (files / "soft.safetensors").symlink_to("m.safetensors")
    (files / "soft.omc").symlink_to(files / "m.omc")
    os.link("m.safetensors", "hard.safetensors")
    (files / "folder").mkdir()
    return files


@pytest.mark.parametrize("line", [
    "encode m.safetensors -o m.safetensors", "encode m.safetensors -o ./m.safetensors",
    "encode m.safetensors -o folder/../m.safetensors", "encode m.safetensors -o soft.safetensors",
    "encode soft.safetensors -o m.safetensors", "encode m.safetensors -o hard.safetensors", "encode m.omc -o m.omc",
    "encode m.omc -o soft.omc", "encode m2.safetensors m.omc -o m.omc",
    "encode m2.safetensors --reference m.safetensors -o m.safetensors",
    "encode m2.safetensors --reference m.omc -o m.omc", "encode m2.safetensors --reference m.omc -o soft.omc",
    "decode m.omc -o m.omc", "decode m.omc -o soft.omc", "decode m.omc --reference m2.safetensors -o m2.safetensors",
    "decode m.omc --reference m.safetensors -o hard.safetensors"])
def test_no_output_takes_the_place_of_an_input(linked, refused, line):
    before = contents(linked)
    assert "its own input" in refused(*line.split(), code=CONFIG)
    assert contents(linked) == before


def test_no_output_takes_the_place_of_a_configuration(files, refused):
    (files / "c.toml").write_text("snr = 30")
    assert "its own input" in refused("encode", "m.omc", "--config", "c.toml", "-o", "c.toml", code=CONFIG)


def test_no_output_takes_the_place_of_external_data(files, refused):
    graph = onnx.helper.make_graph([], "g", [], [], [numpy_helper.from_array(np.ones((40, 40), np.float32), "w")])
    onnx.save(onnx.helper.make_model(graph), "e.onnx", save_as_external_data=True, location="e.data")
    before = contents(files)
    assert "'e.data'" in refused("encode", "e.onnx", "-o", "e.data", code=CONFIG)
    assert contents(files) == before


def test_a_stream_takes_the_place_of_a_stream_only(files, run, refused):
    (files / "thesis.txt").write_text("precious")
    assert "no OMC stream" in refused("encode", "m.safetensors", "-o", "m2.safetensors", code=CONFIG)
    assert "no OMC stream" in refused("encode", "m.safetensors", "-o", "thesis.txt", code=CONFIG)
    assert (files / "thesis.txt").read_text() == "precious"
    (files / "empty.omc").write_bytes(b"")
    run("encode", "m.safetensors", "-o", "empty.omc")
    run("encode", "m2.safetensors", "-o", "m.omc")


def test_a_failed_command_keeps_the_file_that_was_there(files, run):
    (files / "out.safetensors").write_text("precious")
    data = bytearray((files / "m.omc").read_bytes())
    data[-60] ^= 4
    (files / "damaged.omc").write_bytes(data)
    run("decode", "damaged.omc", "-o", "out.safetensors", code=REJECTED)
    run("encode", "m.safetensors", "-o", "m.omc", "--bits-per-weight", 0.001, code=CONFIG)
    assert (files / "out.safetensors").read_text() == "precious"
    assert not [p for p in files.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("line", [("encode", "m.safetensors", "-o"), ("decode", "m.omc", "-o")])
def test_no_command_makes_the_folder_of_its_output(files, refused, line):
    said = refused(*line, "missing/x.safetensors", code=FORMAT)
    assert "missing/x.safetensors" in said
    assert "No such file or directory" in said
    assert not (files / "missing").exists()
