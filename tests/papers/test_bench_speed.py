"""The benchmark of speed, as far as it needs no peers: its arithmetic, its turns, small runs of what it measures."""

from __future__ import annotations

import os
import subprocess
import sys

import bench_speed
import numpy as np
import pytest
from helpers import ROOT
from peers.environments import BenchError
from safetensors.numpy import save_file
from speed import contest, levels, path, targets
from speed.contest import OMC, Contestant, Measured, Times, Worker, Workers, compete, turns
from speed.targets import Target


def measured(size=100_000_000, coded=50_000_000, encode=(1.0,), decode=(0.5,)):
    return Measured(size, coded, {1: Times(list(encode), [2 * t for t in encode])},
                    {1: Times(list(decode), [2 * t for t in decode])})


# Arithmetic

def test_speeds_are_of_the_best_time_or_of_the_median():
    m = measured(decode=(0.5, 0.25, 1.0))
    assert m.speed("decode") == 400
    assert m.speed("decode", of=contest.median) == 200
    assert m.speed("decode", clock="wall") == 200
    assert m.speed("encode", threads=2) is None
    assert m.ratio == 2
    assert Measured(10).ratio is None


@pytest.mark.parametrize("contestant", [*bench_speed.OURS, *bench_speed.LOSSLESS, *bench_speed.UPDATES,
                                        Contestant("NNCodec", "nncodec")], ids=lambda c: c.name)
def test_each_codec_is_in_the_module_of_its_environment(contestant):
    text = (contest.WORKERS / f"{contest.module_of(contestant.environment)}.py").read_text(encoding="utf-8")
    assert contestant.name.removesuffix(", no digests").removeprefix("xor ").split("-")[0].split(" ")[0] in text


def test_two_passes_in_turn():
    assert targets.in_turn(1000, 1000) == 500
    assert targets.in_turn(3000, 1500) == 1000


def lossless_run(**changes):
    found = {"OMC": measured(encode=[0.5], decode=[0.125]), targets.BARE: measured(coded=0, decode=[0.0625]),
             "SHA-256": measured(coded=0, decode=[0.0625]), "CC": measured(coded=40_000_000),
             "ZipNN": measured(coded=51_000_000, encode=[0.1], decode=[0.08]),
             "pcodec 8": measured(coded=52_000_000, encode=[1.0], decode=[0.1])}
    return found | changes


def by_name(found):
    return {target.what: target for target in found}


def test_figures_of_lossless_coding():
    found = by_name(targets.lossless("f", "bf16", lossless_run()))
    decode = found["decode without digests / faster of ZipNN and pcodec 8"]
    assert (decode.found, decode.wanted, decode.met) == (1600 / 1250, 1.1, True)
    assert decode.detail == "1600 / 1250 MB/s (ZipNN)"
    digests = found["decode with digests / decoding, then SHA-256"]
    assert (digests.found, digests.wanted, digests.met) == (1.0, 0.85, True)        # 800 of 1 / (1/1600 + 1/1600)
    assert (found["encode / ZipNN"].found, found["encode / ZipNN"].met) == (0.2, False)
    assert (found["encode / pcodec 8"].found, found["encode / pcodec 8"].met) == (2.0, True)
    ratio = found["ratio / best peer's"]
    assert ratio.found == pytest.approx(51 / 50)
    assert ratio.detail == "2.0000 / 1.9608 (ZipNN)"                # CC is ours and no peer
    found = by_name(targets.lossless("f", "fp32", lossless_run()))
    assert not found["decode without digests / faster of ZipNN and pcodec 8"].met          # 1.28 times, 1.5 wanted


def test_a_figure_without_its_measurement_is_an_error():
    with pytest.raises(ValueError, match="no speed of encode"):
        targets.lossless("f", "bf16", lossless_run(OMC=Measured(1, 1, {}, {1: Times([1.0], [1.0])})))


