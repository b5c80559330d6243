"""Networks that are given back what they put out: a state that goes from run to run."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.networks import normal, saved
from onnx import helper

from refcodec import ConfigError, Tensor, decode
from refcodec.calibration import Target, calibrate
from refcodec.calibration.feeding import (
    BLOCKS_FED,
    PIECE,
    PIECES,
    FedNetwork,
    chains_of,
    fed,
    feed_of,
    sampled,
    split_fed,
)

FEED = {"after": "state"}


@pytest.fixture
def network(tmp_path):
    """after = tanh(x w + state r), y = after v: a state of 12 numbers, which decays slowly."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["state", "r"], ["b"]),
             helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Tanh", ["c"], ["after"]),
             helper.make_node("MatMul", ["after", "v"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=-1)]
    r = (0.97 * np.linalg.qr(normal(12, 12, seed=1))[0]).astype(np.float32)
    return saved(tmp_path, nodes, {"x": [2, 6], "state": [2, 12]}, {"y": [2, 5], "after": [2, 12]}, {
        "w": normal(6, 12, scale=0.1), "r": r, "v": normal(12, 5, seed=2)})


def sequence(runs: int, seed: int = 0):
    return [{"x": x, "state": np.zeros((2, 12), np.float32)} for x in normal(runs, 2, 6, seed=seed)]


def by_hand(model, runs):
    w, r, v = (model[n].array.astype(np.float64) for n in ("w", "r", "v"))
    state, found = np.zeros((2, 12)), []
    for run in runs:
        before, state = state, np.tanh(run["x"] @ w + state @ r)
        z = np.exp(state @ v)
        found.append((before, z / z.sum(axis=1, keepdims=True)))
    return found


def test_states_are_those_that_the_network_comes_to(network):
    sequences = [sequence(7), sequence(4, seed=5)]
    filled = fed(network, sequences, FEED)
    net = FedNetwork(network, filled, chains_of(sequences), FEED)
    expected = [x for runs in sequences for x in by_hand(network, runs)]
    for run, answer, (before, y) in zip(filled, net.answers(), expected):
        np.testing.assert_allclose(run["state"], before, atol=1e-5)
        np.testing.assert_allclose(answer["y"], y, rtol=1e-4)
    # With other weights the states go other ways: what is given for them is for the first run alone.
    other = net.answers({"w": network["w"].array * np.float32(0.5)})
    halved = {n: Tensor(n, network[n].array * np.float32(0.5 if n == "w" else 1.0)) for n in ("w", "r", "v")}
    for answer, (_, y) in zip(other, [x for runs in sequences for x in by_hand(halved, runs)]):
        np.testing.assert_allclose(answer["y"], y, rtol=1e-4)


def test_what_is_held_out_begins_before_it_is_judged():
    runs = [{"x": np.full(1, n)} for n in range(400)]
    kept, kept_chains, held, chains = split_fed(runs, [list(range(150)), list(range(150, 400))], seed=0)
    long = 400 // BLOCKS_FED
    judged = [int(run["x"][0]) for run, b in zip(held.runs, held.blocks) if b[0] >= 0]
    assert sorted(judged + [int(run["x"][0]) for run in kept]) == list(range(400))
    for chain in chains:
        numbers = [int(held.runs[n]["x"][0]) for n in chain]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert not numbers[0] < 150 <= numbers[-1]
        before = sum(held.blocks[n][0] < 0 for n in chain)
        assert before == long or numbers[0] in (0, 150)
    assert held.count == len(judged) == 80
    for chain in kept_chains:
        numbers = [int(kept[n]["x"][0]) for n in chain]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert sorted(n for chain in kept_chains for n in chain) == list(range(len(kept)))
    some, some_chains = sampled(kept, kept_chains)
    assert len(some) == sum(map(len, some_chains)) and len(some_chains) <= PIECES and 100 < len(some) <= PIECE * PIECES
    for chain in some_chains:
        numbers = [int(some[n]["x"][0]) for n in chain]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_calibration_that_keeps_the_answers_of_sequences(network):
    made = calibrate(network, [sequence(400)], Target("kl", 0.002), feed=FEED, effort=10)
    decoded = decode(made.stream)
    runs = sequence(200, seed=9)
    new = {n: decoded[n].array for n in ("w", "r", "v")}
    old = FedNetwork(network, runs, chains_of([runs]), FEED)
    moved = [(a["y"] * np.log(a["y"] / b["y"])).sum(axis=1).mean() for a, b in zip(old.answers(), old.answers(new))]
    assert np.mean(moved) < 0.003


@pytest.mark.parametrize("feed, said", [({"none": "state"}, "no output 'none'; it has y, after"),
                                        ({"after": "none"}, "no input 'none'; it has x, state")])
def test_names_that_there_are_not(feed, said, network):
    with pytest.raises(ConfigError, match=said):
        fed(network, [sequence(9)], feed)


def test_one_run_is_no_sequence(network):
    with pytest.raises(ConfigError, match="there is one only"):
        fed(network, [sequence(1)], FEED)


def test_an_output_that_is_no_such_input(network):
    with pytest.raises(ConfigError, match="the network fails on the inputs given"):
        fed(network, [sequence(9)], {"y": "state"})


@pytest.mark.parametrize("text", ["", "state", "state:", ":state"])
def test_texts_that_name_no_pair(text):
    with pytest.raises(ConfigError, match="--feed OUTPUT:INPUT"):
        feed_of([text])
    assert feed_of(["a:b:c"]) == {"a:b": "c"}
