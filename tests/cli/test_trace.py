"""refcodec trace: every syntax element of a stream, every bit of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import weights

from refcodec import Model, Tensor, save
from refcodec.bitstream.parser import parse
from refcodec.cli.exit_codes import REJECTED, UNSUPPORTED
from refcodec.cli.main import main


@pytest.fixture
def elements(run):
    """Traces a stream; returns its elements."""
    return lambda *arguments: [json.loads(line) for line in run("trace", "--json", *arguments).splitlines()]


def test_a_trace_has_all_kinds_of_elements(files, run, elements):
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01)
    lines = elements("a.omc")
    assert {"unit", "clause", "structure", "name", "descriptor", "value", "bit", "bits"} <= set(lines[0])
    assert {
        "omc_magic", "version_major", "tensor_name", "step_mantissa", "coded", "model_digest", "unit_count",
        "unit_check", "expanded_size"
    } <= {line["name"] for line in lines}
    text = run("trace", "a.omc")
    assert text.count("\n") == len(lines)
    assert "uniform_parameters.step_mantissa u(16)" in text


def test_a_trace_accounts_for_every_bit(files, run, elements):
    run("encode", "m.safetensors", "-o", "a.omc", "--step", 0.01)
    lines = elements("a.omc")
    for unit in parse((files / "a.omc").read_bytes()).units:
        own = [e for e in lines if e["unit"] == unit.number]
        covered = sum(e["bits"] for e in own)
        whole = 8 * (unit.body_offset - unit.offset + unit.expanded_size + 4)
        assert whole - 7 * 2 <= covered <= whole, unit                  # but for the bits of byte_alignment()
        end = -8 * (unit.body_offset - unit.offset)
        for e in own:
            assert 0 <= e["bit"] - end < 8, e
            end = e["bit"] + e["bits"]
        assert own[-1]["name"] == "unit_check"
        assert end == whole + own[0]["bit"]


def test_some_tensors_and_units(files, elements):
    whole = elements("m.omc")
    parsed = parse((files / "m.omc").read_bytes())
    model = parsed.models[0]
    index = [t.tensor_name for t in model.state.tensors].index("fc1.weight")
    unit = model.tensor_units[model.unit_of[index]].unit.number
    assert elements("m.omc", "--tensor", "fc1.weight") == [e for e in whole if e["unit"] == unit]
    assert elements("m.omc", "--unit", 0, "--tensor", "fc1.weight") == [e for e in whole if e["unit"] in (0, unit)]


def test_a_trace_of_a_damaged_stream_shows_what_is_before_the_damage(files, capsys):
    (files / "cut.omc").write_bytes((files / "m.omc").read_bytes()[:-30])
    assert main(["trace", "cut.omc"]) == REJECTED
    output = capsys.readouterr()
    assert "omc_magic" in output.out
    assert "TRUNCATED" in output.err


def test_bins_cost_what_the_payload_takes(tmp_path, run, elements):
    save(Model([Tensor("w.weight", weights((6, 8)))]), tmp_path / "s.npz")
    run("encode", tmp_path / "s.npz", "-o", tmp_path / "s.omc", "--step", 0.01)
    lines = elements(tmp_path / "s.omc", "--bins")
    bins = [e for e in lines if e["descriptor"].startswith("a")]
    assert len(bins) > 48
    assert 0 < sum(e["bits"] for e in bins) <= sum(e["bits"] for e in lines if e["name"] == "coded")
    assert {"significant_flag", "sign_flag"} <= {e["name"] for e in bins}


def test_bins_of_some_tensors(tmp_path, run, elements):
    model = Model([Tensor("a.weight", weights((40, 30))), Tensor("b.weight", weights((40, 30), seed=1))])
    save(model, tmp_path / "s.npz")
    run("encode", tmp_path / "s.npz", "-o", tmp_path / "s.omc", "--step", 0.01)
    both, one = elements(tmp_path / "s.omc", "--bins"), elements(tmp_path / "s.omc", "--bins", "--tensor", "b.weight")
    (unit,) = {e["unit"] for e in one}
    assert one == [e for e in both if e["unit"] == unit]
    assert any(e["descriptor"] == "ae(v)" for e in one)


def test_bins_of_maps_are_named(tmp_path, run, elements):
    maps = np.maximum(np.random.default_rng(1).normal(size=(4, 16, 17)), 0).astype(np.float32)
    np.save(tmp_path / "maps.npy", maps)
    run("encode", tmp_path / "maps.npy", "-o", tmp_path / "m.omc", "--features", "--entropy", "map")
    bins = [e for e in elements(tmp_path / "m.omc", "--bins") if e["descriptor"] == "ae(v)"]
    assert {e["clause"] for e in bins} == {"9.6"}
    assert {e["structure"] for e in bins} == {"map"}
    assert {"map_zero_flag", "map_class_bin", "map_mantissa_bit"} <= {e["name"] for e in bins}
    assert sum(e["name"] == "map_zero_flag" for e in bins) >= maps.size


def test_a_trace_of_bins_ends_with_the_error_of_the_stream(files, run):
    run("encode", "m2.safetensors", "-o", "u.omc", "--reference", "m.safetensors")
    run("trace", "u.omc")
    run("trace", "u.omc", "--bins", code=UNSUPPORTED)
