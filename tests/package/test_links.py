"""Every link of the Markdown pages leads somewhere: to a file of the repository, and to a heading that is there."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from helpers import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

FOLDERS = ("docs", "conformance", "tools")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


@functools.cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def targets(page: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    inline = [child for token in tokens(page) if token.type == "inline" for child in token.children or ()]
    return [str(t.attrs[{"link_open": "href", "image": "src"}[t.type]]) for t in inline
            if t.type in ("link_open", "image")]


@functools.cache
def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub and the site make them; those that occur again get a number."""
    found: set[str] = set()
    parsed = tokens(page)
    for head, inline in zip(parsed, parsed[1:]):
        if head.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            name = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            again = (f"{name}-{n}" for n in range(1, 1000))
            found.add(name if name not in found else next(a for a in again if a not in found))
    return found


def fault(page: Path, target: str) -> str | None:
    """What is wrong with a link of a page; None if nothing is, or if it leads out of the repository."""
    if re.match(r"[a-z]+:", target):
        return None if re.fullmatch(r"(https://|mailto:)\S+", target) else "neither https nor mailto"
    name, _, anchor = target.partition("#")
    path = (page.parent / unquote(name)).resolve() if name else page
    if not path.is_relative_to(ROOT) or not path.exists():
        return "there is no such file"
    if anchor and (path.suffix != ".md" or anchor not in anchors(path)):
        return "there is no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    assert {t: fault(page, t) for t in targets(page) if fault(page, t)} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page):
    inline = [child for token in tokens(page) if token.type == "inline" for child in token.children or ()]
    named = [t.content for t in inline if t.type == "code_inline"
             and re.fullmatch(r"(conformance|docs|refcodec|tests|tools)/[\w/.-]+", t.content)]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_pages_are_found():
    assert {"README.md", "SPEC.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/index.md",
            "conformance/README.md", "tools/knowledge_center/README.md"} <= {str(p.relative_to(ROOT)) for p in PAGES}


@pytest.mark.parametrize("target", ["no-such-file.md", "SPEC.md#no-such-heading", "../outside.md", "http://example.org"])
def test_a_bad_link_is_noticed(target):
    assert fault(ROOT / "README.md", target)


@pytest.mark.parametrize("target", ["SPEC.md", "SPEC.md#51-models-and-streams", "#two-commands", "docs", "https://a.org/"])
def test_a_good_link_is_none(target):
    assert fault(ROOT / "README.md", target) is None


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 8192


def test_every_page_of_docs_is_reached_from_the_first():
    docs = ROOT / "docs"
    linked = {(docs / t.partition("#")[0]).resolve() for t in targets(docs / "index.md")}
    assert set(docs.glob("*.md")) - linked == {docs / "index.md"}


def test_every_tool_is_on_the_page_of_tools():
    page = (ROOT / "tools" / "README.md").read_text()
    tools = [*(ROOT / "tools").glob("*.py"), *(path.parent for path in (ROOT / "tools").glob("*/*.py"))]
    assert {t.name for t in tools if f"`{t.name}`" not in page and f"`{t.name}/`" not in page} == set()