def test_figures_of_updates():
    found = by_name(targets.update("f", {"OMC": measured(coded=1_010_000, encode=[0.5], decode=[0.1]),
                                         "CC": measured(coded=1_000_000, decode=[0.6])}))
    assert found["update: ratio / CC's"].found == pytest.approx(1 / 1.01)
    assert found["update: ratio / CC's"].met
    assert found["update: decode with digests / CC"].found == pytest.approx(6)
    assert (found["update: encode, MB/s"].found, found["update: encode, MB/s"].met) == (200, False)


def test_figures_of_levels():
    rows = [{"states": states, "bits": 3, "% over CC": value} for states, value in
            ((0, 0.2), (0, 0.6), (8, 1.0), (8, 2.4))]
    plain, trellis = targets.level_sizes(rows)
    assert (plain.found, plain.wanted, plain.met) == (0.4, 0.5, True)
    assert (trellis.found, trellis.wanted, trellis.met) == (pytest.approx(1.7), 1.5, False)
    assert targets.level_speed("f", 300, 10, "plain").met
    assert not targets.level_speed("f", 190, 10, "plain").met


def test_figures_of_files():
    rows = {"encode": {"wall s": 7.0, "cpu s": 9.0, "peak MB": 600.0}, "tensor": {"wall s": 0.4},
            "decode": {"wall s": 2.0, "cpu s": 3.0, "peak MB": 500.0}}
    met = {target.what: target.met for target in targets.file_to_file("f", rows, 131_000_000)}
    assert met == {"encode file to file, s of the clock, 2 threads": False,
                   "decode file to file, s of the clock, 2 threads": True,
                   "encode: MB of memory above the largest tensor": False,
                   "decode: MB of memory above the largest tensor": True, "one tensor, s after start": True}


def test_a_figure_says_whether_it_is_met():
    assert Target("x", "f", 1.0, 1.0).row()[""] == "met"
    assert Target("x", "f", 1.0, 0.5, at_least=False).row()[""] == "MISSED"
    assert targets.missed([Target("x", "f", 1, 2), Target("x", "f", 2, 1)]) == 1


def test_tables():
    rows = bench_speed.rows_of("f", lossless_run())
    ours = rows[0]
    assert (ours["ratio"], ours["enc 1"], ours["dec 1"], ours["dec 1 clock"], ours["dec 2"]) == (
        "2.0000", 200.0, 800.0, 400.0, "")
    ratios = {row["OMC / "]: row for row in bench_speed.ratios_to_peers(rows)}
    assert set(ratios) == {"CC", "ZipNN", "pcodec 8"}
    assert ratios["ZipNN"] == {"file": "f", "OMC / ": "ZipNN", "ratio": "1.0200", "encode": 0.2, "decode": 0.64}


# Turns

FAKE = """
class Fake:
    def __init__(self, path, reference=None, wrong=False):
        self.data, self.wrong = open(path, "rb").read(), wrong
    def prepare(self):
        print("what codecs print is no answer")
    def encode(self, threads):
        return len(self.data) // threads
    def decode(self, threads):
        if threads > 2:
            raise RuntimeError("too many")
        return self.data[1:] if self.wrong else self.data
    def is_right(self, decoded):
        return decoded == self.data
    def close(self):
        pass

class Wrong(Fake):
    def __init__(self, path, reference=None):
        super().__init__(path, reference, True)

LOSSLESS = UPDATES = {"fake": Fake, "other": Fake, "wrong": Wrong}
"""


