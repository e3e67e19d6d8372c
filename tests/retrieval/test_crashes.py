"""Crashes, full disks and vanished directories: what each attack of `tests/torture` has found once."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes.errors import NotDurableError, StorageError
from indexes.file_operations import watch
from indexes.locks import WriterLock
from indexes.storage import make_directory
from retrieval import Collection, Document, FunctionEncoder, staging
from retrieval.errors import CollectionError
from tests.torture import workload
from tests.torture.harness import recorded
from tests.torture.simulated_disk import SimulatedDisk
from tests.torture.workload import check_leftovers, document, encoder

FIRST = [document(number) for number in range(8)]
MORE = [document(number) for number in range(8, 12)]


@pytest.fixture
def collection(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=encoder())
    collection.add(FIRST)
    return collection


def fails(chosen, reason=errno.EIO):
    """Return an observer that fails the operations for which `chosen` is true."""

    def observe(operation):
        if chosen(operation):
            raise OSError(reason, os.strerror(reason), str(operation.path))

    return observe


def committed(operation):
    return operation.kind == "rename" and operation.target.name == "manifest.json"


def after_the_commit(chosen):
    """Narrow a choice to what follows the manifest's replacement."""
    seen = []

    def choose(operation):
        seen.extend([operation] if committed(operation) else [])
        return bool(seen) and not committed(operation) and chosen(operation)

    return choose


def once(chosen):
    seen = []

    def choose(operation):
        if seen or not chosen(operation):
            return False
        seen.append(operation)
        return True

    return choose


def at(chosen, action):
    """Return an observer that does something before the first operation for which `chosen` is true."""
    first = once(chosen)

    def observe(operation):
        if first(operation):
            action()

    return observe


# --------------------------------------------------------------------------------------------------------- power loss


@pytest.mark.parametrize("killed_after", range(1, 8))
def test_a_create_after_a_killed_one_makes_every_directory_durable(tmp_path, killed_after):
    """What was there already may have been made by a process that died before it could make it durable."""

    class Killed(BaseException):
        pass

    seen = []

    def kill(operation):
        seen.append(operation)
        if len(seen) > killed_after:
            raise Killed

    root, path = tmp_path, tmp_path / "above" / "c"
    with watch(kill), pytest.raises(Killed):
        Collection.create(path, encoder=None)
    first = seen[:killed_after]
    # A killed process removes nothing; this one may have, after the exception.
    second = recorded(lambda: Collection.create(path, encoder=None))
    disk = SimulatedDisk(root)
    for operation in [*first, *second]:
        disk.apply(operation)
    disk.after_power_loss("nothing unsynced", np.random.default_rng(0)).materialise(tmp_path / "after")
    assert len(Collection.open(tmp_path / "after" / "above" / "c")) == 0


def test_encoded_blocks_are_durable_in_folders_that_a_killed_writer_left(tmp_path):
    key, hashes = {"identity": "any"}, staging.passage_hashes(["owl"])
    ours = tmp_path / "c"
    make = recorded(lambda: make_directory(ours))
    folders = recorded(lambda: stage(ours, key, hashes))
    made = [operation for operation in folders if operation.kind == "make_directory"]
    shutil.rmtree(ours / "staging")
    for operation in made:  # as far as the killed one came
        operation.path.mkdir()
    disk = SimulatedDisk(tmp_path)
    for operation in [*make, *made, *recorded(lambda: stage(ours, key, hashes))]:
        disk.apply(operation)
    disk.after_power_loss("nothing unsynced", np.random.default_rng(0)).materialise(tmp_path / "after")
    assert staging.Staging(tmp_path / "after" / "c" / "staging", key, 3).find(hashes)[0].all()


def stage(directory, key, hashes):
    area = staging.Staging(directory / "staging", key, 3)
    area.add(hashes, np.ones((len(hashes), 3), np.float32))
    area.flush()


def test_what_is_there_already_is_not_called_done_before_it_is_durable(collection):
    """A writer dies, or fails, between replacing the manifest and making that durable; its work is repeated."""
    not_durable = fails(after_the_commit(lambda operation: operation.kind == "sync"))
    with watch(not_durable), pytest.raises(NotDurableError, match="Input/output error"):
        collection.upsert(MORE)
    again = fails(lambda operation: operation.kind == "sync" and operation.path == collection.path)
    with watch(again), pytest.raises(NotDurableError, match="Input/output error"):
        collection.upsert(MORE)
    operations = recorded(lambda: collection.upsert(MORE))
    assert [(operation.kind, operation.path) for operation in operations] == [("sync", collection.path)]
    assert list(collection) == FIRST + MORE


