"""The systems of the source papers at the command line: every name codes, wrong combinations are refused, info
explains."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from helpers import DATA, changed, network_model, run_cli, weights

from refcodec import Model, Tensor, decode, load, save
from refcodec.cli.encode_options import SERVES
from refcodec.cli.main import main
from refcodec.encoder.config import PRESETS, QUANTISERS
from refcodec.encoder.config_parts import ENTROPY, UPDATES
from refcodec.inputs import name_models

V1, V2 = str(DATA / "digits_v1.onnx"), str(DATA / "digits_v2.onnx")
FORMAT, CONFIG = 12, 13


@pytest.fixture
def run(command, monkeypatch, tmp_path):
    """Runs a command in a folder of its own; returns what it prints, and what it says if it is refused."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code: int = 0):
        output = command(*arguments, code=code)
        assert not (code and output.out)
        return output.err if code else output.out
    return run


def described(run, path, *options) -> list[dict]:
    return json.loads(run("info", path, "--json", *options))["models"]


def matrices(model: dict) -> dict[str, dict]:
    return {t["name"]: t for t in model["tensors"] if t["elements"] > 100}


# Names

@pytest.mark.parametrize("option", SERVES)
def test_options_serve_what_there_is(option):
    name, values, _ = SERVES[option]
    assert set(values) <= set({"quantiser": QUANTISERS, "update": UPDATES}[name])


def test_help_teaches_the_systems():
    text = " ".join(run_cli("encode", "--help").stdout.split())
    assert all(name in text for name in (*PRESETS, *ENTROPY, *QUANTISERS))
    for option in ("--preset", "--profile", "--entropy", "--quantiser", "--rp", "--q-bits", "--width", "--clusters",
                   "--update-rank", "--update-fraction", "--features", "--sequence", "--root", "--max-bytes",
                   "--calibration", "--mean-width"):
        assert option in text
    assert "--inputs" in run_cli("check-integers", "--help").stdout


# Presets, quantisers, entropy modes

@pytest.mark.parametrize("options, quantiser, entropy, largest_error", [
    (["--preset", "s1-rp"], "decimal", "lzma", 1e-4), (["--preset", "s1-rp", "--rp", 3], "decimal", "lzma", 1e-3),
    (["--quantiser", "rp"], "decimal", None, 1e-4), (["--quantiser", "q-bits", "--q-bits", 9], "decimal", None, 1e-3),
    (["--preset", "s2-qbits"], "decimal", "lzma", 1e-4),
    (["--quantiser", "fixed-point", "--width", 8, "--entropy", "fixed"], "fixed_point", "fixed", 0.02),
    (["--quantiser", "k-means", "--clusters", 32], "codebook", None, 1.0),
    (["--quantiser", "k-means-zero"], "codebook", None, 1.0),
    (["--quantiser", "integer-k-means"], "integer_codebook", None, 1.0),
    (["--preset", "s5-hybrid"], "fixed_point", "huffman", 1.0)])
def test_quantisers(run, options, quantiser, entropy, largest_error):
    run("encode", V1, "-o", "a.omc", *options)
    run("decode", "a.omc", "-o", "a.onnx")
    found = matrices(described(run, "a.omc")[0])["3.Conv.weight"]
    assert found["quantiser"] == quantiser
    assert entropy is None or found["entropy"] == entropy
    a, b = load(V1)["3.Conv.weight"].array, load("a.onnx")["3.Conv.weight"].array
    assert 0 < np.abs(a - b).max() <= largest_error


def test_details_of_quantisers(run):
    for options, words in ((["--preset", "s1-rp", "--rp", 5], "5 decimals"), (["--preset", "s2-qbits"], "4 decimals"),
                           (["--quantiser", "fixed-point", "--width",
                             6], "6 bits, units of 2^-"), (["--quantiser", "k-means", "--clusters", 9], "9 values"),
                           (["--step", 0.0625], "8 states, step 0.0625"), (["--step", 0.0625,
                                                                            "--fast"], "step 0.0625")):
        run("encode", V1, "-o", "a.omc", *options)
        assert words in matrices(described(run, "a.omc")[0])["3.Conv.weight"]["detail"]


