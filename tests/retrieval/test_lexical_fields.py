"""Expansions and given term weights: what they do to BM25 and to sums of impacts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.bm25 import BM25Settings
from retrieval import Collection, Document
from retrieval.analysis import AnalyserSettings
from retrieval.collection.settings import Fields
from retrieval.errors import AnalyserMismatchError, CollectionError, DocumentError, QueryError
from tests.retrieval import feedback_oracle as oracle
from tests.retrieval.test_feedback import LIBRARY, WORDS, check, counts_of

QUERIES = ["owl song", "winter swim egg", "night", "nest nest bird"]
QUIET = settings(max_examples=25, deadline=None)


def made(path, documents, fields=None, **settings):
    collection = Collection.create(path, encoder=None, fields=fields, **settings)
    collection.add(documents)
    return collection


def plain_documents():
    return [Document(str(number), text, metadata={"year": number}) for number, text in enumerate(LIBRARY)]


def answers(collection, **search):
    return [[(hit.id, hit.score) for hit in collection.search(query, 20, mode="bm25", **search)] for query in QUERIES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    numbers = iter(range(10**6))
    root = tmp_path_factory.mktemp("fields")
    return lambda: root / str(next(numbers))


# ------------------------------------------------------------------------------------------------------------ expansion


@pytest.mark.parametrize("nothing", [{}, {"queries": None}, {"queries": ""}, {"queries": []}, {"queries": {"owl": 0}}])
def test_documents_without_expansions_rank_as_if_there_were_none(folder, nothing):
    documents = [Document(doc.id, doc.text, metadata=nothing) for doc in plain_documents()]
    expected = answers(made(folder(), plain_documents()))
    assert sum(map(len, expected)) > 15
    assert answers(made(folder(), documents, Fields(expansion="queries", expansion_boost=3))) == expected


def test_an_expansion_that_weighs_nothing_changes_nothing(folder):
    documents = [Document(doc.id, doc.text, metadata={"queries": "owl winter"}) for doc in plain_documents()]
    fields = Fields(expansion="queries", expansion_boost=0)
    assert answers(made(folder(), documents, fields)) == answers(made(folder(), plain_documents()))


@QUIET
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=1, max_size=8),
    expansions=st.lists(st.dictionaries(st.sampled_from(WORDS), st.integers(0, 4), max_size=3), min_size=8, max_size=8),
    boost=st.sampled_from([0.5, 1.0, 2.5]),
    distinct=st.booleans(),
)
def test_expansions_count_like_words_of_the_text_times_their_weight(folder, texts, expansions, boost, distinct):
    counts = np.array([counts_of(words) for words in texts], float)
    for row, expansion in enumerate(expansions[: len(texts)]):
        for text, times in expansion.items():
            counts[row, WORDS.index(text)] += boost * (min(times, 1) if distinct else times)
    documents = [
        Document(str(row), " ".join(words), metadata={"queries": expansions[row]}) for row, words in enumerate(texts)
    ]
    fields = Fields(expansion="queries", expansion_boost=boost, distinct_expansions=distinct)
    with made(folder(), documents, fields) as collection:
        for query in ("owl", "night swim song"):
            hits = collection.search(query, 20, mode="bm25")
            check(hits, oracle.bm25(counts, counts_of(query.split())), np.ones(len(texts), bool), 20)
        assert list(collection) == documents  # the texts are as they were


def test_a_list_counts_repetitions_unless_it_is_to_count_distinct_texts(folder):
    def search(given, **fields):
        documents = [Document("1", "nest", metadata={"queries": given}), Document("2", "egg owl")]
        collection = made(folder(), documents, Fields(expansion="queries", **fields))
        return [(hit.id, hit.score) for hit in collection.search("owl", mode="bm25")]

    assert search(["owl", "owl"]) == search({"owl": 2}) == search("owl owl") == search("owl", expansion_boost=2)
    assert search(["owl", "owl"], distinct_expansions=True) == search("owl") == search(["owl"])
    assert search(["owl", "owl"]) != search("owl")


def test_title_text_and_expansion_each_have_their_weight(folder):
    document = Document("1", "egg", "owl", {"queries": "swim"})
    other = Document("2", "nest nest nest bird")
    fields = Fields(title_boost=2, text_boost=1, expansion="queries", expansion_boost=0.25)
    collection = made(folder(), [document, other], fields)
    for query, frequency in (("owl", 2), ("egg", 1), ("swim", 0.25)):
        (term,) = collection.search(query, mode="bm25")[0].explain().terms
        assert term.frequency == frequency


def test_updates_deletions_and_merging_take_expansions_along(folder):
    fields = Fields(expansion="queries")
    path = folder()
    collection = made(path, plain_documents(), fields)
    collection.upsert(Document("3", LIBRARY[3], metadata={"queries": ["winter song", "swim"]}))
    collection.upsert(Document("new", "egg", metadata={"queries": "owl"}))
    collection.delete("1")
    survivors = sorted(collection, key=lambda document: [*collection.ids()].index(document.id))
    expected = answers(made(folder(), survivors, fields))
    assert answers(collection) == expected
    collection.compact()
    assert answers(collection) == expected
    assert "3" in [hit.id for hit in collection.search("winter", mode="bm25")]
    collection.export(exported := folder().with_suffix(".jsonl"))
    from retrieval import read_documents

    assert answers(made(folder(), read_documents(exported), fields)) == expected
    assert answers(Collection.open(path)) == expected
    assert collection.verify().ok


# -------------------------------------------------------------------------------------------------------- given weights


def weighted(scale):
    """Documents whose weights are their words' counts times a scale, and whose texts say nothing."""
    return [
        Document(
            str(number),
            "unread",
            metadata={"vector": {word: scale * text.split().count(word) for word in WORDS if word in text}},
        )
        for number, text in enumerate(LIBRARY)
    ]


