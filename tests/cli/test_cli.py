"""The command line as a whole: exit codes, errors on one line, help, and how it behaves as a process."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from helpers import cut, environment, run_cli, run_python

from refcodec import Config, Model, Tensor, encode
from refcodec.bitstream.units import MAGIC, seal_unit
from refcodec.cli import exit_codes
from refcodec.cli.exit_codes import FORMAT, REJECTED, UNSUPPORTED
from refcodec.cli.main import COMMANDS, parser
from refcodec.cli.shared import size

NAMES = [command.__name__.rpartition(".")[2].replace("_", "-") for command in COMMANDS]


@pytest.fixture
def damaged(files):
    """Beside the files: damaged.omc, cut.omc, and future.omc of another version."""
    data = bytearray((files / "m.omc").read_bytes())
    units = cut(bytes(data))
    data[len(data) // 2] ^= 1
    (files / "damaged.omc").write_bytes(data)
    (files / "cut.omc").write_bytes(data[:100])
    (files / "future.omc").write_bytes(MAGIC + seal_unit(1, bytes([7, 0, 0, 1])) + b"".join(units[1:]))
    return files


@pytest.mark.parametrize("name, code", [
    ("damaged.omc", REJECTED), ("cut.omc", REJECTED), ("m.safetensors", REJECTED), ("future.omc", UNSUPPORTED),
    ("none.omc", FORMAT)])
def test_exit_codes(damaged, run, name, code):
    before = sorted(damaged.iterdir())
    run("decode", name, "-o", "out.safetensors", code=code)
    run("info", name, code=code)
    assert sorted(damaged.iterdir()) == before


def test_errors_as_json(files, run):
    (files / "cut.omc").write_bytes((files / "m.omc").read_bytes()[:-30])
    error = json.loads(run("decode", "cut.omc", "-o", "x.npz", "--json", code=REJECTED))["error"]
    assert (error["code"], error["phase"]) == ("TRUNCATED", "container")
    assert error["unit"] is not None


@pytest.mark.parametrize("text, expected", [
    ("17", 17), ("2k", 2048), ("3M", 3 << 20), ("1.5G", 3 << 29), ("1GB", 1 << 30), ("2TiB", 2 << 40)])
def test_sizes(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "M", "-3", "x", "nan", "inf"])
def test_what_is_no_size(text):
    with pytest.raises(Exception, match="not a size"):
        size(text)


# Help

def test_the_help_lists_the_commands_and_the_exit_codes():
    text = run_cli("--help").stdout
    assert [name for name in NAMES if name not in text] == []
    assert exit_codes.TEXT in text


def test_the_version_is_that_of_the_package():
    from refcodec import __version__

    assert run_cli("--version").stdout.startswith(f"refcodec {__version__} (OMC ")


@pytest.mark.parametrize("command", NAMES)
def test_the_help_of_every_command_teaches_by_examples(command):
    text = run_cli(command, "--help").stdout
    examples = [shlex.split(line) for line in text.splitlines() if line.startswith("  refcodec ")]
    assert examples
    for words in examples:
        assert parser().parse_args(words[1:]).command == command


@pytest.mark.parametrize("command, options", [
    ("encode", ("--lossless", "--step", "--snr", "--bits-per-weight", "--states", "--coder", "--fast", "--best",
                "--reference", "--quality-layers", "--threads", "--config")),
    ("decode", ("--reference", "--tensor", "--quality", "--allow-prefix", "--max-memory", "--threads"))])
def test_the_help_explains_all_options(command, options):
    text = run_cli(command, "--help").stdout
    assert [option for option in options if option not in text] == []


def test_the_help_loads_nothing_heavy():
    loaded = run_python("-X", "importtime", "-c", "from refcodec.cli.main import parser; parser()").stderr
    assert "refcodec.cli" in loaded
    assert [name for name in ("numba", "numpy", "onnx", "tqdm", "bitstring") if f" {name}\n" in loaded] == []


# The process

@pytest.mark.parametrize("arguments", [
    [], ["encode", "m.safetensors"], ["pack"], ["encode", "m.safetensors", "-o", "x", "--states", "5"],
    ["decode", "m.omc", "-o", "x", "--max-memory", "lots"], ["encode", "a", "-o", "b", "--fast", "--best"]])
def test_wrong_use(files, arguments):
    done = run_cli(*arguments, check=False)
    assert done.returncode == exit_codes.USAGE
    assert "usage" in done.stderr
    assert not (files / "x").exists()


def test_a_terminal_that_cannot_show_a_name(files):
    names = Model([Tensor("schlüssel ☃ \x1b[31m", np.ones(3, np.float32))])
    (files / "n.omc").write_bytes(encode(names, Config()))
    done = run_cli("info", "n.omc", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert "schl" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_closed_pipe_is_no_error(files):
    command = f"{sys.executable} -m refcodec trace m.omc | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment())
    assert "omc_magic" in done.stdout
    assert done.stderr == ""