@pytest.mark.parametrize("name", ENTROPY)
def test_entropy_modes(run, name):
    words = name not in ("cm", "huffman")
    run("encode", V1, "-o", "a.omc", "--entropy", name, *([] if words else ["--step", 0.02]))
    run("decode", "a.omc", "-o", "a.onnx")
    if words:
        assert load("a.onnx").digest() == load(V1).digest()
    if name != "auto":
        assert {t["entropy"] for t in described(run, "a.omc")[0]["tensors"] if t["elements"] > 2000} == {name}


def test_a_mode_that_codes_nothing_is_told(run, capsys):
    result = json.loads(run("encode", V1, "-o", "a.omc", "--entropy", "huffman", "--json"))
    assert len(result["notes"]) == 1
    assert "huffman" in result["notes"][0]
    assert main(["encode", V1, "-o", "a.omc", "--entropy", "huffman"]) == 0
    assert capsys.readouterr().err.startswith("note: --entropy huffman")
    assert json.loads(run("encode", V1, "-o", "a.omc", "--entropy", "lzma", "--json"))["notes"] == []


def test_auto_is_no_larger(run):
    sizes = {}
    for options in ((), ("--preset", "auto")):
        run("encode", V1, "-o", "a.omc", "--step", 0.02, *options)
        sizes[options] = os.path.getsize("a.omc")
    assert sizes["--preset", "auto"] <= sizes[()]


# Updates

@pytest.mark.parametrize("name, representation", [
    ("lra", "low_rank"), ("ml", "mapping"), ("ka", "augmentation"), ("rm", "random_mask"), ("lru", "low_rank_update")])
def test_updates_by_factors(run, name, representation):
    option = ("--update-fraction", 0.05) if name == "rm" else ("--update-rank", 4)
    run("encode", V2, "-o", "u.omc", "--preset", f"s4-{name}", "--reference", V1, *option)
    assert os.path.getsize("u.omc") < 8000
    run("decode", "u.omc", "-o", "u.onnx", "--reference", V1)
    (model,) = described(run, "u.omc")
    assert {t["representation"] for t in matrices(model).values()} == {representation}
    assert model["references"] == [{"external_digest": load(V1).digest().hex()}]
    detail = matrices(model)["7.Gemm.weight"]["detail"]
    expected = {"rm": "elements, seed 1", "ka": "64 gains, 4 columns", "lru": "rank 4, seed 1"}.get(name, "rank 4")
    assert representation.replace("_", " ") in detail
    assert expected in detail
    target, base, got = (load(p)["7.Gemm.weight"].array for p in (V2, V1, "u.onnx"))
    assert np.square(target - got).sum() < np.square(target - base).sum()


def test_an_update_needs_a_reference(run):
    for name in ("lra", "ml", "ka", "rm", "lru"):
        assert "--reference" in run("encode", V2, "-o", "u.omc", "--preset", f"s4-{name}", code=CONFIG)
    save(Model([Tensor("other.weight", weights((40, 50)))]), "other.npz")
    result = json.loads(run("encode", V2, "-o", "u.omc", "--preset", "s4-lra", "--reference", "other.npz", "--json"))
    assert "applies to no tensor" in result["notes"][0]
    run("encode", V1, V2, "-o", "u.omc", "--preset", "s4-lra")             # the first is the reference of the second
    first, second = described(run, "u.omc")
    assert not any(t["representation"] == "low_rank" for t in first["tensors"])
    assert matrices(second)["7.Gemm.weight"]["representation"] == "low_rank"


def test_pruned_filters_need_none(run):
    model = network_model()
    pruned = model["fc1.weight"].array.copy()
    pruned[::2] = 0
    save(Model([Tensor("fc1.weight", np.tile(pruned, (3, 3)))]), "p.npz")
    run("encode", "p.npz", "-o", "p.omc", "--preset", "s4-fp")
    run("decode", "p.omc", "-o", "back.npz")
    assert load("back.npz").digest() == load("p.npz").digest()
    assert "row mask, 36 of 72 rows" in described(run, "p.omc")[0]["tensors"][0]["detail"]


# Wrong combinations

