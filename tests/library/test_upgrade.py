"""Streams of version 0.1, kept from its codec, become streams of this version: in Python and on the command line."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from dataclasses import replace

import pytest
from helpers import DATA, ROOT
from helpers.damage import CODES

import refcodec
from refcodec import OmcError, StreamDecoder, decode, encode, load, upgrade
from refcodec.bitstream.limits import LEVELS
from refcodec.bitstream.structures import UnitCoding, UnitType
from refcodec.bitstream.units import leb, seal
from refcodec.checker.dump import read_dump
from refcodec.cli.exit_codes import REJECTED, UNSUPPORTED
from refcodec.upgrading import OldDecoder, OldParser
from refcodec.validator import validate

OLD = DATA / "version_0_1"
ENTRIES = json.loads((OLD / "index.json").read_text())
NAMES = [e["file"].removesuffix(".omc") for e in ENTRIES]


def references(entry: dict) -> list[refcodec.Model]:
    known = {"v1": lambda: load(DATA / "digits_v1.onnx"),
             "old": lambda: read_dump(ROOT / "conformance" / "references" / "old")}
    return [known[name]() for name in entry["references"]]


def words_of(model: refcodec.Model) -> str:
    return hashlib.sha256(b"".join(t.words.tobytes() for t in model.tensors)).hexdigest()


def payloads(parsed) -> list[tuple[bytes, ...]]:
    return [tuple(parsed.source.read(at, coded + bypass) for at, coded, bypass in unit.places)
            for model in parsed.models for unit in model.tensor_units]


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_values_and_payloads_stay(entry):
    """Every model has the words that the codec of 0.1 decoded; nothing but digests and what follows them is other."""
    old, at_hand = (OLD / entry["file"]).read_bytes(), references(entry)
    new = upgrade(old, at_hand, threads=2)
    with StreamDecoder(new, at_hand) as decoder, OldDecoder(old, at_hand, threads=1,
                                                            make_parser=OldParser) as before:
        assert [words_of(decoder.model(k)) for k in range(len(decoder.parsed.models))] == entry["models"]
        assert payloads(decoder.parsed) == payloads(before.parsed)
        assert [u.type for u in decoder.parsed.units] == [u.type for u in before.parsed.units]
        for a, b in zip(decoder.parsed.models, before.parsed.models):
            assert (a.topology, a.layers, a.metadata) == (b.topology, b.layers, b.metadata)
    assert [f.message for f in validate(new, at_hand).findings if f.code] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_the_decoder_says_what_to_do(entry):
    with pytest.raises(OmcError, match="refcodec 0.1 decodes it, and 'refcodec upgrade' makes a stream") as error:
        decode((OLD / entry["file"]).read_bytes())
    assert error.value.code == "UNSUPPORTED_VERSION"


@pytest.mark.parametrize("minor, said", [(2, "nothing to upgrade"), (3, "codec of that version")])
def test_other_versions_are_refused(minor, said):
    stream = bytearray(encode({"w": [1.5, 2.5]}))
    stream[7] = minor
    stream[4:14] = seal(bytes(stream[4:6]), bytes(stream[6:10]))
    with pytest.raises(OmcError, match=said) as error:
        upgrade(bytes(stream))
    assert error.value.code == "UNSUPPORTED_VERSION"


def test_units_with_the_old_header_as_dictionary_are_coded_anew():
    """The header of an update names another digest, and is the preset dictionary of units that follow it."""
    (entry,) = (e for e in ENTRIES if e["file"] == "update.omc")
    new, at_hand = upgrade(OLD / "update.omc", references(entry)), references(entry)
    with StreamDecoder(new, at_hand) as decoder:
        assert UnitCoding.DEFLATE_HEADER in {u.coding for u in decoder.parsed.units}
        assert decoder.model().source == load(DATA / "digits_v2.onnx").source


def test_a_reference_is_asked_for_by_its_old_digest():
    (entry,) = (e for e in ENTRIES if e["file"] == "update.omc")
    old = (OLD / "update.omc").read_bytes()
    for given in ([], [load(DATA / "digits_v2.onnx")]):
        with pytest.raises(OmcError) as error:
            upgrade(old, given)
        assert error.value.code == "MISSING_REFERENCE"
    (reference,) = references(entry)
    with StreamDecoder(upgrade(old, [reference]), [reference]) as decoder:
        assert bytes(decoder.parsed.models[0].header.reference[0].reference_digest) == reference.digest()


def cut(stream: bytes) -> list[tuple[int, bytes, bytes]]:
    """(first byte, expanded_size, coded body) of each unit, whatever the version."""
    units, at = [], 4
    while at < len(stream):
        first, at = stream[at], at + 1
        sizes = []
        for _ in range(1 + bool(first & 3)):
            value = shift = 0
            while True:
                value, shift, at = value | (stream[at] & 127) << shift, shift + 7, at + 1
                if stream[at - 1] < 128:
                    break
            sizes.append(value)
        units.append((first, b"".join(map(leb, sizes[1:])), stream[at : at + sizes[0]]))
        at += sizes[0] + 4
    return units


def glue(units) -> bytes:
    return stream_of([seal(bytes([first]) + leb(len(body)) + more, body) for first, more, body in units])


def stream_of(units) -> bytes:
    return b"\x8fOMC" + b"".join(units)


def outcome(data: bytes, entry: dict) -> str:
    """The code of the error, or '' where a stream came that decodes to the words that were coded."""
    at_hand = references(entry)
    try:
        new = upgrade(data, at_hand, max_memory=1 << 28)
    except OmcError as error:
        assert error.code in CODES
        return error.code
    with StreamDecoder(new, at_hand) as decoder:
        for k in range(len(decoder.parsed.models)):
            decoder.model(k)                                       # what upgrade gives is valid
    return ""


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_damaged_streams_give_listed_errors(entry):
    old = (OLD / entry["file"]).read_bytes()
    assert glue(cut(old)) == old or entry["file"] == "extensions.omc"
    rng = random.Random(zlib.crc32(old))
    found = {outcome(old[: rng.randrange(len(old))], entry) for _ in range(5)}
    assert found <= {"TRUNCATED", "MISSING_UNIT", "BAD_MAGIC"}
    for _ in range(25):
        units = cut(old)
        k = rng.randrange(len(units))
        first, more, body = units[k]
        changed = bytearray(body)
        for _ in range(rng.choice((1, 1, 3))):
            if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        units[k] = (first, more, bytes(changed))
        found.add(outcome(glue(units), entry))
    assert len(found) > 1


@pytest.mark.parametrize("name, kind", [("index", UnitType.TENSOR_DATA), ("joined", UnitType.TENSOR_DATA),
                                        ("index", UnitType.MODEL_END)])
def test_digests_of_the_old_stream_are_verified(name, kind):
    """A wrong tensor_digest, also of a joined unit; a wrong model_digest."""
    (entry,) = (e for e in ENTRIES if e["file"] == f"{name}.omc")
    units = cut((OLD / f"{name}.omc").read_bytes())
    k = next(i for i, unit in enumerate(units) if unit[0] >> 2 == kind)
    first, more, body = units[k]
    units[k] = (first, more, body[:5] + bytes([body[5] ^ 1]) + body[6:])
    assert outcome(glue(units), entry) == "DIGEST_MISMATCH"


def test_on_the_command_line(tmp_path, command):
    out = tmp_path / "new.omc"
    line = command("upgrade", str(OLD / "versions.omc"), "-o", str(out)).out
    size = (OLD / "versions.omc").stat().st_size
    assert line.startswith(f"{out}: {out.stat().st_size:,} bytes ({size:,} before), digests of 0.1 verified")
    assert out.read_bytes() == upgrade(OLD / "versions.omc")
    found = json.loads(command("upgrade", str(OLD / "layers.omc"), "-o", str(out), "--json").out)
    assert found["output_bytes"] == out.stat().st_size and found["output"] == str(out)
    update, v1 = str(OLD / "update.omc"), str(DATA / "digits_v1.onnx")
    command("upgrade", update, "-o", str(out), "--reference", v1)
    assert words_of(decode(out, v1)) in next(e["models"] for e in ENTRIES if e["file"] == "update.omc")


def test_refusals_of_the_command_line_leave_nothing(tmp_path, command):
    out, damaged = tmp_path / "new.omc", tmp_path / "damaged.omc"
    said = command("upgrade", str(OLD / "update.omc"), "-o", str(out), code=UNSUPPORTED).err
    assert "MISSING_REFERENCE" in said and "--reference FILE" in said
    damaged.write_bytes((OLD / "index.omc").read_bytes()[:-30])
    assert "TRUNCATED" in command("upgrade", str(damaged), "-o", str(out), code=REJECTED).err
    assert "its own input" in command("upgrade", str(damaged), "-o", str(damaged), code=13).err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged.omc"]


def test_a_level_that_allows_the_cost(monkeypatch):
    """0.1 bounds the cost of a stream nowhere: what is beyond its level by now is declared in a higher one."""
    old = (DATA / "version_0_1" / "joined.omc").read_bytes()
    with StreamDecoder(upgrade(old)) as decoder:
        assert decoder.parsed.header.level == 1
        cost, digest = decoder.parsed.cost, decoder.model().digest()
    for limit, expected in ((cost.work() + 64, 1), (cost.work() - 1, 2)):
        monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], work=limit))
        with StreamDecoder(upgrade(old)) as decoder:
            assert decoder.parsed.header.level == expected
            assert decoder.model().digest() == digest
