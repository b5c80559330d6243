"""Quantised levels: BINS against CC at equal error, and against NNCodec's speed of decoding."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

import numpy as np
from fetch_models import read_tensors, weights_of
from peers import omc

from .contest import OMC, Contestant, Measured, Times, Workers

BITS = (2, 3, 4, 6)
LEVELS = {0: "BINS plain, no digests", 8: "BINS 8 states, no digests"}
MODELS = ("silero", "magika", "ppocr_rec", "effnet")
ALL = [dict(match="*", treatment="quantise")]


@functools.cache
def _coded(npz: pathlib.Path, mode: str, states: int, aim: str, value: float) -> omc.Result:
    result, = omc.run([dict(file=npz, config={"entropy": mode, "states": states, "rules": ALL, aim: value})])
    return result


def size_row(npz: pathlib.Path, bits: int, states: int) -> dict:
    """Bytes of CC and BINS at the SNR that CC has with a plain quantiser at so many bits per weight.

    Each is corrected to that SNR by 6.02 dB per bit, hundredths of a dB as a rule.
    """
    snr = _coded(npz, "cc", 0, "bits_per_weight", float(bits)).snr
    assert snr is not None
    cc, bins = (_coded(npz, mode, states, "snr", snr) for mode in ("cc", "bins"))
    sizes = [result.bytes_at(snr) for result in (cc, bins)]
    return {"model": npz.stem, "bits": bits, "states": states, "SNR dB": snr, "CC bytes": round(sizes[0]),
            "BINS bytes": round(sizes[1]), "% over CC": 100 * (sizes[1] / sizes[0] - 1)}


def as_npz(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The float32 matrices of a model file as an npz, which NNCodec is given."""
    folder.mkdir(parents=True, exist_ok=True)
    npz = folder / f"{path.stem}.npz"
    if not npz.exists():
        np.savez(npz, **weights_of(read_tensors(path)))
    return npz


def speeds(workers: Workers, npz: pathlib.Path, bits: int, rounds: int, say: Callable[[str], None]
           ) -> dict[str, Measured]:
    """NNCodec, and BINS with a plain quantiser and with 8 states, at about so many bits per weight, decoding by turns.

    `size` of what is measured is the number of weights, so that speeds are million weights per second.
    """
    with np.load(npz) as archive:
        weights = sum(archive[name].size for name in archive.files)
    found = {}

    def measured(c: Contestant, threads: int, settings: dict) -> float:
        worker = workers[c.environment]
        worker.ask(do="open", codec=c.name, path=str(npz), reference=None, settings=settings)
        answer = worker.ask(do="encode", codec=c.name, threads=threads)
        found[c.name] = Measured(weights, answer["bytes"], {1: Times([answer["cpu"]], [answer["wall"]])})
        say(f"    {c.name} {settings}: {8 * answer['bytes'] / weights:.2f} bits per weight, {answer['wall']:.1f} s")
        return 8 * answer["bytes"] / weights

    peer = Contestant("NNCodec", "nncodec")
    first = measured(peer, 1, {"qp": -20})
    measured(peer, 1, {"qp": round(-20 - 4 * (bits - first))})           # four steps of qp halve the quantiser's
    contestants = [peer]
    for states, name in LEVELS.items():
        coded = Contestant(name, OMC)
        measured(coded, 1, {"states": states, "bits_per_weight": float(bits), "rules": ALL})
        contestants.append(coded)
    for turn in range(rounds + 1):
        for c in contestants:
            answer = workers[c.environment].ask(do="decode", codec=c.name, threads=1)
            if turn:
                found[c.name].decode.setdefault(1, Times()).add(answer)
    workers.close_codecs()
    return found
