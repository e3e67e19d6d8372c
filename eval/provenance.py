"""Where a result comes from: the versions of the packages that have a say in it, and the machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "retrieval-engine",
    "ir-measures",
    "pytrec-eval-terrier",
    "numpy",
    "numba",
    "faiss-cpu",
    "PyStemmer",
    "sentence-transformers",
    "torch",
    "bm25s",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that have a say in a result, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_machine() -> dict[str, str | int]:
    """Return processor, number of cores that this process may use, and operating system; no names of host or user."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"processor": _processor(), "cores": cores, "system": f"{platform.system()} {platform.machine()}"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
