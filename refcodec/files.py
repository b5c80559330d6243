"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from .errors import FormatError


@contextmanager
def atomic_file(path: str) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Raises FormatError TARGET where `path` is there and is no regular file: a device or a pipe cannot be replaced.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise FormatError("TARGET", f"{path!r} is no regular file")
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.", suffix=".part")
    except OSError as error:
        error.filename = path                    # the file that was asked for, not the one beside it
        raise
    try:
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        with os.fdopen(handle, "wb") as f:
            yield f
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
