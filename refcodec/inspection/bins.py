"""Every arithmetic-coded bin of a stream: the decoder's own loops, run as plain Python and watched.

Run in a process of its own (REFCODEC_COMPILE=0, so that nothing is compiled and every call can be seen):
    python -m refcodec.inspection.bins STREAM [REFERENCE...]
prints one JSON object per bin: unit, clause, structure, name, descriptor, value, bit (position of the
byte that the range decoder reads next, in the unit's body) and bits (-log2 of the bin's probability).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

from ..errors import OmcError

LEVEL_NAMES = (("SIGNIFICANT", "significant_flag"), ("GREATER_1", "greater1_flag"), ("GREATER_2", "greater2_flag"),
               ("CLASS", "class_more_flag"), ("SIGN", "sign_flag"), ("TOP_BIT", "top_bit"), ("SECOND_BIT",
                                                                                             "second_bit"))
WORD_NAMES = (("ZERO_PLACE", "word_zero_flag"), ("SIGN_PLACE", "word_sign_flag"),
              ("ZERO_SIGN_PLACE", "word_zero_sign_flag"), ("SHIFT_PLACE", "word_same_shift_flag"),
              ("MANTISSA_PLACE", "word_mantissa_bit"), ("CLASS_PLACE", "word_class_bin"),
              ("REPEAT_PLACE", "word_repeat_flag"), ("REPEAT_SIGN_PLACE", "word_repeat_sign_flag"),
              ("EXPONENT_PLACE", "word_exponent_bin"), ("TRAILING_PLACE", "word_trailing_zero_flag"))
MAP_NAMES = (("ZERO_PLACE", "map_zero_flag"), ("ZERO_SIGN_PLACE", "map_zero_sign_flag"),
             ("SAME_PLACE", "map_as_predictor_flag"), ("UP_PLACE", "map_as_above_flag"),
             ("LEFT_PLACE", "map_as_left_flag"), ("BEFORE_PLACE", "map_as_repeated_flag"),
             ("SIGN_PLACE", "map_value_sign_flag"), ("MANTISSA_PLACE", "map_mantissa_bit"),
             ("CLASS_PLACE", "map_class_bin"), ("TRAILING_PLACE", "map_trailing_zero_flag"))


def bins_of(path: str, references: list[str]) -> Iterator[dict]:
    """The bins of a stream, from a process in which nothing is compiled. Raises the OmcError that ends its decoding."""
    environment = {**os.environ, "REFCODEC_COMPILE": "0"}
    command = [sys.executable, "-m", "refcodec.inspection.bins", path, *references]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            element = json.loads(line)
            if "error" in element:
                raise next(k for k in OmcError.__subclasses__() if k.phase == element["error"])(*element["arguments"])
            yield element
    if process.returncode:
        raise RuntimeError("the process that lists the bins failed; its message stands above")


class Watch:
    """Replaces the range coder's two ways to code by watched ones. emit: called with each element."""

    def __init__(self, emit: Callable[[dict], None]):
        self.emit = emit
        self.unit, self.first_bit, self.clause, self.structure, self.name = None, 0, "9.1", "payload", "bin"
        self.places: list[tuple[int, str]] = []           # first context of each kind of bin, and its name

    def element(self, descriptor: str, value: int, r, bits: float) -> None:
        self.emit({"unit": self.unit, "clause": self.clause, "structure": self.structure, "name": self.name,
                   "descriptor": descriptor, "value": value, "bit": self.first_bit + 8 * int(r.pos), "bits": bits})

    def install(self) -> None:
        from ..entropy import range_coder

        probability, bypass = range_coder.code_probability, range_coder.code_bypass

        def code_probability(mode, r, buf, p, bit):
            value, after = probability(mode, r, buf, p, bit)
            self.element("ae(v)", int(value), r, -math.log2((p if value else 65536 - p) / 65536))
            return value, after

        def code_bypass(mode, r, buf, value, n):
            value, after = bypass(mode, r, buf, value, n)
            name, self.name = self.name, "bypass_bits"
            if n:
                self.element(f"ab({n})", int(value), r, n)
            self.name = name
            return value, after

        # Before the loops are imported: they take these names from range_coder.
        range_coder.code_probability, range_coder.code_bypass = code_probability, code_bypass
        from ..entropy import context_coding, levels, map_loop, mixed_coding, payload, word_loop

        for module, clause in ((context_coding, "9.3"), (mixed_coding, "9.4")):
            self._name_levels(module, clause, sorted((getattr(levels, n), name) for n, name in LEVEL_NAMES))
        places = {"9.5": ("9.5", "word", sorted((getattr(word_loop, n), name) for n, name in WORD_NAMES)),
                  "9.6": ("9.6", "map", sorted((getattr(map_loop, n), name) for n, name in MAP_NAMES))}
        self._name_words(word_loop, map_loop)
        self._name_payloads(payload, places)

    def _name_levels(self, module, clause: str, nodes: list[tuple[int, str]]) -> None:
        code = module._code

        def watched(mode, r, buf, model, place, node, bit):
            self.clause, self.structure = clause, "level"
            self.name = [name for first, name in nodes if node >= first][-1]
            return code(mode, r, buf, model, place, node, bit)

        module._code = watched

    def _name_words(self, *modules) -> None:
        # Maps are coded with parts of the loop of words: what a context is for depends on the block.
        code = modules[0].word_bin

        def watched(mode, r, buf, contexts, i, bit):
            self.name = [name for first, name in self.places if i >= first][-1]
            return code(mode, r, buf, contexts, i, bit)

        for module in modules:
            module.word_bin = watched

    def _name_payloads(self, payload, places: dict[str, tuple[str, str, list[tuple[int, str]]]]) -> None:
        read = payload.PayloadReader.read

        def watched(reader, block):
            self.unit, self.first_bit = reader.unit, reader.first_bit
            if block.clause in places:
                self.clause, self.structure, self.places = places[block.clause]
                self.name = f"{self.structure}_parameters"             # until its first bin
            return read(reader, block)

        payload.PayloadReader.read = watched


def main(arguments: list[str]) -> None:
    Watch(lambda element: print(json.dumps(element))).install()
    from ..decoder import StreamDecoder
    from ..inputs import load_any

    try:
        decoder = StreamDecoder(arguments[0], [load_any(path) for path in arguments[1:]], allow_prefix=True)
        for number in range(len(decoder.parsed.models)):
            for _ in decoder.tensors(number):
                pass
    except OmcError as e:
        print(json.dumps({"error": e.phase, "arguments": [e.code, e.message, e.unit, e.bit]}))


if __name__ == "__main__":
    main(sys.argv[1:])
