"""Configurations: flat settings, the parts that they make up, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from helpers import DATA, network_model

from refcodec import Config, ConfigError, FormatError, Model, Tensor, decode, encode, load
from refcodec.bitstream.structures import EntropyMode
from refcodec.encoder import config_parts
from refcodec.encoder.config import PRESETS, QUANTISERS, settings_of
from refcodec.encoder.config_parts import (
    FixedPointQuantiser,
    HybridQuantiser,
    KMeansQuantiser,
    QBitsQuantiser,
    RpQuantiser,
    Rule,
)


def refused(**settings) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        Config(**settings)
    return error.value


# Parts

@pytest.mark.parametrize("settings, part", [
    (dict(), None), (dict(quantiser="uniform"), None), (dict(preset="auto"), None),
    (dict(quantiser="rp"), RpQuantiser(4)), (dict(preset="s1-rp"), RpQuantiser(4)),
    (dict(preset="s1-rp", rp=7), RpQuantiser(7)), (dict(preset="s2-qbits"), QBitsQuantiser(8)),
    (dict(quantiser="q-bits", q_bits=9), QBitsQuantiser(9)),
    (dict(quantiser="fixed-point"), FixedPointQuantiser(None, 30.0)),
    (dict(quantiser="fixed-point", width=5), FixedPointQuantiser(5, 30.0)),
    (dict(quantiser="fixed-point", snr=21.0), FixedPointQuantiser(None, 21.0)),
    (dict(quantiser="k-means"), KMeansQuantiser(16)),
    (dict(quantiser="k-means-zero", clusters=9), KMeansQuantiser(9, True)),
    (dict(quantiser="integer-k-means"), KMeansQuantiser(16, integers=True)),
    (dict(preset="s5-hybrid"), HybridQuantiser(4.0, {})),
    (dict(preset="s5-hybrid", snr=9.0), HybridQuantiser(9.0, {}))])
def test_quantisers_of_their_own(settings, part):
    assert Config(**settings).own_quantiser == part


@pytest.mark.parametrize("quantiser, exponent", [(RpQuantiser(3), 3), (QBitsQuantiser(9), 3), (QBitsQuantiser(12), 0)])
def test_decimal_exponents(quantiser, exponent):
    assert quantiser.decimal_exponent == exponent


@pytest.mark.parametrize("settings, states", [
    (dict(), 8), (dict(effort="fast"), 0), (dict(effort="best"), 32), (dict(effort="best", states=4), 4),
    (dict(states=64), 64), (dict(profile="baseline", states=64), 0), (dict(profile="main"), 8)])
def test_states_of_the_trellis(settings, states):
    assert Config(**settings).uniform.states == states


@pytest.mark.parametrize("settings, mixed", [
    (dict(), False), (dict(coder="cm"), True), (dict(effort="best"), True), (dict(effort="best", coder="cc"), False),
    (dict(coder="cm", profile="main"), False), (dict(effort="best", profile="high"), True)])
def test_mixed_coding(settings, mixed):
    assert Config(**settings).tools.level_mode == (EntropyMode.CM if mixed else EntropyMode.CC)


@pytest.mark.parametrize("settings, modes", [
    (dict(), []), (dict(entropy="lzma"), [EntropyMode.LZMA]), (dict(entropy="auto"), list(EntropyMode)),
    (dict(entropy="auto", profile="main"), [m for m in EntropyMode if m != EntropyMode.CM])])
def test_entropy_modes(settings, modes):
    assert Config(**settings).tools.modes == modes


@pytest.mark.parametrize("settings, lossy", [
    (dict(), False), (dict(step=0.1), True), (dict(snr=3), True), (dict(bits_per_weight=3), True), (dict(rp=3), False),
    (dict(quantiser="rp"), True), (dict(update="fp"), True), (dict(quality_layers=2), False),
    (dict(max_bytes=9), False)])
def test_lossy(settings, lossy):
    assert Config(**settings).lossy is lossy


def test_entry_points_are_larger_without_loss():
    assert [Config().units.entry_elements, Config(step=0.1).units.entry_elements] == [1 << 20, 1 << 18]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_it_sets(preset):
    config = Config(preset=preset)
    assert all(getattr(config, name) == value for name, value in PRESETS[preset].items())


def test_features_quantise_all_tensors():
    assert Config(preset="s3-features").rules == [Rule("*", "quantise")]


def test_rules_may_be_mappings():
    assert Config(rules=[{"match": "a*", "treatment": "fine"}]).rules == [Rule("a*", "fine")]


def test_choices_are_named_as_in_the_standard():
    assert [*config_parts.ENTROPY] == ["auto", *(m.name.lower() for m in EntropyMode)]
    assert QUANTISERS == ("uniform", "rp", "q-bits", "fixed-point", "k-means", "k-means-zero", "integer-k-means",
                          "hybrid")


def test_a_configuration_does_not_change():
    config = Config(step=0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.step = 0.2
    other = dataclasses.replace(config, step=0.2)
    assert (config.aim.step, other.aim.step) == (0.1, 0.2)
    assert dataclasses.replace(Config(preset="s1-rp"), threads=2) == Config(preset="s1-rp", threads=2)


def test_choices_need_no_compiler():
    """Help texts list them."""
    code = "import sys, refcodec.encoder.config; sys.exit('numba' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Wrong settings

@pytest.mark.parametrize("settings, words", [
    (dict(step=0.0), "positive"), (dict(step=float("inf")), "positive"), (dict(snr="30"), "positive"),
    (dict(bits_per_weight=-1), "positive"), (dict(snr=20.0, step=0.1), "not for both"), (dict(states=5), "states"),
    (dict(states=5, profile="baseline"), "states"), (dict(coder="xz"), "coder"), (dict(effort="more"), "effort"),
    (dict(preset="s6"), "preset"), (dict(profile="low"), "profile"), (dict(entropy="zstd"), "entropy"),
    (dict(quantiser="vector"), "quantiser"), (dict(update="x"), "update"), (dict(rp=13), "0..12"),
    (dict(preset="s1-rp", q_bits=40), "0..12"), (dict(width=33), "1..32"), (dict(width=1.5), "1..32"),
    (dict(clusters=0), "1..4096"), (dict(update_rank=-1), "update_rank"),
    (dict(update_fraction=1.0), "between 0 and 1"),
    (dict(update_seed=-1), "update_seed"), (dict(max_bytes=0), "max_bytes"), (dict(quality_layers=17), "1..16"),
    (dict(entry_elements=65535), "65536"), (dict(threads=0), "threads"), (dict(threads="all"), "threads"),
    (dict(rules=[{"match": "*", "treatment": "zip"}]), "treatment"), (dict(quantiser="rp", snr=30), "no use for"),
    *((dict(rules=[{"match": "*", "treatment": "quantise", "scale": scale}]), "positive") for scale in (0, -1, "2")),
    (dict(rules=[{"match": "a*", "treatment": "fine", "scale": 2.0}]), "'a*' is fine"),
    (dict(quantiser="fixed-point", step=0.1), "no use for"), (dict(quantiser="k-means", quality_layers=2), "layers"),
    (dict(profile="baseline", update="ml"), "main"), (dict(max_bytes=900, step=0.1), "beside it"),
    (dict(entropy="cm"), "quantised levels")])
def test_wrong_settings_are_refused(settings, words):
    error = refused(**settings)
    assert error.code == "BAD_CONFIG"
    assert words in str(error)


@pytest.mark.parametrize("settings", [
    dict(step=0.1), dict(quantiser="rp"), dict(update="lra"), dict(quality_layers=2), dict(max_bytes=5000)])
def test_mixed_coding_of_levels_is_allowed(settings):
    assert Config(entropy="cm", **settings).tools.modes == [EntropyMode.CM]


def test_a_budget_may_name_mixed_coding():
    model = network_model()
    assert len(encode(model, Config(entropy="cm", max_bytes=60000))) <= 60000
    assert len(encode(model, Config(entropy="cm", max_bytes=4000))) <= 4000


# Files

@pytest.mark.parametrize("name, text", [
    ("c.toml", 'snr = 30\ncoder = "cm"\n[[rules]]\nmatch = "fc*"\ntreatment = "fine"\n'),
    ("c.json", json.dumps({"snr": 30, "coder": "cm", "rules": [{"match": "fc*", "treatment": "fine"}]}))])
def test_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    expected = Config(snr=30, coder="cm", rules=[Rule("fc*", "fine")])
    assert Config.read(tmp_path / name) == expected
    assert Config.read(tmp_path / name, threads=2, states=None) == dataclasses.replace(expected, threads=2)


@pytest.mark.parametrize("text, words", [
    ("snr = ", "c.toml"), ("bitrate = 3", "bitrate"), ("[[rules]]\nname = '*'", "c.toml"), ("snr = 'x'", "a number")])
def test_wrong_files_are_refused(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        Config.read(tmp_path / "c.toml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        settings_of(tmp_path / "none.toml")


# What no configuration reaches

def model_of(dtype=np.float32) -> Model:
    rng = np.random.default_rng(1)
    return Model([Tensor("a.weight", rng.normal(size=(48, 64)).astype(dtype)),
                  Tensor("a.bias", rng.normal(size=48).astype(dtype))])


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("settings, words", [
    (dict(snr=1000.0), "the finest step gives"), (dict(snr=1000.0, states=0), "the finest step gives"),
    (dict(snr=1e9), "the finest step gives"), (dict(snr=1000.0, quantiser="fixed-point"), "32 bits gives"),
    (dict(snr=1000.0, quantiser="hybrid"), "reaches"), (dict(bits_per_weight=70.0), "the finest step takes"),
    (dict(bits_per_weight=0.01), "cannot be reached")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_cannot_be_reached_is_told(no_warnings, dtype, settings, words):
    with pytest.raises(ConfigError, match=words) as error:
        encode(model_of(dtype), Config(**settings))
    assert error.value.code == "RATE"


@pytest.mark.parametrize("states", [0, 8])
def test_a_step_too_fine_is_refused(no_warnings, states):
    """Levels beyond what the coders take would have been cut off."""
    with pytest.raises(ConfigError, match="'a.weight'") as error:
        encode(model_of(), Config(step=1e-12, states=states))
    assert error.value.code == "BAD_STEP"


@pytest.mark.parametrize("snr", [120.0, 160.0])
def test_fine_steps_are_met(no_warnings, snr):
    model = model_of(np.float64)
    a, b = model["a.weight"].array, decode(encode(model, Config(snr=snr)))["a.weight"].array
    assert abs(10 * np.log10(np.var(a) / np.square(a - b).mean()) - snr) < 0.1


def test_tensors_of_one_name_are_refused():
    model = Model([Tensor("twice", np.ones(3)), Tensor("once", np.ones(3)), Tensor("twice", np.ones(4))], "m")
    with pytest.raises(FormatError, match="'twice'") as error:
        encode(model)
    assert error.value.code == "DUPLICATE_ID"
    with pytest.raises(FormatError):
        encode([load(DATA / "digits_v1.onnx"), model])
