"""The knowledge center over a real socket: many clients, connections that break, and requests that mean harm."""

from __future__ import annotations

import base64
import collections
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import DATA, same_tensors

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from helpers.center import FAMILY, cli_lines, digest, family, filled, refused, small
from helpers.serving import CuttingProxy, Serving, ask

from refcodec import Config, encode, load, save
from tools.knowledge_center import CenterError, Store, upkeep
from tools.knowledge_center.client import Client
from tools.knowledge_center.objects import sha256

CLIENTS = 100
PUSHING = 40


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return filled(tmp_path_factory.mktemp("center"))


@pytest.fixture(scope="module")
def serving(store):
    with Serving(store, workers=2, upload_bytes=1 << 20) as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """The family as npz files: what the clients have."""
    folder = tmp_path_factory.mktemp("files")
    for name in FAMILY:
        save(family()[name], folder / f"{name}.npz")
    return {name: str(folder / f"{name}.npz") for name in FAMILY}


# Many clients

def test_a_hundred_clients_whose_connections_break(store, serving, files, tmp_path):
    """Each has one version and pulls another, all at a time, through a proxy that cuts: every model is the right
    one."""
    names, sent = list(FAMILY), collections.Counter()
    jobs = [(n, names[n % len(names)] if n % 8 else None, names[(n * 3 + 1) % len(names)]) for n in range(CLIENTS)]

    def pull(job: tuple[int, str | None, str]) -> None:
        n, have, want = job
        with Client(proxy.url, attempts=30) as client:
            plan = client.pull(want, str(tmp_path / f"{n}.npz"), files[have] if have else None)
        assert same_tensors(load(tmp_path / f"{n}.npz"), family()[want]), job
        sent.update(models=1, bytes=plan["bytes"], whole=len(whole[want]))

    whole = {name: encode(family()[name]) for name in names}
    start = time.perf_counter()
    with CuttingProxy(serving.port, 5_000, 60_000) as proxy, ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(pull, jobs))
    print(f"{CLIENTS} clients: {time.perf_counter() - start:.1f} s, {sent}, {proxy.cut} connections cut")
    assert sent["models"] == CLIENTS
    assert sent["bytes"] < 0.8 * sent["whole"]
    assert proxy.cut > CLIENTS
    assert upkeep.verify(store).clean
    assert not list(tmp_path.glob("*.pull"))


