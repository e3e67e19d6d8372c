"""Pseudo-relevance feedback: against formulas over a table of counts, with filters and deletions, and what it says."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from retrieval import Collection, Document, FunctionEncoder, QueryError, parse_stages
from retrieval.encoders import SparseFunctionEncoder
from retrieval.feedback import RM3, Rocchio, SparseRocchio, VectorAverage, VectorRocchio
from retrieval.pipeline import Pipeline, Retriever
from tests.retrieval import feedback_oracle as oracle
from tests.retrieval.term_scores import added_up

# English, with stems of their own that sort like the words, none of them a stop word.
WORDS = sorted(["owl", "night", "winter", "swim", "song", "nest", "egg", "bird"])
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), min_size=1, max_size=14)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def counts_of(words):
    counted = Counter(words)
    return np.array([counted[word] for word in WORDS], np.int64)


def vectors_of(texts):
    return np.array([counts_of(text.split()) for text in texts], np.float32).reshape(-1, len(WORDS)) + np.float32(0.25)


def sparse_of(texts):
    return [{word: float(n) for word, n in enumerate(counts_of(text.split())) if n} for text in texts]


def dense_encoder(**settings):
    return FunctionEncoder(vectors_of, "counts", 1, dimension=len(WORDS), **settings)


def sparse_encoder(**settings):
    return SparseFunctionEncoder(sparse_of, "counts", 1, n_dimensions=len(WORDS), largest_weight=255.0, **settings)


def made(path, texts, segments=1, **settings):
    """A collection of texts in some segments, with a deleted document at the front of each."""
    collection = Collection.create(path, **{"encoder": None} | settings)
    documents = [
        Document(str(number), " ".join(words), metadata={"even": number % 2 == 0}) for number, words in enumerate(texts)
    ]
    parts = np.array_split(np.arange(len(documents)), segments)
    for number, part in enumerate(parts):
        gone = [Document(f"gone {number}", "owl owl night winter swim")]
        collection.add([*gone, *(documents[row] for row in part)])
    collection.delete([f"gone {number}" for number in range(segments)])
    return collection


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    numbers = iter(range(10**6))
    root = tmp_path_factory.mktemp("feedback")
    return lambda: root / str(next(numbers))


def check(results, scores, allowed, k):
    """Check hits against the scores of all documents, as far as rounding leaves no doubt."""
    expected = oracle.ranked(scores, allowed)[:k]
    assert len(results) == len(expected)
    assert [hit.score for hit in results] == pytest.approx([scores[row] for row in expected], rel=1e-9)
    assert [scores[int(hit.id)] for hit in results] == pytest.approx([hit.score for hit in results], rel=1e-9)
    assert all(allowed[int(hit.id)] for hit in results)


@QUIET
@given(
    texts=TEXTS,
    query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    documents=st.integers(1, 5),
    terms=st.integers(1, 6),
    weight=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    segments=st.integers(1, 3),
    filtered=st.booleans(),
    k=st.integers(1, 15),
)
def test_rm3_is_the_relevance_model_of_the_best_documents(
    folder, texts, query, documents, terms, weight, share, segments, filtered, k
):
    counts, asked = np.array([counts_of(words) for words in texts]), counts_of(query)
    allowed = np.array([not filtered or row % 2 == 0 for row in range(len(texts))])
    first = oracle.bm25(counts, asked)
    try:
        weights = oracle.rm3(counts, asked, oracle.ranked(first, allowed)[:documents], first, terms, weight, share)
    except oracle.Undecided:
        assume(False)
    with made(folder(), texts, segments) as collection:
        method = RM3(documents=documents, terms=terms, weight=weight, share=share)
        hits = collection.search(
            " ".join(query),
            k,
            stages=Pipeline((Retriever("bm25", k, method),)),
            where="even = true" if filtered else None,
        )
    check(hits, oracle.bm25(counts, weights), allowed, k)


@QUIET
@given(
    texts=TEXTS,
    query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    documents=st.integers(1, 4),
    terms=st.integers(1, 6),
    factors=st.tuples(*[st.sampled_from([0.0, 0.25, 0.75, 1.0])] * 3),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    segments=st.integers(1, 3),
    filtered=st.booleans(),
)
def test_rocchio_moves_the_query_to_the_first_documents_and_from_the_last(
    folder, texts, query, documents, terms, factors, share, segments, filtered
):
    k = 20
    counts, asked = np.array([counts_of(words) for words in texts]), counts_of(query)
    allowed = np.array([not filtered or row % 2 == 0 for row in range(len(texts))])
    order = oracle.ranked(oracle.bm25(counts, asked), allowed)
    best, last = order[:documents], order[documents:][-documents:][::-1] if factors[2] else []
    try:
        weights = oracle.rocchio(counts, asked, best, last, terms, *factors, share)
    except oracle.Undecided:
        assume(False)
    assume(not ((weights > 0) & (weights < oracle.TOLERANCE)).any())  # rounding decides whether it is above 0
    method = Rocchio(documents, terms, *factors, share)
    with made(folder(), texts, segments) as collection:
        hits = collection.search(
            " ".join(query),
            k,
            stages=Pipeline((Retriever("bm25", k, method),)),
            where="even = true" if filtered else None,
        )
    check(hits, oracle.bm25(counts, weights), allowed, k)


LIBRARY = [
    "owl night owl song", "bird song song nest", "winter swim", "owl bird night nest", "egg nest bird",
    "swim swim night", "song owl winter", "nest nest egg owl", "winter winter", "night bird", "owl egg swim song",
    "night night night",
]  # fmt: skip


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Three segments with a deleted document each, dense and sparse vectors."""
    texts = [text.split() for text in LIBRARY]
    return made(tmp_path_factory.mktemp("library") / "c", texts, 3, encoder=dense_encoder(), sparse=sparse_encoder())


