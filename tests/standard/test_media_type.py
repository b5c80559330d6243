"""Annex D: the lines for file(1) say of every stream what it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from helpers import ROOT

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.parser import parse

SPEC = (ROOT / "SPEC.md").read_text(encoding="utf-8")
MAGIC = re.search(r"^```magic\n(.*?)^```$", SPEC, re.MULTILINE | re.DOTALL)[1]


def streams():
    entries = json.loads((ROOT / "conformance" / "manifest.json").read_text())["streams"]
    found = {e["id"]: ROOT / "conformance" / e["file"] for e in entries if e["kind"] == "valid"}
    return [pytest.param(path, id=name) for name, path in list(found.items())[::40]]


def test_first_bytes():
    (offset, kind, value) = MAGIC.split()[:3]
    assert (offset, kind) == ("0", "ubelong")
    assert int(value, 0).to_bytes(4, "big") == bytes.fromhex(re.search(r"four bytes ([\dA-F ]+) in", SPEC)[1])


def test_type_and_ending_are_those_of_the_text():
    assert re.search(r"^!:mime +(\S+)$", MAGIC, re.MULTILINE)[1] == re.search(r"streams is `([\w/.]+)`", SPEC)[1]
    assert "." + re.search(r"^!:ext +(\w+)$", MAGIC, re.MULTILINE)[1] == re.search(r"the ending `(\.\w+)`", SPEC)[1]


@pytest.fixture(scope="module")
def magic(tmp_path_factory):
    path = tmp_path_factory.mktemp("magic") / "omc.magic"
    path.write_text(MAGIC)
    return path


@pytest.mark.skipif(shutil.which("file") is None, reason="file(1) is not installed: apt-get install file")
class TestFile:
    def said(self, magic, path, *options) -> str:
        return subprocess.run(["file", "-b", "-m", magic, *options, path], capture_output=True, text=True,
                              check=True).stdout.strip()

    @pytest.mark.parametrize("path", streams())
    def test_description(self, magic, path):
        header = parse(path.read_bytes()).header
        assert self.said(magic, path) == (
            f"OMC model stream, version {header.version_major}.{header.version_minor}, "
            f"profile {Profile(header.profile).name}, level {header.level}")

    def test_media_type(self, magic):
        path = ROOT / "conformance" / "streams" / "smoke.omc"
        assert self.said(magic, path, "--mime-type") == "application/vnd.omc"

    def test_ending(self, magic):
        assert self.said(magic, ROOT / "conformance" / "streams" / "smoke.omc", "--extension") == "omc"

    def test_another_file_is_none(self, magic):
        assert "OMC" not in self.said(magic, ROOT / "tests" / "data" / "digits_v1.onnx")