def test_counts_given_as_weights_rank_as_counted_words_to_the_bit(folder):
    fields = Fields(term_weights="vector")
    assert answers(made(folder(), weighted(1), fields)) == answers(made(folder(), plain_documents()))


@pytest.mark.parametrize("k1", [0.6, 1.2, 10.0])
def test_deepct_with_equal_weights_ranks_as_bm25_with_k1_scaled(folder, k1):
    """y = 1 for all occurrences is a frequency of 100 for each; k1 * 100 then gives the same fractions."""
    plain = answers(made(folder(), plain_documents()), bm25=BM25Settings(k1, 0.8))
    scaled = answers(made(folder(), weighted(100), Fields(term_weights="vector")), bm25=BM25Settings(100 * k1, 0.8))
    for one, other in zip(plain, scaled, strict=True):
        assert [score for _, score in other] == pytest.approx([score for _, score in one], rel=1e-12)
        scores = dict(one)
        assert [scores[name] for name, _ in other] == pytest.approx([score for _, score in one], rel=1e-12)


def test_a_scale_makes_frequencies_of_fractions(folder):
    fractions = [
        Document(doc.id, doc.text, metadata={"vector": {t: w / 100 for t, w in doc.metadata["vector"].items()}})
        for doc in weighted(7)
    ]
    fields = Fields(term_weights="vector", weight_scale=100)
    assert answers(made(folder(), fractions, fields)) == answers(
        made(folder(), weighted(7), Fields(term_weights="vector"))
    )


@QUIET
@given(
    weights=st.lists(
        st.dictionaries(st.sampled_from(WORDS), st.integers(0, 70_000), min_size=1), min_size=1, max_size=12
    ),
    deleted=st.booleans(),
)
def test_impacts_are_added_up(folder, weights, deleted):
    documents = [Document(str(row), "text", metadata={"vector": given}) for row, given in enumerate(weights)]
    with made(folder(), documents, Fields(term_weights="vector", impacts=True)) as collection:
        if deleted:
            collection.delete("0")
        allowed = np.array([not deleted or row > 0 for row in range(len(weights))])
        impacts = np.array([[given.get(word, 0) for word in WORDS] for given in weights])
        for query in ("owl", "night swim song", "egg egg nest"):
            hits = collection.search(query, 20, mode="bm25")
            scores = impacts @ counts_of(query.split())
            check(hits, scores.astype(float), allowed, 20)
            for hit in hits:  # integers: exactly
                assert hit.score == scores[int(hit.id)]
                assert sum(term.score for term in hit.explain().terms) == hit.score


def test_impacts_can_be_expanded_fused_and_fed_back(folder):
    documents = [Document(doc.id, "x", metadata=dict(doc.metadata, queries="winter")) for doc in weighted(3)]
    fields = Fields(term_weights="vector", impacts=True, expansion="queries", expansion_boost=0.5)
    collection = made(folder(), documents, fields)
    assert {hit.id: hit.score for hit in collection.search("winter", 20)}["8"] == 6.5
    fed_back = collection.search("owl", 20, stages="bm25(rm3, share=1):20")
    assert fed_back[0].explain().feedback[0].terms["owl"] > 0.5
    with pytest.raises(QueryError, match="adds up impacts, which k1 and b have no part in"):
        collection.search("owl", bm25=BM25Settings())
    with pytest.raises(CollectionError, match="impacts are added up, which BM25's k1 and b have no part in"):
        Collection.create(folder(), encoder=None, fields=fields, bm25=BM25Settings())


