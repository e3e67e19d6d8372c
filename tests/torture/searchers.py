"""Crafted searchers: files of approximate searchers, mutated, with nothing but the engine's own checks to notice it.

No checksum guards the files here, as when a crafted index carries checksums of its own content. Whatever they hold, a
searcher either refuses to open with a StorageError or answers: existing passages, finite scores, and those exact. It
runs in a forked process, so that a crash, a hang or an allocation without bound is seen and counted.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from indexes.dense import DenseSegment
from indexes.errors import StorageError
from indexes.searchers import (
    BinarySettings,
    HNSWSettings,
    Int8Settings,
    IVFPQSettings,
    SearcherSettings,
    build_searcher,
    kind_of,
    open_searcher,
)
from indexes.searchers.rescoring import search_with
from indexes.vectors import VectorStore, VectorStoreWriter
from tests.torture.outcome import MEMORY, Outcome, Profile

N, DIMENSION, QUERIES = 500, 12, 5
SECONDS = 20  # that opening and searching may take; some milliseconds is usual
BYTES = 512 << 20  # of address space more than there was before; the arrays have some kilobytes

GRAPH_LINKS = 4
# Of every kind the one that is attacked, and another that its files are swapped with.
SETTINGS: list[tuple[SearcherSettings, SearcherSettings]] = [
    (HNSWSettings(m=GRAPH_LINKS, ef_construction=20, ef_search=30), HNSWSettings(m=6, ef_construction=10)),
    (IVFPQSettings(n_lists=20, n_probe=3, m=4, bits=5), IVFPQSettings(n_lists=9, m=3, bits=8)),
    (Int8Settings(), Int8Settings(oversample=7)),
    (BinarySettings(), BinarySettings(oversample=2)),
]

INTEGERS = [-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 63, 255, N - 1, N, N + 1, 10**9, 2**31 - 1, 2**31, 2**32, 2**63 - 1]
FLOATS = [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1.9e15, 2.1e15, 1e-45, 0.0, -1.0]
JSON_VALUES = [*INTEGERS, 10**30, -1.5, 1e300, True, None, "", "8", [], {}, "hnsw", "ivf_pq"]
TYPES = ["|O", "<f8", ">f4", ">i4", "<i8", "|u1", "|i1", "<u4", "<f4", "<i4", "|V1000000000", "<U9", "|b1", "<M8[s]"]
LENGTHS = [0, 1, 2, N - 1, N, N + 1, DIMENSION, -1, 2**31, 2**40, 2**62, 2**63, 10**30]


@dataclass
class Target:
    """A searcher that was built well, and what is needed to judge its mutations."""

    directory: Path
    files: dict[str, bytes]
    others: dict[str, bytes]
    segment: DenseSegment
    queries: np.ndarray
    truth: np.ndarray = field(init=False)  # (n_queries, n) exact scores

    def __post_init__(self) -> None:
        self.truth = self.queries.astype(np.float64) @ self.segment.store.vectors.astype(np.float64).T


def run(profile: Profile) -> list[Outcome]:
    """Mutate every kind of searcher, open it and search."""
    tries = profile.pick(short=45, long=1600)
    outcomes = [Outcome(f"crafted {kind_of(settings)} searchers", "corruptions") for settings, _ in SETTINGS]
    if not hasattr(os, "fork"):
        for outcome in outcomes:
            outcome.notes["left out"] = "this system cannot fork"
        return outcomes
    work = Path(tempfile.mkdtemp(prefix="crafted-searchers-", dir=MEMORY))
    try:
        segment, queries = _collection(work / "vectors", profile.seed)
        for number, outcome in enumerate(outcomes):
            _attack(outcome, _target(work, number, segment, queries), tries, [profile.seed, number])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return outcomes


def _collection(directory: Path, seed: int) -> tuple[DenseSegment, np.ndarray]:
    rng = np.random.default_rng(seed)
    directory.mkdir()
    with VectorStoreWriter(directory, DIMENSION) as writer:
        writer.append(rng.standard_normal((N, DIMENSION)), np.arange(N))
    queries = rng.standard_normal((QUERIES, DIMENSION)).astype(np.float32)
    return DenseSegment(VectorStore.open(directory), None, np.arange(N)), queries


def _target(work: Path, number: int, segment: DenseSegment, queries: np.ndarray) -> Target:
    builds = []
    for role, settings in zip(("target", "other"), SETTINGS[number], strict=True):
        directory = work / f"{role}-{number}"
        directory.mkdir()
        build_searcher(settings, [segment.store], directory)
        builds.append({path.name: path.read_bytes() for path in sorted(directory.iterdir())})
    return Target(work / f"target-{number}", builds[0], builds[1], segment, queries)


def _attack(outcome: Outcome, target: Target, tries: int, seed: list[int]) -> None:
    _open_and_search(target)  # loads and compiles in this process what its children then have
    if (answer := _in_a_child(target)) != "answered":
        outcome.fail(f"the searcher as it was built: {answer}")
    answers = {"refused": 0, "answered": 0}
    for step in range(tries):
        rng = np.random.default_rng([*seed, step])
        files, done = _mutated(rng, target)
        _write(target.directory, files)
        answer = _in_a_child(target)
        if answer in answers:
            answers[answer] += 1
        else:
            outcome.fail(f"seed {[*seed, step]}, {', '.join(done)}: {answer}")
        outcome.tried += 1
    outcome.notes |= {name: f"{count:,}" for name, count in answers.items()}


def _mutated(rng: np.random.Generator, target: Target) -> tuple[dict[str, bytes], list[str]]:
    """Return other files than the searcher's, and what was done to them."""
    files, done = dict(target.files), []
    while files == target.files:
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
            name = sorted(target.files)[rng.integers(len(target.files))]
            if name in files:
                done.append(f"{mutation.__name__[1:]} {name}")
                mutation(rng, files, name, target)
    return files, done


