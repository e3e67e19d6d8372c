"""Where a result comes from: the versions of the packages that have a say in it, and the machine."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from indexes.storage import sha256_of
from retrieval.encoders.base import fingerprint

_ROOT = Path(__file__).parents[1]

_WITHOUT_SAY = (
    # What asks for results, and what is made of them.
    "eval/comparison/",
    "eval/reports/",
    "eval/resampling.py",
    "eval/significance.py",
    "retrieval/__main__.py",
    "retrieval/cli/",
    # What measures something other than tasks.
    "eval/benchmarks/",
    "eval/command_line.py",
    "eval/experiments/",
    "eval/mteb_models/",
    "eval/mteb_parity/",
    "eval/outcome.py",
    "eval/pools.py",
    "eval/probes/",
    "eval/protocols.py",
    "eval/scored_pairs.py",
    "eval/tuning/",
    # What makes models, which are then known by their weights.
    "retrieval/distillation/",
    "retrieval/training/",
    # What only demonstrates or shows.
    "retrieval/snippets.py",
    "retrieval/standard_library/",
)
"""Folders and modules that no task imports, so that an edit of them leaves results as they are."""

_PACKAGES = (
    "retrieval-engine",
    "ir-measures",
    "pytrec-eval-terrier",
    "numpy",
    "numba",
    "faiss-cpu",
    "PyStemmer",
    "sentence-transformers",
    "transformers",
    "tokenizers",
    "torch",
    "scikit-learn",
    "scipy",
    "onnxruntime",
    "openvino",
    "nncf",
    "bm25s",
    "mteb",
)


class Described(Protocol):
    """What can say who it is: an encoder, a reranker."""

    def identity(self) -> dict[str, Any]: ...  # noqa: D102
    def execution(self) -> dict[str, Any]: ...  # noqa: D102


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that have a say in a result, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def provenance() -> dict[str, Any]:
    """Return the versions of packages, the fingerprint of this engine's code and the machine, as JSON values."""
    return {"versions": package_versions(), "code": code_fingerprint(), "machine": describe_machine()}


@cache
def code_fingerprint(root: Path = _ROOT) -> str:
    """Return 32 hexadecimal digits for the code that has a say in a task's result, see `deciding_modules`.

    A version does not change with each edit; this does.

    Args:
        root: the folder of the three packages.
    """
    return fingerprint({name: sha256_of(root / name) for name in deciding_modules(root)})


def deciding_modules(root: Path = _ROOT) -> list[str]:
    """Return the modules that have a say in a task's result, by their paths below the root.

    That is what tasks import, and all else of the three packages that is not known to be of no account to them: reports
    and comparisons of results, benchmarks, experiments, probes, tuning, training, the command line.

    Args:
        root: the folder of the three packages.
    """
    paths = (path for package in ("indexes", "retrieval", "eval") for path in (root / package).rglob("*.py"))
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    return [name for name in names if not name.startswith(_WITHOUT_SAY)]


def described(model: Described) -> dict[str, Any]:
    """Return who an encoder or a reranker is, as JSON values: its identity, how it computes, a fingerprint of both."""
    facts = {"identity": model.identity(), "execution": model.execution()}
    return {"fingerprint": fingerprint(facts), **facts}


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
