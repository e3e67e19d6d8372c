"""Encoding that is killed, and how much of it the next run does again: no more than came after the last block."""

from __future__ import annotations

import functools
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from indexes.file_operations import Operation, watch
from indexes.vectors import normalise
from retrieval import Collection, Document, FunctionEncoder
from tests.torture import harness, workload
from tests.torture.harness import Broken
from tests.torture.outcome import Outcome, Profile

_TEXTS = 300
_BLOCK_BYTES = 1000
_BLOCK_TEXTS = 32  # vectors of 8 numbers


class SmallBatches(FunctionEncoder):
    """Encodes a few texts at a time, as a model on a small device does."""

    def execution(self) -> dict[str, Any]:
        return {"runtime": "function", "batch_tokens": 4}


class Log(NamedTuple):
    """What a run told before it ended.

    Attributes:
        encoded: numbers of the texts, in the order in which they were encoded.
        durable: how many of them were in blocks that were written to the end.
    """

    encoded: list[int]
    durable: int


def kill_encoders(profile: Profile, folder: Path) -> Outcome:
    """Kill encoding runs after a random number of texts, and count what the next run encodes again."""
    outcome = Outcome("encoding killed and gone on with", "kills")
    rng = np.random.default_rng([profile.seed, 2])
    documents = [
        Document(f"e{number}", f"{number} " + " ".join(rng.choice(workload.WORDS, 5))) for number in range(_TEXTS)
    ]
    most = 0
    for number in range(profile.pick(short=3, long=100)):
        outcome.tried += 1
        try:
            most = max(most, _try(folder / "encoding" / "c", documents, int(rng.integers(1, _TEXTS)), rng))
        except Exception as error:
            outcome.fail(f"seed {profile.seed}, kill {number}: {error!r}")
    outcome.notes = {"texts encoded again at most": f"{most} of {_TEXTS}"}
    return outcome


def _try(path: Path, documents: Sequence[Document], stop_after: int, rng: np.random.Generator) -> int:
    shutil.rmtree(path.parent, ignore_errors=True)
    Collection.create(path, encoder=workload.encoder())
    first = _run(path, documents, stop_after, extra_operations=int(rng.integers(0, 12)))
    second = _run(path, documents, None, 0)
    again = set(first.encoded) & set(second.encoded)
    if again & set(first.encoded[: first.durable]):
        raise Broken(f"{len(again)} texts were encoded again, though {first.durable} were durable")
    if len(again) > 2 * _BLOCK_TEXTS:  # a block that was being written, and what waited for the next
        raise Broken(f"{len(again)} texts were encoded again, a block holds {_BLOCK_TEXTS}")
    if set(first.encoded) | set(second.encoded) != set(range(_TEXTS)) or len(set(second.encoded)) < len(second.encoded):
        raise Broken("a text was left out or encoded twice in one run")
    collection = workload.open_again(path)
    (segment,) = collection.snapshot.segments
    expected = normalise(workload.word_counts([stored.text for stored in documents]))
    if segment.passages is None or not np.array_equal(segment.passages.vectors.vectors, expected):
        raise Broken("vectors differ from those of an uninterrupted run")
    if collection.verify().problems or list(collection) != list(documents):
        raise Broken("the collection differs from that of an uninterrupted run")
    workload.check_leftovers(path)
    return len(again)


def _run(path: Path, documents: Sequence[Document], stop_after: int | None, extra_operations: int) -> Log:
    """Add the documents in a child, which is killed some file operations after it has encoded `stop_after` texts."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            with harness.small_blocks(_BLOCK_BYTES), watch(functools.partial(_tell_block, writing)):
                Collection.open(path, encoder=_telling_encoder(writing)).add(documents)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    lines: list[str] = []
    with os.fdopen(reading) as pipe:
        remaining = extra_operations
        for line in pipe:
            lines.append(line.strip())
            if stop_after is not None and sum(told.isdigit() for told in lines) >= stop_after:
                remaining -= 1
                if remaining < 0:
                    os.kill(child, signal.SIGKILL)
                    stop_after = None
    os.waitpid(child, 0)
    encoded, durable, waiting = [], 0, None
    for line in lines:
        if waiting is not None:  # something came after the rename, so it has happened
            durable, waiting = waiting, None
        if line.isdigit():
            encoded.append(int(line))
        elif line == "rename":
            waiting = len(encoded)
    return Log(encoded, durable)


def _telling_encoder(writing: int) -> FunctionEncoder:
    def encode(texts: list[str]) -> np.ndarray:
        vectors = workload.word_counts(texts)
        os.write(writing, "".join(text.split()[0] + "\n" for text in texts).encode())
        return vectors

    return SmallBatches(encode, name="words", version=1, dimension=len(workload.WORDS))


def _tell_block(writing: int, operation: Operation) -> None:
    if operation.path.name.endswith(".safetensors.tmp") or operation.path.parent.name == "staging":
        os.write(writing, f"{operation.kind}\n".encode())
