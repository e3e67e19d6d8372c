"""What is freed stays in the process: asked of the C library itself, which counts the blocks that it maps apart."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, torch
from retrieval.execution.freed_memory import keep_freed_memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Counts
library.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "kept":
    keep_freed_memory()
before = library.mallinfo2().hblks
assert library.malloc(ctypes.c_size_t(31 << 20))
print(library.mallinfo2().hblks - before)
"""


def mapped_apart(how):
    """Return how many blocks a block of 31 MiB added to those that go back to the system as soon as they are freed."""
    run = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True, timeout=120)
    return int(run.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="what is tested is a habit of the GNU C library, from 2.33 on",
)
def test_a_large_block_is_not_given_back_to_the_system(monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    assert mapped_apart("as it is") == 1, "the library has learnt it by itself"
    assert mapped_apart("kept") == 0
