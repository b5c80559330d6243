"""The site: `make docs` builds it without a warning, and every name of the public API is on it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers import ROOT

import refcodec

CONF = ROOT / "docs" / "site"


def test_every_public_name_is_on_the_page_of_the_api():
    text = (ROOT / "docs" / "api.md").read_text()
    assert set(re.findall(r"^\.\. auto\w+:: refcodec\.(\w+)$", text, re.MULTILINE)) == set(refcodec.__all__)


def test_every_page_of_docs_is_in_the_contents():
    listed = re.findall(r"^(?:.*<)?/docs/([\w-]+)>?$", (CONF / "contents.md").read_text(), re.MULTILINE)
    assert set(listed) == {page.stem for page in (ROOT / "docs").glob("*.md")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="the site is built with the extra docs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees", "-c",
                           CONF, ROOT, folder / "site"], capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.long
class TestSite:
    @pytest.mark.parametrize("page", ["index", "README", "SPEC", "docs/index", "docs/api", "conformance/README"])
    def test_it_has_the_page(self, site, page):
        assert (site / f"{page}.html").is_file()

    def test_nothing_is_loaded_from_elsewhere(self, site):
        loaded = r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"'
        assert [found for page in site.rglob("*.html") for found in re.findall(loaded, page.read_text())] == []

    def test_docstrings_are_shown(self, site):
        assert "10 log10(variance / mean squared" in (site / "docs" / "api.html").read_text()
