"""S4 and the transformer: what training made comes back from its stream; figures are made of what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import s4_coding
import s4_methods
import s4_runs
import s4_updates
import transformer_steps
from helpers import ROOT
from networks import initial, lenet
from s4_runs import Point
from section import Context

from refcodec.bitstream.structures import Representation

EXPERIMENTS = ROOT / "tools" / "experiments"
SIZES = {"KA": 2, "ML": 4, "LRA": 3, "RM": 0.1, "LRU": 4, "FP": 0.5}


def refined(method: str, size: float):
    """(network, deployed, made, free, others, refined): small random changes of all that a method trains."""
    network = lenet(8, (40, 24))
    deployed = initial(network, 3)
    rng = np.random.default_rng(4)
    made = s4_methods.trainables(network, deployed, method, size, 5)
    free = {name: {k: (v + 0.05 * rng.standard_normal(v.shape)).astype(np.float32) for k, v in m.free.items()}
            for name, m in made.items()}
    others = {name: v + np.float32(0.01) * rng.standard_normal(v.shape).astype(np.float32)
              for name, v in s4_methods.vectors(network, deployed, made).items()}
    return network, deployed, made, free, others, s4_methods.rebuilt(deployed, made, free, others)


@pytest.mark.parametrize("method, size", [*SIZES.items(), ("KA", 0)])
def test_an_update_comes_back(method, size):
    _, deployed, made, free, others, target = refined(method, size)
    coded = s4_coding.send_update(target, deployed, made, free)
    assert list(coded.received) == list(deployed)
    for name, wanted in target.items():
        noise, change = (float(np.square(a - wanted).mean()) for a in (coded.received[name], deployed[name]))
        assert noise < 0.03 * change, name                  # 20 dB, and what the noise of two factors makes together
        assert name not in made or not np.array_equal(coded.received[name], deployed[name])
    assert coded.size < 4 * s4_methods.values_sent(made, others) + 500


def test_masks_touch_what_they_choose():
    for method in ("RM", "FP"):
        _, deployed, made, free, _, target = refined(method, SIZES[method])
        received = s4_coding.send_update(target, deployed, made, free).received
        for name, m in made.items():
            outside = m.frozen["mask"] == 0
            left = deployed[name] if method == "RM" else np.zeros_like(deployed[name])
            assert np.array_equal(received[name][outside], left[outside]), name
            assert (received[name] != left)[~outside].mean() > 0.5


def test_removed_filters_are_silent():
    _, _, made, _, _, _ = refined("FP", 0.5)
    network, deployed = lenet(8, (40, 24)), initial(lenet(8, (40, 24)), 3)
    deployed = {k: v + np.float32(1) for k, v in deployed.items()}
    others = s4_methods.vectors(network, deployed, made)
    rows = made["fc1.weight"].rows
    assert rows.sum() == 20
    assert made["fc3.weight"].rows.all()
    assert not others["fc1.bias"][~rows].any()
    assert others["fc1.bias"][rows].all()
    assert deployed["fc1.bias"].all(), "the deployed arrays stay as they are"


def test_what_is_frozen_and_where_training_starts():
    """KA, LRU and RM start at the deployed weights; ML and LRA at their projection; FP without the removed rows."""
    x = initial(lenet(8, (40, 24)), 3)["fc1.weight"]
    for method, size in SIZES.items():
        m = s4_methods.trainable(method, size, x, 7)
        w = m.build(m.frozen, m.free)
        if method in ("KA", "LRU", "RM"):
            assert np.array_equal(w, x)
        elif method == "FP":
            assert np.array_equal(w[m.rows], x[m.rows])
            assert not w[~m.rows].any()
        else:
            rank = int(size)
            s = np.linalg.svd(x, compute_uv=False)
            assert np.linalg.matrix_rank(w) == rank
            assert math.isclose(np.linalg.norm(x - w), np.linalg.norm(s[rank:]), rel_tol=1e-3)
    assert s4_methods.trainable("LRA", 10**6, x, 7).update({"left": x[:, :9], "right": x[:9]}, 0.0).arrays
    left = s4_methods.trainable("LRA", 10**6, x, 7).free["left"]
    assert left.shape[1] * sum(x.shape) <= x.size
    gains_alone = s4_methods.trainable("KA", 0, x, 7).update({"t": np.ones(40)}, 0.0)
    assert gains_alone.representation == Representation.AUGMENTATION
    assert len(gains_alone.arrays) == 1


def test_snapping_keeps_to_its_error():
    rng = np.random.default_rng(6)
    base = rng.standard_normal((30, 20)).astype(np.float32)
    array = base + np.float32(0.1) * rng.standard_normal(base.shape).astype(np.float32)
    array[3] = base[3]
    zero_bits = []
    for error in (0.0, 1e-9, 1e-6, 1e-4):
        got = s4_coding.snapped(array, base, error)
        assert np.square(got.astype(np.float64) - array).mean() <= error
        assert np.array_equal(got[3], base[3])
        words = s4_coding.difference(got.view(np.uint32), base.view(np.uint32), s4_coding.FLOAT)
        together = int(np.bitwise_or.reduce(words, axis=None))
        zero_bits.append((together & -together).bit_length() - 1)
    assert zero_bits[0] == 0
    assert zero_bits == sorted(zero_bits)
    assert zero_bits[-1] >= 12


def test_quick_mode():
    """Every method gains on the new domain, and its stream costs little accuracy."""
    section = s4_updates.run(Context(True, (1,)))
    facts = section.facts
    assert facts["methods"] == len(s4_methods.METHODS)
    assert facts["smallest_gain"] > 20
    assert facts["largest_drop"] < 5
    assert facts["largest_update_percent"] < 5
    sizes = {row[0]: float(row[1]) for row in section.tables[0].rows}
    assert sizes["KA, n = 0"] == min(sizes.values())


def test_quick_mode_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError):
        s4_updates.run(Context(True, (1,), weights=tmp_path))


def test_transformer_quick():
    facts = transformer_steps.run(Context(True, (1,))).facts
    assert facts["update_always_below_direct"]
    assert facts["smallest_file_over_update"] > 1.8
    assert facts["least_xz_xor_over_update"] > 1.05
    assert facts["least_pairs_over_update"] > 2


def test_transformer_files_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="train_transformer"):
        transformer_steps.run(Context(False, (1,), models=tmp_path, cache=tmp_path))


def test_comparisons_between_sizes():
    curve = [(0.1, [60.0, 62.0]), (1.0, [80.0, 82.0]), (10.0, [90.0, 90.0])]
    assert s4_updates._reaches(curve, 71.0) == pytest.approx(math.sqrt(0.1))
    assert s4_updates._reaches(curve, 95.0) is None
    assert s4_updates._reaches(curve, 50.0) is None
    assert s4_updates._under(curve, 1.0) == [60.0, 62.0]
    assert s4_updates._under(curve, 0.1) is None

    points = [Point("KA", 0, seed, 100, 10, 75.0, 75.0) for seed in (1, 2)] + [Point("KA", 4, 1, 10**6, 10, 75.0, 75.0)]
    for seed in (1, 2):
        points += [Point("LRU", 1, seed, 10, 1, 60.0 + seed, 60.0 + seed), Point("LRU", 4, seed, 1000, 100, 80.0, 80.0)]
    leads = s4_updates._leads(points, 10**5, "LRU", coded=True)
    assert leads[0] == pytest.approx([75 - 70.5, 75 - 71])
    assert leads[4] == []


def test_results_are_kept(tmp_path):
    path = tmp_path / "a" / "b.json"
    assert s4_runs.kept(path, lambda: [1, 2.5]) == [1, 2.5]
    assert s4_runs.kept(path, lambda: 1 / 0) == [1, 2.5]
    with pytest.raises(ZeroDivisionError):
        s4_runs.kept(tmp_path / "c.json", lambda: 1 / 0)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["b.json"]