# ---------------------------------------------------------------------------------------------- operations that fail


def test_clearing_up_after_a_commit_may_fail(collection):
    """The commit stands, so the call has succeeded; what is left over goes with the next writer."""
    collection.add(MORE)
    durable_once = once(lambda operation: operation.kind == "sync")

    def later(operation):
        return not durable_once(operation)

    with watch(fails(after_the_commit(later))):
        collection.compact()
    assert len(collection.snapshot.segments) == 1
    collection.add(document(20))
    check_leftovers(collection.path)


def test_a_commit_that_cannot_be_opened_is_not_called_a_failure(collection):
    """The new part is damaged in the moment of the commit."""

    def damage():
        newest = sorted((collection.path / "parts").glob("*-documents"))[-1]
        (newest / "texts-bytes.npy").write_bytes(b"")

    at_the_end = at(after_the_commit(lambda operation: operation.kind == "sync"), damage)
    with (
        watch(at_the_end),
        pytest.raises(CollectionError, match=r"has changed, but cannot be opened.*texts-bytes\.npy"),
    ):
        collection.add(MORE)


def test_an_interrupt_after_the_commit_keeps_the_encoder(collection):
    def interrupt():
        raise KeyboardInterrupt

    at_the_end = at(after_the_commit(lambda operation: operation.kind == "sync"), interrupt)
    with watch(at_the_end), pytest.raises(KeyboardInterrupt):
        collection.reencode(encoder(2))
    collection.upsert(MORE)
    assert collection.search("owl night", mode="dense").ids
    assert list(collection) == FIRST + MORE


def test_an_interrupt_while_the_lock_is_given_up_does_not_keep_it(collection, monkeypatch):
    """Ctrl-C between the end of a change and the release of its lock, after which nothing could be changed any more."""
    original = WriterLock.__exit__

    def interrupted(self, *arguments):
        monkeypatch.setattr(WriterLock, "__exit__", original)
        raise KeyboardInterrupt

    monkeypatch.setattr(WriterLock, "__exit__", interrupted)
    with pytest.raises(KeyboardInterrupt) as held:  # as an interactive session holds the last traceback
        collection.add(MORE)
    collection.add(document(20))
    assert len(collection) == len(FIRST) + len(MORE) + 1
    assert held


def test_a_lock_that_nobody_knows_of_any_more_is_free(tmp_path):
    WriterLock(tmp_path / "lock").__enter__()
    with WriterLock(tmp_path / "lock") as lock:
        assert lock.is_held()


