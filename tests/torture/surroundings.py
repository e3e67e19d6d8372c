"""What really goes wrong around a collection: limits, permissions, file systems, sources and encoders that give up."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from indexes.file_operations import Operation, watch
from retrieval import Collection, Document, FunctionEncoder, read_documents
from retrieval.errors import CollectionError, EncoderError, RetrievalError
from tests.torture import workload
from tests.torture.harness import Broken
from tests.torture.outcome import Outcome, Profile
from tests.torture.refusals import Skipped, in_child, refused, unchanged
from tests.torture.refusing_disks import full, limited_files, read_only, without_permission
from tests.torture.workload import JOBS, NEW, State, check_directory, check_leftovers, check_open, open_again


def in_surroundings(profile: Profile, folder: Path, before: State) -> Outcome:
    """Try everything once."""
    outcome = Outcome("limits, permissions, sources and encoders that give up", "cases")
    skipped = []
    cases: list[tuple[str, Callable[[Path, State], object]]]
    cases = [
        (f"files limited to {size} bytes", limited_files(size)) for size in (0, 900)[:: profile.pick(short=2, long=1)]
    ]
    cases += [
        ("directory without permission to write", without_permission),
        ("read-only file system", read_only),
        ("full file system", full),
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
        except Skipped:
            outcome.tried -= 1
            skipped.append(name)
        except BaseException as error:
            outcome.fail(f"{name}: {error!r}")
    outcome.notes = {"skipped": ", ".join(skipped) or "none"}
    return outcome


def _failing_source(path: Path, before: State) -> None:
    def source() -> Iterator[Document]:
        yield from NEW[:5]
        raise error

    collection = open_again(path)
    for error in (ZeroDivisionError("source"), OSError(errno.ENOENT, "No such file", "source.txt")):
        kinds = (CollectionError,) if isinstance(error, OSError) else (ZeroDivisionError,)
        refused(path, lambda: collection.add(source()), "source", *kinds)
        check_leftovers(path)
    unchanged(path, before, collection)


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
        unchanged(path, before, collection)
        return
    if problems := collection.verify().problems:
        raise Broken(problems[0])


def _failing_encoder(path: Path, before: State) -> None:
    def encode(texts: list[str]) -> np.ndarray:
        raise RuntimeError("the model is out of memory")

    broken = FunctionEncoder(encode, name="words", version=1, dimension=len(workload.WORDS))
    collection = Collection.open(path, encoder=broken)
    refused(path, lambda: collection.add(NEW), "out of memory", RuntimeError, EncoderError)
    check_leftovers(path)
    unchanged(path, before, open_again(path))


def _nonsense_encoder(path: Path, before: State) -> None:
    for nonsense in (np.full((len(NEW), 8), np.nan), np.zeros((1, 8)), np.zeros((len(NEW), 3)), "vectors"):
        encoder = FunctionEncoder(lambda _, result=nonsense: result, name="words", version=1, dimension=8)
        collection = Collection.open(path, encoder=encoder)
        refused(path, lambda collection=collection: collection.add(NEW), "words", EncoderError)
        check_leftovers(path)
    unchanged(path, before, open_again(path))


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
    ("create", "block-checksums.json"),
    ("write", "block-checksums.json"),
    ("write", "manifest"),
    ("rename", "manifest"),
]


def _removed_while_writing(path: Path, before: State) -> None:
    for kind, name in _MOMENTS:
        tried = path.parent / "removed"
        shutil.copytree(path, tried)
        collection = open_again(tried)
        with watch(_at(kind, name, lambda tried=tried: shutil.rmtree(tried))):
            refused(tried, lambda collection=collection: JOBS[0].run(collection), "")
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
            in_child(lambda: workload.create(tried))  # a process of its own, which may have the lock

        with watch(_at(kind, name, replace)):
            refused(tried, lambda collection=collection: JOBS[0].run(collection), "")
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
        refused(path, question, "")
    refused(path, warm.verify, "no collection")
    check_open(warm, [before])