@pytest.mark.parametrize("options, hint", [
    (["--rp", 3], "s1-rp"), (["--q-bits", 3], "s2-qbits"), (["--width", 3], "fixed-point"),
    (["--clusters", 3], "k-means"), (["--update-rank", 3], "s4-"), (["--update-fraction", 0.1], "s4-rm"),
    (["--preset", "s1-rp", "--rp", 30], "0..12"), (["--preset", "s1-rp", "--lossless"], "every bit"),
    (["--preset", "s1-rp", "--snr", 30], "no use for"), (["--preset", "s1-rp", "--states", 8], "uniform"),
    (["--preset", "s1-rp", "--coder", "cc"], "--entropy"),
    (["--preset", "s1-rp", "--quality-layers", 2], "quality layers"), (["--entropy", "cm"], "ask for step"),
    (["--entropy", "map", "--step", 0.1], "words"), (["--root", "auto"], "several"),
    (["--preset", "s4-lra", "--lossless", "--reference", V2], "every bit"),
    (["--preset", "s4-ka", "--snr", 30, "--reference", V2], "factors"),
    (["--preset", "s4-ka", "--profile", "baseline", "--reference", V2], "main"),
    (["--preset", "s4-rm", "--update-fraction", 2, "--reference", V2], "between 0 and 1"),
    (["--profile", "baseline", "--states", 8, "--step", 0.1], "main"),
    (["--profile", "main", "--coder", "cm", "--step", 0.1], "high"),
    (["--profile", "main", "--entropy", "cm", "--step", 0.1], "high"),
    (["--max-bytes", "20K", "--snr", 3], "beside it"), (["--max-bytes", 900], "fit"),
    (["--calibration", "x.npz"], "s5-hybrid"), (["--mean-width", 4], "--calibration")])
def test_wrong_combinations_are_refused(run, options, hint):
    assert hint in run("encode", V1, "-o", "z.omc", *options, code=CONFIG)
    assert not os.path.exists("z.omc")


def test_profiles_are_kept(run):
    for options, profile in ((["--profile", "baseline", "--step",
                               0.05], "baseline"), (["--profile", "main", "--best", "--step",
                                                     0.05], "main"), (["--best", "--step", 0.05], "high")):
        run("encode", V1, "-o", "a.omc", *options)
        x = json.loads(run("info", "a.omc", "--json"))
        assert x["profile"] == profile
        assert ("states" in matrices(x["models"][0])["7.Gemm.weight"]["detail"]) == (profile != "baseline")


# Features

def test_features(run):
    rng = np.random.default_rng(1)
    maps = np.maximum(rng.normal(size=(8, 24, 32)).cumsum(2), 0).astype(np.float32)
    np.savez("maps.npz", conv=maps, fc=rng.normal(size=50).astype(np.float32))
    np.save("one.npy", maps)
    np.savez("frames.npz", conv=np.stack([maps, np.roll(maps, 1, 2), maps]))
    for source, options in (("maps.npz", ["--preset",
                                          "s3-features"]), ("one.npy", ["--features"]), ("frames.npz", ["--features"]),
                            ("frames.npz", ["--features", "--sequence", "--entropy", "auto"])):
        run("encode", source, "-o", "f.omc", *options)
        back = "back" + os.path.splitext(source)[1]
        line = run("decode", "f.omc", "-o", back)
        a, b = np.load(source), np.load(back)
        assert all(np.array_equal(a[k], b[k]) for k in a) if source.endswith("npz") else np.array_equal(a, b)
        assert len(described(run, "f.omc")) == (3 if source == "frames.npz" else 1)
        assert "digests verified" in line
    run("decode", "f.omc", "-o", "frame.npz", "--model", 1)
    assert np.array_equal(np.load("frame.npz")["conv"], np.roll(maps, 1, 2))
    run("encode", "frames.npz", "-o", "f.omc", "--preset", "s3-features", "--step", 0.05)
    run("decode", "f.omc", "-o", "lossy.npz")
    assert 0 < np.abs(np.load("lossy.npz")["conv"][0] - maps).max() <= 0.15
    assert "npz" in run("encode", V1, "-o", "f.omc", "--preset", "s3-features", code=FORMAT)
    run("encode", "maps.npz", "-o", "f.omc", "--sequence", code=FORMAT)
    run("encode", "maps.npz", "maps.npz", "-o", "f.omc", "--features", code=CONFIG)


