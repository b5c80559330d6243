"""Sets of models: the Laplacian model, the choice of a root, references among the models, and the budget."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import relatives
from helpers import changed, network_model, same_tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec import Config, ConfigError, Model, Tensor, encode
from refcodec.decoder import StreamDecoder
from refcodec.encoder.sets.arborescence import minimal_parents
from refcodec.encoder.sets.budget import budget_steps, model_steps, sources_of, utility
from refcodec.encoder.sets.coding_order import SetPlan, chain_plan, kl_matrix, plan_set
from refcodec.encoder.sets.laplacian import (
    distortion,
    fit,
    kl_histogram,
    kl_laplacian,
    rate,
    step_for_distortion,
    step_for_rate,
)


@pytest.fixture(scope="module")
def family() -> list[Model]:
    return relatives.models()


def decoded_models(stream: bytes) -> dict[str, Model]:
    """The models of a stream by name."""
    with StreamDecoder(stream) as decoder:
        return {m.name: m for m in (decoder.model(n) for n in range(len(decoder.parsed.models)))}


def noise(model: Model, decoded: Model) -> float:
    """Mean squared error over variance of the weight matrices."""
    a, b = (np.concatenate([t.array.reshape(-1).astype(np.float64) for t in m.tensors if len(t.shape) > 1])
            for m in (model, decoded))
    return float(np.square(a - b).mean() / a.var())


def noises(models: list[Model], stream: bytes) -> list[float]:
    found = decoded_models(stream)
    return [noise(m, found[m.name]) for m in models]


# The Laplacian model

def exact(scale: float, step: float, f: float) -> tuple[float, float]:
    """(D, R) summed level by level, the integrals by the antiderivative."""
    def integral(low, high, centre):
        def primitive(x):
            u = x - centre
            return -math.exp(-scale * x) * (u * u + 2 * u / scale + 2 / scale**2)
        return primitive(high) - primitive(low)

    error = integral(0, (1 - f) * step, 0)
    zero = 1 - math.exp(-scale * (1 - f) * step)
    bits = -zero * math.log2(zero)
    for n in range(1, 4000):
        p = math.exp(-scale * (n - f) * step) - math.exp(-scale * (n + 1 - f) * step)
        if p < 1e-290:
            break
        error += integral((n - f) * step, (n + 1 - f) * step, n * step)
        bits -= p * math.log2(p / 2)
    return error, bits


@pytest.mark.parametrize("f", [0.5, 0.4, 0.2, 0.0])
@pytest.mark.parametrize("product", [0.02, 0.3, 1.0, 1.7, 8.0])
def test_rate_and_distortion_are_the_sums(product, f):
    scale = 12.5
    error, bits = exact(scale, product / scale, f)
    assert distortion(scale, product / scale, f) == pytest.approx(error, rel=1e-8)
    assert rate(scale, product / scale, f) == pytest.approx(bits, rel=1e-8)
    a = product
    printed = ((a * math.exp(f * a) * (2 + a - 2 * f * a) + 2 - 2 * math.exp(a)) / (scale**2 * (1 - math.exp(a))))
    assert distortion(scale, product / scale, f) == pytest.approx(printed, rel=1e-8)


def test_rate_and_distortion_are_those_of_a_sample():
    x = np.random.default_rng(0).laplace(0, 0.05, 400_000)
    scale = fit(x)
    assert scale == pytest.approx(20, rel=0.01)
    for step, f in ((0.02, 0.5), (0.1, 0.4), (0.2, 0.3)):
        levels = np.sign(x) * np.floor(np.abs(x) / step + f)
        _, counts = np.unique(levels, return_counts=True)
        entropy = -(counts / x.size * np.log2(counts / x.size)).sum()
        assert rate(scale, step, f) == pytest.approx(entropy, rel=0.01)
        assert distortion(scale, step, f) == pytest.approx(np.square(x - levels * step).mean(), rel=0.02)


def test_limits_of_the_model():
    assert distortion(1, 1e-9) == pytest.approx(1e-18 / 12, rel=1e-6)
    assert rate(1, 1e-9) == pytest.approx(math.log2(2 * math.e) + 9 * math.log2(10), rel=1e-12)
    for step in (800.0, 1e9, 1e300):
        assert distortion(1, step) == pytest.approx(2)
        assert rate(1, step) == pytest.approx(0, abs=1e-100)
    assert fit(np.zeros(4)) == pytest.approx(1e30)
    assert fit(np.array([])) == pytest.approx(1e30)
    assert fit(np.array([1.0, np.nan, -1.0, np.inf])) == 1.0
    for bad in ((0, 1, 0.5), (1, -1, 0.5), (1, math.nan, 0.5), (1, 1, 1.0)):
        with pytest.raises(ConfigError, match="BAD_CONFIG"):
            distortion(*bad)


@given(st.floats(1e-3, 1e6), st.floats(0.001, 25), st.sampled_from([0.5, 0.4, 0.25]))
def test_steps_for_a_rate_and_an_error(scale, bits, f):
    step = step_for_rate(scale, bits, f)
    assert rate(scale, step, f) == pytest.approx(bits, rel=1e-6)
    assert step_for_distortion(scale, distortion(scale, step, f), f) == pytest.approx(step, rel=1e-3)


def test_divergences():
    rng = np.random.default_rng(1)
    x = np.linspace(-60, 60, 400_001)
    p, q = (s / 2 * np.exp(-s * np.abs(x)) for s in (2.0, 0.7))
    assert kl_laplacian(2.0, 0.7) == pytest.approx((p * np.log(p / q)).sum() * (x[1] - x[0]), rel=1e-4)
    a, b = rng.laplace(0, 0.5, 100_000), rng.laplace(0, 1 / 0.7, 100_000)
    assert kl_histogram(a, b) == pytest.approx(kl_laplacian(2.0, 0.7), rel=0.1)
    assert kl_histogram(a, a) == 0
    assert kl_laplacian(3.0, 3.0) == 0
    assert kl_histogram(np.zeros(3), np.zeros(9)) == 0


# Spanning trees

def leads_to_root(parents, count):
    for node in range(count):
        for _ in range(count + 1):
            node = parents[node] if node != count else node
        if node != count:
            return False
    return True


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_arborescences_are_minimal(count, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 20, (count + 1, count)).astype(float)
    weight[:count][rng.random((count, count)) < 0.2] = np.inf
    weight[range(count), range(count)] = np.inf

    def cost(parents):
        return sum(weight[p, j] for j, p in enumerate(parents))

    found = minimal_parents(weight)
    every = (p for p in itertools.product(range(count + 1), repeat=count) if leads_to_root(p, count))
    assert leads_to_root(found, count)
    assert cost(found) == min(map(cost, every))


# Plans

def check(plan: SetPlan, count: int) -> None:
    assert sorted(plan.order) == list(range(count))
    assert plan.root == plan.order[0]
    for place, j in enumerate(plan.order):
        assert all(i in plan.order[:place] for i in plan.references[j])
        assert plan.distances(j) == [place - plan.order.index(i) for i in plan.references[j]]
        assert all(plan.last_use(i) >= place for i in plan.references[j])
        assert plan.last_use(j) >= place


@pytest.mark.parametrize("config", [Config(), Config(step=0.02)])
def test_the_base_is_the_root(family, config):
    names = [m.name for m in family]
    for root in ("kl", "size", "base"):
        plan = plan_set(family, root, config)
        check(plan, len(family))
        assert names[plan.root] == "base"
        assert all(plan.references[j] == ((plan.root,) if name not in ("base", "unrelated") else ())
                   for j, name in enumerate(names))
    tree = plan_set(family, "auto", config)
    check(tree, len(family))
    assert tree.references[names.index("unrelated")] == ()
    assert tree.references[tree.root] == ()
    assert sum(tree.estimate) <= sum(plan_set(family, "size", config).estimate)
    assert all(len(r) == 0 for r in plan_set(family, "unrelated", config).references)


def test_a_tree_follows_the_family(family):
    names = [m.name for m in family]
    plan = plan_set(family, "auto", Config())
    pair = {names.index("shifted"), names.index("shifted_noisy")}
    assert any(i in pair and j in pair for j in pair for i in plan.references[j])


def test_large_sets_compare_a_few():
    base = network_model(3)
    models = [changed(base, 1e-3, seed) for seed in range(9)] + [base]
    for n, m in enumerate(models):
        m.name = f"m{n}"
    plan = plan_set(models, "auto", Config(step=0.001))
    check(plan, 10)
    assert sum(len(r) > 0 for r in plan.references) == 9


def test_distances():
    net = network_model()
    wider = Model([Tensor("fc1.weight", np.zeros((30, 36), np.float32))], "wider")
    matrix = kl_matrix([net, changed(net, 1e-5), wider])
    assert (matrix.diagonal() == 0).all()
    assert matrix[0, 1] < 0.01
    assert matrix[0, 2] == 4.0                                      # no tensor of this name and shape


def test_names_and_trivial_sets(family):
    assert plan_set(family[:1], "auto").order == [0]
    assert plan_set(family, "3").root == 3                           # by number, for files whose models share a name
    assert plan_set(family, None).references == chain_plan(len(family)).references
    with pytest.raises(ConfigError, match="no models are named"):
        plan_set(family, "nobody")
    with pytest.raises(ConfigError, match="2 models are named"):
        plan_set([family[0], family[0]], family[0].name)


# The budget, by the model alone

def test_a_root_with_relatives_gets_a_finer_step(family):
    plan = plan_set(family, "base", Config(step=0.02))
    sources = sources_of(family, plan, Config(step=1.0))
    steps, bits = model_steps(sources, plan, 1e-6, [1.0] * len(family))
    relative = {m.name: step / s.deviation for m, step, s in zip(family, steps, sources)}
    assert relative["base"] < 0.75 * relative["unrelated"]
    assert model_steps(sources, plan, 1e-5, [1.0] * len(family))[1] < bits
    assert utility([0.1, 0.2]) == pytest.approx(1.7)
    assert utility([0.5], [3.0]) == 1.5


def test_steps_for_a_size_that_is_imagined(family):
    """budget_steps needs nothing but a size that falls with the steps."""
    plan = plan_set(family, "base", Config(step=0.02))
    weights = [sum(t.size for t in m.tensors if len(t.shape) > 1) for m in family]

    def size(steps):
        return round(
            sum(n * (4.0 if s is None else max(0.01, math.log2(1 + 0.3 / s)) / 8) for n, s in zip(weights, steps)))

    for share in (0.05, 0.3, 1.5):
        budget = round(share * sum(weights))
        steps = budget_steps(family, plan, Config(step=1.0), budget, size)
        assert 0.97 * budget <= size(steps) <= budget
    assert budget_steps(family, plan, Config(step=1.0), 4 * sum(weights), size) == [None] * len(family)
    with pytest.raises(ConfigError, match="coarsest"):
        budget_steps(family, plan, Config(step=1.0), 100, size)
    integers = [Model([Tensor("n", np.arange(9))], "i")]
    with pytest.raises(ConfigError, match="nothing"):
        budget_steps(integers, chain_plan(1), Config(step=1.0), 10, lambda steps: 50)


# Streams

def test_relatives_in_one_stream_are_smaller(family):
    separate = sum(len(encode(m)) for m in family)
    stream = encode(family, Config(root="auto"))
    assert len(stream) < 0.7 * separate
    found = decoded_models(stream)
    assert all(same_tensors(m, found[m.name]) for m in family)
    assert len(stream) < 0.9 * len(encode(family))                # versions one after the other


@pytest.mark.parametrize("root", ["kl", "auto", "noisy"])
def test_lossy_sets_do_not_drift(family, root):
    """What is predicted from a decoded model is as near to its original as what is coded alone."""
    alone = [noise(m, decoded_models(encode(m, Config(step=0.02)))[m.name]) for m in family]
    stream = encode(family, Config(step=0.02, root=root))
    assert len(stream) < 0.45 * sum(len(encode(m, Config(step=0.02))) for m in family)
    for with_set, without in zip(noises(family, stream), alone):
        assert with_set < 1.1 * without


@pytest.mark.parametrize("config", [{}, {"step": 0.02}])
def test_unrelated_models_cost_nothing(family, config):
    pair = [m for m in family if m.name in ("base", "unrelated")]
    separate = sum(len(encode(m, Config(**config))) for m in pair)
    for root in (None, "auto", "kl", "size", "base", "unrelated"):
        assert len(encode(pair, Config(**config, root=root))) <= 1.005 * separate


def test_unchanged_tensors_are_copies(family):
    """Of a model of which only the last layer was refined, little but that is coded, with loss too."""
    base, head = (next(m for m in family if m.name == name) for name in ("base", "head"))
    for config in ({}, {"step": 0.01}, {"step": 0.01, "quality_layers": 2}):
        alone = len(encode(base, Config(**config)))
        both = encode([base, head], Config(**config, root="base"))
        assert len(both) - alone < 0.1 * alone
        found = decoded_models(both)
        assert np.array_equal(found["head"]["fc1.weight"].words, found["base"]["fc1.weight"].words)


def test_any_model_of_the_stream_can_be_referred_to(family):
    stream = encode(family, Config(step=0.02, root="base"))
    with StreamDecoder(stream) as decoder:
        headers = [m.header for m in decoder.parsed.models]
        assert headers[0].model_name == "base"
        assert headers[0].reference_count == 0
        distances = [h.reference[0].model_distance for h in headers[1:] if h.reference_count]
        assert sorted(distances) == list(range(1, 8))[: len(distances)] or max(distances) > 1
        last = decoder.model(-1)                                    # alone, without the models between
        assert noise(next(m for m in family if m.name == last.name), last) < 0.05


def test_long_chains():
    """Predictions of predictions are within the level that is declared; a chain that would be too long starts anew."""
    base = network_model(3)
    versions = [base]
    for seed in range(11):
        versions.append(changed(versions[-1], 1e-3, seed))
    for config in (Config(), Config(step=0.001), Config(step=0.001, quality_layers=3)):
        stream = encode(versions, config)
        with StreamDecoder(stream) as decoder:
            last = decoder.model(-1)
            assert len(decoder.parsed.models) == 12 * config.quality_layers
        assert same_tensors(last, versions[-1]) if not config.lossy else noise(versions[-1], last) < 0.01
    assert max(chain_plan(200).depths()) == 60
    assert chain_plan(3).depths() == [1, 2, 3]


def test_models_of_other_shapes_and_layers():
    """Zero padding both ways, a layer on one side only, in one set."""
    base = network_model(5)
    wide = Model([Tensor(t.name,
                         np.pad(t.array, 2)[tuple([slice(2, None)] * len(t.shape))]) for t in base.tensors], "wide")
    narrow = Model([Tensor(t.name, t.array[:6] if t.shape else t.array) for t in base.tensors], "narrow")
    more = Model([*changed(base, 1e-4).tensors, Tensor("fc9.weight", np.ones((3, 5), np.float32))], "more")
    models = [wide, base, narrow, more]
    found = decoded_models(encode(models, Config(root="auto")))
    assert all(same_tensors(m, found[m.name]) for m in models)
    assert len(encode(models, Config(root="auto"))) < 0.7 * sum(len(encode(m)) for m in models)


@pytest.mark.parametrize("share", [0.02, 0.06, 0.2])
def test_budgets_are_met(family, share):
    models = [m for m in family if m.name in ("base", "noisy", "few", "unrelated")]
    budget = round(share * sum(t.nbytes for m in models for t in m.tensors))
    stream = encode(models, Config(max_bytes=budget, root="auto"))
    assert 0.97 * budget <= len(stream) <= budget
    assert max(noises(models, stream)) < 1.05


def test_a_budget_is_spent_well(family):
    """More of the variances arrives than with one step for all, in no more bytes."""
    models = [m for m in family if m.name in ("base", "noisy", "few", "head", "unrelated")]
    uniform = encode(models, Config(step=0.02, root="base"))
    spent = encode(models, Config(max_bytes=len(uniform), root="base"))
    assert len(spent) <= len(uniform)
    assert sum(noises(models, spent)) < 0.9 * sum(noises(models, uniform))


def test_budgets_that_are_easy_and_impossible(family):
    base = family[2]
    lossless = encode(base)
    assert len(encode(base, Config(max_bytes=len(lossless) + 100))) <= len(lossless) + 100
    assert same_tensors(base, decoded_models(encode(base, Config(max_bytes=1 << 30)))["base"])
    with pytest.raises(ConfigError, match="RATE"):
        encode(base, Config(max_bytes=300))
    with pytest.raises(ConfigError, match="max_bytes"):
        encode(base, Config(max_bytes=30000, step=0.1))


def test_decimal_sets(family):
    """A preset of its own quantiser takes the plan too."""
    models = family[:4]
    config = Config(preset="s2-qbits", q_bits=10, root="auto")
    stream = encode(models, config)
    assert len(stream) < sum(len(encode(m, config)) for m in models)
    assert max(noises(models, stream)) < 1e-2
