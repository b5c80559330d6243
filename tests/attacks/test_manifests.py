"""Manifests of strangers: what is not of the schema is refused with a word, and no path leads out of the suite."""

from __future__ import annotations

import copy
import json
import os
import random
from pathlib import Path

import jsonschema
import pytest
from helpers.suites import SUITE, copied_suite

from refcodec.checker import load_manifest
from refcodec.checker.schema import Misfit, check_manifest
from refcodec.cli.main import main
from refcodec.errors import FormatError

STREAMS = ("p-others", "x-r7_7_1-10-spatial")
SCHEMA = json.loads((SUITE / "manifest.schema.json").read_text())
ODD = [None, True, False, 0, -1, 2**70, 1.5, -0.5, "", "x", "a\nb", "\ud800", "../x", "/dev/zero", "\0", [], {}, [[]],
       [None], {"": 0}, "R1-1", "0" * 64, "streams/x", ["a", "a"], "9" * 5000]


@pytest.fixture
def suite(tmp_path):
    copied_suite(tmp_path, STREAMS)
    return tmp_path


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def damaged(data: dict, draw: random.Random) -> dict:
    """One member of it is removed, exchanged or added."""
    data = copy.deepcopy(data)
    path = draw.choice(list(places(data))[1:])
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    match draw.randrange(4):
        case 0:
            del holder[path[-1]]
        case 1 if isinstance(holder, dict):
            holder["other"] = draw.choice(ODD)
        case _:
            holder[path[-1]] = draw.choice(ODD)
    return data


def test_damaged_manifests(suite):
    """A thousand, each refused or right; and the schema is read as jsonschema reads it."""
    data = json.loads((suite / "manifest.json").read_text())
    draw, validator, refused = random.Random(5), jsonschema.Draft202012Validator(SCHEMA), 0
    for _ in range(1000):
        bad = damaged(data, draw)
        (suite / "manifest.json").write_text(json.dumps(bad))
        try:
            check_manifest(bad)
            fits = True
        except Misfit as misfit:
            assert "\n" not in str(misfit)
            fits = False
        assert fits == validator.is_valid(bad)
        try:
            load_manifest(suite / "manifest.json")
        except FormatError as error:
            assert str(error)
            refused += 1
        else:
            assert fits
    assert refused > 600


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", '"x"', "[" * 200_000, '{"streams": ' * 5000, '{"streams": ' + "9" * 10_000 + "}", "\udcff",
    '{"streams": NaN}', '{"streams": 1e999}'])
def test_what_is_no_manifest(text, tmp_path, capsys):
    (tmp_path / "m.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["check", "--decoder", "true", "--manifest", str(tmp_path / "m.json")])
    assert "Traceback" not in capsys.readouterr().err


def change(suite: Path, **members) -> Path:
    path = suite / "manifest.json"
    data = json.loads(path.read_text())
    data["streams"][0] |= members
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("file", ["streams/../../secret", "/dev/zero", "streams//dev/zero", "streams/link",
                                  "streams/zero", "streams/fifo", "streams/folder", "streams/nul",
                                  "streams/a\nb", "streams/none"])
def test_paths_of_streams(file, suite):
    (suite.parent / "secret").write_text("secret")
    (suite / "streams" / "link").symlink_to(suite.parent / "secret")
    (suite / "streams" / "zero").symlink_to("/dev/zero")
    os.mkfifo(suite / "streams" / "fifo")
    (suite / "streams" / "folder").mkdir()
    with pytest.raises(FormatError):
        load_manifest(change(suite, file=file, size=6))


@pytest.mark.parametrize("name", ["references/../..", "references/link", "references/linked", "references/fifo",
                                  "references/deep", "references/none", "references/file"])
def test_paths_of_references(name, suite):
    (suite / "references").mkdir()
    for folder in ("linked", "fifo", "deep/er"):
        (suite / "references" / folder).mkdir(parents=True)
    (suite / "references" / "link").symlink_to("/etc")
    (suite / "references" / "linked" / "0000.bin").symlink_to("/etc/passwd")
    os.mkfifo(suite / "references" / "fifo" / "index.json")
    (suite / "references" / "file").write_text("")
    with pytest.raises(FormatError):
        load_manifest(change(suite, references=[name]))


@pytest.mark.parametrize("members", [{"size": 1 << 40}, {"limits": {"seconds": 1e300, "memory": 1}},
                                     {"limits": {"seconds": 1, "memory": 1 << 70}},
                                     {"references": [f"references/{n}" for n in range(65)]}])
def test_sizes_and_limits(members, suite):
    with pytest.raises(FormatError):
        load_manifest(change(suite, **members))


@pytest.mark.parametrize("kind", ["zero", "fifo", "folder", "large"])
def test_a_manifest_that_is_no_file(kind, tmp_path):
    path = tmp_path / "m.json"
    match kind:
        case "zero":
            path = Path("/dev/zero")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "large":
            with open(path, "wb") as f:
                os.truncate(f.fileno(), 1 << 40)
    with pytest.raises(FormatError):
        load_manifest(path)


@pytest.mark.parametrize("option", ["--known", "--with"])
@pytest.mark.parametrize("text", ["[", "[]", '{"results": 5}', '{"results": [5]}', '{"results": [{"id": []}]}',
                                  '{"a": 5}', "[" * 100_000])
def test_other_inputs(option, text, suite, capsys):
    (suite / "x.json").write_text(text)
    os.mkfifo(suite / "fifo")
    for path in (suite / "x.json", "/dev/zero", suite / "fifo"):
        assert main(["check", "--decoder", "true", "--manifest", str(suite / "manifest.json"), option, str(path)])
        assert "BAD_CONFIG" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--timeout", "nan"), ("--timeout", "-1"), ("--memory", "-5"),
                                     ("--memory", str(1 << 60))])
def test_limits_that_are_none(options, suite, capsys):
    assert main(["check", "--decoder", "true", "--manifest", str(suite / "manifest.json"), *options])
    assert "BAD_CONFIG" in capsys.readouterr().err


def test_no_report_takes_the_place_of_an_input(suite, capsys):
    path = str(suite / "manifest.json")
    before = Path(path).read_bytes()
    for option in ("--json", "--junit", "--badge", "--resume"):
        assert main(["check", "--decoder", "true", "--manifest", path, option, path])
        assert "its own input" in capsys.readouterr().err
    assert Path(path).read_bytes() == before
