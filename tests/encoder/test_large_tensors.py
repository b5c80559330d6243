"""Large tensors are coded in bins by default; what repeats itself, is small or is to be smallest is context coded."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refcodec import Config, Model, Tensor, decode, encode, load, save
from refcodec.bitstream.structures import EntropyMode, PredictionMode
from refcodec.decoder import StreamDecoder
from refcodec.encoder.copies_and_joins import find_copies
from refcodec.encoder.lane_search import quantise_in_lanes
from refcodec.encoder.treatment import Treatment
from refcodec.encoder.words_in_bins import repeats_itself
from refcodec.entropy.bins_search import best_bins
from refcodec.entropy.bins_tables import normalised
from refcodec.quantization.uniform import indices

RNG = np.random.default_rng(7)


def weights(rows: int, columns: int) -> np.ndarray:
    """Rows of unlike scale."""
    return (RNG.normal(0, 0.05, (rows, columns)) * np.exp2(RNG.integers(0, 4, (rows, 1)))).astype(np.float32)


def waves(rows: int, columns: int) -> np.ndarray:
    """Cosines, each symmetric: every row comes again backwards."""
    angle = np.outer(np.arange(1, rows + 1), np.arange(columns) - (columns - 1) / 2)
    return np.cos(2 * np.pi * angle / 1021).astype(np.float32)


def modes(model: Model, references: tuple[Model, ...] = (), **options) -> dict[str, EntropyMode]:
    """How each tensor's first component is coded, after the model came back."""
    stream = encode(model, Config(**options), references)
    if not Config(**options).lossy:
        assert decode(stream, references) == model
    with StreamDecoder(stream, references) as decoder:
        parsed = decoder.parsed.models[0]
        return {parsed.state.tensors[d.tensor_index].tensor_name: EntropyMode(d.component[0].entropy_mode)
                for unit in parsed.tensor_units for d in unit.descriptors if d.component}


@pytest.mark.parametrize("effort, expected", [("default", EntropyMode.CC), ("fast", EntropyMode.BINS),
                                              ("best", EntropyMode.CC)])
def test_what_repeats_itself_is_context_coded_unless_speed_is_asked_for(effort, expected):
    assert modes(Model([Tensor("w", waves(64, 400))]), effort=effort) == {"w": expected}


@pytest.mark.parametrize("effort", ["default", "fast"])
def test_size_decides_between_context_coding_and_bins(effort):
    model = Model([Tensor("large", weights(64, 256)), Tensor("small", weights(16, 256))])
    assert modes(model, effort=effort) == {"large": EntropyMode.BINS, "small": EntropyMode.CC}


def test_an_entropy_mode_that_is_asked_for_is_used():
    assert modes(Model([Tensor("w", weights(64, 256))]), entropy="cc") == {"w": EntropyMode.CC}


@pytest.mark.parametrize("options, expected", [
    ({}, EntropyMode.BINS), ({"effort": "fast"}, EntropyMode.BINS), ({"coder": "cc"}, EntropyMode.CC),
    ({"effort": "best"}, EntropyMode.CM), ({"states": 0}, EntropyMode.BINS)])
def test_levels_of_large_tensors(options, expected):
    assert modes(Model([Tensor("w", weights(256, 256))]), step=0.02, **options) == {"w": expected}


def test_an_update_is_a_difference_in_bins():
    old = weights(128, 256)
    new = np.where(RNG.random(old.shape) < 0.02, old * np.float32(1.01), old)
    models = [Model([Tensor("w", w)]) for w in (old, new)]
    stream = encode(models[1], Config(), [models[0]])
    assert decode(stream, [models[0]]) == models[1]
    assert len(stream) < old.nbytes / 15
    with StreamDecoder(stream, [models[0]]) as decoder:
        d = decoder.parsed.models[0].tensor_units[0].descriptors[0]
    assert (d.prediction_mode, d.component[0].entropy_mode) == (PredictionMode.INTER, EntropyMode.BINS)


def test_an_unrelated_reference_is_not_used():
    models = [Model([Tensor("w", weights(128, 256))]) for _ in range(2)]
    stream = encode(models[1], Config(), [models[0]])
    with StreamDecoder(stream, [models[0]]) as decoder:
        assert decoder.parsed.models[0].tensor_units[0].descriptors[0].prediction_mode == PredictionMode.NONE


@pytest.mark.parametrize("options", [{}, {"step": 0.02}, {"snr": 20.0}])
def test_the_stream_does_not_depend_on_threads(options):
    model = Model([Tensor("w", weights(600, 512))])
    assert encode(model, Config(threads=3, **options)) == encode(model, Config(**options))


def test_hidden_structure_of_large_tensors_is_found():
    few = np.linspace(-1, 1, 13).astype(np.float32)[RNG.integers(0, 13, (128, 256))]
    constant = np.full((128, 256), np.float32(0.3))
    model = Model([Tensor("few", few), Tensor("constant", constant)])
    stream = encode(model)
    assert decode(stream) == model
    assert len(stream) < few.size * math.log2(13) / 8 * 1.02 + 400


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64])
def test_repeats_are_told_from_chance(kind):
    word = f"u{np.dtype(kind).itemsize}"
    assert repeats_itself(waves(64, 400).astype(kind).reshape(-1).view(word))
    assert not repeats_itself(weights(64, 400).astype(kind).reshape(-1).view(word))
    assert not repeats_itself(np.zeros(1 << 16, word))


