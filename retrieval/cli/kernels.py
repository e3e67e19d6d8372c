"""Loading the search kernels: quickly where they are compiled, with a word of warning where they are not."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator

from retrieval.cli.terminal import note

_SECONDS = 40
"""What compiling takes on a slow machine."""

_BLAS = "scipy.linalg.cython_blas"


def prepare_kernels() -> None:
    """Load numba, and say on standard error when kernels are going to be compiled, which happens once on a machine.

    Call it before a command indexes or searches by BM25, and after it has opened the collection and read its options:
    compiling takes a while, and a mistake in these should be said before.
    """
    with _without_blas():
        importlib.import_module("numba.np.arraymath")
    from indexes.compilation import kernels_are_cached, warm_up

    if not kernels_are_cached():
        note(f"compiling the search kernels, once on this machine (up to {_SECONDS} s)")
        warm_up()


@contextlib.contextmanager
def _without_blas() -> Iterator[None]:
    """Keep numba from importing scipy for the matrix products that no kernel of ours has.

    That takes a fifth of a cold search. It is for the command line only, whose process runs nobody else's kernels.
    """
    if _BLAS in sys.modules:
        yield
        return
    sys.modules[_BLAS] = None  # type: ignore[assignment]  # makes an import fail, as if scipy were not installed
    try:
        yield
    finally:
        del sys.modules[_BLAS]
