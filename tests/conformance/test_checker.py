"""The checker against the reference decoder, and against decoders that lie (tests/liars)."""

from __future__ import annotations

import functools
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from helpers import ROOT, all_types_model, same_tensors
from helpers.suites import copied_suite

from refcodec.checker import Verdict, check, load_manifest, runner, session, workspace
from refcodec.checker.adapter import decode_to
from refcodec.checker.dump import read_dump, tensor_results, write_dump
from refcodec.checker.manifest import Decoded
from refcodec.checker.progress import Progress
from refcodec.checker.report import NO_SMOKE, NOT_ALL_PASSED, Report
from refcodec.decoder import StreamDecoder
from refcodec.errors import ConfigError, FormatError

SUITE = ROOT / "conformance"
REFERENCE = f"{sys.executable} -m refcodec conformance-decode"
LIAR = f"{sys.executable} {ROOT / 'tests' / 'liars' / 'liar.py'}"
VALID, INVALID, DIGEST = "p-others", "x-r7_7_1-10-spatial", "x-r8_8-1-c0"
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
    from conformance.recipes import coverage

    entries = json.loads((SUITE / "manifest.json").read_text())["streams"]
    missing, codes = coverage.uncovered(entries)
    listed = (SUITE / "coverage.md").read_text().split("Open requirements: ")[1].split("\n")[0]
    assert missing == set(listed.split(", ")) - {"none"}
    assert codes <= {"BAD_PATH"}


@pytest.mark.long
def test_recipes_give_the_same_bytes(tmp_path):
    subprocess.run([sys.executable, "-m", "conformance.recipes", "--untraced", "--out",
                    str(tmp_path)], cwd=ROOT, check=True, timeout=300)
    for path in [p for name in ("streams", "references")
                 for p in (tmp_path / name).rglob("*") if p.is_file()] + [tmp_path / "manifest.json"]:
        assert path.read_bytes() == (SUITE / path.relative_to(tmp_path)).read_bytes(), path.name


# The reference decoder

def test_the_reference_decoder_passes_all_required_streams(manifest):
    report = check(REFERENCE, manifest, persistent=True, jobs=2, optional=False,
                   timeout=120)  # a cold cache compiles first
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
    for text in ("", "[]", '{"model_digest": "", "tensors": [{}]}',
                 '{"model_digest": "", "tensors": [{"name": "", "dtype": "float32", '
                 '"shape": [-1], "file": "0000.bin", "sha256": ""}]}'):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(FormatError):
            read_dump(tmp_path)


# Liars

LIES = {
    "accept_all": {INVALID: Verdict.WRONG_ACCEPT}, "reject_all": {VALID: Verdict.WRONG_REJECT},
    "one_bit": {VALID: Verdict.FAIL}, "first_only": {VALID: Verdict.FAIL}, "trusting": {DIGEST: Verdict.WRONG_ACCEPT},
    "wrong_code": {INVALID: Verdict.WRONG_REJECT}, "no_record": {INVALID: Verdict.CRASH},
    "exception": {INVALID: Verdict.CRASH}, "crash": {VALID: Verdict.CRASH,
                                                     INVALID: Verdict.CRASH}, "hang": {VALID: Verdict.TIMEOUT},
    "silent": {"smoke": Verdict.CRASH}, "elsewhere": {"smoke": Verdict.FAIL}, "outside": {"smoke": Verdict.CRASH},
    "rewrites": {"smoke": Verdict.FAIL}, "leftovers": {INVALID: Verdict.FAIL}, "memory": {VALID: Verdict.CRASH},
    "unsupported": {VALID: Verdict.UNSUPPORTED}, "survivor": {}, "disk": {VALID: Verdict.CRASH},
    "large_file": {VALID: Verdict.CRASH}, "loud": {VALID: Verdict.CRASH}, "talkative": {INVALID: Verdict.CRASH},
    "linked": {VALID: Verdict.FAIL}, "pipe": {VALID: Verdict.FAIL}, "swapped": {VALID: Verdict.FAIL},
    "sparse": {VALID: Verdict.CRASH}, "locked": {VALID: Verdict.CRASH}, "nested": {VALID: Verdict.CRASH},
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
def report_on(manifest, truth):
    """report_on(lie, persistent): what the checker reports on a liar; each is checked once."""
    @functools.cache
    def report_on(lie: str, persistent: bool) -> Report:
        with pytest.MonkeyPatch.context() as patch:
            for module in (runner, workspace):
                patch.setattr(module, "OUTPUT_BYTES_MAX", 1 << 24)      # so that filling a disk is quick
            return check(f"{LIAR} {lie}", manifest, only=STREAMS, persistent=persistent,
                         timeout=3 if lie == "hang" else 120)
    return report_on


def test_the_truth_passes(manifest, truth):
    report = check(f"{LIAR} honest", manifest, only=STREAMS, persistent=True)
    assert report.exit_code == 0, report.text()


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "served"])
@pytest.mark.parametrize("lie", LIES)
def test_liars_are_caught(lie, persistent, report_on):
    report = report_on(lie, persistent)
    found = {r.stream.id: r.verdict for r in [*report.results, report.smoke]}
    assert {stream: found[stream] for stream in LIES[lie]} == LIES[lie], report.text()
    assert report.exit_code == (NO_SMOKE if "smoke" in LIES[lie] else NOT_ALL_PASSED)


