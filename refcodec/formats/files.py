"""Reading byte ranges of files, and the rules that keep every path inside its folder (SPEC 7.5)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import DType
from ..errors import FormatError
from ..model import Literal, Slot, SlotCoding, Tensor
from . import slots

PATH_BYTES_MAX, PART_BYTES_MAX = 1024, 255
FORBIDDEN = frozenset('<>:"|?*\\')                     # in names of files on some system
DEVICES = frozenset(["con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt")
                                                                          for n in range(10))])
SHORT_NAME = re.compile("~[0-9]")                       # one system gives long names a second one of that form


def check_path(path: str) -> str:
    """The path unchanged, if it is relative, stays in its folder and means the same on every system.

    Raises FormatError BAD_PATH.
    """
    if len(path) > PATH_BYTES_MAX or not all(map(_is_portable, path.split("/"))):
        raise FormatError("BAD_PATH", f"{path[:100]!r} is not a relative path inside the model's folder that means the "
                          "same on every system", rules="R8.9.1-1")
    return path


def _is_portable(part: str) -> bool:
    # ASCII alone: other characters have several spellings, and which of them are one differs from system to system
    return (all(" " <= c <= "~" for c in part) and not FORBIDDEN & {*part} and len(part) <= PART_BYTES_MAX
            and part != "" and not part.endswith((" ", ".")) and not SHORT_NAME.search(part)
            and part.partition(".")[0].rstrip(" ").lower() not in DEVICES)


def check_paths(paths: Sequence[str]) -> None:
    """check_path for all of them; no path may appear twice, in whatever case, or be another one's folder (BAD_PATH)."""
    seen: dict[str, str] = {}
    for path in paths:
        same = check_path(path).lower()
        if same in seen:
            raise FormatError("BAD_PATH", f"files {seen[same]!r} and {path!r} have one name, at least on some systems",
                              rules="R8.9.1-2")
        seen[same] = path
    for path in paths:
        parts = path.split("/")
        for n in range(1, len(parts)):
            folder = "/".join(parts[:n])
            if folder.lower() in seen:
                raise FormatError("BAD_PATH", f"{folder!r} is both a file and a folder", rules="R8.9.1-2")


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
    data, done = np.empty(size, np.uint8), 0
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while done < size and (n := os.preadv(file, [data.data[done:]], offset + done)):
                done += n
        finally:
            os.close(file)
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {os.path.basename(path)!r}: {error.strerror}") from error
    if done != size:
        raise FormatError("TRUNCATED", f"{os.path.basename(path)!r} ends before byte {offset + size}")
    return data


@dataclass(frozen=True)
class ArrayReader:
    """What loads a Tensor: reads the bytes of a slot anew at each call. count: of elements."""

    path: str
    offset: int
    size: int
    dtype: DType
    count: int
    coding: SlotCoding

    def __call__(self) -> np.ndarray:
        """All elements, a flat array of dtype.numpy."""
        data = read_range(self.path, self.offset, self.size)
        try:
            words = slots.decode_words(data, self.dtype, self.coding, self.count)
        except ValueError as error:
            name = os.path.basename(self.path)
            raise FormatError("BAD_SIZE", f"{name!r} changed while it was read: {error}") from error
        return words.view(self.dtype.numpy)

    def part(self, first: int, count: int) -> np.ndarray:
        """Some of the words."""
        if self.coding != SlotCoding.PLAIN:
            return self().view(self.dtype.word)[first : first + count]
        size = self.dtype.word_bytes
        data = read_range(self.path, self.offset + first * size, count * size)
        return slots.decode_words(data, self.dtype, self.coding, count // self.dtype.parts)


def lazy_tensor(name: str, shape: Sequence[int], reader: ArrayReader) -> Tensor:
    """A tensor that is read from its file at each access."""
    return Tensor(name, dtype=reader.dtype, shape=shape, load=reader, load_part=reader.part)


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
