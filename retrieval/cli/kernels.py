"""Telling people about the wait when the search kernels are compiled, which happens once on a machine."""

from __future__ import annotations

from retrieval.cli.terminal import note

_SECONDS = 15
"""What compiling takes on a slow machine."""


def announce_compilation() -> None:
    """Say on standard error that kernels are going to be compiled, where they are not cached, and compile them.

    Call it before a command indexes or searches by BM25.
    """
    from indexes.compilation import kernels_are_cached, warm_up

    if not kernels_are_cached():
        note(f"compiling the search kernels, once on this machine (up to {_SECONDS} s)")
        warm_up()
