"""refcodec sensitivity: the table, its file beside the model, and the configuration that encode takes."""

from __future__ import annotations

import json
import shutil
import tomllib

import numpy as np
import pytest
from helpers import DATA
from helpers.networks import branches, normal, saved
from onnx import helper


@pytest.fixture
def digits(files):
    """The folder of the commands, with digits.onnx and x.npz, which has 64 images."""
    shutil.copy(DATA / "digits_v2.onnx", files / "digits.onnx")
    images = np.load(DATA / "digits_test.npz")["images"][:64, None].astype(np.float32)
    np.savez(files / "x.npz", image=images)
    return files


def test_the_table(digits, run):
    text = run("sensitivity", "digits.onnx", "--calibration", "x.npz")
    lines = text.splitlines()
    assert lines[0] == "output scores: values, 640 of them, distance in squared error over variance"
    assert lines[1].startswith("bits: at 4 a weight on average the outputs move by about ")
    values = [float(line.split()[0]) for line in lines[4:]]
    assert values == sorted(values, reverse=True)
    assert {line.split()[-1] for line in lines[4:]} == {"0.Conv.weight", "3.Conv.weight", "7.Gemm.weight",
                                                        "9.Gemm.weight"}


def test_json_and_the_file_beside_the_model(digits, run):
    options = ("sensitivity", "digits.onnx", "--calibration", "x.npz", "--json")
    found = json.loads(run(*options, "--bits-per-weight", 3))
    assert found["bits_per_weight"] == pytest.approx(3, abs=0.1)
    assert {"name", "elements", "value", "spread", "noise", "distance", "step", "bits"} == set(found["tensors"][0])
    beside = digits / "digits.onnx.sensitivity.json"
    kept = json.loads(beside.read_text())
    kept["tensors"][0]["value"] *= 2                        # so that it shows whether it is read
    beside.write_text(json.dumps(kept))
    again = json.loads(run(*options))
    assert again["tensors"][0]["value"] == 2 * found["tensors"][0]["value"]
    anew = json.loads(run(*options, "--no-cache"))
    assert anew["tensors"][0]["value"] == found["tensors"][0]["value"]
    other = json.loads(run(*options, "--seed", 5))
    assert other["tensors"][0]["value"] not in (found["tensors"][0]["value"], again["tensors"][0]["value"])
    assert json.loads(beside.read_text())["seed"] == 5      # the newest is kept


def test_steps_for_encode(digits, run):
    """Rules whose scales encode multiplies the common step by, at whatever rate is asked for."""
    run("sensitivity", "digits.onnx", "--calibration", "x.npz", "--config", "steps.toml")
    config = tomllib.loads((digits / "steps.toml").read_text())
    scales = {rule["match"]: rule["scale"] for rule in config["rules"]}
    assert max(scales.values()) > 1.2 * min(scales.values())
    for options, common in (((), config["step"]), (("--step", 0.04), 0.04), (("--bits-per-weight", 4), None)):
        run("encode", "digits.onnx", "-o", "d.omc", "--config", "steps.toml", *options)
        (model,) = json.loads(run("info", "d.omc", "--json"))["models"]
        steps = {t["name"]: float(t["detail"].split()[-1]) for t in model["tensors"] if t["name"] in scales}
        common = common or steps["0.Conv.weight"] / scales["0.Conv.weight"]
        for name, scale in scales.items():
            assert steps[name] == pytest.approx(common * scale, rel=1e-3)


def test_networks_that_are_fed_back(files, run):
    """The state goes from run to run: an error in what makes it counts for more."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["state", "r"], ["b"]),
             helper.make_node("Add", ["a", "b"], ["after"]), helper.make_node("MatMul", ["after", "v"], ["y"])]
    r = (0.98 * np.linalg.qr(normal(12, 12, seed=1))[0]).astype(np.float32)
    saved(files, nodes, {"x": [2, 6], "state": [2, 12]}, {"y": [2, 5], "after": [2, 12]}, {
        "w": normal(6, 12, scale=0.1), "r": r, "v": normal(12, 5, seed=2)})
    np.savez(files / "x.npz", x=normal(60, 2, 6), state=np.zeros((2, 12), np.float32))
    options = ("sensitivity", "net.onnx", "--calibration", "x.npz", "--output", "y", "--json")
    apart, together = ({t["name"]: t["value"] for t in json.loads(run(*options, *more))["tensors"]}
                       for more in ((), ("--feed", "after:state")))
    assert together["r"] / together["v"] > 5 * apart["r"] / apart["v"]


def test_noise(digits, run):
    assert "squared error over variance" in run("sensitivity", "digits.onnx", "--calibration", "noise", "--no-cache")
    assert not (digits / "digits.onnx.sensitivity.json").exists()


def test_tensors_that_are_never_run(files, run):
    branches(files)
    for which in (0, 1):
        np.savez(files / f"{which}.npz", x=normal(20, 5), which=np.array(which))
    text = run("sensitivity", "net.onnx", "--calibration", "1.npz", "--config", "steps.toml")
    (line,) = [line for line in text.splitlines() if line.startswith("never run: ")]
    assert line.endswith("w2")
    assert "these inputs do not reach 1 tensors" in text
    rules = tomllib.loads((files / "steps.toml").read_text())["rules"]
    assert [rule["treatment"] for rule in rules] == ["fine", "quantise", "quantise"]
    assert "never run" not in run("sensitivity", "net.onnx", "--calibration", "1.npz", "--calibration", "0.npz")


@pytest.mark.parametrize("options, code, said", [
    (("m.safetensors", "--calibration", "x.npz"), 13, "does not come from an ONNX file"),
    (("digits.onnx", "--calibration", "none.npz"), 12, "MISSING_FILE"),
    (("digits.onnx", "--calibration", "digits.onnx"), 12, "no npz file"),
    (("digits.onnx", "--calibration", "x.npz", "--output", "labels"), 13, "no output 'labels'; it has scores"),
    (("digits.onnx", "--calibration", "x.npz", "--seed", "-1"), 13, "--seed"),
    (("digits.onnx", "--calibration", "x.npz", "--bits-per-weight", "0"), 13, "bits per weight"),
    (("digits.onnx", "--calibration", "x.npz", "--config", "digits.onnx"), 13, "its own input")])
def test_refused(digits, refused, options, code, said):
    assert said in refused("sensitivity", *options, code=code)


def test_a_folder_that_cannot_be_written_to_is_told(digits, command, monkeypatch):
    monkeypatch.setattr("refcodec.calibration.cache.store", lambda *_: False)
    output = command("sensitivity", "digits.onnx", "--calibration", "x.npz")
    assert output.err == "note: digits.onnx.sensitivity.json cannot be written, so nothing is kept\n"
