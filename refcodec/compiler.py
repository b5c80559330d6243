"""The compiler of the hot loops: numba, or nothing at all with the same bits.

`compiled` marks a plain scalar function.  With REFCODEC_COMPILE=0 (or NUMBA_DISABLE_JIT=1) it stays
as written.  Rules of such functions: every value is int64 (loads from arrays are wrapped in int()),
results are masked where they could leave 63 bits, mode arguments are literal constants at the call.
Indices are never negative; a[at(i)] says so, and spares the test for those that count from the end.

The first call of an entry point compiles it, which takes seconds, once on each machine: the log "refcodec.compiler"
tells of it, level INFO, with the attributes `loop` (a name) and `done` (False before, True after).
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

COMPILE = os.environ.get("REFCODEC_COMPILE", "1") != "0" and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


LOG = logging.getLogger("refcodec.compiler")
ENTRY_POINTS: list[Any] = []              # all functions marked `compiled` of the modules that are loaded


def text_name() -> str:
    """The name of a folder by the text of all files that hold compiled functions: no stale machine code is loaded."""
    package = pathlib.Path(__file__).parent
    text = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"compiler import" in source or path.name in ("tables.py", "compiler.py", "compile_cache.py", "vectors.py"):
            text.update(source)
    return f"refcodec-{text.hexdigest()[:16]}"


if TYPE_CHECKING:                             # a compiled function has the types of the one that is written
    CACHE_FOLDER: str

    def compiled(function: Function) -> Function: ...
    def inlined(function: Function) -> Function: ...
    def at(index: int) -> int: ...
    def unsigned(x: int) -> int: ...
    def signed(x: int) -> int: ...
    def bit_length(x: int) -> int: ...
    def quotient(x: int, y: int) -> int: ...
elif COMPILE:
    import numba
    from numba.core import event
    from numba.cpython.unsafe.numbers import leading_zeros

    from .compile_cache import LOG as CACHE_LOG
    from .compile_cache import Cache, private_folder

    def cache_folder(name: str) -> str:
        """Where compiled loops are kept, '' where no folder is there that only this user can write to."""
        user = f"refcodec-{os.getuid() if hasattr(os, 'getuid') else 0}"
        home = os.path.expanduser("~")
        candidates = [(os.environ.get("REFCODEC_CACHE"), "refcodec"), (os.environ.get("XDG_CACHE_HOME"), "refcodec"),
                      (os.path.join(home, ".cache") if os.path.isdir(home) else None, "refcodec"),
                      (tempfile.gettempdir(), user)]
        refused = []
        for base, own in candidates:
            try:
                if base:
                    return private_folder(base, own, name)
            except OSError as error:
                refused.append(str(error))
        CACHE_LOG.warning("compiled loops are not kept, and are compiled anew each time, as there is no folder that "
                          "only this user can write to (%s): REFCODEC_CACHE names one", "; ".join(refused))
        return ""

    CACHE_FOLDER = cache_folder(text_name())

    def _decorate(**options):
        return functools.partial(numba.njit, nogil=True, error_model="numpy", **options)

    def _cached(function):
        dispatcher = _decorate()(function)
        if CACHE_FOLDER:
            dispatcher._cache = Cache(function, CACHE_FOLDER)
        return dispatcher

    class _Log(event.Listener):
        """Numba tells here what it compiles; parts of loops and what was found on disk are not worth a word."""

        def on_start(self, event: Any) -> None:
            self._log(event, False)

        def on_end(self, event: Any) -> None:
            self._log(event, True)

        def _log(self, event: Any, done: bool) -> None:
            loop = event.data["dispatcher"]
            if any(loop is known for known in ENTRY_POINTS):
                name = loop.py_func.__name__.strip("_")
                LOG.info("%s %s", "compiled" if done else "compiling", name, extra={"loop": name, "done": done})

    event.register("numba:compile", _Log())

    def compiled(function: Callable[..., Any]) -> Any:
        """An entry point: cached on disk, releases the GIL."""
        ENTRY_POINTS.append(_cached(function))
        return ENTRY_POINTS[-1]

    # A part of loops: always inlined, so that literal modes vanish, and without the counting of references
    # to arrays, whose atomic operations cost more than all else.  It cannot make arrays: its caller does.
    inlined = _decorate(forceinline=True, _nrt=False)
    at = numba.uintp                          # an index >= 0
    unsigned = numba.uint64                   # arithmetic modulo 2^64, which mixes with its own kind only
    signed = numba.int64                      # of a load from an unsigned array: int() would leave it unsigned

    @inlined
    def bit_length(x):
        """Bits of x, 0 <= x < 2^63, without leading zeros: 0 for 0."""
        return 64 - leading_zeros(x)

    @inlined
    def quotient(x, y):
        """x // y of 0 <= x < 2^32 and 0 < y < 2^32."""
        return numba.int64(numba.uint32(x) // numba.uint32(y))
else:
    def compiled(function: Function) -> Function:
        return function

    inlined = compiled
    at = int
    unsigned = signed = int
    bit_length = int.bit_length
    quotient = int.__floordiv__
