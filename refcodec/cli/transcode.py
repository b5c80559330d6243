"""refcodec transcode: a stream to the same stream in another entropy mode."""

from __future__ import annotations

import argparse
import os
import time

from ..encoder.config_parts import ENTROPY
from ..errors import ConfigError
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

MODES = tuple(name for name in ENTROPY if name != "auto")


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "transcode", "an OMC stream to the same stream in another entropy mode",
        "Code the payloads of a stream anew in another entropy mode: bins decodes fastest, cc is smaller where values "
        "repeat. Every decoded word, every digest, quantisers, predictors, names, sets and updates stay as they are. "
        "What the mode cannot code stays as well, and is told: small tensors that share a unit (range coding alone can "
        "join them; encode them anew to part them), levels of a trellis between bins and the other modes (the trellis "
        "of bins has eight paths), kinds and ranges of integers that the mode does not know. Tensors are verified "
        "before they are coded anew, and compared after.",
        {"refcodec transcode small.omc -o fast.omc --entropy bins": "for receivers that decode often",
         "refcodec transcode fast.omc -o small.omc --entropy cc": "for an archive, or a slow link",
         "refcodec transcode update.omc -o fast.omc --entropy bins --reference v1.onnx":
             "an update: of differences the model before it has to be at hand"})
    p.add_argument("input", metavar="IN.omc")
    p.add_argument("-o", "--output", required=True, metavar="OUT.omc")
    p.add_argument("--entropy", required=True, choices=MODES, metavar="MODE", help=", ".join(MODES))
    add_references(p)
    add_budget(p)
    add_threads(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..bitstream.structures import EntropyMode
    from ..files import atomic_file
    from ..inputs import is_stream
    from ..transcoding import transcode_to

    references = references_beside_output(arguments, budget := budget_of(arguments))
    output = arguments.output
    if os.path.isfile(output) and os.path.getsize(output) and not is_stream(output):
        raise ConfigError("BAD_CONFIG", f"{output!r} is there and is no OMC stream, so that it is not overwritten; "
                          "remove it, or name another output")
    start = time.perf_counter()
    with references_named(arguments.reference), progress_bar(0, "transcode") as progress, atomic_file(output) as sink:
        done = transcode_to(sink, arguments.input, EntropyMode[arguments.entropy.upper()], references,
                            threads=threads_of(arguments), budget=budget, progress=progress)
    seconds = time.perf_counter() - start
    result = {"input": arguments.input, "output": output, "entropy": arguments.entropy,
              "input_bytes": done.bytes_before, "output_bytes": done.bytes_after, "components": done.components,
              "in_mode": done.in_mode, "kept": dict(done.kept), "seconds": round(seconds, 3)}
    lines = [f"{output}: {done.in_mode} of {done.components} coded arrays are in {arguments.entropy}, "
             f"{done.bytes_after:,} bytes ({done.bytes_before:,} before), {seconds:.1f} s",
             *(f"kept as they were: {count} {reason}" for reason, count in done.kept.items())]
    print_result(arguments, result, "\n".join(lines))
