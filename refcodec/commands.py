"""What the commands do, and print (README, 'The command line')."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager

from .decoder import StreamDecoder
from .encoder import encode_to
from .encoder.config import Config
from .errors import ConfigError
from .files import atomic_file
from .formats import open_writer
from .formats.features import LAYER as FEATURE_LAYER
from .formats.features import load_features, save_features
from .inputs import load_any
from .inspection.describe import describe_stream, print_info, printable, unused
from .model import Model
from .options import check_models, config_of, name_models, named_root, network_inputs


@contextmanager
def progress_bar(total: int, what: str):
    """A callable (done, total, name) that moves a bar on a terminal and is silent elsewhere."""
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, desc=what, leave=False, disable=not sys.stderr.isatty()) as bar:
        def move(done: int, in_all: int, name: str) -> None:
            bar.total = in_all
            bar.set_postfix_str(name[-30:], refresh=False)
            bar.update(done - bar.n)
        yield move


def _threads(arguments) -> int:
    return arguments.threads or os.cpu_count() or 1


def encode(arguments) -> None:
    config = config_of(arguments)
    models = _features(arguments, config) or [load_any(path) for path in arguments.input]
    references = [load_any(path) for path in arguments.reference]
    if not _are_features(arguments, config):
        name_models(models, arguments.input)
        config.root = named_root(config.root, models, arguments.input)
    check_models(config, models, references)
    start = time.perf_counter()
    before = _input_size(arguments.input, models)
    if arguments.calibration:
        models, config = _calibrated(models, config, arguments)
    with progress_bar(0, "encode") as progress, atomic_file(arguments.output) as sink:
        encode_to(sink, models, config, references, progress=progress)
    seconds = time.perf_counter() - start
    after = os.path.getsize(arguments.output)
    notes = unused(arguments.output, config)
    result = {"input": arguments.input, "output": arguments.output, "input_bytes": before, "output_bytes": after,
              "ratio": before / after, "seconds": round(seconds, 3), "notes": notes}
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    _print(
        arguments, result,
        f"{arguments.output}: {after:,} bytes, ratio {before / after:.3f} ({before:,} bytes before), "
        f"{seconds:.1f} s")


def _are_features(arguments, config: Config) -> bool:
    return arguments.features or arguments.sequence or config.preset == "s3-features"


def _features(arguments, config: Config) -> list[Model]:
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


def _calibrated(models: list[Model], config: Config, arguments) -> tuple[list[Model], Config]:
    from .integers.allocate import adapt
    from .integers.evaluate import network_of

    if len(models) > 1:
        raise ConfigError("BAD_CONFIG", "--calibration is of one model; encode each by itself")
    inputs, _ = network_inputs(arguments.calibration, network_of(models[0]))
    model, config = adapt(models[0], inputs, config, arguments.mean_width or 8.0)
    return [model], config


def decode(arguments) -> None:
    references = [load_any(path) for path in arguments.reference]
    start = time.perf_counter()
    decoder = StreamDecoder(arguments.input, references, threads=_threads(arguments), max_memory=arguments.max_memory,
                            allow_prefix=arguments.allow_prefix)
    number = _model_number(decoder, arguments)
    if arguments.model is None and not arguments.tensor and arguments.quality is None and _holds_features(decoder):
        result = _decode_features(decoder, arguments)
    elif arguments.tensor:
        result = _decode_tensors(decoder, number, arguments)
    else:
        result = _decode_model(decoder, number, arguments)
    which = ""
    if sum(not m.header.enhancement_flag for m in decoder.parsed.models) > 1 and "frames" not in result:
        result |= {"model": number, "name": decoder.parsed.models[number].header.model_name}
        which = f"model {number} {result['name']!r}, "
    result["seconds"] = round(time.perf_counter() - start, 3)
    line = f"{arguments.output}: {which}{result['tensors']} tensors, digests verified, {result['seconds']:.1f} s"
    _print(arguments, result, printable(line))


def _model_number(decoder: StreamDecoder, arguments) -> int:
    models = decoder.parsed.models
    finest = decoder.model_number(-1) if arguments.model is None else _named_model(decoder, arguments.model)
    if arguments.quality is None:
        return finest
    base = finest
    while models[base].header.enhancement_flag:
        base -= 1
    last = _finest_layer(decoder, base)
    if not 1 <= arguments.quality <= last - base + 1:
        raise ConfigError("BAD_CONFIG",
                          f"--quality {arguments.quality}: the stream holds {last - base + 1} quality layers")
    return base + arguments.quality - 1


def _named_model(decoder: StreamDecoder, name: str) -> int:
    """The model of this name, in its finest quality; else of this number."""
    headers = [m.header for m in decoder.parsed.models]
    found = [i for i, h in enumerate(headers) if h.model_name == name and not h.enhancement_flag]
    if len(found) == 1:
        return _finest_layer(decoder, found[0])
    try:
        return decoder.model_number(int(name))
    except ValueError:
        names = ", ".join(f"{i} {h.model_name!r}" for i, h in enumerate(headers) if not h.enhancement_flag)
        raise ConfigError("BAD_CONFIG", f"{len(found) or 'no'} models are named {name!r}; there are {names}") from None


def _finest_layer(decoder: StreamDecoder, number: int) -> int:
    models = decoder.parsed.models
    while number + 1 < len(models) and models[number + 1].header.enhancement_flag:
        number += 1
    return number


def _holds_features(decoder: StreamDecoder) -> bool:
    models = decoder.parsed.models
    return all(m.layers is not None and [x.layer_name for x in m.layers.layer] == [FEATURE_LAYER] for m in models)


def _decode_features(decoder: StreamDecoder, arguments) -> dict:
    frames = [decoder.model(number) for number in range(len(decoder.parsed.models))]
    save_features(frames, arguments.output)
    return {"output": arguments.output, "frames": len(frames), "tensors": sum(len(m.tensors) for m in frames)}


def _decode_tensors(decoder: StreamDecoder, number: int, arguments) -> dict:
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


def _decode_model(decoder: StreamDecoder, number: int, arguments) -> dict:
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


def info(arguments) -> None:
    description = describe_stream(arguments.input)
    if arguments.why:
        from .inspection.why import alternatives, summed

        with StreamDecoder(arguments.input, [load_any(path) for path in arguments.reference]) as decoder:
            for number, model in enumerate(description["models"]):
                model["why"] = list(alternatives(decoder, number))
                model["why_in_all"] = summed(model["why"])
    if arguments.json:
        print(json.dumps(description, indent=1))
    else:
        print_info(description)


def check_integers(arguments) -> None:
    from .integers.check import check_integers as check
    from .integers.check import print_check
    from .integers.evaluate import network_of

    model = load_any(arguments.input, [load_any(path) for path in arguments.reference])
    inputs, others = network_inputs(arguments.inputs, network_of(model))
    labels = others.get(arguments.labels or "labels")
    if labels is None and arguments.labels:
        raise ConfigError("BAD_CONFIG", f"{arguments.inputs!r} has no array {arguments.labels!r}; it has "
                          f"{', '.join(others)}")
    result = check(model, inputs, labels)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_check(result)


def trace(arguments) -> None:
    from .inspection.trace import trace_stream

    for element in trace_stream(arguments.input, arguments.reference, arguments.bins):
        if arguments.json:
            print(json.dumps(element))
        else:
            line = "{unit:>5} {bit:>10} {bits:>9.6g}  {clause:<7} {structure}.{name} {descriptor} = {value}".format(
                **element)
            print(printable(line))


def compare(arguments) -> None:
    from .inspection.compare import compare_models, print_comparison

    references = [load_any(path) for path in arguments.reference]
    result = compare_models(load_any(arguments.a, references), load_any(arguments.b, references))
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_comparison(result)


def check(arguments) -> int:
    from .checker.commands import run_check

    return run_check(arguments)


def conformance_encode(arguments) -> int:
    from .checker.commands import run_conformance_encode

    return run_conformance_encode(arguments)


def conformance_decode(arguments) -> int:
    from .checker.commands import run_conformance_decode

    return run_conformance_decode(arguments)


def validate(arguments) -> int:
    from .checker.dump import read_dump
    from .validator import validate as check

    references = [read_dump(path) if os.path.isdir(path) else load_any(path) for path in arguments.reference]
    with progress_bar(0, "validate") as progress:
        validation = check(arguments.input, references, every=arguments.every, max_memory=arguments.max_memory,
                           progress=progress)
    _print(arguments, validation.data(), "\n".join(map(printable, validation.text().splitlines())))
    return validation.exit_code


def _print(arguments, result: dict, line: str) -> None:
    print(json.dumps(result) if arguments.json else line)


__all__ = ["check", "check_integers", "compare", "conformance_decode", "conformance_encode", "decode",
           "encode", "info", "trace", "validate"]
