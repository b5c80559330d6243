"""Files that are written whole or not at all: made beside their place, under a name that tells what they are.

What stands at that place and is no regular file (a device, a pipe) is never replaced: the finished bytes are written
into it. The rights of a file that is replaced are kept, and where it is a link, what it leads to is replaced.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from .errors import FormatError

try:
    import fcntl
except ImportError:                          # Windows: leftovers stay
    fcntl = None                             # type: ignore[assignment]

MARK = ".refcodec.part"
UNFINISHED = re.compile(r"\..*\.[0-9a-f]{16}\.refcodec\.part", re.DOTALL)
NAME_BYTES = 200                             # of the target's name that stand in the other
BLOCK = 1 << 20


class Partial:
    """A file, or a folder, that takes the place of `target` at commit(), and vanishes at abort().

    path: where it is until then, .NAME.<16 digits>.refcodec.part in the target's folder, locked as long as this lives.
    What bears such a name and no lock was left by a process that was killed, and is removed by whoever comes next to
    write into that folder.  folder: make a folder; its target is to be new, or an empty folder.
    Raises FormatError TARGET for a target that is neither a file nor something that can be written into; OSError with
    the target's name.
    """

    def __init__(self, target: str | os.PathLike[str], folder: bool = False):
        self.named, self.folder, self._over = os.fspath(target), folder, False
        self.target, status = _place(self.named, folder)
        self.into = status is not None and not stat.S_ISREG(status.st_mode) and not folder
        self.rights = None if status is None or self.into else status
        beside = tempfile.gettempdir() if self.into else os.path.dirname(self.target)
        name = os.path.basename(self.target).encode("utf-8", "surrogateescape")[:NAME_BYTES]
        with self.errors():
            remove_unfinished(beside)
            self.path, self._lock = self._made(os.path.join(beside, name.decode("utf-8", "ignore")))

    def _made(self, beginning: str) -> tuple[str, int]:
        folder, name = os.path.split(beginning)
        while True:
            path = os.path.join(folder, f".{name}.{os.urandom(8).hex()}{MARK}")
            if self.folder:
                os.mkdir(path)
                handle = os.open(path, os.O_RDONLY) if fcntl else -1
            else:
                mine = 0o600 if self.into or self.rights is not None else 0o666      # less the mask of the process
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mine)
            if not fcntl:
                if handle >= 0:
                    os.close(handle)                        # what is open cannot be moved there
                return path, -1
            if _lock(handle) and os.fstat(handle).st_nlink:
                return path, handle
            os.close(handle)                                # another process took it for a leftover, and removed it
            _remove(path)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """An OSError in the block bears the name of the target, as the user gave it."""
        try:
            yield
        except OSError as error:
            error.filename, error.filename2 = self.named, None
            raise

    def commit(self) -> None:
        """Put what was written in its place. Raises OSError."""
        with self.errors():
            if self.into:
                _copy(self.path, self.target)
                return
            if self.rights is not None:
                with suppress(OSError, AttributeError):     # who may not give files away keeps it
                    os.chown(self.path, self.rights.st_uid, self.rights.st_gid)
                os.chmod(self.path, stat.S_IMODE(self.rights.st_mode) & 0o777)
            if self.folder and os.path.isdir(self.target):
                os.rmdir(self.target)                       # empty, else this fails
            os.replace(self.path, self.target)

    def abort(self) -> None:
        """Remove what is still there; harmless after commit()."""
        if self._over:
            return
        self._over = True
        _remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Raises what Partial raises; an OSError of writing bears the name `path`.
    """
    partial = Partial(path)
    try:
        with io.BufferedWriter(_Named(partial)) as f:
            yield f
        partial.commit()
    finally:
        partial.abort()


class _Named(io.FileIO):
    """The file of a Partial; who cannot write says where to."""

    def __init__(self, partial: Partial):
        super().__init__(partial.path, "wb")
        self.partial = partial

    def write(self, data: Any) -> int:
        with self.partial.errors():
            return super().write(data)


def _place(named: str, folder: bool) -> tuple[str, os.stat_result | None]:
    """(absolute path without a link at its end, what stands there). Raises FormatError TARGET, OSError."""
    path = os.path.abspath(named)
    with suppress(FileNotFoundError):
        link = os.lstat(path)
        if stat.S_ISLNK(link.st_mode):
            if hasattr(os, "geteuid") and link.st_uid not in (0, os.geteuid()):
                raise FormatError("TARGET", f"{named!r} is a link that another user made")
            status = os.stat(path)
            # What /dev/stdout leads to has no path where it is a pipe
            return os.path.realpath(path) if stat.S_ISREG(status.st_mode) or folder else path, _checked(
                named, status, folder)
        return path, _checked(named, link, folder)
    return os.path.realpath(path) if os.path.islink(path) else path, None


def _checked(named: str, status: os.stat_result, folder: bool) -> os.stat_result:
    mode = status.st_mode
    if folder != stat.S_ISDIR(mode):
        raise FormatError("TARGET", f"{named!r} is {'no folder' if folder else 'a folder'}")
    if stat.S_ISSOCK(mode):
        raise FormatError("TARGET", f"{named!r} is a socket")
    return status


def _lock(handle: int) -> bool:
    """False where another process holds the lock."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass                                 # a file system without locks: nobody removes what it cannot lock either
    return True


def remove_unfinished(folder: str) -> list[str]:
    """Remove what killed processes of this user left in a folder; returns the names. Without locks nothing is done."""
    removed = []
    with suppress(OSError):
        for entry in list(os.scandir(folder)) if fcntl else ():
            if UNFINISHED.fullmatch(entry.name) and _is_left(entry.path):
                removed.append(entry.name)
    return removed


def _is_left(path: str) -> bool:
    # Removes it, too, while the lock is held.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid() or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.remove(path)


def _copy(source: str, target: str) -> None:
    # Into a device or a pipe: opened as it is, neither made nor cut.
    with open(source, "rb") as f, open(os.open(target, os.O_WRONLY), "wb", buffering=0) as into:
        while block := f.read(BLOCK):
            rest = memoryview(block)
            while rest:
                rest = rest[into.write(rest):]


def read_bounded(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes; no device or pipe is read, nor waited for.

    Raises ValueError, which says what it is instead; OSError.
    """
    data = read_head(path, most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    return data


def read_head(path: str | os.PathLike[str], most: int) -> bytes:
    """The first `most` bytes of a regular file. Raises ValueError where it is none, OSError."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as f:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no regular file")
        return f.read(most)
