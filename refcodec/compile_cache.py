"""The folder of compiled loops, and the files in it: machine code that is trusted only where nobody else can write.

What lies there is unpickled and executed. So a folder is taken only if it belongs to the user who runs us and nobody
else may write into it, nor move it away; without one nothing is kept. A file is used if it begins with the SHA-256 of
what follows: a truncated or damaged one is made anew, and a full disk costs no more than the time to compile again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from numba import __version__ as NUMBA
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("refcodec.cache")
DIGEST = hashlib.sha256().digest_size
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(base: str, *names: str) -> str:
    """base/names..., made where it is missing, for this user alone. Raises OSError; PermissionError says who may write.

    The folders above have to belong to this user or to the system, and others may at most add files of their own to
    them (a sticky folder, such as /tmp).
    """
    os.makedirs(base, 0o700, exist_ok=True)
    folder = os.path.realpath(base)
    _check_above(folder)
    for name in names:
        folder = os.path.join(folder, name)
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        _check_own(folder, name == names[-1])
    with tempfile.TemporaryFile(dir=folder):
        return folder


def _check_above(folder: str) -> None:
    if not hasattr(os, "geteuid"):
        return                                             # a system whose folders of a user are the user's
    while True:
        status = os.stat(folder)
        if status.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{folder} belongs to another user")
        if not status.st_mode & stat.S_ISVTX and (status.st_mode & stat.S_IWOTH
                                                  or status.st_mode & stat.S_IWGRP and not _own_group(status.st_gid)):
            raise PermissionError(f"others may write into {folder}")
        if folder == (folder := os.path.dirname(folder)):
            return


def _own_group(number: int) -> bool:
    """True of root's group, and of one that has the user's name and no other members, as many systems make for each."""
    import grp
    import pwd

    try:
        group, name = grp.getgrgid(number), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return number == 0 or group.gr_name == name and set(group.gr_mem) <= {name}


def _check_own(folder: str, last: bool) -> None:
    # The last was made for this user alone, or anything may lie in it; those above are shut before it is looked for.
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{folder} is no folder")
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if status.st_mode & OTHERS_WRITE:
        if last:
            raise PermissionError(f"others may write into {folder}")
        os.chmod(folder, stat.S_IMODE(status.st_mode) & ~OTHERS_WRITE)


class Cache(_Cache):
    """What numba asks for a compiled function and gives it to: a file for each signature.

    folder: named by the text of all compiled functions.
    The file: SHA-256 of the rest, then a pickle of (what it was made of, code as numba reduces it).
    """

    def __init__(self, function: Callable[..., Any], folder: str):
        self.folder, self.enabled, self.code = folder, True, function.__code__
        self.name = f"{function.__module__.removeprefix('refcodec.')}.{function.__qualname__.strip('_')}"

    @property
    def cache_path(self) -> str:
        return self.folder

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def flush(self) -> None:
        """Nothing has to be written later, nor forgotten."""

    def _place(self, signature: Any, codegen: Any) -> tuple[str, str]:
        made_of = repr((NUMBA, str(signature), codegen.magic_tuple(), self.code.co_firstlineno))
        key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return os.path.join(self.folder, f"{self.name}.{key}.nbc"), made_of

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function of a file that is whole, else None."""
        target_context.refresh()
        if not self.enabled:
            return None
        path, wanted = self._place(sig, target_context.codegen())
        try:
            with open(path, "rb") as f:
                data = f.read()
            if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
                raise ValueError("damaged")
            made_of, payload = pickle.loads(data[DIGEST:])
            return CompileResult._rebuild(target_context, *payload) if made_of == wanted else None
        except FileNotFoundError:
            return None
        except Exception as error:         # whatever a file of another build may raise: it is compiled again
            LOG.debug("%s is not used: %s", path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write what was compiled, whole or not at all; without space nothing is kept."""
        if not self.enabled or data.lifted or data.library.has_dynamic_globals:
            return
        path, made_of = self._place(sig, data.codegen)
        text = dumps((made_of, data._reduce()))
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(handle, "wb") as f:
                f.write(hashlib.sha256(text).digest() + text)
            os.replace(temporary, path)
        except OSError as error:
            LOG.debug("%s is not kept: %s", path, error)
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
