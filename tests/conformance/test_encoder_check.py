"""The check of encoders: the reference encoder passes, encoders that lie are caught (tests/liars/encoder_liar.py)."""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
import pytest

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.checker.dump import write_dump
from refcodec.checker.encoder_check import check_encoder
from refcodec.checker.verdicts import Verdict
from refcodec.cli.main import main
from refcodec.errors import FormatError
from refcodec.formats import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIAR = f"{sys.executable} {ROOT / 'tests' / 'liars' / 'encoder_liar.py'}"
OWN = f"{sys.executable} -m refcodec conformance-encode"

# lie: (verdict of the run that may be lossy, of the lossless one, words of the detail)
LIES = {
    "honest": (Verdict.PASS, Verdict.PASS, ""),
    "other_declaration": (Verdict.FAIL, Verdict.FAIL, "declared was"),
    "invalid_stream": (Verdict.FAIL, Verdict.FAIL, "R8.8-5"),
    "tensor_less": (Verdict.FAIL, Verdict.FAIL, "that were given"),
    "lossy_always": (Verdict.PASS, Verdict.FAIL, "given was"),
    "no_dump": (Verdict.CRASH, Verdict.CRASH, "index.json"),
    "no_stream": (Verdict.CRASH, Verdict.CRASH, "no stream.omc"),
    "needs_reference": (Verdict.FAIL, Verdict.FAIL, "R8.2-1"),
    "fails": (Verdict.CRASH, Verdict.CRASH, "exit code 1"),
    "crashes": (Verdict.CRASH, Verdict.CRASH, "signal 11"),
    "writes_elsewhere": (Verdict.FAIL, Verdict.FAIL, "log.txt"),
    "changes_the_model": (Verdict.FAIL, Verdict.FAIL, "model.npz"),
    "refuses": (Verdict.UNSUPPORTED, Verdict.UNSUPPORTED, "lossless coding"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    """A model file; OMC_TRUTH names the answers that liars start from."""
    root = tmp_path_factory.mktemp("encoders")
    rng = np.random.default_rng(5)
    path = root / "model.npz"
    np.savez(path, a=rng.normal(size=(30, 40)).astype(np.float32), b=rng.normal(size=(30, 40)).astype(np.float32))
    given = load(str(path))
    reference = Model([Tensor(t.name, t.array + np.float32(1e-6)) for t in given.tensors])
    answers = {
        "lossy": encode(given, Config(snr=20.0)), "lossless": encode(given), "less": encode(Model(given.tensors[:1])),
        "update": encode(given, references=[reference])
    }
    for name, stream in answers.items():
        (root / name).mkdir()
        (root / name / "stream.omc").write_bytes(stream)
        write_dump(decode(stream, [reference]), root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMC_TRUTH", str(root))
        yield path


@pytest.mark.parametrize("lie", LIES)
def test_liars_are_caught(lie, model):
    report = check_encoder(f"{LIAR} {lie}", [model])
    lossy, lossless = report.results
    assert (lossy.verdict, lossless.verdict) == LIES[lie][:2], report.text()
    assert LIES[lie][2] in lossless.detail
    assert report.exit_code == (0 if lie == "honest" else 20)


def test_a_run_that_hangs(model):
    report = check_encoder(f"{LIAR} hangs", [model], timeout=0.7)
    assert [r.verdict for r in report.results] == [Verdict.TIMEOUT] * 2


def test_the_reference_encoder_passes(model, capsys):
    assert main(["check", "--encoder", OWN, "--models", str(model), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(r["lossless"], r["verdict"]) for r in told["results"]] == [(False, "PASS"), (True, "PASS")]
    assert told["results"][0]["size"] < told["results"][1]["size"]


def test_no_encoder_and_no_model(model, tmp_path):
    report = check_encoder(str(tmp_path / "none"), [model])
    assert {r.verdict for r in report.results} == {Verdict.CRASH}
    assert "cannot be started" in report.results[0].detail
    with pytest.raises(FormatError):
        check_encoder(LIAR, [tmp_path / "none.npz"])
