"""The papers' experiments in quick mode: what they claim is so, on committed weights, without torch."""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess
import sys

import pytest
import report

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "tools" / "experiments"
SCRIPT = EXPERIMENTS / "run_all.py"
NEVER = "raise ImportError('the quick mode must not need it')\n"


def script(*arguments: str, path: pathlib.Path | None = None) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(str(p) for p in (path, EXPERIMENTS.parents[1]) if p)
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=600,
                          check=False, env=environment)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """(sections by name, folder) of a quick run of all experiments."""
    folder = tmp_path_factory.mktemp("experiments")
    hidden = folder / "hidden"
    hidden.mkdir()
    for module in ("torch", "sklearn", "mlxtend"):
        (hidden / f"{module}.py").write_text(NEVER)
    done = script("--quick", "--json", "--out", str(folder), path=hidden)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)["experiments"]
    return {name: json.loads((folder / "results" / f"{name}.json").read_text()) for name in ran}, folder


@pytest.mark.long
def test_the_report_has_all(quick):
    sections, folder = quick
    assert {"s1", "s2"} <= set(sections)
    report, page = ((folder / f"report.{kind}").read_text() for kind in ("md", "html"))
    for section in sections.values():
        assert f"## {section['title']}" in report
        assert section["title"].split(":")[0] in page
        assert section["tables"]
        assert section["remarks"]
        assert section["facts"]
        for table in section["tables"]:
            assert f"**{table['title']}**" in report
            assert all(len(row) == len(table["columns"]) for row in table["rows"])
    assert "src=\"http" not in page
    assert "href=\"http" not in page


@pytest.mark.long
def test_differences_are_smaller(quick):
    """S1: in every scenario, at the same precision and at equal accuracy."""
    facts = quick[0]["s1"]["facts"]
    smaller = {k: v for k, v in facts.items() if k.endswith("always smaller")}
    assert len(smaller) == 4
    assert all(smaller.values())
    assert min(v for k, v in facts.items() if k.endswith("% smaller")) > 25


@pytest.mark.long
def test_damaged_predictions_help(quick):
    """S2: over time, corrupted and pruned."""
    facts = quick[0]["s2"]["facts"]
    assert facts["sequential: least % smaller"] > 10
    assert facts["corrupted: least % smaller"] > 10
    assert facts["pruned: least % smaller"] > -1        # little where the target is sparser than its prediction


@pytest.mark.long
def test_a_set_of_relatives(quick):
    """Six relatives with a root: at least a quarter smaller than separate streams at equal error."""
    facts = quick[0]["s2"]["facts"]
    for coder in ("LZMA, q_bits 10", "CM"):
        assert facts[f"set, {coder}, auto: least % smaller"] >= 25
        assert facts[f"set, {coder}, auto: largest error ratio"] < 1.02
    assert facts["utility: least gain"] > -0.002


@pytest.mark.long
def test_the_laplacian_model_is_near(quick):
    table = next(t for t in quick[0]["s2"]["tables"] if "Laplacian" in t["title"])
    for row in table["rows"]:
        line = dict(zip(table["columns"], row))
        assert float(line["real error"]) == pytest.approx(float(line["modelled error"]), rel=0.3)
        assert float(line["real bits"]) > 0
        assert math.isfinite(float(line["Lambda"]))


def test_committed_results_make_the_committed_report(tmp_path):
    """report.md is what report.py makes of results/."""
    results = EXPERIMENTS / "results"
    assert {f"s{n}" for n in range(1, 6)} <= {path.stem for path in results.glob("*.json")}
    made = report.markdown(report.load(results), "results/figures")
    assert made == (EXPERIMENTS / "report.md").read_text(encoding="utf-8")
    for line in made.splitlines():
        if line.startswith("!["):
            assert (EXPERIMENTS / line.split("(")[-1][:-1]).is_file()


def test_wrong_use():
    done = script("s9")
    assert done.returncode == 2
    assert "s9" in done.stderr
    done = script("--seeds", "99")
    assert done.returncode == 2
    assert script("--help").returncode == 0
