"""Small streams that order much: refused under the usual budget, or done within what their level may cost.

tools/bombs.py has the streams; each command runs in a process of its own under limits of the kernel.
"""

from __future__ import annotations

import sys

import pytest

from refcodec import Budget, decode
from refcodec.bitstream.structures import LayerDescriptor, LayerDescriptors
from refcodec.errors import OmcError
from tools import bombs, limited
from tools.bombs import BOMBS, Bomb

MB = 1 << 20
CPU = {1: 30, 2: 60, 3: 120}           # seconds by level, for a machine that is several times slower than ours
MEMORY = {1: 500, 2: 1400, 3: 1400}    # MB, with those of the program itself
OUTPUT = 300                           # MB
SLOW = ("decomposition 1024", "chain of 32 copies, validate")
REFUSED = 11


def of(bomb: Bomb):
    return pytest.param(bomb, id=bomb.name, marks=[pytest.mark.long] if bomb.name.startswith(SLOW) else [])


@pytest.mark.parametrize("bomb", [of(b) for b in BOMBS])
def test_a_bomb_costs_no_more_than_its_level_may(bomb, tmp_path, monkeypatch):
    monkeypatch.setattr(bombs, "SECONDS", CPU[bomb.level])
    found = bombs.cost(bomb, tmp_path)
    assert found["exit"] in (0, 10, REFUSED), found
    assert "Traceback" not in found["answer"]
    assert found["peak_mb"] <= MEMORY[bomb.level], found
    assert found["out_mb"] <= OUTPUT, found
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_and_what_is_allowed_is_told(tmp_path):
    stream = next(b for b in BOMBS if b.name == "40 constants").stream()
    with pytest.raises(OmcError, match=r"puts out 671088640 bytes, 1000000 are allowed; .* --max-output"):
        decode(stream, max_output=10**6)
    with pytest.raises(OmcError, match=r"takes \d+ units of work beside \d+ that are done, 1000000 are allowed; .* "
                                       "--max-work"):
        decode(stream, max_output=1 << 40, max_work=10**6)
    with pytest.raises(OmcError, match=r"needs \d+ bytes of memory beside \d+ that are held, 1000000 are allowed; .* "
                                       "--max-memory"):
        decode(stream, max_output=1 << 40, max_memory=10**6)


def test_an_update_of_a_large_model_is_honest():
    """A hundred bytes that copy what is given: the reference counts as given."""
    given, alone = Budget(), Budget()
    given.give(10 << 30)
    given.put_out(10 << 30, "a copy")
    given.spend_work(4 * (10 << 30), "copying", made=10 << 30)
    with pytest.raises(OmcError, match="RESOURCE_LIMIT"):
        alone.put_out(10 << 30, "a copy")


def test_time_is_limited():
    budget = Budget(seconds=0.0)
    with pytest.raises(OmcError, match="longer than the 0 s"):
        budget.spend_work(1, "anything")


def test_the_kernel_stops_what_would_go_on(tmp_path):
    """The limits that these tests rely on hold."""
    loop = limited.run([sys.executable, "-c", "while True: pass"], tmp_path, cpu=1)
    assert loop.exit < 0
    greedy = limited.run([sys.executable, "-c", "bytearray(1 << 32)"], tmp_path, address_space=1 << 30)
    assert greedy.exit == 1
    assert "MemoryError" in greedy.err
    sleeper = limited.run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, seconds=0.5)
    assert sleeper.exit < 0


def test_validate_writes_no_more_than_it_may(tmp_path):
    """A network in integers is written and read to check its accumulators: its slots are within the budget, too."""
    recipe = bombs.slots(16, 16)

    def with_activations(b) -> None:
        class Layers(type(b)):
            def tensors(self, *coded):
                entry = LayerDescriptor("layer", "", "Gemm", activation_flag=1)
                self.layers(LayerDescriptors(1, [entry]))
                super().tensors(*coded)

        b.__class__ = Layers
        recipe(b)

    found = bombs.cost(Bomb("slots", with_activations, ("validate", "STREAM"), level=4, word=0), tmp_path)
    assert found["exit"] in (0, REFUSED)                 # valid, and that was not checked
    assert found["out_mb"] < 1
    assert found["peak_mb"] < MEMORY[1]
