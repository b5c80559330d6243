"""Coverage of SPEC's own points by the required streams: no open point without a waiver, no waiver without a reason,
traces that
still say what coverage.json says, random streams that are the same everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from helpers import ROOT

from conformance.recipes import points
from conformance.recipes.waivers import SHOWN_BY, WAIVERS

SUITE = ROOT / "conformance"
UNCOMPILED = {**os.environ, "REFCODEC_COMPILE": "0", "PYTHONPATH": str(ROOT)}
SAMPLE = ("smoke", "joined", "folds", "units-plain", "c-intra-direct-none", "words-parameters", "v-layers")


@pytest.fixture(scope="module")
def coverage() -> dict:
    return json.loads((SUITE / "coverage.json").read_text())


@pytest.fixture(scope="module")
def entries() -> dict[str, dict]:
    return {e["id"]: e for e in json.loads((SUITE / "manifest.json").read_text())["streams"]}


def test_every_point_of_the_text_is_listed(coverage):
    assert points.wanted() <= set(coverage["points"])
    assert set(points.contexts()) == set(coverage["groups"])
    listed = {p.split(":")[0] for p in coverage["points"]} | {"context"}
    assert listed == set(points.CLASSES)


def test_no_point_is_open_without_a_waiver(coverage):
    open_points = [p for p, streams in coverage["points"].items() if not streams and p not in coverage["waived"]]
    assert open_points == []
    assert {g: row[3] for g, row in coverage["groups"].items() if row[3]} == {}


def test_waivers_are_used_and_say_why(coverage):
    for pattern, why in WAIVERS.items():
        assert len(why) > 20, pattern
        assert any(re.fullmatch(pattern, p) for p in coverage["waived"]), f"nothing needs the waiver {pattern}"
    assert all(coverage["points"].get(p) != [] or p in coverage["waived"] for p in SHOWN_BY.values())


def test_points_name_streams_of_the_suite(coverage, entries):
    assert coverage["streams"] == list(entries)
    for point, streams in coverage["points"].items():
        assert all(entries[coverage["streams"][i]]["required"] for i in streams), point


def test_a_sample_of_the_traces_agrees(coverage, entries):
    jobs = [{
        "id": n, "file": str(SUITE / entries[n]["file"]),
        "references": [str(SUITE / r) for r in entries[n]["references"]]
    } for n in SAMPLE]
    run = subprocess.run([sys.executable, "-m", "conformance.recipes.watch"],
                         input="".join(json.dumps(j) + "\n" for j in jobs), text=True, stdout=subprocess.PIPE,
                         env=UNCOMPILED, cwd=ROOT, check=True, timeout=300)
    head, *lines = map(json.loads, run.stdout.splitlines())
    paths = {p for p in coverage["points"] if p.split(":")[0] in ("branch", "path")}
    assert set(head["all"]) == paths
    met = {line["id"]: set(line["points"]) for line in lines}
    for point, streams in coverage["points"].items():
        if point.split(":")[0] not in ("clause", "requirement"):
            assert all(point in met[n] for n in (coverage["streams"][i] for i in streams) if n in met), point


def test_random_streams_are_the_same_everywhere(tmp_path):
    command = [
        sys.executable, "-m", "conformance.recipes.random", "--seed", "100", "--count", "4", "--out",
        str(tmp_path)
    ]
    subprocess.run(command, env=UNCOMPILED, cwd=ROOT, check=True, timeout=300)
    whole = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(tmp_path.rglob("*.omc"))))
    assert whole.hexdigest() == DIGEST_OF_SEEDS
    from refcodec.checker.manifest import load_manifest

    manifest = load_manifest(tmp_path / "manifest.json")
    assert [s.id for s in manifest.streams] == ["r-100", "r-101", "r-102", "r-103"]


DIGEST_OF_SEEDS = "60ac4dfdd6673ee137ba0bd05e95bc6f4067b39368d018ff67b3e7553dfe0b79"