def test_many_clients_push(tmp_path):
    """Half of them race for the same names; what is there in the end is what was pushed, and each name is one model."""
    base = small(0)
    save(base, tmp_path / "base.npz")
    models = [small(n, base) for n in range(1, PUSHING + 1)]
    for n, model in enumerate(models):
        save(model, tmp_path / f"{n}.npz")
    store = Store.create(tmp_path / "center")
    store.add("base", base)
    outcome: collections.Counter = collections.Counter()

    def push(n: int) -> None:
        name = f"v{n}" if n % 2 else f"same{n // 4}"           # two clients, two models, one name
        with Client(serving.url, attempts=30) as client:
            try:
                version, new, _ = client.push(name, str(tmp_path / f"{n}.npz"), have=str(tmp_path / "base.npz"),
                                              parents=["base"])
                assert new
                assert version["model_digest"] == models[n].digest().hex()
                outcome["new"] += 1
            except CenterError as error:
                assert error.code == "CONFLICT", error
                outcome["conflict"] += 1

    with Serving(store) as serving, ThreadPoolExecutor(PUSHING) as pool:
        list(pool.map(push, range(PUSHING)))
        assert outcome == {"new": 3 * PUSHING // 4, "conflict": PUSHING // 4}
        with Client(serving.url) as client:
            listed = {v["name"]: v for v in client.versions()}
            assert len(listed) == 1 + 3 * PUSHING // 4
            assert "`- " in client.lineage()
            digests = {m.digest().hex() for m in models}
            assert all(v["model_digest"] in digests and v["parents"] == ["base"] for n, v in listed.items()
                       if n != "base")
    report = upkeep.verify(store)
    assert report.clean
    assert report.versions == 1 + 3 * PUSHING // 4
    assert not report.unreferenced


def test_the_loop_answers_while_models_are_coded(tmp_path):
    """Health is asked while plans make streams; no answer may wait for one."""
    store = Store.create(tmp_path)
    big = {name: load(DATA / f"{name}.onnx") for name in ("digits_v1", "digits_v2")}
    for name, model in big.items():
        store.add(name, model, reference="none")
    with Serving(store, workers=1) as serving, Client(serving.url) as client, ThreadPoolExecutor(4) as pool:
        waits = []
        plans = [pool.submit(client.plan, w, digest(store, h), "") for w, h in
                 (("digits_v1", "digits_v2"), ("digits_v2", "digits_v1"))]
        while not all(p.done() for p in plans):
            start = time.perf_counter()
            assert ask(serving, "GET", "/health")[0] == 200
            waits.append(time.perf_counter() - start)
        assert all(p.result()["bytes"] > 0 for p in plans)
        assert len(waits) > 3
        assert np.median(waits) < 0.25


# Transfers that are interrupted

def test_a_pull_goes_on_in_another_process(store, serving, files, tmp_path):
    """A client that gives up leaves what it got; the next one asks for the rest only."""
    output = str(tmp_path / "out.npz")
    with (CuttingProxy(serving.port, 30_000, 30_000, connections=2) as proxy, Client(proxy.url, attempts=2) as client,
          refused("TRANSFER")):
        client.pull("inverted", output)
    part, = (tmp_path / "out.npz.pull").iterdir()
    had = part.stat().st_size
    assert not (tmp_path / "out.npz").exists()
    assert 0 < had < 60_000
    moved = []
    with Client(serving.url, progress=lambda done, total, what: moved.append((done, total))) as client:
        client.pull("inverted", output)
    assert moved[0][0] > had
    assert moved[-1][0] == moved[-1][1]
    assert same_tensors(load(output), family()["inverted"])
    assert not (tmp_path / "out.npz.pull").exists()


def test_a_push_goes_on(tmp_path, files):
    store = Store.create(tmp_path / "center")
    with Serving(store) as serving, CuttingProxy(serving.port, 20_000, 40_000) as proxy:
        with Client(proxy.url, attempts=30) as client:
            version, new, size = client.push("base", files["base"])
        assert new
        assert size > 100_000
        assert proxy.cut >= 2
        assert version["model_digest"] == family()["base"].digest().hex()
        # Another client had begun, with other bytes under the same digest: they are found out, and sent again.
        stream = encode(load(files["head"]), references=[load(files["base"])])
        store.uploads.append(sha256(stream), 0, bytes(500))
        with Client(serving.url) as client:
            with refused("DIGEST_MISMATCH"):
                client.push("head", files["head"], have=files["base"])
            assert client.push("head", files["head"], have=files["base"])[1]
            assert not client.push("head", files["head"], have=files["base"])[1]
            assert client.push("head2", files["head"], have=files["base"])[1]
            with refused("CONFLICT"):
                client.push("head", files["noisy"])
            assert client.push("coarse", files["noisy"], config=Config(snr=20))[1]
    assert upkeep.verify(store).clean
    assert store.uploads.old(-1) == []


def test_damage_on_the_way_is_found(tmp_path):
    """An object is changed on disk after the plan was made: the client asks again, and another chain leads there."""
    center = Store.create(tmp_path / "center")
    center.add("a", small(1))
    center.add("b", small(2, small(1)), parents=["a"])
    save(small(1), tmp_path / "a.npz")
    output = str(tmp_path / "b.npz")
    with Serving(center) as serving, Client(serving.url, attempts=2) as client:
        first = client.pull("b", output)
        assert first["whole_bytes"] == first["bytes"]
        for damage in ("change", "cut", "remove"):
            damaged = client.plan("b")["steps"][0]["object"]
            path = center.objects.path(damaged)
            with open(path, "rb") as f:
                data = bytearray(f.read())
            data[len(data) // 2] ^= 1
            if damage == "remove":
                center.objects.remove(damaged)
            else:
                with open(path, "wb") as f:
                    f.write(data if damage == "change" else data[:100])
            (tmp_path / "b.npz").unlink()
            followed = client.pull("b", output)
            assert same_tensors(load(output), center.model("b")), damage
            assert damaged not in [s["object"] for s in followed["steps"]] or center.objects.read(damaged)
            center.recent.clear()
            assert upkeep.verify(center, repair=True).clean
    for name in center.objects.all():
        center.objects.remove(name)
    center.recent.clear()
    with Serving(center) as fresh, Client(fresh.url, attempts=2) as client, refused("DAMAGED"):     # it keeps no model
        client.pull("b", str(tmp_path / "no.npz"))
    assert not (tmp_path / "no.npz").exists()


def test_writers_need_the_token(tmp_path, files, monkeypatch):
    store = Store.create(tmp_path / "center")
    with Serving(store, token="secret") as serving:
        for token in (None, "wrong", "é"):
            with Client(serving.url, token=base64.b64encode(token.encode()).decode() if token else None) as client:
                assert client.versions() == []
                with refused("FORBIDDEN"):
                    client.push("base", files["base"])
        monkeypatch.setenv("KNOWLEDGE_CENTER_TOKEN", "secret")
        assert cli_lines("push", serving.url, "base", files["base"])[0].startswith("base: added; ")
        assert cli_lines("push", serving.url, "base", files["base"])[0].startswith("base: was there already")
        assert cli_lines("remote", serving.url)[0].startswith("base ")
        assert "digest verified" in cli_lines("pull", serving.url, "base", "-o", tmp_path / "back.npz")[0]
    assert same_tensors(load(tmp_path / "back.npz"), family()["base"])
