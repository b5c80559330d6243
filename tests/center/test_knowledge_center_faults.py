"""What goes wrong under a store: processes that are killed, disks that fill, objects that rot, races."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import same_tensors

pytest.importorskip("fsspec")

from helpers.center import cli_lines, digest, refused, small

from refcodec import encode
from tools.knowledge_center import CenterError, Planner, Store, upkeep

WATCHED = ("tools/knowledge_center/", "/fsspec/")        # files whose calls are counted for a kill
KILLS, TIMED_KILLS = 24, 6

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def forked(action: Callable[[], object]) -> int:
    """Wait status of a child that runs the action: exit code 0, 9 for a CenterError, or a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                action()
                code = 0
            except CenterError as error:
                code = 9 if error.code in ("FULL", "IO") else 8
        os._exit(code)
    return os.waitpid(pid, 0)[1]


def watched(action: Callable[[], object], at_call: Callable[[int], None]) -> Callable[[], object]:
    """The action, with at_call(n) at the n-th call that the store or fsspec makes, into Python or into C."""
    count = 0

    def profile(frame, event, _) -> None:
        nonlocal count
        if event in ("call", "c_call") and any(w in frame.f_code.co_filename for w in WATCHED):
            count += 1
            at_call(count)

    def run() -> None:
        sys.setprofile(profile)
        try:
            action()
        finally:
            sys.setprofile(None)
    return run


@pytest.fixture
def center(tmp_path) -> Store:
    """Three versions in a chain, nothing in memory."""
    store = Store.create(tmp_path / "center", cache_bytes=0)
    store.add("a", small(1))
    store.add("b", small(2, small(1)), parents=["a"])
    store.add("c", small(3, small(2, small(1))), parents=["b"])
    return store


def is_sound(folder: str, versions: set[str]) -> Store:
    """The store in this folder, after a look at every bit of it: these versions, each of them right."""
    store = Store(folder)
    report = upkeep.verify(store)
    assert report.clean, report
    assert {v.name for v in store.index.versions()} == versions
    for v in store.index.versions():
        assert store.model(v.name).digest().hex() == v.model_digest
    return store


# Killed

@pytest.mark.parametrize("kills, timed", [(KILLS, TIMED_KILLS), pytest.param(400, 200, marks=pytest.mark.soak)])
def test_killed_while_adding(center, tmp_path, kills, timed):
    """SIGKILL at calls all over an add, at random times: the version is whole or not there, the rest untouched."""
    added = small(4, small(3, small(2, small(1))))
    calls: list[int] = []
    probe = str(tmp_path / "probe")
    shutil.copytree(center.folder, probe)
    watched(lambda: Store(probe, cache_bytes=0).add("d", added, parents=["c"]), calls.append)()
    start = time.perf_counter()
    Store(probe, cache_bytes=0).add("e", small(9), parents=["d"], reference="d")
    seconds = time.perf_counter() - start
    seen = {"there": 0, "not": 0}
    for n in range(kills + timed):
        folder = str(tmp_path / f"killed{n}")
        shutil.copytree(center.folder, folder)
        if n < kills:
            last = 1 + (len(calls) - 1) * n // (kills - 1)

            def at_call(count: int, last: int = last) -> None:
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            action = watched(lambda folder=folder: Store(folder, cache_bytes=0).add("d", added, parents=["c"]), at_call)
        else:
            def action(folder: str = folder, n: int = n) -> None:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, random.Random(n).uniform(0, seconds))
                Store(folder, cache_bytes=0).add("d", added, parents=["c"])
        status = forked(action)
        assert n >= kills or os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        there = Store(folder).index.version("d") is not None
        seen["there" if there else "not"] += 1
        store = is_sound(folder, {"a", "b", "c"} | ({"d"} if there else set()))
        _, new = store.add("d", added, parents=["c"])
        assert new is not there
        assert same_tensors(store.model("d"), added)
        upkeep.collect(store, older_than=0)
        store = is_sound(folder, {"a", "b", "c", "d"})
        assert store.objects.temporaries(-1) == []
        assert store.objects.all() == {e.object for e in store.index.edges(True) }
        shutil.rmtree(folder)
    print(f"{kills} kills over {len(calls)} calls, {timed} timed over {seconds:.2f} s: {seen}")
    assert seen["not"] > kills // 2
    assert seen["there"] > 0                   # the last call comes after the commit


