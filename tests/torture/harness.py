"""How the attacks run: in folders in memory, in processes that can be killed, with all file operations recorded."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from indexes.file_operations import Operation, watch
from retrieval import staging as staging_area
from retrieval.collection.manifest_file import MANIFEST_NAME
from tests.torture.outcome import MEMORY, Outcome, Profile


class Broken(Exception):
    """A promise is broken; the message says which."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=MEMORY, prefix="torture-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def recorded(action: Callable[[], object]) -> list[Operation]:
    """Return the operations of an action, with their content."""
    operations: list[Operation] = []

    def note(operation: Operation) -> None:
        content = bytes(operation.content)
        operations.append(
            Operation(operation.kind, operation.path, operation.target, operation.offset, content=content)
        )

    with watch(note):
        action()
    return operations


def commit_of(operations: list[Operation]) -> int:
    """Return the number of the operation that is the commit."""
    for number, operation in enumerate(operations):
        if operation.kind == "rename" and operation.target is not None and operation.target.name == MANIFEST_NAME:
            return number
    raise Broken("the job made no commit")


@contextmanager
def small_blocks(n_bytes: int = 1) -> Iterator[None]:
    """Stage what is encoded at once, so that the operations of the staging area are attacked, too."""
    usual, staging_area.BLOCK_BYTES = staging_area.BLOCK_BYTES, n_bytes
    try:
        yield
    finally:
        staging_area.BLOCK_BYTES = usual


def sample(rng: np.random.Generator, total: int, wanted: int) -> list[int]:
    """Return `wanted` of the numbers below `total`, ascending; all when they are fewer."""
    return sorted(rng.permutation(total)[:wanted].tolist())


def isolated(attack: Callable[[Profile], list[Outcome]], profile: Profile) -> list[Outcome]:
    """Run an attack in a fresh process with one thread: it forks, which a process with many threads must not."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(attack, profile).result()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads


def copy_of(folder: Path, *, created: bool = False) -> Path:
    """Return the place for one try: a fresh copy of `folder/prepared`, or nothing where it is to be created."""
    path = folder / "tried" / "c"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    if not created:
        shutil.copytree(folder / "prepared", path)
    return path
