"""The reference encoder as the contract wants it (conformance/CONTRACT.md)."""

from __future__ import annotations

from pathlib import Path

from ..api import decode, encode
from ..encoder.config import Config
from ..errors import ConfigError
from ..formats import load
from .dump import write_dump

SNR = 30.0         # decibels, of what may be lossy


def encode_once(path: str, folder: str, lossless: bool) -> int:
    """Write stream.omc and the dump of what a decoder makes of it into a folder; returns the exit code.

    The stream holds the digests of the encoder's own reconstruction, so that what is dumped here is what the encoder
    meant.
    Raises FormatError for a model that cannot be read or a folder that cannot be written.
    """
    model = load(path)
    try:
        stream = encode(model, Config() if lossless else Config(snr=SNR))
    except ConfigError as error:
        if error.code != "NOTHING_TO_QUANTISE":
            raise
        stream = encode(model)
    (Path(folder) / "stream.omc").write_bytes(stream)
    write_dump(decode(stream), folder)
    return 0