def test_rm3_by_hand(tmp_path):
    """Two documents of equal scores: half of p(w | d) of each, and half of the query."""
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add([Document("1", "owl egg"), Document("2", "owl swim"), Document("3", "swim"), Document("4", "bird")])
    hits = collection.search("owl", stages="bm25(rm3, share=1):10")
    assert hits.ids == ["1", "2", "3"] or hits.ids == ["2", "1", "3"]
    (used,) = hits[0].explain().feedback
    assert used.retriever == "bm25(rm3, share=1.0)"
    assert used.documents == ("1", "2")
    assert used.terms == pytest.approx({"owl": 0.5 + 0.25, "egg": 0.125, "swim": 0.125})
    assert list(used.terms) == ["owl", "egg", "swim"]
    assert "feedback bm25(rm3, share=1.0): documents 1, 2, query owl 0.75, egg 0.125, swim 0.125" in str(
        hits[0].explain()
    )
    weights = {term.term: term.weight for term in hits[0].explain().terms}
    assert weights == pytest.approx({term: used.terms[term] for term in weights})
    assert added_up(hits[0].explain().terms) == hits[0].score
    # Half of the documents hold "owl" and "swim": neither may be added where a share of 0.4 is the most.
    (used,) = collection.search("owl", stages="bm25(rm3, share=0.4):10")[0].explain().feedback
    assert used.terms == pytest.approx({"owl": 0.5, "egg": 0.5})


NEUTRAL = [
    ("bm25", "rm3, documents=0"), ("bm25", "rm3, weight=1"), ("bm25", "rm3, terms=0"), ("bm25", "rm3, share=0"),
    ("bm25", "rocchio, documents=0"), ("bm25", "rocchio, beta=0"), ("bm25", "rocchio, terms=0, gamma=1"),
    ("dense", "average, documents=0"), ("dense", "rocchio, documents=0"), ("dense", "rocchio, beta=0"),
    ("sparse", "average, documents=0"), ("sparse", "rocchio, beta=0"), ("sparse", "rocchio, terms=0"),
]  # fmt: skip


@pytest.mark.parametrize(("retriever", "method"), NEUTRAL)
def test_settings_that_feed_nothing_back_leave_every_bit_as_it_is(collection, retriever, method):
    for query in ("owl song", "winter winter egg"):
        plain = collection.search(query, 20, stages=f"{retriever}:20")
        fed = collection.search(query, 20, stages=f"{retriever}({method}):20")
        assert len(plain) > 3
        assert [(hit.id, hit.score) for hit in fed] == [(hit.id, hit.score) for hit in plain]


