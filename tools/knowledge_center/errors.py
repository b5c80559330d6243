"""One error for all that a store, its service or its client refuses; what it means to HTTP and to a shell."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from refcodec import OmcError

# code: (HTTP status, exit code, what it says)
CODES = {
    "BAD_REQUEST": (400, 2, "a name, a range or a request that is not allowed"),
    "FORBIDDEN": (403, 2, "writing needs the token of the service"),
    "BAD_HOST": (421, 2, "the service is asked for by a name that is not its own"),
    "SLOW": (408, 6, "a request took too long to arrive"),
    "NOT_FOUND": (404, 3, "no such version, object or upload"),
    "CONFLICT": (409, 4, "the name is taken by another model, or an upload is elsewhere"),
    "TOO_LARGE": (413, 2, "more bytes than the service takes"),
    "BAD_STREAM": (422, 10, "the stream or the model file is damaged or cannot be decoded here"),
    "DIGEST_MISMATCH": (422, 10, "the bytes or the model are not those that were announced"),
    "DAMAGED": (500, 5, "an object of the store is damaged or missing, and no other way leads to the model"),
    "BUSY": (503, 6, "the index is locked by another process for too long"),
    "TRANSFER": (502, 6, "the connection failed again and again; the same command resumes"),
    "IO": (500, 6, "the disk or the object store failed"),
    "FULL": (507, 7, "no space is left"),
}
FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def escaped(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class CenterError(Exception):
    """code: one of CODES.  message: one line, what is wrong and what to do.  details: more for machines."""

    def __init__(self, code: str, message: str, **details):
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def status(self) -> int:
        return CODES[self.code][0]

    @property
    def exit_code(self) -> int:
        return CODES[self.code][1]

    def as_json(self) -> dict:
        return {"error": {"code": self.code, "message": self.message, **self.details}}


def translated(error: Exception) -> CenterError:
    """The error of this package that says the same as one of the codec, the system or SQLite; others are raised."""
    match error:
        case CenterError():
            return error
        case OmcError():
            return CenterError("BAD_STREAM", str(error), omc=error.code)
        case MemoryError():
            return CenterError("BAD_STREAM", "not enough memory to rebuild the model")
        case OSError() if error.errno in FULL_ERRORS:
            return CenterError("FULL", f"no space is left for the store: {error.strerror or error}; nothing was added")
        case OSError():
            return CenterError("IO", f"{error.filename or ''} {error.strerror or error}".strip())
        case sqlite3.DatabaseError() if "full" in str(error):
            return CenterError("FULL", f"no space is left for the index: {error}; nothing was added")
        case sqlite3.DatabaseError() if "locked" in str(error):
            return CenterError("BUSY", "another process holds the index; try again")
        case sqlite3.DatabaseError():
            return CenterError("IO", f"index: {error}")
    raise error


@contextmanager
def one_error() -> Iterator[None]:
    """What fails inside with an error of the codec, the system or SQLite fails with a CenterError."""
    try:
        yield
    except (CenterError, OmcError, MemoryError, OSError, sqlite3.DatabaseError) as error:
        found = translated(error)
        if found is error:
            raise
        raise found from error