@pytest.mark.parametrize("lie", ["disk", "loud", "large_file"])
def test_floods_end_before_the_disk_is_full(lie, report_on):
    (failed,) = [r for r in report_on(lie, False).failures() if r.stream.id == VALID]
    # 1: its own limit of a file's size
    assert "wrote more than 16 MiB" in failed.detail or "exit code 1" in failed.detail


def test_a_difference_is_shown(report_on):
    (failed,) = [r for r in report_on("one_bit", False).failures() if r.stream.id == VALID]
    assert failed.detail.startswith("tensor 4 'copy': element 5 is 0x")
    assert "1 of 6 words" in failed.detail
    assert shlex.split(failed.command)[-3:] == ["decode", str(failed.stream.file), "OUTDIR"]


def test_nothing_runs_when_the_smoke_stream_fails(report_on):
    report = report_on("silent", False)
    assert {r.verdict for r in report.results} == {Verdict.NOT_RUN}
    assert "there is no index.json" in report.text()


def test_state_that_is_kept_from_stream_to_stream_is_no_pass(manifest, truth):
    report = check(f"{LIAR} stateful", manifest, only=STREAMS, persistent=True)
    assert [r.verdict for r in report.results] == [Verdict.PASS, Verdict.WRONG_REJECT, Verdict.WRONG_REJECT]
    assert all("state is kept" in r.note for r in report.failures())


def test_a_command_that_does_not_exist(manifest):
    report = check("/nonexistent/decoder --fast", manifest, only=[VALID])
    assert report.exit_code == NO_SMOKE
    assert report.smoke.verdict == Verdict.CRASH


def test_a_process_that_outlives_the_decoder_is_found_and_ended(report_on):
    once, served = report_on("survivor", False), report_on("survivor", True)
    assert {r.stream.id: r.verdict for r in once.results} == dict.fromkeys(STREAMS, Verdict.CRASH)
    assert all("left a process behind" in r.detail for r in once.results)
    assert served.strays == ["a served process left others behind"]
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"liar.py\0survivor" in _bytes(p)]


