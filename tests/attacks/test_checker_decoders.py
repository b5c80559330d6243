"""A decoder under check that means harm: it gets a verdict, nothing of it lives on, and nothing of it is left."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.suites import copied_suite

from refcodec.checker import check, load_manifest
from refcodec.checker.adapter import decode_to
from refcodec.checker.verdicts import Verdict

PROGRAM = f"{sys.executable} -S {Path(__file__).with_name('hostile_decoder.py')}"
BAD = {Verdict.CRASH, Verdict.FAIL}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A suite of the smoke stream and another, and what the decoders start from."""
    folder = tmp_path_factory.mktemp("suite")
    data = json.loads(copied_suite(folder, []).read_text())
    smoke = data["streams"][0]
    stream = (folder / smoke["file"]).read_bytes() + b"x"
    other = {**smoke, "id": "other", "file": "streams/other.omc", "size": len(stream),
             "sha256": hashlib.sha256(stream).hexdigest()}
    manifest = folder / "manifest.json"
    (folder / "streams" / "other.omc").write_bytes(stream)
    manifest.write_text(json.dumps({**data, "streams": [smoke, other]}))
    decode_to(str(folder / smoke["file"]), str(folder / "truth" / "dump"))
    return load_manifest(manifest)


SECONDS = {"crowd": 120}        # what a decoder may take, where its sixty thousand files are what takes time


@pytest.fixture
def verdict_on(suite, monkeypatch, tmp_path):
    """verdict_on(way, persistent): the result of the stream that is not answered rightly, and the report."""
    def verdict_on(way: str, persistent: bool = False, choice: int = 0):
        monkeypatch.setenv("OMC_TRUTH", str(suite.path.parent / "truth"))
        monkeypatch.setenv("OMC_CHOICE", str(choice))
        monkeypatch.setenv("OMC_SMOKE", str(suite["smoke"].size))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        report = check(f"{PROGRAM} {shlex.quote(way)}", suite, only=["other"], persistent=persistent,
                       timeout=SECONDS.get(way, 10))
        (result,) = report.results
        assert report.smoke.passed, report.smoke.detail
        for text in (report.text(), report.json(), report.junit()):
            text.encode("utf-8")
        json.loads(report.json())
        ElementTree.fromstring(report.junit())
        assert "\nPASS" not in report.text()
        assert not [line for line in report.text().splitlines() if line.startswith("PASS")]
        assert not list(tmp_path.glob("omc-check-*"))                 # nothing is left of its files
        assert not sleepers()                                         # nor of its processes
        return result, report
    return verdict_on


def sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if b"outlives the decoder" in text or b"hostile_decoder.py" in text and int(path.parent.name) != os.getpid():
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("way", ["daemon", "runaway", "many", "forger"])
def test_processes_that_live_on(way, verdict_on):
    result, report = verdict_on(way)
    assert result.verdict == Verdict.CRASH
    assert "left a process behind" in result.detail
    result, report = verdict_on(way, True)
    assert report.exit_code
    assert "left" in " ".join([result.detail, *report.strays])


@pytest.mark.parametrize("persistent", [False, True])
def test_who_kills_the_process_that_watches(persistent, verdict_on):
    result, _ = verdict_on("assassin", persistent)
    assert result.verdict == Verdict.CRASH
    assert "watches it" in result.detail


@pytest.mark.parametrize("way, words", [
    ("abyss", "in each other"), ("crowd", "more than 50000 files"), ("shut", ""), ("odd_names", "links into it"),
    ("endless_index", "links into it"), ("waiting_index", "links into it"), ("deep_index", "contract's form"),
    ("long_numbers", "not of the contract's form"), ("deep_name", "not of the contract's form"),
    ("endless_words", "links into it"), ("half_text", "model_digest")])
@pytest.mark.parametrize("persistent", [False, True])
def test_outputs(way, words, persistent, verdict_on):
    result, _ = verdict_on(way, persistent)
    assert result.verdict in BAD or way == "shut" and os.geteuid() == 0
    assert words in result.detail


@pytest.mark.parametrize("way, count", [("name", 3), ("dtype", 3), ("shape", 6), ("file", 6), ("sha256", 2)])
def test_types_of_an_index(way, count, verdict_on):
    for choice in range(count):
        result, _ = verdict_on(way, choice=choice)
        assert result.verdict in BAD


@pytest.mark.parametrize("reply", [
    {"exit": 10}, {"exit": 10, "code": 5}, {"exit": 10, "code": ["ORDER"]}, {"exit": 11, "feature": {}},
    {"exit": 10, "code": "ORDER", "unit": [[[]]], "message": {"a": []}}, {"exit": 10, "code": "ORDER\nPASS smoke"},
    {"exit": 10, "code": "\ud800", "message": "\x1b]0;title\x07"}, {"exit": 10, "code": "ORDER", "bit": float("nan")}])
@pytest.mark.parametrize("persistent", [False, True])
def test_records(reply, persistent, verdict_on):
    result, _ = verdict_on(json.dumps(reply), persistent)
    assert result.verdict in (Verdict.CRASH, Verdict.WRONG_REJECT)
