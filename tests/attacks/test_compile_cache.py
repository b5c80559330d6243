"""The cache of compiled loops: nothing that others could have put there is loaded; damage costs a compilation."""

from __future__ import annotations

import os
import pickle
import shutil

import numba
import pytest
from helpers.processes import run_python

from refcodec.compile_cache import Cache, private_folder

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def one_more(x):
    return x + 1


def compiled(folder, function=one_more):
    """Calls a function compiled with this cache; True if it was loaded."""
    dispatcher = numba.njit(function)
    dispatcher._cache = Cache(function, str(folder))
    assert dispatcher(1) == 2
    return sum(dispatcher.stats.cache_hits.values()) > 0


def owned_by_another(path):
    os.chown(path, 12345, 12345)


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


def test_a_new_folder_is_shut_to_others(base):
    mask = os.umask(0)
    try:
        folder = private_folder(str(base / "new"), "refcodec", "text")
    finally:
        os.umask(mask)
    for path in (folder, os.path.dirname(folder), base / "new"):
        assert os.stat(path).st_mode & 0o777 == 0o700
    assert private_folder(str(base / "new"), "refcodec", "text") == folder


@ROOT_ONLY
@pytest.mark.parametrize("which", ["", "refcodec", "refcodec/text"])
def test_a_folder_of_another_user(base, which):
    private_folder(str(base), "refcodec", "text")
    owned_by_another(base / which)
    with pytest.raises(PermissionError, match="another user"):
        private_folder(str(base), "refcodec", "text")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
@pytest.mark.parametrize("which", ["", "refcodec/text"])
def test_a_folder_that_others_may_write_into(base, which, mode):
    private_folder(str(base), "refcodec", "text")
    os.chown(base / which, -1, 12345) if os.geteuid() == 0 else None
    (base / which).chmod(mode)
    with pytest.raises(PermissionError, match="others may write"):
        private_folder(str(base), "refcodec", "text")


def test_a_shared_folder_is_taken_if_it_is_sticky_and_what_is_in_it_is_ours(base):
    base.chmod(0o1777)
    assert private_folder(str(base), "refcodec", "text")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder(base, kind):
    (base / "elsewhere").mkdir()
    (base / "refcodec").symlink_to("elsewhere") if kind == "link" else (base / "refcodec").write_text("")
    with pytest.raises(NotADirectoryError):
        private_folder(str(base), "refcodec", "text")


def test_without_a_folder_nothing_is_kept(base):
    base.chmod(0o777)
    places = dict.fromkeys(["REFCODEC_CACHE", "XDG_CACHE_HOME", "HOME", "TMPDIR"], str(base))
    code = "from refcodec.compiler import CACHE_FOLDER, bit_length; print(repr(CACHE_FOLDER), bit_length(5))"
    done = run_python("-c", code, **places)
    assert done.stdout == "'' 3\n"
    assert "compiled loops are not kept" in done.stderr
    assert not list(base.rglob("*.nbc"))


class Planted:
    """A pickle that does something when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_damaged_files_are_not_unpickled_and_are_made_again(base):
    folder = private_folder(str(base), "text")
    assert not compiled(folder)
    assert compiled(folder)
    (file,) = base.rglob("*.nbc")
    whole = file.read_bytes()
    damages = [b"", whole[:20], whole[:32], whole[:-1], whole[:len(whole) // 2], whole + b"x", bytes(len(whole)),
               whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:], pickle.dumps(Planted(base / "planted"))]
    for damaged in damages:
        file.write_bytes(damaged)
        assert not compiled(folder)
        assert compiled(folder)
    assert not (base / "planted").exists()


def test_a_folder_that_vanishes_or_cannot_be_written(base, monkeypatch):
    folder = private_folder(str(base), "text")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert not compiled(folder)
    assert not os.listdir(folder)
    shutil.rmtree(folder)
    assert not compiled(folder)