def _bytes(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


@pytest.mark.parametrize("name", ["manifest.json", "streams/smoke.omc"])
def test_a_decoder_that_changes_the_suite_is_caught(manifest, truth, tmp_path, monkeypatch, name):
    copied_suite(tmp_path, STREAMS)
    monkeypatch.setenv("OMC_VICTIM", str(tmp_path / name))
    report = check(f"{LIAR} meddler", load_manifest(tmp_path / "manifest.json"))
    assert report.exit_code == NOT_ALL_PASSED
    assert str(tmp_path / name) in report.strays


# Served, or once per stream

SERVERS = {
    "no_server": "exit code 1", "hanging_server": "no answer within 1 s", "dying_server": "signal 9",
    "greeting_server": 'no JSON object with "contract": 1', "chatting_server": "more than one line|no JSON object",
    "shouting_server": "no JSON object", "later_server": 'no JSON object with "contract": 1',
}


def test_a_decoder_that_answers_hello_is_served(manifest, truth):
    notices = []
    report = check(f"{LIAR} honest", manifest, only=STREAMS, notice=notices.append)
    assert report.exit_code == 0, report.text()
    assert report.persistent
    assert not report.not_served
    assert notices == ["3 streams, 1 at a time, each process serving many"]


@pytest.mark.parametrize("server", SERVERS)
def test_who_does_not_answer_hello_is_started_for_each_stream(server, manifest, truth, monkeypatch):
    if server == "hanging_server":
        monkeypatch.setattr(session, "HELLO_SECONDS", 1.0)
    notices = []
    report = check(f"{LIAR} {server}", manifest, only=STREAMS, notice=notices.append)
    assert report.exit_code == 0, report.text()
    assert not report.persistent
    assert not json.loads(report.json())["persistent"]
    assert re.search(SERVERS[server], report.not_served)
    assert report.not_served in notices[0]
    assert report.not_served in report.text()


@pytest.mark.parametrize("server", ["no_server", "later_server"])
def test_serving_may_be_insisted_on(server, manifest, truth):
    with pytest.raises(ConfigError, match="does not answer hello"):
        check(f"{LIAR} {server}", manifest, only=STREAMS, persistent=True)


@pytest.mark.parametrize(("persistent", "times"), [(None, 1), (True, 1), (False, 0)])
def test_hello_is_said_once_but_not_to_who_shall_not_serve(persistent, times, manifest, truth, monkeypatch):
    asked, hello = [], session.Session.hello
    monkeypatch.setattr(session.Session, "hello", lambda self: asked.append(self.root.name) or hello(self))
    report = check(f"{LIAR} honest", manifest, only=[VALID], persistent=persistent, jobs=2)
    assert report.exit_code == 0, report.text()
    assert report.persistent == bool(times) == bool(report.hello)
    assert asked == ["smoke"] * times


def test_a_session_serves_if_it_can(manifest, truth):
    for lie, runner_type in (("stateful", runner.Persistent), ("no_server", runner.OneShot)):
        with session.Session(f"{LIAR} {lie}") as decoder:
            results = [decoder.run(manifest[name]) for name in STREAMS]
            assert isinstance(decoder._runner, runner_type)
        assert [r.passed for r in results] == [True, lie == "no_server", lie == "no_server"]


@pytest.mark.parametrize(("options", "code", "words"), [
    ((), 0, "3 streams, 1 at a time, each process serving many"), (("--no-serve",), 0, "a process for each"),
    (("--persistent",), 0, "each process serving many"), (("--quiet",), 0, ""),
])
def test_options_of_serving(truth, options, code, words):
    run = run_check("--decoder", f"{LIAR} honest", *options)
    assert run.returncode == code, run.stderr
    assert words in run.stderr if words else not run.stderr


# Progress

def test_progress_is_a_line_from_time_to_time_where_there_is_no_terminal():
    file = io.StringIO()
    with Progress(10, "stream", file=file, seconds=0.2) as progress:
        progress.add(True, skipped=True)
        for passed in (True, False, True):
            progress.add(passed)
        time.sleep(0.5)
        assert re.fullmatch(r"0:0\d  4 of 10 streams, 1 not PASS, \d+\.\d a second, about 0:0\d left", progress.line())
    lines = file.getvalue().splitlines()
    assert 1 <= len(lines) <= 4
    assert all("4 of 10 streams, 1 not PASS" in line for line in lines)


def test_progress_knows_no_time_left_before_anything_is_done():
    progress = Progress(10, "stream", file=io.StringIO())
    progress.add(True, skipped=True)
    assert progress.line().endswith("time left unknown")


def test_progress_is_a_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Terminal()
    with Progress(4, "stream", file=file) as progress:
        progress.note("a note")
        for passed in (True, False, True):
            progress.add(passed)
        progress._bar.refresh()
    assert "3/4" in file.getvalue()
    assert "1 not PASS" in file.getvalue()
    assert "a note\n" in file.getvalue()


def test_quiet_progress_says_nothing():
    file = io.StringIO()
    with Progress(2, "run", quiet=True, file=file, seconds=0.01) as progress:
        progress.note("a note")
        progress.add(True)
        time.sleep(0.1)
    assert file.getvalue() == ""


# Streams of several models

@pytest.fixture(scope="module")
def models_suite(tmp_path_factory):
    """A suite whose stream 'models' expects each of its models."""
    def expect(entry: dict) -> None:
        if entry["id"] == "models":
            with StreamDecoder(SUITE / entry["file"]) as decoder:
                *earlier, last = [decoder.model(n) for n in range(len(decoder.parsed.models))]
            entry["expected"] = {**expected(last), "earlier": [expected(m) for m in earlier]}

    def expected(model) -> dict:
        return {
            "model_digest": model.digest().hex(),
            "tensors": [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape), "sha256": digest}
                        for t, _, digest in tensor_results(model)]
        }

    return load_manifest(copied_suite(tmp_path_factory.mktemp("models"), ["models"], expect))


