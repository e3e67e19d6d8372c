"""What a runtime needs: its packages, and how many threads it may take."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from retrieval.errors import MissingExtraError

_TELEMETRY = "openvino_telemetry"
"""A package that OpenVINO and NNCF report to their makers with, over the network, unless a file in the user's home says
no; they do without where it cannot be imported."""


def required(module: str, extra: str) -> Any:
    """Return a module of an optional package; OpenVINO's without its telemetry, unless it was imported before.

    Args:
        module: its name.
        extra: of this package, with which it is installed.

    Raises:
        MissingExtraError: it is not installed.
    """
    sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]  # None stops an import
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(error.name or module, extra, f"runtime {extra!r}") from None


def version_of(package: Any) -> str:
    """Return a module's version."""
    return str(getattr(package, "__version__", "unknown"))


def n_threads() -> int:
    """Return how many threads a runtime takes: `OMP_NUM_THREADS` where it is set, else one for each processor."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
