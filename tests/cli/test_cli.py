"""The commands: what they write, print and return; nothing is left behind by one that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import changed, cut, environment, network_model, run_cli, run_python, same_tensors, snr, weights

from refcodec import Config, Model, Tensor, decode, encode, load, save
from refcodec.bitstream.parser import parse
from refcodec.bitstream.structures import EntropyMode
from refcodec.bitstream.units import MAGIC, seal_unit
from refcodec.cli.main import main
from refcodec.cli.shared import size

REJECTED, UNSUPPORTED, FORMAT, CONFIG = 10, 11, 12, 13


@pytest.fixture
def files(tmp_path):
    """m.safetensors, an update of it, a stream; and a way to run commands in that folder."""
    model = network_model()
    save(model, tmp_path / "m.safetensors")
    save(changed(model), tmp_path / "m2.safetensors")
    (tmp_path / "m.omc").write_bytes(encode(load(tmp_path / "m.safetensors")))
    before = os.getcwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture
def run(command):
    """Runs a command; returns what it prints to standard output."""
    return lambda *arguments, code=0: command(*arguments, code=code).out


def uniform(path) -> list:
    parsed = parse(Path(path).read_bytes()).models[-1]
    return [c for u in parsed.tensor_units for d in u.descriptors for c in d.component if c.quantiser == 1]


# encode and decode

def test_lossless_is_the_default_and_exact(files, run):
    run("encode", "m.safetensors", "-o", "a.omc")
    run("encode", "m.safetensors", "-o", "b.omc", "--lossless", "--threads", 2)
    assert (files / "a.omc").read_bytes() == (files / "b.omc").read_bytes()
    line = run("decode", "a.omc", "-o", "again.safetensors")
    assert "digests verified" in line and line.count("\n") == 1
    assert (files / "again.safetensors").read_bytes() == (files / "m.safetensors").read_bytes()


@pytest.mark.parametrize("options, states, coder", [
    ([], 8, EntropyMode.CC), (["--best"], 32, EntropyMode.CM), (["--fast"], 0, EntropyMode.CC),
    (["--states", 16, "--coder", "cm"], 16, EntropyMode.CM), (["--fast", "--states", 4], 4, EntropyMode.CC)])
def test_defaults_of_lossy_coding(files, run, options, states, coder):
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01, *options)
    weights_ = [d for d in uniform("a.omc") if d.word_count > 100]
    assert {(c.uniform.states, c.entropy_mode) for c in weights_} == {(states, coder)}


def test_targets(files, run):
    before = load("m.safetensors")
    run("encode", "m.safetensors", "-o", "a.omc", "--snr", 20)
    run("decode", "a.omc", "-o", "a.npz")
    after = load("a.npz")
    names = ("fc1.weight", "conv.weight", "fc2.weight")
    assert 19.9 < snr([(before[n].array, after[n].array) for n in names]) < 20.1
    run("encode", "m.safetensors", "-o", "b.omc", "--bits-per-weight", 7)
    assert 8 * os.path.getsize("b.omc") / sum(before[n].size for n in names) <= 7.2
    with pytest.raises(SystemExit) as stop:
        main(["encode", "m.safetensors", "-o", "c.omc", "--snr", "20", "--step", "1"])
    assert stop.value.code == 2 and not os.path.exists("c.omc")


def test_configuration_file(files, run):
    (files / "c.toml").write_text('snr = 25\nstates = 4\n[[rules]]\nmatch = "fc2*"\ntreatment = "lossless"\n')
    run("encode", "m.safetensors", "-o", "a.omc", "--config", "c.toml")
    assert same_tensors(Model([decode("a.omc")["fc2.weight"]]), Model([load("m.safetensors")["fc2.weight"]]))
    assert {c.uniform.states for c in uniform("a.omc") if c.word_count > 100} == {4}
    run("encode", "m.safetensors", "-o", "b.omc", "--config", "c.toml", "--lossless")
    assert same_tensors(decode("b.omc"), load("m.safetensors"))
    for text in ("snr = 'x'", "speed = 3", "= 1", "step = -2\n"):
        (files / "bad.toml").write_text(text)
        run("encode", "m.safetensors", "-o", "c.omc", "--config", "bad.toml", code=CONFIG)
    run("encode", "m.safetensors", "-o", "c.omc", "--config", "none.toml", code=CONFIG)
    assert not os.path.exists("c.omc")


def test_updates(files, run):
    run("encode", "m2.safetensors", "-o", "u.omc", "--reference", "m.safetensors")
    assert os.path.getsize("u.omc") < os.path.getsize("m.omc")
    for reference in ("m.safetensors", "m.omc"):
        run("decode", "u.omc", "-o", "again.safetensors", "--reference", reference)
        assert (files / "again.safetensors").read_bytes() == (files / "m2.safetensors").read_bytes()
        os.unlink("again.safetensors")
    run("decode", "u.omc", "-o", "again.safetensors", code=UNSUPPORTED)
    run("decode", "u.omc", "-o", "again.safetensors", "--reference", "m2.safetensors", code=UNSUPPORTED)
    run("decode", "u.omc", "-o", "again.safetensors", "--reference", "none.safetensors", code=FORMAT)
    assert not os.path.exists("again.safetensors")


def test_several_models_in_one_stream(files, run):
    run("encode", "m.safetensors", "m2.safetensors", "-o", "both.omc")
    for number, name in ((0, "m.safetensors"), (1, "m2.safetensors")):
        run("decode", "both.omc", "--model", number, "-o", "x.safetensors")
        assert (files / "x.safetensors").read_bytes() == (files / name).read_bytes()
    run("decode", "both.omc", "--model", 2, "-o", "y.safetensors", code=REJECTED)
    assert os.path.getsize("both.omc") < 1.8 * os.path.getsize("m.omc")


def test_single_tensors(files, run):
    run("decode", "m.omc", "-o", "one.npz", "--tensor", "fc2.weight", "--tensor", "steps")
    found = np.load("one.npz")
    assert sorted(found) == ["fc2.weight", "steps"]
    assert np.array_equal(found["fc2.weight"], load("m.safetensors")["fc2.weight"].array)
    run("decode", "m.omc", "-o", "two.npz", "--tensor", "no such", code=CONFIG)
    run("decode", "m.omc", "-o", "two.safetensors", "--tensor", "steps", code=CONFIG)


def test_quality_layers_and_prefixes(files, run):
    run("encode", "m.safetensors", "-o", "q.omc", "--quality-layers", 3)
    model, errors = load("m.safetensors"), []
    for n in (1, 2, 3):
        run("decode", "q.omc", "-o", "q.npz", "--quality", n)
        errors.append(float(np.abs(np.load("q.npz")["fc1.weight"] - model["fc1.weight"].array).max()))
    assert errors[0] > 2 * errors[1] > 0 == errors[2]
    run("decode", "q.omc", "-o", "q4.npz", "--quality", 4, code=CONFIG)
    data = (files / "q.omc").read_bytes()
    border = [u.end for u in parse(data).units if u.type == 8][0]
    (files / "cut.omc").write_bytes(data[:border])
    run("decode", "cut.omc", "-o", "p.npz", code=REJECTED)
    run("decode", "cut.omc", "-o", "p.npz", "--allow-prefix")
    assert float(np.abs(np.load("p.npz")["fc1.weight"] - model["fc1.weight"].array).max()) == errors[0]
    (files / "cut.omc").write_bytes(data[: border + 9])
    run("decode", "cut.omc", "-o", "p2.npz", "--allow-prefix", code=REJECTED)
    assert not os.path.exists("p2.npz")


def test_memory_limit(files, run):
    save(Model([Tensor("large.weight", weights((500, 700)))]), files / "large.safetensors")
    run("encode", "large.safetensors", "-o", "large.omc")
    run("decode", "large.omc", "-o", "l.safetensors", "--max-memory", "1M", code=UNSUPPORTED)
    assert not os.path.exists("l.safetensors")
    run("decode", "large.omc", "-o", "l.safetensors", "--max-memory", "20MiB")
    assert [size(t)
            for t in ("17", "2k", "3M", "1.5G", "1GB", "2TiB")] == [17, 2048, 3 << 20, 3 << 29, 1 << 30, 2 << 40]
    for text in ("", "M", "-3", "x", "nan", "inf"):
        with pytest.raises(Exception, match="not a size"):
            size(text)


# Errors

def test_exit_codes(files, run):
    data = bytearray((files / "m.omc").read_bytes())
    data[len(data) // 2] ^= 1
    (files / "damaged.omc").write_bytes(data)
    (files / "cut.omc").write_bytes(data[:100])
    (files / "text.txt").write_text("hello")
    units = cut((files / "m.omc").read_bytes())
    (files / "future.omc").write_bytes(MAGIC + seal_unit(1, bytes([7, 0, 0, 1])) + b"".join(units[1:]))
    for name, code in (("damaged.omc", REJECTED), ("cut.omc", REJECTED), ("m.safetensors", REJECTED),
                       ("future.omc", UNSUPPORTED), ("none.omc", FORMAT)):
        run("decode", name, "-o", "out.safetensors", code=code)
        run("info", name, code=code)
        assert not os.path.exists("out.safetensors")
    run("encode", "text.txt", "-o", "out.omc", code=FORMAT)
    run("encode", "none.onnx", "-o", "out.omc", code=FORMAT)
    run("encode", "m.safetensors", "-o", "no/such/folder/out.omc", code=FORMAT)
    run("decode", "m.omc", "-o", "m.onnx", code=FORMAT)
    run("compare", "m.omc", "text.txt", code=FORMAT)
    assert sorted(p.name for p in files.iterdir()) == ["cut.omc", "damaged.omc", "future.omc", "m.omc", "m.safetensors",
                                                       "m2.safetensors", "text.txt"]


def test_errors_as_json(files, run):
    data = (files / "m.omc").read_bytes()
    (files / "cut.omc").write_bytes(data[:-30])
    error = json.loads(run("decode", "cut.omc", "-o", "x.npz", "--json", code=REJECTED))["error"]
    assert error["code"] == "TRUNCATED" and error["phase"] == "container" and error["unit"] is not None


def test_a_failed_command_keeps_the_file_that_was_there(files, run):
    (files / "out.safetensors").write_text("precious")
    data = bytearray((files / "m.omc").read_bytes())
    data[-60] ^= 4
    (files / "damaged.omc").write_bytes(data)
    run("decode", "damaged.omc", "-o", "out.safetensors", code=REJECTED)
    run("encode", "m.safetensors", "-o", "out.safetensors", "--bits-per-weight", 0.001, code=CONFIG)
    assert (files / "out.safetensors").read_text() == "precious"
    assert not [p for p in files.iterdir() if p.name.startswith(".")]


# info, trace, compare

@pytest.mark.parametrize("line", [("encode", "m.safetensors", "-o"), ("decode", "m.omc", "-o")])
def test_no_command_makes_the_folder_of_its_output(files, command, line):
    said = command(*line, "missing/x.safetensors", code=FORMAT).err
    assert "missing/x.safetensors" in said and "No such file or directory" in said
    assert not (files / "missing").exists()


def test_info(files, run):
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01)
    x = json.loads(run("info", "a.omc", "--json"))
    size = os.path.getsize("a.omc")
    assert x["bytes"] == size and sum(x["bytes_by_unit"].values()) == size - 4 and x["complete"]
    tensors = {t["name"]: t for t in x["models"][0]["tensors"]}
    assert len(
        tensors) == 6 and tensors["fc1.weight"]["quantiser"] == "uniform" and tensors["steps"]["quantiser"] == "none"
    assert tensors["fc1.weight"]["shape"] == [24, 36] and 0 < x["models"][0]["bits_per_weight"] < 32
    text = run("info", "a.omc")
    assert all(name in text for name in tensors) and "bits per weight" in text


def test_trace_accounts_for_every_bit(files, run):
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01)
    lines = [json.loads(line) for line in run("trace", "a.omc", "--json").splitlines()]
    assert {"unit", "clause", "structure", "name", "descriptor", "value", "bit", "bits"} <= set(lines[0])
    names = {line["name"] for line in lines}
    assert {
        "omc_magic", "version_major", "tensor_name", "step_mantissa", "coded", "model_digest", "unit_count",
        "unit_check", "expanded_size"
    } <= names
    data = (files / "a.omc").read_bytes()
    for unit in parse(data).units:
        elements = [e for e in lines if e["unit"] == unit.number]
        covered = sum(e["bits"] for e in elements)
        whole = 8 * (unit.body_offset - unit.offset + unit.expanded_size + 4)
        assert whole - 7 * 2 <= covered <= whole, unit                  # but for the bits of byte_alignment()
        end = -8 * (unit.body_offset - unit.offset)
        for e in elements:
            assert 0 <= e["bit"] - end < 8, e
            end = e["bit"] + e["bits"]
        assert elements[-1]["name"] == "unit_check" and end == whole + elements[0]["bit"]
    text = run("trace", "a.omc")
    assert text.count("\n") == len(lines) and "uniform_parameters.step_mantissa u(16)" in text


def test_trace_of_a_damaged_stream_shows_what_is_before_the_damage(files, run, capsys):
    (files / "cut.omc").write_bytes((files / "m.omc").read_bytes()[:-30])
    assert main(["trace", "cut.omc"]) == REJECTED
    output = capsys.readouterr()
    assert "omc_magic" in output.out and "TRUNCATED" in output.err


def test_trace_of_bins(tmp_path, run):
    save(Model([Tensor("w.weight", weights((6, 8)))]), tmp_path / "s.npz")
    run("encode", tmp_path / "s.npz", "-o", tmp_path / "s.omc", "--step", 0.01)
    lines = [json.loads(line) for line in run("trace", tmp_path / "s.omc", "--json", "--bins").splitlines()]
    bins = [e for e in lines if e["descriptor"].startswith("a")]
    payload = sum(e["bits"] for e in lines if e["name"] == "coded")
    assert len(bins) > 48 and 0 < sum(e["bits"] for e in bins) <= payload
    assert {"significant_flag", "sign_flag"} <= {e["name"] for e in bins}


def test_trace_names_the_bins_of_maps(tmp_path, run):
    maps = np.maximum(np.random.default_rng(1).normal(size=(4, 16, 17)), 0).astype(np.float32)
    np.save(tmp_path / "maps.npy", maps)
    run("encode", tmp_path / "maps.npy", "-o", tmp_path / "m.omc", "--features", "--entropy", "map")
    lines = [json.loads(line) for line in run("trace", tmp_path / "m.omc", "--json", "--bins").splitlines()]
    bins = [e for e in lines if e["descriptor"] == "ae(v)"]
    assert {e["clause"] for e in bins} == {"9.6"} and {e["structure"] for e in bins} == {"map"}
    assert {"map_zero_flag", "map_class_bin", "map_mantissa_bit"} <= {e["name"] for e in bins}
    assert sum(e["name"] == "map_zero_flag" for e in bins) >= maps.size


def test_a_trace_of_bins_ends_with_the_error_of_the_stream(files, run):
    run("encode", "m2.safetensors", "-o", "u.omc", "--reference", "m.safetensors")
    run("trace", "u.omc")
    run("trace", "u.omc", "--bins", code=UNSUPPORTED)


def test_compare(files, run):
    x = json.loads(run("compare", "m.safetensors", "m.omc", "--json"))
    assert x["equal"] and x["tensors"] == 6 and x["snr_db"] is None and x["max_error"] == 0
    run("encode", "m.safetensors", "-o", "a.omc", "--snr", 30)
    x = json.loads(run("compare", "m.safetensors", "a.omc", "--json"))
    assert not x["equal"] and x["snr_db"] > 29.5 and {r["name"]: r["equal"] for r in x["per_tensor"]}["steps"]
    assert "SNR" in run("compare", "m.safetensors", "a.omc") and "all 6 tensors are equal" in run(
        "compare", "m.omc", "m.omc")
    save(Model([Tensor("steps", np.array(1000))]), "other.npz")
    assert "missing" in run("compare", "m.omc", "other.npz")


# The process

def test_help_is_quick_and_complete():
    text = run_cli("--help").stdout
    assert all(word in text for word in ("encode", "decode", "info", "trace", "compare", "Exit codes"))
    for command, options in (("encode", ("--lossless", "--step", "--snr", "--bits-per-weight", "--states", "--coder",
                                         "--fast", "--best", "--reference", "--quality-layers", "--threads",
                                         "--config")), ("decode", ("--reference", "--tensor", "--quality",
                                                                   "--allow-prefix", "--max-memory", "--threads"))):
        text = run_cli(command, "--help").stdout
        assert all(option in text for option in options)
    loaded = run_python("-X", "importtime", "-c", "from refcodec.cli.main import parser; parser()").stderr
    assert "refcodec.cli" in loaded
    assert not any(name in loaded for name in ("numba", "onnx", "tqdm", "bitstring")), "too much is imported for --help"


def test_wrong_use(files):
    for arguments in ([], ["encode",
                           "m.safetensors"], ["pack"], ["encode", "m.safetensors", "-o", "x", "--states",
                                                        "5"], ["decode", "m.omc", "-o", "x", "--max-memory",
                                                               "lots"], ["encode", "a", "-o", "b", "--fast", "--best"]):
        done = run_cli(*arguments, check=False)
        assert done.returncode == 2 and "usage" in done.stderr and not (files / "x").exists()


def test_a_closed_pipe_and_a_plain_terminal_are_no_errors(files):
    names = Model([Tensor("schlüssel ☃ \x1b[31m", np.ones(3, np.float32))])
    (files / "n.omc").write_bytes(encode(names, Config()))
    done = run_cli("info", "n.omc", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert "schl" in done.stdout and "\x1b" not in done.stdout
    command = f"{sys.executable} -m refcodec trace m.omc | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True,
                          env=environment())
    assert "omc_magic" in done.stdout and done.stderr == ""
