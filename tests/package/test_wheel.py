"""What pip installs: the wheel, made from the source archive, works in an empty folder, with the suite and the text."""

from __future__ import annotations

import email.message
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers import DATA, ROOT

from refcodec.checker import load_manifest
from refcodec.shipped import shipped

MANIFEST = ROOT / "conformance" / "manifest.json"
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".bench", "build", "dist", "models", "*.egg-info", "__pycache__",
                                  ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache")


def test_a_checkout_uses_the_suite_beside_the_package():
    assert shipped("conformance/manifest.json") == MANIFEST
    assert shipped("SPEC.md") == ROOT / "SPEC.md"


def run(*command: object, folder: Path, code: int = 0, **variables: str) -> str:
    """Runs a command without network and without the repository on its path; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True, timeout=1800,
                          env=environment | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that is built from the source archive of a copy of the repository."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "copy", ignore=LEFT_OUT)
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, folder, folder=folder / "copy")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source, folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of an environment with nothing but the wheel and, from this environment, what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", "venv", folder=folder)
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, folder=folder)
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    run(folder / "venv" / "bin" / "refcodec", "warm-up", folder=folder)      # no stream waits for the compiler
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("empty")


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as file:
        (name,) = [n for n in file.namelist() if n.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(file.read(name))


@pytest.mark.long
class TestWheel:
    def test_it_carries_the_readme(self, wheel):
        found = metadata(wheel)
        assert found["Description-Content-Type"] == "text/markdown"
        assert found.get_payload(decode=True).decode().strip() == (ROOT / "README.md").read_text().strip()

    def test_it_carries_the_licences(self, wheel):
        found = metadata(wheel)
        assert found["License-Expression"] == "Apache-2.0 AND CC-BY-4.0 AND CC0-1.0"
        with zipfile.ZipFile(wheel) as file:
            texts = {n.partition(".dist-info/licenses/")[2]: file.read(n) for n in file.namelist() if "/licenses/" in n}
        assert {n: (ROOT / n).read_bytes() for n in texts} == texts
        assert set(found.get_all("License-File")) == set(texts) == {
            "LICENSE", "LICENSES.md", "LICENSES/Apache-2.0.txt", "LICENSES/CC-BY-4.0.txt", "LICENSES/CC0-1.0.txt"}

    def test_it_is_small(self, wheel):
        assert wheel.stat().st_size < 2_500_000

    def test_it_is_what_runs(self, installed, empty):
        where = run(installed / "python", "-c", "import refcodec; print(refcodec.__file__)", folder=empty)
        assert Path(where.strip()).is_relative_to(installed.parent)

    def test_the_version_is_that_of_the_metadata(self, wheel):
        assert metadata(wheel)["Version"] == importlib.metadata.version("refcodec")

    def test_it_codes_a_file(self, installed, empty):
        run(installed / "refcodec", "encode", DATA / "digits_v1.onnx", "-o", "v1.omc", folder=empty)
        run(installed / "refcodec", "decode", "v1.omc", "-o", "back.onnx", folder=empty)
        assert (empty / "back.onnx").read_bytes() == (DATA / "digits_v1.onnx").read_bytes()

    def test_it_quotes_the_standard(self, installed, empty):
        broken = load_manifest(MANIFEST)["x-r7_10-1-more"]
        said = run(installed / "refcodec", "validate", broken.file, folder=empty, code=10)
        assert "R7.10-1" in said
        assert "tensor_data_count shall be that number" in said

    def test_it_passes_the_suite_that_comes_with_it(self, installed, empty):
        words = shlex.split(re.search(r"^\$ refcodec (check .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)[1])
        path = os.pathsep.join([str(installed), os.environ["PATH"]])
        run(installed / "refcodec", *words, "--persistent", "--json", "run.json", folder=empty, PATH=path)
        results = json.loads((empty / "run.json").read_text())["results"]
        assert {r["verdict"] for r in results} == {"PASS"}
        assert [r["id"] for r in results] == [s.id for s in load_manifest(MANIFEST).streams]

    def test_the_page_of_the_check_shows_the_text(self, installed, empty):
        run(installed / "refcodec", "check", "--decoder", f"{installed / 'refcodec'} conformance-decode", "--only",
            "smoke", "--html", "smoke.html", folder=empty)
        assert "correctly rounded operations" in (empty / "smoke.html").read_text()
