"""Encoders that lie, each in its own way: `python encoder_liar.py LIE encode MODEL OUTDIR [--lossless]`.

They know good answers: the folders `lossy`, `lossless` and `less` (a model with a tensor less) below the one named by
OMC_TRUTH hold stream.omc and its dump.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
import zlib
from pathlib import Path


def answer(folder: Path, which: str) -> None:
    shutil.copytree(Path(os.environ["OMC_TRUTH"]) / which, folder, dirs_exist_ok=True)


def honest(model: Path, folder: Path, lossless: bool) -> int:
    answer(folder, "lossless" if lossless else "lossy")
    return 0


def other_declaration(model, folder, lossless):
    """One bit of the last word of the dump, its index sealed again."""
    honest(model, folder, lossless)
    index = json.loads((folder / "index.json").read_text())
    entry = index["tensors"][-1]
    data = bytearray((folder / entry["file"]).read_bytes())
    data[-4] ^= 1
    (folder / entry["file"]).write_bytes(data)
    entry["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "index.json").write_text(json.dumps(index))
    return 0


def invalid_stream(model, folder, lossless):
    """A model_seal that is wrong in a unit whose check is right: no tensor is affected."""
    honest(model, folder, lossless)
    data = bytearray((folder / "stream.omc").read_bytes())
    end = len(data) - 22                       # of the model end unit, before STREAM_END
    data[end - 6] ^= 1                         # the byte after it ends in bits of alignment
    first = end - 4 - 42                       # unit_type, coded_size, tensor_data_count and 40 bytes follow
    first -= 1
    data[end - 4:end] = zlib.crc32(data[first:end - 4]).to_bytes(4, "big")
    (folder / "stream.omc").write_bytes(data)
    return 0


def tensor_less(model, folder, lossless):
    """A good stream of a model with a tensor less."""
    answer(folder, "less")
    return 0


def lossy_always(model, folder, lossless):
    """A lossy stream, declared as it is, where no loss was asked for."""
    return honest(model, folder, False)


def no_dump(model, folder, lossless):
    honest(model, folder, lossless)
    (folder / "index.json").unlink()
    return 0


def no_stream(model, folder, lossless):
    honest(model, folder, lossless)
    (folder / "stream.omc").unlink()
    return 0


def needs_reference(model, folder, lossless):
    """A stream that cannot be decoded by itself."""
    answer(folder, "update")
    return 0


def fails(model, folder, lossless):
    honest(model, folder, lossless)
    return 1


def crashes(model, folder, lossless):
    honest(model, folder, lossless)
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(model, folder, lossless):
    honest(model, folder, lossless)
    time.sleep(600)


def writes_elsewhere(model, folder, lossless):
    honest(model, folder, lossless)
    (folder.parent / "log.txt").write_text("done")
    return 0


def changes_the_model(model, folder, lossless):
    honest(model, folder, lossless)
    model.write_bytes(b"")
    return 0


def refuses(model, folder, lossless):
    """The contract's way to say no: no lie, but no PASS."""
    print(json.dumps({"feature": "lossless coding"}))
    return 11


if __name__ == "__main__":
    lie, verb, path, outdir, *options = sys.argv[1:]
    assert verb == "encode"
    sys.exit(globals()[lie](Path(path), Path(outdir), "--lossless" in options))
