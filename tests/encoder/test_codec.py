"""The library, end to end: what is encoded comes back, exactly or as well as was asked for."""

from __future__ import annotations

import hashlib

import ml_dtypes
import numpy as np
import onnx
import pytest
from helpers import DATA, all_types_model, changed, network_model, same_tensors, snr, structures_model, weights
from onnx import TensorProto, helper, numpy_helper

import refcodec
from refcodec import Config, Model, OmcError, Rule, StreamDecoder, Tensor, decode, encode, load, save
from refcodec.bitstream.parser import parse
from refcodec.bitstream.structures import PredictionMode, Quantiser
from refcodec.encoder.model_encoder import quantised_tensors
from refcodec.inspection.describe import describe_stream


def descriptors(stream: bytes, references=(), model: int = -1) -> dict:
    """Tensor name to its tensor_descriptor()."""
    parsed = parse(stream, references).models[model]
    return {parsed.state.tensors[d.tensor_index].tensor_name: d for u in parsed.tensor_units for d in u.descriptors}


def random_model(shapes, seed: int = 0, dtype=np.float32) -> Model:
    return Model([Tensor(f"layer{i}.weight", weights(s, dtype, seed + i)) for i, s in enumerate(shapes)])


# Lossless

@pytest.mark.parametrize("join_below", [0, 1 << 14])
@pytest.mark.parametrize("make", [all_types_model, structures_model, network_model])
def test_lossless_is_exact(make, join_below):
    model = make()
    decoded = decode(encode(model, Config(join_below=join_below)))
    assert same_tensors(model, decoded)
    assert decoded.digest() == model.digest()
    assert decoded.name == model.name
    assert decoded.metadata == model.metadata


def test_structure_is_found():
    found = descriptors(encode(structures_model(), Config(join_below=1)))
    expected = {"constant": Quantiser.CODEBOOK, "codebook": Quantiser.CODEBOOK, "uniform": Quantiser.UNIFORM,
                "grid": Quantiser.GRID, "w": Quantiser.NONE, "short": Quantiser.NONE}
    assert {name: found[name].component[0].quantiser for name in expected} == expected
    assert found["tied"].prediction_mode == PredictionMode.COPY
    assert found["constant"].coded_flag == 0
    assert found["short"].component[0].word.shift >= 15                          # bfloat16 in float32
    integers = found["integers"].component[0]
    assert integers.word.offset or integers.quantiser == Quantiser.UNIFORM


def test_noise_costs_no_more_than_raw():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    assert len(encode(Model([Tensor("noise", noise)]))) < noise.nbytes + 200


def test_a_model_without_tensors():
    assert decode(encode(Model([]))).tensors == []


@pytest.mark.parametrize("threads", [1, 2])
def test_entry_points_are_at_least_65536_elements_apart(threads):
    model = random_model([(600, 700), (1, 300000), (300000, 1)])
    stream = encode(model, Config(entry_elements=65536, threads=threads, entropy="cc"))
    assert [d.component[0].entry_count_minus1 for d in descriptors(stream).values()] == [5, 0, 3]
    assert same_tensors(decode(stream, threads=threads), model)


# Model files

def network_onnx(path) -> None:
    """Conv, BatchNormalization, MatMul, Gemm and LSTM, tied weights, a shape and a scalar."""
    embedding = weights((40, 24), seed=11)
    arrays = {
        "conv.w": weights((8, 3, 3, 3), seed=1), "conv.b": weights((8, 1), seed=2)[:, 0],
        "bn.s": np.ones(8, np.float32) * 1.5, "bn.b": weights((8, 1), seed=3)[:, 0], "bn.m": weights(
            (8, 1), seed=4)[:, 0], "bn.v": np.full(8, 0.9, np.float32), "shape": np.array([1, -1, 24], np.int64),
        "fc.w": weights((24, 32), seed=5), "gemm.w": embedding, "tied.w": embedding.copy(), "gemm.b": weights(
            (40, 1), seed=6)[:, 0], "scale": np.array(0.125, np.float32), "lstm.w": weights(
                (1, 64, 32), seed=7), "lstm.r": weights((1, 64, 16), seed=8)
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "bn.s", "bn.b", "bn.m", "bn.v"], ["n"], "bn"),
        helper.make_node("Reshape", ["n", "shape"], ["r"], "reshape"),
        helper.make_node("Mul", ["r", "scale"], ["m"], "mul"),
        helper.make_node("MatMul", ["m", "fc.w"], ["f"], "fc"),
        helper.make_node("LSTM", ["f", "lstm.w", "lstm.r"], ["l"], "lstm", hidden_size=16),
        helper.make_node("Gemm", ["q", "gemm.w", "gemm.b"], ["y"], "gemm", transB=1),
        helper.make_node("Gather", ["tied.w", "i"], ["g"], "gather")
    ]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(a, n) for n, a in arrays.items()])
    onnx.save(helper.make_model(graph), path)