def test_killed_while_a_plan_makes_a_stream_or_gc_removes(center, tmp_path):
    """The same for the other commands that write."""
    have = digest(center, "a")
    center.objects.stage(b"left over")
    actions = {"plan": lambda store: Planner(store).plan("c", have, ""), "gc": lambda store: upkeep.collect(store, 0)}
    for name, act in actions.items():
        calls: list[int] = []
        probe = str(tmp_path / f"probe_{name}")
        shutil.copytree(center.folder, probe)
        watched(lambda act=act, probe=probe: act(Store(probe, cache_bytes=0)), calls.append)()
        for n in range(8):
            folder = str(tmp_path / f"{name}{n}")
            shutil.copytree(center.folder, folder)

            def at_call(count: int, last: int = 1 + (len(calls) - 1) * n // 7) -> None:
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            assert os.WIFSIGNALED(
                forked(watched(lambda act=act, folder=folder: act(Store(folder, cache_bytes=0)), at_call)))
            assert Planner(is_sound(folder, {"a", "b", "c"})).plan("c", have, "").bytes < 4000


# Full

def test_disks_that_fill(center, tmp_path, monkeypatch):
    """ENOSPC at every byte count and place where the object store writes: a clear error, and nothing of the version."""
    added = small(4, small(3))
    real = type(center.objects.fs).open

    class Filling:
        def __init__(self, f, room):
            self.f, self.room = f, room

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.f.close()

        def __getattr__(self, name):
            return getattr(self.f, name)

        def write(self, data):
            self.f.write(data[: self.room])
            if len(data) > self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for room in (0, 1, 1000, 5000):
        monkeypatch.setattr(type(center.objects.fs), "open", lambda fs, path, mode="rb", room=room, **o:
                            Filling(real(fs, path, mode, **o), room) if "w" in mode else real(fs, path, mode, **o))
        with refused("FULL") as found:
            center.add("d", added)
        assert "No space left" in str(found.value)
        assert Planner(center).plan("c", digest(center, "a"), "").steps          # what is stored is still handed out
        monkeypatch.undo()
        assert is_sound(center.folder, {"a", "b", "c"}).objects.temporaries(-1) == []
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EDQUOT, "Disk quota exceeded")))
    with refused("FULL"):
        center.add("d", added)
    monkeypatch.undo()
    assert is_sound(center.folder, {"a", "b", "c"}).objects.temporaries(-1) == []
    before = center.objects.all()
    monkeypatch.setattr("tools.knowledge_center.store.write_stream", lambda *_: (_ for _ in ()).throw(
        sqlite3.OperationalError("database or disk is full")))                    # after the object has its name
    with refused("FULL"):
        center.add("d", added)
    monkeypatch.undo()
    assert is_sound(center.folder, {"a", "b", "c"}).objects.all() == before
    assert center.add("d", added)[1]


