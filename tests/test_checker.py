"""The checker against the reference decoder, and against decoders that lie (tests/liars)."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import jsonschema
import pytest
from conftest import ROOT, all_types_model, same_tensors

from refcodec.checker import Verdict, check, load_manifest
from refcodec.checker.adapter import decode_to
from refcodec.checker.dump import read_dump, write_dump
from refcodec.checker.manifest import Decoded
from refcodec.checker.report import NO_SMOKE, NOT_ALL_PASSED
from refcodec.errors import FormatError

SUITE = ROOT / "conformance"
REFERENCE = f"{sys.executable} -m refcodec.checker.commands conformance-decode"
LIAR = f"{sys.executable} {ROOT / 'tests' / 'liars' / 'liar.py'}"
VALID, INVALID, DIGEST = "p-others", "x-r7_7_1-10-spatial", "x-r8_8-1-joined1"
STREAMS = (VALID, INVALID, DIGEST)


@pytest.fixture(scope="module")
def manifest():
    return load_manifest(SUITE / "manifest.json")


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


# The suite

def test_the_manifest_keeps_its_schema():
    schema = json.loads((SUITE / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((SUITE / "manifest.json").read_text()), schema)


def test_the_manifest_lists_all_files_of_the_suite(manifest):
    assert {s.file.name for s in manifest.streams} == {p.name for p in (SUITE / "streams").iterdir()}
    assert sum(s.size for s in manifest.streams if s.required) < 4 << 20
    assert all(isinstance(s.expected, Decoded) != (s.kind == "invalid") for s in manifest.streams)


def test_every_requirement_that_a_stream_can_break_is_covered_or_listed(manifest):
    sys.path.insert(0, str(ROOT))
    from conformance.recipes import coverage

    entries = json.loads((SUITE / "manifest.json").read_text())["streams"]
    missing, codes = coverage.uncovered(entries)
    listed = (SUITE / "coverage.md").read_text().split("Open requirements: ")[1].split("\n")[0]
    assert missing == set(listed.split(", ")) - {"none"} and codes <= {"BAD_PATH"}


def test_recipes_give_the_same_bytes(tmp_path):
    subprocess.run([sys.executable, "-m", "conformance.recipes", "--out", str(tmp_path)], cwd=ROOT, check=True, timeout=300)
    for path in [p for name in ("streams", "references") for p in (tmp_path / name).rglob("*") if p.is_file()] + [tmp_path / "manifest.json"]:
        assert path.read_bytes() == (SUITE / path.relative_to(tmp_path)).read_bytes(), path.name


# The reference decoder

def test_the_reference_decoder_passes_all_required_streams(manifest):
    report = check(REFERENCE, manifest, persistent=True, jobs=2, optional=False)
    assert report.exit_code == 0, report.text()
    assert report.counts() == {"PASS": sum(s.required for s in manifest.streams)}


def test_the_adapter_that_others_start_from_passes(manifest):
    command = f"{sys.executable} {SUITE / 'adapters' / 'adapter.py'}"
    ids = [VALID, INVALID, DIGEST, "external", "models", "types-raw", "x-r8_2-1-missing"]
    for persistent, only in ((False, ids[-2:]), (True, ids)):
        report = check(command, manifest, only=only, persistent=persistent, jobs=2)
        assert report.exit_code == 0, report.text()


def test_dumps(tmp_path):
    model = all_types_model()
    write_dump(model, tmp_path)
    assert same_tensors(read_dump(tmp_path), model)
    file = tmp_path / json.loads((tmp_path / "index.json").read_text())["tensors"][3]["file"]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FormatError):
        read_dump(tmp_path)
    for text in ("", "[]", '{"model_digest": "", "tensors": [{}]}', '{"model_digest": "", "tensors": [{"name": "", "dtype": "float32", '
                 '"shape": [-1], "file": "0000.bin", "sha256": ""}]}'):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(FormatError):
            read_dump(tmp_path)


# Liars

LIES = {
    "accept_all": {INVALID: Verdict.WRONG_ACCEPT}, "reject_all": {VALID: Verdict.WRONG_REJECT}, "one_bit": {VALID: Verdict.FAIL},
    "first_only": {VALID: Verdict.FAIL}, "trusting": {DIGEST: Verdict.WRONG_ACCEPT}, "wrong_code": {INVALID: Verdict.WRONG_REJECT},
    "no_record": {INVALID: Verdict.CRASH}, "exception": {INVALID: Verdict.CRASH}, "crash": {VALID: Verdict.CRASH, INVALID: Verdict.CRASH},
    "hang": {VALID: Verdict.TIMEOUT}, "silent": {"smoke": Verdict.CRASH}, "elsewhere": {"smoke": Verdict.FAIL},
    "outside": {"smoke": Verdict.CRASH}, "rewrites": {"smoke": Verdict.FAIL}, "leftovers": {INVALID: Verdict.FAIL},
    "memory": {VALID: Verdict.CRASH}, "unsupported": {VALID: Verdict.UNSUPPORTED},
}


@pytest.fixture(scope="module")
def truth(manifest, tmp_path_factory):
    """The right answers that liars start from."""
    folder = tmp_path_factory.mktemp("truth")
    for name in (*STREAMS, "smoke"):
        stream = manifest[name]
        (folder / stream.sha256 / "dump").mkdir(parents=True)
        reply = decode_to(str(stream.file), str(folder / stream.sha256 / "dump"), [str(r) for r in stream.references])
        (folder / stream.sha256 / "reply.json").write_text(json.dumps(reply))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMC_TRUTH", str(folder))
        yield folder


@pytest.fixture(scope="module")
def reports(manifest, truth):
    """A report for each liar, once per stream and persistent."""
    def run(case):
        lie, persistent = case
        return check(f"{LIAR} {lie}", manifest, only=STREAMS, persistent=persistent, timeout=3)

    cases = [(lie, persistent) for lie in LIES for persistent in (False, True)]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(run, cases)))


def test_the_truth_passes(manifest, truth):
    report = check(f"{LIAR} honest", manifest, only=STREAMS, persistent=True)
    assert report.exit_code == 0, report.text()


@pytest.mark.parametrize("lie", LIES)
def test_liars_are_caught(lie, reports):
    for (name, persistent), report in reports.items():
        if name != lie:
            continue
        found = {r.stream.id: r for r in [*report.results, report.smoke]}
        for stream, verdict in LIES[lie].items():
            assert found[stream].verdict == verdict, (persistent, report.text())
        assert report.exit_code == (NO_SMOKE if "smoke" in LIES[lie] else NOT_ALL_PASSED)


def test_a_difference_is_shown(reports):
    (failed,) = [r for r in reports["one_bit", False].failures() if r.stream.id == VALID]
    assert failed.detail.startswith("tensor 4 'copy': element 5 is 0x") and "1 of 6 words" in failed.detail
    assert shlex.split(failed.command)[-3:] == ["decode", str(failed.stream.file), "OUTDIR"]


def test_nothing_runs_when_the_smoke_stream_fails(reports):
    report = reports["silent", False]
    assert {r.verdict for r in report.results} == {Verdict.NOT_RUN} and "there is no index.json" in report.text()


def test_state_that_is_kept_from_stream_to_stream_is_no_pass(manifest, truth):
    report = check(f"{LIAR} stateful", manifest, only=STREAMS, persistent=True)
    assert [r.verdict for r in report.results] == [Verdict.PASS, Verdict.WRONG_REJECT, Verdict.WRONG_REJECT]
    assert all("state is kept" in r.note for r in report.failures())


def test_a_command_that_does_not_exist(manifest):
    report = check("/nonexistent/decoder --fast", manifest, only=[VALID])
    assert report.exit_code == NO_SMOKE and report.smoke.verdict == Verdict.CRASH


# Reports

def test_reports_can_be_read_again(reports):
    for report in reports.values():
        data = json.loads(report.json())
        assert [r["id"] for r in data["results"]] == [r.stream.id for r in report.results] and not data["passed"]
        suite = ElementTree.fromstring(report.junit())
        assert int(suite.get("failures")) + int(suite.get("skipped")) == len(report.failures()) > 0
        assert len(suite) == len(report.results)


def test_damaged_suites_are_refused(manifest, tmp_path):
    data = json.loads((SUITE / "manifest.json").read_text())
    (tmp_path / "streams").mkdir()
    smoke = next(e for e in data["streams"] if e["id"] == "smoke")
    path = tmp_path / "manifest.json"
    for change in ({"sha256": "0" * 64}, {"kind": "odd"}, {"file": "streams/none"}, {"id": "other"}):
        (tmp_path / "streams" / "smoke.omc").write_bytes(manifest["smoke"].file.read_bytes())
        path.write_text(json.dumps({**data, "streams": [{**smoke, **change}]}))
        with pytest.raises(FormatError):
            load_manifest(path)
