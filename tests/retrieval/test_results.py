"""Results: ids and scores without hits, hits when they are asked for, and all of it valid whatever comes later."""

import numpy as np
import pytest

from indexes.errors import CorruptIndexError
from retrieval import Collection, Document, FunctionEncoder
from retrieval.evidence import SearchEvidence
from retrieval.results import Hit

WORDS = ["owl", "swift", "robin", "wren", "kite"]


def counts(texts):
    return np.array([[text.count(word) + 0.25 for word in WORDS] for text in texts], np.float32)


def documents(first, last):
    return [
        Document(f"d{number}", " ".join([WORDS[number % 5]] * (1 + number % 7) + [WORDS[number % 3]]), f"t{number}")
        for number in range(first, last)
    ]


@pytest.fixture
def collection(tmp_path):
    """Three segments with deleted documents, and vectors."""
    encoder = FunctionEncoder(counts, name="counts", version="1", dimension=5)
    collection = Collection.create(tmp_path / "c", encoder=encoder)
    for first, last in ((0, 60), (60, 90), (90, 100)):
        collection.add(documents(first, last))
    collection.delete([f"d{number}" for number in range(0, 100, 9)])
    assert len(collection.snapshot.segments) == 3
    return collection


@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize("k", [1, 7, 80])
def test_ids_and_scores_are_those_of_the_hits(collection, mode, k):
    results = collection.search("owl robin", k, mode=mode)
    assert len(results) == len(results.ids) == len(results.scores)
    assert 0 < len(results) <= k
    assert results.ids == [hit.id for hit in results]
    assert results.scores.dtype == np.float64
    assert results.scores.tolist() == [hit.score for hit in results]
    for hit in results:  # the id, the row and the score belong together
        assert hit.document.id == hit.id
        assert hit.explain().score == hit.score
    if mode == "bm25":
        assert all(
            sum(term.score for term in hit.explain().terms) == pytest.approx(hit.score, rel=1e-12) for hit in results
        )


@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize("together", [1, 10, 1 << 12])
def test_many_queries_get_what_each_gets(collection, mode, together, monkeypatch):
    monkeypatch.setattr("retrieval.found_ids._TOGETHER", together)
    queries = ["owl", "nothing of the kind", "swift robin", "kite owl", "wren"]
    for k in (1, 6, 50):
        found = collection.search_many(queries, k, mode=mode)
        assert len(found) == len(queries)
        for query, results in zip(queries, found, strict=True):
            alone = collection.search(query, k, mode=mode)
            assert results.ids == alone.ids
            assert results.scores.tolist() == alone.scores.tolist()
            assert results.mode == alone.mode == mode
            assert [hit.explain() for hit in results] == [hit.explain() for hit in alone]


def test_a_sequence_like_any_other(collection):
    results = collection.search("owl robin", 9, mode="bm25")
    hits = list(results)
    assert len(hits) == 9
    assert [results[place] for place in range(-9, 9)] == hits + hits
    assert results[np.int64(2)] is hits[2]
    assert hits[3] in results
    assert results.index(hits[3]) == 3
    assert list(reversed(results)) == hits[::-1]
    for place in (9, -10):
        with pytest.raises(IndexError):
            results[place]
    with pytest.raises(TypeError):
        results["d1"]


@pytest.mark.parametrize("part", [slice(3), slice(2, 7, 2), slice(None, None, -1), slice(20, 30)])
def test_slices_are_results_of_the_same_hits(collection, part):
    results = collection.search("owl robin", 9, mode="bm25")
    cut = results[part]
    assert list(cut) == list(results)[part]
    assert cut.ids == results.ids[part]
    assert cut.scores.tolist() == results.scores[part].tolist()
    assert cut.mode == results.mode
    assert list(cut[1:]) == list(results)[part][1:]


def test_what_a_caller_does_with_ids_and_scores_stays_his(collection):
    results = collection.search("owl robin", 5, mode="bm25")
    ids = results.ids.copy()
    results.ids.reverse()
    with pytest.raises(ValueError, match="read-only"):
        results.scores[0] = 0
    assert [hit.id for hit in results] == ids
    assert [hit.document.id for hit in results] == ids
    assert len(results) == 5


def test_hits_are_made_and_documents_read_once_and_not_in_vain(collection, monkeypatch):
    made, read = [], []
    monkeypatch.setattr(Hit, "__init__", lambda self, *args, init=Hit.__init__: made.append(1) or init(self, *args))
    document = SearchEvidence.document
    monkeypatch.setattr(SearchEvidence, "document", lambda self, *place: read.append(place) or document(self, *place))
    results = collection.search("owl robin", 5, mode="bm25")
    assert (len(results), len(results.ids), len(results.scores)) == (5, 5, 5)
    assert made == []
    best = collection.get(results.ids[0])
    assert (results[0].title, next(iter(results)).text, results[:2][0].document) == (best.title, best.text, best)
    assert len(made) == 5
    assert len(read) == 1


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_results_stay_as_they_were_whatever_becomes_of_the_collection(collection, mode):
    expected = collection.search("owl robin", 40, mode=mode)
    wanted = [(hit.id, hit.score, hit.document, hit.explain(), hit.passage) for hit in expected]
    results = collection.search("owl robin", 40, mode=mode)
    collection.delete(results.ids[::2])
    collection.upsert([Document(name, "other") for name in results.ids[1::2]])
    collection.compact()
    collection.close()
    assert [(hit.id, hit.score, hit.document, hit.explain(), hit.passage) for hit in results] == wanted


def test_nothing_found(collection):
    results = collection.search("xylophone", mode="bm25")
    assert (len(results), results.ids, list(results), results.scores.tolist(), list(results[:3])) == (0, [], [], [], [])
    assert not results
    assert repr(results) == "SearchResults([], mode='bm25')"


def test_similar_documents_have_ids_of_all_segments(collection):
    found = collection.similar("d1", 50)
    assert found.ids == [hit.document.id for hit in found]
    assert len({name[:2] for name in found.ids}) > 3
    assert "d1" not in found.ids


def test_ids_that_hold_what_parts_them(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    names = [f"{number}\0\n{number}" if number % 10 == 3 else f"é{number}" for number in range(60)]
    collection.add(Document(name, "owl") for name in names)
    assert collection.search("owl", 60).ids == names


@pytest.mark.parametrize("k", [1, 100])
def test_damaged_ids_are_found_by_the_search_that_needs_them(tmp_path, k):
    collection = Collection.create(tmp_path / "c", encoder=None)
    names = [f"{number:0500}" for number in range(1000)]  # more bytes than are read and checked on opening
    collection.add(Document(name, f"owl {'late' if number >= 800 else 'early'}") for number, name in enumerate(names))
    (path,) = (tmp_path / "c" / "parts").glob("*-documents/ids-bytes.npy")
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.unlink()  # what is open keeps what it has
    path.write_bytes(content)
    damaged = Collection.open(tmp_path / "c")
    assert damaged.search("early", k).ids == names[:k]
    assert damaged.search("late", 1).ids == names[800:801]
    with pytest.raises(CorruptIndexError, match=r"ids-bytes\.npy, bytes [\d,]+ to [\d,]+ do not match"):
        damaged.search_many(["early", "late"], 200)
