"""The collection at its edges: races, forks, crashes at bad moments, odd input, and what must stay small."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from indexes.errors import CorruptIndexError, LockedError, StorageError
from indexes.locks import WriterLock
from retrieval import Collection, Document, FunctionEncoder, Fusion
from retrieval.collection import collection as facade
from retrieval.collection import creation
from retrieval.errors import CollectionError, QueryError

BIRDS = [
    Document("owl", "An owl hunts mice at night.", title="Owls", metadata={"year": 2020}),
    Document("swift", "Swifts sleep while they fly.", "Swifts", {"year": 2021}),
    Document("penguin", "A penguin cannot fly but swims well.", metadata={"year": 2022}),
]


def letter_vectors(texts):
    return np.array([[text.lower().count(letter) for letter in "abcdefghij"] for text in texts], np.float32)


def letters(version="1", vectors=letter_vectors):
    return FunctionEncoder(vectors, name="letters", version=version, dimension=10)


@pytest.fixture
def lexical(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add(BIRDS)
    return collection


# ------------------------------------------------------------------------------------------------- races and forks


def test_a_search_uses_the_encoder_of_the_vectors_that_it_searches(tmp_path, monkeypatch):
    """Another encoder is swapped in while a search is between its snapshot and the encoding of its query."""
    collection = Collection.create(tmp_path / "c", encoder=letters())
    collection.add(BIRDS)
    expected = [(hit.id, hit.score) for hit in collection.search("big bad fig", mode="dense")]
    original = facade.QueryRunner.run

    def interrupted(self, *arguments):
        monkeypatch.undo()
        collection.reencode(letters("2", lambda texts: np.roll(letter_vectors(texts), 3, axis=1)))
        return original(self, *arguments)

    monkeypatch.setattr(facade.QueryRunner, "run", interrupted)
    assert [(hit.id, hit.score) for hit in collection.search("big bad fig", mode="dense")] == expected


def test_two_that_create_at_once_do_not_overwrite_each_other(tmp_path, monkeypatch):
    original = creation.WriterLock.__enter__

    def late(self):
        monkeypatch.undo()
        Collection.create(tmp_path / "c", encoder=None).add(BIRDS)
        return original(self)

    monkeypatch.setattr(creation.WriterLock, "__enter__", late)
    with pytest.raises(CollectionError, match="already"):
        Collection.create(tmp_path / "c", encoder=None)
    assert len(Collection.open(tmp_path / "c")) == 3


def test_one_lock_for_one_directory_by_whatever_path(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with WriterLock(tmp_path / "real" / "lock"), pytest.raises(LockedError), WriterLock(tmp_path / "link" / "lock"):
        pass


def in_child(work):
    child = os.fork()
    if child == 0:
        code = 3
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_inside_a_batch_leaves_the_batch_to_the_parent(lexical):
    def leave_the_batch():
        with pytest.raises(CollectionError, match="fork"):
            batch.__exit__(None, None, None)
        return 0

    batch = lexical.batch()
    batch.__enter__()
    lexical.add(Document("eagle", "An eagle soars."))
    lexical._writer._open.flush()
    assert in_child(leave_the_batch) == 0
    batch.__exit__(None, None, None)
    assert Collection.open(lexical.path).get("eagle") is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_while_another_thread_uses_the_encoder_does_not_hang(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=letters())
    collection.add(BIRDS)
    holding, release = threading.Event(), threading.Event()

    def hold():
        with collection._state.current()[1].dense._lock:
            holding.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()

    def search():
        import signal

        signal.alarm(10)
        return 0 if collection.search("owl").ids else 1

    try:
        assert in_child(search) == 0
    finally:
        release.set()
        thread.join()


def test_a_reader_searches_on_when_its_approximate_searcher_has_been_removed(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=letters())
    collection.add(BIRDS)
    collection.optimize("int8")
    reader = Collection.open(collection.path, encoder=letters())
    collection.optimize("exact")
    assert reader.search("owl", mode="dense").ids == collection.search("owl", mode="dense").ids
    damaged = Collection.open(collection.path, encoder=letters())
    collection.optimize("int8")
    damaged.refresh()
    for path in (collection.path / "parts").glob("*-searcher/*"):
        path.write_bytes(b"")
    with pytest.raises(CorruptIndexError, match="searcher"):
        damaged.search("owl", mode="dense")


def test_a_collection_that_was_replaced_by_another_is_not_mixed_with_it(lexical):
    import shutil

    shutil.rmtree(lexical.path)
    other = Collection.create(lexical.path, encoder=None)
    other.add([Document(f"o{number}", f"other text {number}") for number in range(3)])
    lexical.refresh()
    assert list(lexical) == list(other)


def test_a_closed_collection_still_has_the_encoder_that_it_was_given(tmp_path):
    with Collection.create(tmp_path / "c", encoder=letters()) as collection:
        collection.add(BIRDS)
    assert collection.search("owl").mode == "hybrid"


# --------------------------------------------------------------------------------------------------------- crashes


def test_an_interrupted_creation_is_no_obstacle(tmp_path, monkeypatch):
    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Collection.create(tmp_path / "c", encoder=None)
    monkeypatch.undo()
    assert len(Collection.create(tmp_path / "c", encoder=None)) == 0


def synced_paths(monkeypatch):
    """Record which paths are made durable, in order; a rename is recorded as "swap"."""
    paths = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (paths.append(str(Path(f"/proc/self/fd/{fd}").readlink())), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (paths.append("swap"), replace(self, to))[1])
    return paths


def n_open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_new_collection_survives_power_loss_with_its_directory(tmp_path, monkeypatch):
    paths = synced_paths(monkeypatch)
    Collection.create(tmp_path / "a" / "b", encoder=None)
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(paths)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_everything_that_a_manifest_names_is_durable_before_it_and_nothing_twice(lexical, monkeypatch):
    paths = synced_paths(monkeypatch)
    lexical.upsert([Document("eagle", "An eagle soars."), Document("owl", "Another text.")])
    monkeypatch.undo()
    before, after = paths[: paths.index("swap")], paths[paths.index("swap") + 1 :]
    assert after == [str(lexical.path)]
    assert len(before) == len(set(before))
    folder = lexical.path / "parts"
    newest = [part for part in lexical.snapshot.manifest.parts if int(part.name[:8]) >= 2]
    assert len(newest) == 3, "documents, postings, tombstones"
    needed = {str(folder)} | {str(folder / part.name) for part in newest}
    needed |= {str(folder / part.name / name) for part in newest for name in part.files}
    assert needed <= set(before)


# ------------------------------------------------------------------------------------------------- the right answer


def test_similar_documents_do_not_depend_on_deleted_ones(tmp_path):
    """The most telling terms are chosen by the living documents: 30 candidates, 25 places."""
    words = [f"w{number:02}x" for number in range(30)]
    wanted = [Document("target", " ".join(words)), *(Document(f"d{word}", f"{word} filler{word}") for word in words)]
    noise = [Document(f"n{n}", " ".join(words[:10])) for n in range(20)]
    changed = Collection.create(tmp_path / "a", encoder=None)
    changed.add([*wanted, *noise])
    changed.delete([document.id for document in noise])
    rebuilt = Collection.create(tmp_path / "b", encoder=None)
    rebuilt.add(wanted)
    assert changed.similar("target", 40).ids == rebuilt.similar("target", 40).ids


def test_metadata_update_with_the_same_given_vector_keeps_the_place(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    vectors = np.array([[3.0, 4.0], [1.0, 0.0]])
    collection.add([Document("a", "one"), Document("b", "two")], vectors=vectors)
    collection.upsert(Document("a", "one", metadata={"year": 1}), vectors=vectors[:1])
    assert list(collection.ids()) == ["a", "b"]
    with collection.batch():
        collection.add([Document("c", "three"), Document("d", "four")], vectors=vectors)
        collection.upsert(Document("c", "three", metadata={"year": 1}), vectors=vectors[:1])
    assert list(collection.ids()) == ["a", "b", "c", "d"]
    collection.upsert(Document("a", "one"), vectors=vectors[1:])
    assert list(collection.ids()) == ["b", "c", "d", "a"]


def test_reencode_where_no_document_has_text(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add([Document("a", ""), Document("b", "")], vectors=np.eye(2))
    collection.reencode(letters())
    assert collection.verify().ok
    assert set(collection.search("owl").ids) <= {"a", "b"}


def test_reencode_keeps_tombstones_and_works_on_an_empty_collection(tmp_path, lexical):
    lexical.delete("swift")
    tombstones = [segment.tombstones for segment in lexical.snapshot.manifest.segments]
    lexical.reencode(letters())
    assert [segment.tombstones for segment in lexical.snapshot.manifest.segments] == tombstones
    assert lexical.search("fly", mode="dense").ids
    assert "swift" not in lexical.search("fly", mode="dense").ids
    empty = Collection.create(tmp_path / "e", encoder=None)
    empty.reencode(letters())
    empty.add(BIRDS)
    assert empty.search("owl").mode == "hybrid"


# ------------------------------------------------------------------------------------------------ one clear error


@pytest.mark.parametrize(
    "arguments",
    [
        {"query": "owl", "k": 2.5},
        {"query": "owl", "k": "10"},
        {"query": 5, "vector": [1.0] * 10},
        {"vector": ["a"] * 10},
        {"vector": [[1.0] * 5] * 2},
        {"vector": [[1.0], [1.0, 2.0]]},
        {"vector": [3e38] * 10},
        {"vector": [1j] * 10},
    ],
)
def test_searches_that_make_no_sense(tmp_path, arguments):
    collection = Collection.create(tmp_path / "c", encoder=letters())
    collection.add(BIRDS)
    with pytest.raises(QueryError):
        collection.search(**arguments)


@pytest.mark.parametrize("queries", ["owl", None, 5])
def test_search_many_takes_a_list_of_queries(lexical, queries):
    with pytest.raises(QueryError, match="list of"):
        lexical.search_many(queries)


def test_similar_checks_k(lexical):
    with pytest.raises(QueryError, match="at least 1"):
        lexical.similar("owl", 0)


@pytest.mark.parametrize("vectors", [5, ["a"], [[1j, 2j]], [[3e38, 3e38]], [[[1.0]]], "ab"])
def test_vectors_that_make_no_sense(tmp_path, vectors):
    collection = Collection.create(tmp_path / "c", encoder=None)
    with pytest.raises(CollectionError, match="vector"):
        collection.add(Document("a", "text"), vectors=vectors)


def test_an_error_of_the_source_stays_itself(tmp_path):
    def documents():
        yield BIRDS[0]
        raise ValueError("line 2 is broken")

    collection = Collection.create(tmp_path / "c", encoder=None)
    with pytest.raises(ValueError, match="line 2"):
        collection.add(documents(), vectors=np.eye(2))


def test_text_that_utf8_cannot_hold_is_never_there(lexical):
    assert lexical.get("\ud800") is None
    assert "\ud800" not in lexical
    assert lexical.delete("\ud800") == 0
    assert lexical.search("\ud800 owl").ids == ["owl"]


def test_open_or_create_refuses_what_the_collection_is_not(lexical):
    from retrieval import BM25Settings, Fields

    assert len(Collection.open_or_create(lexical.path, fields=Fields(), long="chunk", encoder=None)) == 3
    for wrong in (
        {"fields": Fields(title_boost=2)},
        {"long": "truncate"},
        {"bm25": BM25Settings(b=0.1)},
        {"fusion": Fusion(constant=1)},
    ):
        with pytest.raises(CollectionError, match=next(iter(wrong))):
            Collection.open_or_create(lexical.path, **wrong)
    with pytest.raises(TypeError, match="encodr"):
        Collection.open_or_create(lexical.path, encodr=None)


def test_an_export_that_cannot_be_written_is_one_clear_error(lexical, tmp_path):
    with pytest.raises(CollectionError, match="cannot write"):
        lexical.export(tmp_path / "missing" / "all.jsonl")
    with pytest.raises(CollectionError, match="cannot write"):
        lexical.export(tmp_path / "missing" / "all.parquet")


def test_damage_that_keeps_the_size_is_named_when_it_is_read(lexical):
    folder = next((lexical.path / "parts").glob("*-documents"))
    for name, start in (
        ("ids-bytes.npy", b"owl"),
        ("texts-bytes.npy", b"owl"),
        ("metadata-bytes.npy", b'{"year":2020}'),
    ):
        path = folder / name
        content = path.read_bytes()
        assert start in content
        path.write_bytes(content.replace(start, b"\xff" * len(start)))
        with pytest.raises(CorruptIndexError, match=path.stem):
            list(Collection.open(lexical.path))
        path.write_bytes(content)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_too_many_open_files_is_not_called_damage(lexical):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)  # the limit is one on numbers, not on how many are open
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        with pytest.raises((CollectionError, StorageError), match="Too many open files") as caught:
            Collection.open(lexical.path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "damaged" not in str(caught.value)


# ------------------------------------------------------------------------------------------------- what stays small


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_small_segments_hold_few_files_open(tmp_path):
    """Dozens of small segments are normal; a process may often open no more than 1,024 files."""
    collection = Collection.create(tmp_path / "c", encoder=letters())
    for number in range(7):
        collection.add(Document(f"d{number}", f"number {number}"))
    before = n_open_files()
    reader = Collection.open(collection.path)
    assert len(reader.snapshot.segments) == 7
    assert n_open_files() - before <= 7 * 2


def test_wide_characters_and_metadata_count_when_documents_wait(lexical):
    with lexical.batch():
        transaction = lexical._writer._open
        start = transaction._pending_bytes
        lexical.add(Document("wide", "文" * 1000))
        wide = transaction._pending_bytes
        lexical.add(Document("data", "x", metadata={"values": ["y" * 100] * 100}))
        assert wide - start >= 2000
        assert transaction._pending_bytes - wide >= 10_000