@pytest.mark.parametrize("persistent", [False, True])
def test_every_model_of_a_stream_is_compared(models_suite, manifest, persistent, tmp_path, monkeypatch):
    assert len(models_suite["models"].expected.earlier) == 3
    report = check(REFERENCE, models_suite, persistent=persistent)
    assert report.exit_code == 0, report.text()
    for stream in models_suite.streams:
        (tmp_path / stream.sha256 / "dump").mkdir(parents=True)
        reply = decode_to(str(stream.file), str(tmp_path / stream.sha256 / "dump"))
        (tmp_path / stream.sha256 / "reply.json").write_text(json.dumps(reply))
    monkeypatch.setenv("OMC_TRUTH", str(tmp_path))
    (failed,) = check(f"{LIAR} last_model_only", models_suite, persistent=persistent).failures()
    assert failed.verdict == Verdict.FAIL
    assert failed.detail.startswith("model 0: ")
    assert "--model 0" in failed.command


def test_a_command_may_name_files_of_the_present_folder(manifest, truth, tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests" / "liars" / "liar.py", tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    report = check(f"{sys.executable} mine.py honest", manifest, only=[VALID])
    assert report.exit_code == 0, report.text()
    assert list(report.files) == [sys.executable, "mine.py"], report.text()


# Known failures, going on after an interruption, use from pytest

def test_known_failures(manifest, truth):
    known = {INVALID: "issue 7: spatial prediction"}
    report = check(f"{LIAR} no_record", manifest, only=[VALID, INVALID], known=known)
    assert report.exit_code == 0
    assert not report.conformant
    assert "1 known failures" in report.text()
    assert "issue 7" in report.text()
    assert not json.loads(report.json())["passed"]
    assert 'skipped="1"' in report.junit()
    report = check(f"{LIAR} no_record", manifest, only=[VALID, INVALID], known={**known, VALID: "issue 8"})
    assert report.exit_code == NOT_ALL_PASSED
    assert "known to fail: p-others" in report.text()
    assert 'failures="1"' in report.junit()
    with pytest.raises(KeyError):
        check(f"{LIAR} honest", manifest, known={"no-such-stream": "x"})


def run_check(*options: str) -> subprocess.CompletedProcess:
    return subprocess.run([
        sys.executable, "-m", "refcodec", "check", "--jobs", "1", "--only", VALID, "--only", INVALID,
        "--only", DIGEST, *options
    ], cwd=ROOT, capture_output=True, text=True, timeout=100)


def test_a_check_goes_on_where_it_was_interrupted(truth, tmp_path):
    state, report = tmp_path / "state.json", tmp_path / "report.json"
    first = run_check("--decoder", f"{LIAR} no_record", "--resume", str(state))
    assert first.returncode == NOT_ALL_PASSED
    assert json.loads(state.read_text())["passed"] == [VALID]
    again = run_check("--decoder", f"{LIAR} no_record", "--resume", str(state), "--json", str(report))
    assert "1 passed in an earlier run" in again.stdout
    assert {r["id"] for r in json.loads(report.read_text())["results"] if r["resumed"]} == {VALID}
    other = run_check("--decoder", f"{LIAR} honest", "--resume", str(state))            # another command: begun anew
    assert other.returncode == 0, other.stderr
    assert "earlier run" not in other.stdout, other.stderr
    state.write_text('{"passed": 3}')                                                   # damaged: begun anew
    assert run_check("--decoder", f"{LIAR} honest", "--resume", str(state)).returncode == 0


def test_reports_of_the_command(truth, tmp_path):
    pytest.importorskip("markdown_it", reason="the extra 'report' is not installed")
    known = tmp_path / "known.json"
    known.write_text(json.dumps({INVALID: "later", DIGEST: "later"}))
    one = run_check("--decoder", f"{LIAR} honest", "--json", str(tmp_path / "honest.json"))
    two = run_check("--decoder", f"{LIAR} no_record", "--known", str(known), "--html", str(tmp_path / "page.html"),
                    "--with", str(tmp_path / "honest.json"), "--badge", str(tmp_path / "badge.svg"), "--junit",
                    str(tmp_path / "junit.xml"))
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    text = (tmp_path / "page.html").read_text()
    assert text.count('class="failure known"') == 2
    assert "honest" in text
    assert "1 of 3 PASS" in (tmp_path / "badge.svg").read_text()
    for bad in ('{"no-such-stream": "x"}', f'{{"{VALID}": ""}}', "[]", "{"):
        known.write_text(bad)
        refused = run_check("--decoder", f"{LIAR} honest", "--known", str(known))
        assert refused.returncode not in (0, 20, 21)
        assert "CRASH" not in refused.stdout


def test_pytest_parameters(truth, tmp_path):
    """A test file of a decoder's own, as CONTRACT.md shows it."""
    example = (SUITE / "CONTRACT.md").read_text().split("```python\n")[1].split("```")[0]
    example = example.replace("my-decoder", f"{LIAR} no_record").replace("conformance/manifest.json",
                                                                         str(SUITE / "manifest.json"))
    example = example.replace("known={}", f"known={{{INVALID!r}: 'later', {VALID!r}: 'later'}}, only={STREAMS!r}")
    (tmp_path / "test_mine.py").write_text(example)
    run = subprocess.run([sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider",
                          str(tmp_path)], capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert "2 failed, 1 xfailed" in run.stdout, run.stdout          # VALID passes though known, DIGEST fails
    assert f"test_stream[{DIGEST}]" in run.stdout
    assert "without a record" in run.stdout


# Reports

@pytest.mark.parametrize("persistent", [False, True], ids=["once", "served"])
@pytest.mark.parametrize("lie", LIES)
def test_reports_as_json_can_be_read_again(lie, persistent, report_on):
    report = report_on(lie, persistent)
    data = json.loads(report.json())
    assert [r["id"] for r in data["results"]] == [r.stream.id for r in report.results]
    assert not data["passed"]
    assert report.failures() or report.strays


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "served"])
@pytest.mark.parametrize("lie", LIES)
def test_reports_as_junit_can_be_read_again(lie, persistent, report_on):
    report = report_on(lie, persistent)
    suite = ElementTree.fromstring(report.junit())
    assert int(suite.get("failures")) + int(suite.get("skipped")) == len(report.failures())
    assert len(suite.findall("testcase")) == len(report.results)


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "served"])
@pytest.mark.parametrize("name", ["decoder", "manifest_sha256", "suite_version", "spec_version", "checker_version",
                                  "python", "platform", "started"])
def test_reports_say_what_was_checked_by_what(name, persistent, report_on):
    report = report_on("one_bit", persistent)
    properties = ElementTree.fromstring(report.junit()).iter("property")
    said = next(p.get("value") for p in properties if p.get("name") == name)
    assert said == str(json.loads(report.json())[name]) != ""


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
