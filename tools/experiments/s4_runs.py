"""The runs of S4: deployed networks, refined in every way, sent and measured; each result is kept in a small file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from coding import Coded, bytes_of, send
from data import Images, test_images, training_images
from networks import Network, Parameters, accuracy, lenet, vgg
from s4_coding import send_update
from s4_methods import Free, rebuilt, trainables, values_sent, vectors
from section import Context

from refcodec import Config

SIZES = {"KA": (0, 1, 2, 4, 16), "ML": (4, 16, 48), "LRA": (2, 8, 24), "RM": (0.005, 0.02, 0.05, 0.1),
         "LRU": (1, 4, 8, 16, 64), "FP": (0.1, 0.25, 0.5)}
DOM_SNR, CM_SNR = (14, 17, 20, 23, 26, 30), (4, 6, 8, 10, 14, 20)        # dB, of weights trained without constraint
# where the search for a rate starts
RATES = {"KA": 2e-2, "ML": 2e-2, "LRA": 3e-3, "RM": 6e-2, "LRU": 1e-2, "FP": 3e-3, "whole": 3e-3}
RATE_FACTOR = 3.0
DEPLOYED_SHARE, DEPLOYED_RATE = 0.2, 2e-3        # of the images, each seed another part
VALIDATION_SHARE = 0.25                          # of the images of the new domain, to choose a rate
ANGLE, NOISE = 30, 0.2                           # the new domain: turned, degrees, and noisy
QUICK_SIZES = {"KA": (0, 1), "ML": (16,), "LRA": (8,), "RM": (0.02,), "LRU": (4,), "FP": (0.25,)}
QUICK_FILE, QUICK_SEED = "s4_updates.npz", 1


@dataclass(frozen=True)
class Task:
    """deployed_epochs: of training on a part of the upright images.  epochs: of refining on all of the new domain."""

    network: Network
    deployed_epochs: int
    epochs: int


TASKS = {"lenet": Task(lenet(28), 12, 2), "vgg": Task(vgg(8, (16, 32, 64), 128), 30, 4)}


@dataclass(frozen=True)
class Point:
    """One update. size: of the method.  update_bytes: the stream.  values: numbers sent.

    trained, decoded: accuracies, %, before and after the stream.
    """

    method: str
    size: float
    seed: int
    update_bytes: int
    values: int
    trained: float
    decoded: float


def new_domain(data: Images) -> Images:
    """The same images turned and noisy."""
    from scipy.ndimage import rotate

    x = rotate(data.images, ANGLE, axes=(2, 3), reshape=False, order=1)
    x = x + NOISE * np.random.default_rng(len(data)).standard_normal(x.shape)
    return Images(np.clip(x, 0, 1).astype(np.float32), data.labels)


class Bench:
    """A network with its images, and what has been measured on it.

    folder: where deployed networks and results are kept, under a name that changes with the settings above.
    """

    def __init__(self, name: str, context: Context):
        self.task, self.network = TASKS[name], TASKS[name].network
        settings = repr((DOM_SNR, CM_SNR, RATES, RATE_FACTOR, DEPLOYED_SHARE, DEPLOYED_RATE, VALIDATION_SHARE,
                         ANGLE, NOISE, self.task))
        self.folder = context.cache / f"s4-{name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
        self.seeds = context.seeds
        self.old = training_images(self.network.side)
        self.new, self.test = (new_domain(x) for x in (self.old, test_images(self.network.side)))

    def accuracy(self, parameters: Parameters) -> float:
        """Percent of the test images of the new domain, by numpy."""
        return accuracy(self.network, parameters, self.test.images, self.test.labels)

    def deployed(self, seed: int) -> Parameters:
        """The network that the edge has."""
        path = self.folder / f"deployed-{seed}.npz"
        if not path.exists():
            from training import trained

            count, epochs = int(DEPLOYED_SHARE * len(self.old)), self.task.deployed_epochs
            part = slice(first := (seed - 1) % round(1 / DEPLOYED_SHARE) * count, first + count)
            data = Images(self.old.images[part], self.old.labels[part])
            _whole_file(path, lambda f: np.savez(f, **trained(self.network, data, epochs, DEPLOYED_RATE, seed)))
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}

    def rate(self, method: str, size: float) -> float:
        """The best rate on images that are not trained on, with the first seed.

        By factors of three from RATES, upwards and downwards as long as it gets better.
        """
        count = int(len(self.new) * (1 - VALIDATION_SHARE))
        start, seed = self.deployed(self.seeds[0]), self.seeds[0]

        def tried(power: int) -> float:
            rate = RATES[method] * RATE_FACTOR**power
            arrays, _ = refined(self.task, start, method, size, self.new.first(count), rate, seed)
            return accuracy(self.network, arrays, self.new.images[count:], self.new.labels[count:])

        def best() -> float:
            found = {power: tried(power) for power in (-1, 0, 1)}
            while (power := max(found, key=found.get)) in (min(found), max(found)):
                further = power + (1 if power > 0 else -1)
                found[further] = tried(further)
            return RATES[method] * RATE_FACTOR**power
        return kept(self.folder / f"rate-{method}-{size}.json", best)

    def jobs(self) -> Iterator[tuple[str, float, int]]:
        """(method, size, seed) of all runs; `whole` is one training that is sent in many ways."""
        for seed in self.seeds:
            yield from ((m, s, seed) for m, sizes in SIZES.items() for s in sizes)
            yield "whole", 0, seed

    def points(self, method: str, size: float, seed: int) -> list[Point]:
        """The results of one run."""
        rate = self.rate(method, size)

        def run() -> list[dict]:
            start = self.deployed(seed)
            arrays, (made, free) = refined(self.task, start, method, size, self.new, rate, seed)
            trained = self.accuracy(arrays)
            if method != "whole":
                coded = send_update(arrays, start, made, free)
                values = values_sent(made, vectors(self.network, start, made))
                return [asdict(Point(method, size, seed, coded.size, values, trained, self.accuracy(coded.received)))]
            count = sum(a.size for a in arrays.values())
            ways = [("DoM", snr, start) for snr in DOM_SNR] + [("CM", snr, None) for snr in CM_SNR]
            return [asdict(Point(name, snr, seed, (c := _quantised(arrays, snr, base)).size, count, trained,
                                 self.accuracy(c.received))) for name, snr, base in ways]
        return [Point(**p) for p in kept(self.folder / f"{method}-{size}-{seed}-{rate:g}.json", run)]


def kept(path: pathlib.Path, make: Callable):
    """What `make` returns, numbers and lists of them, from its file; made first where it is missing."""
    if not path.exists():
        result = json.dumps(make())
        _whole_file(path, lambda f: f.write(result.encode()))
    return json.loads(path.read_text())


def refined(task: Task, deployed: Parameters, method: str, size: float, data: Images, rate: float,
            seed: int) -> tuple[Parameters, tuple[dict, Free]]:
    """The network after compact refinement, and how its weights came about."""
    from s4_training import refine

    made = trainables(task.network, deployed, method, size, seed)
    free, others = refine(task.network, deployed, made, data, task.epochs, rate, seed)
    return rebuilt(deployed, made, free, others), (made, free)


def _quantised(parameters: Parameters, snr: float, deployed: Parameters | None) -> Coded:
    return send(parameters, Config(snr=snr), deployed)


def _whole_file(path: pathlib.Path, write) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with open(partial, "wb") as file:
        write(file)
    partial.replace(path)


# The quick mode: one seed of one network, whose trained free parameters are committed as float16.

def make_weights(folder: pathlib.Path) -> None:
    """Writes QUICK_FILE: the deployed network, test images of the new domain, and what each method trained."""
    bench = Bench("vgg", Context(quick=False, seeds=(QUICK_SEED,), cache=folder / "made"))
    start = {k: v.astype(np.float16).astype(np.float32) for k, v in bench.deployed(QUICK_SEED).items()}
    entries = {f"deployed/{k}": v.astype(np.float16) for k, v in start.items()}
    test = bench.test
    entries |= {"images": np.rint(test.images * 255).astype(np.uint8), "labels": test.labels.astype(np.uint8)}
    for method, size in quick_jobs():
        arrays, (made, free) = refined(bench.task, start, method, size, bench.new, RATES[method], QUICK_SEED)
        others = vectors(bench.network, arrays, made)
        prefix = f"{method}-{size}"
        entries |= {f"{prefix}/{name}/{k}": v.astype(np.float16) for name, f in free.items() for k, v in f.items()}
        entries |= {f"{prefix}/{name}": v for name, v in others.items()}
    for path in bench.folder.iterdir():
        path.unlink()
    bench.folder.rmdir()
    bench.folder.parent.rmdir()
    _whole_file(folder / QUICK_FILE, lambda f: np.savez_compressed(f, **entries))


def quick_jobs() -> Iterator[tuple[str, float]]:
    return ((method, size) for method, sizes in QUICK_SIZES.items() for size in sizes)


def quick_points(folder: pathlib.Path) -> tuple[float, int, list[Point]]:
    """(accuracy of the deployed network, its bytes, the updates), all by numpy. Needs QUICK_FILE in the folder."""
    network = TASKS["vgg"].network
    with np.load(folder / QUICK_FILE) as archive:
        images, labels = archive["images"].astype(np.float32) / np.float32(255), archive["labels"].astype(np.int64)
        entries = {k: archive[k].astype(np.float32) for k in archive.files if "/" in k}
    start = {k.partition("/")[2]: v for k, v in entries.items() if k.startswith("deployed/")}
    found = []
    for method, size in quick_jobs():
        made = trainables(network, start, method, size, QUICK_SEED)
        prefix = f"{method}-{size}"
        free = {name: {k: entries[f"{prefix}/{name}/{k}"] for k in m.free} for name, m in made.items()}
        others = {name: entries[f"{prefix}/{name}"] for name in vectors(network, start, made)}
        arrays = rebuilt(start, made, free, others)
        coded = send_update(arrays, start, made, free)
        trained, decoded = (accuracy(network, p, images, labels) for p in (arrays, coded.received))
        found.append(Point(method, size, QUICK_SEED, coded.size, values_sent(made, others), trained, decoded))
    return accuracy(network, start, images, labels), bytes_of(start), found


def by_size(points: list[Point], method: str) -> list[list[Point]]:
    """The points of a method, those of one size (all seeds) together, in order of sizes."""
    own = sorted((p for p in points if p.method == method), key=lambda p: (p.size, p.seed))
    return [list(group) for _, group in itertools.groupby(own, key=lambda p: p.size)]
