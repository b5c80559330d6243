"""refcodec: the reference codec of OMC, an open standard for compressing neural-network models and their updates.

    import refcodec
    model = refcodec.load("model.onnx")
    stream = refcodec.encode(model)                                  # lossless
    small = refcodec.encode(model, refcodec.Config(snr=30))          # quantised
    refcodec.save(refcodec.decode(stream), "model2.onnx")            # the same file, byte for byte
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    ConfigError,
    ContainerError,
    EntropyError,
    FormatError,
    OmcError,
    ReconstructionError,
    SemanticsError,
    StreamSyntaxError,
)

if TYPE_CHECKING:
    from .decoder import StreamDecoder, decode
    from .encoder.config import Config
    from .encoder.encoding import encode, encode_to
    from .formats import load, save
    from .model import Model, Tensor

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError", "ContainerError", "EntropyError", "FormatError", "Model", "OmcError",
           "ReconstructionError", "SemanticsError", "StreamDecoder", "StreamSyntaxError", "Tensor", "decode", "encode",
           "encode_to", "load", "save"]

_HOMES = {
    "Config": "encoder.config", "encode": "encoder.encoding", "encode_to": "encoder.encoding",
    "decode": "decoder", "StreamDecoder": "decoder",
    "load": "formats", "save": "formats", "Model": "model", "Tensor": "model"
}


def __getattr__(name: str):
    # The compiler and the array library are loaded when first needed, so that `import refcodec` is quick.
    if name not in _HOMES:
        raise AttributeError(f"module 'refcodec' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module("." + _HOMES[name], __name__), name)
    globals()[name] = value
    return value
