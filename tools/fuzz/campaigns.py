"""The campaigns: seeds, damage, targets, and what is counted."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from conformance.recipes.edits import EditedStream
from refcodec import Model, Tensor, decode, save
from refcodec.budget import Budget
from refcodec.checker import load_manifest
from refcodec.checker.dump import read_dump
from refcodec.checker.manifest import Rejected

from . import bins_inputs, damage, python_targets
from .c_harness import Server
from .python_targets import Fault, Outcome, Tally

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "conformance" / "manifest.json"
SEED_BYTES_MAX = 9000          # larger streams of the suite are limits, and slow


@dataclass
class Seed:
    """A stream of the suite. edited: its elements, if it is valid; digest: of its model, b'' if it is rejected."""

    name: str
    data: bytes
    digest: bytes = b""
    edited: EditedStream | None = None


@dataclass
class Seeds:
    """The streams that inputs are made of, and the external models of all of them."""

    all: list[Seed]
    references: list[Model]
    folders: list[Path]
    valid: list[Seed] = field(init=False)

    def __post_init__(self):
        self.valid = [s for s in self.all if s.digest]


def seeds(manifest: Path = MANIFEST, stride: int = 1) -> Seeds:
    """Each stride-th stream of the suite that is not too large."""
    streams = [s for s in load_manifest(manifest).streams if s.size <= SEED_BYTES_MAX][::stride]
    folders = sorted({r for s in load_manifest(manifest).streams for r in s.references})
    references = [read_dump(f) for f in folders]
    found = []
    for s in streams:
        seed = Seed(s.id, s.file.read_bytes())
        if not isinstance(s.expected, Rejected):
            seed.digest = bytes.fromhex(s.expected.model_digest)
            seed.edited = EditedStream(seed.data, references)
        found.append(seed)
    return Seeds(found, references, folders)


def warm(s: Seeds) -> None:
    """Decode the valid streams, so that all is compiled before a clock runs, and leave out those beyond the memory.

    Raises Fault for other output than due.
    """
    outcomes = {seed.name: python_targets.decode(seed.data, s.references) for seed in s.valid}
    s.valid = [seed for seed in s.valid if outcomes[seed.name].code != "RESOURCE_LIMIT"]
    for seed in s.valid:
        if outcomes[seed.name].digest != seed.digest:
            raise Fault(f"{seed.name} is not decoded as the suite says")


def damaged(s: Seeds, rng: random.Random) -> tuple[bytes, Seed | None]:
    """An input, and its parent if no check was made anew: then it may be decoded to the parent's model only."""
    kind = rng.randrange(8)
    if kind == 0:
        parent = rng.choice(s.all)
        return damage.of_bytes(parent.data, rng), parent
    parent = rng.choice(s.valid)
    if kind < 5:
        return damage.of_units(parent.data, rng.choice(s.valid).data, rng), None
    return damage.of_elements(parent.edited, rng), None


def fuzz_decoder(s: Seeds, count: int, seed: int, progress: Callable[[], None] = lambda: None) -> Tally:
    """Damaged streams over the Python decoder."""
    warm(s)
    tally, rng, began = Tally("Python decoder"), random.Random(seed), time.monotonic()
    with python_targets.limits():
        for _ in range(count):
            data, parent = damaged(s, rng)

            def run(data=data, parent=parent) -> Outcome:
                outcome = python_targets.decode(data, s.references)
                if parent and parent.digest and outcome.digest not in (b"", parent.digest):
                    raise Fault(f"WRONG-ACCEPT: another model than that of {parent.name}")
                return outcome

            python_targets.timed(tally, data, run)
            progress()
    tally.seconds = time.monotonic() - began
    return tally


def fuzz_files(name: str, inputs: Iterator[tuple[str, bytes]], target: Callable[[Path], Outcome], count: int,
               progress: Callable[[], None] = lambda: None) -> Tally:
    """Inputs as files. inputs: (name of the file, bytes), without end."""
    tally, began = Tally(name), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="omc-fuzz-") as folder, python_targets.limits():
        for _, (file, data) in zip(range(count), inputs):
            path = Path(folder, file)
            path.write_bytes(data)
            python_targets.timed(tally, data, lambda path=path: target(path))
            progress()
    tally.seconds = time.monotonic() - began
    return tally


def stream_files(s: Seeds, seed: int) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(seed)
    while True:
        yield "stream.omc", damaged(s, rng)[0]


