"""The encoder (informative): a model to a stream.  The format leaves every decision made here free."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from ..bitstream.limits import LEVELS
from ..errors import ConfigError
from ..model import Model
from .config import Config, Rule
from .model_encoder import ModelEncoder, Progress, quantised_tensors, write_stream
from .sets.budget import budget_steps, sources_of, steps_for_bits
from .sets.coding_order import SetPlan, plan_set


def encode(model: Model | Sequence[Model], config: Config | None = None, references: Sequence[Model] = (), *,
           progress: Progress | None = None) -> bytes:
    """Encode a model into a stream; lossless unless the configuration says otherwise.

    model: one, or several.  Versions are coded in order, each predicted from the one before where that helps; a set
    (config.root) in the order that its plan gives, its root first: the stream holds their names, and the decoder
    counts them as they stand there.
    references: models that the decoder will have; used where they help.
    Raises ConfigError for what cannot be done, e.g. a rate that cannot be reached.
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
    if config.max_bytes is not None:
        sink.write(stream_within(models, config, references))
        return
    encoders = [ModelEncoder(m, config, references, progress) for m in models]
    steps = [encoder.step() for encoder in encoders]
    write_stream(sink, encoders, steps, plan_set(models, config.root, config, None if config.own_quantiser else steps))


def stream_within(models: Sequence[Model], config: Config, references: Sequence[Model] = ()) -> bytes:
    """The stream of at most config.max_bytes with the largest utility (budget.py).

    Raises ConfigError BAD_CONFIG if the configuration asks for steps of its own, RATE if the models do not fit.
    """
    if config.lossy:
        raise ConfigError("BAD_CONFIG",
                          "max_bytes finds the steps itself; ask for no step, rate or quantiser beside it")
    lossless = replace(config, max_bytes=None)
    lossy = replace(lossless, step=1.0)
    apart = SetPlan(list(range(len(models))), [()] * len(models), [0.0] * len(models))
    guess = steps_for_bits(sources_of(models, apart, lossy), apart, 8.0 * config.max_bytes)
    plan = plan_set(models, config.root, lossy, guess)
    best = b""

    def size(steps: Sequence[float | None]) -> int:
        nonlocal best
        trial = io.BytesIO()
        asked = lossless if steps[0] is None else lossy
        write_stream(trial, [ModelEncoder(m, asked, references) for m in models], steps, plan)
        if len(best) < trial.tell() <= config.max_bytes:
            best = trial.getvalue()
        return trial.tell()

    budget_steps(models, plan, lossy, config.max_bytes, size)
    return best


__all__ = ["Config", "ModelEncoder", "Rule", "encode", "encode_to", "quantised_tensors", "LEVELS"]
