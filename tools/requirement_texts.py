"""The requirements of SPEC.md as data of the package: refcodec/validator/requirements.json.

    python tools/requirement_texts.py

A test tells when the file has to be made anew.
"""

from __future__ import annotations

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "refcodec" / "validator" / "requirements.json"
HEADING = re.compile(r"#+ (?:Annex )?([\dA-F][\d.]*) (.*)")
REQUIREMENT = re.compile(r" *(- )?\[(R[\d.]+-\d+)\] (.*)")


def requirements(spec: str) -> dict[str, dict[str, str]]:
    """id: clause, its title, and text of each requirement, in the order of SPEC.md."""
    found, clause, title = {}, "", ""
    lines = [*spec.splitlines(), ""]
    for i, line in enumerate(lines):
        if heading := HEADING.match(line):
            clause, title = heading.groups()
        if start := REQUIREMENT.match(line):
            text, item = [start[3]], start[1]          # the lines of a list's item are indented
            while item and re.match(r" +(?!- )\S", lines[i + len(text)]):
                text.append(lines[i + len(text)].strip())
            found[start[2]] = {"clause": clause, "title": title, "text": " ".join(text).replace("**", "")}
    return found


def text_of(spec: str) -> str:
    """The content of requirements.json."""
    return json.dumps(requirements(spec), indent=0) + "\n"


if __name__ == "__main__":
    HOME.write_text(text_of((ROOT / "SPEC.md").read_text(encoding="utf-8")), encoding="utf-8")
