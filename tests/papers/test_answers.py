"""The list of networks and inputs, what counts as a decision, and bytes at equal answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from answers import catalogue, graphs, sounds, words
from answers.evaluate import decisions, run, stacked
from answers.judge import Verdict
from answers.methods import Curve, Point, lost, moved
from answers.sources import Pinned


def test_everything_is_pinned_and_has_an_origin_and_a_licence():
    data = [x for x in vars(catalogue).values() if isinstance(x, Pinned)]
    several = [*catalogue.PHOTOS_CALIBRATION, *catalogue.PHOTOS_TEST, *catalogue.FONTS]
    networks = [e.network for e in catalogue.MODELS if isinstance(e.network, Pinned)]
    for pinned in [*data, *several, *networks]:
        assert len(pinned.sha256) == 64 and "==" in pinned.package and pinned.licence, pinned
    assert len({e.name for e in catalogue.MODELS}) == len(catalogue.MODELS) >= 10
    calibration, test = ({p.member for p in x} for x in (catalogue.PHOTOS_CALIBRATION, catalogue.PHOTOS_TEST))
    assert not calibration & test


def test_the_kinds_of_decisions():
    answers = [{"p": np.array([[0.1, 0.7], [0.6, 0.2]])}, {"p": np.array([[0.2, 0.25]])}]
    assert decisions("argmax:p", answers).tolist() == [1, 0, 1]
    assert decisions("threshold:p:0.5", answers).tolist() == [0, 1, 1, 0, 0, 0]
    assert decisions("peak:p:0.3", answers).tolist() == [1, 0, -1]
    with_colon = [{"a:1": answers[0]["p"]}]
    assert decisions("peak:a:1:0.65", with_colon).tolist() == [1, -1]


def test_states_are_carried_from_run_to_run():
    class Named:
        def __init__(self, name):
            self.name = name

    class Adder:
        def get_outputs(self):
            return [Named("total")]

        def get_inputs(self):
            return [Named("x"), Named("state")]

        def run(self, names, given):
            return [given["x"] + given["state"]]

    runs = stacked({"x": np.arange(4.0), "state": np.zeros(4)}, ["x", "state"])
    assert [float(r["total"]) for r in run(Adder(), runs, {"state": "total"})] == [0, 1, 3, 6]
    assert [float(r["total"]) for r in run(Adder(), runs)] == [0, 1, 2, 3]


def law(octaves: float) -> Point:
    """A codec whose distance falls by two octaves with each bit."""
    return Point(round(1000 + 500 * octaves), Verdict(1 - 2.0**-(octaves + 3), 2.0**(-2 * octaves)), octaves)


@pytest.mark.parametrize("start", [-3.0, 2.0, 9.0])
def test_bytes_at_a_distance_lie_between_streams(start):
    curve = Curve(law, start)
    for octaves in (0.3, 4.1, 6.0):
        assert curve.bytes_at(2.0**(-2 * octaves), moved) == pytest.approx(1000 + 500 * octaves, abs=20)
        assert curve.bytes_at(2.0**(-2 * (octaves + 3)), lost) == pytest.approx(1000 + 500 * octaves, abs=20)


def test_what_is_never_reached_is_no_number():
    assert math.isnan(Curve(lambda octaves: Point(1, Verdict(0.5, 1.0), 1.0), 0.0).bytes_at(1e-6, moved))


def test_resampling_keeps_a_tone():
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    found = sounds.resampled(tone, 44100, 16000)
    assert len(found) == 16000
    assert np.abs(found - np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).max() < 1e-3


def test_frames_of_speech_have_what_comes_before_them():
    sound = np.arange(4 * 3 * 512, dtype=np.float32)
    frames = sounds.speech_frames(sound, 16000)["input"]
    assert frames.shape == (3, 4, 576)
    assert (frames[0, :, :64] == 0).all()
    assert np.array_equal(frames[1, 2, :64], frames[0, 2, -64:])
    assert np.array_equal(frames[:, 3, 64:].reshape(-1), sound[9 * 512:])


def test_sentences_and_their_pieces():
    source = b'"""Estimate the parameters of a linear model from data. No.\n\nx = 3 * y is not prose\n"""\n'
    found = words.sentences({"a.py": source, "b.txt": source})
    assert found == ["Estimate the parameters of a linear model from data."]
    known = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "play": 4, "##ing": 5, ".": 6}
    vocabulary = json.dumps({"model": {"vocab": known}}).encode()
    found = words.tokenised(["Playing."] * graphs.SENTENCES, vocabulary)
    assert found["ids"].shape == (1, graphs.SENTENCES, graphs.TOKENS)
    assert found["ids"][0, 0, :6].tolist() == [2, 4, 5, 6, 3, 0]
    assert found["mask"][0, 0].sum() == 5


def test_the_graph_of_a_pitch_tracker_runs():
    import onnxruntime

    chance, tensors = np.random.default_rng(0), {}
    for n, (i, o) in enumerate(((1, 128), (128, 16), (16, 16), (16, 16), (16, 32), (32, 64)), 1):
        tensors[f"conv{n}.weight"] = chance.normal(scale=0.05, size=(o, i, 512 if n == 1 else 64, 1)).astype("f4")
        for part in ("conv{}.bias", "conv{}_BN.weight", "conv{}_BN.bias", "conv{}_BN.running_mean",
                     "conv{}_BN.running_var"):
            tensors[part.format(n)] = np.full(o, "weight" in part or "var" in part, np.float32)
    tensors["classifier.weight"] = chance.normal(scale=0.05, size=(360, 256)).astype("f4")
    tensors["classifier.bias"] = np.zeros(360, np.float32)
    (found,) = onnxruntime.InferenceSession(graphs.crepe_tiny(tensors)).run(
        None, {"frames": chance.normal(size=(2, 1024)).astype("f4")})
    assert found.shape == (2, 360) and (found > 0).all() and (found < 1).all()
