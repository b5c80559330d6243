"""Every arithmetic-coded bin of a stream, told by the decoder's own loops.

Run in a process of its own (REFCODEC_COMPILE=0, as compiled loops tell nothing):
    python -m refcodec.inspection.bins STREAM UNITS MEMORY WORK [REFERENCE...]
UNITS: all, or numbers with commas; MEMORY, WORK: what is allowed (budget.py).
Prints one JSON object per bin: unit, clause, structure, name, descriptor, value, bit (position of the
byte that the range decoder reads next, in the unit's body) and bits (-log2 of the bin's probability).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from ..budget import Budget
from ..decoder import StreamDecoder
from ..entropy.modes import Block
from ..entropy.payload import PayloadReader
from ..entropy.range_coder import Coder
from ..entropy.watch import Observer, watching
from ..errors import OmcError
from ..inputs import load_any
from ..model import Model


def bins_of(path: str, references: Sequence[str], units: Collection[int] | None, budget: Budget
            ) -> Iterator[dict[str, Any]]:
    """The bins of a stream (units: of these units alone, None: of all), from a process in which nothing is compiled.

    Raises the OmcError that ends its decoding.
    """
    environment = {**os.environ, "REFCODEC_COMPILE": "0"}
    chosen = "all" if units is None else ",".join(map(str, units))
    command = [sys.executable, "-m", "refcodec.inspection.bins", path, chosen, str(budget.memory_left),
               str(budget.work), *references]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            element = json.loads(line)
            if "error" in element:
                raise next(k for k in OmcError.__subclasses__() if k.phase == element["error"])(*element["arguments"])
            yield element
    if process.returncode:
        raise RuntimeError("the process that lists the bins failed; its message stands above")


class BinLister(Observer):
    """Makes an element of every bin and every run of bypass bits. emit: called with each."""

    def __init__(self, emit: Callable[[dict[str, Any]], None]):
        self.emit = emit

    def block_begins(self, payload: PayloadReader, block: Block) -> None:
        self.payload, self.table = payload, block.coder.table

    def bin(self, contexts: list[tuple[int, int]], p: int, value: int, before: Coder, after: Coder) -> None:
        bits = -math.log2((p if value else 65536 - p) / 65536)
        self._element(self.table.kind(contexts[0][0]).name, "ae(v)", value, before, bits)

    def bypass(self, n: int, value: int, before: Coder, after: Coder) -> None:
        if n:
            self._element("bypass_bits", f"ab({n})", value, before, n)

    def _element(self, name: str, descriptor: str, value: int, r: Coder, bits: float) -> None:
        self.emit({"unit": self.payload.unit, "clause": self.table.clause, "structure": self.table.structure,
                   "name": name, "descriptor": descriptor, "value": int(value),
                   "bit": self.payload.first_bit + 8 * int(r.pos), "bits": bits})


def list_bins(path: str, references: Sequence[Model], emit: Callable[[dict[str, Any]], None],
              units: Collection[int] | None = None, budget: Budget | None = None) -> None:
    """Call emit with every bin of a stream, or of some units. Raises the OmcError that ends its decoding."""
    def emit_wanted(element: dict[str, Any]) -> None:
        if units is None or element["unit"] in units:       # not those of the units that a wanted one is predicted from
            emit(element)

    with (watching(BinLister(emit_wanted)),
          StreamDecoder(path, references, budget=budget or Budget(), allow_prefix=True) as decoder):
        for number, model in enumerate(decoder.parsed.models):
            for position, unit in enumerate(model.tensor_units):
                if units is None or unit.unit.number in units:
                    decoder.allow(number, [position])
                    decoder.decode_unit(number, position)


def main(arguments: list[str]) -> None:
    path, chosen, memory, work, *references = arguments
    budget = Budget(int(memory), int(work))
    units = None if chosen == "all" else {int(n) for n in chosen.split(",") if n}
    try:
        list_bins(path, [load_any(name, (), budget) for name in references],
                  lambda element: print(json.dumps(element)), units, budget)
    except OmcError as e:
        print(json.dumps({"error": e.phase, "arguments": [e.code, e.message, e.unit, e.bit]}))


if __name__ == "__main__":
    main(sys.argv[1:])
