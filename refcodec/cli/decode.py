"""refcodec decode: a stream to a model file."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..formats.table import exact_formats, new_endings
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
from .sign import add_verification, verified

if TYPE_CHECKING:
    import numpy as np

    from ..budget import Budget
    from ..decoder import StreamDecoder
    from ..model import Model, Tensor


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "decode", "an OMC stream to a model file",
        f"Decode a stream. The output's format follows its ending; a stream of an {exact_formats()} file "
        f"gives that file back. A model of several files (external data) needs a folder as OUTPUT. {new_endings()} are "
        "written from any stream, with the tensors alone.",
        {"refcodec decode model.omc -o model.onnx": "the model file",
         "refcodec decode update.omc --reference v1.onnx -o v2.onnx": "v2, of an update of v1",
         "refcodec decode model.omc --tensor fc1.weight -o fc1.npz": "one tensor, without decoding the others",
         "refcodec decode model.omc --tensor 'wte[100:200]' -o rows.npz": "rows 100 to 199 of a tensor",
         "refcodec decode model.omc --dtype fp32 -o model.npz": "every value as float32: not the words that were coded",
         "refcodec decode versions.omc --model 0 -o first.onnx": "one of several models in a stream"})
    p.add_argument("input", metavar="IN.omc")
    p.add_argument("-o", "--output", required=True, metavar="OUTPUT")
    add_references(p)
    p.add_argument("--tensor", action="append", default=[], metavar="NAME[A:B]",
                   help=f"only this tensor, into {new_endings()}; may be given again. With [A:B] its rows A to B - 1 "
                        "alone, along the first dimension, counted as in Python: A or B may be left out, negative ones "
                        "count from the end. Of large tensors in BINS only the pieces that hold the rows are read")
    p.add_argument("--dtype", metavar="TYPE",
                   help="floating-point tensors as fp64, fp32, fp16 or bf16, each value rounded once, to nearest: no "
                        f"longer the words that were coded. Digests are verified before. Into {new_endings()}")
    p.add_argument("--quality", type=int, metavar="N", help="quality layer, 1 is the coarsest (default: the finest)")
    p.add_argument(
        "--model", metavar="WHICH", help="model of a stream of several: its name, or its number counted from 0; "
        "'refcodec info' lists them (default: the last)")
    p.add_argument("--allow-prefix", action="store_true", help="take a stream cut after a whole quality layer or model")
    add_verification(p)
    add_budget(p)
    add_threads(p)
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from ..inspection.text import shown

    references = references_beside_output(arguments, budget := budget_of(arguments))
    with references_named(arguments.reference):
        result = _decode(arguments, references, budget)
    made = f", converted to {result['dtype']}: not the words that were coded" if "dtype" in result else ""
    which = f"model {result['model']} '{shown(result['name'])}', " if "model" in result else ""
    print_result(arguments, result, f"{arguments.output}: {which}{result['tensors']} tensors, digests verified{made}, "
                 f"{result['seconds']:.1f} s")


def _decode(arguments: argparse.Namespace, references: Sequence[Model], budget: Budget) -> dict[str, Any]:
    from ..decoder import StreamDecoder

    start = time.perf_counter()
    with StreamDecoder(verified(arguments), references, threads=threads_of(arguments), budget=budget,
                       allow_prefix=arguments.allow_prefix, lazy=bool(arguments.tensor)) as decoder:
        number = _model_number(decoder, arguments)
        if arguments.dtype is not None or arguments.tensor:
            result = _decode_tensors(decoder, number, arguments)
        elif arguments.model is None and arguments.quality is None and _holds_features(decoder):
            result = _decode_features(decoder, arguments)
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
    """Tensors alone: those that are asked for, or all; rows of them; in another type."""
    from .. import conversion
    from ..formats import open_writer

    dtype = None if arguments.dtype is None else conversion.target(arguments.dtype)
    chosen = _chosen(decoder, number, arguments.tensor)
    chosen = chosen if dtype is None else [conversion.as_converted(t, dtype) for t in chosen]
    total, done = sum(t.nbytes for t in chosen), 0
    decoder.budget.put_out(total, "what is asked for")
    parsed = decoder.parsed.models[number]
    numbers = {t.tensor_name: i for i, t in enumerate(parsed.state.tensors)}
    decoder.allow(number, [parsed.unit_of[numbers[t.name]] for t in chosen])
    with progress_bar(total, "decode") as progress, open_writer(arguments.output, None, chosen) as writer:
        for k, tensor in enumerate(chosen):
            writer.write_tensor(k, tensor.array)
            done += tensor.nbytes
            progress(done, total, tensor.name)
        writer.commit()
    return {"output": arguments.output, "tensors": len(chosen)} | ({} if dtype is None else {"dtype": dtype.name})


def _chosen(decoder: StreamDecoder, number: int, wanted: Sequence[str]) -> list[Tensor]:
    """Lazy tensors of a model, in its order: those named, or rows of them; none named: all."""
    model = decoder.describe(number, lambda i: decoder.words(number, i))
    numbers = {t.name: i for i, t in enumerate(model.tensors)}
    chosen: dict[int, Tensor] = {} if wanted else dict(enumerate(model.tensors))
    for text in wanted:
        name, rows = _parted(text, numbers)
        i = numbers[name]
        tensor = model.tensors[i] if rows is None else _rows(decoder, number, i, model.tensors[i], rows)
        if i in chosen and rows is not None:
            raise ConfigError("BAD_CONFIG", f"--tensor {text!r}: {name!r} is asked for twice")
        chosen[i] = tensor
    return [chosen[i] for i in sorted(chosen)]


def _parted(text: str, names: Container[str]) -> tuple[str, slice | None]:
    """Name and rows of NAME or NAME[A:B]; a name that is there goes before. Raises ConfigError BAD_CONFIG."""
    if text in names:
        return text, None
    found = re.fullmatch(r"(.*)\[(-?[0-9]{1,18})?:(-?[0-9]{1,18})?\]", text, re.DOTALL)
    if found and found[1] in names:
        return found[1], slice(*(None if part is None else int(part) for part in found.groups()[1:]))
    raise ConfigError("BAD_CONFIG", f"no tensor {text!r} in the stream; 'refcodec info' lists them")


def _rows(decoder: StreamDecoder, number: int, index: int, tensor: Tensor, rows: slice) -> Tensor:
    """A lazy tensor of some rows of another."""
    from ..model import Tensor

    if not tensor.shape:
        raise ConfigError("BAD_CONFIG", f"tensor {tensor.name!r} is a scalar and has no rows")
    first, end, _ = rows.indices(tensor.shape[0])
    row = math.prod(tensor.shape[1:]) * tensor.dtype.parts
    end = max(first, end)

    def load() -> np.ndarray:
        return decoder.words_between(number, index, first * row, end * row).view(tensor.dtype.numpy)

    return Tensor(tensor.name, dtype=tensor.dtype, shape=(end - first, *tensor.shape[1:]), load=load)


def _decode_model(decoder: StreamDecoder, number: int, arguments: argparse.Namespace) -> dict[str, Any]:
    from ..formats import open_writer
    from ..to_file import write_model

    decoder.allow(number)
    model = decoder.describe(number, lambda i: decoder.words(number, i))
    total = sum(t.nbytes for t in model.tensors)
    with progress_bar(total, "decode") as progress, open_writer(arguments.output, model.source, model.tensors,
                                                                decoder.budget) as writer:
        count = write_model(decoder, number, writer, progress)
        writer.commit()
    return {"output": arguments.output, "tensors": count}
