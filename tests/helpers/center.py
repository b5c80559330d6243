"""What the tests of the knowledge center share: a family of models, a store with it, commands and refusals."""

from __future__ import annotations

import contextlib
import functools
import io

import numpy as np
import pytest
import relatives

from refcodec import Model, Tensor
from tools.knowledge_center import CenterError, Store, cli

FAMILY = {"base": None, "shifted": "base", "noisy": "base", "inverted": "base", "few": "base", "head": "base",
          "shifted_noisy": "shifted"}


@functools.cache
def family() -> dict[str, Model]:
    """A base and its relatives, two seconds of training with numpy."""
    found = {m.name: m for m in relatives.models()}
    return {name: found[name] for name in [*FAMILY, "unrelated"]}


def small(seed: int, base: Model | None = None) -> Model:
    """A model of 2304 weights, or one that is near another."""
    rng = np.random.default_rng(seed)
    if base is None:
        return Model(
            [Tensor("w",
                    rng.standard_normal((48, 48)).astype(np.float32)),
             Tensor("b", np.zeros(48, np.float32))])
    moved = base["w"].array * (1 + rng.integers(-1, 2, (48, 48)).astype(np.float32) * np.float32(2**-20))
    return Model([Tensor("w", moved.astype(np.float32)), Tensor("b", base["b"].array)])


def filled(folder, url: str = ".", **options) -> Store:
    """A store with the family in it, each version from its parent."""
    store = Store.create(folder, url, **options)
    for name, parent in FAMILY.items():
        store.add(name, family()[name], parents=[parent] if parent else [])
    return store


def digest(store: Store, name: str) -> str:
    return store.version(name).model_digest


def refused(code: str):
    """The block must raise a CenterError with this code."""
    class Check:
        def __enter__(self):
            self.raises = pytest.raises(CenterError)
            self.found = self.raises.__enter__()
            return self.found

        def __exit__(self, *error):
            done = self.raises.__exit__(*error)
            assert self.found.value.code == code, self.found.value
            return done
    return Check()


def cli_lines(*arguments, code: int = 0) -> list[str]:
    """What a command prints."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        found = cli.main([str(a) for a in arguments])
    assert found == code, error.getvalue()
    return (out.getvalue() or error.getvalue()).splitlines()
