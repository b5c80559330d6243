"""Objects: OMC streams as files named by their SHA-256, on any file system that fsspec knows."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator

import fsspec
from fsspec.implementations.local import LocalFileSystem

from .errors import CenterError

SUFFIX = ".omc"
PIECE = 1 << 20


def sha256(data: bytes) -> str:
    """Name of an object: SHA-256 of its bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def is_digest(text: object) -> bool:
    """True for 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


class Objects:
    """A folder of objects, ROOT/objects/ab/ab...omc, and of temporary files, ROOT/tmp.

    url: a path or any fsspec URL (file://, memory://, s3://...).  An object is written to a temporary name first and
    moved when it is whole, so what has an object's name is complete.  Digests are checked by is_digest before they
    come here: nothing else becomes part of a path.  Raises OSError for what the file system cannot do.
    """

    def __init__(self, url: str):
        self.url = url
        self.fs, self.root = fsspec.core.url_to_fs(url)
        self.local = isinstance(self.fs, LocalFileSystem)

    def path(self, digest: str) -> str:
        assert is_digest(digest)
        return f"{self.root}/objects/{digest[:2]}/{digest}{SUFFIX}"

    def stage(self, data: bytes) -> str:
        """Path of a new temporary file with these bytes, on the disk when this returns."""
        folder = f"{self.root}/tmp"
        self.fs.makedirs(folder, exist_ok=True)
        path = f"{folder}/{uuid.uuid4().hex}.part"
        try:
            with self.fs.open(path, "wb") as f:
                f.write(data)
                f.flush()
                if self.local:
                    os.fsync(f.fileno())
        except BaseException:
            self.discard(path)
            raise
        return path

    def publish(self, temporary: str, digest: str) -> None:
        """Gives a staged file its name; a damaged object of that name is replaced."""
        path = self.path(digest)
        folder = path.rpartition("/")[0]
        self.fs.makedirs(folder, exist_ok=True)
        if not self.local:
            self.fs.mv(temporary, path)
            return
        os.replace(temporary, path)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)               # the name, too, survives a power cut
        finally:
            os.close(handle)

    def discard(self, temporary: str) -> None:
        """Removes a temporary file; harmless where there is none."""
        try:
            self.fs.rm_file(temporary)
        except (OSError, KeyError):
            pass

    def size(self, digest: str) -> int | None:
        """Bytes of an object, None where there is none."""
        try:
            info = self.fs.info(self.path(digest))
        except FileNotFoundError:
            return None
        return info["size"] if info["type"] == "file" else None

    def read(self, digest: str) -> bytes:
        """The bytes of an object, checked against its name. Raises CenterError DAMAGED where missing or changed."""
        try:
            data = self.fs.cat_file(self.path(digest))
        except (FileNotFoundError, IsADirectoryError):
            raise CenterError("DAMAGED", f"object {digest} is missing", object=digest) from None
        if sha256(data) != digest:
            raise CenterError("DAMAGED", f"object {digest} is damaged: its bytes have another digest", object=digest)
        return data

    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes start..end of an object as they stand there (the receiver checks them), in pieces."""
        with self.fs.open(self.path(digest), "rb") as f:
            f.seek(start)
            while start < end:
                piece = f.read(min(PIECE, end - start))
                if not piece:
                    return
                start += len(piece)
                yield piece

    def all(self) -> set[str]:
        """Digests of all objects that are there."""
        self.fs.invalidate_cache()
        names = (path.rpartition("/")[2] for path in self._files("objects"))
        return {n.removesuffix(SUFFIX) for n in names if n.endswith(SUFFIX) and is_digest(n.removesuffix(SUFFIX))}

    def remove(self, digest: str) -> None:
        self.discard(self.path(digest))

    def temporaries(self, older_than: float) -> list[str]:
        """Paths of temporary files that are older than so many seconds."""
        return [p for p in self._files("tmp") if self._age(p) >= older_than]

    def _files(self, folder: str) -> list[str]:
        try:
            return self.fs.find(f"{self.root}/{folder}")
        except FileNotFoundError:
            return []

    def _age(self, path: str) -> float:
        try:
            return time.time() - self.fs.modified(path).timestamp()
        except (FileNotFoundError, NotImplementedError):
            return 0.0