def test_that_a_commit_is_not_durable_is_said_whatever_else_fails(collection):
    resource = pytest.importorskip("resource")
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)

    def no_more_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))

    at_the_end = at(after_the_commit(lambda operation: operation.kind == "sync"), no_more_files)
    try:
        with watch(at_the_end), pytest.raises(NotDurableError, match="Too many open files"):
            collection.add(MORE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    collection.refresh()
    assert list(collection) == FIRST + MORE


def test_an_encoded_block_that_is_not_durable_is_no_commit(collection, monkeypatch):
    monkeypatch.setattr(staging, "BLOCK_BYTES", 1)
    with watch(fails(lambda operation: operation.kind == "sync" and operation.path.parent.name == "staging")):
        collection.add(MORE)
    assert list(Collection.open(collection.path)) == FIRST + MORE


def test_a_failed_attempt_leaves_no_temporary_file(collection):
    with (
        watch(fails(lambda operation: operation.kind == "sync", errno.ENOSPC)),
        pytest.raises(CollectionError, match=r"nothing was changed in .*No space left"),
    ):
        collection.add(MORE)
    check_leftovers(collection.path, staged=True)
    assert not list(collection.path.rglob("*.tmp"))
    assert list(collection) == FIRST


def test_a_leftover_that_cannot_be_removed_is_no_obstacle(collection):
    """Some network file systems keep removed files that somebody has open, and the directory around them."""
    with (
        watch(fails(lambda operation: operation.kind in ("rename", "remove_directory"))),
        pytest.raises(CollectionError),
    ):
        collection.add(MORE)
    with watch(fails(lambda operation: operation.kind == "remove_directory")):
        collection.add(MORE)
    assert list(Collection.open(collection.path)) == FIRST + MORE
    collection.add(document(20))
    check_leftovers(collection.path)


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq", "int8", "binary"])
def test_a_full_disk_is_one_clear_error_of_optimize(collection, kind):
    for name in ("codes.npy", "searcher.json"):
        with (
            watch(fails(lambda operation, name=name: operation.path.name == name, errno.ENOSPC)),
            pytest.raises(CollectionError, match=r"nothing was changed in .*No space left"),
        ):
            collection.optimize(kind)
    check_leftovers(collection.path)
    collection.optimize(kind)
    assert collection.verify().ok
    assert collection.search("owl night", mode="dense").ids


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_files_are_closed_when_their_neighbour_cannot_be_made(collection, tmp_path):
    copy = Collection.open(shutil.copytree(collection.path, tmp_path / "copy"), encoder=encoder())
    operations = recorded(lambda: copy.add(MORE))
    names = {one.path.name for one in operations if one.kind == "create" and one.path.suffix == ".npy"}
    assert {"passage-rows.npy", "texts-offsets.npy", "postings-rows.npy"} <= names
    for name in sorted(names):
        chosen = fails(lambda operation, name=name: operation.kind == "create" and operation.path.name == name)
        with watch(chosen), pytest.raises(CollectionError) as held:  # the error holds its frames, they hold the files
            collection.add(MORE)
        opened = [str(link.readlink()) for link in list(Path("/proc/self/fd").iterdir()) if link.is_symlink()]
        assert not [path for path in opened if str(collection.path) in path and path.endswith("(deleted)")], name
        assert held


# ---------------------------------------------------------------------------------------- directories that go away


def test_a_removed_collection_is_not_made_anew_by_its_writer(collection):
    """Between two parts the directory goes: the new parts alone would not be a collection."""
    between = at(
        lambda operation: operation.kind == "write" and operation.path.name == "block-checksums.json",
        lambda: shutil.rmtree(collection.path),
    )
    with watch(between), pytest.raises((CollectionError, StorageError), match=str(collection.path)):
        collection.add(MORE)
    assert not collection.path.exists()
    assert list(collection) == FIRST


def test_encoded_texts_do_not_bring_a_removed_collection_back(collection, monkeypatch):
    def encode(texts):
        shutil.rmtree(collection.path)
        return workload.word_counts(texts)

    monkeypatch.setattr(staging, "BLOCK_BYTES", 1)
    function = FunctionEncoder(encode, name="words", version=1, dimension=len(workload.WORDS))
    writer = Collection.open(collection.path, encoder=function)
    with pytest.raises((CollectionError, StorageError), match=str(collection.path)):
        writer.add(MORE)
    assert not collection.path.exists()


def test_a_collection_that_took_the_place_of_another_is_left_alone(collection, tmp_path):
    Collection.create(tmp_path / "other", encoder=None).add(Document("other", "text"))

    def replace():
        shutil.rmtree(collection.path)
        (tmp_path / "other").rename(collection.path)
        # A writer of the new one is at work: its unnamed part is not ours to remove.
        (collection.path / "parts" / "00000099-documents").mkdir()

    with (
        watch(at(lambda operation: operation.path.name == "manifest.json.tmp", replace)),
        pytest.raises((CollectionError, StorageError), match=str(collection.path)),
    ):
        collection.add(MORE)
    assert (collection.path / "parts" / "00000099-documents").exists()
    assert list(Collection.open(collection.path).ids()) == ["other"]


def test_a_change_that_changes_nothing_does_not_say_that_it_did(collection):
    with watch(fails(lambda operation: operation.kind == "sync")), pytest.raises(NotDurableError, match="is unchanged"):
        collection.delete(["nope"])


def test_an_error_of_the_callers_own_passes_through_a_batch(collection):
    with pytest.raises(FileNotFoundError, match="of-the-caller"), collection.batch():
        collection.add(MORE)
        Path("of-the-caller").read_text()
    with (
        watch(fails(lambda operation: operation.kind == "create")),
        pytest.raises(CollectionError, match="nothing was"),
        collection.batch(),
    ):
        collection.add(MORE)
        collection.compact()
    assert list(collection) == FIRST


def test_two_commits_share_a_searcher_that_still_serves(collection):
    collection.optimize("int8")
    collection.search("owl night", mode="dense")
    searcher = collection.snapshot.searcher
    collection.add(MORE)
    assert collection.snapshot.searcher is searcher is not None
    collection.optimize("int8")
    assert collection.snapshot.searcher is not searcher
