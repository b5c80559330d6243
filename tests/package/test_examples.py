"""The commands of the README and of docs, run one after another in a folder of their own, print what the pages say."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from markdown_it import MarkdownIt

from refcodec.cli.main import parser

PAGES = ("README.md", "docs/command-line.md", "docs/systems.md", "docs/python.md", "docs/calibration.md")
ELSEWHERE = ("refcodec check --decoder",)          # test_wheel.py runs these
NUMBER = r"[\d,]*\.?\d+"


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks."""
    parsed = MarkdownIt("commonmark").parse((ROOT / page).read_text(encoding="utf-8"))
    return [(token.info, token.content) for token in parsed if token.type == "fence"]


def commands(page: str) -> list[tuple[str, list[str]]]:
    """The commands of a page in their order, each with the lines that it is to print. Python text is one, too."""
    found: list[tuple[str, list[str]]] = []
    for language, text in blocks(page):
        if language == "python":
            found.append(("python - <<'END' && echo done\n" + text + "END", ["...", "done"]))
            continue
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("cp "):
                found.append((line.partition("#")[0].strip(), []))
            elif found and not language and "$ " in text:
                found[-1][1].append(line)
    return [(command, expected) for command, expected in found if not command.startswith(ELSEWHERE)]


def same(line: str, expected: str) -> bool:
    """Equal words, and numbers that differ by at most 1 % (compressed bytes differ between builds of zlib), but for
    the seconds that a command took."""
    def cut(text: str) -> tuple[list[str], list[float]]:
        text = re.sub(r"\d+\.\d s$", "some s", text.rstrip())
        return re.split(NUMBER, text), [float(n.replace(",", "")) for n in re.findall(NUMBER, text)]
    (words, numbers), (expected_words, expected_numbers) = cut(line), cut(expected)
    return words == expected_words and all(
        math.isclose(a, b, rel_tol=0.01, abs_tol=2) for a, b in zip(numbers, expected_numbers))


def fits(lines: list[str], expected: list[str]) -> bool:
    """'...' stands for any lines, between others or at the end."""
    if not expected:
        return not lines
    if expected[0] == "...":
        return any(fits(lines[n:], expected[1:]) for n in range(len(lines) + 1))
    return bool(lines) and same(lines[0], expected[0]) and fits(lines[1:], expected[1:])


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, list[list[str]]]:
    """The lines that the commands of each page print, one after another in one folder: later pages use the files of
    earlier ones."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "tests").symlink_to(ROOT / "tests")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(command: str) -> list[str]:
        done = subprocess.run(["bash", "-c", command], cwd=folder, text=True, timeout=900, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={**os.environ, "PATH": path})
        return done.stdout.splitlines()

    run("refcodec warm-up")                         # so that no example tells that loops are compiled
    return {page: [run(command) for command, _ in commands(page)] for page in PAGES}


@pytest.mark.parametrize("line, expected, equal", [
    ("v1.omc: 128,217 bytes, ratio 1.214, 0.5 s", "v1.omc: 128,300 bytes, ratio 1.213, 12.1 s", True),
    ("v1.omc: 128,217 bytes", "v1.omc: 138,217 bytes", False), ("0 violations", "no violations", False)])
def test_lines_are_compared(line, expected, equal):
    assert same(line, expected) is equal


@pytest.mark.parametrize("lines, expected, fit", [
    (["a", "b", "c"], ["a", "..."], True), (["a", "b", "c"], ["...", "b", "..."], True),
    (["a"], [], False), (["a", "b"], ["a"], False), (["a"], ["...", "b"], False)])
def test_lines_may_be_left_out(lines, expected, fit):
    assert fits(lines, expected) is fit


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_examples(page):
    assert commands(page)


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_parsed(page):
    for command, _ in commands(page):
        for part in command.split(" && ") if command.startswith("refcodec ") else ():
            if part.startswith("refcodec "):
                parser().parse_args(shlex.split(part)[1:])


@pytest.mark.long
@pytest.mark.parametrize("page, number", [(page, n) for page in PAGES for n, _ in enumerate(commands(page))])
def test_example(printed, page, number):
    command, expected = commands(page)[number]
    lines = printed[page][number]
    assert fits(lines, expected), "\n".join([command, *lines])
