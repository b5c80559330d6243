"""refcodec decode: a stream to a model file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..formats.table import exact_formats, new_endings
from .shared import (
    Commands,
    add_command,
    add_json,
    add_max_memory,
    add_references,
    add_threads,
    files_of,
    load_all,
    print_result,
    progress_bar,
    references_named,
    refuse_overwriting,
    threads_of,
)

if TYPE_CHECKING:
    from ..decoder import StreamDecoder
    from ..model import Model


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "decode", "an OMC stream to a model file",
        f"Decode a stream. The output's format follows its ending; a stream of an {exact_formats()} file "
        f"gives that file back. A model of several files (external data) needs a folder as OUTPUT. {new_endings()} are "
        "written from any stream, with the tensors alone.",
        {"refcodec decode model.omc -o model.onnx": "the model file",
         "refcodec decode update.omc --reference v1.onnx -o v2.onnx": "v2, of an update of v1",
         "refcodec decode model.omc --tensor fc1.weight -o fc1.npz": "one tensor, without decoding the others",
         "refcodec decode versions.omc --model 0 -o first.onnx": "one of several models in a stream"})
    p.add_argument("input", metavar="IN.omc")
    p.add_argument("-o", "--output", required=True, metavar="OUTPUT")
    add_references(p)
    p.add_argument("--tensor", action="append", default=[], metavar="NAME",
                   help="only this tensor, into an .npz; may be given again")
    p.add_argument("--quality", type=int, metavar="N", help="quality layer, 1 is the coarsest (default: the finest)")
    p.add_argument(
        "--model", metavar="WHICH", help="model of a stream of several: its name, or its number counted from 0; "
        "'refcodec info' lists them (default: the last)")
    p.add_argument("--allow-prefix", action="store_true", help="take a stream cut after a whole quality layer or model")
    add_max_memory(p)
    add_threads(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.text import shown

    references = load_all(arguments.reference)
    refuse_overwriting(arguments.output, [arguments.input])
    for path, model in zip(arguments.reference, references):
        refuse_overwriting(arguments.output, files_of(path, model))
    with references_named(arguments.reference):
        result = _decode(arguments, references)
    which = f"model {result['model']} '{shown(result['name'])}', " if "model" in result else ""
    print_result(arguments, result, f"{arguments.output}: {which}{result['tensors']} tensors, digests verified, "
                 f"{result['seconds']:.1f} s")


def _decode(arguments: argparse.Namespace, references: Sequence[Model]) -> dict[str, Any]:
    from ..decoder import StreamDecoder

    start = time.perf_counter()
    with StreamDecoder(arguments.input, references, threads=threads_of(arguments), max_memory=arguments.max_memory,
                       allow_prefix=arguments.allow_prefix) as decoder:
        number = _model_number(decoder, arguments)
        if arguments.model is None and not arguments.tensor and arguments.quality is None and _holds_features(decoder):
            result = _decode_features(decoder, arguments)
        elif arguments.tensor:
            result = _decode_tensors(decoder, number, arguments)
        else:
            result = _decode_model(decoder, number, arguments)
    if sum(not m.header.enhancement_flag for m in decoder.parsed.models) > 1 and "frames" not in result:
        result |= {"model": number, "name": decoder.parsed.models[number].header.model_name}
    result["seconds"] = round(time.perf_counter() - start, 3)
    return result


def _model_number(decoder: StreamDecoder, arguments: argparse.Namespace) -> int:
    finest = decoder.model_number(-1 if arguments.model is None else arguments.model)
    quality: int | None = arguments.quality
    if quality is None:
        return finest
    base = finest
    while decoder.is_enhancement(base):
        base -= 1
    last = decoder.finest(base)
    if not 1 <= quality <= last - base + 1:
        raise ConfigError("BAD_CONFIG", f"--quality {quality}: the stream holds {last - base + 1} quality layers")
    return base + quality - 1


def _holds_features(decoder: StreamDecoder) -> bool:
    from ..formats.features import LAYER as FEATURE_LAYER

    models = decoder.parsed.models
    return all(m.layers is not None and [x.layer_name for x in m.layers.layer] == [FEATURE_LAYER] for m in models)


def _decode_features(decoder: StreamDecoder, arguments: argparse.Namespace) -> dict[str, Any]:
    from ..formats.features import save_features

    frames = [decoder.model(number) for number in range(len(decoder.parsed.models))]
    save_features(frames, arguments.output)
    return {"output": arguments.output, "frames": len(frames), "tensors": sum(len(m.tensors) for m in frames)}


def _decode_tensors(decoder: StreamDecoder, number: int, arguments: argparse.Namespace) -> dict[str, Any]:
    from ..formats import open_writer

    if not arguments.output.endswith(".npz"):
        raise ConfigError("BAD_CONFIG", "--tensor writes an .npz file; name the output so")
    names = [e.tensor_name for e in decoder.parsed.models[number].state.tensors]
    missing = [n for n in arguments.tensor if n not in names]
    if missing:
        raise ConfigError("BAD_CONFIG", f"no tensor {missing[0]!r} in the stream; 'refcodec info' lists them")
    wanted = sorted({names.index(n) for n in arguments.tensor})
    words = {i: w for i, w, _ in decoder.tensors(number, set(wanted))}
    model = decoder.describe(number, lambda i: words[i])
    chosen = [model.tensors[i] for i in wanted]
    with open_writer(arguments.output, None, chosen) as writer:
        for k, tensor in enumerate(chosen):
            writer.write_tensor(k, tensor.array)
        writer.commit()
    return {"output": arguments.output, "tensors": len(chosen)}


def _decode_model(decoder: StreamDecoder, number: int, arguments: argparse.Namespace) -> dict[str, Any]:
    from ..formats import open_writer

    model = decoder.describe(number, lambda i: decoder.words(number, i))
    total, done, digests = sum(t.nbytes for t in model.tensors), 0, {}
    with progress_bar(total, "decode") as progress, open_writer(arguments.output, model.source,
                                                                model.tensors) as writer:
        for i, words, digest in decoder.tensors(number):
            tensor = model.tensors[i]
            writer.write_tensor(i, words.view(tensor.dtype.numpy).reshape(tensor.shape))
            digests[i] = digest
            done += tensor.nbytes
            progress(done, total, tensor.name)
        decoder.check_model_digest(number, digests)
        writer.commit()
    return {"output": arguments.output, "tensors": len(digests)}
