"""What is asked for, what is decided, and with what certainty inputs that were held out show it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.networks import classifier, images, normal

from refcodec import ConfigError
from refcodec.calibration import Decision, Judge, Network, Target, measure_of, network_of
from refcodec.calibration.decisions import decision_of, decisions_of
from refcodec.calibration.measure import Output
from refcodec.calibration.scores import Score, most_lost
from refcodec.calibration.splits import BLOCKS, HELD_OUT_MIN, few_of, split, validation

# Decisions


@pytest.mark.parametrize("text, expected", [
    ("argmax:scores", Decision("scores", "argmax")), ("argmax:a:b", Decision("a:b", "argmax")),
    ("argmax:map:1", Decision("map", "argmax", 1)), ("argmax:map:-2", Decision("map", "argmax", -2)),
    ("threshold:p:0.25", Decision("p", "threshold", threshold=0.25)),
    ("threshold:a:b:-1e-3", Decision("a:b", "threshold", threshold=-1e-3))])
def test_decisions_are_read(text, expected):
    assert decision_of(text) == expected


@pytest.mark.parametrize("text", ["", "argmax", "argmax:", "threshold:p", "threshold:p:", "threshold:p:nan",
                                  "threshold::0.5", "threshold:p:much", "largest:p"])
def test_texts_that_are_no_decisions(text):
    with pytest.raises(ConfigError, match="is no decision: --decision argmax:NAME"):
        decision_of(text)


def test_what_stays_the_same():
    old = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.3, 0.3, 0.4]])
    new = np.array([[0.3, 0.4, 0.3], [0.3, 0.5, 0.2], [np.nan, 0.0, 1.0]])
    assert Decision("p", "argmax").kept(old, new).tolist() == [True, False, False]
    assert Decision("p", "argmax", 0).kept(old, new).tolist() == [False, False, True]
    above = Decision("p", "threshold", threshold=0.45).kept(old, new)
    assert above.tolist() == [[True, False, True], [False, False, True], [False, True, False]]


def test_decisions_follow_from_kinds():
    outputs = [Output("c", "classes", 1), Output("l", "log-classes", 2), Output("p", "chances"), Output("v", "values")]
    assert decisions_of(outputs) == [Decision("c", "argmax", 1), Decision("l", "argmax", 2), Decision("p", "threshold")]


# Splits

def test_a_fifth_is_held_out(tmp_path):
    proto = network_of(classifier(tmp_path))
    runs = [{"x": normal(64, 6)}, {"x": normal(37, 6, seed=1)}]
    kept, held = split(runs, proto)
    assert held.count == 20 and sum(len(run["x"]) for run in kept) == 81
    assert [len(run["x"]) for run in held.runs] == [len(b) for b in held.blocks]
    rows = {row.tobytes() for run in runs for row in run["x"]}
    assert {row.tobytes() for run in (*kept, *held.runs) for row in run["x"]} == rows
    again = split(runs, proto)[1]
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(held.runs, again.runs))
    other = split(runs, proto, seed=1)[1]
    assert any(a["x"].shape != b["x"].shape or not np.array_equal(a["x"], b["x"])
               for a, b in zip(held.runs, other.runs))


def test_neighbours_are_held_out_together(tmp_path):
    """Of many inputs, blocks of adjacent ones."""
    x = np.arange(1000 * 6, dtype=np.float32).reshape(1000, 6)
    _, held = split([{"x": x}], network_of(classifier(tmp_path)))
    first = held.runs[0]["x"][:, 0] // 6
    assert len(first) == 200 and np.array_equal(first // (1000 // BLOCKS), np.repeat(first[::10] // 10, 10))
    assert np.array_equal(held.blocks[0], np.repeat(np.arange(20), 10))


def test_what_is_calibrated_on_is_not_judged_on(tmp_path):
    """Inputs that come again stay out of what is held out."""
    proto, x = network_of(classifier(tmp_path)), normal(60, 6)
    x[50:] = x[:10]
    kept, held = split([{"x": x}], proto)
    known = {row.tobytes() for run in kept for row in run["x"]}
    assert not any(row.tobytes() in known for run in held.runs for row in run["x"])
    assert held.blocks[0].max() + 1 == held.count
    with pytest.raises(ConfigError, match="5 of the 20 inputs to judge on are those to calibrate on"):
        validation([{"x": np.concatenate([normal(15, 6, seed=3), x[:5]])}], [{"x": x}], proto)


@pytest.mark.parametrize("rows", [1, 11])
def test_too_few_inputs(rows, tmp_path):
    proto = network_of(classifier(tmp_path))
    with pytest.raises(ConfigError, match=f"{rows} inputs are too few: 4 or more are held out"):
        split([{"x": normal(rows, 6)}], proto)
    with pytest.raises(ConfigError, match="3 inputs to judge on are too few"):
        validation([{"x": normal(HELD_OUT_MIN - 1, 6)}], [{"x": normal(50, 6, seed=1)}], proto)


def test_all_the_same_input(tmp_path):
    with pytest.raises(ConfigError, match="only 0 inputs that are held out differ"):
        split([{"x": np.ones((100, 6), np.float32)}], network_of(classifier(tmp_path)))


@pytest.mark.parametrize("rows, expected", [(12, 4), (39, 13), (40, 8)])
def test_of_few_inputs_more_are_held_out(rows, expected, tmp_path):
    assert split([{"x": normal(rows, 6)}], network_of(classifier(tmp_path)))[1].count == expected


def test_sensitivities_need_few_of_many_large_inputs(tmp_path):
    proto = network_of(images(tmp_path))
    runs = [{"x": normal(n, 2, 120, 120, seed=n)} for n in (60, 64)]
    some = few_of(runs, proto)
    assert sum(len(run["x"]) for run in some) == (1 << 20) // (2 * 120 * 120)
    assert all(any(np.array_equal(row, x) for run in runs for x in run["x"]) for row in some[1]["x"][:3])
    assert few_of(some, proto)[0] is some[0]


# Scores

def judge_of(model, runs, decisions=(), seed=0):
    net = Network(model, runs)
    measure = measure_of(net.answers(), net.outputs())
    blocks, first = [], 0
    for run in runs:
        blocks.append(np.arange(first, first + len(run["x"])))
        first += len(run["x"])
    return Judge(net, blocks, measure.outputs, decisions or decisions_of(measure.outputs), seed), measure


@pytest.mark.parametrize("make, runs", [(classifier, [{"x": normal(40, 6)}, {"x": normal(9, 6, seed=1)}]),
                                        (images, [{"x": normal(30, 2, 8, 9)}])])
def test_scores_are_those_of_the_measure(make, runs, tmp_path):
    """What is added up by blocks is the distance of the whole."""
    model = make(tmp_path)
    judge, measure = judge_of(model, runs)
    name = judge.subject.order()[0]
    changes = {name: model[name].array * np.float32(1.2)}
    score = judge.score(changes)
    answers = judge.subject.answers(changes)
    assert judge.measured(score, Score.distance) == pytest.approx(measure(answers), rel=1e-9)
    if make is classifier:
        same = [a["p"].argmax(1) == b["p"].argmax(1) for a, b in zip(judge.reference, answers)]
        assert judge.measured(score, Score.lost_share) == pytest.approx(1 - np.concatenate(same).mean())
        assert judge.decision_count == judge.inputs == 49
    else:
        noise = np.square(answers[0]["y"] - judge.reference[0]["y"]).mean() / judge.reference[0]["y"].var()
        assert judge.measured(score, Score.noise) == pytest.approx(noise, rel=1e-5)
        assert Target("output_snr", 20).shown(noise) == pytest.approx(-10 * math.log10(noise))
    nothing = judge.score({})
    assert judge.measured(nothing, Score.distance) == judge.measured(nothing, Score.noise) == 0


def test_answers_that_are_no_numbers(tmp_path):
    model = classifier(tmp_path)
    judge, _ = judge_of(model, [{"x": normal(40, 6)}])
    score = judge.score({"w1": np.full((8, 6), np.nan, np.float32)})
    assert judge.measured(score, Score.distance) == math.inf
    assert judge.measured(score, Score.lost_share) == 1
    assert Target("kl", 1.0).bound(judge, score) == math.inf


def test_bounds_hold_as_often_as_they_say():
    """Of blocks drawn from one population the bound is above its mean nine times of ten; so with few of them."""
    chance = np.random.default_rng(0)
    for count, wanted in ((10, 0.84), (40, 0.87)):
        held, tries = 0, 300
        judge = Judge.__new__(Judge)
        judge.count, judge.once = count, np.ones((1, count))
        for _ in range(tries):
            judge.draws = chance.multinomial(count, [1 / count] * count, size=400).astype(float)
            moved = chance.gamma(2.0, 0.5, size=(count, 1))                  # of mean 1
            ones = np.ones((count, 1))
            score = Score(moved[:, 0], ones[:, 0], moved, moved, ones, ones, np.ones(1), np.ones(1, bool))
            held += judge.bound(score, Score.distance) >= 1.0
        assert wanted < held / tries < 0.96


@pytest.mark.parametrize("lost, decisions, expected", [(0, 20, 1 - 0.1**(1 / 20)), (0, 76, 1 - 0.1**(1 / 76)),
                                                       (20, 20, 1.0), (5, 100, 0.0908)])
def test_most_lost(lost, decisions, expected):
    assert most_lost(lost, decisions) == pytest.approx(expected, abs=2e-4)


def test_outputs_of_the_original_must_be_numbers(tmp_path):
    net = Network(classifier(tmp_path), [{"x": np.full((9, 6), np.inf, np.float32)}])
    with pytest.raises(ConfigError, match="output 'p' of the unchanged network is not finite"):
        Judge(net, [np.arange(9)], [Output("p", "classes", 1)])


# Targets

@pytest.mark.parametrize("kind, value", [
    ("decisions", 0.0), ("decisions", 1.0), ("decisions", 97.0), ("kl", 0.0), ("kl", -1.0), ("kl", math.nan),
    ("output_snr", math.inf), ("bits_per_weight", 0.0), ("bits_per_weight", 25.0), ("max_bytes", -1.0),
    ("nonsense", 1)])
def test_targets_that_none_can_have(kind, value):
    with pytest.raises(ConfigError, match="target"):
        Target(kind, value)


def test_what_inputs_cannot_show(tmp_path):
    judge, _ = judge_of(classifier(tmp_path), [{"x": normal(75, 6)}])
    with pytest.raises(ConfigError, match="75 decisions .* show that 97 % of decisions stay.*: 76 are the least"):
        Target("decisions", 0.97).check(judge)
    Target("decisions", 0.96).check(judge)
    Target("kl", 0.01).check(judge)
    values, _ = judge_of(images(tmp_path), [{"x": normal(30, 2, 8, 9)}])
    with pytest.raises(ConfigError, match="y are values: ask for --target-output-snr"):
        Target("kl", 0.01).check(values)


@pytest.mark.parametrize("decisions, said", [
    ([Decision("q", "argmax")], "no output 'q'; it has p"), ([Decision("p", "argmax", 2)], "has no axis 2"),
    ([Decision("p", "argmax", -3)], "has no axis -3")])
def test_decisions_that_an_output_has_not(decisions, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        judge_of(classifier(tmp_path), [{"x": normal(40, 6)}], decisions)
