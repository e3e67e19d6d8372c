"""Compiling the numba kernels: where the machine code is kept, and what happens when it cannot be.

Kernels are compiled at first use and kept in the user's cache directory (or in `NUMBA_CACHE_DIR`), so that a machine
compiles once. The code is never kept beside an index, nor beside the sources, which may be installed read-only. A cache
that is full, read-only or damaged costs time, never a search.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

logger = logging.getLogger(__name__)

_KERNEL_SOURCES = (
    "block_checksums.py",
    "dense_scan.py",
    "dense_scoring.py",
    "kernels/*.py",
    "linked_kernels.py",
    "list_kernels.py",
    "packing_kernels.py",
    "postings.py",
    "segment_table.py",
    "string_kernels.py",
)
"""Modules of kernels, and those whose constants are compiled into them."""

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def cache_directory() -> Path | None:
    """Return where compiled kernels are kept; None where nothing can be written there."""
    import platformdirs
    from numba import config

    chosen = config.CACHE_DIR or platformdirs.user_cache_dir("retrieval-engine", appauthor=False)
    directory = Path(chosen) / f"kernels-{_sources_digest()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        logger.warning("kernels are compiled anew in each process: %s is not writable (%s)", directory, error.strerror)
        return None
    return directory


def _sources_digest() -> str:
    """Return a digest of all kernel sources: numba looks at a kernel's own file only, not at others."""
    here = Path(__file__).parent
    sources = [path for pattern in _KERNEL_SOURCES for path in sorted(here.glob(pattern))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def inner_kernel(function: Function) -> Function:
    """Declare a numba kernel that only other kernels call: part of their machine code, see `indexes.linked_kernels`."""
    from numba import config, njit

    if config.DISABLE_JIT:
        return function
    from indexes.linked_kernels import LinkedCompiler

    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(nogil=True, error_model="numpy", pipeline_class=LinkedCompiler, **wrappers)(function)


def kernel(function: Function) -> Function:
    """Declare a numba kernel: compiled at first use, without the interpreter's lock, by IEEE 754 to the bit.

    Floating-point sums are not reordered and not fused (no `fastmath`), for equal scores must stay equal. Kernels take
    flat arrays, those that they only read as read-only views (see `read_only`): one specialisation then serves arrays
    in memory and memory maps alike.
    """
    from numba import njit

    dispatcher = njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    return _kept(dispatcher, function)


def _kept(dispatcher: Any, function: Any) -> Any:
    """Return the dispatcher of a kernel, made to keep its machine code where the others' is."""
    from numba import config

    directory = cache_directory()
    if directory is None or not hasattr(dispatcher, "enable_caching"):  # the latter with NUMBA_DISABLE_JIT=1
        return dispatcher
    # numba looks at this setting while the cache of a function is made; other people's functions keep theirs.
    previous, config.CACHE_DIR = config.CACHE_DIR, str(directory)
    try:
        storage = _lenient_cache()(function)
    except (OSError, RuntimeError) as error:
        logger.warning("kernel %s is compiled anew in each process: %s", function.__name__, error)
        return dispatcher
    finally:
        config.CACHE_DIR = previous
    if directory in Path(storage.cache_path).parents:  # and not in a place that numba falls back to
        dispatcher._cache = storage
    return dispatcher


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, which is how kernels take what they do not write."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@cache
def _lenient_cache() -> Any:
    """Return numba's cache of one function's machine code, made so that its failures are only logged."""
    from numba.core.caching import FunctionCache

    class LenientCache(FunctionCache):
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                found = super().load_overload(sig, target_context)
            except Exception as error:  # whatever a damaged file makes the unpickler raise
                logger.warning("kernel cache %s is damaged and compiled again (%s)", self.cache_path, error)
                self._forget()
                found = None
            if found is None and not self._py_func.__name__.startswith("_"):
                logger.info("compiling kernel %s, once on this machine", self._py_func.__name__)
            return found

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except OSError as error:
                logger.warning("compiled kernel was not kept in %s (%s)", self.cache_path, error.strerror or error)

        def _forget(self) -> None:
            try:
                self.flush()
            except OSError as error:
                logger.warning("damaged kernel cache stays in %s (%s)", self.cache_path, error.strerror or error)

        def holds_any(self) -> bool:
            return bool(self._cache_file._load_index())

    return LenientCache


def kernels_are_cached() -> bool:
    """Tell whether all kernels are compiled already, for this process or on disk.

    Use it to announce `warm_up`, which takes some 25 seconds otherwise. A cache directory shared by machines with
    different processors may hold only another machine's code; this is not looked at.
    """
    from indexes import kernels, list_kernels, packing_kernels, string_kernels

    modules = (kernels, list_kernels, packing_kernels, string_kernels)
    functions = [function for module in modules for function in vars(module).values()]
    declared = [function for function in functions if hasattr(function, "nopython_signatures")]
    called = [function for function in declared if not function.targetoptions.get("no_cpython_wrapper")]
    return all(function.nopython_signatures or _is_on_disk(function) for function in called)


def _is_on_disk(dispatcher: Any) -> bool:
    try:
        return dispatcher._cache.holds_any()
    except Exception:  # no cache, or a damaged one
        return False


def warm_up() -> None:
    """Compile all kernels, or load them from the cache, by building, merging, searching and reading a tiny index.

    Call it before the first search where its latency matters, or to announce the wait on a new machine.
    """
    from indexes.arrays import ArrayFolder
    from indexes.bm25 import BM25Searcher, BM25Settings, LexicalSegment
    from indexes.inverted import InvertedIndex, InvertedIndexWriter, merge_inverted
    from indexes.strings import Strings, StringsWriter

    with tempfile.TemporaryDirectory() as name:
        first, second = Path(name) / "first", Path(name) / "second"
        first.mkdir()
        second.mkdir()
        writer = InvertedIndexWriter()
        writer.add([([0, 1], 1)])
        writer.add([([1], 1)])
        writer.write(first, ["a", "b"])
        merge_inverted([(InvertedIndex.open(first), np.array([0]))], np.array([0]), second)
        alive = np.array([True, False])
        segment = LexicalSegment(InvertedIndex.open(first), alive, np.arange(2))
        searcher = BM25Searcher([segment], BM25Settings())
        searcher.search({"a": 1.0}, 1)
        searcher.score({"a": 1.0}, 0, np.array([0]))
        segment.index.rows_with(0)
        with StringsWriter(first, "ids") as ids:
            ids.extend([b"a", b"b"])
        Strings(ArrayFolder(first), "ids").some(np.zeros(100, np.int64))
