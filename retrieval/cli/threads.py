"""Threads and OpenMP runtimes: how many there are, and whether the native libraries get along in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrieval.cli.health import Finding, available_processors

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "KMP_DUPLICATE_LIB_OK",
    "TOKENIZERS_PARALLELISM",
)
ORDERS = (("torch", "faiss"), ("faiss", "torch"))
_TIMEOUT = 120.0


def check_threads() -> Iterator[Finding]:
    """Load torch and faiss in both orders, each time in a new process, and look at what they brought with them."""
    found: dict[str, Any] | None = None
    failed = False
    for order in ORDERS:
        result = _probe(order)
        name = " then ".join(order)
        if isinstance(result, str):
            failed = True
            fix = "reinstall both from one source: pip install --force-reinstall torch faiss-cpu"
            yield Finding("libraries", "problem", f"{name}: {result}", fix)
        else:
            found = result
    if found is None:
        return
    if not failed:
        yield Finding("libraries", "ok", "torch and faiss load and compute in one process, in both orders")
    threads = ", ".join(f"{library} {count}" for library, count in found["threads"].items())
    set_here = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
    detail = f"{threads}; {available_processors()} processors; {set_here or 'no variable limits them'}"
    too_many = max(found["threads"].values()) > available_processors()
    fix = f"set OMP_NUM_THREADS={available_processors()}" if too_many else ""
    yield Finding("threads", "note" if too_many else "ok", detail, fix)
    if found["cuda"]:
        yield Finding("gpu", "ok", "CUDA is available")
    yield _runtimes(found["runtimes"])


def _probe(order: tuple[str, ...]) -> dict[str, Any] | str:
    """Return what the probe found, or what happened to it."""
    command = [sys.executable, "-m", "retrieval.cli.native_probe", *order]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"hangs (stopped after {_TIMEOUT:.0f} s)"
    except OSError as error:
        return f"cannot start Python: {error}"
    if done.returncode < 0:
        return f"crashes ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["fails without a message"])[-1]
    return dict(json.loads(done.stdout))


def _runtimes(pools: list[dict[str, Any]] | None) -> Finding:
    if pools is None:
        return Finding("openmp", "note", "its runtimes cannot be listed", "pip install threadpoolctl")
    runtimes = {pool["filepath"]: pool["prefix"] for pool in pools if pool["user_api"] == "openmp"}
    kinds = set(runtimes.values())
    listed = ", ".join(
        f"{kind} ({Path(path).parent.name}/{Path(path).name})" for path, kind in sorted(runtimes.items())
    )
    if {"libiomp", "libomp"} <= kinds:
        # Known to crash or hang, see threadpoolctl's multiple_openmp.md.
        fix = "install torch and faiss-cpu from one source, or set OMP_NUM_THREADS=1"
        return Finding("openmp", "problem", f"Intel's and LLVM's runtime in one process: {listed}", fix)
    if len(kinds) > 1:
        return Finding(
            "openmp", "note", f"runtimes of several kinds in one process: {listed}", "set OMP_NUM_THREADS=1 if it hangs"
        )
    return Finding("openmp", "ok", listed or "no runtime")
