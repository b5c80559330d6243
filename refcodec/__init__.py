"""Reference codec of OMC (SPEC.md): neural-network models and their updates to streams and back, exactly or with loss.

    import refcodec
    stream = refcodec.encode("model.onnx")                           # without loss
    small = refcodec.encode("model.onnx", refcodec.Config(snr=40))   # 40 dB
    update = refcodec.encode("v2.onnx", references="v1.onnx")        # from a model that the receiver has
    refcodec.save(refcodec.decode(stream), "again.onnx")             # the same file, byte for byte
    with refcodec.open("model.omc") as tensors:                      # one tensor of many
        array = tensors["fc1.weight"]

encode   a model, or several, to a stream
decode   a stream to the model that was coded
open     a stream as a lazy mapping of names to arrays
load     the model of a file: ONNX, safetensors, npz, npy
save     a model to a file
Config   what the encoder is asked for: loss, size, speed, a published system
Model    tensors, layers and the file around them; Tensor: a named array

encode_to writes a stream to a file object; transcode gives a stream another entropy mode; upgrade takes streams of 0.1;
StreamDecoder decodes tensor by tensor, within a Budget; OmcError is the base of all errors.
On the command line: python -m refcodec --help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .api import decode, encode, encode_to, load, open, save, transcode, upgrade
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
    from .budget import Budget
    from .decoder import StreamDecoder
    from .encoder.config import Config
    from .encoder.config_parts import Rule
    from .model import Model, Tensor
    from .opened import OpenStream

__version__ = "0.2.0"
__all__ = ["encode", "decode", "open", "load", "save", "Config", "Model", "Tensor", "encode_to", "transcode",
           "upgrade", "OpenStream", "Rule", "StreamDecoder", "Budget", "OmcError", "ConfigError", "ContainerError",
           "EntropyError", "FormatError", "ReconstructionError", "SemanticsError", "StreamSyntaxError"]

_HOMES = {"Config": "encoder.config", "Rule": "encoder.config_parts", "StreamDecoder": "decoder", "Budget": "budget",
          "Model": "model", "Tensor": "model", "OpenStream": "opened"}


if not TYPE_CHECKING:                   # where a name that is not there is an error

    def __getattr__(name: str) -> object:
        # The compiler and the array library are loaded when first needed, so that `import refcodec` is quick.
        if name not in _HOMES:
            raise AttributeError(f"module 'refcodec' has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module("." + _HOMES[name], __name__), name)
        return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
