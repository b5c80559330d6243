"""A folder in which a decoder runs: what it may write, what it wrote elsewhere, and what it left running."""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from .manifest import Stream

OUTPUT_BYTES_MAX = 1 << 28        # of all that a run may write: OUTDIR, TMPDIR, standard output and error
FILE_BYTES_LEAST = 1 << 12        # what a file counts at least, so that many small ones are seen, too
ENTRIES_MAX = 50_000              # files and folders that a run may have at a time
DEPTH_MAX = 64                    # of folders in folders
MARK = "OMC_CHECK_RUN"            # the environment variable by which processes of a run are found

State = tuple[int, ...]           # kind, size and times of change of a file; () if there is none


class Flood(Exception):
    """A decoder writes more than it may, or what cannot be listed."""


class Workspace:
    """A folder with cwd/ and tmp/ for the decoder, and run/ with stream, references and out/ of the present run.

    watched: the folder in which nothing else may change (default: root).
    """

    def __init__(self, root: Path, watched: Path | None = None):
        self.root, self.watched = root, watched or root
        self.cwd, self.tmp, self.run = root / "cwd", root / "tmp", root / "run"
        for folder in (self.cwd, self.tmp):
            folder.mkdir(parents=True)
        self.before: dict[str, State] = {}
        self.mark = f"{MARK}={uuid.uuid4().hex}"

    @property
    def out(self) -> Path:
        return self.run / "out"

    def begin(self, stream: Stream) -> tuple[Path, list[Path]]:
        """Fresh copies of a stream and its references, and an empty out/; returns the paths of the copies."""
        self.clear_run()
        copy, references = self.run / "stream.omc", []
        shutil.copyfile(stream.file, copy)
        for i, reference in enumerate(stream.references):
            references.append(Path(shutil.copytree(reference, self.run / f"reference{i}", symlinks=True)))
        self.before = self._snapshot()
        return copy, references

    def clear_run(self) -> None:
        """An empty out/, and nothing of the run before."""
        try:
            remove(self.run)
        except OSError:                                 # something is mounted there, say
            self.run = self.root / uuid.uuid4().hex
        self.out.mkdir(parents=True)

    def clear_tmp(self) -> None:
        """Empty folders for temporary files and to start in, while no process of the decoder lives."""
        for folder in (self.tmp, self.cwd):
            with suppress(OSError):
                remove(folder)
            folder.mkdir(exist_ok=True)

    def strays(self) -> list[str]:
        """What was made, changed or removed outside out/ and tmp/ since `begin`, and what in out/ is no file."""
        after = self._snapshot()
        found = {name for name in {*self.before, *after} if self.before.get(name) != after.get(name)}
        return sorted(found | {f"out/{name}" for name in irregular(self.out)})

    def _snapshot(self) -> dict[str, State]:
        return snapshot(self.watched, skip={self.out, self.tmp})

    def check_written(self) -> None:
        """Raises Flood where the run has written more than it may."""
        total = 0
        for _, status in entries(self.root):
            if not stat.S_ISDIR(status.st_mode):
                total += max(FILE_BYTES_LEAST, 512 * status.st_blocks)
                if total > OUTPUT_BYTES_MAX:
                    raise Flood(f"it wrote more than {OUTPUT_BYTES_MAX >> 20} MiB")

    def environment(self) -> dict[str, str]:
        name, value = self.mark.split("=")
        return {**os.environ, "TMPDIR": str(self.tmp), name: value}


def entries(root: Path, skip: Collection[Path] = ()) -> Iterator[tuple[str, os.stat_result]]:
    """(relative name, status) of all that is below a folder, links as they are.

    Raises Flood for too many, too deep, or a folder that is shut.
    """
    unwanted, count, waiting = {os.fspath(path) for path in skip}, 0, [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            found = os.scandir(os.path.join(root, folder))
        except PermissionError:
            raise Flood("it made a folder that cannot be listed") from None
        except OSError:
            continue                                    # it is gone again
        with found:
            for entry in found:
                if (count := count + 1) > ENTRIES_MAX:
                    raise Flood(f"it made more than {ENTRIES_MAX} files")
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                name = os.path.join(folder, entry.name)
                if entry.path in unwanted:
                    continue
                yield name, status
                if stat.S_ISDIR(status.st_mode):
                    if depth == DEPTH_MAX:
                        raise Flood(f"it made more than {DEPTH_MAX} folders in each other")
                    waiting.append((name, depth + 1))


def snapshot(root: Path, skip: Collection[Path] = ()) -> dict[str, State]:
    """Files below a folder, and folders: relative name to (kind, size, times of change). Raises Flood."""
    return {name + "/" * stat.S_ISDIR(status.st_mode): () if stat.S_ISDIR(status.st_mode) else _state(status)
            for name, status in entries(root, skip)}


def state(path: Path) -> State:
    """What tells a file from a changed one; empty: there is none."""
    try:
        return _state(path.lstat())
    except OSError:
        return ()


def _state(s: os.stat_result) -> State:
    return stat.S_IFMT(s.st_mode), s.st_size, s.st_mtime_ns, s.st_ctime_ns


def irregular(folder: Path) -> list[str]:
    """Links, pipes, sockets and devices of a folder ('.': the folder itself is none): a dump has none of them."""
    if folder.is_symlink() or not folder.is_dir():
        return ["."]
    return [name for name, s in entries(folder) if not stat.S_ISREG(s.st_mode) and not stat.S_ISDIR(s.st_mode)]


def remove(path: Path) -> None:
    """Remove what a decoder left, whatever it is, however deep it goes and whatever rights it has. Raises OSError.

    Folders are brought up one by one to where the first was, so that no path gets long; by descriptors, so that no link
    that is put in a folder's place leads elsewhere.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
        top = _opened(str(path))
        try:
            while folders := _emptied(top):
                for name in folders:
                    inner = _opened(name, top)
                    try:
                        for deeper in _emptied(inner):
                            os.close(_opened(deeper, inner))            # what is moved has to be writable
                            os.rename(deeper, uuid.uuid4().hex, src_dir_fd=inner, dst_dir_fd=top)
                    finally:
                        os.close(inner)
                    os.rmdir(name, dir_fd=top)
        finally:
            os.close(top)
        path.rmdir()


def _opened(name: str, folder: int | None = None) -> int:
    # A folder, its owner's rights restored.
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
    try:
        with suppress(OSError):
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def _emptied(folder: int) -> list[str]:
    # Removes all but folders; the names of these.
    with os.scandir(folder) as found:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in names:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in names if is_folder]
