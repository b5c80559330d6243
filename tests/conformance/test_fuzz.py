"""A bounded run of tools/fuzz, the corpus of what it met, and the list of mutants (`make fuzz`: the long run)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import DATA, ROOT

from refcodec import decode
from refcodec.errors import OmcError
from tools.fuzz import c_harness, campaigns, damage, python_targets
from tools.fuzz.campaigns import Seeds
from tools.fuzz.python_targets import Fault, Outcome, Tally
from tools.mutants import all_mutants

CORPUS = DATA / "fuzz_corpus"
needs_compiler = pytest.mark.skipif(c_harness.compiler() is None, reason="there is no C compiler here")


@pytest.fixture(scope="module")
def seeds() -> Seeds:
    return campaigns.seeds(stride=4)


@pytest.fixture(scope="module")
def harness(tmp_path_factory) -> Path:
    return c_harness.build(tmp_path_factory.mktemp("harness"))


def no_faults(tally: Tally, inputs: int) -> None:
    assert not tally.faults, "\n".join(f"{text}\n{data.hex()}" for text, data in tally.faults[:5])
    assert tally.inputs == inputs


# Runs

def test_decoder(seeds):
    tally = campaigns.fuzz_decoder(seeds, 2000, 11)
    no_faults(tally, 2000)
    assert tally.answers["accepted"] > 100
    assert len(tally.answers) > 12       # the damage reaches everything


def test_info_and_trace(seeds):
    no_faults(campaigns.fuzz_files("info", campaigns.stream_files(seeds, 12), python_targets.describe, 250), 250)


def test_validator(seeds):
    no_faults(campaigns.fuzz_files("validate", campaigns.stream_files(seeds, 13), python_targets.validator(), 200), 200)


def test_model_files():
    tally = campaigns.fuzz_files("files", campaigns.model_files(14), python_targets.read_model, 1000)
    no_faults(tally, 1000)
    assert tally.answers["accepted"] > 50


@needs_compiler
def test_c_decoder(seeds, harness, tmp_path):
    streams = [campaigns.MANIFEST.parent / "streams" / f"{s.name}.omc" for s in seeds.all]
    run = c_harness.run(harness, 4000, 15, streams, seeds.folders, tmp_path / "last")
    assert not run.fault, f"{run.fault}\n{run.last.read_bytes().hex()}"
    assert run.counts["inputs"] == 4000
    assert run.counts["sealed"] > 3000
    assert run.counts["decoded"] > 25


@needs_compiler
def test_both_decoders_agree(seeds, harness):
    server = c_harness.Server(harness, seeds.folders)
    try:
        no_faults(campaigns.fuzz_differential(seeds, server, 500, 16), 500)
    finally:
        server.close()


@needs_compiler
def test_payloads_of_bins(harness):
    """Right ones are decoded to what was drawn, damaged ones to the same or to an error by both decoders."""
    server = c_harness.Server(harness, [])
    try:
        tally = campaigns.fuzz_bins(server, 400, 18)
    finally:
        server.close()
    no_faults(tally, 400)
    assert tally.answers["accepted"] > 80
    assert tally.answers["ENTROPY_END"] > 80
    assert tally.answers["OUT_OF_RANGE"] > 80


@needs_compiler
@pytest.mark.long
def test_more_payloads_of_bins_with_bounds_checked(tmp_path):
    """Every index of the compiled loops is tested: one out of range would be a crash."""
    command = [sys.executable, "-m", "tools.fuzz", "--only", "bins", "--count", "4000", "--seed", "19", "--json",
               "--out", str(tmp_path / "faults")]
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "REFCODEC_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)[0]["inputs"] == 4000


# What was found, and what is worth keeping

def corpus() -> list[dict]:
    return json.loads((CORPUS / "index.json").read_text())


def test_corpus(seeds):
    """Inputs that lead to all messages of the decoder, and those that once had a wrong answer: accepted or rejected."""
    files = [CORPUS / e["file"] for e in corpus()]
    assert {p.name for p in CORPUS.iterdir()} == {"index.json", *(p.name for p in files)}
    assert len(files) > 10
    assert campaigns.corpus_outcomes(files, seeds.references) == {e["file"]: e["answer"] for e in corpus()}


@needs_compiler
def test_corpus_in_c(seeds, harness):
    server = c_harness.Server(harness, seeds.folders)
    try:
        for e in corpus():
            answer = server.ask((CORPUS / e["file"]).read_bytes())
            assert ("digest" in answer) == (e["answer"] == "accepted"), (e, answer)
    finally:
        server.close()


# The oracle and the damage themselves

def test_the_oracle_sees_faults():
    tally = Tally("")

    def raises(error):
        raise error

    def hangs():
        while True:
            pass

    with python_targets.limits():
        for run in (lambda: raises(ValueError("a crash")), lambda: raises(Fault("x")), lambda: raises(MemoryError()),
                    lambda: bytearray(4 * python_targets.ADDRESS_SPACE)):
            assert python_targets.timed(tally, b"", run) is None
        seconds, python_targets.SECONDS = python_targets.SECONDS, 0.2
        try:
            assert python_targets.timed(tally, b"", hangs) is None
        finally:
            python_targets.SECONDS = seconds
    assert len(tally.faults) == 5
    assert "over-allocation" in tally.faults[3][0]
    assert "no answer" in tally.faults[4][0]
    for error in (OmcError("NO_SUCH_CODE", ""), OmcError("RESOURCE_LIMIT", "there is not enough memory for this unit")):
        with pytest.raises(Fault):
            python_targets.check_error(error)


def test_decoders_that_do_not_agree_are_seen():
    digest = bytes(32)
    campaigns.agree(Outcome("ORDER"), {"code": "TRUNCATED"}, b"")
    campaigns.agree(Outcome(digest=digest), {"digest": digest.hex()}, b"")
    campaigns.agree(Outcome("RESOURCE_LIMIT"), {"digest": digest.hex()}, b"")
    for python, c in ((Outcome("ORDER"), {"digest": digest.hex()}), (Outcome(digest=digest), {"code": "ORDER"}),
                      (Outcome(digest=digest), {"digest": "1" * 64}), (Outcome("ORDER"), {"fault": "a report"})):
        with pytest.raises(Fault):
            campaigns.agree(python, c, b"")


def test_digests_are_made_anew(seeds):
    """A changed payload is accepted after that, and only then."""
    parent = next(s for s in seeds.all if s.digest and len(decode(s.data, seeds.references).tensors) == 1)
    rng, found = random.Random(17), 0
    for _ in range(200):
        data = damage.of_units(parent.data, parent.data, rng)
        if python_targets.decode(data, seeds.references).code == "DIGEST_MISMATCH":
            again = damage.with_new_digests(data, seeds.references)
            found += again is not None and bool(python_targets.decode(again, seeds.references).digest)
    assert found > 0


def test_units_are_cut_and_glued(seeds):
    for s in seeds.valid:
        if s.name == "extensions":       # the check of a unit that decoders skip is wrong there
            continue
        assert damage.glue(damage.cut(s.data)) == s.data


def test_shorter_inputs_that_still_fail():
    assert campaigns.minimised(b"x" * 100 + b"fault" + b"y" * 100, lambda d: b"fault" in d) == b"fault"


# Mutants

def test_mutants_apply():
    """tools/mutation_study.py: each text occurs once, and what takes its place is Python."""
    mutants, wrong = all_mutants(), []
    for m in mutants:
        try:
            compile(m.applied((ROOT / "refcodec" / m.file).read_text(encoding="utf-8")), m.file, "exec")
        except (ValueError, SyntaxError) as error:
            wrong.append(f"{m.file}: {error}")
    assert not wrong, "\n".join(wrong)
    assert len(mutants) >= 300
    assert len({m.key for m in mutants}) == len(mutants)