def model_files(seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged ONNX, safetensors, npz and npy files."""
    rng, whole = random.Random(seed), _small_files()
    while True:
        name = rng.choice(sorted(whole))
        yield name, damage.of_bytes(whole[name], rng)


def _small_files() -> dict[str, bytes]:
    weights = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)
    empty = Tensor("empty", np.zeros((0, 3), np.float16))
    small = Model([Tensor("w", weights), Tensor("n", np.arange(5)), empty], "small")
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("npz", "safetensors"):
            path = Path(folder, f"model.{suffix}")
            save(small, path)
            files[path.name] = path.read_bytes()
        np.save(Path(folder, "model.npy"), weights)
        files["model.npy"] = Path(folder, "model.npy").read_bytes()
    files["model.onnx"] = _small_onnx()
    files["digits.onnx"] = (ROOT / "tests" / "data" / "digits_v1.onnx").read_bytes()
    return files


def _small_onnx() -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tensors = [numpy_helper.from_array(np.ones((3, 4), np.float32), "w"),
               numpy_helper.from_array(np.arange(3), "shape"),
               helper.make_tensor("typed", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0]),
               helper.make_tensor("packed", TensorProto.INT4, [5], [1, -2, 3, -4, 5])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "layer")]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3]), ("y", [1, 4])))
    return onnx.helper.make_model(helper.make_graph(nodes, "graph", [x], [y], tensors)).SerializeToString()


def fuzz_differential(s: Seeds, server: Server, count: int, seed: int,
                      progress: Callable[[], None] = lambda: None) -> Tally:
    """Damaged streams, the digests made anew where payloads still decode, over both decoders: they have to agree.

    A budget of memory or work (RESOURCE_LIMIT) and what the C decoder does not have are no disagreement.
    """
    warm(s)
    tally, rng, began = Tally("Python against C"), random.Random(seed), time.monotonic()
    with python_targets.limits():
        for _ in range(count):
            data, _ = damaged(s, rng)

            def run(data=data) -> Outcome:
                outcome = python_targets.decode(data, s.references)
                if outcome.code == "DIGEST_MISMATCH":
                    budget = Budget.of_level(python_targets.MEMORY)
                    data = damage.with_new_digests(data, s.references, budget=budget) or data
                    outcome = python_targets.decode(data, s.references)
                agree(outcome, server.ask(data), data)
                return outcome

            python_targets.timed(tally, data, run)
            progress()
    tally.seconds = time.monotonic() - began
    return tally


def fuzz_bins(server: Server | None, count: int, seed: int, progress: Callable[[], None] = lambda: None) -> Tally:
    """Payloads of BINS, right and damaged, over both decoders (server None: over Python's). They have to agree.

    Right ones have to be decoded to what was drawn; damaged ones are models with other digests, or a code of 9.12.
    """
    tally, began = Tally("BINS"), time.monotonic()
    drawn = bins_inputs.inputs(seed)
    with python_targets.limits():
        for _ in range(count):
            data, expected = next(drawn)

            def run(data=data, expected=expected) -> Outcome:
                outcome = python_targets.decode(data, [])
                if outcome.code == "DIGEST_MISMATCH":
                    data = damage.with_new_digests(data, [], budget=Budget.of_level(python_targets.MEMORY)) or data
                    outcome = python_targets.decode(data, [])
                if outcome.code not in ("", "ENTROPY_END", "OUT_OF_RANGE"):
                    raise Fault(f"{outcome.code} for a payload of BINS: {data.hex()}")
                if expected is not None and not (outcome.digest and _decodes_to(data, expected)):
                    raise Fault(f"{outcome.code or 'other words'} for a payload that is right: {data.hex()}")
                if server:
                    agree(outcome, server.ask(data), data)
                return outcome

            python_targets.timed(tally, data, run)
            progress()
    tally.seconds = time.monotonic() - began
    return tally


def _decodes_to(data: bytes, expected: np.ndarray) -> bool:
    return decode(data).tensors[-1].array.reshape(-1).view(expected.dtype).tolist() == expected.tolist()


def agree(python: Outcome, c: dict, data: bytes) -> None:
    """Raises Fault where one decoder accepts what the other rejects, or they decode to different models."""
    if "fault" in c:
        raise Fault(f"the C decoder: {c['fault']}")
    if "feature" in c or "RESOURCE_LIMIT" in (python.code, c.get("code")):
        return
    if bool(python.digest) != ("digest" in c) or python.digest and python.digest.hex() != c["digest"]:
        raise Fault(f"Python {python.code or 'accepts ' + python.digest.hex()[:16]}, C {c}: {data.hex()}")


def minimised(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """A shorter input that still fails (delta debugging): no single byte can be left out."""
    pieces = 2
    while len(data) > 1:
        size = -(-len(data) // pieces)
        shorter = (data[:i] + data[i + size :] for i in range(0, len(data), size))
        found = next((x for x in shorter if fails(x)), None)
        if found is not None:
            data, pieces = found, max(2, pieces - 1)
        elif pieces < len(data):
            pieces = min(len(data), 2 * pieces)
        else:
            break
    return data


def corpus_outcomes(files: Sequence[Path], references: Sequence[Model]) -> dict[str, str]:
    """'accepted' or 'rejected' for each file of a corpus of streams; what is neither is raised."""
    return {path.name: "accepted" if python_targets.decode(path.read_bytes(), references).digest else "rejected"
            for path in files}