@pytest.mark.parametrize("states", [0, 4, 8])
def test_search_in_lanes(states):
    """The error is that of the step, the levels are those of any number of threads, and bits are spared."""
    x, step = weights(300, 1000), 0.05
    levels = quantise_in_lanes(x, step, states)
    assert np.array_equal(levels, quantise_in_lanes(x, step, states, threads=2))
    error = np.square(x - indices(levels, states, lanes=True) * step).mean() / step**2
    assert error < (0.45 if states else 0.13)
    assert np.abs(levels).sum() < np.abs(np.rint(x / step)).sum()


def test_the_step_of_a_large_model_is_found_on_a_part_of_it(monkeypatch):
    from refcodec.encoder import model_encoder

    monkeypatch.setattr(model_encoder, "SNR_SAMPLE", 1 << 16)
    x = weights(1500, 512)
    found = decode(encode(Model([Tensor("w.weight", x)]), Config(snr=25)))["w.weight"].array
    assert 10 * math.log10(x.var() / np.square(x - found).mean()) == pytest.approx(25, abs=0.1)


def test_bins_hold_all_values_and_no_unused_ends():
    for counts in (np.eye(1, 65536, 40000, dtype=np.int64)[0], np.bincount(RNG.integers(30000, 61000, 500),
                                                                           minlength=65536)):
        bins = best_bins(counts.astype(np.int64), 16)
        held = np.zeros(65536, bool)
        for low, log in zip(bins.low.tolist(), bins.log.tolist(), strict=True):
            held[low : low + (1 << log)] = True
        assert held[counts > 0].all()
        assert bins.counts.sum() == counts.sum()
        assert len(bins.low) <= 256
    assert len(best_bins(np.eye(1, 256, 7, dtype=np.int64)[0], 8).low) == 1


@pytest.mark.parametrize("counts", [[0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 9], [1, 1, 10**9], [3, 0, 4096]])
def test_frequencies_add_up(counts):
    found = normalised(np.array([counts]))[0]
    assert found.sum() == 4096
    assert found.max() < 4096
    assert all(f > 0 for f, c in zip(found.tolist(), counts, strict=True) if c)


# Large models: what their small tensors take is time

@pytest.fixture
def large(monkeypatch):
    """Every model is a large one."""
    monkeypatch.setattr("refcodec.encoder.model_encoder.LARGE_MODEL", 1)


def small_tensors() -> list[Tensor]:
    minus_zero = np.array([0.0, -0.0, 1.5, np.nan, -np.inf], np.float32)
    return [Tensor("floats", weights(7, 30)), Tensor("halves", weights(40, 20).astype(np.float16)),
            Tensor("ones", np.ones(50, np.float32)), Tensor("one", np.array(3.25, np.float32)),
            Tensor("odd", minus_zero), Tensor("counts", np.arange(100, 130)),
            Tensor("bytes", np.frombuffer(RNG.bytes(300), np.uint8)), Tensor("none", np.zeros((0, 4), np.float32)),
            Tensor("pairs", weights(5, 4).astype(np.complex64)), Tensor("few", RNG.integers(0, 3, 900).astype("f4"))]


@pytest.mark.parametrize("threads", [1, 3])
def test_small_tensors_of_large_models_come_back(large, threads):
    model = Model(small_tensors())
    stream = encode(model, Config(threads=threads))
    assert decode(stream) == model
    assert stream == encode(model)
    assert len(stream) < 1.1 * len(encode(model, Config(effort="best")))


def test_updates_of_large_models_share_units(large):
    old = Model([*small_tensors(), *(Tensor(f"w{k}", weights(60 + k, 100)) for k in range(6))])
    new = Model([Tensor(t.name, changed(t.array)) for t in old.tensors])
    stream = encode(new, references=[old])
    assert decode(stream, [old]) == new
    with StreamDecoder(stream, [old]) as decoder:
        units = decoder.parsed.models[0].tensor_units
    assert len(units) < 6
    assert len(stream) < 0.9 * len(encode(new, Config(entropy="bins"), [old]))


def changed(array: np.ndarray) -> np.ndarray:
    """Of fifty bytes one has another lowest bit."""
    data = np.frombuffer(array.tobytes(), np.uint8).copy()
    data[:: 50 * array.itemsize] ^= 1
    return data.view(array.dtype).reshape(array.shape)


@pytest.mark.parametrize("size", [10, 5000, 400_000])
def test_copies_are_told_from_what_is_alike_in_the_middle(tmp_path, size):
    base = RNG.normal(0, 1, size).astype(np.float32)
    arrays = {"a": base, "b": base.copy(), "c": base.copy(), "d": base[::-1].copy(), "e": base.copy()}
    arrays["c"][-1] += 1
    arrays["e"][0] = arrays["c"][0] - 1
    save(Model([Tensor(name, array) for name, array in arrays.items()]), tmp_path / "m.safetensors")
    model = load(tmp_path / "m.safetensors")
    assert find_copies(model, [Treatment.LOSSLESS] * 5) == {1: 0}
    assert decode(encode(model)) == model


# Progress

@pytest.mark.parametrize("aim", [{"snr": 30}, {"bits_per_weight": 4}])
def test_progress_moves_while_a_step_is_sought(aim):
    seen: list[tuple[int, int, str]] = []
    model = Model([Tensor(f"w{k}.weight", weights(64, 80)) for k in range(3)])
    encode(model, Config(**aim), progress=lambda *step: seen.append(step))
    done = [d for d, *_ in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]
    assert all(d <= total for d, total, _ in seen)
    assert sum(name == "(the step)" for *_, name in seen) >= 3
    assert [name for *_, name in seen][-3:] == [t.name for t in model.tensors]
