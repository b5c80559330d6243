"""Reading byte ranges of files, and the rules that keep every path inside its folder (SPEC 7.5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from ..dtypes import DType
from ..errors import FormatError
from ..model import Literal, Slot, SlotCoding
from . import slots

PATH_BYTES_MAX = 1024


def check_path(path: str) -> str:
    """The path unchanged, if it is relative, stays in its folder and means the same on every system.

    Raises FormatError BAD_PATH.
    """
    parts = path.split("/")
    bad = ("\\" in path or ":" in path or any(ord(c) < 32 for c in path) or "" in parts or "." in parts
           or ".." in parts or any(len(p.encode("utf-8", "replace")) > 255 or p.endswith((" ", ".")) for p in parts)
           or len(path.encode("utf-8", "replace")) > PATH_BYTES_MAX or not is_text(path))
    if bad:
        raise FormatError("BAD_PATH", f"{path[:100]!r} is not a relative path inside the model's folder",
                          rules="R8.9.1-1")
    return path


def check_paths(paths: Sequence[str]) -> None:
    """check_path for all of them; no path may appear twice or be another one's folder (BAD_PATH)."""
    seen: set[str] = set()
    for path in paths:
        check_path(path)
        if path in seen:
            raise FormatError("BAD_PATH", f"file {path!r} appears twice", rules="R8.9.1-2")
        seen.add(path)
    for path in paths:
        parts = path.split("/")
        for n in range(1, len(parts)):
            if "/".join(parts[:n]) in seen:
                raise FormatError("BAD_PATH", f"{'/'.join(parts[:n])!r} is both a file and a folder",
                                  rules="R8.9.1-2")


def is_text(text: str) -> bool:
    """True if the string can be written as UTF-8 (no lone surrogates)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def main_name(path: str, default: str) -> str:
    """Base name of the main file, or `default` where it would not be a portable path."""
    try:
        return check_path(os.path.basename(path))
    except FormatError:
        return default


def file_inside(folder: str, path: str) -> str:
    """Absolute path of an existing regular file `path` in `folder`; links must not leave the folder.

    Raises FormatError BAD_PATH or MISSING_FILE.
    """
    check_path(path)
    root, full = os.path.realpath(folder), os.path.realpath(os.path.join(folder, path))
    if os.path.commonpath([root, full]) != root:
        raise FormatError("BAD_PATH", f"{path!r} is a link that leaves the model's folder")
    if not os.path.isfile(full):
        raise FormatError("MISSING_FILE", f"external data file {path!r} is not in the model's folder")
    return full


def read_range(path: str, offset: int, size: int) -> np.ndarray:
    """`size` bytes at `offset` as a uint8 array; FormatError TRUNCATED if the file is shorter."""
    try:
        data = np.fromfile(path, np.uint8, size, offset=offset)
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {os.path.basename(path)!r}: {error.strerror}") from error
    if data.size != size:
        raise FormatError("TRUNCATED", f"{os.path.basename(path)!r} ends before byte {offset + size}")
    return data


def array_reader(path: str, offset: int, size: int, dtype: DType, count: int,
                 coding: SlotCoding) -> Callable[[], np.ndarray]:
    """A loader for Tensor: reads the slot's bytes anew at each call, gives a flat array of dtype.numpy."""

    def read() -> np.ndarray:
        try:
            words = slots.decode_words(read_range(path, offset, size), dtype, coding, count)
        except ValueError as error:
            raise FormatError("BAD_SIZE", f"{os.path.basename(path)!r} changed while it was read: {error}") from error
        return words.view(dtype.numpy)

    return read


def cut(placed: Sequence[tuple[int, Slot]], file_size: int, read: Callable[[int, int], bytes]) -> list[Literal | Slot]:
    """Segments of a file: the slots at their offsets (ascending, disjoint), literals between them.

    read(start, end) gives the bytes of a literal.
    """
    segments: list[Literal | Slot] = []
    pos = 0
    for offset, slot in placed:
        if offset > pos:
            segments.append(Literal(read(pos, offset)))
        segments.append(slot)
        pos = offset + slot.size
    if file_size > pos:
        segments.append(Literal(read(pos, file_size)))
    return segments
