"""Make the suite again, byte for byte: streams, references, manifest.json, coverage.md and coverage.json."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

from refcodec.bitstream.limits import VERSION, Profile
from refcodec.checker.dump import tensor_results, write_dump
from refcodec.checker.manifest import PROFILES
from refcodec.decoder import StreamDecoder
from refcodec.entropy.watch import watching
from refcodec.errors import OmcError
from refcodec.model import Model

from . import (
    bins_ends,
    bins_faults,
    bins_scripts,
    border_faults,
    borders,
    combinations,
    costs,
    cover,
    coverage,
    extremes,
    invalid,
    parents,
    pieces,
    products,
    seals,
    unseen,
    valid,
)
from .builder import build, literals
from .edits import EditedStream
from .features import FinalStates, trace
from .streams import Made

SUITE = Path(__file__).parents[1]
SUITE_VERSION, SPEC_VERSION = "0.2", "{}.{}".format(*VERSION)
OPTIONAL = ("p-area",)                     # a million elements: minutes for a decoder that is not compiled
DECODING = (valid, parents, combinations, cover, extremes, borders, products, unseen,
            bins_scripts, bins_ends, bins_faults, pieces, seals, costs)                # modules with recipes(),
DAMAGED = (invalid, cover, extremes, border_faults, products, unseen, bins_faults, pieces, seals, costs)    # faults()
SECONDS, MEMORY = 30, 4 << 30              # per stream; most take milliseconds


def make() -> tuple[list[Made], dict[str, Model]]:
    """All streams, and the models outside them."""
    external, made = valid.external_models(), {}
    for r in chain.from_iterable(module.recipes() for module in DECODING):
        data = build(r.write, r.profile, r.level, [external[n] for n in r.references])
        where = r.write.__module__.rpartition(".")[2]
        made[r.id] = Made(r.id, r.purpose, r.kind, f"{where}: {r.id}", data, r.references)
    for f in chain.from_iterable(module.faults() for module in DAMAGED):
        parent = made[f.parent]
        stream = EditedStream(parent.data, [external[n] for n in parent.references])
        f.edit(stream)
        if f.id in made:
            raise ValueError(f"two streams {f.id}")
        made[f.id] = Made(f.id, f.purpose, "invalid", f"invalid: edit of {f.parent}", stream.bytes(),
                          () if f.without_references else parent.references, (f.requirement,), f.codes)
    return [*made.values(), *random_streams()], external


def random_streams() -> list[Made]:
    """The random streams that were kept, from a process that compiles nothing (random.py)."""
    root = SUITE.parent
    run = subprocess.run([sys.executable, "-m", "conformance.recipes.random", "--kept"], stdout=subprocess.PIPE,
                         check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    return [Made(m["id"], m["purpose"], "valid", f"drawn: {m['id']}", bytes.fromhex(m["data"]), seed=m["seed"])
            for m in json.loads(run.stdout)]


def expected(m: Made, references: list[Model]) -> dict:
    """What the reference decoder makes of a stream. Raises AssertionError where that is not what the recipe says."""
    final = FinalStates()
    try:
        with StreamDecoder(m.data, references) as decoder, watching(final):
            models = [decoder.model(number) for number in range(len(decoder.parsed.models))]
            cost = {"work": decoder.parsed.cost.work(), "memory": decoder.parsed.cost.memory()}
    except OmcError as error:
        assert error.code in m.codes, f"{m.id}: {error}, not {m.codes}"
        return {"codes": list(m.codes), "phases": [error.phase], "unit": error.unit, "bit": error.bit}
    assert not m.codes, f"{m.id} is accepted"
    *earlier, last = [decoded(model) for model in models]
    found = [[*place, *state] for place, state in sorted(final.of.items())]
    return last | {"cost": cost} | ({"earlier": earlier} if earlier else {}) | ({"final_state": found} if found else {})


def decoded(model: Model) -> dict:
    """What a model has to be."""
    return {"model_digest": model.digest().hex(),
            "tensors": [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape), "sha256": digest}
                        for t, _, digest in tensor_results(model)]}


def entry(m: Made, external: dict[str, Model]) -> dict:
    """The entry of the manifest."""
    references = [external[n] for n in m.references]
    clauses, features = trace(m.data, references)
    profile = next((f.split("=")[1].lower() for f in features if f.startswith("profile=")), PROFILES[Profile.BASELINE])
    level = next((int(f.split("=")[1]) for f in features if f.startswith("level=")), 1)
    return {
        "id": m.id, "revision": 1, "spec_version": SPEC_VERSION, "profile": profile, "level": min(4, max(1, level)),
        "kind": m.kind, "required": m.id not in OPTIONAL, "purpose": m.purpose, "clauses": clauses,
        "requirements": list(m.requirements), "features": features, "file": f"streams/{m.id}.omc",
        "sha256": hashlib.sha256(m.data).hexdigest(), "size": len(m.data),
        "references": [f"references/{n}" for n in m.references], "recipe": m.recipe, "seed": m.seed,
        "limits": {"seconds": SECONDS, "memory": MEMORY}, "licence": "CC0-1.0", "expected": expected(m, references)
    }


def write(folder: Path, traced: bool = True) -> None:
    """Write the whole suite into a folder. traced: and its coverage, which takes a minute or two."""
    made, external = make()
    for name in ("streams", "references"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    for m in made:
        (folder / "streams" / f"{m.id}.omc").write_bytes(m.data)
    for name, model in external.items():
        write_dump(model, folder / "references" / name)
    entries = [entry(m, external) for m in made]
    write_manifest(folder, entries, "smoke")
    if not traced:
        return
    measured = coverage.measure(folder, entries)
    (folder / "coverage.json").write_text(coverage.as_json(measured, SPEC_VERSION), encoding="utf-8")
    (folder / "coverage.md").write_text(coverage.report(entries, measured), encoding="utf-8")


def write_manifest(folder: Path, entries: list[dict], smoke: str) -> None:
    """manifest.json: an entry a line, so that changes can be read."""
    lines = ",\n".join(json.dumps(e, ensure_ascii=True) for e in entries)
    head = json.dumps({"suite_version": SUITE_VERSION, "spec_version": SPEC_VERSION, "smoke": smoke,
                       "streams": []})[:-2]
    (folder / "manifest.json").write_text(f"{head}\n{lines}\n]}}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.recipes", description=__doc__)
    parser.add_argument("--out", type=Path, default=SUITE, metavar="FOLDER", help="where to (default: here)")
    parser.add_argument("--learn", action="store_true",
                        help="let general-purpose coders make what literals.json does not have")
    parser.add_argument("--untraced", action="store_true",
                        help="leave out coverage.md and coverage.json, which take longest")
    arguments = parser.parse_args()
    literals.learn = arguments.learn
    write(arguments.out, not arguments.untraced)
    literals.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
