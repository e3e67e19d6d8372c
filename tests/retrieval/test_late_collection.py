"""Collections with late chunking, and scores of documents made of all their passages'."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from retrieval import Aggregation, ChunkSettings, Collection, Document
from retrieval.encoders import FunctionEncoder, SparseFunctionEncoder, load_encoder
from retrieval.errors import CollectionError, EncoderError, EncoderMismatchError, QueryError
from tests.encoders.backbones import save_family
from tests.torture import crafted_index

LATE = ChunkSettings("late", 12, 2)
SHARED = "a query is a word of the retrieval model and the document is in the search engine."
DOCUMENTS = [
    Document("one", f"the search engine is the model. {SHARED} {SHARED}", "a title"),
    Document("other", f"to query the document. {SHARED} {SHARED}"),
    Document("short", "the query of a model"),
]


def stored(collection: Collection) -> dict[str, np.ndarray]:
    """Return the vectors of each document."""
    return {
        segment.documents.id(row): segment.passages.vectors.vectors[list(segment.passages.of_document(row))]
        for segment, row in collection.snapshot.rows()
    }


def spans(collection: Collection) -> dict[str, list[list[int]]]:
    return {
        segment.documents.id(row): segment.passages.spans[list(segment.passages.of_document(row))].tolist()
        for segment, row in collection.snapshot.rows()
    }


def assert_same_vectors(one: Collection, other: Collection) -> None:
    mine, theirs = stored(one), stored(other)
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], atol=1e-5)


@pytest.fixture
def make(tiny_model, tmp_path):
    """Return a function that makes a collection with late chunking of some documents."""

    def collection(name: str, documents=DOCUMENTS, long=LATE, **settings) -> Collection:
        made = Collection.create(tmp_path / name, encoder=load_encoder(tiny_model(**settings)), long=long)
        made.add(documents)
        return made

    return collection


def test_passages_are_those_of_plain_chunks_with_other_vectors(make):
    late, plain = make("late"), make("plain", long=ChunkSettings("chunk", 12, 2))
    assert spans(late) == spans(plain)
    assert len(spans(late)["one"]) > 3
    mine, theirs = stored(late), stored(plain)
    np.testing.assert_allclose(mine["short"], theirs["short"], atol=1e-5)
    assert not np.isclose(mine["one"], theirs["one"], atol=1e-3).all(axis=1).any()
    for vectors in mine.values():
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    hit = late.search("a query is a word", mode="dense")[0]
    assert hit.passage.text == hit.document.full_text[hit.passage.start : hit.passage.end]
    assert [hit.passage.start, hit.passage.end] in spans(plain)[hit.id]


def test_a_changed_document_is_encoded_anew_an_unchanged_one_is_not(make):
    collection = make("late")
    before = stored(collection)
    changed = Document("other", DOCUMENTS[1].text.replace("to query", "a model of"))
    report = collection.upsert([DOCUMENTS[0], changed, DOCUMENTS[2], Document("copy", DOCUMENTS[0].text, "a title")])
    assert (report.unchanged, report.updated, report.added) == (2, 1, 1)
    assert report.encoded == len(spans(collection)["other"])  # the copy's are known
    after = stored(collection)
    assert after["copy"].tobytes() == before["one"].tobytes() == after["one"].tobytes()
    # The same words as before, at the same place, in a document that begins in another way.
    assert spans(collection)["other"][-1][1] == len(changed.text)
    assert not np.allclose(after["other"][-1], before["other"][-1], atol=1e-3)
    assert_same_vectors(
        collection, make("anew", [DOCUMENTS[0], DOCUMENTS[2], Document("copy", DOCUMENTS[0].text, "a title"), changed])
    )


def test_compacting_and_reencoding_keep_the_vectors(make, tiny_model):
    collection = make("late")
    collection.add(Document("later", SHARED + " " + SHARED))
    collection.delete("other")
    expected = stored(collection)
    collection.compact()
    assert {name: vectors.tobytes() for name, vectors in stored(collection).items()} == {
        name: vectors.tobytes() for name, vectors in expected.items()
    }
    report = collection.reencode(load_encoder(tiny_model(seed=1)))
    assert report.encoded == sum(map(len, expected.values()))
    assert_same_vectors(
        collection, make("anew", [DOCUMENTS[0], DOCUMENTS[2], Document("later", SHARED + " " + SHARED)], seed=1)
    )
    with pytest.raises(EncoderError, match=r"its pooling is 'cls'.*long='chunk'"):
        collection.reencode(load_encoder(tiny_model(pooling="cls")))
    assert len(collection.search("query", mode="dense")) == 3


def test_an_interrupted_run_goes_on(make, tiny_model, tmp_path, monkeypatch):
    encoder = load_encoder(tiny_model(), batch_tokens=24)
    collection = Collection.create(tmp_path / "late", encoder=encoder, long=LATE)
    encode, done = type(encoder).encode_in_context, []

    def failing(self, texts):
        for pooled in encode(self, texts):
            done.append(len(pooled.passages))
            yield pooled
            if len(done) == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(encoder), "encode_in_context", failing)
        collection.add(DOCUMENTS)
    assert len(collection) == 0
    report = collection.add(DOCUMENTS)
    assert report.passages == report.encoded + sum(done) + 1  # that of the short document was encoded before these
    assert_same_vectors(collection, make("complete"))


def test_the_policy_is_fixed_and_of_a_format_of_its_own(make, tmp_path):
    make("late").close()
    assert crafted_index.read_manifest(tmp_path / "late")["format"] == 4
    with pytest.raises(CollectionError, match="policy: 'late' -> 'chunk'"):
        Collection.open_or_create(tmp_path / "late", long=ChunkSettings("chunk", 12, 2))
    with pytest.raises(CollectionError, match="passage_tokens: 12 -> 13"):
        Collection.open_or_create(tmp_path / "late", long=ChunkSettings("late", 13, 2))
    assert Collection.open(tmp_path / "late").settings.long == LATE


@pytest.mark.parametrize(("max_tokens", "expected"), [(24, 12), (64, 32)])
def test_passages_take_half_a_window_by_default(make, max_tokens, expected):
    assert spans(make("default", long="late", max_tokens=max_tokens)) == spans(
        make("said", long=ChunkSettings("late", expected), max_tokens=max_tokens)
    )


def test_an_encoder_that_cannot_is_refused_at_once(tiny_model, tmp_path):
    with pytest.raises(EncoderError, match="cannot do late chunking: its pooling is 'max', not 'mean'"):
        Collection.create(tmp_path / "index", encoder=load_encoder(tiny_model(pooling="max")), long="late")
    assert not (tmp_path / "index").exists()
    with pytest.raises(CollectionError, match="unknown policy 'later' for long documents: 'chunk', 'late'"):
        Collection.create(tmp_path / "index", encoder=None, long="later")


def test_another_execution_is_compared_by_vectors_in_context(make, tiny_model, tmp_path, caplog):
    make("late", DOCUMENTS[:2]).close()
    elsewhere = load_encoder(tiny_model(), batch_tokens=1000)
    with caplog.at_level(logging.INFO):
        assert Collection.open(tmp_path / "late", encoder=elsewhere).search("query", mode="dense")
    assert "cosine here 1.0" in caplog.text
    broken = load_encoder(tiny_model(), batch_tokens=1000)
    with pytest.raises(EncoderMismatchError, match="texts encoded here differ"):
        collection = Collection.open(tmp_path / "late", encoder=broken)
        next(iter(broken._model[0].model.parameters())).data.normal_(generator=None)
        collection.search("query", mode="dense")


def test_a_text_that_ends_in_white_space_is_compared_as_it_was_encoded(tmp_path):
    """Byte pairs make tokens of white space: too many for one passage, and none of them in it."""
    folder = save_family("gpt2", tmp_path / "gpt2")
    encoder, elsewhere = (load_encoder(folder, pooling="mean", batch_tokens=tokens) for tokens in (None, 1000))
    late = Collection.create(tmp_path / "late", encoder=encoder, long=ChunkSettings("late", 24, 2))
    texts = {
        "one": "the search engine reads a document" + " \n" * 40,
        "parts": "a query is short and a passage is long " * 4,
        "none": " \n" * 40 + "x",
    }
    late.add(Document(name, text) for name, text in texts.items())
    assert len(spans(late)["one"]) == 1 < len(spans(late)["parts"])
    assert Collection.open(tmp_path / "late", encoder=elsewhere).search("query", mode="dense")


@pytest.mark.parametrize("settings", [ChunkSettings("late", 8, 0), ChunkSettings("late")], ids=str)
def test_sparse_vectors_have_plain_passages(tmp_path, tiny_model, settings):
    letters = SparseFunctionEncoder(
        lambda texts: [{place: float(text.count(letter)) for place, letter in enumerate("aeiou")} for text in texts],
        "letters",
        1,
        n_dimensions=5,
        largest_weight=20.0,
        max_tokens=12,
    )
    late = Collection.create(tmp_path / "late", encoder=None, sparse=letters, long=settings)
    chunks = ChunkSettings("chunk", settings.passage_tokens, settings.overlap_tokens)
    plain = Collection.create(tmp_path / "plain", encoder=None, sparse=letters, long=chunks)
    for collection in (late, plain):
        assert collection.add(DOCUMENTS).sparse_passages > 5
    found, expected = (each.search("a query", mode="sparse") for each in (late, plain))
    assert [(hit.id, hit.score, hit.passage) for hit in found] == [(hit.id, hit.score, hit.passage) for hit in expected]


WORDS = ["owl", "kiwi", "swift", "night", "wing", "egg"]


def counts(texts: list[str]) -> np.ndarray:
    return np.array([[1 + text.split().count(word) for word in WORDS] for text in texts], float)


@pytest.fixture
def birds(tmp_path):
    """Documents of up to six passages of four words each."""
    rng = np.random.default_rng(0)
    encoder = FunctionEncoder(counts, "counts", 1, max_tokens=4)
    collection = Collection.create(tmp_path / "birds", encoder=encoder, long=ChunkSettings(overlap_tokens=0))
    for start in (0, 60):  # two segments
        collection.add(
            Document(f"d{number}", " ".join(rng.choice(WORDS, rng.integers(1, 24))), metadata={"odd": number % 2})
            for number in range(start, start + 60)
        )
    collection.delete(["d3", "d70"])
    return collection


def expected(collection: Collection, query: str, aggregate: Aggregation, k: int) -> list[tuple[str, float]]:
    """Score every document by the definition."""
    vector = counts([query])[0] / np.linalg.norm(counts([query])[0])
    scores = {}
    for name, vectors in stored(collection).items():
        ranked = sorted((vectors @ vector).tolist(), reverse=True)
        scores[name] = {
            "max": ranked[0],
            "first": float(vectors[0] @ vector),
            "mean": float(np.mean(ranked[: aggregate.best])),
            "decayed": sum(score * aggregate.decay**rank for rank, score in enumerate(ranked)),
        }[aggregate.method]
    return sorted(scores.items(), key=lambda item: -round(item[1], 6))[:k]


class TestAggregates:
    @pytest.mark.parametrize(
        "aggregate",
        [
            Aggregation("max"),
            Aggregation("first"),
            Aggregation("mean"),
            Aggregation("mean", best=2),
            Aggregation("decayed", decay=0.7),
        ],
        ids=str,
    )
    def test_score_documents_by_the_definition(self, birds, aggregate):
        for query in ("owl owl night", "egg"):
            hits = birds.search(query, 20, mode="dense", aggregate=aggregate)
            wanted = expected(birds, query, aggregate, 20)
            assert hits.scores.tolist() == pytest.approx([score for _, score in wanted], abs=1e-6)
            assert dict(zip(hits.ids, hits.scores.tolist(), strict=True)) == pytest.approx(
                {name: score for name, score in expected(birds, query, aggregate, 1000) if name in hits.ids}, abs=1e-6
            )
            assert [hits.ids] == [
                each.ids for each in birds.search_many([query], 20, mode="dense", aggregate=aggregate)
            ]

    def test_names_stand_for_defaults(self, birds):
        for name in ("max", "first", "mean", "decayed"):
            by_name = birds.search("owl", mode="dense", aggregate=name)
            by_settings = birds.search("owl", mode="dense", aggregate=Aggregation(name))
            assert (by_name.ids, by_name.scores.tolist()) == (by_settings.ids, by_settings.scores.tolist())
        plain = birds.search("owl", mode="dense")
        assert plain.ids == birds.search("owl", mode="dense", aggregate="max").ids
        assert plain.ids != birds.search("owl", mode="dense", aggregate="decayed").ids

    def test_go_with_filters_query_syntax_and_fusion(self, birds):
        filtered = birds.search("owl", 100, mode="dense", where="odd = 1", aggregate="mean")
        everything = birds.search("owl", 200, mode="dense", aggregate="mean")
        assert filtered.ids == [name for name in everything.ids if int(name[1:]) % 2]
        excluded = birds.search("owl -kiwi", 200, mode="dense", syntax="query", aggregate="mean")
        assert 0 < len(excluded) < 120
        assert excluded.ids == [name for name in everything.ids if "kiwi" not in birds.get(name).text]
        hybrid = birds.search("owl", 5, aggregate="decayed")[0].explain()
        dense = birds.search("owl", 200, mode="dense", aggregate="decayed")
        assert hybrid.scores["dense"] == dense.scores[hybrid.ranks["dense"] - 1]

    def test_explain_what_counted(self, birds):
        hit = next(
            hit for hit in birds.search("owl night", 50, mode="dense", aggregate="mean") if len(hit.text.split()) > 12
        )
        explanation = hit.explain()
        assert explanation.aggregate == "mean"
        assert [passage.weight for passage in explanation.counted] == pytest.approx([1 / 3] * 3)
        assert sum(passage.score * passage.weight for passage in explanation.counted) == pytest.approx(hit.score)
        assert explanation.counted[0].score == explanation.passage.score == hit.passage.score
        assert "counted (mean): passage" in str(explanation)
        assert explanation.as_dict()["counted"][2]["weight"] == pytest.approx(1 / 3)
        first = birds.search("owl", 1, mode="dense", aggregate="first")[0]
        assert [(passage.start, passage.weight) for passage in first.explain().counted] == [(0, 1.0)]
        decayed = birds.search("owl", 1, mode="dense", aggregate="decayed")[0]
        counted = decayed.explain().counted
        assert sum(passage.score * passage.weight for passage in counted) == pytest.approx(decayed.score)
        assert not birds.search("owl", 1, mode="dense")[0].explain().counted

    def test_an_approximate_searcher_names_documents_whose_scores_are_exact(self, birds):
        exact = birds.search("owl night", 5, mode="dense", aggregate="mean")
        birds.optimize("binary")
        assert birds.search("owl night", 5, mode="dense", aggregate="mean", exact=True).ids == exact.ids
        scores = dict(expected(birds, "owl night", Aggregation("mean"), 1000))
        found = birds.search("owl night", 5, mode="dense", aggregate="mean")
        assert len(found) == 5
        assert found.scores.tolist() == pytest.approx([scores[name] for name in found.ids], abs=1e-6)
        # A hundred of 118 documents are candidates.
        assert len(set(found.ids) & set(exact.ids)) >= 3

    @pytest.mark.parametrize("mode", ["bm25", "sparse", None])
    def test_need_vectors(self, tmp_path, mode):
        letters = SparseFunctionEncoder(lambda texts: [{0: 1.0} for _ in texts], "one", 1, n_dimensions=1)
        sparse = letters if mode == "sparse" else None
        lexical = Collection.create(tmp_path / "lexical", encoder=None, sparse=sparse)
        lexical.add(DOCUMENTS)
        ran = mode or "bm25"
        with pytest.raises(QueryError, match=f"aggregate 'first' is of passages with vectors, and mode '{ran}'"):
            lexical.search("query", mode=mode, aggregate="first")
        assert lexical.search("query", mode=mode, aggregate="max")

    def test_unknown_ones(self, birds):
        with pytest.raises(QueryError, match="unknown aggregation of passages 'sum'"):
            birds.search("owl", aggregate="sum")
