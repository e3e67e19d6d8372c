"""What really goes wrong around a collection: limits, permissions, file systems, sources and encoders that give up."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from indexes.errors import StorageError
from indexes.file_operations import Operation, watch
from retrieval import Collection, Document, FunctionEncoder, read_documents
from retrieval.errors import CollectionError, EncoderError, RetrievalError
from tests.torture import workload
from tests.torture.outcome import Outcome, Profile
from tests.torture.workload import JOBS, NEW, Broken, State, check_directory, check_leftovers, check_open, open_again

_NOBODY = 65534


def in_surroundings(profile: Profile, folder: Path, before: State) -> Outcome:
    """Try everything once."""
    outcome = Outcome("limits, permissions, sources and encoders that give up", "cases")
    skipped = []
    cases: list[tuple[str, Callable[[Path, State], object]]]
    cases = [(f"files limited to {size} bytes", _limited(size)) for size in (0, 900)[:: profile.pick(short=2, long=1)]]
    cases += [
        ("directory without permission to write", _without_permission),
        ("read-only file system", _read_only),
        ("full file system", _full),
        ("source that fails", _failing_source),
        ("source that vanishes", _vanishing_source),
        ("encoder that raises", _failing_encoder),
        ("encoder that returns nonsense", _nonsense_encoder),
        ("directory removed while writing", _removed_while_writing),
        ("directory replaced while writing", _replaced_while_writing),
        ("directory removed under a reader", _removed_under_a_reader),
    ]
    for number, (name, case) in enumerate(cases):
        path = folder / f"case-{number}" / "c"
        shutil.copytree(folder / "prepared", path)
        outcome.tried += 1
        try:
            case(path, before)
        except _Skipped:
            outcome.tried -= 1
            skipped.append(name)
        except BaseException as error:
            outcome.fail(f"{name}: {error!r}")
    outcome.notes = {"skipped": ", ".join(skipped) or "none"}
    return outcome


class _Skipped(Exception):
    """The system does not allow this."""


def _refused(path: Path, change: Callable[[], object], reason: str, *kinds: type[Exception]) -> None:
    """Check that a change fails in one line with one of our errors, naming where and why."""
    try:
        change()
    except kinds or (CollectionError, StorageError) as error:
        if reason not in str(error) or (not kinds and str(path) not in str(error)) or "\n" in str(error):
            raise Broken(f"the message does not say where or why: {error}") from error
        return
    raise Broken("the change succeeded")


def _unchanged(path: Path, before: State, collection: Collection) -> None:
    """Check that nothing has changed, that no leftovers are there, and that the object can still be used."""
    check_open(collection, [before])
    check_directory(path, [before])
    check_leftovers(path, staged=True)
    job = JOBS[0]
    job.run(collection)
    check_directory(path, [workload.after(job, before)])


def _in_child(action: Callable[[], object]) -> None:
    """Run an action in a forked process; raises Broken with what went wrong there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:
            os.write(writing, repr(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if told.startswith("_Skipped"):
        raise _Skipped
    if told:
        raise Broken(told)


# ------------------------------------------------------------------------------------------------------------ the disk


def _limited(size: int) -> Callable[[Path, State], None]:
    """The kernel cuts a write short and refuses the next one."""

    def case(path: Path, before: State) -> None:
        import resource

        def limited() -> None:
            collection = open_again(path)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            usual = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
            for job in JOBS:
                _refused(path, lambda job=job: job.run(collection), os.strerror(errno.EFBIG))
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
            check_open(collection, [before])

        _in_child(limited)
        _unchanged(path, before, open_again(path))

    return case


def _without_permission(path: Path, before: State) -> None:
    if os.geteuid() != 0:
        raise _Skipped
    for above in (path.parent, *path.parents[1:3]):
        if above.name.startswith(("case-", "torture-")):
            above.chmod(0o755)

    def powerless() -> None:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        collection = open_again(path)
        for job in JOBS:
            _refused(path, lambda job=job: job.run(collection), os.strerror(errno.EACCES))
        check_open(collection, [before])
        if collection.verify().problems:
            raise Broken("verify needs to write")
        _refused(path.parent / "new", lambda: workload.create(path.parent / "new"), os.strerror(errno.EACCES))

    check_open(open_again(path), [before])  # whatever is imported late is there for the powerless child
    _in_child(powerless)
    _unchanged(path, before, open_again(path))


_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _READ_ONLY, _REMOUNT, _BIND, _PRIVATE = 0x20000, 1, 32, 4096, 1 << 14 | 1 << 18


def _mount(source: bytes | None, target: Path, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    if _LIBC.mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data):
        raise _Skipped


def _own_mounts() -> None:
    if not hasattr(_LIBC, "unshare") or os.geteuid() != 0 or _LIBC.unshare(_NEW_MOUNTS):
        raise _Skipped
    _mount(None, Path("/"), None, _PRIVATE)


def _read_only(path: Path, before: State) -> None:
    def mounted() -> None:
        _own_mounts()
        _mount(os.fsencode(path), path, None, _BIND)
        _mount(None, path, None, _BIND | _REMOUNT | _READ_ONLY)
        collection = open_again(path)
        for job in JOBS:
            _refused(path, lambda job=job: job.run(collection), os.strerror(errno.EROFS))
        check_directory(path, [before])

    _in_child(mounted)
    _unchanged(path, before, open_again(path))


def _full(path: Path, before: State) -> None:
    def mounted() -> None:
        _own_mounts()
        place = path.parent / "small"
        place.mkdir()
        _mount(b"none", place, b"tmpfs", 0, b"size=1m")
        shutil.copytree(path, place / "c")
        collection = open_again(place / "c")
        (place / "ballast").write_bytes(bytes(4096 * max(0, os.statvfs(place).f_bavail - 6)))
        for job in JOBS:
            if job.name in ("add", "update", "batch", "compact", "reencode"):
                _refused(place / "c", lambda job=job: job.run(collection), os.strerror(errno.ENOSPC))
                check_open(collection, [before])
        (place / "ballast").unlink()
        _unchanged(place / "c", before, collection)

    _in_child(mounted)


# ---------------------------------------------------------------------------------------------- sources, encoders, users


def _failing_source(path: Path, before: State) -> None:
    def source() -> Iterator[Document]:
        yield from NEW[:5]
        raise error

    collection = open_again(path)
    for error in (ZeroDivisionError("source"), OSError(errno.ENOENT, "No such file", "source.txt")):
        kinds = (CollectionError,) if isinstance(error, OSError) else (ZeroDivisionError,)
        _refused(path, lambda: collection.add(source()), "source", *kinds)
        check_leftovers(path)
    _unchanged(path, before, collection)


def _vanishing_source(path: Path, before: State) -> None:
    source = path.parent / "texts"
    source.mkdir()
    for number in range(300):
        (source / f"{number}.txt").write_text(f"owl {number}")
    collection = open_again(path)

    def vanishing() -> Iterator[Document]:
        for number, found in enumerate(read_documents(source)):
            if number == 5:
                shutil.rmtree(source)
            yield found

    # A file that cannot be read is skipped and counted; what was read is one commit or none.
    try:
        collection.add(vanishing())
    except RetrievalError:
        _unchanged(path, before, collection)
        return
    if problems := collection.verify().problems:
        raise Broken(problems[0])


def _failing_encoder(path: Path, before: State) -> None:
    def encode(texts: list[str]) -> np.ndarray:
        raise RuntimeError("the model is out of memory")

    broken = FunctionEncoder(encode, name="words", version=1, dimension=len(workload.WORDS))
    collection = Collection.open(path, encoder=broken)
    _refused(path, lambda: collection.add(NEW), "out of memory", RuntimeError, EncoderError)
    check_leftovers(path)
    _unchanged(path, before, open_again(path))


def _nonsense_encoder(path: Path, before: State) -> None:
    for nonsense in (np.full((len(NEW), 8), np.nan), np.zeros((1, 8)), np.zeros((len(NEW), 3)), "vectors"):
        encoder = FunctionEncoder(lambda _, result=nonsense: result, name="words", version=1, dimension=8)
        collection = Collection.open(path, encoder=encoder)
        _refused(path, lambda collection=collection: collection.add(NEW), "words", EncoderError)
        check_leftovers(path)
    _unchanged(path, before, open_again(path))


def _at(kind: str, name: str, action: Callable[[], object]) -> Callable[[Operation], None]:
    """Return an observer that does something once, before the first operation of a kind on such a file."""
    waiting = [action]

    def observe(operation: Operation) -> None:
        if waiting and operation.kind == kind and name in operation.path.name:
            waiting.pop()()

    return observe


_MOMENTS = [
    ("make_directory", "dense"),
    ("write", "postings"),
    ("create", "block-checksums"),
    ("write", "block-checksums"),
    ("write", "manifest"),
    ("rename", "manifest"),
]


def _removed_while_writing(path: Path, before: State) -> None:
    for kind, name in _MOMENTS:
        tried = path.parent / "removed"
        shutil.copytree(path, tried)
        collection = open_again(tried)
        with watch(_at(kind, name, lambda tried=tried: shutil.rmtree(tried))):
            _refused(tried, lambda collection=collection: JOBS[0].run(collection), "")
        if tried.exists():
            raise Broken(f"the removed directory was made anew at {kind} {name}")
    check_directory(path, [before])


def _replaced_while_writing(path: Path, before: State) -> None:
    for kind, name in _MOMENTS:
        tried = path.parent / "replaced"
        shutil.copytree(path, tried)
        collection = open_again(tried)

        def replace(tried: Path = tried) -> None:
            shutil.rmtree(tried)
            _in_child(lambda: workload.create(tried))  # a process of its own, which may have the lock

        with watch(_at(kind, name, replace)):
            _refused(tried, lambda collection=collection: JOBS[0].run(collection), "")
        check_directory(tried, [State(0, ())])
        shutil.rmtree(tried)
    check_directory(path, [before])


def _removed_under_a_reader(path: Path, before: State) -> None:
    warm, cold = open_again(path), open_again(path)
    check_open(warm, [before])
    shutil.rmtree(path)
    check_open(warm, [before])
    if tuple(cold) != before.documents:
        raise Broken("an open collection does not hold its files")
    for question in (warm.refresh, lambda: warm.add(NEW), warm.compact, lambda: open_again(path)):
        _refused(path, question, "")
    _refused(path, warm.verify, "no collection")
    check_open(warm, [before])
