"""How `make docs` builds the site: the Markdown files of the repository where they are, and the API from docstrings.

    sphinx-build -W -c docs/site . build/site          # in the root of the repository

The source folder is the repository, so that a link from one page to another is the same on the site and in the
repository. Nothing is fetched: the theme brings its own style, and no page loads anything from elsewhere."""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path

from docutils import nodes
from pygments.lexers import TextLexer
from sphinx import addnodes

ROOT = Path(__file__).resolve().parents[2]

project = "OMC: Open Model Coding"
author = "the contributors of OMC"
copyright = "the contributors of OMC; text CC-BY-4.0"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/site/contents"
include_patterns = ["README.md", "SPEC.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSES.md",
                    "docs/*.md", "docs/site/contents.md", "conformance/*.md", "conformance/decoder_c/*.md",
                    "tools/*.md", "tools/**/*.md"]
exclude_patterns = ["build", ".venv"]

smartquotes = False                                  # the text stays as it is written
myst_heading_anchors = 4                             # as GitHub makes them

html_theme = "furo"
html_title = project
html_extra_path = ["front"]                          # index.html, which leads to docs/index.html
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_use_type_comments = False


def docstring_as_it_is(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text, laid out to be read as they stand: so they are shown, below their first paragraph."""
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    first, rest = " ".join(lines[:end]), lines[end:]
    lines[:] = [re.sub(r"([\\*`_|])", r"\\\1", first.replace("``", "")), ""]
    if any(rest):
        lines += [".. code-block:: text", "", *("   " + line for line in rest), ""]


def folders_are_names(app, doctree: nodes.document) -> None:
    """A link to a folder of the repository, which has no page here, is shown as its name."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        if (ROOT / posixpath.dirname(node.get("refdoc", "")) / node.get("reftarget", "")).is_dir():
            node.replace_self(node.children)


def setup(app) -> dict:
    for name in ("syntax", "magic", "hex"):        # words after ``` that Pygments does not know
        app.add_lexer(name, TextLexer)
    app.connect("autodoc-process-docstring", docstring_as_it_is)
    app.connect("doctree-read", folders_are_names)
    return {"parallel_read_safe": True}
