"""encode with loss: what was reached, warnings by name, updates, and --check."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from helpers import DATA
from helpers.networks import classifier, normal

from refcodec import Model, Tensor, load, save


@pytest.fixture
def digits(files):
    """The folder of the commands, with v1.onnx, v2.onnx and t.npz, which has 100 images."""
    for name in ("v1", "v2"):
        shutil.copy(DATA / f"digits_{name}.onnx", files / f"{name}.onnx")
    images = np.load(DATA / "digits_test.npz")["images"][:100, None].astype(np.float32) / 16
    np.savez(files / "t.npz", image=images)
    return files


def sizes(run, *options) -> dict:
    return json.loads(run("encode", *options, "--json"))


def test_what_was_reached_is_told(digits, run):
    text = run("encode", "v1.onnx", "-o", "a.omc", "--snr", 30).splitlines()
    assert text[1].startswith("30.00 dB over the weights; the worst tensors: 7.Gemm.weight 28.")
    found = sizes(run, "v1.onnx", "-o", "a.omc", "--snr", 30)["quality"]
    assert found["snr_db"] == pytest.approx(30, abs=0.02)
    assert [t["snr_db"] for t in found["worst"]] == sorted(t["snr_db"] for t in found["worst"])
    assert "quality" not in sizes(run, "v1.onnx", "-o", "a.omc")            # nothing is lost


def test_what_is_told_is_what_compare_finds(digits, run):
    found = sizes(run, "v1.onnx", "-o", "a.omc", "--bits-per-weight", 3)["quality"]
    compared = json.loads(run("compare", "v1.onnx", "a.omc", "--json"))["per_tensor"]
    by_name = {r["name"]: r["snr_db"] for r in compared}
    for t in found["worst"]:
        assert t["snr_db"] == pytest.approx(by_name[t["name"]], abs=0.01)


def test_tensors_that_are_hurt_are_named(digits, command):
    done = command("encode", "v1.onnx", "-o", "a.omc", "--bits-per-weight", 2, "--one-step")
    assert "note: below 12 dB, where errors are a quarter of what is there or more: 7.Gemm.weight (" in done.err
    assert not command("encode", "v1.onnx", "-o", "a.omc", "--lossy").err


def test_protection_is_the_default_and_can_be_left_out(digits, run):
    safe, one = (sizes(run, "v1.onnx", "-o", "a.omc", "--bits-per-weight", 4, *more)["quality"]
                 for more in ((), ("--one-step",)))
    assert {t["name"] for t in one["worst"][:3]} - {t["name"] for t in safe["worst"][:2]}
    assert safe["snr_db"] < one["snr_db"]                   # which is better on average, and worse where it counts
    assert sizes(run, "v1.onnx", "-o", "a.omc", "--max-bytes", "20K")["output_bytes"] <= 20480


def test_lossy_alone_takes_nine_bits(digits, run):
    found = sizes(run, "v1.onnx", "-o", "a.omc", "--lossy")
    assert 8 * found["output_bytes"] / 38160 == pytest.approx(9, rel=0.02)
    assert not found["notes"]


def test_compare_has_the_worst_first(digits, run):
    run("encode", "v1.onnx", "-o", "a.omc", "--bits-per-weight", 3)
    lines = run("compare", "v1.onnx", "a.omc").splitlines()
    values = [float(line.split()[0]) for line in lines[:-1]]
    assert values == sorted(values) and len(values) > 5
    assert "7.Gemm.weight" in lines[0]


def test_an_update_is_told_when_the_reference_alone_would_do(digits, command):
    done = command("encode", "v2.onnx", "--reference", "v1.onnx", "-o", "u.omc", "--snr", 17, "--snr-of", "model")
    assert "note: the reference alone is 18.1 dB from the model: at 17 dB of the model hardly anything" in done.err
    assert "note: of the update hardly anything is left" in done.err


def test_the_ratio_of_an_update_is_that_of_its_difference(digits, run):
    found = sizes(run, "v2.onnx", "--reference", "v1.onnx", "-o", "u.omc", "--snr", 17)
    assert found["quality"]["change_db"] == pytest.approx(17, abs=0.2)
    assert not found["notes"]


def test_check_runs_both_networks(digits, run):
    options = ("v1.onnx", "-o", "a.omc", "--check", "t.npz", "--decision", "argmax:scores")
    same = sizes(run, *options)["check"]
    assert (same["decisions"], same["changed"], same["output_snr_db"]) == (100, 0, None)
    hurt = sizes(run, *options, "--bits-per-weight", 1.2)["check"]
    assert 0 < hurt["changed"] < 100 and hurt["same"] == 1 - hurt["changed"] / 100
    text = run("encode", *options, "--bits-per-weight", 1.2)
    assert f"check on 100 inputs, scores: {100 * hurt['same']:.2f} % of 100 decisions are the same" in text


def test_check_counts_what_onnx_runtime_decides(digits, run):
    import onnxruntime

    found = sizes(run, "v1.onnx", "-o", "a.omc", "--bits-per-weight", 1.2, "--check", "t.npz", "--decision",
                  "argmax:scores")["check"]
    run("decode", "a.omc", "-o", "back.onnx")
    x = np.load("t.npz")
    first, second = (onnxruntime.InferenceSession(p).run(["scores"], {"image": x["image"]})[0]
                     for p in ("v1.onnx", "back.onnx"))
    assert found["changed"] == int((first.argmax(1) != second.argmax(1)).sum())


def test_check_tells_decisions_of_probabilities_by_itself(files, run):
    classifier(files)
    np.savez("x.npz", x=normal(40, 6, seed=8))
    found = sizes(run, "net.onnx", "-o", "a.omc", "--step", 0.2, "--check", "x.npz")["check"]
    assert (found["decisions"], found["outputs"]) == (40, ["p"])


def test_check_of_values_says_that_nothing_is_decided(digits, run):
    text = run("encode", "v1.onnx", "-o", "a.omc", "--snr", 20, "--check", "t.npz")
    assert "check on 100 inputs, scores: nothing is decided (say what with --decision); outputs " in text


@pytest.mark.parametrize("options, said", [
    (("--check", "t.npz", "--reference", "v2.onnx", "--snr-of", "model"), "--snr-of is of --snr and an update"),
    (("--snr-of", "difference", "--snr", "20"), "--snr-of is of --snr and an update"),
    (("--one-step",), "--one-step is of --snr"),
    (("v2.onnx", "--check", "t.npz"), "--check is of one network"),
    (("--check", "noise"), "give --check some"),
    (("--decision", "argmax:scores"), "--decision needs --calibration"),
    (("--lossy", "--preset", "s1-rp"), "the quantiser rp has no use for"),
])
def test_what_does_not_go_together_is_refused(digits, refused, options, said):
    assert said in refused("encode", "v1.onnx", *options, "-o", "a.omc", code=13)
    assert not (digits / "a.omc").exists() or said == "give --check some"


def test_a_check_without_a_network_is_refused(files, refused):
    np.savez("x.npz", x=normal(4, 6))
    assert "does not come from an ONNX file" in refused("encode", "m.safetensors", "-o", "a.omc", "--check", "x.npz",
                                                        code=13)


def test_models_of_several_are_told_by_name(files, run):
    for name in ("a", "b"):
        save(Model([Tensor("w.weight", normal(32, 32, seed=ord(name)))]), f"{name}.npz")
    text = run("encode", "a.npz", "b.npz", "-o", "s.omc", "--snr", 25)
    assert "a: w.weight 25.0 dB" in text and "b: w.weight 25.0 dB" in text
    assert load("a.npz").name is not None
