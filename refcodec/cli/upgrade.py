"""refcodec upgrade: a stream of the version before to one of this version."""

from __future__ import annotations

import argparse
import os
import time

from .shared import (
    Commands,
    add_budget,
    add_command,
    add_json,
    add_references,
    add_threads,
    budget_of,
    print_result,
    progress_bar,
    references_beside_output,
    references_named,
    threads_of,
)


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "upgrade", "a stream of version 0.1 to one of this version",
        "Make a stream of this version of one that refcodec 0.1 wrote. The stream is decoded and verified by its own "
        "digests; then it is written again with the digests of this version (SPEC 8.8), its payloads byte for byte: "
        "nothing is coded anew, and the tensors stay what they are. All models, versions, quality layers and extension "
        "units of the stream come along. An update names its reference by digest, and that digest is another now, so "
        "the model has to be given: its file, or its stream, upgraded before.",
        {"refcodec upgrade old.omc -o new.omc": "a stream of 0.1",
         "refcodec upgrade old-update.omc --reference v1.onnx -o update.omc": "an update of v1",
         "for f in *.omc; do refcodec upgrade $f -o new/$f; done": "all streams of a folder"})
    p.add_argument("input", metavar="OLD.omc")
    p.add_argument("-o", "--output", required=True, metavar="NEW.omc")
    add_references(p)
    add_budget(p)
    add_threads(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..files import atomic_file
    from ..upgrading import upgrade_to

    references = references_beside_output(arguments, budget := budget_of(arguments))
    start = time.perf_counter()
    with references_named(arguments.reference), progress_bar(0, "upgrade") as progress, \
            atomic_file(arguments.output) as sink:
        upgrade_to(sink, arguments.input, references, threads=threads_of(arguments), budget=budget,
                   progress=progress)
        size = sink.tell()
    result = {"output": arguments.output, "input_bytes": os.path.getsize(arguments.input), "output_bytes": size,
              "seconds": round(time.perf_counter() - start, 3)}
    print_result(arguments, result, f"{arguments.output}: {size:,} bytes ({result['input_bytes']:,} before), digests "
                 f"of 0.1 verified, {result['seconds']:.1f} s")
