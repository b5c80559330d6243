"""The C decoder of conformance/, written from SPEC.md alone: the whole suite, and streams that others made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers import DATA, ROOT

from refcodec.checker import Verdict, check, load_manifest
from refcodec.checker.dump import read_dump

SOURCES = ROOT / "conformance" / "decoder_c"
pytestmark = pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")) or not shutil.which("make"),
                                reason="there is no C compiler here")


MANIFEST = ROOT / "conformance" / "manifest.json"


def built(folder, target: str) -> str:
    """A program of the Makefile, built from a copy of its sources."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("omc_*"))
    compiler = "gcc" if shutil.which("gcc") else "cc"
    subprocess.run(["make", "-s", "-C", str(folder), f"CC={compiler}", target], check=True, timeout=300)
    return str(folder / target)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> str:
    return built(tmp_path_factory.mktemp("c") / "decoder_c", "omc_decode")


def failures(command: str, **options) -> list[str]:
    """Verdicts that are no PASS."""
    report = check(command, load_manifest(MANIFEST), jobs=os.cpu_count() or 1, **options)
    assert report.results
    return [f"{r.stream.id}: {r.verdict.name}: {r.detail}" for r in report.results if r.verdict != Verdict.PASS]


def test_suite(decoder):
    assert len(load_manifest(MANIFEST).streams) >= 500
    assert not failures(decoder, persistent=True)


def test_one_process_for_each_stream(decoder):
    assert not failures(decoder,
                        only=["smoke", "models", "external", "x-r8_2-1-missing", "x-r7_1-2-header", "x-r9_8-1-more"])


def test_text(tmp_path):
    """Payloads, values and digests that SPEC.md gives."""
    program = built(tmp_path / "decoder_c", "omc_check")
    assert subprocess.run([program], capture_output=True, text=True, timeout=60).stdout == "0 failures\n"


@pytest.mark.parametrize("arguments, code", [([], 2), (["decode", "a"], 2), (["decode", "a", "b", "--what", "c"], 2),
                                             (["--max-work", "x", "serve"], 2), (["decode", "no such file", "out"], 1)])
def test_trouble_is_no_verdict(decoder, arguments, code, tmp_path):
    done = subprocess.run([decoder, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == code
    assert not done.stdout
    assert done.stderr


def test_a_chosen_model(decoder, tmp_path):
    stream = ROOT / "conformance" / "streams" / "models.omc"
    subprocess.run([decoder, "decode", str(stream), str(tmp_path), "--model", "0"], check=True, timeout=60)
    assert [t.name for t in read_dump(tmp_path).tensors] == ["w", "v"]


@pytest.mark.soak
def test_suite_under_sanitizers(tmp_path):
    assert not failures(built(tmp_path / "decoder_c", "omc_decode_sanitize"), memory=0)


@pytest.mark.long
@pytest.mark.parametrize("machine", ["aarch64", "s390x", "powerpc"])
def test_suite_on_other_machines(machine, tmp_path):
    """Emulated: bytes in the other order (s390x), that and 32 bits (powerpc)."""
    if not shutil.which(f"{machine}-linux-gnu-gcc") or not shutil.which(f"qemu-{machine.replace('powerpc', 'ppc')}"):
        pytest.skip(f"there is no cross compiler or no emulator for {machine} here")
    folder = tmp_path / "decoder_c"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("omc_*"))
    command = ["make", "-s", "-C", str(folder), f"cross-{machine}", f"CHECK={sys.executable} -m refcodec check --quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout
    assert re.search(rf"\b{len(load_manifest(MANIFEST).streams)} PASS", done.stdout)


@pytest.mark.parametrize("path", sorted((DATA / "independent").glob("*.omc")), ids=lambda p: p.stem)
def test_streams_of_another_implementer(decoder, path, tmp_path):
    """What the C decoder delivers is what the streams' digests say: exit 0 is given for nothing else."""
    done = subprocess.run([decoder, "decode", str(path), str(tmp_path / "out")], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert read_dump(tmp_path / "out")