def test_feedback_changes_something_otherwise(collection):
    for retriever, method in {(retriever, method.split(",")[0]) for retriever, method in NEUTRAL}:
        given = f"{method}, share=1" if retriever == "bm25" else method
        plain = collection.search("owl song", 20, stages=f"{retriever}:20")
        fed = collection.search("owl song", 20, stages=f"{retriever}({given}):20")
        assert [hit.score for hit in fed] != [hit.score for hit in plain]


def stored(unit_length=True):
    vectors = vectors_of(LIBRARY).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if unit_length else vectors


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize(
    ("method", "formula"),
    [
        (VectorAverage(), lambda query, best: np.mean([query, *best[:3]], axis=0)),
        (VectorAverage(documents=1), lambda query, best: (query + best[0]) / 2),
        (VectorRocchio(), lambda query, best: 0.4 * query + 0.6 * np.mean(best[:5], axis=0)),
        (VectorRocchio(2, 1.0, 0.25), lambda query, best: query + 0.25 * np.mean(best[:2], axis=0)),
    ],
)
def test_vectors_move_to_the_stored_vectors_of_the_best(collection, method, formula, filtered):
    vectors, allowed = stored(), np.array([not filtered or row % 2 == 0 for row in range(len(LIBRARY))])
    where = "even = true" if filtered else None
    for text in ("owl song", "winter swim egg"):
        query = vectors_of([text])[0].astype(np.float64)
        query /= np.linalg.norm(query)
        best = vectors[oracle.ranked(vectors @ query, allowed)]
        changed = formula(query, best)
        scores = vectors @ (changed / np.linalg.norm(changed))
        hits = collection.search(text, 20, stages=Pipeline((Retriever("dense", 20, method),)), where=where)
        expected = oracle.ranked(scores, allowed)
        assert [hit.score for hit in hits] == pytest.approx([scores[row] for row in expected], rel=1e-5)
        assert [scores[int(hit.id)] for hit in hits] == pytest.approx([hit.score for hit in hits], rel=1e-5)
        (used,) = hits[0].explain().feedback
        assert list(used.documents) == [str(row) for row in oracle.ranked(vectors @ query, allowed)[: method.documents]]
        assert used.terms == {}
        assert hits[0].passage.score == pytest.approx(hits[0].score, rel=1e-6)


@pytest.mark.parametrize("filtered", [False, True])
def test_sparse_vectors_move_to_the_stored_impacts_of_the_best(collection, filtered):
    counts = np.array([counts_of(text.split()) for text in LIBRARY]).astype(float)
    allowed = np.array([not filtered or row % 2 == 0 for row in range(len(LIBRARY))])
    where = "even = true" if filtered else None
    text = "owl song"
    query = counts_of(text.split()).astype(float)
    order = oracle.ranked(counts @ query, allowed)
    average = np.mean([query, *counts[order[:3]]], axis=0)
    hits = collection.search(text, 20, stages="sparse(average):20", where=where)
    check(hits, counts @ average, allowed, 20)
    method = SparseRocchio(documents=2, terms=3, alpha=0.5, beta=1.0, gamma=0.25)
    last = order[2:][-2:][::-1]
    moved = oracle.rocchio(counts, query, order[:2], last, 3, 0.5, 1.0, 0.25, 1.0)
    hits = collection.search(text, 20, stages=Pipeline((Retriever("sparse", 20, method),)), where=where)
    check(hits, counts @ moved, allowed, 20)


def test_impacts_become_weights_again_before_they_meet_the_query(tmp_path):
    """With a largest weight of 2.55, impact 100 stands for a weight of 1."""
    encoder = SparseFunctionEncoder(sparse_of, "counts", 1, n_dimensions=len(WORDS), largest_weight=2.55)
    collection = Collection.create(tmp_path / "c", encoder=None, sparse=encoder)
    collection.add([Document("1", "owl egg"), Document("2", "egg"), Document("3", "swim")])
    hits = collection.search("owl", stages="sparse(average, documents=1):10")
    # The query is owl 1, the document owl 1 and egg 1: their mean is owl 1, egg 0.5.
    assert [(hit.id, hit.score) for hit in hits] == [("1", pytest.approx(1.5)), ("2", pytest.approx(0.5))]


