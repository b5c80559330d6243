"""Streams in another entropy mode: over the whole suite, every tool of the encoder, and the command line."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pytest
from helpers import DATA, ROOT, network_model, weights

import refcodec
from refcodec import Config, ConfigError, Model, OmcError, StreamDecoder, Tensor, encode
from refcodec.bitstream.structures import EntropyMode
from refcodec.checker.dump import read_dump
from refcodec.checker.manifest import load_manifest
from refcodec.transcoding import JOINED, SEGMENTS, TRELLIS, UNABLE, Transcoded, transcode_to
from refcodec.validator import validate

SUITE = load_manifest(ROOT / "conformance" / "manifest.json").streams
KEPT = ("tensor_index", "prediction_mode", "reference_index", "reference_tensor_delta", "spatial_predictor",
        "representation", "column_scan_flag")


def transcoded(stream, mode: EntropyMode, references=()) -> tuple[bytes, Transcoded]:
    sink = io.BytesIO()
    result = transcode_to(sink, stream, mode, references)
    assert result.in_mode + sum(result.kept.values()) == result.components
    assert result.bytes_after == len(sink.getvalue())
    return sink.getvalue(), result


def modes_of(stream, references=()) -> list[EntropyMode]:
    with StreamDecoder(stream, references) as decoder:
        return [EntropyMode(c.entropy_mode) for model in decoder.parsed.models for unit in model.tensor_units
                for d in unit.descriptors for c in d.component if c.coded_flag]


def assert_same(before, after, references) -> None:
    """Every model decodes to the same one, and nothing but entropy modes and payloads is different."""
    with StreamDecoder(before, references) as old, StreamDecoder(after, references) as new:
        assert len(old.parsed.models) == len(new.parsed.models)
        for number, (a, b) in enumerate(zip(old.parsed.models, new.parsed.models)):
            first, second = old.model(number), new.model(number)
            assert first.digest() == second.digest()
            assert first.metadata == second.metadata
            assert bytes(a.ended()[0].model_digest) == bytes(b.ended()[0].model_digest)
            assert (a.topology, a.layers, a.header) == (b.topology, b.layers, b.header)
            assert len(a.tensor_units) == len(b.tensor_units)
            for d, e in zip((d for u in a.tensor_units for d in u.descriptors),
                            (d for u in b.tensor_units for d in u.descriptors), strict=True):
                assert [getattr(d, name) for name in KEPT] == [getattr(e, name) for name in KEPT]
                assert d.factor == e.factor
                for c, k in zip(d.component, e.component, strict=True):
                    assert (c.quantiser, c.uniform, c.codebook, c.grid_scales, c.decimal_exponent, c.fixed_point,
                            c.integer_codebook) == (k.quantiser, k.uniform, k.codebook, k.grid_scales,
                                                    k.decimal_exponent, k.fixed_point, k.integer_codebook)


# The suite

@pytest.mark.parametrize("mode", [EntropyMode.BINS, EntropyMode.CC, EntropyMode.CM], ids=lambda mode: mode.name)
def test_every_valid_stream_of_the_suite_decodes_to_the_same_models(mode):
    recoded = 0
    for stream in (s for s in SUITE if s.kind != "invalid"):
        references = [read_dump(path) for path in stream.references]
        data = stream.file.read_bytes()
        try:
            before = modes_of(data, references)
        except OmcError as error:                       # 'unsupported': what this codec may refuse
            assert stream.kind != "valid", (stream.id, error)
            continue
        after, _ = transcoded(data, mode, references)
        assert_same(data, after, references)
        if broken := validate(after, references).violations:        # a path that no file can have stays one
            assert broken == validate(data, references).violations, stream.id
        recoded += sum(a != b for a, b in zip(before, modes_of(after, references), strict=True))
    assert recoded > 1000


@pytest.mark.parametrize("mode", [EntropyMode.BINS, EntropyMode.CC], ids=lambda mode: mode.name)
def test_every_invalid_stream_is_refused_by_a_listed_error(mode):
    for stream in (s for s in SUITE if s.kind == "invalid"):
        references = [read_dump(path) for path in stream.references]
        try:
            after, result = transcoded(stream.file.read_bytes(), mode, references)
        except OmcError:
            continue
        # What is damaged in a payload that is not read stays as damaged as it was.
        assert sum(result.kept.values()) or result.in_mode == 0 or mode in modes_of(after, references)
        with pytest.raises(OmcError), StreamDecoder(after, references) as decoder:
            for number in range(len(decoder.parsed.models)):
                decoder.model(number)


# The tools of the encoder

@pytest.mark.parametrize("mode", EntropyMode, ids=lambda mode: mode.name)
def test_every_tool_in_every_mode(mode, streams, system_streams):
    for data, references in (streams | system_streams).values():
        after, result = transcoded(data, mode, references)
        assert_same(data, after, references)
        again, second = transcoded(after, mode, references)
        assert again == after                           # there is nothing left to do, and nothing is done
        assert second.kept == result.kept


def test_there_and_back_gives_the_same_bytes():
    model = Model([Tensor("w", weights((300, 500))), Tensor("b", weights((2000,)))], "m")
    first = encode(model, Config(entropy="bins", join_below=1))
    there = refcodec.transcode(first, "cc")
    assert set(modes_of(there)) == {EntropyMode.CC}
    back = refcodec.transcode(there, "bins")
    assert set(modes_of(back)) == {EntropyMode.BINS}
    assert_same(first, back, ())
    assert refcodec.transcode(back, "cc") == there


def test_an_update_needs_the_model_before_it_only_for_differences():
    old = network_model()
    new = Model([Tensor(t.name, t.array + np.float32(1e-3)) for t in old.tensors], "new")
    update = encode(new, Config(join_below=1, entropy="cc"), [old])
    with pytest.raises(OmcError, match="MISSING_REFERENCE"):
        transcoded(update, EntropyMode.BINS)
    after, result = transcoded(update, EntropyMode.BINS, [old])
    assert result.in_mode
    assert refcodec.decode(after, old).digest() == new.digest()


# What stays

def test_small_tensors_that_share_a_unit_stay():
    model = Model([Tensor(f"t{i}", weights((20, 20), seed=i)) for i in range(3)] + [Tensor("w", weights((100, 100)))])
    after, result = transcoded(encode(model, Config(entropy="cc")), EntropyMode.BINS)
    assert result.kept == {JOINED: 3}
    assert sorted(modes_of(after)) == [EntropyMode.CC] * 3 + [EntropyMode.BINS]


def test_the_trellis_stays_between_modes_with_other_paths():
    model = Model([Tensor("w", weights((100, 100)))])
    stream = encode(model, Config(step=0.05, states=8, entropy="cc"))
    after, result = transcoded(stream, EntropyMode.BINS)
    assert (after, result.kept) == (stream, {TRELLIS: 1})
    after, result = transcoded(stream, EntropyMode.CM)
    assert (result.in_mode, result.kept) == (1, {})
    with StreamDecoder(after) as decoder:                           # mixed coding is of the highest profile
        assert decoder.parsed.header.profile == 2


def test_entry_points_stay_where_levels_are_predicted_anew_at_each():
    model = Model([Tensor("w", weights((600, 500)))])
    stream = encode(model, Config(step=0.5, states=0, entry_elements=65536, entropy="cc"))
    after, result = transcoded(stream, EntropyMode.BINS)
    assert result.kept == {}
    assert_same(stream, after, ())
    stream = encode(model, Config(step=0.5, states=8, entry_elements=65536, entropy="cc"))
    after, _ = transcoded(stream, EntropyMode.CM)
    with StreamDecoder(after) as decoder:
        assert decoder.parsed.models[0].tensor_units[0].descriptors[0].component[0].entry_count_minus1 > 0
    assert_same(stream, after, ())


def test_large_words_get_entry_points_when_they_become_range_coded():
    model = Model([Tensor("w", np.random.default_rng(1).standard_normal((3000, 800)).astype("f2"))])
    after, _ = transcoded(encode(model, Config(entropy="bins")), EntropyMode.CC)
    with StreamDecoder(after) as decoder:
        assert decoder.parsed.models[0].tensor_units[0].descriptors[0].component[0].entry_count_minus1 == 1
    assert refcodec.decode(after).digest() == model.digest()


def test_kinds_that_a_mode_does_not_code_stay():
    model = Model([Tensor("w", weights((64, 64))), Tensor("z", weights((64, 64)).astype(np.complex64))])
    after, result = transcoded(encode(model, Config(entropy="cc")), EntropyMode.MAP)
    assert result.kept == {UNABLE: 1}
    assert_same(encode(model, Config(entropy="cc")), after, ())


def test_the_reasons_are_those_of_the_text():
    assert len({JOINED, TRELLIS, SEGMENTS, UNABLE}) == 4


# Damage

def test_damage_is_a_listed_error(streams):
    random_bytes = random.Random(5)
    for data, references in streams.values():
        for _ in range(20):
            damaged = bytearray(data)
            damaged[random_bytes.randrange(len(damaged))] ^= 1 << random_bytes.randrange(8)
            try:
                transcoded(bytes(damaged), EntropyMode.BINS, references)
            except OmcError as error:
                assert error.code


# The command line

def test_command(command, tmp_path):
    small, fast, back = (tmp_path / name for name in ("small.omc", "fast.omc", "back.onnx"))
    command("encode", DATA / "digits_v1.onnx", "-o", small)
    before = command("digest", small).out.split()[0]
    said = command("transcode", small, "-o", fast, "--entropy", "bins", "--json").out
    result = json.loads(said)
    assert result["in_mode"] + sum(result["kept"].values()) == result["components"]
    assert result["output_bytes"] == fast.stat().st_size
    assert command("digest", fast).out.split()[0] == before
    command("decode", fast, "-o", back)
    assert back.read_bytes() == (DATA / "digits_v1.onnx").read_bytes()
    said = command("transcode", fast, "-o", small, "--entropy", "cc").out
    assert "coded arrays are in cc" in said


def test_command_refuses(command, tmp_path):
    small, other = tmp_path / "small.omc", tmp_path / "other.txt"
    command("encode", DATA / "digits_v1.onnx", "-o", small)
    other.write_text("kept")
    assert "its own input" in command("transcode", small, "-o", small, "--entropy", "bins", code=13).err
    assert "no OMC stream" in command("transcode", small, "-o", other, "--entropy", "bins", code=13).err
    small.write_bytes(small.read_bytes()[:-30])
    command("transcode", small, "-o", tmp_path / "new.omc", "--entropy", "bins", code=10)
    assert other.read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.txt", "small.omc"]


def test_a_mode_that_does_not_exist():
    with pytest.raises(ConfigError, match="there is no entropy mode 'bin'; there are raw, cc"):
        refcodec.transcode(b"", "bin")