@pytest.fixture
def workers(tmp_path):
    (tmp_path / "fake_codecs.py").write_text(FAKE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with Workers(tmp_path, ROOT, dict(os.environ)) as found:
        found.started["fakes"] = Worker(sys.executable, "fake_codecs", environment)
        yield found


@pytest.fixture
def small(tmp_path):
    random, file = np.random.default_rng(1), tmp_path / "small.safetensors"
    save_file({"w": (random.standard_normal((64, 64)) * 0.02).astype("f4"), "b": np.zeros(8, "f4")}, file)
    return file


def test_each_round_begins_with_another():
    three = [Contestant(name, "fakes") for name in "abc"]
    assert ["".join(c.name for c in turns(three, number)) for number in range(4)] == ["abc", "bca", "cab", "abc"]


def test_codecs_compete_by_turns(workers, small):
    contestants = [Contestant("fake", "fakes"), Contestant("other", "fakes", threads=False), Contestant("OMC", OMC),
                   Contestant(targets.BARE, OMC, encodes=False),
                   Contestant("SHA-256", OMC, encodes=False, threads=False)]
    found = compete(workers, contestants, small, rounds=3)
    assert found["fake"].bytes == small.stat().st_size
    assert {threads: len(times.cpu) for threads, times in found["fake"].encode.items()} == {1: 2, 2: 1}
    assert {name: {threads: len(times.wall) for threads, times in m.decode.items()} for name, m in found.items()} == {
        "fake": {1: 3, 2: 3}, "other": {1: 3}, "OMC": {1: 3, 2: 3}, targets.BARE: {1: 3, 2: 3}, "SHA-256": {1: 3}}
    assert 0 < found["OMC"].bytes < small.stat().st_size
    assert found[targets.BARE].bytes == 0
    update = compete(workers, [Contestant("OMC", OMC), Contestant("CC", OMC)], small, small, rounds=1)
    assert update["OMC"].bytes < 1000


def test_a_file_that_does_not_come_back_is_an_error(workers, small):
    with pytest.raises(BenchError, match="wrong does not give .*small.safetensors back"):
        compete(workers, [Contestant("wrong", "fakes")], small)


def test_a_codec_that_fails_says_why(workers, small):
    with pytest.raises(BenchError, match="fake_codecs: decode fake: RuntimeError: too many"):
        compete(workers, [Contestant("fake", "fakes")], small, threads=(1, 3))
    with pytest.raises(BenchError, match="KeyError"):
        compete(workers, [Contestant("nobody", "fakes")], small)


def test_a_process_that_ends_is_told(tmp_path):
    worker = Worker(sys.executable, "no_such_module", dict(os.environ))
    with pytest.raises(BenchError, match=r"the process ended \(code 1\)"):
        worker.ask(do="close")
    worker.close()


# Files and levels

def test_from_file_to_file(small, tmp_path):
    rows, largest = path.round_trip(small, tmp_path / "work", {**os.environ, "PYTHONPATH": str(ROOT)}, 1, 1)
    assert largest == 64 * 64 * 4
    assert set(rows) == {"encode", "decode", "tensor"}
    assert rows["tensor"]["bytes"] == largest
    assert rows["encode"]["bytes"] == rows["decode"]["bytes"] > 0
    assert rows["encode"]["with mapped"] >= rows["encode"]["peak MB"] > 1
    assert list((tmp_path / "work").iterdir()) == []


def test_a_command_that_fails_says_why():
    with pytest.raises(BenchError, match="sys.exit\\('a reason'\\) failed:\na reason"):
        path.child([sys.executable, "-c", "import sys; sys.exit('a reason')"], dict(os.environ))


def test_levels_are_compared_at_one_error(tmp_path):
    npz = tmp_path / "small.npz"
    np.savez(npz, w=np.random.default_rng(1).standard_normal((100, 200)).astype("f4"))
    row = levels.size_row(npz, 3, 0)
    assert row["% over CC"] == pytest.approx(100 * (row["BINS bytes"] / row["CC bytes"] - 1), abs=0.05)
    assert 15 < row["SNR dB"] < 20                                  # 6 dB per bit, of a normal source
    assert row["states"] == 0


# The command

def test_what_is_missing_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "bench_speed.py"), "--quick", "--only", "levels", "--models",
         str(tmp_path), "--work", str(tmp_path / "w")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "python tools/fetch_models.py --out " in done.stderr
    assert "Traceback" not in done.stderr