def test_onnx_comes_back_byte_for_byte(tmp_path):
    network_onnx(tmp_path / "net.onnx")
    save(decode(encode(load(tmp_path / "net.onnx"))), tmp_path / "again.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_onnx_lossy_touches_weights_only(tmp_path):
    network_onnx(tmp_path / "net.onnx")
    model = load(tmp_path / "net.onnx")
    stream = encode(model, Config(step=0.01))
    decoded = decode(stream)
    save(decoded, tmp_path / "lossy.onnx")
    before, after = onnx.load(tmp_path / "net.onnx"), onnx.load(tmp_path / "lossy.onnx")
    assert before.graph.node == after.graph.node
    assert before.graph.input == after.graph.input
    for name in ("shape", "scale", "bn.m", "bn.v"):
        assert np.array_equal(model[name].words, decoded[name].words), name
    for name in ("conv.w", "fc.w", "gemm.w", "lstm.w", "lstm.r"):
        assert 0 < np.abs(model[name].array - decoded[name].array).max() < 0.04, name
    for name in ("conv.b", "bn.b", "gemm.b"):                          # finely: 2^-14 of the largest
        assert np.abs(model[name].array - decoded[name].array).max() <= np.abs(model[name].array).max() * 2**-14, name
    assert np.array_equal(decoded["gemm.w"].array, decoded["tied.w"].array)
    assert descriptors(stream)["tied.w"].prediction_mode == PredictionMode.COPY
    layers = {x.operator_name: x for x in decoded.layers}
    assert {"Conv", "BatchNormalization", "MatMul", "Gemm", "LSTM"} <= set(layers)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_files_without_a_graph(tmp_path, suffix):
    from safetensors.numpy import save_file

    arrays = {"a.weight": weights((40, 50)), "b.weight": weights((30, 20), np.float16), "n": np.arange(9)}
    path, again = tmp_path / f"m.{suffix}", tmp_path / f"again.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path, metadata={"who": "a test"})
    model = load(path)
    save(decode(encode(model)), again)
    if suffix == "npz":
        assert all(np.array_equal(np.load(again)[n], a) for n, a in arrays.items())
    else:
        assert path.read_bytes() == again.read_bytes()


def test_safetensors_bfloat16(tmp_path):
    model = network_model(dtype=ml_dtypes.bfloat16)
    save(model, tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    stream = encode(loaded, Config(snr=25))
    decoded = decode(stream)
    numbers = quantised_tensors(loaded, Config(snr=25))
    assert decoded.tensors[0].dtype.name == "bfloat16"
    assert len(numbers) == 3
    assert snr([(loaded.tensors[i].array, decoded.tensors[i].array) for i in numbers]) > 24.9
    save(decode(encode(loaded)), tmp_path / "m2.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "m2.safetensors").read_bytes()


@pytest.mark.skipif(not (DATA / "digits_v1.onnx").exists(), reason="made by tools/train_digits.py")
def test_digits_pair(tmp_path):
    v1, v2 = load(DATA / "digits_v1.onnx"), load(DATA / "digits_v2.onnx")
    whole, update, lossy = encode(v2), encode(v2, references=[v1]), encode(v1, Config(snr=30))
    save(decode(whole), tmp_path / "a.onnx")
    save(decode(update, [v1]), tmp_path / "b.onnx")
    original = hashlib.sha256((DATA / "digits_v2.onnx").read_bytes()).digest()
    for name in ("a.onnx", "b.onnx"):
        assert hashlib.sha256((tmp_path / name).read_bytes()).digest() == original
    assert len(update) < len(whole) < (DATA / "digits_v2.onnx").stat().st_size
    assert len(lossy) < 0.25 * (DATA / "digits_v1.onnx").stat().st_size


# Lossy targets

@pytest.mark.parametrize("states, coder", [(0, "cc"), (4, "cc"), (8, "cc"), (16, "cm"), (32, "cm"), (64, "cc")])
def test_snr_is_met(states, coder):
    model = random_model([(96, 160), (64, 32, 3, 3)])
    for target in (12, 27.5):
        decoded = decode(encode(model, Config(snr=target, states=states, coder=coder)))
        got = snr([(a.array, b.array) for a, b in zip(model.tensors, decoded.tensors)])
        assert target - 0.01 <= got <= target + 0.1, (states, coder, target, got)


@pytest.mark.parametrize("target", [2.5, 4.0])
def test_bits_per_weight_are_met(target):
    model = random_model([(200, 300), (100, 100)])
    rate = 8 * len(encode(model, Config(bits_per_weight=target))) / 70000
    assert target * 0.95 <= rate <= target * 1.02


def test_impossible_rate_is_refused():
    with pytest.raises(OmcError) as error:
        encode(random_model([(8, 8)]), Config(bits_per_weight=0.5))
    assert error.value.code == "RATE"


@pytest.mark.parametrize("states", [0, 4, 8, 16, 32, 64])
def test_step_is_honoured(states):
    model = random_model([(60, 80)])
    stream = encode(model, Config(step=0.013, states=states))
    d = descriptors(stream)["layer0.weight"]
    uniform = d.component[0].uniform
    step = uniform.step_mantissa * 2.0**uniform.step_exponent
    assert uniform.states == states
    assert abs(step / 0.013 - 1) < 2**-15
    multiples = decode(stream).tensors[0].array.astype(np.float64) / step
    assert np.abs(multiples - np.rint(multiples)).max() < 1e-3
    error = np.abs(decode(stream).tensors[0].array - model.tensors[0].array).max()
    assert error <= (2.1 if states else 1.01) * step


def test_more_states_and_mixing_are_better():
    model = random_model([(256, 384)])
    sizes = [len(encode(model, Config(snr=20, states=s, coder=c))) for s, c in ((0, "cc"), (8, "cc"), (32, "cm"))]
    assert sizes[0] > 1.02 * sizes[1] > 1.02 * sizes[2]


def test_rules_and_types_decide_what_is_quantised():
    config = Config(step=0.05, rules=[{"match": "fc2.*", "treatment": "lossless"},
                                      {"match": "fc1.bias", "treatment": "quantise"}])
    model = network_model()
    decoded = decode(encode(model, config))
    assert np.array_equal(model["fc2.weight"].words, decoded["fc2.weight"].words)
    assert np.array_equal(model["steps"].words, decoded["steps"].words)
    assert not np.array_equal(model["fc1.bias"].words, decoded["fc1.bias"].words)
    with pytest.raises(OmcError):
        encode(Model([Tensor("n", np.arange(100).reshape(10, 10))]), Config(snr=30))


@pytest.mark.parametrize("aim", [dict(step=0.02), dict(snr=25), dict(bits_per_weight=5.0)])
@pytest.mark.parametrize("states", [0, 8])
def test_the_scale_of_a_rule_is_of_the_step(aim, states):
    """Whatever the step is found by; and it is one of all weights, which the rate counts."""
    model = network_model()
    rules = [Rule("fc1.weight", "quantise", scale=0.25), Rule("conv.*", "quantise", scale=4)]
    stream = encode(model, Config(states=states, rules=rules, **aim))
    facts = describe_stream(stream)["models"][0]
    step = {t["name"]: float(t["detail"].split()[-1]) for t in facts["tensors"] if t["name"].endswith("weight")}
    assert step["fc1.weight"] == pytest.approx(step["fc2.weight"] / 4, rel=1e-4)
    assert step["conv.weight"] == pytest.approx(step["fc2.weight"] * 4, rel=1e-4)
    assert facts["quantised_elements"] == sum(model[n].size for n in ("fc1.weight", "conv.weight", "fc2.weight"))
    if "step" in aim:
        assert step["fc2.weight"] == pytest.approx(0.02, rel=1e-4)
    elif "snr" in aim:
        decoded = decode(stream)
        names = ("fc1.weight", "conv.weight", "fc2.weight")
        assert snr([(model[n].array, decoded[n].array) for n in names]) == pytest.approx(25, abs=0.02)
    else:
        assert 8 * len(stream) / facts["quantised_elements"] == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize("bad", [dict(step=-1.0), dict(step=float("nan")), dict(snr=20.0, step=0.1), dict(states=5),
                                 dict(coder="xz"), dict(effort="more"), dict(quality_layers=0), dict(threads=0),
                                 dict(step=1e300), dict(rules=[{"match": "*", "treatment": "zip"}])])
def test_wrong_configurations_are_refused(bad):
    with pytest.raises(refcodec.ConfigError):
        encode(network_model(), Config(**bad))


# Quality layers

@pytest.mark.parametrize("config", [
    Config(quality_layers=3), Config(quality_layers=3, step=0.002), Config(quality_layers=2, snr=30, coder="cm"),
    Config(quality_layers=4, step=0.001, states=0),
], ids=["lossless", "step", "snr, cm", "no trellis"])
def test_each_quality_layer_is_a_better_model(config):
    model = network_model()
    stream = encode(model, config)
    decoder = StreamDecoder(stream)
    layers = [decoder.model(k) for k in range(config.quality_layers)]
    numbers = quantised_tensors(model, Config(step=1.0))
    got = [
        snr([(model.tensors[i].array, x.tensors[i].array) for i in numbers]) if not same_tensors(model, x) else np.inf
        for x in layers
    ]
    assert got == sorted(got)
    assert len(set(got)) == len(got)
    assert same_tensors(decode(stream), layers[-1])
    assert config.lossy or got[-1] == np.inf
    borders = [u.end for u in decoder.parsed.units if u.type == 8]
    for k, border in enumerate(borders):
        with pytest.raises(OmcError) as error:
            decode(stream[:border])
        assert error.value.code == "MISSING_UNIT"
        assert same_tensors(decode(stream[:border], allow_prefix=True), layers[k])
        for n in (border - 1, border + 1):
            with pytest.raises(OmcError) as error:
                decode(stream[:n], allow_prefix=True)
            assert error.value.code == "TRUNCATED"


# Updates

def test_update_is_small_and_exact():
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64):
        base = random_model([(120, 130), (64, 64)], dtype=dtype)
        model = changed(base, 1e-5)
        update = encode(model, references=[base])
        assert same_tensors(decode(update, [base]), model)
        assert len(update) < 0.9 * len(encode(model)), dtype


def test_unchanged_tensors_cost_a_few_bytes():
    base = random_model([(200, 100)] * 20)
    tensors = list(base.tensors)
    tensors[7] = Tensor(tensors[7].name, tensors[7].array + np.float32(0.001))
    stream = encode(Model(tensors), references=[base])
    found = descriptors(stream, [base])
    copied = [d for d in found.values() if d.prediction_mode == PredictionMode.COPY]
    assert len(copied) == 19
    assert len(encode(base, references=[base])) < 600 + 20 * 24
    assert same_tensors(decode(stream, [base]), Model(tensors))


def test_unrelated_reference_costs_nothing():
    model, other = random_model([(150, 200)] * 3), random_model([(150, 200)] * 3, seed=50)
    for config in (Config(), Config(step=0.01)):
        alone, against = len(encode(model, config)), len(encode(model, config, [other]))
        assert against <= 1.005 * alone


@pytest.mark.parametrize("config", [Config(), Config(step=0.002), Config(step=0.002, coder="cm")])
def test_prediction_across_shapes(config):
    """A vocabulary that grew, a kernel that shrank: padded with zeros, or cropped."""
    base = Model([Tensor("emb.weight", weights((100, 64))), Tensor("conv.weight", weights((16, 8, 5, 5), seed=1))])
    grown = np.concatenate([base.tensors[0].array, weights((9, 64), seed=2)]) + np.float32(1e-4)
    model = Model(
        [Tensor("emb.weight", grown),
         Tensor("conv.weight", base.tensors[1].array[:, :7, 1:, :] * np.float32(1))])
    cropped = Model([model.tensors[0], Tensor("conv.weight", base.tensors[1].array[:, :7, :4, :5] + np.float32(1e-4))])
    for m in (model, cropped):
        stream = encode(m, config, [base])
        decoded = decode(stream, [base])
        assert descriptors(stream, [base])["emb.weight"].prediction_mode == PredictionMode.INTER
        assert same_tensors(m, decoded) if not config.lossy else np.abs(m.tensors[0].array
                                                                        - decoded.tensors[0].array).max() < 0.006
    assert descriptors(stream, [base])["conv.weight"].prediction_mode == PredictionMode.INTER
    assert len(stream) < len(encode(cropped, config))


def test_several_references():
    a, b = random_model([(64, 96), (64, 96)]), random_model([(64, 96), (64, 96)], seed=30)
    mixed = Model([Tensor("layer0.weight", a.tensors[0].array + np.float32(1e-5)),
                   Tensor("layer1.weight", b.tensors[1].array + np.float32(1e-5))])
    stream = encode(mixed, references=[a, b])
    assert [d.reference_index for d in descriptors(stream, [a, b]).values()] == [1, 2]
    assert same_tensors(decode(stream, [b, a]), mixed)


def test_update_with_quality_layers():
    base = network_model()
    model = changed(base, 1e-3)
    stream = encode(model, Config(quality_layers=3), [base])
    decoder = StreamDecoder(stream, [base])
    assert same_tensors(decoder.model(-1), model)
    assert not same_tensors(decoder.model(0), model)
    with pytest.raises(OmcError) as error:
        decode(stream)
    assert error.value.code == "MISSING_REFERENCE"


# Random access, threads, paths

def test_random_access_reads_one_tensor_only(tmp_path):
    model = random_model([(100, 100)] * 12)
    stream = encode(model, Config(join_below=1, index=True))
    path = tmp_path / "m.omc"
    path.write_bytes(stream)
    seen = []
    with StreamDecoder(path) as decoder:
        read = decoder.decode_unit
        decoder.decode_unit = lambda number, position, *a, **k: seen.append(position) or read(number, position, *a, **k)
        (index, words, _), = decoder.tensors(0, {5})
    assert index == 5
    assert seen == [5]
    assert np.array_equal(words, model.tensors[5].words)


def test_threads_change_nothing():
    model = random_model([(300, 400), (500, 300), (64, 64), (7, 9)])
    for config in (dict(), dict(step=0.02), dict(step=0.02, effort="best")):
        one, two = (encode(model, Config(threads=n, entry_elements=65536, **config)) for n in (1, 2))
        assert one == two
        assert same_tensors(decode(one), decode(one, threads=2))


def test_streams_from_paths_and_missing_files(tmp_path):
    (tmp_path / "m.omc").write_bytes(encode(network_model()))
    assert same_tensors(decode(tmp_path / "m.omc"), network_model())
    for action in (lambda: decode(tmp_path / "none.omc"), lambda: load(tmp_path / "none.onnx")):
        with pytest.raises(OmcError) as error:
            action()
        assert error.value.code == "MISSING_FILE"


@pytest.mark.parametrize("bits", [6, 14])
def test_how_finely_biases_are_coded(bits):
    model = network_model()
    decoded = decode(encode(model, Config(step=1.0, fine_bits=bits)))
    (name,) = [t.name for t in model.tensors if t.name == "fc1.bias"]
    error = np.abs(decoded[name].array - model[name].array).max() / np.abs(model[name].array).max()
    assert error <= 2.0 ** -(bits + 1) * 1.001
    if bits == 6:
        assert error > 2.0**-12
    with pytest.raises(OmcError, match="fine_bits"):
        Config(step=1.0, fine_bits=0)
