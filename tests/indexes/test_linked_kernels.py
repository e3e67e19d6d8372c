"""Kernels that only kernels call, in machine code of their callers."""

from __future__ import annotations

from operator import attrgetter

import numba
import numpy as np
import pytest

from indexes import linked_kernels
from indexes.compilation import inner_kernel

library_of = attrgetter("library")

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


def made():
    """Return a kernel that calls another one, which calls a third, and the two."""

    @inner_kernel
    def doubled(number):
        return 2 * number

    @inner_kernel
    def scaled(numbers, factor):
        copy = np.empty(len(numbers))
        for place in range(len(numbers)):
            copy[place] = doubled(numbers[place]) * factor
        return copy

    @numba.njit
    def total(numbers):
        return scaled(numbers, 1).sum() + 10 * scaled(numbers, 3).sum()

    return total, scaled, doubled


def test_inner_kernels_are_linked_into_the_kernel_that_calls_them():
    total, scaled, doubled = made()
    assert total(np.array([1.0, 2.5])) == 7 + 210
    for inner in (scaled, doubled):
        assert inner.overloads
        for result in inner.overloads.values():
            assert isinstance(library_of(result), linked_kernels.LinkedLibrary)
            assert library_of(result).get_pointer_to_function(result.fndesc.llvm_func_name) == 0


def test_without_numbas_inner_parts_kernels_are_compiled_in_its_own_way(monkeypatch):
    monkeypatch.setattr(linked_kernels, "IS_POSSIBLE", False)
    total, scaled, _ = made()
    assert total(np.array([1.0, 2.5])) == 7 + 210
    assert scaled.overloads
    assert not any(isinstance(library_of(result), linked_kernels.LinkedLibrary) for result in scaled.overloads.values())


def test_this_numba_is_as_expected():
    assert linked_kernels.IS_POSSIBLE
