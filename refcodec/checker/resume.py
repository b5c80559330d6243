"""A check that was interrupted goes on: the streams that passed are kept in a file, and not run again."""

from __future__ import annotations

import json
import threading
import time

from ..files import atomic_file, read_bounded
from .session import decoder_files
from .verdicts import Result

FILE_BYTES_MAX = 1 << 24
SECONDS = 1.0                     # between two writings of the file


class Resume:
    """What passed so far. The file counts only for the same manifest, command and build of the decoder (as far as its
    command names files), and the same options; for any other it is begun anew.
    """

    def __init__(self, path: str, command: str, manifest_sha256: str, **options: object):
        self.path, self.passed = path, set()
        self.about = {"decoder": command, "decoder_files": decoder_files(command), "manifest_sha256": manifest_sha256,
                      "options": options}
        self._lock, self._written = threading.Lock(), time.monotonic()
        try:
            data = json.loads(read_bounded(path, FILE_BYTES_MAX).decode("utf-8"))
            if all(data[name] == value for name, value in self.about.items()):
                self.passed = {name for name in data["passed"] if isinstance(name, str)}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, RecursionError):
            pass                                        # another file, or a damaged one: everything is run
        self.found = len(self.passed)

    def add(self, result: Result) -> None:
        """Take in a result, from any thread."""
        with self._lock:
            if result.passed:
                self.passed.add(result.stream.id)
            if time.monotonic() - self._written > SECONDS:
                self._write()

    def close(self) -> None:
        with self._lock:
            self._write()

    def _write(self) -> None:
        with atomic_file(self.path) as file:
            file.write(json.dumps({**self.about, "passed": sorted(self.passed)}, indent=1).encode() + b"\n")
        self._written = time.monotonic()
