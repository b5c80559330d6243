"""Eight unsigned integers of 32 bits as one value, for loops that do the same to each of eight states.

Compiled, an Eight is a vector of the processor; as written, a list of eight integers. Its operators work on each of the
eight, modulo 2^32; what it is combined with is another, or an integer for all. VECTORS tells whether vectors of this
machine do all of it (AVX-512, which looks eight elements up and spreads what was read over some of eight, in an
instruction each); without it a loop over single integers is faster, and who has the choice goes by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .compiler import COMPILE, unsigned

LANES = 8
MARKED = 64                     # values that at_least() looks at


class Eight(list[int]):
    """As written. Of the operators those that loops use."""

    def _each(self, other: Any, of: Callable[[int, int], int]) -> Eight:
        others = other if isinstance(other, Eight) else [other] * LANES
        return Eight(of(x, int(y)) & 0xFFFFFFFF for x, y in zip(self, others))

    def __add__(self, other: Any) -> Eight:                    # type: ignore[override]
        return self._each(other, int.__add__)

    def __mul__(self, other: Any) -> Eight:
        return self._each(other, int.__mul__)

    def __and__(self, other: Any) -> Eight:
        return self._each(other, int.__and__)

    def __lshift__(self, other: Any) -> Eight:
        return self._each(other, int.__lshift__)

    def __rshift__(self, other: Any) -> Eight:
        return self._each(other, int.__rshift__)


if TYPE_CHECKING:
    import numpy as np

    VECTORS: bool

    def eight_at(data: np.ndarray, q: int) -> Eight:
        """The eight whose bytes, the lowest first, begin at data[q] (uint8)."""

    def bytes_at(data: np.ndarray, q: int) -> Eight:
        """The bytes data[q:q + 8]."""

    def looked_up(table: np.ndarray, first: int, index: Eight) -> Eight:
        """table[first + k] (uint32) for each k of `index`."""

    def put_bytes(out: np.ndarray, i: int, values: Eight) -> None:
        """The low bytes of `values` into out[i:i + 8] (uint8)."""

    def refilled(x: Eight, least: int, data: np.ndarray, q: int) -> tuple[Eight, int]:
        """Those of x below `least` are shifted up by 16 bits and take the words that follow from data[q] on, the first
        of them the first. Returns x, and how many words were taken. Sixteen bytes from data[q] on are read."""

    def lane_of(x: Eight, k: int) -> int:
        """Number k, 0 <= k < 8."""

    def at_least(values: np.ndarray, i: int, low: int) -> int:
        """Bit k of the result is 1 where values[i + k] >= low (uint8), of MARKED values. On any machine."""

    def lowest_one(x: int) -> int:
        """The number of the lowest bit of x that is 1; 64 for 0."""

    def ones(x: int) -> int:
        """How many bits of x are 1."""
elif not COMPILE:
    VECTORS = True

    def eight_at(data, q):
        return Eight(int.from_bytes(bytes(data[q + 4 * k : q + 4 * k + 4]), "little") for k in range(LANES))

    def bytes_at(data, q):
        return Eight(map(int, data[q : q + LANES]))

    def looked_up(table, first, index):
        return Eight(int(table[first + k]) for k in index)

    def put_bytes(out, i, values):
        out[i : i + LANES] = [x & 255 for x in values]

    def refilled(x, least, data, q):
        found, taken = Eight(x), 0
        for k, value in enumerate(x):
            if value < least:
                found[k] = value << 16 & 0xFFFFFFFF | int(data[q + 2 * taken]) | int(data[q + 2 * taken + 1]) << 8
                taken += 1
        return found, taken

    def lane_of(x, k):
        return x[k]

    def at_least(values, i, low):
        return sum(1 << k for k in range(MARKED) if values[i + k] >= low)

    def lowest_one(x):
        return (x & -x).bit_length() - 1 if x else MARKED

    ones = int.bit_count
else:
    import operator

    import numba
    from llvmlite import binding, ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic, models, overload, register_model

    _FEATURES = binding.get_host_cpu_features()
    VECTORS = bool(_FEATURES.get("avx512f") and _FEATURES.get("avx512vl")
                   and not numba.config.CPU_NAME and not numba.config.CPU_FEATURES)
    _BIT, _BYTE, _WORD, _LONG = (ir.IntType(n) for n in (1, 8, 32, 64))
    _EIGHT = ir.VectorType(_WORD, LANES)

    class _EightType(types.Type):
        def __init__(self):
            super().__init__("Eight")

    _eight = _EightType()

    @register_model(_EightType)
    class _EightModel(models.PrimitiveModel):
        def __init__(self, manager, kind):
            super().__init__(manager, kind, _EIGHT)

    def _all(value):
        return ir.Constant(_EIGHT, [value] * LANES)

    def _place(context, builder, kind, array, index):
        # Where array[index] lies.
        return builder.gep(context.make_array(kind)(context, builder, array).data, [index])

    def _load(context, builder, kind, array, index, vector):
        found = builder.load(builder.bitcast(_place(context, builder, kind, array, index), vector.as_pointer()))
        found.align = 1
        return found

    def _call(builder, name, result, arguments):
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    @intrinsic
    def _spread(context, x):
        def code(context, builder, signature, arguments):
            one = builder.insert_element(ir.Constant(_EIGHT, ir.Undefined), builder.trunc(arguments[0], _WORD),
                                         ir.Constant(_WORD, 0))
            return builder.shuffle_vector(one, ir.Constant(_EIGHT, ir.Undefined), _all(0))
        return _eight(types.uint64), code

    def _operation(instruction):
        @intrinsic
        def each(context, x, y):
            def code(context, builder, signature, arguments):
                return getattr(builder, instruction)(*arguments)
            return _eight(_eight, _eight), code
        return each

    def _operator(symbol, instruction):
        each = _operation(instruction)

        def implementation(x, y):
            if x == _eight and y == _eight:
                return lambda x, y: each(x, y)
            if x == _eight and isinstance(y, types.Integer):
                return lambda x, y: each(x, _spread(unsigned(y)))
            return None
        overload(symbol, inline="always")(implementation)

    for _symbol, _instruction in ((operator.add, "add"), (operator.mul, "mul"), (operator.and_, "and_"),
                                  (operator.lshift, "shl"), (operator.rshift, "lshr")):
        _operator(_symbol, _instruction)

    @intrinsic
    def eight_at(context, data, q):
        def code(context, builder, signature, arguments):
            return _load(context, builder, signature.args[0], *arguments, _EIGHT)
        return _eight(data, types.uint64), code

    @intrinsic
    def bytes_at(context, data, q):
        def code(context, builder, signature, arguments):
            found = _load(context, builder, signature.args[0], *arguments, ir.VectorType(_BYTE, LANES))
            return builder.zext(found, _EIGHT)
        return _eight(data, types.uint64), code

    @intrinsic
    def looked_up(context, table, first, index):
        def code(context, builder, signature, arguments):
            table, first, index = arguments
            place = builder.bitcast(_place(context, builder, signature.args[0], table, first), _BYTE.as_pointer())
            every = ir.Constant(ir.VectorType(_BIT, LANES), [1] * LANES)
            return _call(builder, "llvm.x86.avx512.mask.gather3siv8.si", _EIGHT,
                         [_all(0), place, index, every, ir.Constant(_WORD, 4)])
        return _eight(table, types.uint64, _eight), code

    @intrinsic
    def put_bytes(context, out, i, values):
        def code(context, builder, signature, arguments):
            out, i, values = arguments
            vector = ir.VectorType(_BYTE, LANES)
            place = builder.bitcast(_place(context, builder, signature.args[0], out, i), vector.as_pointer())
            builder.store(builder.trunc(values, vector), place).align = 1
            return context.get_dummy_value()
        return types.void(out, types.uint64, _eight), code

    @intrinsic
    def refilled(context, x, least, data, q):
        result = types.Tuple((_eight, types.uint64))

        def code(context, builder, signature, arguments):
            x, least, data, q = arguments
            limit = builder.insert_element(ir.Constant(_EIGHT, ir.Undefined), builder.trunc(least, _WORD),
                                           ir.Constant(_WORD, 0))
            limit = builder.shuffle_vector(limit, ir.Constant(_EIGHT, ir.Undefined), _all(0))
            more = builder.icmp_unsigned("<", x, limit)
            words = _load(context, builder, signature.args[2], data, q, ir.VectorType(ir.IntType(16), LANES))
            words = _call(builder, "llvm.x86.avx512.mask.expand.v8i32", _EIGHT,
                          [builder.zext(words, _EIGHT), _all(0), more])
            found = builder.select(more, builder.or_(builder.shl(x, _all(16)), words), x)
            taken = builder.zext(builder.ctpop(builder.bitcast(more, _BYTE)), _LONG)
            return context.make_tuple(builder, result, [found, taken])
        return result(_eight, types.uint64, data, types.uint64), code

    @intrinsic
    def lane_of(context, x, k):
        def code(context, builder, signature, arguments):
            return builder.zext(builder.extract_element(arguments[0], builder.trunc(arguments[1], _WORD)), _LONG)
        return types.uint64(_eight, types.uint64), code

    @intrinsic
    def at_least(context, values, i, low):
        def code(context, builder, signature, arguments):
            values, i, low = arguments
            vector = ir.VectorType(_BYTE, MARKED)
            limit = builder.insert_element(ir.Constant(vector, ir.Undefined), builder.trunc(low, _BYTE),
                                           ir.Constant(_WORD, 0))
            limit = builder.shuffle_vector(limit, ir.Constant(vector, ir.Undefined),
                                           ir.Constant(ir.VectorType(_WORD, MARKED), [0] * MARKED))
            found = _load(context, builder, signature.args[0], values, i, vector)
            return builder.bitcast(builder.icmp_unsigned(">=", found, limit), _LONG)
        return types.uint64(values, types.uint64, types.uint64), code

    @intrinsic
    def lowest_one(context, x):
        def code(context, builder, signature, arguments):
            return builder.cttz(arguments[0], ir.Constant(_BIT, 0))
        return types.uint64(types.uint64), code

    @intrinsic
    def ones(context, x):
        def code(context, builder, signature, arguments):
            return builder.ctpop(arguments[0])
        return types.uint64(types.uint64), code
