"""refcodec info: what a stream holds, in whole or of some tensors and units."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from refcodec import Model, Tensor, encode
from refcodec.cli.exit_codes import CONFIG, REJECTED
from refcodec.inspection.text import NAME_WIDTH, shown


@pytest.fixture
def described(files, run):
    """a.omc, which is lossy; and a way to its description."""
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01)
    return lambda *options: json.loads(run("info", "a.omc", "--json", *options))


def test_info_accounts_for_every_byte(described):
    x, size = described(), os.path.getsize("a.omc")
    assert x["bytes"] == size
    assert sum(x["bytes_by_unit"].values()) == size - 4
    assert x["complete"]


def test_info_describes_tensors(described, run):
    model = described()["models"][0]
    tensors = {t["name"]: t for t in model["tensors"]}
    assert len(tensors) == model["tensor_count"] == 6
    assert tensors["fc1.weight"]["quantiser"] == "uniform"
    assert tensors["steps"]["quantiser"] == "none"
    assert tensors["fc1.weight"]["shape"] == [24, 36]
    assert 0 < model["bits_per_weight"] < 32
    text = run("info", "a.omc")
    assert all(name in text for name in tensors)
    assert "bits per weight" in text


def test_some_tensors(described, run):
    whole, x = described(), described("--tensor", "fc1.weight", "--tensor", "steps")
    assert [t["name"] for t in x["models"][0]["tensors"]] == ["fc1.weight", "steps"]
    assert [t for t in x["models"][0]["tensors"] if t not in whole["models"][0]["tensors"]] == []
    assert x["models"][0]["tensor_count"] == 6
    assert {u["type"] for u in x["selected_units"]} == {"tensor_data"}
    text = run("info", "a.omc", "--tensor", "fc1.weight")
    assert "fc1.weight" in text
    assert "conv.weight" not in text
    assert "1 of 6 tensors" in text


def test_some_units(described, run):
    unit = next(t["unit"] for t in described()["models"][0]["tensors"] if t["name"] == "conv.weight")
    x = described("--unit", 0, "--unit", unit)
    assert [u["unit"] for u in x["selected_units"]] == [0, unit]
    assert "conv.weight" in {t["name"] for t in x["models"][0]["tensors"]}
    assert "unit 0: stream_header, plain" in run("info", "a.omc", "--unit", 0)


def test_other_ways_of_some_tensors(described):
    x = described("--tensor", "fc1.weight", "--why")["models"][0]
    whole = described("--why")["models"][0]
    assert x["why"] == [w for w in whole["why"] if "fc1.weight" in (w["tensor"], *w["joined"])]
    assert x["why"]


@pytest.mark.parametrize("name", ["info", "trace"])
@pytest.mark.parametrize("option, value, hint", [
    ("--tensor", "nothing", "'nothing'"), ("--unit", 99, "units 0 to"), ("--unit", -1, "units 0 to")])
def test_a_tensor_or_unit_that_is_not_there(files, refused, name, option, value, hint):
    assert hint in refused(name, "m.omc", f"{option}={value}", code=CONFIG)


@pytest.mark.parametrize("name", ["info", "trace"])
def test_of_a_damaged_stream_the_damage_is_told(files, refused, name):
    (files / "cut.omc").write_bytes((files / "m.omc").read_bytes()[:-30])
    assert "TRUNCATED" in refused(name, "cut.omc", "--tensor", "nothing", code=REJECTED)


def test_long_names_are_cut_in_tables_only(files, run):
    name = "layer." * 500 + "weight"
    (files / "long.omc").write_bytes(encode(Model([Tensor(name, np.ones((3, 4), np.float32))], name="model" * 400)))
    for command in (("info", "long.omc"), ("trace", "long.omc"), ("info", "long.omc", "--why")):
        assert max(map(len, run(*command).splitlines())) < 250
    model = json.loads(run("info", "long.omc", "--json"))["models"][0]
    assert model["tensors"][0]["name"] == name
    assert model["name"] == "model" * 400
    values = [json.loads(line)["value"] for line in run("trace", "long.omc", "--json").splitlines()]
    assert name in values


@pytest.mark.parametrize("name, expected", [
    ("short", "short"), ("a" * NAME_WIDTH, "a" * NAME_WIDTH), ("a\x1b[31m", "a\\x1b[31m"), ("ü☃", "ü☃")])
def test_names_that_fit_are_whole(name, expected):
    assert shown(name) == expected


@pytest.mark.parametrize("width", [10, 30, NAME_WIDTH])
def test_of_longer_names_both_ends_are_shown(width):
    text = shown("a" * 200 + "z" * 200, width)
    assert len(text) == width
    assert text.startswith("aaa")
    assert text.endswith("zzz")
    assert "..." in text
