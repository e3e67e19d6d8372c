"""Memory that a batch gives back stays for the next one; it does not go to the system and come back page by page."""

from __future__ import annotations

from functools import cache

_LARGEST_BLOCK = (32 << 20) - (64 << 10)
"""Bytes of a block: the GNU C library learns from blocks of up to 32 MiB, what it keeps of each included."""


@cache
def keep_freed_memory() -> None:
    """Let the GNU C library keep freed memory, 64 MiB at the end of each of its arenas; once in a process is enough.

    It gives the free end of an arena back to the system, and maps large blocks apart, which go back as soon as they are
    freed. From blocks of the second kind it learns what to keep: blocks as large as the largest one, up to 32 MiB, and
    at an arena's end twice that (mallopt(3), M_MMAP_THRESHOLD). The activations of a batch, each some megabytes, teach
    it too little: often, by where the last small block lies, each batch has its pages cleared by the system anew, which
    took up to three hundredths of the time of MiniLM. A block of nearly 32 MiB, freed at once, teaches it all there is
    to learn. Where memory is managed in another way, or the user has set these numbers (MALLOC_TRIM_THRESHOLD_ and
    others), nothing changes.
    """
    import torch

    torch.empty(_LARGEST_BLOCK, dtype=torch.uint8, device="cpu")
