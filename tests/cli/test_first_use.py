"""Loops are compiled at their first use: the user is told, once, and may have them compiled beforehand."""

from __future__ import annotations

import json
import logging
import re

import pytest
from helpers import FIRST_USE, ROOT, run_cli, run_python

from refcodec.cli.first_use import FirstUse, told

FIXED = ROOT / "conformance" / "streams" / "c-none-direct-fixedpoint.omc"
LOG = logging.getLogger("refcodec.compiler")


def compiles(*names: str) -> None:
    """The log of loops that need each other: the first is begun first and done last."""
    for name in names:
        LOG.info("compiling", extra={"loop": name, "done": False})
    for name in reversed(names):
        LOG.info("compiled", extra={"loop": name, "done": True})


def test_the_first_use_is_told_and_the_second_is_not(tmp_path):
    first, second = (run_cli("validate", FIXED, REFCODEC_CACHE=str(tmp_path)) for _ in range(2))
    assert first.stderr.startswith(FIRST_USE)
    assert first.stderr.count("\n") == 1
    assert str(tmp_path) in first.stderr
    assert "refcodec warm-up" in first.stderr
    assert second.stderr == ""
    assert second.stdout == first.stdout


def test_one_line_tells_of_many_loops(capsys):
    with told() as handler:
        compiles("a")
        compiles("b", "c")
    assert handler.compiled == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_the_notice_of_an_inner_block_takes_the_place_of_the_outer_one(capsys):
    with told(FirstUse("outer")) as outer:
        with told(FirstUse("inner")) as inner:
            compiles("a")
        compiles("b")
    assert capsys.readouterr().err == "inner\nouter\n"
    assert (outer.compiled, inner.compiled) == (1, 1)


def test_nothing_is_told_after_the_block(capsys):
    with told():
        pass
    compiles("a")
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_which_loop_is_compiled(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with told():
        compiles("outer", "inner")
    shown = capsys.readouterr().err
    assert re.findall(r"compiling (\w+), (\d) ready", shown) == [("outer", "0"), ("inner", "0"), ("outer", "1")]


def test_the_time_of_the_compiler_is_counted_once():
    before = FirstUse.seconds
    with told() as handler:
        compiles("outer", "inner")
    assert 0 < FirstUse.seconds - before < 60
    assert handler.under_way == []


def test_warm_up_compiles_all_that_streams_need():
    """Prints what the streams of all tools need besides."""
    code = "\n".join([
        "from refcodec.cli import warm_up", "from refcodec.compiler import ENTRY_POINTS",
        "from helpers import network_model, system_cases, tool_streams", "from refcodec import Config, decode, encode",
        "def forms(): return {(loop.py_func.__name__, str(form)) for loop in ENTRY_POINTS for form in loop.signatures}",
        "for trial in warm_up._trials(): warm_up._code(*trial)", "ready = forms()",
        "for stream, references in tool_streams().values(): decode(stream, references)",
        "for models, config, known in system_cases().values(): decode(encode(models, config, known), known)",
        "for name in ('cc', 'cm'): encode(network_model(), Config(preset='s1-rp', entropy=name))",
        "print(len(ready), sorted(forms() - ready))"])
    count, found = run_python("-c", code).stdout.split(maxsplit=1)
    assert int(count) > 30
    assert found == "[]\n"


def test_warm_up_prints_what_it_did(command):
    assert "all loops are ready" in command("warm-up").out
    result = json.loads(command("warm-up", "--json").out)
    assert result["compiled"] == 0
    assert result["folder"]


def test_without_a_compiler_there_is_nothing_to_warm_up():
    assert "nothing to compile" in run_cli("warm-up", REFCODEC_COMPILE="0").stdout


@pytest.mark.parametrize("variable", ["REFCODEC_CACHE", "XDG_CACHE_HOME"])
def test_the_folder_of_loops_can_be_named(tmp_path, variable):
    other = {"REFCODEC_CACHE": "", "XDG_CACHE_HOME": ""} | {variable: str(tmp_path)}
    found = run_python("-c", "from refcodec.compiler import CACHE_FOLDER; print(CACHE_FOLDER)", **other).stdout
    assert found.startswith(str(tmp_path))
