"""refcodec encode: a model file to a stream."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..encoder.config import PRESETS, QUANTISERS, Config
from ..encoder.config_parts import CODERS, ENTROPY, PROFILES, STATES
from ..errors import ConfigError
from ..formats.table import exact_formats, readable_endings
from . import encode_quality
from .encode_calibrated import add_calibration, add_targets, calibrated, is_calibrated, notes_of, told, with_formats
from .shared import (
    Commands,
    add_command,
    add_json,
    add_references,
    add_threads,
    calm_libraries,
    files_of,
    load_all,
    print_result,
    progress_bar,
    refuse_overwriting,
    size,
)

if TYPE_CHECKING:
    from ..model import Model

SYSTEMS = (
    "Published systems, each by one name; docs/systems.md says more. s1-rp: weights cut to RP decimals, "
    "LZMA. s2-qbits: weights rounded, q_bits of 12 decimals dropped, LZMA. Both: with --reference as a difference "
    "of models, with --root as a set. s3-features: activations, without loss or with --step. s4-*: an update of "
    "--reference: lra, a product of two small factors; ml, one factor times the main directions of the old weights;"
    " ka, new singular values and a few new columns; rm, some elements chosen by a seed; lru, one factor times a "
    "random one; fp, filters that are zero are left out (needs no reference). s5-hybrid: low rank, pruning and "
    "fixed point layer by layer, Huffman codes. auto: all tools, the smallest for each tensor.")


def add(commands: Commands) -> argparse.ArgumentParser:
    e = add_command(
        commands, "encode", "a model file to an OMC stream",
        "Encode a model. Without --lossy, --step, --snr, --bits-per-weight or a target nothing is lost: decoding "
        f"an {exact_formats()} file gives back the same file, byte for byte.",
        {"refcodec encode model.onnx -o model.omc": "without loss",
         "refcodec encode model.onnx --lossy --check x.npz -o small.omc":
             "with loss, and how many answers to the inputs in x.npz stay as they were",
         "refcodec encode model.onnx --snr 30 -o small.omc": "weights with an error 30 dB below them",
         "refcodec encode v2.onnx --reference v1.onnx -o update.omc": "an update, for those who have v1",
         "refcodec encode v1.onnx v2.onnx v3.onnx -o versions.omc": "several versions in one stream",
         "refcodec encode model.onnx --max-bytes 20M -o small.omc": "as good as 20 MiB allow",
         "refcodec encode model.onnx --calibration x.npz --target-decisions 0.98 -o small.omc":
             "as small as 98 % of the decisions of the network allow",
         "refcodec encode model.onnx --preset s5-hybrid -o small.omc": "a published system by its name"})
    e.add_argument(
        "input", metavar="INPUT", nargs="+",
        help=f"model: {readable_endings()} (or .omc, to code it anew); of several, in one stream, each is "
        "predicted from the one before")
    e.add_argument("-o", "--output", required=True, metavar="OUT.omc")
    aim = e.add_mutually_exclusive_group()
    aim.add_argument("--lossless", action="store_true", help="keep every bit (the default)")
    aim.add_argument("--step", type=float, metavar="S", help="quantiser step, one for all weights")
    aim.add_argument("--snr", type=float, metavar="DB",
                     help="signal-to-noise ratio of all weights together: 10 log10(variance / mean squared error)")
    aim.add_argument("--bits-per-weight", type=float, metavar="B",
                     help="size of the whole stream over quantised weights")
    add_targets(aim)
    encode_quality.add_quality(e, aim)
    e.add_argument("--states", type=int, choices=STATES,
                   help="trellis states; 0: plain quantiser (default 8; --best 32, --fast 0)")
    e.add_argument("--coder", choices=CODERS, help="context coding or mixed coding of levels (default: bins for large "
                   "tensors, else cc; --best cm)")
    effort = e.add_mutually_exclusive_group()
    effort.add_argument("--fast", action="store_true", help="large tensors in bins without a trial, and no trellis")
    effort.add_argument("--best", action="store_true", help="as small as can be: context coding beside bins, mixed "
                        "coding, 32 states")
    add_references(e, f"a model that the decoder will have: {readable_endings()}, or .omc; may be given again")
    add_calibration(e)
    _add_systems(e)
    e.add_argument("--quality-layers", type=int, metavar="N", help="N layers from coarse to the quality asked for")
    add_threads(e)
    e.add_argument("--config", metavar="FILE",
                   help="TOML or JSON with the fields of refcodec.Config; options win over it")
    add_json(e)
    return e


def _add_systems(e: argparse.ArgumentParser) -> None:
    s = e.add_argument_group("systems", SYSTEMS)
    s.add_argument("--preset", choices=PRESETS, metavar="NAME", help="a system by its name: " + ", ".join(PRESETS))
    s.add_argument("--profile", choices=PROFILES, help="use no tool beyond this profile")
    s.add_argument("--entropy", choices=ENTROPY, metavar="MODE",
                   help="one entropy mode for all that it can code; auto: the smallest of all: " + ", ".join(ENTROPY))
    s.add_argument("--quantiser", choices=QUANTISERS, metavar="NAME",
                   help="of the weights (default uniform): " + ", ".join(QUANTISERS))
    s.add_argument("--rp", type=int, metavar="P", help="s1-rp: decimals that are kept, 0..12 (default 4)")
    s.add_argument("--q-bits", type=int, metavar="K",
                   help="s2-qbits: of 12 decimals, how many are dropped, 0..12 (default 8)")
    s.add_argument("--width", type=int, metavar="BITS",
                   help="fixed-point: bits of a weight, 1..32 (default: as many as --snr needs)")
    s.add_argument("--clusters", type=int, metavar="K", help="k-means: entries of a codebook (default 16)")
    s.add_argument("--update-rank", type=int, metavar="R",
                   help="s4: rank of the factors; augmenting columns of s4-ka (default 8)")
    s.add_argument("--update-fraction", type=float, metavar="F",
                   help="s4-rm: part of the elements that is sent (default 0.02)")
    s.add_argument("--features", action="store_true",
                   help="INPUT is an .npz or .npy of activations: maps C x H x W, or vectors (s3-features implies it)")
    s.add_argument("--sequence", action="store_true",
                   help="features whose first axis counts frames (default: if N x C x H x W)")
    s.add_argument(
        "--root", metavar="WHICH", help="the INPUTs are a set, coded from a root: auto (a tree of least "
        "cost), kl (least Kullback-Leibler distance), size (fewest bytes), or a model's name, number or file")
    s.add_argument("--max-bytes", type=size, metavar="SIZE",
                   help="size of the whole stream, e.g. 20M: the steps are chosen to fit")


def run(arguments: argparse.Namespace) -> None:
    if arguments.calibration or arguments.check:
        calm_libraries()
    from ..encoder.encoding import encode_to
    from ..files import atomic_file
    from ..inputs import name_models
    from .encode_options import check_models, config_of, named_root

    config = config_of(arguments)
    models = _features(arguments, config) or load_all(arguments.input)
    references = load_all(arguments.reference)
    if not _are_features(arguments, config):
        name_models(models, arguments.input)
        config = replace(config, root=named_root(config.root, models, arguments.input))
    check_models(config, models, references)
    _refuse_output(arguments, [*zip(arguments.input, models), *zip(arguments.reference, references)])
    start = time.perf_counter()
    before = _input_size(arguments.input, models)
    made = None
    if is_calibrated(arguments):
        made = calibrated(models[0], references, arguments, config)
        with atomic_file(arguments.output) as sink:
            after = sink.write(made.stream)
    else:
        if arguments.calibration:
            models, config = with_formats(models, config, arguments)
        total = sum(t.nbytes for model in models for t in model.tensors)
        with progress_bar(total, "encode") as progress, atomic_file(arguments.output) as sink:
            encode_to(sink, models, config, references, progress=progress)
            after = sink.tell()
    seconds = time.perf_counter() - start
    found = encode_quality.quality(arguments.output, models, config, references)
    check = (encode_quality.checked(arguments.output, models[0], references, arguments) if arguments.check else None)
    notes = _notes(arguments.output, config) if made is None else notes_of(made)
    notes += encode_quality.of_reference(models[-1], references, config) + (
        encode_quality.warned(found) if made is None else [])       # a calibrated one was judged by its answers
    result = {"input": arguments.input, "output": arguments.output, "input_bytes": before, "output_bytes": after,
              "ratio": before / after, "seconds": round(seconds, 3), "notes": notes}
    if made is not None:
        result["calibration"] = made.as_json()
    result |= encode_quality.as_json(found, check)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print_result(
        arguments, result,
        f"{arguments.output}: {after:,} bytes, ratio {before / after:.3f} ({before:,} bytes before), "
        f"{seconds:.1f} s" + "".join("\n" + line for line in [*(told(made) if made else ()),
                                                              *encode_quality.told(None if made else found, check)]))


def _notes(path: str, config: Config) -> list[str]:
    """What was asked for by name, but stands nowhere in the stream that was made: a note each."""
    if not (config.tools.one_mode or config.update) or not os.path.isfile(path):       # what a pipe took is gone
        return []
    from ..inspection.describe import describe_stream

    models = describe_stream(path)["models"]
    tensors = [t for m in models for t in m["tensors"]]
    notes = []
    if config.tools.one_mode and not any(config.entropy in t["entropy"].split("+") for t in tensors):
        notes.append(f"--entropy {config.entropy} can code no tensor of this model, or only small ones, which share "
                     "range-coded units: 'refcodec info' shows what codes them")
    if config.update and all(t["representation"] == "direct" for t in tensors):
        why = "no filter is zero" if config.update == "fp" else "the reference has no tensors of these names and types"
        notes.append(f"s4-{config.update} applies to no tensor of this model: {why}")
    return notes


def _refuse_output(arguments: argparse.Namespace, inputs: Sequence[tuple[str, Model]]) -> None:
    """Raises ConfigError BAD_CONFIG where the output is an input, or a file that is not what encode writes."""
    from ..inputs import is_stream

    refuse_overwriting(arguments.output, [arguments.config, *(arguments.calibration or ()),
                                          *(arguments.validation or ()), *(arguments.check or ())])
    for path, model in inputs:
        refuse_overwriting(arguments.output, files_of(path, model))
    output = arguments.output
    if os.path.isfile(output) and os.path.getsize(output) and not is_stream(output):
        raise ConfigError("BAD_CONFIG", f"{output!r} is there and is no OMC stream, so that it is not overwritten; "
                          "remove it, or name another output")


def _are_features(arguments: argparse.Namespace, config: Config) -> bool:
    return arguments.features or arguments.sequence or config.preset == "s3-features"


def _features(arguments: argparse.Namespace, config: Config) -> list[Model]:
    from ..formats.features import load_features

    if not _are_features(arguments, config):
        return []
    if len(arguments.input) > 1:
        raise ConfigError("BAD_CONFIG", "features are coded from one file; put its arrays together")
    return load_features(arguments.input[0], True if arguments.sequence else None)


def _input_size(paths: list[str], models: list[Model]) -> int:
    sources = [model.source for model in models]
    if len(sources) != len(paths):
        return sum(map(os.path.getsize, paths))
    return sum(max(os.path.getsize(path), sum(f.size for f in source.files) if source else 0)
               for path, source in zip(paths, sources))