def test_a_document_of_several_passages_stands_there_with_its_best(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=dense_encoder(max_tokens=3, similarity="dot"))
    collection.add([Document("long", "owl owl owl egg egg egg"), Document("egg", "egg"), Document("swim", "swim")])
    assert collection.stats()["segments"][0]["passages"] > 3
    plain = collection.search("owl owl", stages="dense:3")
    best = vectors_of([plain[0].passage.text])[0]
    (query,) = vectors_of(["owl owl"])
    hits = collection.search("owl owl", stages="dense(average, documents=1):3")
    assert hits[0].score == pytest.approx(float(best @ ((query + best) / 2)), rel=1e-6)


def test_feedback_holds_in_an_approximate_searcher_too(tmp_path):
    texts = [text.split() for text in LIBRARY]
    collection = made(tmp_path / "c", texts, 1, encoder=dense_encoder())
    exact = collection.search("owl song", 5, stages="dense(rocchio):20")
    collection.optimize("hnsw")
    found = collection.search("owl song", 5, stages="dense(rocchio):20")
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in exact]


@pytest.mark.parametrize(
    "stages", ["bm25(rm3, share=1):20", "bm25(rocchio, share=1, gamma=0.2):20", "dense(average):20"]
)
def test_many_queries_and_one_give_the_same(collection, stages):
    queries = ["owl song", "winter", "egg nest bird", "nothing known"]
    for query, together in zip(queries, collection.search_many(queries, 20, stages=stages, threads=2), strict=True):
        alone = collection.search(query, 20, stages=stages)
        assert [(hit.id, hit.score) for hit in together] == [(hit.id, hit.score) for hit in alone]


@pytest.mark.parametrize("stages", ["bm25(rm3, share=1):20", "bm25(rocchio, share=1):20", "sparse(rocchio):20"])
def test_segments_and_deletions_change_no_bit(collection, tmp_path, stages):
    texts = [text.split() for text in LIBRARY]
    other = made(tmp_path / "c", texts, 1, encoder=dense_encoder(), sparse=sparse_encoder())
    other.compact()
    for query in ("owl song", "winter swim", "egg"):
        expected = [(hit.id, hit.score) for hit in other.search(query, 20, stages=stages)]
        assert [(hit.id, hit.score) for hit in collection.search(query, 20, stages=stages)] == expected


def test_query_syntax_restricts_feedback_documents(collection):
    hits = collection.search("owl -song", 20, stages="bm25(rm3, share=1):20", syntax="query")
    holding = {str(row) for row, text in enumerate(LIBRARY) if "song" in text}
    (used,) = hits[0].explain().feedback
    assert used.documents
    assert not holding & {*used.documents, *hits.ids}
    assert "song" not in used.terms


def test_fed_back_lists_are_fused_and_reranked_like_others(collection):
    stages = "bm25(rm3, share=1):20+dense(average):20,flat:3"
    hits = collection.search("owl song", 20, stages=stages, rerankers={"flat": lambda query, texts: [1.0] * len(texts)})
    assert hits.mode == "bm25(rm3, share=1.0):20+dense(average):20,flat:3"
    assert [stage.name for stage in hits.stages] == ["bm25(rm3, share=1.0)", "dense(average)", "fusion", "flat"]
    explanation = hits[0].explain()
    assert [used.retriever for used in explanation.feedback] == ["bm25(rm3, share=1.0)", "dense(average)"]
    assert explanation.as_dict()["feedback"][0]["terms"] == dict(explanation.feedback[0].terms)
    assert set(explanation.ranks) <= {"bm25", "dense"}


def test_a_query_that_finds_nothing_stays_as_it_is(collection):
    for stages in ("bm25(rm3):20", "bm25(rocchio, gamma=1):20", "sparse(average):20", "sparse(rocchio):20"):
        assert len(collection.search("unheard of", 20, stages=stages)) == 0


# ------------------------------------------------------------------------------------------------------------ the text