def test_terms_are_analysed_like_words_of_a_text(folder):
    given = {"Owls": 3, "owl": 2, "the": 9, "night owl": 1}
    collection = made(folder(), Document("1", "x", metadata={"vector": given}), Fields(term_weights="vector"))
    found = {term.term: term.frequency for term in collection.search("owls night")[0].explain().terms}
    assert found == {"owl": 6, "night": 1}
    exact = AnalyserSettings(stemmer=None, stop_words=None)
    collection = made(
        folder(), Document("1", "x", metadata={"vector": given}), Fields(term_weights="vector"), analyser=exact
    )
    found = {term.term: term.frequency for term in collection.search("owls the")[0].explain().terms}
    assert found == {"owls": 3, "the": 9}


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "document 'a': metadata 'vector' must hold the weights of its terms, .* and it has none"),
        ({"vector": [1, 2]}, r"it has \[1, 2\]"),
        ({"vector": {"owl": "1"}}, "the weight of 'owl' must be a number from 0 to 1,000,000, not '1'"),
        ({"vector": {"owl": True}}, "not True"),
        ({"vector": {"owl": -1}}, "not -1"),
        ({"vector": {"owl": 1e7}}, "not 10000000.0"),
        ({"vector": {"owl": 0.5}}, r"the weight of 'owl' is 0.5, and frequencies are integers; .*weight_scale"),
        ({"vector": {f"owl{number}": 1_000_000 for number in range(200)}}, "its weights add up to 200,000,000"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_indexed_are_refused_and_nothing_is_added(folder, metadata, message):
    collection = Collection.create(folder(), encoder=None, fields=Fields(term_weights="vector"))
    good = Document("good", "x", metadata={"vector": {"owl": 2}})
    with pytest.raises(DocumentError, match=message):
        collection.add([good, Document("a", "x", metadata=metadata)])
    assert len(collection) == 0


@pytest.mark.parametrize("given", [7, {"owl": 1.5}, {"owl": -1}, {"owl": True}, ["owl", 3], {"owl": {"a": 1}}, True])
def test_expansions_that_are_no_texts_are_refused(folder, given):
    collection = Collection.create(folder(), encoder=None, fields=Fields(expansion="queries"))
    with pytest.raises(DocumentError, match="document 'a': metadata 'queries' must hold expansions"):
        collection.add(Document("a", "x", metadata={"queries": given}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"expansion": ""}, "expansion is the name of metadata"),
        ({"expansion_boost": 2}, "expansion_boost is of no use without expansion"),
        ({"distinct_expansions": True}, "distinct_expansions is of no use without expansion"),
        ({"impacts": True}, "impacts is of no use without term_weights"),
        ({"weight_scale": 100}, "weight_scale is of no use without term_weights"),
        ({"expansion": "a", "expansion_boost": 101}, "expansion_boost must be between 0 and 100, not 101"),
        ({"term_weights": "v", "weight_scale": 0}, "weight_scale must be positive"),
        ({"term_weights": "v", "title_boost": 2}, "term_weights take the place of title and text"),
        ({"term_weights": "v", "impacts": 1}, "impacts is True or False, not 1"),
        ({"title_boost": True}, "title_boost is a number, not True"),
        ({"expansion": 3}, "expansion is the name of metadata, not 3"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(CollectionError, match=message):
        Fields(**fields)


def test_a_collection_remembers_its_fields_and_others_are_refused(folder):
    fields = Fields(expansion="queries", expansion_boost=0.5, term_weights="vector", weight_scale=100, impacts=True)
    path = folder()
    Collection.create(path, encoder=None, fields=fields)
    assert Collection.open(path).settings.fields == fields
    with pytest.raises(CollectionError, match=r"expansion_boost: 0\.5 -> 2"):
        Collection.open_or_create(path, fields=Fields(**{**vars(fields), "expansion_boost": 2}))


def test_versions_that_know_title_and_text_only_see_that_terms_come_from_elsewhere(folder, monkeypatch):
    """They compare the fingerprint of what makes terms, and would otherwise index new documents by their texts."""
    from retrieval.collection import stored_settings

    path, plain = folder(), folder()
    stored = Collection.create(path, encoder=None, fields=Fields(term_weights="vector")).snapshot.manifest.settings
    assert stored["analyser_fingerprint"]["fields"] == {"term_weights": "vector"}
    settings = Collection.create(plain, encoder=None, fields=Fields(title_boost=2)).snapshot.manifest.settings
    assert settings["fields"] == {"title_boost": 2.0, "text_boost": 1.0}
    assert "fields" not in settings["analyser_fingerprint"]
    monkeypatch.setattr(stored_settings, "_from_metadata", lambda fields: {})
    with pytest.raises(AnalyserMismatchError, match=r"fields: \{'term_weights': 'vector'\} -> '\(absent\)'"):
        Collection.open(path)
    Collection.open(plain)
