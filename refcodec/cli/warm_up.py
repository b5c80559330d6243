"""refcodec warm-up: compile all loops, so that no later command waits for the compiler."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .first_use import FirstUse, told
from .shared import Commands, add_command, add_json, print_result

if TYPE_CHECKING:
    from ..encoder.config import Config
    from ..model import Model


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "warm-up", "compile all loops now, so that no later command waits for it",
        "Compile the loops of all coding tools (one to three minutes) by coding small made-up models with each of "
        "them. Machine code is kept in a folder named by the text of the loops, so once suffices for each version of "
        "refcodec; run it when a machine or a container image is set up. The environment variable REFCODEC_CACHE names "
        "another place (default: refcodec/ in $XDG_CACHE_HOME or ~/.cache).",
        {"refcodec warm-up": "compiles what is not compiled yet, and says where it is kept"})
    add_json(p)
    return p


def run(arguments: argparse.Namespace) -> None:
    from .. import compiler

    start = time.perf_counter()
    if not compiler.COMPILE:
        print_result(arguments, {"compiled": 0, "folder": None, "seconds": 0.0},
                     "nothing to compile: the environment switches the compiler off")
        return
    trials, done = list(_trials()), 0
    handler = FirstUse("refcodec: compiling all loops; they are kept in {folder}", len(trials), lambda: done)
    with told(handler) as told_of:
        for models, config, references in trials:
            _code(models, config, references)
            done += 1
    result = {"compiled": told_of.compiled, "folder": compiler.CACHE_FOLDER or None,
              "seconds": round(time.perf_counter() - start, 3)}
    print_result(arguments, result, f"all loops are ready, {told_of.compiled or 'none'} of them compiled now; kept in "
                 f"{compiler.CACHE_FOLDER or 'memory alone, which ends with this'}; {result['seconds']:.1f} s")


def _code(models: Sequence[Model], config: Config, references: Sequence[Model]) -> None:
    from ..decoder import StreamDecoder
    from ..encoder.encoding import encode

    with StreamDecoder(encode(models, config, references), references) as decoder:
        for number in range(len(decoder.parsed.models)):
            decoder.model(number)


def _trials() -> Iterator[tuple[Sequence[Model], Config, Sequence[Model]]]:
    """Models, configurations and references that need every loop in every form that streams use; a test says so."""
    import ml_dtypes
    import numpy as np

    from ..bitstream.structures import EntropyMode
    from ..encoder.config import Config
    from ..encoder.config_parts import Rule
    from ..entropy.bins_four import FOUR
    from ..entropy.bins_plane import CHUNK_ELEMENTS
    from ..model import Model, Tensor

    def model(dtype: Any = np.float32, amount: float = 0.0) -> Model:
        """A wide, a tall and a sparse matrix, and one of rows of unlike scale, changed by about `amount`."""
        rng = np.random.default_rng(1)
        w, noise = rng.laplace(0, 0.05, (24, 40)), rng.normal(0, amount, (24, 40))
        rows = rng.laplace(0, 0.05, (32, 512)) * np.exp2(np.arange(32) % 8)[:, None]
        return Model([Tensor("wide.weight", (w + noise).astype(dtype)), Tensor("tall.weight", w.T[:, :9].astype(dtype)),
                      Tensor("sparse.weight", (np.where(w > 0.1, w, 0) + noise).astype(dtype)),
                      Tensor("rows.weight", rows.astype(dtype))])

    base, new = model(), model(amount=1e-3)
    maps = Model([Tensor("maps", np.maximum(np.random.default_rng(2).normal(size=(4, 16, 16)), 0).astype(np.float32))])
    four = Model([Tensor("four.weight", np.random.default_rng(3).normal(0, 0.02, (FOUR, CHUNK_ELEMENTS)
                                                                        ).astype(ml_dtypes.bfloat16))])
    trials: list[tuple[list[Model], list[Model], dict[str, Any]]] = [
            ([base], [], {}), ([model(np.float64)], [], {}), ([base], [], {"step": 0.01}),
            ([base], [], {"step": 0.01, "effort": "best"}),
            *(([base], [], {"entropy": mode.name.lower()}) for mode in EntropyMode if mode.facts.words),
            *(([base], [], {"step": 0.01, "entropy": mode.name.lower(), "states": 0})
              for mode in EntropyMode if mode.facts.levels),
            ([base], [], {"step": 0.01, "entropy": "bins"}),                # with a trellis for each lane
            ([base], [], {"quantiser": "rp", "entropy": "cc"}), ([base], [], {"quantiser": "rp", "entropy": "cm"}),
            ([base], [], {"step": 0.01, "entropy": "raw"}), ([model(ml_dtypes.bfloat16)], [], {"step": 0.01}),
            *(([model(dtype, amount=1e-3)], [model(dtype)] if update else [], {"entropy": "bins"})
              for dtype in (np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn) for update in (False, True)),
            ([four], [], {"entropy": "bins"}),                              # of so many chunks that they go by four
            ([maps], [], {"preset": "s3-features", "step": 0.2, "rules": [Rule("*", "quantise")]}),
            ([new], [base], {"preset": "s4-ml", "update_rank": 3})]
    for models, references, options in trials:
        yield models, Config(join_below=1, **options), references
