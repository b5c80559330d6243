"""Files that commands work on, and a way to run commands beside them."""

from __future__ import annotations

import pytest
from helpers import changed, network_model

from refcodec import encode, load, save


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folder in which commands run: m.safetensors, m2.safetensors, which is an update of it, and m.omc."""
    model = network_model()
    save(model, tmp_path / "m.safetensors")
    save(changed(model), tmp_path / "m2.safetensors")
    (tmp_path / "m.omc").write_bytes(encode(load(tmp_path / "m.safetensors")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(command):
    """Runs a command; returns what it prints to standard output."""
    return lambda *arguments, code=0: command(*arguments, code=code).out


@pytest.fixture
def refused(command):
    """Runs a command that is refused; returns its one line on standard error."""
    return lambda *arguments, code: command(*arguments, code=code).err
