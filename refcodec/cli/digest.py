"""refcodec digest: by which models, and updates that refer to them, know each other."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from .shared import Commands, add_command, add_json, progress_bar


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "digest", "the digest of models: what an update names its reference by",
        "Print the model digest (SPEC 8.8) of model files and of all models of streams: SHA-256 over names, types, "
        "shapes and values of the tensors, whatever file holds them. Of streams the digests are read, not computed "
        "('refcodec decode' and 'validate' compare them with the tensors), and those of the models that an update "
        "needs are printed with them.",
        {"refcodec digest v1.onnx v1.safetensors": "whether two files hold the same model",
         "refcodec digest update.omc v1.onnx": "whether this is the reference that the update needs",
         "refcodec digest --tensors --json model.omc": "of each tensor, too, for programs"})
    p.add_argument("files", metavar="FILE", nargs="+", help="a model file or a stream")
    p.add_argument("--tensors", action="store_true",
                   help="print the digest of each tensor, too: of its 32 bytes the first 8, which streams carry; '-' "
                        "where small tensors of a stream are joined and share one digest")
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inputs import is_stream
    from ..inspection.text import shown

    results = []
    for path in arguments.files:
        for found in _of_stream(path) if is_stream(path) else _of_file(path):
            if not arguments.tensors:
                del found["tensors"]
            results.append(found)
            if arguments.json:
                continue
            model = "" if found["model"] is None else f", model {found['model']} '{shown(found['name'])}'"
            print(f"{found['digest']}  {path}{model}")
            for number, digest in enumerate(found["needs"], 1):
                print(f"    needs {digest} (reference {number})")
            for tensor in found.get("tensors", ()):
                print(f"    {tensor['digest'] or '-':16}  {shown(tensor['name'])}")
    if arguments.json:
        print(json.dumps(results, indent=1))


def _of_file(path: str) -> Iterator[dict[str, Any]]:
    from ..digests import STATED_BYTES, joint_digest
    from ..formats import load

    model = load(path)
    digests, done = [], 0
    total = sum(t.nbytes for t in model.tensors)
    with progress_bar(total, "digest") as progress:
        for tensor in model.tensors:
            digests.append(tensor.digest())
            done += tensor.nbytes
            progress(done, total, tensor.name)
    yield {"file": path, "model": None, "name": model.name, "digest": joint_digest(digests).hex(), "needs": [],
           "tensors": [{"name": t.name, "digest": digest[:STATED_BYTES].hex()}
                       for t, digest in zip(model.tensors, digests)]}


def _of_stream(path: str) -> Iterator[dict[str, Any]]:
    from ..inspection.describe import describe_stream

    for number, model in enumerate(describe_stream(path)["models"]):
        yield {"file": path, "model": number, "name": model["name"], "digest": model["digest"],
               "needs": [r["external_digest"] for r in model["references"] if "external_digest" in r],
               "tensors": [{"name": t["name"], "digest": t["digest"]} for t in model["tensors"]]}
