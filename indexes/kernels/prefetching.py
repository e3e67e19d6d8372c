"""Asking for memory before it is needed: the processor's prefetch instruction, which numba does not offer."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.core.config import DISABLE_JIT
from numba.extending import intrinsic

ROWS_IN_LINE = 32
"""Rows of 16 bits that arrive together: processors fetch 64 bytes at a time."""

_READ, _TO_ALL_CACHES, _DATA = 0, 3, 1  # what LLVM's intrinsic calls rw, locality and cache type


def _prefetch(_context: Any, array: Any, _position: Any) -> Any:
    """Declare `prefetch(array, position)`: ask for the cache line that holds this element.

    Unlike reading it, this does not make the processor wait, neither now nor, as a pending read does, when there is no
    room for further instructions. A position beyond the array does no harm: a prefetch touches nothing.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        ir, pointer, number = cgutils.ir, cgutils.voidptr_t, cgutils.int32_t
        declared = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, declared, "llvm.prefetch")
        options = [ir.Constant(number, option) for option in (_READ, _TO_ALL_CACHES, _DATA)]
        builder.call(function, [builder.bitcast(builder.gep(data, [arguments[1]]), pointer), *options])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


prefetch: Any = (lambda _array, _position: None) if DISABLE_JIT else intrinsic(_prefetch)
