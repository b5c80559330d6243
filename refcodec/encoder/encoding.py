"""A model, versions or a set of models to a stream (informative)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from ..errors import ConfigError, FormatError
from ..model import Model
from .config import Config
from .model_encoder import ModelEncoder, write_stream
from .seeking import Progress
from .sets.budget import budget_steps, sources_of, steps_for_bits
from .sets.coding_order import SetPlan, plan_set


def encode(model: Model | Sequence[Model], config: Config | None = None, references: Sequence[Model] = (), *,
           progress: Progress | None = None) -> bytes:
    """Encode a model into a stream; lossless unless the configuration says otherwise.

    model: one, or several.  Versions are coded in order, each predicted from the one before where that helps; a set
    (config.root) in the order that its plan gives, its root first: the stream holds their names, and the decoder
    counts them as they stand there.
    references: models that the decoder will have; used where they help.
    Raises ConfigError for what cannot be done, e.g. a rate that cannot be reached; FormatError DUPLICATE_ID where two
    tensors of a model have one name.
    """
    sink = io.BytesIO()
    encode_to(sink, model, config, references, progress=progress)
    return sink.getvalue()


def encode_to(sink: BinaryIO, model: Model | Sequence[Model], config: Config | None = None,
              references: Sequence[Model] = (), *, progress: Progress | None = None) -> None:
    """encode() into a binary file object, tensor by tensor."""
    config = config or Config()
    models = [model] if isinstance(model, Model) else list(model)
    if not models:
        raise ConfigError("BAD_CONFIG", "there is no model to encode")
    for m in models:
        _check_names(m)
    max_bytes = config.set_of_models.max_bytes
    if max_bytes is not None:
        sink.write(stream_within(max_bytes, models, config, references))
        return
    encoders = [ModelEncoder(m, config, references, progress) for m in models]
    steps = [encoder.step() for encoder in encoders]
    plan = plan_set(models, config.set_of_models.root, config, None if config.own_quantiser else steps)
    write_stream(sink, encoders, steps, plan)


def _check_names(model: Model) -> None:
    seen: set[str] = set()
    for tensor in model.tensors:
        if tensor.name in seen:
            raise FormatError("DUPLICATE_ID", f"two tensors of the model {model.name[:100]!r} are named "
                              f"{tensor.name[:100]!r}; a stream tells tensors apart by their names (SPEC 7.4)")
        seen.add(tensor.name)


def stream_within(max_bytes: int, models: Sequence[Model], config: Config, references: Sequence[Model] = ()) -> bytes:
    """The stream of at most max_bytes with the largest utility (budget.py). Raises ConfigError RATE if none fits."""
    lossy = replace(config, max_bytes=None, step=1.0)
    lossless = replace(config, max_bytes=None, entropy=None if config.tools.only_levels else config.entropy)
    apart = SetPlan(list(range(len(models))), [()] * len(models), [0.0] * len(models))
    guess = steps_for_bits(sources_of(models, apart, lossy), apart, 8.0 * max_bytes)
    plan = plan_set(models, config.set_of_models.root, lossy, guess)
    best = b""

    def size(steps: Sequence[float | None]) -> int:
        nonlocal best
        trial = io.BytesIO()
        asked = lossless if steps[0] is None else lossy
        write_stream(trial, [ModelEncoder(m, asked, references) for m in models], steps, plan)
        if len(best) < trial.tell() <= max_bytes:
            best = trial.getvalue()
        return trial.tell()

    budget_steps(models, plan, lossy, max_bytes, size)
    return best

