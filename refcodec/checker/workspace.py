"""A folder in which a decoder runs: what it may write, what it wrote elsewhere, and what it left running."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

from .manifest import Stream

OUTPUT_BYTES_MAX = 1 << 28        # of all that a run may write: OUTDIR, TMPDIR, standard output and error
FILE_BYTES_LEAST = 1 << 12        # what a file counts at least, so that many small ones are seen, too
MARK = "OMC_CHECK_RUN"            # the environment variable by which processes of a run are found


State = tuple[int, ...]           # kind, size and times of change of a file; () if there is none


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
        remove(self.run)
        self.out.mkdir(parents=True)
        copy, references = self.run / "stream.omc", []
        shutil.copyfile(stream.file, copy)
        for i, reference in enumerate(stream.references):
            references.append(Path(shutil.copytree(reference, self.run / f"reference{i}")))
        self.before = self._snapshot()
        return copy, references

    def clear_tmp(self) -> None:
        remove(self.tmp)
        self.tmp.mkdir()

    def strays(self) -> list[str]:
        """What was made, changed or removed outside out/ and tmp/ since `begin`, and what in out/ is no file."""
        after = self._snapshot()
        found = {name for name in {*self.before, *after} if self.before.get(name) != after.get(name)}
        return sorted(found | {f"out/{name}" for name in irregular(self.out)})

    def _snapshot(self) -> dict[str, State]:
        return snapshot(self.watched, skip={self.out, self.tmp})

    def floods(self) -> bool:
        """Whether the run has written more than it may."""
        total = 0
        for folder, _, files in os.walk(self.root):
            for name in files:
                try:
                    total += max(FILE_BYTES_LEAST, 512 * os.lstat(os.path.join(folder, name)).st_blocks)
                except OSError:
                    pass                                # it is gone again
        return total > OUTPUT_BYTES_MAX

    def environment(self) -> dict[str, str]:
        name, value = self.mark.split("=")
        return {**os.environ, "TMPDIR": str(self.tmp), name: value}

    def processes(self) -> list[int]:
        """Processes that were started in this folder and live, whatever session they are in (Linux; none elsewhere)."""
        mark, found = self.mark.encode(), []
        for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        if mark in file.read():
                            found.append(int(name))
                except OSError:
                    pass                                # it ended, or is another user's
        return found

    def kill_processes(self) -> None:
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass


def snapshot(root: Path, skip: Collection[Path] = ()) -> dict[str, State]:
    """Files below a folder, and folders: relative name to (kind, size, times of change)."""
    found: dict[str, State] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if Path(folder, f) not in skip]
        for name in files:
            path = Path(folder, name)
            found[str(path.relative_to(root))] = state(path)
        found.update({str(Path(folder, f).relative_to(root)) + "/": () for f in folders})
    return found


def state(path: Path) -> State:
    """What tells a file from a changed one; empty: there is none."""
    try:
        s = path.lstat()
    except OSError:
        return ()
    return stat.S_IFMT(s.st_mode), s.st_size, s.st_mtime_ns, s.st_ctime_ns


def irregular(folder: Path) -> list[str]:
    """Links, pipes, sockets and devices of a folder ('.': the folder itself is none): a dump has none of them."""
    if folder.is_symlink() or not folder.is_dir():
        return ["."]
    found = []
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if not stat.S_ISREG(mode := path.lstat().st_mode) and not stat.S_ISDIR(mode):
                found.append(str(path.relative_to(folder)))
    return found


def remove(path: Path) -> None:
    """Remove what a decoder left, whatever it is and whatever rights it has."""
    def again(function: Callable[[str], object], name: str, _: object) -> None:
        os.chmod(os.path.dirname(name), 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            shutil.rmtree(name)
        else:
            function(name)

    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=again)
