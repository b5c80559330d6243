"""--max-memory is of the whole process: what a command takes beyond its own is within it, at any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from refcodec import Config, Model, Tensor, encode
from tools import limited

MB = 1 << 20
SLACK = 30 * MB
LIMIT = 60


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """A stream of one element, and one of 12 tensors of 4 MB, of words and of levels each."""
    folder, rng = tmp_path_factory.mktemp("memory"), np.random.default_rng(1)
    many = Model([Tensor(f"t{i}", rng.normal(size=(1024, 1024)).astype(np.float32)) for i in range(12)])
    one = Model([Tensor("t", np.ones(1, np.float32))])
    made = {}
    for name, config in (("words", Config()), ("levels", Config(step=0.05)), ("cc", Config(entropy="cc"))):
        for kind, model in (("one", one), ("many", many)):
            made[name, kind] = folder / f"{name}-{kind}.omc"
            made[name, kind].write_bytes(encode(model, config))
    return made


@pytest.mark.parametrize("threads", [1, 16])
@pytest.mark.parametrize("name", ["words", "levels", "cc"])
def test_peak_memory(name, threads, streams, tmp_path):
    def peak(kind: str, *options: str) -> int:
        command = limited.refcodec("decode", streams[name, kind], "-o", tmp_path / "out.npz", *options)
        done = limited.run(command, tmp_path)
        assert done.exit == 0, done.err
        return done.peak

    peak("one")                                          # compiles what is not yet
    own = peak("one")
    assert peak("many", "--max-memory", f"{LIMIT}M", "--threads", str(threads)) <= own + LIMIT * MB + SLACK


def test_less_than_a_tensor_needs_is_refused(streams, tmp_path):
    command = limited.refcodec("decode", streams["levels", "many"], "-o", tmp_path / "out.npz", "--max-memory", "20M")
    done = limited.run(command, tmp_path)
    assert done.exit == 11
    assert "RESOURCE_LIMIT: decoding tensor" in done.err
    assert list(tmp_path.iterdir()) == []
