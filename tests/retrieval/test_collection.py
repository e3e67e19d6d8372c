"""The collection's behaviour: adding, changing, finding, and what must not happen."""

import os
import threading
from datetime import date

import numpy as np
import pytest

from indexes.errors import CorruptIndexError, LockedError
from indexes.locks import WriterLock
from retrieval import Collection, Document, FunctionEncoder, Fusion, field
from retrieval.errors import (
    AnalyserMismatchError,
    CollectionError,
    DocumentError,
    DuplicateDocumentError,
    EncoderError,
    EncoderMismatchError,
    QueryError,
)
from tests.retrieval.term_scores import added_up

BIRDS = [
    Document("owl", "An owl hunts mice at night.", title="Owls", metadata={"year": 2020, "tags": ["night", "bird"]}),
    Document("swift", "Swifts sleep while they fly.", "Swifts", {"year": 2021, "seen": date(2021, 5, 1)}),
    Document("penguin", "A penguin cannot fly but swims well.", metadata={"year": 2022}),
    Document("robin", "The robin sings in winter.", title="Robin"),
]


def letter_vectors(texts):
    """Count letters: a real, deterministic map from texts to vectors."""
    return np.array(
        [[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32
    )


def letters(version="1"):
    return FunctionEncoder(letter_vectors, name="letters", version=version, dimension=26)


@pytest.fixture
def lexical(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add(BIRDS)
    return collection


@pytest.fixture
def hybrid(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=letters())
    collection.add(BIRDS)
    return collection


def test_what_is_added_is_found_and_read_back(lexical):
    results = lexical.search("who can fly")
    assert results.mode == "bm25"
    assert set(results.ids) == {"swift", "penguin"}
    assert results[0].document in BIRDS
    assert [hit.score for hit in results] == sorted((hit.score for hit in results), reverse=True)
    assert list(lexical) == BIRDS
    assert list(lexical.ids()) == [bird.id for bird in BIRDS]
    assert len(lexical) == 4
    assert "owl" in lexical
    assert "eagle" not in lexical
    assert lexical.get("robin") == BIRDS[3]
    assert lexical.get("eagle") is None


def test_open_finds_the_last_commit(lexical):
    reopened = Collection.open(lexical.path)
    assert list(reopened) == BIRDS
    assert reopened.search("fly").ids == lexical.search("fly").ids


def test_hybrid_is_the_default_where_there_are_vectors(hybrid):
    results = hybrid.search("owl")
    assert results.mode == "hybrid"
    assert len(results) == 4, "dense search returns every document, BM25 only those with a matching term"
    assert len(hybrid.search("owl", mode="bm25")) == 1
    assert hybrid.search("owl", mode="dense").mode == "dense"


def test_dense_scores_are_cosines(hybrid):
    query = letter_vectors(["owls at night"])[0].astype(np.float64)
    results = hybrid.search("owls at night", mode="dense")
    for hit in results:
        vector = letter_vectors([hit.document.full_text])[0].astype(np.float64)
        expected = query @ vector / np.linalg.norm(query) / np.linalg.norm(vector)
        assert hit.score == pytest.approx(expected, abs=1e-6)


def test_explanation_adds_up(hybrid):
    for hit in hybrid.search("fly owl", k=4):
        why = hit.explain()
        assert why.mode == "hybrid"
        assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in why.ranks.values()))
        if "bm25" in why.ranks:
            assert added_up(why.terms) == why.scores["bm25"]
        assert why.passage.score == why.scores["dense"]
        assert hit.passage.text == hit.document.full_text
        assert str(why)
        assert why.as_dict()["mode"] == "hybrid"


def test_top_ten_is_a_prefix_of_top_hundred(hybrid):
    assert hybrid.search("fly at night", k=2).ids == hybrid.search("fly at night", k=4).ids[:2]


@pytest.mark.parametrize("policy", ["error", "skip", "replace"])
def test_duplicate_policies(lexical, policy):
    changed = Document("owl", "It says hoo.")
    fresh = Document("eagle", "An eagle soars.")
    if policy == "error":
        with pytest.raises(DuplicateDocumentError, match="'owl'"):
            lexical.add([fresh, changed])
        assert "eagle" not in lexical, "the call is one commit: nothing of it stays"
        return
    report = lexical.add([fresh, changed, fresh], on_duplicate=policy)
    assert report.added == 1
    if policy == "skip":
        assert report.skipped["duplicate id"] == 2
        assert lexical.get("owl") == BIRDS[0]
    else:
        assert (report.updated, report.unchanged) == (1, 1)
        assert lexical.get("owl") == changed


def test_an_unchanged_document_costs_nothing(hybrid):
    generation = hybrid.stats()["generation"]
    report = hybrid.upsert(BIRDS)
    assert (report.unchanged, report.encoded, report.changed) == (4, 0, 0)
    assert hybrid.stats()["generation"] == generation, "nothing changed, so there is no commit"


def test_metadata_update_encodes_nothing_and_keeps_the_place(hybrid):
    report = hybrid.upsert(Document("owl", BIRDS[0].text, title="Owls", metadata={"year": 1999}))
    assert (report.updated, report.encoded) == (1, 0)
    assert next(iter(hybrid)).id == "owl", "the text did not change, so neither does its sequence number"
    assert hybrid.get("owl").metadata == {"year": 1999}


def test_text_update_takes_a_new_place(hybrid):
    report = hybrid.upsert({"id": "owl", "text": "Hoo."})
    assert (report.updated, report.encoded) == (1, 1)
    assert list(hybrid.ids()) == ["swift", "penguin", "robin", "owl"]


def test_equal_texts_are_encoded_once_and_tie_exactly(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=letters())
    assert collection.add([Document(f"d{i}", "the same words") for i in range(5)]).encoded == 1
    assert collection.add(Document("late", "the same words")).encoded == 0
    results = collection.search("same", mode="dense")
    assert len({hit.score for hit in results}) == 1
    assert results.ids == ["d0", "d1", "d2", "d3", "d4", "late"]


def test_delete_by_ids_and_filter(lexical):
    assert lexical.delete("owl") == 1
    assert lexical.delete(["owl", "nobody"]) == 0
    assert lexical.delete(where="year >= 2022") == 1
    assert list(lexical.ids()) == ["swift", "robin"]
    assert lexical.search("penguin").ids == []
    with pytest.raises(CollectionError, match="either ids or where"):
        lexical.delete()


def test_batch_is_one_commit(lexical):
    generation = lexical.stats()["generation"]
    with lexical.batch() as report:
        lexical.add(Document("eagle", "An eagle soars."))
        lexical.delete("owl")
        lexical.upsert(Document("eagle", "The eagle dives."))
        assert "eagle" not in lexical, "searches see the batch when it is committed"
    assert lexical.stats()["generation"] == generation + 1
    assert (report.added, report.updated, report.deleted) == (1, 1, 1)
    assert lexical.get("eagle").text == "The eagle dives."


def test_an_exception_discards_the_batch(lexical):
    before = list(lexical)
    with pytest.raises(RuntimeError), lexical.batch():
        lexical.delete("owl")
        raise RuntimeError
    assert list(lexical) == before
    with pytest.raises(CollectionError, match="caught inside"), lexical.batch():
        lexical.delete("owl")
        with pytest.raises(DuplicateDocumentError):
            lexical.add(BIRDS[1])
    assert list(lexical) == before
    parts = {path.name for path in (lexical.path / "parts").iterdir()}
    assert parts == {part.name for part in lexical.snapshot.manifest.parts}, "nothing is left over"


def test_filters_apply_before_the_best_k_are_taken(hybrid):
    for mode in ("bm25", "dense", "hybrid"):
        assert set(hybrid.search("fly", k=1, mode=mode, where="year = 2022").ids) == {"penguin"}
    assert hybrid.search("hunts", where=field("tags") == "night").ids == ["owl"]
    assert hybrid.search("fly", where={"seen": {">=": "2021-01-01"}}).ids == ["swift"]
    assert "robin" in hybrid.search("winter", where="year is null").ids


def test_query_syntax(lexical):
    assert lexical.search("fly +swims", syntax="query").ids == ["penguin"]
    assert lexical.search("fly -swims", syntax="query").ids == ["swift"]
    assert lexical.search('"sings in winter"', syntax="query").ids == ["robin"]
    assert lexical.search('"winter sings"', syntax="query").ids == []
    assert set(lexical.search("fly -swims").ids) == {"swift", "penguin"}, "plain text is never parsed"


def test_similar_leaves_the_document_out(lexical, tmp_path):
    assert "swift" not in lexical.similar("swift").ids
    assert lexical.similar("swift").ids == ["penguin"]
    dense = Collection.create(tmp_path / "d", encoder=letters())
    dense.add(BIRDS)
    assert set(dense.similar("swift").ids) == {"owl", "penguin", "robin"}
    with pytest.raises(CollectionError, match="'eagle'"):
        lexical.similar("eagle")


def test_vectors_of_ones_own(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    vectors = np.eye(3, dtype=np.float32)
    collection.add([Document(str(i), f"text {i}") for i in range(3)], vectors=vectors)
    results = collection.search(vector=[0.1, 0.9, 0.3])
    assert (results.mode, results.ids) == ("dense", ["1", "2", "0"])
    assert collection.search("text", vector=[0.1, 0.9, 0.3]).mode == "hybrid"
    assert Collection.open(collection.path).search("text 2", mode="bm25").ids[0] == "2"
    with pytest.raises(EncoderError, match="vector="):
        collection.search("text")
    with pytest.raises(CollectionError, match="vectors="):
        collection.add(Document("3", "no vector"))
    with pytest.raises(CollectionError, match="dimensions"):
        collection.add(Document("3", "short"), vectors=np.ones((1, 2)))
    with pytest.raises(CollectionError, match="equally many"):
        collection.add(Document("3", "more"), vectors=np.ones((2, 3)))
    with pytest.raises(CollectionError, match="NaN"):
        collection.add(Document("3", "nan"), vectors=np.full((1, 3), np.nan))
    with pytest.raises(QueryError, match="shape"):
        collection.search(vector=[1.0])
    assert len(collection) == 3
    collection.upsert(Document("1", "text 1"), vectors=np.array([[0, 0, 1.0]]))
    assert collection.search(vector=[0, 0, 1.0], k=2).ids == ["2", "1"]


def test_another_encoder_is_refused_and_reencode_swaps_it(hybrid):
    with pytest.raises(EncoderMismatchError, match=r"version.*'1' -> '2'.*reencode"):
        Collection.open(hybrid.path, encoder=letters("2"))
    with pytest.raises(EncoderError, match="open the collection with encoder="):
        Collection.open(hybrid.path).search("owl")
    assert Collection.open(hybrid.path).search("owl", mode="bm25").ids == ["owl"]
    assert Collection.open(hybrid.path, encoder=letters()).search("owl").mode == "hybrid"
    hybrid.delete("robin")
    assert hybrid.reencode(letters("2")).encoded == 3
    assert Collection.open(hybrid.path, encoder=letters("2")).search("owl").ids[0] == "owl"
    assert hybrid.search("owl").mode == "hybrid"
    with pytest.raises(EncoderMismatchError):
        Collection.open(hybrid.path, encoder=letters())


def test_reencode_adds_vectors_to_a_lexical_collection(lexical):
    with pytest.raises(QueryError, match="reencode"):
        lexical.search("owl", mode="dense")
    lexical.reencode(letters())
    assert lexical.search("owl").mode == "hybrid"


def test_another_analyser_is_refused(lexical):
    from retrieval import AnalyserSettings

    with pytest.raises(AnalyserMismatchError, match="german"):
        Collection.open(lexical.path, analyser=AnalyserSettings(language="german"))


def test_wrong_vectors_from_elsewhere_are_noticed(tmp_path):
    """The same name and version, other vectors: what an encoder that changed without saying so looks like."""
    path = tmp_path / "c"
    Collection.create(path, encoder=letters()).add(BIRDS)

    class Elsewhere(FunctionEncoder):
        def execution(self):
            return {"device": "elsewhere"}

    rotated = Elsewhere(lambda texts: np.roll(letter_vectors(texts), 5, axis=1), "letters", "1", dimension=26)
    with pytest.raises(EncoderMismatchError, match="cosine"):
        Collection.open(path, encoder=rotated).search("owl")


def test_compact_leaves_one_segment_and_the_same_answers(hybrid):
    hybrid.add(Document("eagle", "An eagle soars."))
    hybrid.delete("swift")
    before = [(hit.id, hit.score) for hit in hybrid.search("fly eagle", k=9)]
    hybrid.compact()
    stats = hybrid.stats()
    assert (len(stats["segments"]), stats["deleted"], stats["documents"]) == (1, 0, 4)
    assert [(hit.id, hit.score) for hit in hybrid.search("fly eagle", k=9)] == before
    assert hybrid.verify().ok


def test_many_small_commits_do_not_make_many_segments(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    for number in range(40):
        collection.add(Document(f"d{number}", f"number {number}"))
    assert len(collection.stats()["segments"]) < 10
    assert list(collection.ids()) == [f"d{number}" for number in range(40)]


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq", "int8", "binary"])
def test_optimize_covers_old_vectors_and_new_ones_are_searched_exactly(tmp_path, kind):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(400, 32)).astype(np.float32)
    collection = Collection.create(tmp_path / "c", encoder=None)
    documents = [Document(str(i), f"text {i}") for i in range(400)]
    collection.add(documents[:300], vectors=vectors[:300])
    collection.optimize(kind)
    assert collection.stats()["searcher"]["covered"] == 300
    collection.add(documents[300:], vectors=vectors[300:])
    collection.delete(["7", "350"])
    assert collection.stats()["searcher"]["searched_exactly"] == 100
    for number in (3, 299, 300, 399):
        assert collection.search(vector=vectors[number], k=1).ids == [str(number)]
    assert "7" not in collection.search(vector=vectors[7], k=50).ids
    found = collection.search(vector=vectors[3], k=1)[0]
    exact = collection.search(vector=vectors[3], k=1, exact=True)[0]
    assert found.score == exact.score
    collection.compact()
    assert collection.stats()["searcher"]["covered"] == 398
    collection.optimize("exact")
    assert collection.stats()["searcher"]["covered"] == 0


def test_ids_of_every_kind_survive(tmp_path):
    ids = ["with space", "line\nbreak", "naïve", "文書", "คำ", "a/b", "../up", "{}", "🦉", " ", "0"]
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add([Document(document_id, f"text of number {n}") for n, document_id in enumerate(ids)])
    collection.compact()
    reopened = Collection.open(collection.path)
    assert list(reopened.ids()) == ids
    assert all(reopened.get(document_id).id == document_id for document_id in ids)
    assert set(reopened.search("text", k=20).ids) == set(ids)


def test_empty_documents_are_counted(lexical):
    report = lexical.add([Document("blank", "  \n"), Document("titled", "", title="Only a title")])
    assert (report.added, report.skipped["empty text"]) == (1, 1)
    assert report.examples == ["blank: empty text"]
    assert lexical.search("title").ids == ["titled"]


def test_an_empty_collection_answers(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=letters())
    assert len(collection) == 0
    assert list(collection) == []
    assert collection.search("anything").ids == []
    collection.compact()
    assert collection.verify().ok
    collection.add([])
    assert collection.delete("x") == 0


def test_queries_that_make_no_sense_are_one_clear_error(lexical):
    for wrong, arguments in (
        ("k must be at least 1", {"query": "owl", "k": 0}),
        ("is empty", {"query": "  "}),
        ("unknown mode", {"query": "owl", "mode": "fuzzy"}),
        ("unknown syntax", {"query": "owl", "syntax": "lucene"}),
        ("a query is a string", {"query": 5}),
    ):
        with pytest.raises(QueryError, match=wrong):
            lexical.search(**arguments)
    assert lexical.search("the of and").ids == [], "stop words only"
    assert len(lexical.search("fly", k=1000)) == 2


def test_documents_that_make_no_sense_are_one_clear_error(lexical):
    for wrong in ([1], ["text"], "text", [{"id": "x"}], 7):
        with pytest.raises(DocumentError):
            lexical.add(wrong)
    assert len(lexical) == 4


def test_create_refuses_what_is_there(lexical, tmp_path):
    with pytest.raises(CollectionError, match="already"):
        Collection.create(lexical.path, encoder=None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(CollectionError, match="not empty"):
        Collection.create(tmp_path / "other", encoder=None)
    with pytest.raises(CollectionError, match="no collection at"):
        Collection.open(tmp_path / "nowhere")
    assert len(Collection.open_or_create(lexical.path)) == 4


def test_readers_keep_their_state_until_they_refresh(lexical):
    reader = Collection.open(lexical.path)
    lexical.delete("owl")
    lexical.compact()
    assert reader.search("owl").ids == ["owl"], "removed files stay mapped"
    assert reader.get("owl") == BIRDS[0]
    assert reader.refresh()
    assert not reader.refresh()
    assert reader.search("owl").ids == []


def test_a_second_writer_is_told(lexical):
    with WriterLock(lexical.path / "writer.lock"), pytest.raises(LockedError, match="being written"):
        lexical.delete("owl")
    assert lexical.delete("owl") == 1


def test_two_objects_take_turns(lexical):
    other = Collection.open(lexical.path)
    other.add(Document("eagle", "An eagle soars."))
    assert lexical.upsert(Document("hawk", "A hawk.")).added == 1
    assert "eagle" in lexical, "a writer starts from the last commit"


def test_search_from_many_threads(hybrid):
    expected = [(hit.id, hit.score) for hit in hybrid.search("fly at night")]
    found = []

    def search():
        found.append([(hit.id, hit.score) for hit in hybrid.search("fly at night")])

    threads = [threading.Thread(target=search) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_opens_the_collection_by_itself(lexical):
    lexical.search("owl")
    child = os.fork()
    if child == 0:
        try:
            found = lexical.search("owl").ids == ["owl"]
            lexical.delete("robin")
            os._exit(0 if found and len(lexical) == 3 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lexical.refresh()
    assert "robin" not in lexical


def test_damage_is_named(hybrid):
    for path in sorted((hybrid.path / "parts").rglob("*.*")):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 0x10
        path.write_bytes(bytes(damaged))
        report = hybrid.verify()
        assert not report.ok
        assert any(path.name in problem for problem in report.problems), path
        path.write_bytes(content[:-1])
        with pytest.raises(CorruptIndexError, match=path.name):
            Collection.open(hybrid.path)
        path.write_bytes(content)
    assert hybrid.verify().ok
    manifest = hybrid.path / "manifest.json"
    content = manifest.read_text()
    manifest.write_text(content.replace('"generation": 1', '"generation": 3'))
    with pytest.raises(CorruptIndexError, match=r"manifest\.json"):
        Collection.open(hybrid.path)
    assert not hybrid.verify().ok


def test_leftovers_are_reported_and_removed_by_the_next_writer(lexical):
    leftover = lexical.path / "parts" / "00000099-documents"
    leftover.mkdir()
    (leftover / "documents.arrow").write_bytes(b"half")
    report = lexical.verify()
    assert report.ok
    assert report.leftovers == ["00000099-documents"]
    lexical.delete("owl")
    assert not leftover.exists()


def test_a_newer_format_is_refused(lexical):
    import hashlib
    import json

    path = lexical.path / "manifest.json"
    manifest = json.loads(path.read_text())["manifest"]
    manifest["format"] = 99
    content = json.dumps(manifest)
    digest = hashlib.sha256(content.encode()).hexdigest()
    path.write_text(f'{{"sha256": "{digest}", "manifest": {content}}}')
    with pytest.raises(CollectionError, match="newer version"):
        Collection.open(lexical.path)


def test_a_full_disk_changes_nothing(lexical, monkeypatch):
    def full(directory, records=None):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("retrieval.collection.parts.seal", full)
    with pytest.raises(CollectionError, match=r"nothing was changed.*No space left"):
        lexical.add(Document("eagle", "An eagle."))
    monkeypatch.undo()
    assert "eagle" not in Collection.open(lexical.path)
    assert lexical.add(Document("eagle", "An eagle.")).added == 1


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz", "all.parquet"])
def test_export_is_read_back(hybrid, tmp_path, name):
    from retrieval import read_documents

    assert hybrid.export(tmp_path / name) == 4
    again = Collection.create(tmp_path / "again", encoder=None)
    again.add(read_documents(tmp_path / name))
    assert list(again) == list(hybrid)


def test_export_with_vectors(hybrid, tmp_path):
    import pyarrow.parquet

    hybrid.export(tmp_path / "v.parquet", vectors=True)
    rows = pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pylist()
    assert [len(row["vectors"]) for row in rows] == [1] * 4
    assert np.linalg.norm(rows[0]["vectors"][0]) == pytest.approx(1)
    with pytest.raises(CollectionError, match="Parquet"):
        hybrid.export(tmp_path / "v.jsonl", vectors=True)
    with pytest.raises(CollectionError, match="end it in"):
        hybrid.export(tmp_path / "v.xml")


def test_search_many_equals_search(hybrid):
    queries = ["fly", "owl at night", "winter"]
    for mode in ("bm25", "dense", "hybrid"):
        many = hybrid.search_many(queries, 3, mode=mode)
        for query, results in zip(queries, many, strict=True):
            one = hybrid.search(query, 3, mode=mode)
            assert [(hit.id, hit.score) for hit in one] == [(hit.id, hit.score) for hit in results]
    assert hybrid.search_many([], 3) == []


def test_fusion_and_bm25_can_be_chosen_for_a_search(hybrid):
    from retrieval import BM25Settings

    lexical_only = hybrid.search("fly", fusion=Fusion(method="weighted", dense_weight=0.0))
    assert lexical_only.ids[0] == hybrid.search("fly", mode="bm25").ids[0]
    assert [hit.score for hit in lexical_only] == [1.0, 0.0, 0.0, 0.0], "min-max: the best is 1, the last 0"
    flat = hybrid.search("fly", mode="bm25", bm25=BM25Settings(k1=0.0, b=0.0))
    assert len({hit.score for hit in flat}) == 1, "k1 = 0 counts presence only"
