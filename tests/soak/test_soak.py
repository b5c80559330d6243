"""The decoder uncompiled, and on several threads. A part of the suite here, the whole in `make soak`."""

from __future__ import annotations

import shlex
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT

from refcodec import StreamDecoder
from refcodec.checker import check, load_manifest
from refcodec.checker.dump import read_dump
from refcodec.checker.manifest import Manifest, Rejected, Stream
from refcodec.errors import OmcError
from tools.fuzz import c_harness

DECODER = f"env REFCODEC_COMPILE={{}} {shlex.quote(sys.executable)} -m refcodec conformance-decode"
PART = 8                        # of the streams: each eighth in the order of the manifest
SECONDS = 1800                  # per stream: a million elements take minutes
WORK = 1 << 28                  # ns (SPEC A.3) of a stream in that part: uncompiled it takes a hundred times as long


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_manifest(ROOT / "conformance" / "manifest.json")


def all_pass(manifest: Manifest, streams: list[Stream], command: str = DECODER.format("0")) -> None:
    report = check(command, manifest, only=[s.id for s in streams], persistent=True, timeout=SECONDS)
    wrong = [f"{r.stream.id}: {r.verdict.name}: {r.detail}" for r in report.results if not r.passed]
    assert not wrong, wrong
    assert len(report.results) == len(streams), wrong


def is_light(stream: Stream) -> bool:
    """True unless the stream, which is right, is told to cost much work."""
    return isinstance(stream.expected, Rejected) or stream.expected.cost[0] < WORK


def test_uncompiled_part(manifest):
    """Each eighth required stream but the heaviest, by the checker, over a decoder in which nothing is compiled."""
    all_pass(manifest, [s for s in manifest.streams if s.required and is_light(s)][::PART])


@pytest.mark.soak
def test_uncompiled_all(manifest):
    all_pass(manifest, list(manifest.streams))


def outcome(stream: Stream, threads: int) -> tuple:
    """The words of all models, or the code of the error."""
    try:
        with StreamDecoder(stream.file, [read_dump(r) for r in stream.references], threads=threads) as decoder:
            models = [decoder.model(n) for n in range(len(decoder.parsed.models))]
            return tuple((t.name, t.words.tobytes()) for m in models for t in m.tensors)
    except OmcError as error:
        return (error.code,)


def same_on_threads(streams: list[Stream], threads: int) -> None:
    for s in streams:
        one, many = outcome(s, 1), outcome(s, threads)
        assert one == many or (isinstance(s.expected, Rejected) and {*one, *many} <= set(s.expected.codes)), s.id


def test_threads_part(manifest):
    same_on_threads([s for s in manifest.streams if s.required][::PART], 3)


@pytest.mark.soak
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_all(manifest, threads):
    same_on_threads(list(manifest.streams), threads)


@pytest.fixture(scope="module")
def random_manifest(tmp_path_factory) -> Manifest:
    """Streams of seeds that the suite does not have (conformance.recipes.random)."""
    folder = tmp_path_factory.mktemp("random")
    subprocess.run([sys.executable, "-m", "conformance.recipes.random", "--seed", "70000", "--count", "400",
                    "--out", str(folder)], cwd=ROOT, check=True, timeout=7200)
    return load_manifest(folder / "manifest.json")


@pytest.mark.soak
@pytest.mark.parametrize("compiled", ["1", "0"])
def test_random_streams(random_manifest, compiled):
    all_pass(random_manifest, list(random_manifest.streams), DECODER.format(compiled))


@pytest.mark.soak
@pytest.mark.skipif(c_harness.compiler() is None, reason="there is no C compiler here")
def test_random_streams_in_c(random_manifest, tmp_path):
    """The C decoder under its sanitizers gives the digests that the reference decoder gave."""
    server = c_harness.Server(c_harness.build(tmp_path), [])
    try:
        for s in random_manifest.streams:
            assert server.ask(s.file.read_bytes()) == {"digest": s.expected.model_digest}, s.id
    finally:
        server.close()


@pytest.mark.soak
def test_models_at_random():
    """Models of every element type and of odd shapes, through every profile and back, bit for bit."""
    from helpers import any_words

    from refcodec import Config, Model, Tensor, decode, encode
    from refcodec.dtypes import BY_CODE

    rng = np.random.default_rng(2026)
    for _ in range(300):
        dtype = BY_CODE[int(rng.choice(list(BY_CODE)))]
        shape = tuple(int(n) for n in rng.integers(0, 9, rng.integers(0, 5)))
        arrays = [any_words(dtype, shape, int(rng.integers(1 << 30))) for _ in range(int(rng.integers(1, 4)))]
        model = Model([Tensor(f"t{i}", a) for i, a in enumerate(arrays)], "random")
        stream = encode(model, Config(join_below=int(rng.choice([1, 4096])), index=bool(rng.integers(2))))
        assert decode(stream, threads=int(rng.integers(1, 4))).digest() == model.digest(), (dtype.name, shape)
