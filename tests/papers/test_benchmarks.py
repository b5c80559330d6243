"""The benchmark beside the peers, as far as it needs neither peers nor models: what it says, and what it compares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bench_compare
import pytest
from helpers import ROOT
from peers import environments, omc, steps


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "tools" / tool), *arguments], capture_output=True, text=True,
                          timeout=100)


# What is missing is said

@pytest.mark.parametrize("section", ["quantised", "lossless", "outputs"])
def test_missing_models_and_the_command_that_fetches_them_are_named(section, tmp_path):
    done = run("bench_peers.py", "--quick", "--only", section, "--models", str(tmp_path), "--work", str(tmp_path / "w"))
    assert done.returncode == 1
    assert "lacks " in done.stderr
    assert "python tools/fetch_models.py --out " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setenv("REFCODEC_BENCH_PYTHON", "/bin/false")
    with pytest.raises(environments.BenchError, match="'lossless' of the peers cannot be made"):
        environments.ensure_env(tmp_path, "lossless")
    assert not environments.is_ready(tmp_path, "lossless")


def test_a_worker_that_fails_says_why(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("raise ValueError('a reason')")
    with pytest.raises(environments.BenchError, match=r"worker.py failed \(exit code 1\):(.|\n)*ValueError: a reason"):
        environments.run_worker(sys.executable, worker)


def test_coding_systems_names_its_groups():
    done = run("coding_systems.py", "--only", "nope")
    assert done.returncode == 2
    assert "the groups are words, lossless" in done.stderr


# Progress

def test_steps_tell_the_time_left(monkeypatch, capsys):
    times = iter([100.0, 100.0, 130.0, 190.0, 200.0])
    monkeypatch.setattr(steps.time, "monotonic", lambda: next(times))
    seen = []
    todo = [steps.Step("part", name, cost, lambda name=name: [{"model": name, "ratio": 0.5}])
            for name, cost in (("a", 10.0), ("b", 20.0), ("c", 5.0))]
    steps.run_steps(todo, lambda step, rows: seen.append((step.label, rows)))
    assert seen == [(name, [{"model": name, "ratio": 0.5}]) for name in "abc"]
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")] == [
        "[1/3] 0:00, about 0:35 left: part, a", "[2/3] 0:30, about 1:15 left: part, b",
        "[3/3] 1:30, about 0:15 left: part, c"]


# Comparison of two runs

BEFORE = {
    "quantised": [{"model": "m", "bits": 3, "NNCodec bytes": 500, "CM 32 bytes": 200, "CM 32 dec Mw/s": 2.0,
                   "NNCodec dec Mw/s": 10.0, "CM 32 % fewer": 3.0}],
    "lossless": [{"model": "m", "type": label, "bytes": 1000, "OMC bytes": 500, "OMC dec MB/s": speed}
                 for label, speed in (("fp32", 10.0), ("bf16", 20.0))],
    "outputs": [{"model": "m", "SNR dB": 12, "bytes": 300, "% agree": 99.0}],
}


def compared(tmp_path: Path, after: dict) -> dict[tuple[str, str], dict]:
    return {(row["whose"], row["what"]): row for row in bench_compare.ratios(BEFORE, after)}


def test_a_ratio_above_one_is_better(tmp_path):
    after = json.loads(json.dumps(BEFORE))
    after["quantised"][0].update({"CM 32 bytes": 100, "CM 32 dec Mw/s": 3.0, "NNCodec dec Mw/s": 5.0})
    after["lossless"][0]["OMC dec MB/s"] = 40.0
    after["outputs"][0]["bytes"] = 600
    found = compared(tmp_path, after)
    assert {key: row["median"] for key, row in found.items()} == {
        ("OMC", "quantised: CM 32 bytes"): "2.0000", ("OMC", "quantised: CM 32 dec Mw/s"): "1.5000",
        ("peer", "quantised: NNCodec bytes"): "1.0000", ("peer", "quantised: NNCodec dec Mw/s"): "0.5000",
        ("OMC", "lossless: OMC bytes"): "1.0000", ("OMC", "lossless: OMC dec MB/s"): "2.5000",
        ("OMC", "outputs: bytes"): "0.5000"}
    speed = found["OMC", "lossless: OMC dec MB/s"]
    assert (speed["rows"], speed["least"], speed["most"]) == (2, "1.0000", "4.0000")


def test_rows_of_one_run_alone_are_not_compared(tmp_path):
    after = {"lossless": [{**BEFORE["lossless"][0], "model": "other"}], "updates": [{"pair": "p", "OMC bytes": 3}]}
    assert bench_compare.ratios(BEFORE, after) == []


def test_two_files_are_compared(tmp_path):
    for name in ("before", "after"):
        (tmp_path / name).write_text(json.dumps(BEFORE))
    done = run("bench_compare.py", str(tmp_path / "before"), str(tmp_path / "after"))
    assert done.returncode == 0, done.stderr
    assert "| OMC   | lossless: OMC bytes         | 2    | 1.0000 | 1.0000 | 1.0000 |" in done.stdout


@pytest.mark.parametrize("text", ["", "[]", '{"lossless": [3]}'])
def test_another_file_is_refused(text, tmp_path):
    (tmp_path / "before").write_text(json.dumps(BEFORE))
    (tmp_path / "after").write_text(text)
    done = run("bench_compare.py", str(tmp_path / "before"), str(tmp_path / "after"))
    assert done.returncode == 1
    assert "no two runs of bench_peers.py --json" in done.stderr
    assert "Traceback" not in done.stderr


# Comparison of two working copies, here of this one with itself

def test_the_worker_gives_the_same_stream_for_the_same_codec():
    job = dict(file=ROOT / "tests" / "data" / "digits_v2.onnx", speed=True)
    first, second = (omc.run([job])[0] for _ in range(2))
    assert first.sha256 == second.sha256
    assert first.encode_cpu > 0
    assert first.decode_cpu > 0


def test_differing_streams_are_said(capsys):
    result = omc.Result(10, "a", 0, None, 1.0, 2.0, 1.0, 2.0, 1.0)
    bench_compare.print_trees({"job": [(result, result._replace(encode_seconds=2.0)), (result, result)]})
    out = capsys.readouterr().out
    assert "| yes " in out
    assert "0.750 (0.50..1.00)" in out
    bench_compare.print_trees({"job": [(result, result._replace(sha256="b")), (result, result)]})
    assert "| NO " in capsys.readouterr().out
