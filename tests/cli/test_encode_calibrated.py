"""encode --calibration: targets, what is told of them, and what is refused in one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from helpers import DATA
from helpers.networks import branches, classifier, normal

CODED = ("encode", "digits.onnx", "-o", "d.omc", "--calibration", "x.npz", "--effort", 5)


@pytest.fixture
def digits(files):
    """The folder of the commands, with digits.onnx, and x.npz and y.npz, which have 300 and 60 images."""
    shutil.copy(DATA / "digits_v2.onnx", files / "digits.onnx")
    images = np.load(DATA / "digits_test.npz")["images"][:, None].astype(np.float32)
    np.savez(files / "x.npz", image=images[:300])
    np.savez(files / "y.npz", image=images[300:])
    np.savez(files / "few.npz", image=images[:9])
    return files


def test_decisions_are_kept(digits, run):
    text = run(*CODED, "--target-decisions", 0.9, "--decision", "argmax:scores")
    lines = text.splitlines()
    assert lines[0].startswith("d.omc: ") and len(lines) == 3
    assert lines[1].startswith("asked for 90 % of decisions: ") and "of 60 decisions on inputs held out" in lines[1]
    assert "the best of 5 streams: outputs move by " in lines[2]
    assert "one step for all tensors would take about " in lines[2]
    run("decode", "d.omc", "-o", "d.onnx")
    assert (digits / "digits.onnx.sensitivity.json").exists()


def test_json(digits, run):
    found = json.loads(run(*CODED, "--target-output-snr", 18, "--validation", "y.npz", "--json"))
    made = found["calibration"]
    assert made["target"] == {"kind": "output_snr", "value": 18.0} and made["of"] == 60
    assert made["bound"] >= 18 and len(made["tried"]) <= 5
    assert {"way", "bytes", "measured", "bound", "distance"} == set(made["tried"][0])
    assert found["output_bytes"] == (digits / "d.omc").stat().st_size


@pytest.mark.parametrize("options, most", [(("--max-bytes", "9K"), 9 * 1024), (("--bits-per-weight", 2), 9540)])
@pytest.mark.parametrize("calibration", ["x.npz", "noise"])
def test_sizes(options, most, calibration, digits, run):
    text = run("encode", "digits.onnx", "-o", "d.omc", "--calibration", calibration, *options, "--effort", 6)
    assert 0.8 * most < (digits / "d.omc").stat().st_size <= most
    assert "the outputs move by" in text


def test_options_of_the_encoder_hold(digits, run):
    run(*CODED, "--target-output-snr", 12, "--best", "--threads", 1, "--effort", 3)
    (model,) = json.loads(run("info", "d.omc", "--json"))["models"]
    levels = [t for t in model["tensors"] if "states" in t["detail"]]
    assert levels and all("32 states" in t["detail"] and t["entropy"] == "cm" for t in levels)
    assert model["metadata"] == ["calibration"]
    assert json.loads(model["metadata_texts"]["calibration"])["asked"] == 12
    (line,) = [line for line in run("info", "d.omc").splitlines() if line.startswith("  metadata calibration: {")]
    assert '"target":"output_snr"' in line


def test_branches_that_are_never_run_are_told(files, command):
    branches(files)
    np.savez(files / "1.npz", x=normal(50, 2, 5), which=np.array(1))
    done = command("encode", "net.onnx", "-o", "n.omc", "--calibration", "1.npz", "--target-output-snr", 10)
    assert done.err.startswith("note: the inputs never reach 1 tensors, which are kept finely: ")


@pytest.mark.parametrize("options, code, said", [
    (("--target-kl", 0.01), 13, "scores are values: ask for --target-output-snr"),
    (("--target-decisions", 0.9), 13, "cannot be told from scores, which are values: say it with --decision"),
    (("--target-decisions", 0.99, "--decision", "argmax:scores"), 13, "60 decisions on the inputs held out"),
    (("--target-decisions", 97), 13, "above 0 and below 1"),
    (("--target-decisions", 0.9, "--decision", "best:scores"), 13, "'best:scores' is no decision"),
    (("--target-output-snr", 150, "--effort", 2), 13, "RATE: 150 dB of the outputs cannot be met: of 2 streams tried"),
    (("--max-bytes", 100, "--effort", 2), 13, "RATE: 100 bytes cannot be reached"),
    ((), 13, "--calibration needs one target: --target-decisions"),
    (("--snr", 30), 13, "--calibration needs one target"),
    (("--bits-per-weight", 2, "--max-bytes", "9K"), 13, "not --bits-per-weight and --max-bytes"),
    (("--target-output-snr", 20, "--validation", "x.npz"), 13, "300 of the 300 inputs to judge on are those"),
    (("--target-output-snr", 20, "--validation", "noise"), 13, "noise shows nothing"),
    (("--target-output-snr", 20, "--validation", "none.npz"), 12, "MISSING_FILE"),
    (("--target-output-snr", 20, "--calibration", "noise"), 13, "leave it out beside others"),
    (("--target-output-snr", 20, "--reference", "none.onnx"), 12, "MISSING_FILE"),
    (("--target-output-snr", 20, "--quality-layers", 2), 13, "one layer"),
    (("--target-output-snr", 20, "--output-name", "labels"), 13, "no output 'labels'"),
    (("--target-output-snr", 20, "--feed", "scores"), 13, "--feed OUTPUT:INPUT"),
    (("--target-output-snr", 20, "--quantiser", "k-means"), 13, "k-means")])
def test_refused(options, code, said, digits, refused):
    assert said in refused(*CODED, *options, code=code)
    assert not (digits / "d.omc").exists()


@pytest.mark.parametrize("options, said", [
    (("--target-kl", 0.1), "--target-kl needs --calibration X.npz"), (("--effort", 9), "--effort needs --calibration"),
    (("--validation", "y.npz"), "--validation needs --calibration"),
    (("--preset", "s5-hybrid", "--calibration", "x.npz", "--target-kl", 0.1), "not of --preset s5-hybrid"),
    (("--preset", "s5-hybrid", "--calibration", "noise"), "not on noise")])
def test_options_without_what_they_are_for(options, said, digits, refused):
    assert said in refused("encode", "digits.onnx", "-o", "d.omc", *options, code=13)


def test_too_few_inputs(digits, refused):
    line = refused("encode", "digits.onnx", "-o", "d.omc", "--calibration", "few.npz", "--max-bytes", "9K", code=13)
    assert "9 inputs are too few: 4 or more are held out to judge on; give 12 at least" in line


def test_a_network_whose_answers_are_no_numbers(files, refused):
    classifier(files)
    x = normal(60, 6)
    np.savez(files / "x.npz", x=np.where(np.arange(60)[:, None] == 33, np.float32(3e38), x))
    line = refused("encode", "net.onnx", "-o", "n.omc", "--calibration", "x.npz", "--target-kl", 0.1, code=13)
    assert "output 'p' of the unchanged network is not finite" in line


def test_the_output_is_no_input(digits, refused):
    line = refused("encode", "digits.onnx", "-o", "x.npz", "--calibration", "x.npz", "--target-output-snr", 20, code=13)
    assert "its own input" in line