def _write(directory: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)


def _in_a_child(target: Target) -> str:
    """Return "answered", "refused", or what went wrong."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process: the child needs none
        child = os.fork()
    if child == 0:
        try:
            _limit()
            os.write(writer, _open_and_search(target).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode(errors="replace")
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"no answer after {SECONDS} s" if number == signal.SIGALRM else f"killed by signal {number}"
    return answer or "died without a word"


def _limit() -> None:
    import resource

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if (pages := Path("/proc/self/statm")).exists():
        present = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (present + BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _open_and_search(target: Target) -> str:
    try:
        searcher = open_searcher(target.directory, N, DIMENSION)
    except StorageError as error:
        named = target.directory.name in str(error) and "build the searcher again" in str(error)
        return "refused" if named else f"an error that names no file or no way out: {error}"
    except BaseException:  # whatever it is, it is reported
        return traceback.format_exc(limit=-3)
    try:
        return _search(searcher, target)
    except BaseException:
        return traceback.format_exc(limit=-3)


def _search(searcher: Any, target: Target) -> str:
    some = np.random.default_rng(0).random(N) < 0.3
    for n in (1, 40, N):
        for allowed in (None, some):
            for positions in searcher.candidates(target.queries, n, allowed):
                if len(positions) and (positions[0] < 0 or positions[-1] >= N or (np.diff(positions) <= 0).any()):
                    return f"candidates outside the passages, or repeated: {positions}"
                if len(positions) > n or (allowed is not None and not allowed[positions].all()):
                    return f"more candidates than wanted, or some that were filtered out: {positions}"
    for k in (1, 10, N):
        for mask in (None, some):
            found = search_with(searcher, [0], [target.segment], target.queries, k, masks=[mask], threads=1)
            for hits, truth in zip(found, target.truth, strict=True):
                if len(hits.rows) != min(k, N if mask is None else int(some.sum())):
                    return f"{len(hits.rows)} hits of {k}"
                if not np.allclose(hits.scores, truth[hits.rows], rtol=1e-9, atol=1e-12):
                    return "scores that are not exact"
    return "answered"


Mutation = Callable[[np.random.Generator, dict[str, bytes], str, Target], None]


def _flip(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    content = bytearray(files[name])
    for _ in range(rng.integers(1, 9)):
        if content:
            content[rng.integers(len(content))] = rng.integers(256)
    files[name] = bytes(content)


def _cut(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    files[name] = files[name][: rng.integers(len(files[name]) + 1)]


def _extend(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    files[name] += rng.bytes(int(rng.integers(1, 5000)))


def _remove(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    if rng.random() < 0.2:  # the same error each time: more of it shows nothing
        del files[name]


def _swap(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    donor = target.others if rng.random() < 0.7 else target.files
    files[name] = donor[name if rng.random() < 0.7 else sorted(donor)[rng.integers(len(donor))]]


def _put(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    """Put extreme values into an array or the record, which stay well-formed."""
    if (array := _array(files[name])) is None:
        files[name] = _other_record(rng, files[name])
        return
    places = rng.integers(0, max(1, array.size), rng.choice([1, 1, 3, max(1, array.size)]))
    if not array.size:
        return
    if array.dtype.kind == "f":
        array.flat[places] = rng.choice(FLOATS)
    else:
        bounds = np.iinfo(array.dtype)
        array.flat[places] = np.clip(INTEGERS[rng.integers(len(INTEGERS))], bounds.min, bounds.max)
    files[name] = _npy(array)


def _scramble(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    """Replace or permute all values; they stay of the usual size, so that many get past the checks to a search."""
    if (array := _array(files[name])) is None or not array.size:
        return
    if rng.random() < 0.5:
        array = rng.permutation(array.reshape(-1)).reshape(array.shape)
    elif array.dtype.kind == "f":
        array = (rng.standard_normal(array.shape) * 10.0 ** rng.integers(-40, 16)).astype(array.dtype)
    else:
        array = rng.integers(array.min(), int(array.max()) + 1, array.shape).astype(array.dtype)
    files[name] = _npy(array)


def _reshape(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    """Write an array of another size, type or order, whole."""
    if (array := _array(files[name])) is None or not array.size:
        return
    changes: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda given: given[:-1],
        lambda given: given[:0],
        lambda given: np.concatenate([given, given]),
        lambda given: np.concatenate([given, given[:1]]),
        lambda given: given.reshape(-1),
        lambda given: given[..., None],
        lambda given: given[..., :-1],
        np.asfortranarray,
        lambda given: given.T,
        lambda given: given.astype(">f4"),
        lambda given: given.astype(np.float64),
        lambda given: np.zeros((), given.dtype),
    ]
    files[name] = _npy(changes[rng.integers(len(changes))](np.atleast_1d(array)))


def _head(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    """Give an array a header that promises something else than there is."""
    if (array := _array(files[name])) is None:
        return
    shape = list(array.shape)
    if rng.random() < 0.8:
        shape = [LENGTHS[place] for place in rng.integers(0, len(LENGTHS), rng.choice([1, 2, 2, 3, 40]))]
    descr = array.dtype.str if rng.random() < 0.6 else TYPES[rng.integers(len(TYPES))]
    order = bool(rng.random() < 0.2)
    header = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {tuple(shape)!r}, }}".encode()
    if rng.random() < 0.1:
        header = b"(" * 5000 + header
    version, width = [(b"\x01\x00", 2), (b"\x02\x00", 4), (b"\x03\x00", 4), (b"\x09\x00", 4)][rng.integers(4)]
    length = len(header) if rng.random() < 0.9 else 2 ** (8 * width) - 1
    files[name] = b"\x93NUMPY" + version + length.to_bytes(width, "little") + header + array.tobytes()


def _graph(rng: np.random.Generator, files: dict[str, bytes], name: str, target: Target) -> None:
    """Write an HNSW graph of random layers and links that passes for one, or nearly."""
    if "links.npy" not in files:
        return
    m = GRAPH_LINKS
    layers = np.minimum(rng.geometric(rng.choice([0.3, 0.6, 0.9]), N), 12).astype(np.uint8)
    links = []
    for layer in range(int(layers.max())):
        members = np.flatnonzero(layers > layer)
        if rng.random() < 0.05:  # the last passage's links end where the array ends
            members = np.array([N - 1])
        choice = rng.choice(members, (N, m if layer else 2 * m)).astype("<i4")
        choice[rng.random(choice.shape) < rng.choice([0.0, 0.2, 1.0])] = -1
        links.append(choice)
    of_passage = [links[layer][passage] for passage in range(N) for layer in range(layers[passage])]
    files["layers.npy"], files["links.npy"] = _npy(layers), _npy(np.concatenate(of_passage))
    files["entry.npy"] = _npy(np.array([rng.integers(N) if rng.random() < 0.1 else layers.argmax()], "<i4"))


MUTATIONS: list[Any] = [_flip, _cut, _extend, _remove, _swap, _put, _put, _scramble, _scramble, _reshape, _head, _graph]


def _other_record(rng: np.random.Generator, content: bytes) -> bytes:
    try:
        record = json.loads(content)
        part = record["settings"] if rng.random() < 0.8 else record
        name = list(part)[rng.integers(len(part))] if rng.random() < 0.9 else "more"
        part[name] = JSON_VALUES[rng.integers(len(JSON_VALUES))]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return b'{"settings":' * int(rng.integers(1, 9000))  # it was broken already
    return json.dumps(record).encode()


def _array(content: bytes) -> np.ndarray | None:
    """Return the array in a file's content; None where it is the record or already broken."""
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception:
        return None
    start = stream.tell()
    if dtype.kind not in "iuf" or dtype.itemsize > 4 or math.prod(shape) * dtype.itemsize != len(content) - start:
        return None
    return np.frombuffer(content[start:], dtype).reshape(shape, order="F" if fortran else "C").copy()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
