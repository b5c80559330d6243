"""Streams of S1 and S2: coded, decoded, verified by digest, measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from networks import Parameters

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.encoder.config import Rule


@dataclass(frozen=True)
class Coded:
    """size: bytes of the whole stream, digests and names included.  received: what a decoder has after it.

    source: bytes of the parameters as float32.
    """

    size: int
    received: Parameters
    source: int

    @property
    def ratio(self) -> float:
        return self.source / self.size


def model_of(parameters: Parameters, name: str = "") -> Model:
    return Model([Tensor(k, v) for k, v in parameters.items()], name)


def parameters_of(model: Model) -> Parameters:
    return {t.name: t.array for t in model.tensors}


def bytes_of(parameters: Parameters) -> int:
    return sum(x.nbytes for x in parameters.values())


def send(parameters: Parameters, config: Config, prediction: Parameters | None = None) -> Coded:
    """A model, or its difference from what the receiver has. decode() raises where a digest does not fit."""
    references = [model_of(prediction)] if prediction is not None else []
    stream = encode(model_of(parameters), config, references)
    return Coded(len(stream), parameters_of(decode(stream, references)), bytes_of(parameters))


def noise(original: Parameters, received: Parameters) -> float:
    """Mean squared error over all parameters."""
    errors = sum(float(np.square(x.astype(np.float64) - received[name]).sum()) for name, x in original.items())
    return errors / sum(x.size for x in original.values())


def variance(parameters: Parameters) -> float:
    """Over all parameters."""
    return float(np.concatenate([x.reshape(-1) for x in parameters.values()]).astype(np.float64).var())


def snr(original: Parameters, received: Parameters) -> float:
    """10 log10(variance / mean squared error), dB, over all parameters; infinite where they are equal."""
    error = noise(original, received)
    return math.inf if error == 0 else 10 * math.log10(variance(original) / error)


def mixed(target: float) -> Config:
    """Trellis-coded quantisation with context mixing, of all parameters alike as S1 and S2 do. target: dB."""
    return Config(snr=target, effort="best", rules=[Rule("*", "quantise")])