def test_files_that_may_not_grow(center):
    """The system's own limit, on objects and on the index alike, in a child process."""
    for limit in (0, 100, 3000, 6000, 20_000, 40_000):
        def action(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            Store(center.folder, cache_bytes=0).add("d", small(4), parents=["c"])

        status = forked(action)
        there = center.index.version("d") is not None
        assert os.WIFEXITED(status), (limit, status)
        assert os.WEXITSTATUS(status) == (0 if there else 9), (limit, status)
        store = is_sound(center.folder, {"a", "b", "c"} | ({"d"} if there else set()))
        if there:
            break
        assert store.objects.all() == {e.object for e in store.index.edges()}
        assert store.objects.temporaries(-1) == []
    assert limit >= 6000


# Damaged

def harm(store: Store, name: str, kind: str) -> str:
    """Harms the object of a version; returns its digest."""
    edge = next(e for e in store.index.edges() if e.model == store.version(name).model)
    path = store.objects.path(edge.object)
    data = bytearray(store.objects.read(edge.object))
    data[len(data) // 3] ^= 4
    os.remove(path)
    if kind == "folder":
        os.mkdir(path)
    elif kind != "missing":
        with open(path, "wb") as f:
            f.write({"changed": data, "cut": data[:50], "empty": b"", "other": encode(small(8))}[kind])
    return edge.object


@pytest.mark.parametrize("kind", ["missing", "changed", "cut", "empty", "other", "folder"])
def test_objects_that_rot(center, kind):
    """Found by verify, never delivered; made again where another chain leads to the model, or by adding it again."""
    wrong = harm(center, "b", kind)
    report = upkeep.verify(Store(center.folder))
    assert not report.clean
    assert report.missing + report.damaged == [wrong]
    assert report.lost == ["b", "c"]
    assert (report.missing == [wrong]) == (kind in ("missing", "folder"))
    for name in ("b", "c"):
        with refused("DAMAGED"):
            Store(center.folder).model(name)
        with refused("DAMAGED"):
            Planner(Store(center.folder)).plan(name)
    assert same_tensors(Store(center.folder).model("a"), small(1))
    if kind == "folder":
        os.rmdir(center.objects.path(wrong))
    assert not upkeep.verify(center, repair=True).clean                       # there is no other way
    assert "NOT CLEAN" in cli_lines("verify", center.folder, code=5)[-1]
    assert center.add("b", small(2, small(1)))[1] is False
    is_sound(center.folder, {"a", "b", "c"})


@pytest.mark.parametrize("kind", ["missing", "changed"])
def test_repair_from_other_chains(center, kind):
    planner = Planner(center)
    for want in ("b", "c"):
        planner.plan(want)                                                     # whole streams beside the updates
    wrong = [harm(center, name, kind) for name in ("b", "c")]
    report = upkeep.verify(center, repair=True)
    assert report.clean
    assert sorted(report.repaired) == sorted(wrong)
    assert not report.lost
    assert is_sound(center.folder, {"a", "b", "c"}).objects.all() >= set(wrong)  # the same bytes came again


def test_an_index_that_lies_is_found(center):
    """A stream that is whole, but not of the model that the index says."""
    edges = center.index.edges()
    with center.index.transaction() as db:
        db.execute("UPDATE streams SET model = 1 WHERE object = ?", [edges[2].object])
    report = upkeep.verify(center)
    assert report.damaged == [edges[2].object]
    assert report.lost == ["c"]
    assert not report.clean


def test_an_index_that_is_no_index(center):
    with open(center.index.path, "r+b") as f:
        f.write(os.urandom(4096))
    for call in (lambda: Store(center.folder).version("a"), lambda: Store(center.folder).add("x", small(1)),
                 lambda: upkeep.verify(Store(center.folder))):
        with refused("IO"):
            call()
    with open(os.path.join(center.folder, "center.json"), "w") as f:
        json.dump([1], f)
    with refused("NOT_FOUND"):
        Store(center.folder)


# Races

@pytest.mark.parametrize("reference", ["none", "auto"])
def test_adds_in_parallel(tmp_path, reference):
    """Eight threads with stores of their own add the same and different versions.

    Without references each model is one object, whoever comes first. With them two threads may code one model from
    unlike references, as what was there differed, and both streams are of use: each is entered in the index.
    """
    folder = str(tmp_path / "center")
    Store.create(folder)
    models = {f"v{n}": small(n + 1) for n in range(4)}

    def add(n: int) -> bool:
        return Store(folder).add(f"v{n % 4}", models[f"v{n % 4}"], reference=reference)[1]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(24))) == 4
    store = is_sound(folder, set(models))
    assert store.objects.all() == {e.object for e in store.index.edges()}
    assert upkeep.collect(store, 0) == []
    if reference == "none":
        assert len(store.objects.all()) == 4


def test_gc_takes_nothing_that_is_about_to_be_entered(tmp_path):
    folder, done = str(tmp_path / "center"), threading.Event()
    Store.create(folder)

    def collect() -> None:
        while not done.is_set():
            upkeep.collect(Store(folder))

    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(collect)
        for n in range(20):
            Store(folder).add(f"v{n}", small(n), reference="none")
        done.set()
        collecting.result()
    is_sound(folder, {f"v{n}" for n in range(20)})


def test_an_index_that_is_locked(center, monkeypatch):
    monkeypatch.setattr("tools.knowledge_center.index.WAIT_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(center.index.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with refused("BUSY"):
            center.add("d", small(5))
        assert same_tensors(center.model("c"), small(3, small(2, small(1))))     # reading goes on
        other.execute("ROLLBACK")
    assert is_sound(center.folder, {"a", "b", "c"}).objects.temporaries(-1) == []
