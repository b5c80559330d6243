"""The valid streams that are no combinations, with what they are for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import UnitCoding

from . import huffman_scripts, scripted, unusual
from .limit_streams import largest_steps, many_models, many_tensors, nesting, wide_levels, zero_update
from .matrices import entry_points, folds, kernels, shapes, trellis
from .parts import (
    LEVEL_BLOCKS,
    MODES,
    WORD_MODES,
    decimal,
    direct,
    fixed_point,
    float_words,
    integer_codebook,
    uniform,
    words,
)
from .single import several, simple
from .streams import Recipe
from .units_and_models import extensions, external, external_models, joined, models, side_units, stored
from .words_and_types import (
    all_types,
    all_types_of_levels,
    constants,
    types_of_codebooks,
    word_parameters,
)

__all__ = ["external_models", "recipes", "several", "simple"]


def recipes() -> Iterator[Recipe]:
    """The valid streams that are no combinations."""
    yield Recipe("smoke", "one float32 tensor of raw words: what every decoder must decode before the suite starts",
                 simple((2, 3), lambda: direct(words("float32", float_words(1, (2, 3)), MODES.RAW))))
    for mode in WORD_MODES:
        yield Recipe(f"types-{mode.name.lower()}", f"any words of every element type, entropy mode {mode.name}",
                     all_types(mode), profile=mode.facts.profile)
    for name, make in {
            "uniform": lambda: uniform(1, 0), "decimal": lambda: decimal(0), "fixedpoint": lambda: fixed_point(3, 0),
            "integercodebook": lambda: integer_codebook([-3, -2, -1, 0, 1, 2, 3], 3, 1, 0)
    }.items():
        yield Recipe(f"types-{name}", f"quantiser {name} in every element type that has it", all_types_of_levels(make))
    yield Recipe("types-codebook", "codebooks of every element type", several(types_of_codebooks))
    yield Recipe("words-parameters",
                 "word_parameters( ): each element with each value, with words that keep its promise",
                 several(word_parameters))
    yield Recipe("words-constant", "constant words: zero, all ones, the top bit alone, of every element type",
                 several(constants))
    yield Recipe("shapes", "ranks 0 to 8, empty axes, both scans", several(shapes))
    yield Recipe("folds", "layer descriptors: all orders of three axes, kernels, planes, roles, an activation format",
                 folds)
    for mode in LEVEL_BLOCKS:
        yield Recipe(f"kernels-{mode.name.lower()}", f"{mode.facts.called} of levels with kernels of 1, 4 and 9",
                     kernels(mode), profile=mode.facts.profile)
    for mode in LEVEL_BLOCKS:
        yield Recipe(f"trellis-{mode.name.lower()}", f"trellises of all sizes, {mode.facts.called}", trellis(mode),
                     profile=max(Profile.MAIN, mode.facts.profile))
    yield Recipe("trellis-raw", "trellises of all sizes, raw levels", trellis(MODES.RAW), profile=Profile.MAIN)
    yield Recipe("joined", "a joined unit of words, levels, a map, a copy, differences, an empty and a constant tensor",
                 joined)
    yield Recipe("models",
                 "four models: inherited tables and folds, an enhancement, references to models of other shapes",
                 models)
    old = external_models()["old"]
    yield Recipe("external", "an update of a model that is not in the stream",
                 lambda b: external(b, old.digest(), old["w"].words.reshape(6, 8)), references=("old", ))
    for coding in UnitCoding:
        yield Recipe(f"units-{coding.name.lower().replace('_', '')}",
                     f"model header, topology, layers, metadata and index in unit_coding {coding.name}",
                     side_units(coding))
    yield Recipe("extensions", "extension units, to be skipped without a look at body or check", extensions,
                 kind="extension")
    yield Recipe("entries", "entry points of levels and of a map", entry_points)
    yield Recipe("limit-nesting", "predictions of predictions up to the limit of level 1", nesting, kind="limit")
    yield Recipe("limit-tensors", "as many tensors, and elements of a joined unit, as level 1 allows", many_tensors,
                 kind="limit")
    yield Recipe("limit-models", "as many models and references, and as long a name, as level 1 allows", many_models,
                 kind="limit")
    yield Recipe("limit-steps", "steps at the ends of the range, subnormal values, ties", several(largest_steps),
                 kind="limit")
    yield Recipe("limit-levels", "levels at the ends of their range", several(wide_levels), kind="limit")
    for level in (2, 3, 4):
        yield Recipe(f"level-{level}", f"a stream of level {level}", simple(
            (2, 3), lambda: direct(words("int8", np.ones((2, 3), np.uint8))), "int8"), level=level)
    yield Recipe("n-stored", "a metadata unit whose DEFLATE body is one stored block", stored, kind="non-canonical")
    yield Recipe(
        "n-bool", "words of bool other than 0 and 1",
        simple((2, 3), lambda: direct(words("bool", np.array([[0, 1, 2], [127, 128, 255]], np.uint8))), "bool"),
        kind="non-canonical")
    yield Recipe("n-low-rank-zero", "an update of rank 1 whose factors are all zero", zero_update, kind="non-canonical")
    for more in (scripted, huffman_scripts, unusual):
        yield from more.recipes()
