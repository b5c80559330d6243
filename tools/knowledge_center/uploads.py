"""Unfinished uploads: files named by the SHA-256 that their sender announced, so that anyone can resume them."""

from __future__ import annotations

import os
import time

from .errors import CenterError
from .objects import is_digest, sha256

SUFFIX = ".upload"


class Uploads:
    """A local folder, whatever the objects are on; made when it is needed."""

    def __init__(self, folder: str):
        self.folder = folder

    def path(self, digest: str) -> str:
        if not is_digest(digest):
            raise CenterError("BAD_REQUEST", "an upload is named by its SHA-256, 64 lower-case hexadecimal digits")
        return os.path.join(self.folder, digest + SUFFIX)

    def offset(self, digest: str) -> int:
        """Bytes that have arrived."""
        try:
            return os.path.getsize(self.path(digest))
        except FileNotFoundError:
            return 0

    def append(self, digest: str, offset: int, data: bytes) -> None:
        """Writes at the end, which must be `offset`. Raises CenterError CONFLICT, OSError."""
        os.makedirs(self.folder, exist_ok=True)
        with open(self.path(digest), "ab") as f:
            if f.tell() != offset:
                raise CenterError("CONFLICT", f"the upload goes on at byte {f.tell()}, not {offset}", offset=f.tell())
            f.write(data)

    def total(self) -> int:
        """Bytes of all unfinished uploads."""
        sizes = []
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            try:
                sizes.append(os.path.getsize(os.path.join(self.folder, name)))
            except FileNotFoundError:
                pass
        return sum(sizes)

    def take(self, digest: str) -> bytes:
        """The bytes of a finished upload. Raises NOT_FOUND, or DIGEST_MISMATCH and forgets it."""
        try:
            with open(self.path(digest), "rb") as f:
                data = f.read()
        except FileNotFoundError:
            raise CenterError("NOT_FOUND", f"there is no upload {digest}; send its bytes first") from None
        if sha256(data) != digest:
            self.remove(digest)
            raise CenterError("DIGEST_MISMATCH", f"the {len(data)} bytes that arrived are not those of {digest}; send "
                              "them again from the beginning")
        return data

    def remove(self, digest: str) -> None:
        try:
            os.remove(self.path(digest))
        except FileNotFoundError:
            pass

    def old(self, seconds: float) -> list[str]:
        """Digests of uploads that nothing was added to for so long."""
        if not os.path.isdir(self.folder):
            return []
        names = [n.removesuffix(SUFFIX) for n in os.listdir(self.folder) if n.endswith(SUFFIX)]
        now = time.time()
        return sorted(n for n in names if is_digest(n) and now - os.path.getmtime(self.path(n)) >= seconds)
