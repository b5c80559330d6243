"""refcodec encode: what its options ask for is what the stream holds."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import same_tensors, snr, weights

from refcodec import Model, Tensor, decode, load, save
from refcodec.bitstream.parser import parse
from refcodec.bitstream.structures import EntropyMode
from refcodec.cli.exit_codes import CONFIG, FORMAT
from refcodec.cli.main import main

WEIGHTS = ("fc1.weight", "conv.weight", "fc2.weight")


def uniform(path) -> list:
    """The components of large tensors with the uniform quantiser."""
    parsed = parse(Path(path).read_bytes()).models[-1]
    return [c for u in parsed.tensor_units for d in u.descriptors for c in d.component
            if c.quantiser == 1 and c.word_count > 100]


def test_lossless_is_the_default_and_exact(files, run):
    run("encode", "m.safetensors", "-o", "a.omc")
    run("encode", "m.safetensors", "-o", "b.omc", "--lossless", "--threads", 2)
    assert (files / "a.omc").read_bytes() == (files / "b.omc").read_bytes()
    line = run("decode", "a.omc", "-o", "again.safetensors")
    assert "digests verified" in line
    assert line.count("\n") == 1
    assert (files / "again.safetensors").read_bytes() == (files / "m.safetensors").read_bytes()


@pytest.mark.parametrize("options, states, coder", [
    ([], 8, EntropyMode.CC), (["--best"], 32, EntropyMode.CM), (["--fast"], 0, EntropyMode.CC),
    (["--states", 16, "--coder", "cm"], 16, EntropyMode.CM), (["--fast", "--states", 4], 4, EntropyMode.CC)])
def test_defaults_of_lossy_coding(files, run, options, states, coder):
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01, *options)
    assert {(c.uniform.states, c.entropy_mode) for c in uniform("a.omc")} == {(states, coder)}


def test_a_signal_to_noise_ratio_is_reached(files, run):
    run("encode", "m.safetensors", "-o", "a.omc", "--snr", 20)
    run("decode", "a.omc", "-o", "a.npz")
    before, after = load("m.safetensors"), load("a.npz")
    assert 19.9 < snr([(before[n].array, after[n].array) for n in WEIGHTS]) < 20.1


def test_a_rate_is_reached(files, run):
    run("encode", "m.safetensors", "-o", "b.omc", "--bits-per-weight", 7)
    model = load("m.safetensors")
    assert 8 * os.path.getsize("b.omc") / sum(model[n].size for n in WEIGHTS) <= 7.2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options, hint", [
    (["--snr", 1000], "1000 dB cannot be reached"), (["--step", 1e-300], "too fine"), (["--step", 1e300], "too large"),
    (["--bits-per-weight", 0.001], "bits per weight")])
def test_what_cannot_be_reached_is_refused(files, refused, options, hint):
    assert hint in refused("encode", "m.safetensors", "-o", "c.omc", *options, code=CONFIG)
    assert not os.path.exists("c.omc")


def test_two_aims_are_wrong_use(files, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["encode", "m.safetensors", "-o", "c.omc", "--snr", "20", "--step", "1"])
    assert stop.value.code == 2
    assert not os.path.exists("c.omc")


def test_configuration_file(files, run):
    (files / "c.toml").write_text('snr = 25\nstates = 4\n[[rules]]\nmatch = "fc2*"\ntreatment = "lossless"\n')
    run("encode", "m.safetensors", "-o", "a.omc", "--config", "c.toml")
    assert same_tensors(Model([decode("a.omc")["fc2.weight"]]), Model([load("m.safetensors")["fc2.weight"]]))
    assert {c.uniform.states for c in uniform("a.omc")} == {4}
    run("encode", "m.safetensors", "-o", "b.omc", "--config", "c.toml", "--lossless")
    assert same_tensors(decode("b.omc"), load("m.safetensors"))


@pytest.mark.parametrize("text", ["snr = 'x'", "speed = 3", "= 1", "step = -2\n", None])
def test_a_wrong_configuration_file_is_refused(files, run, text):
    if text is not None:
        (files / "bad.toml").write_text(text)
    run("encode", "m.safetensors", "-o", "c.omc", "--config", "bad.toml", code=CONFIG)
    assert not os.path.exists("c.omc")


def twice_in_safetensors(path: Path) -> None:
    entry = b'"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    header = b"{" + entry + b"," + entry + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\1")


def twice_in_npz(path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")                      # zipfile warns of it
        for n in (1, 2):
            with archive.open("w.npy", "w") as file:
                np.lib.format.write_array(file, np.full(3, n))


@pytest.mark.parametrize("name, write", [("x.safetensors", twice_in_safetensors), ("x.npz", twice_in_npz)])
def test_two_tensors_of_one_name_are_refused(files, refused, name, write):
    """As a decoder refuses them: tensors are known by their names."""
    write(files / name)
    assert "DUPLICATE_ID" in refused("encode", name, "-o", "c.omc", code=FORMAT)
    assert not os.path.exists("c.omc")


@pytest.mark.parametrize("name, code", [("text.txt", FORMAT), ("none.onnx", FORMAT)])
def test_what_is_no_model_is_refused(files, run, name, code):
    (files / "text.txt").write_text("hello")
    run("encode", name, "-o", "out.omc", code=code)
    assert not os.path.exists("out.omc")


def test_several_models_in_one_stream(files, run):
    run("encode", "m.safetensors", "m2.safetensors", "-o", "both.omc")
    for number, name in ((0, "m.safetensors"), (1, "m2.safetensors")):
        run("decode", "both.omc", "--model", number, "-o", "x.safetensors")
        assert (files / "x.safetensors").read_bytes() == (files / name).read_bytes()
    assert os.path.getsize("both.omc") < 1.8 * os.path.getsize("m.omc")


def test_a_stream_can_be_coded_anew(files, run):
    run("encode", "m.omc", "-o", "a.omc", "--best")
    assert same_tensors(decode("a.omc"), load("m.safetensors"))


def test_progress_on_a_terminal_names_tensors_and_the_time_left(files, capfd, monkeypatch):
    save(Model([Tensor(f"w{i}.weight", weights((40, 30), seed=i)) for i in range(20)]), "many.npz")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("refcodec.cli.shared.REFRESH", 0.0)              # however fast the machine is
    assert main(["encode", "many.npz", "-o", "a.omc", "--threads", "1"]) == 0
    shown = capfd.readouterr().err
    assert "encode: " in shown
    assert "<00:" in shown
