"""The knowledge center's store: what goes in comes out by the smallest chain, verified; what is damaged is found."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from helpers import DATA, same_tensors

pytest.importorskip("fsspec")

from helpers.center import FAMILY, cli_lines, digest, family, filled, refused, small

from refcodec import Config, Model, Tensor, decode, encode, load, save
from tools.knowledge_center import Planner, Store, advice, generated, upkeep
from tools.knowledge_center.coding import identity_of
from tools.knowledge_center.graph import Edge, shortest_chain


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return filled(tmp_path_factory.mktemp("center"))


# What goes in comes out

@pytest.mark.parametrize("url", [".", "file", "memory"])
def test_models_come_out_of_any_file_system(tmp_path, url):
    url = {"file": f"file://{tmp_path}/elsewhere", "memory": f"memory://{tmp_path.name}", ".": "."}[url]
    store = Store.create(tmp_path / "center", url)
    for name in ("base", "noisy", "head"):
        version, new = store.add(name, family()[name])
        assert new
        assert version.model_digest == family()[name].digest().hex()
    again = Store(tmp_path / "center")
    for name in ("base", "noisy", "head"):
        assert same_tensors(again.model(name), family()[name])
    assert len(again.objects.all()) == 3
    assert upkeep.verify(again).clean
    if url.startswith("file"):
        names = sorted(p.name for p in (tmp_path / "elsewhere").rglob("*.omc"))
        assert names == sorted(f"{d}.omc" for d in again.objects.all())


def test_onnx_files_come_back_byte_for_byte(tmp_path):
    store = Store.create(tmp_path / "center")
    for name, parent in (("digits_v1", None), ("digits_v2", "digits_v1")):
        store.add(name, load(DATA / f"{name}.onnx"), parents=[parent] if parent else [])
    for name in ("digits_v1", "digits_v2"):
        save(Store(store.folder).model(name), tmp_path / "out.onnx")
        assert (tmp_path / "out.onnx").read_bytes() == (DATA / f"{name}.onnx").read_bytes()


def test_the_same_tensors_in_another_file_are_another_model(tmp_path):
    store = Store.create(tmp_path)
    onnx = load(DATA / "digits_v1.onnx")
    bare = Model(onnx.tensors, onnx.name)
    store.add("file", onnx)
    version, _ = store.add("bare", bare, parents=["file"])
    assert version.model_digest == digest(store, "file")
    assert version.source_digest == ""
    plan = Planner(store).plan("file", have=version.model_digest, have_source="")
    assert 0 < plan.bytes < 5000                    # every tensor is a copy, the file around them is not
    assert Planner(store).plan("bare", version.model_digest, "").steps == []
    with refused("CONFLICT"):
        store.add("file", bare)


def test_lineage_is_a_tree(store):
    lines = cli_lines("lineage", store.folder)
    assert lines[0].startswith("base  lossless, 127,912 bytes")
    assert any(line.startswith("|  `- shifted_noisy  ") for line in lines)
    assert len(lines) == len(FAMILY)


def test_adding_twice(tmp_path):
    store = Store.create(tmp_path)
    store.add("a", small(1))
    store.add("b", small(2, small(1)), parents=["a"])
    before = store.objects.all()
    assert store.add("b", small(2, small(1)), parents=["a"])[1] is False
    assert store.add("b", small(2, small(1)))[1] is False
    assert store.add("c", small(2, small(1)))[1] is True          # another name for the same model
    assert store.objects.all() == before
    for wrong in (lambda: store.add("b", small(3)), lambda: store.add("b", small(2, small(1)), parents=["c"]),
                  lambda: store.add_stream("b", encode(small(3)))):
        with refused("CONFLICT"):
            wrong()
    assert store.objects.all() == before


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "-x", pytest.param("a" * 101, id="101 letters"),
                                  "a\0", "ä", "a b", "a\n", None, 7])
def test_names_that_are_no_names(store, name):
    with refused("BAD_REQUEST"):
        store.version(name)
    with refused("BAD_REQUEST"):
        store.add(name, small(1))


def test_what_is_not_there(store, tmp_path):
    for missing in (lambda: store.model("nobody"), lambda: store.add("x", small(1), parents=["nobody"]),
                    lambda: store.add("x", small(1), reference="nobody"), lambda: Store(tmp_path)):
        with refused("NOT_FOUND"):
            missing()
    assert [v.name for v in store.index.versions()] == list(FAMILY)


# Lossy models are models of their own

def test_lossy_versions_have_digests_of_their_own(tmp_path):
    store = Store.create(tmp_path)
    base, noisy = family()["base"], family()["noisy"]
    coarse, new = store.add("coarse", base, config=Config(snr=25))
    assert new
    assert coarse.kind == "lossy"
    assert coarse.model_digest != base.digest().hex()
    assert store.add("coarse", base, config=Config(snr=25))[1] is False
    with refused("CONFLICT"):
        store.add("coarse", base, config=Config(snr=30))
    # An update that was coded against the exact base cannot be applied to the coarse one: it is refused, not wrong.
    update = encode(noisy, references=[base])
    with refused("NOT_FOUND"):
        store.add_stream("noisy", update)
    store.add_stream("noisy", encode(noisy, references=[store.model("coarse")]))
    assert same_tensors(Store(tmp_path).model("noisy"), noisy)
    assert store.version("noisy").parents == ("coarse",)


def test_streams_are_kept_as_they_are(tmp_path):
    store = Store.create(tmp_path)
    base, head = family()["base"], family()["head"]
    stream = encode(base)
    store.add_stream("base", stream, model_digest=base.digest().hex())
    update = encode(head, references=[base])
    store.add_stream("head", update)
    assert [store.objects.read(e.object) for e in store.index.edges()] == [stream, update]
    assert store.version("head").parents == ("base",)
    with refused("DIGEST_MISMATCH"):
        store.add_stream("other", stream, model_digest=head.digest().hex())
    both = encode(family()["noisy"], references=[base, head])
    store.add_stream("noisy", both)
    assert same_tensors(Store(tmp_path).model("noisy"), family()["noisy"])
    for cut in (stream[:-1], stream[:100], b"", b"not a stream", stream[:5000] + b"x" + stream[5001:]):
        with refused("BAD_STREAM"):
            store.add_stream("cut", cut)


# Plans

def test_chains_are_the_shortest():
    rng = np.random.default_rng(3)
    for _ in range(60):
        count = 5
        edges = [Edge(f"{n}", int(rng.integers(1, 100)), ["", *"abcde"][rng.integers(0, count + 1)],
                      int(t := rng.integers(0, count)),
                      "abcde"[t]) for n in range(12)]
        have, want = "abcde"[rng.integers(0, count)], int(rng.integers(0, count))
        best = {"": 0, have: 0}
        for _ in range(count + 2):                                  # Bellman and Ford
            for e in edges:
                if e.reference in best:
                    best[e.result] = min(best.get(e.result, 10**9), best[e.reference] + e.size)
        ends = [best[e.reference] + e.size for e in edges if e.model == want and e.reference in best]
        chain = shortest_chain(edges, [have], want)
        assert (chain is None) == (not ends)
        if chain:
            assert sum(e.size for e in chain) == min(ends)
            assert chain[-1].model == want
            assert chain[0].reference in ("", have)
            assert all(a.result == b.reference for a, b in itertools.pairwise(chain))


def test_every_version_from_every_other(store):
    """The smallest chain decodes to the version, is never larger than the whole model, and mostly much smaller."""
    planner, sent, whole = Planner(store), 0, 0
    sizes = {name: len(encode(family()[name])) for name in FAMILY}
    for have in ["", *FAMILY]:
        for want in FAMILY:
            plan = planner.plan(want, digest(store, have) if have else "", "" if have else None)
            model = family()[have] if have else None
            for edge in plan.steps:
                model = decode(store.objects.read(edge.object), [model] if edge.reference else [])
            assert same_tensors(model, family()[want])
            assert plan.bytes <= sizes[want]
            assert have != want or plan.bytes == 0
            if have not in ("", want):
                sent, whole = sent + plan.bytes, whole + sizes[want]
    assert sent < 0.75 * whole
    assert upkeep.verify(store).clean


def test_streams_are_made_once_and_only_kept_where_smaller(tmp_path):
    store = Store.create(tmp_path)
    store.add("a", small(1))
    store.add("b", small(2, small(1)), parents=["a"])
    store.add("c", small(3, store.model("b")), parents=["b"])
    planner = Planner(store)
    assert len(planner.plan("c", make=False).steps) == 3
    assert len(planner.plan("c", digest(store, "a"), "", make=False).steps) == 2
    plan = planner.plan("c", digest(store, "a"), "")
    assert len(plan.steps) == 1
    assert plan.bytes < planner.plan("c").bytes == plan.whole_bytes
    before = store.objects.all()
    assert planner.plan("c", digest(store, "a"), "") == plan
    assert store.objects.all() == before
    unknown = planner.plan("c", "0" * 64, "")
    assert not unknown.known
    assert unknown.bytes == plan.whole_bytes


def test_long_chains_get_a_whole_stream_again(tmp_path):
    store, model = Store.create(tmp_path), small(0)
    for n in range(12):
        store.add(f"v{n}", model, parents=[f"v{n - 1}"] if n else [])
        model = small(n + 1, model)
    assert max(len(Planner(store).plan(f"v{n}", make=False).steps) for n in range(12)) <= 9
    assert sum(e.reference == "" for e in store.index.edges()) == 2


# Prediction models

def test_the_best_reference_is_found(store):
    found = advice.candidates(store, family()["shifted_noisy"], identity_of(family()["shifted_noisy"]))
    assert found[0].names == ["shifted"]
    real = {c.names[0]: len(encode(family()["shifted_noisy"], references=[family()[c.names[0]]])) for c in found}
    assert found[0].size == min(real.values())
    assert all(c.size in (None, real[c.names[0]]) for c in found)
    assert advice.best_reference(store, family()["unrelated"], identity_of(family()["unrelated"])) is None


def test_a_generated_model_predicts_better(tmp_path):
    """The mean of five relatives is nearer to a sixth one than any of them; the center finds and uses it."""
    store = Store.create(tmp_path)
    rng, base = np.random.default_rng(0), small(0)["w"].array
    relative = [Model([Tensor("w", (base + rng.normal(0, 0.01, base.shape)).astype(np.float32)),
                       Tensor("steps", np.array(n))]) for n in range(6)]
    for n, model in enumerate(relative[:5]):
        store.add(f"m{n}", model)
    made, = generated.generate(store, "mean", [f"m{n}" for n in range(5)])
    assert made.kind == "generated"
    assert made.parents == tuple(f"m{n}" for n in range(5))
    mean = store.model("mean")["w"].array
    expected = np.mean([m["w"].array.astype(np.float64) for m in relative[:5]], axis=0)
    assert np.array_equal(mean, expected.astype(np.float32))
    assert store.model("mean")["steps"].array == 0
    best = advice.candidates(store, relative[5], identity_of(relative[5]))[0]
    assert best.names == ["mean"]
    assert best.size < len(encode(relative[5], references=[relative[0]]))
    store.add("m5", relative[5])
    assert Planner(store).plan("m5", digest(store, "mean"), "").bytes == best.size


def test_clusters(tmp_path):
    store = Store.create(tmp_path)
    kinds = [small(n, small(k)) for k in (10, 20) for n in range(3)]
    for n, model in enumerate(kinds):
        store.add(f"m{n}", model)
    made = generated.generate(store, "mean", [f"m{n}" for n in range(6)], clusters=2)
    assert sorted(v.parents for v in made) == [("m0", "m1", "m2"), ("m3", "m4", "m5")]
    store.add("other", Model([Tensor("w", np.ones(3, np.float32))]))
    for sources, clusters in ((["m0", "other"], 1), (["m0"], 1), (["m0", "m1"], 3)):
        with refused("BAD_REQUEST"):
            generated.generate(store, "no", sources, clusters)


# The command line


def test_commands(tmp_path):
    v1, v2, center, out = DATA / "digits_v1.onnx", DATA / "digits_v2.onnx", tmp_path / "center", tmp_path / "out.onnx"
    cli_lines("init", center)
    assert cli_lines("add", center, "v1", v1)[0].startswith("v1: added; 153,896 bytes of tensors")
    assert json.loads(cli_lines("add", center, "v2", v2, "--parent", "v1", "--json")[0])["new"] is True
    assert "the same" in cli_lines("add", center, "v2", v2)[0]
    assert "CONFLICT" in cli_lines("add", center, "v2", v1, code=4)[0]
    assert [line.split()[0] for line in cli_lines("list", center)] == ["v1", "v2"]
    plan = json.loads(cli_lines("get", center, "v2", "--have", v1, "-o", out, "--streams", tmp_path / "s", "--json")[0])
    assert out.read_bytes() == v2.read_bytes()
    assert len(plan["steps"]) == 1
    stream, = (tmp_path / "s").iterdir()
    assert stream.stat().st_size == plan["bytes"] < plan["whole_bytes"]
    assert same_tensors(decode(stream, [load(v1)]), load(v2))
    assert cli_lines("plan", center, "v2", "--have", "v2")[-1].startswith("v2: 0 bytes in 0 streams")
    assert cli_lines("add", center, "v3", stream)[0].startswith("v3: added")
    assert cli_lines("verify", center)[-1].endswith("3 versions: clean")
    assert cli_lines("best-reference", center, v2)[1].split()[0] == "v1"
    assert cli_lines("generate", center, "mean", "v1", "v2")[0].startswith("mean: mean of v1, v2")
    assert cli_lines("gc", center, "--dry-run")[-1] == "0 files would be removed"
    assert "NOT_FOUND" in cli_lines("get", center, "v9", "-o", out, code=3)[0]
    assert "BAD_STREAM" in cli_lines("add", center, "v9", tmp_path / "nothing.onnx", code=10)[0]
    assert "NOT_FOUND" in cli_lines("list", tmp_path / "no", code=3)[0]
    assert "TRANSFER" in cli_lines("remote", "http://127.0.0.1:9", "--attempts", 2, code=6)[0]