# Sets and names

def test_names_of_several_models():
    models = [Model(name=n) for n in ("", "torch", "torch", "own")]
    name_models(models, ["a.npz", "b.onnx", "x/c.onnx", "d.onnx"])
    assert [m.name for m in models] == ["a", "b", "c", "own"]
    models = [Model(), Model()]
    name_models(models, ["x/m.npz", "y/m.npz"])
    assert [m.name for m in models] == [os.path.join("x", "m"), os.path.join("y", "m")]
    models = [Model(name="b"), Model()]
    name_models(models, ["a.onnx", "b.npz"])
    assert [m.name for m in models] == ["a", "b"]
    alone = [Model()]
    name_models(alone, ["a.npz"])
    assert alone[0].name == ""


def test_sets(run):
    base = network_model()
    save(Model(base.tensors), "base.npz")
    save(Model(changed(base).tensors), "next.npz")
    save(Model(changed(base, seed=9).tensors), "other.npz")
    files = ("next.npz", "base.npz", "other.npz")
    for root in ("base", "base.npz", "1", "auto", "kl", "size"):
        run("encode", *files, "-o", "set.omc", "--root", root)
        models = described(run, "set.omc")
        assert sorted(m["name"] for m in models) == ["base", "next", "other"]
        if root in ("base", "base.npz", "1"):
            assert models[0]["name"] == "base"
            assert models[1]["references"][0]["model"] == 0
            assert models[1]["references"][0]["name"] == "base"
        for name in ("base", "next", "other"):
            assert f"model {[m['name'] for m in models].index(name)} '{name}', 6 tensors" in run(
                "decode", "set.omc", "-o", "x.npz", "--model", name)
            assert load("x.npz").digest() == load(f"{name}.npz").digest()
    run("encode", *files, "-o", "set.omc", "--root", "base")
    assert run("info", "set.omc").count("reference 1: model 0 'base' of this stream") == 2
    message = run("decode", "set.omc", "-o", "y.npz", "--model", "nobody", code=CONFIG)
    assert "'base'" in message
    assert not os.path.exists("y.npz")
    assert "no models are named" in run("encode", *files, "-o", "z.omc", "--root", "nobody", code=CONFIG)


def test_a_set_within_a_budget(run):
    run("encode", V1, V2, "-o", "set.omc", "--root", "digits_v2", "--max-bytes", "24K")
    assert 16 << 10 < os.path.getsize("set.omc") <= 24 << 10
    assert described(run, "set.omc")[0]["name"] == "digits_v2"
    run("decode", "set.omc", "--model", "digits_v1", "-o", "x.onnx")


def test_a_named_model_of_several_qualities(run):
    run("encode", V1, V2, "-o", "q.omc", "--snr", 30, "--quality-layers", 2)
    for name in ("digits_v1", "digits_v2"):
        errors = []
        for n in (1, 2):
            run("decode", "q.omc", "-o", "q.onnx", "--model", name, "--quality", n)
            errors.append(
                np.square(
                    load("q.onnx")["7.Gemm.weight"].array
                    - load(str(DATA / f"{name}.onnx"))["7.Gemm.weight"].array).sum())
        assert f"'{name}', 16 tensors" in run("decode", "q.omc", "-o", "finest.onnx", "--model", name)
        assert load("finest.onnx").digest() == load("q.onnx").digest()
        assert errors[0] > 4 * errors[1]


# Integers