METHODS = st.one_of(
    st.builds(RM3, st.integers(0, 99), st.integers(0, 99), st.floats(0, 1), st.floats(0, 1)),
    st.builds(Rocchio, st.integers(0, 99), st.integers(0, 99), st.floats(0, 9), st.floats(0, 9), st.floats(0, 9)),
).map(lambda method: ("bm25", method)) | st.one_of(
    st.builds(VectorAverage, st.integers(0, 99)),
    st.builds(VectorRocchio, st.integers(0, 99), st.floats(0, 1e6), st.floats(0, 1e6)),
).map(lambda method: ("dense", method)) | st.builds(
    SparseRocchio, st.integers(0, 99), st.integers(0, 99), st.floats(0, 9)
).map(lambda method: ("sparse", method))  # fmt: skip


@given(METHODS, st.integers(1, 9999))
def test_what_is_written_is_read(fed_back, depth):
    retriever, method = fed_back
    pipeline = Pipeline((Retriever(retriever, depth, method),))
    assert parse_stages(str(pipeline)) == pipeline
    assert parse_stages(f"{pipeline},mono:5").rerankers == (("mono", 5),)


@given(st.text(alphabet="bm25rm3dense(),=:+0. \n", max_size=30))
def test_any_text_is_a_pipeline_or_a_query_error(text):
    try:
        pipeline = parse_stages(text)
    except QueryError as error:
        assert "\n" not in str(error)
    else:
        assert parse_stages(str(pipeline)) == pipeline


def test_defaults_are_the_published_ones():
    (fed_back,) = parse_stages(" bm25( rocchio , terms = 5 ) : 10").retrievers
    assert fed_back == Retriever("bm25", 10, Rocchio(terms=5))
    assert RM3() == RM3(documents=10, terms=10, weight=0.5, share=0.1)
    assert Rocchio() == Rocchio(documents=10, terms=10, alpha=1.0, beta=0.75, gamma=0.0, share=0.1)
    assert (VectorAverage().documents, VectorRocchio()) == (3, VectorRocchio(5, 0.4, 0.6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bm25(rm3:10", "'bm25(rm3' has parentheses that do not fit; write NAME(METHOD):NUMBER"),
        ("bm25(rm3)(rm3):10", "has parentheses that do not fit"),
        ("bm25():10", "unknown feedback '' for 'bm25': 'rm3' or 'rocchio'"),
        ("bm25(average):10", "unknown feedback 'average' for 'bm25': 'rm3' or 'rocchio'"),
        ("dense(rm3):10", "unknown feedback 'rm3' for 'dense': 'average' or 'rocchio'"),
        ("hybrid(rm3):10", "'hybrid' takes no feedback"),
        ("bm25(rm3, terms):10", "rm3 has parameters such as documents=5, not 'terms'"),
        ("bm25(rm3, beta=1):10", "bm25(rm3) knows documents, terms, weight, share"),
        ("bm25(rm3, terms=1, terms=1):10", "bm25(rm3) has it twice"),
        ("bm25(rm3, terms=1.5):10", "rm3: terms must be a whole number, not '1.5'"),
        ("bm25(rm3, terms=-1):10", "rm3: terms must be a whole number from 0 to 10,000, not -1"),
        ("bm25(rm3, weight=1.5):10", "rm3: weight must be a number from 0 to 1, not 1.5"),
        ("bm25(rm3, weight=nan):10", "rm3: weight must be a number from 0 to 1, not nan"),
        ("bm25(rm3, weight=" + "9" * 5000 + "):10", "rm3: weight must be a number, not '9999"),
        ("bm25:10,mono(rm3):5", "'mono(rm3)' is no name for a reranker"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(QueryError) as refused:
        parse_stages(text)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("retriever", "method"), [("dense", RM3()), ("bm25", VectorAverage()), ("sparse", Rocchio()), ("hybrid", RM3())]
)
def test_feedback_that_a_retriever_does_not_have_is_refused(retriever, method):
    with pytest.raises(QueryError, match=f"{retriever}' cannot be fed back by"):
        Pipeline((Retriever(retriever, 10, method),))


def test_tuning_keeps_the_feedback():
    from eval.tuning import make_grid

    grid = make_grid(parse_stages("bm25(rm3, terms=5):100"), {"bm25": [10, 100]})
    assert [str(pipeline) for pipeline in grid] == ["bm25(rm3, terms=5):10", "bm25(rm3, terms=5):100"]
    assert math.prod(len(pipeline.rerankers) + 1 for pipeline in grid) == 1
