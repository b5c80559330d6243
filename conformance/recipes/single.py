"""Whole models of one tensor, or of several in units of their own."""

from __future__ import annotations

from .builder import Builder


def single(b: Builder, shape: tuple[int, ...], coded, dtype: str = "float32") -> None:
    """A whole model of one tensor."""
    b.model("m", [("w", dtype, shape)])
    b.tensors((0, coded))
    b.end_model()


def simple(shape: tuple[int, ...], make, dtype: str = "float32"):
    """A stream of one model of one tensor; make() gives its coding."""
    def write(b: Builder) -> None:
        single(b, shape, make(), dtype)
        b.end()
    return named(write, make)


def several(tensors):
    """A stream of one model; tensors: () to a list of (name, element type, shape, coding)."""
    def write(b: Builder) -> None:
        made = tensors()
        b.model("m", [t[:3] for t in made])
        for i, t in enumerate(made):
            b.tensors((i, t[3]))
        b.end_model()
        b.end()
    return named(write, tensors)


def named(write, make):
    """The manifest names the module of `make`, where the recipe stands."""
    write.__module__ = make.__module__
    return write
