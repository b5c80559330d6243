"""What failures have in common: a decoder that is wrong in one thing, and that thing is named first."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable

import pytest
from helpers import ROOT

from refcodec.checker import Report, Result, Verdict, check, load_manifest
from refcodec.checker.adapter import decode_to
from refcodec.checker.manifest import Decoded, Rejected, Stream
from refcodec.checker.suspects import _log_chance, suspects

MANIFEST = load_manifest(ROOT / "conformance" / "manifest.json")
DECODED = [s for s in MANIFEST.streams if isinstance(s.expected, Decoded)]
FEATURES = sorted({f for s in DECODED for f in s.features if len(f.split()) != 4})
LIAR = f"{sys.executable} {ROOT / 'tests' / 'liars' / 'liar.py'}"


def having(feature: str) -> set[str]:
    """Ids of the streams to decode that have a feature."""
    return {s.id for s in DECODED if feature in s.features}


BFLOATS = len(having("element_type=bfloat16"))
OTHERS = len(DECODED) - BFLOATS


def accused(fails: Callable[[Stream], bool]):
    return suspects(MANIFEST, {s.id: bool(fails(s)) for s in MANIFEST.streams})


# One thing is wrong

@pytest.mark.parametrize("feature", [f for f in FEATURES if 2 < len(having(f)) < len(DECODED) - 2])
def test_the_guilty_feature_comes_first(feature):
    guilty = having(feature)
    first, *others = accused(lambda s: s.id in guilty)
    assert feature in (first.name, *first.same)
    assert all(having(f) == guilty for f in first.same if "kind=" not in f)
    assert (first.failing, first.streams, first.failing_others) == (len(guilty), len(guilty), 0)
    assert not others


@pytest.mark.parametrize("feature", ["element_type=bfloat16", "prediction_mode=SPATIAL", "quantiser=GRID"])
def test_a_feature_that_is_wrong_now_and_then_comes_first(feature):
    chosen = random.Random(3)
    first = accused(lambda s: isinstance(s.expected, Decoded) and feature in s.features and chosen.random() < 0.6)[0]
    assert feature == first.name
    assert 0 < first.failing < first.streams
    assert first.failing_others == 0


def test_a_rare_feature_beside_the_guilty_one_is_not_accused():
    """complex128 occurs in few streams, nearly all of them with bfloat16."""
    bfloat16, complex128 = having("element_type=bfloat16"), having("element_type=complex128")
    assert complex128 & bfloat16
    assert len(complex128) < len(bfloat16)
    assert [s.name for s in accused(lambda s: s.id in bfloat16)] == ["element_type=bfloat16"]


# Two things only together, or two things each

def in_one_tensor(s: Stream, *choices: str) -> bool:
    return any(set(choices) <= set(words) for words in map(str.split, s.features) if len(words) == 4)


def test_choices_that_are_wrong_in_one_tensor_come_first():
    first, *others = accused(lambda s: isinstance(s.expected, Decoded) and in_one_tensor(s, "INTER", "HUFFMAN"))
    assert "prediction_mode=INTER with entropy_mode=HUFFMAN" in (first.name, *first.same)
    assert first.failing == first.streams
    assert not others


def test_features_that_are_wrong_together_come_first():
    guilty = having("element_type=float16") & having("quantiser=UNIFORM")
    first, *others = accused(lambda s: s.id in guilty)
    assert set(first.features) == {"element_type=float16", "quantiser=UNIFORM"}
    assert first.failing == first.streams == len(guilty)
    assert not others


def test_the_second_guilty_feature_comes_second():
    guilty = having("prediction_mode=INTER") | having("element_type=bfloat16")
    found = accused(lambda s: s.id in guilty)
    assert [s.name for s in found] == ["prediction_mode=INTER", "element_type=bfloat16"]
    assert found[1].failing == len(having("element_type=bfloat16") - having("prediction_mode=INTER"))


# Streams to reject

def test_streams_to_reject_are_looked_at_apart():
    found = accused(lambda s: isinstance(s.expected, Rejected) and "DIGEST_MISMATCH" in s.expected.codes)
    assert [(s.name, s.rejected, s.failing_others) for s in found] == [("code=DIGEST_MISMATCH", True, 0)]


# No association

@pytest.mark.parametrize("failing", [set(), {"p-others"}, {s.id for s in MANIFEST.streams}])
def test_nothing_is_accused_without_reason(failing):
    assert accused(lambda s: s.id in failing) == []


def test_failures_at_random_accuse_nothing():
    """About CHANCE of such runs may accuse something, for each way of putting features together."""
    accusing = 0
    for seed in range(40):
        chosen = set(random.Random(seed).sample([s.id for s in MANIFEST.streams], 60))
        accusing += bool(accused(lambda s, chosen=chosen: s.id in chosen))
    assert accusing <= 6


def test_streams_that_were_not_run_do_not_count():
    guilty = having("element_type=bfloat16")
    some = [s for i, s in enumerate(MANIFEST.streams) if i % 2]
    (found,) = suspects(MANIFEST, {s.id: s.id in guilty for s in some})
    assert found.name == "element_type=bfloat16"
    assert found.failing == sum(s.id in guilty for s in some)


def test_the_test_is_fishers():
    def exactly(hits: int, count: int, failing: int, streams: int) -> float:
        return math.comb(failing, hits) * math.comb(streams - failing, count - hits) / math.comb(streams, count)

    for case in ((0, 3, 5, 20), (2, 3, 5, 20), (3, 3, 5, 20), (7, 10, 8, 12), (5, 40, 9, 323)):
        hits, count, failing, streams = case
        tail = sum(exactly(k, *case[1:]) for k in range(max(hits, count + failing - streams), min(count, failing) + 1))
        assert math.exp(_log_chance(*case)) == pytest.approx(tail)


# Reports, and a decoder that lies

@pytest.fixture(scope="module")
def report() -> Report:
    guilty = having("element_type=bfloat16")
    results = [Result(s, Verdict.FAIL if s.id in guilty else Verdict.PASS) for s in MANIFEST.streams]
    return Report("a decoder", MANIFEST, results, results[0])


def test_the_table_says_what_failures_have_in_common(report):
    assert (f"    element_type=bfloat16: {BFLOATS} of {BFLOATS} streams to decode fail, 0 of {OTHERS} without "
            "(chance: ") in report.text()


def test_json_says_what_failures_have_in_common(report):
    (found,) = json.loads(report.json())["suspects"]
    assert (found["name"], found["features"]) == ("element_type=bfloat16", ["element_type=bfloat16"])
    assert [found[k] for k in ("failing", "streams", "failing_others", "others")] == [BFLOATS, BFLOATS, 0, OTHERS]
    assert 0 < found["probability"] < 1e-30


def test_the_page_says_what_failures_have_in_common(report):
    pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
    from refcodec.checker.html_report import page

    text = page([report.data()], MANIFEST)
    assert '<a href="#streams?q=%5Belement_type%3Dbfloat16%5D">element_type=bfloat16</a>' in text
    assert f"{BFLOATS} of {BFLOATS} to decode" in text


def test_the_page_of_a_decoder_without_failures_accuses_nothing():
    pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
    from refcodec.checker.html_report import page

    results = [Result(s, Verdict.PASS) for s in MANIFEST.streams]
    assert 'id="suspects"' not in page([Report("good", MANIFEST, results, results[0]).data()], MANIFEST)


SOME = [s for i, s in enumerate(DECODED) if (i % 3 == 0 and not s.expected.earlier) or s.id == MANIFEST.smoke]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The right answers to some streams, for liars to start from."""
    folder = tmp_path_factory.mktemp("truth")
    for s in SOME:
        (folder / s.sha256 / "dump").mkdir(parents=True)
        reply = decode_to(str(s.file), str(folder / s.sha256 / "dump"), [str(r) for r in s.references])
        (folder / s.sha256 / "reply.json").write_text(json.dumps(reply))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMC_TRUTH", str(folder))
        yield folder


def first_suspects(lie: str) -> tuple[str, ...]:
    """The first suspect, and those of the same streams."""
    report = check(f"{LIAR} {lie}", MANIFEST, only=[s.id for s in SOME], jobs=2)
    assert report.failures(), report.text()
    first = report.suspects()[0]
    return first.name, *first.same


def test_a_decoder_that_is_wrong_in_one_type(truth):
    assert first_suspects("no_bfloat16")[0] == "element_type=bfloat16"


@pytest.mark.parametrize(("name", "fails"), [
    ("prediction_mode=SPATIAL", lambda s: "prediction_mode=SPATIAL" in s.features),
    ("representation=LOW_RANK with quantiser=UNIFORM", lambda s: in_one_tensor(s, "LOW_RANK", "UNIFORM")),
])
def test_a_decoder_that_is_wrong_in_one_mode_or_two_together(name, fails, truth):
    (truth / "chosen").write_text("\n".join(s.sha256 for s in SOME if fails(s)))
    assert name in first_suspects("chosen")
