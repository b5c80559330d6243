"""The C decoder of conformance/, written from SPEC.md alone: the whole suite, and streams that others made."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from conftest import DATA, ROOT

from refcodec.checker import Verdict, check, load_manifest
from refcodec.checker.dump import read_dump

SOURCES = ROOT / "conformance" / "decoder_c"
pytestmark = pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")) or not shutil.which("make"),
                                reason="there is no C compiler here")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> str:
    """The decoder, built from a copy of its sources."""
    folder = tmp_path_factory.mktemp("c") / "decoder_c"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("omc_*"))
    compiler = "gcc" if shutil.which("gcc") else "cc"
    subprocess.run(["make", "-s", "-C", str(folder), f"CC={compiler}"], check=True, timeout=300)
    return str(folder / "omc_decode")


def test_suite(decoder):
    report = check(decoder, load_manifest(ROOT / "conformance" / "manifest.json"), jobs=os.cpu_count() or 1)
    wrong = [f"{r.stream.id}: {r.verdict.name}: {r.detail}" for r in report.results if r.verdict != Verdict.PASS]
    assert not wrong and len(report.results) >= 500


@pytest.mark.parametrize("path", sorted((DATA / "independent").glob("*.omc")), ids=lambda p: p.stem)
def test_streams_of_another_implementer(decoder, path, tmp_path):
    """What the C decoder delivers is what the streams' digests say: exit 0 is given for nothing else."""
    done = subprocess.run([decoder, "decode", str(path), str(tmp_path / "out")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert read_dump(tmp_path / "out")