def test_integers(run):
    with np.load(DATA / "digits_test.npz") as test:
        images = test["images"].reshape(-1, 1, 8, 8).astype(np.float32) / np.float32(16)
        np.savez("few.npz", image=images[:20])
        np.savez("x.npz", image=images[100:], labels=test["labels"][100:], short=test["labels"][:3])
    run("encode", V1, "-o", "h.omc", "--preset", "s5-hybrid", "--calibration", "few.npz", "--mean-width", 7)
    (model,) = described(run, "h.omc")
    formats = {a["layer"]: a for a in model["activations"]}
    assert len(formats) == 4
    assert sum(a["width"] for a in formats.values()) == 28
    assert {x.name: (x.activation.width, x.activation.signed) for x in decode("h.omc").layers if x.activation} == {
        name: (a["width"], a["signed"]) for name, a in formats.items()}
    assert "integers: 0.Conv takes unsigned integers of" in run("info", "h.omc")
    x = json.loads(run("check-integers", "h.omc", "--inputs", "x.npz", "--json"))
    assert x["fits"]
    assert x["accuracy_integers"] > x["accuracy_float"] - 0.03 > 0.8
    assert x["outputs"][0]["snr_db"] > 15
    for layer in x["layers"]:
        assert layer["accumulator_width"] == formats[layer["layer"]]["accumulator_width"]
        assert 0 <= layer["clipped"] < 0.05
        assert layer["worst_case"][0] <= layer["seen"][0] < layer["seen"][1] <= layer["worst_case"][1]
    text = run("check-integers", "h.omc", "--inputs", "x.npz")
    assert all(name in text for name in formats)
    assert "right answers" in text
    assert "no array 'nothing'" in run("check-integers", "h.omc", "--inputs", "x.npz", "--labels", "nothing",
                                       code=CONFIG)
    run("check-integers", "h.omc", "--inputs", "x.npz", "--labels", "short", code=CONFIG)
    assert "'image' [None, 1, 8, 8]" in run("check-integers", "h.omc", "--inputs", DATA / "digits_test.npz",
                                            code=FORMAT)
    run("check-integers", "h.omc", "--inputs", "none.npz", code=FORMAT)
    run("check-integers", "h.omc", "--inputs", V1, code=FORMAT)
    assert "activation formats" in run("check-integers", V1, "--inputs", "x.npz", code=CONFIG)
    save(Model([Tensor("w.weight", weights((40, 50)))]), "n.npz")
    run("encode", "n.npz", "-o", "n.omc", "--preset", "s5-hybrid", "--calibration", "few.npz", code=CONFIG)
    run("encode", V1, V2, "-o", "n.omc", "--preset", "s5-hybrid", "--calibration", "few.npz", code=CONFIG)
    assert not os.path.exists("n.omc")


# Why

@pytest.mark.parametrize("options, reference", [
    (["--step", 0.02], []), ([], ["--reference", V1]), (["--preset", "s4-lra"], ["--reference", V1]),
    (["--preset", "s4-rm"], ["--reference", V1]), (["--preset", "s1-rp"], [])])
def test_why(run, options, reference):
    run("encode", V2, "-o", "a.omc", *options, *reference)
    (model,) = described(run, "a.omc", "--why", *reference)
    found, in_all = model["why"], model["why_in_all"]
    (joined,) = [x for x in found if x["joined"]]
    assert set(joined["joined"]) <= {t["name"] for t in model["tensors"] if t["joined_with"]}
    assert not joined["alternatives"]
    for x in found:
        if not x["joined"]:
            assert x["alternatives"][x["entropy"]] == x["bytes"]
            assert len(x["alternatives"]) >= 6
    assert in_all["picked"] == sum(x["bytes"] for x in found)
    assert in_all["smallest"] <= min(way["bytes"] for way in in_all["modes"].values())
    assert in_all["modes"]["lzma"]["bytes"] == joined["bytes"] + sum(x["alternatives"]["lzma"]
                                                                     for x in found if not x["joined"])
    text = run("info", "a.omc", "--why", *reference)
    assert f"payload shared by {len(joined['joined'])} tensors" in text
    assert "all in one entropy mode" in text
    ways = [line for line in text.splitlines() if "* " in line and line.startswith("      ")]
    assert len(ways) == len(found) - 1
    for line in ways:
        sizes = [int(way.split()[-1].replace(",", "")) for way in line.split(", ")]
        assert sizes == sorted(sizes)


def test_why_of_an_update_without_its_reference(run):
    run("encode", V2, "-o", "a.omc", "--reference", V1)
    assert "MISSING_REFERENCE" in run("info", "a.omc", "--why", code=11)
