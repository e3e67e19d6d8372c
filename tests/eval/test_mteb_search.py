"""A collection of ours under mteb: the index searches, mteb measures what it found, in its order."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from eval.errors import TaskError
from eval.mteb_models import as_mteb_encoder, as_mteb_search
from retrieval import Collection, Document, FunctionReranker
from retrieval.encoders import FunctionEncoder
from retrieval.errors import DuplicateDocumentError, QueryError
from tests.eval import toy_mteb as toy

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the extra mteb is not installed")


def overlap(query, texts):
    words = set(query.split())
    return [len(words & set(text.split())) - 1e-3 * len(text) for text in texts]


def toy_task(**settings):
    documents, texts = toy.corpus(), toy.queries()
    judged = toy.qrels(documents, list(texts))
    split = toy.retrieval_split(documents, texts, judged, **settings)
    kind = "Reranking" if "top_ranked" in settings else "Retrieval"
    return toy.retrieval_task({"default": split}, kind=kind), documents, texts, judged


def test_vectors_are_searched_as_by_brute_force(tmp_path):
    task, documents, texts, judged = toy_task()
    scores = toy.scores_of(as_mteb_search(tmp_path, toy.CountingEncoder().encoder()), task)["default"]
    expected = [toy.ndcg(toy.by_vectors(text, documents), judged[query_id]) for query_id, text in texts.items()]
    assert scores["ndcg_at_10"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_corpus_with_blank_documents_is_found_again(tmp_path):
    documents, texts = toy.corpus(), toy.queries()
    judged = toy.qrels(documents, list(texts))
    documents[3] |= {"title": "", "text": " \n"}
    task = toy.retrieval_task({"default": toy.retrieval_split(documents, texts, judged)})
    search = as_mteb_search(tmp_path, None, mode="bm25")
    assert toy.scores_of(search, task) == toy.scores_of(search, task)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "bm25"},
        {"mode": "hybrid"},
        {"stages": "bm25:30+dense:30,mono:5", "rerankers": {"mono": overlap}},
    ],
)
def test_a_pipeline_under_mteb_is_the_pipeline(tmp_path, options):
    task, documents, texts, judged = toy_task()
    encoder = toy.CountingEncoder().encoder()
    scores = toy.scores_of(as_mteb_search(tmp_path / "mteb", encoder, **options), task)["default"]
    with Collection.create(tmp_path / "own", encoder=encoder) as collection:
        collection.add(Document(each["id"], each["text"], each["title"]) for each in documents)
        found = collection.search_many(list(texts.values()), k=1000, **options)
    expected = [toy.ndcg(list(each.ids), judged[query_id]) for query_id, each in zip(texts, found, strict=True)]
    assert scores["ndcg_at_10"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_ties_are_measured_in_the_order_that_the_search_gave(tmp_path):
    flat = FunctionEncoder(lambda texts: np.ones((len(texts), 2), np.float32), "flat", 1)
    documents = [{"id": f"d{number}", "title": "", "text": f"text {number}"} for number in range(5)]
    task = toy.retrieval_task({"default": toy.retrieval_split(documents, {"q": "any"}, {"q": {"d0": 1}})})
    assert toy.scores_of(as_mteb_search(tmp_path, flat), task)["default"]["ndcg_at_1"] == 1.0
    by_id = toy.scores_of(as_mteb_encoder(flat), task)["default"]
    assert by_id["ndcg_at_1"] == 0.0  # mteb's own search leaves ties to pytrec_eval, which begins with d4


def test_candidates_of_a_reranking_task_are_ranked_and_nothing_else(tmp_path):
    random = np.random.default_rng(3)
    ids = [document["id"] for document in toy.corpus()]
    lists = {query_id: [str(each) for each in random.permutation(ids)[:8]] for query_id in toy.queries()}
    del lists["q3"]
    task, documents, texts, judged = toy_task(top_ranked=lists)
    scores = toy.scores_of(as_mteb_search(tmp_path, toy.CountingEncoder().encoder()), task)["default"]
    expected = [
        toy.ndcg(
            [each for each in toy.by_vectors(text, documents) if each in lists.get(query_id, [])], judged[query_id]
        )
        for query_id, text in texts.items()
    ]
    assert scores["ndcg_at_10"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert scores["recall_at_1000"] < 1


def test_ids_are_only_names(tmp_path):
    """Some look like numbers, dates or truth values, which filters of metadata know as well."""
    names = ["1", "01", "1.0", "2020-01-01", "true", "null", "a b", "ö"]
    documents = [
        {"id": name, "title": "", "text": f"amber {word}"} for name, word in zip(names, toy.WORDS, strict=False)
    ]
    for chosen in names:
        split = toy.retrieval_split(documents, {"q": "amber"}, {"q": {chosen: 1}}, top_ranked={"q": [chosen]})
        task = toy.retrieval_task({"default": split}, kind="Reranking")
        scores = toy.scores_of(as_mteb_search(tmp_path, toy.CountingEncoder().encoder()), task)["default"]
        assert scores["recall_at_1000"] == scores["precision_at_1"] == 1.0


def test_a_corpus_is_indexed_once_for_each_collection_that_is_made_of_it(tmp_path):
    def run(task, counting, version="1", **settings):
        toy.scores_of(as_mteb_search(tmp_path, counting.encoder(version=version), **settings), task)
        return len(counting.passages)

    n_texts = len({toy.full_text(document) for document in toy.corpus()})
    assert run(toy_task()[0], toy.CountingEncoder()) == n_texts
    assert run(toy_task()[0], toy.CountingEncoder()) == 0
    assert run(toy_task()[0], toy.CountingEncoder(), mode="hybrid") == 0  # another search in the same collection
    assert len(list(tmp_path.iterdir())) == 1
    assert run(toy_task()[0], toy.CountingEncoder(), version="2") == n_texts
    assert run(toy_task()[0], toy.CountingEncoder(), collection={"long": "chunk"}) == n_texts
    changed = toy.corpus()
    changed[1]["title"], changed[1]["text"] = "", toy.full_text(changed[1])  # the same words, elsewhere
    other = toy.retrieval_task({"default": toy.retrieval_split(changed, {"q": "amber"}, {"q": {"d1": 1}})})
    run(other, toy.CountingEncoder())
    assert len(list(tmp_path.iterdir())) == 4


class SmallBatches(FunctionEncoder):
    def execution(self):
        return {"runtime": "function", "batch_tokens": 16}


def test_what_an_interrupted_run_has_encoded_is_not_encoded_again(tmp_path):
    documents = [{"id": f"d{number}", "title": "", "text": f"amber {number}"} for number in range(200)]
    task = toy.retrieval_task({"default": toy.retrieval_split(documents, {"q": "amber 7"}, {"q": {"d7": 1}})})
    seen, again = [], []

    def failing(texts):
        if len(seen) + len(texts) > 150:
            raise KeyboardInterrupt
        seen.extend(texts)
        return toy.vectors(texts)

    def working(texts):
        again.extend(texts)
        return toy.vectors(texts)

    def run(function):
        encoder = SmallBatches(function, "words", 1, dimension=toy.DIMENSION, query_function=toy.vectors)
        return toy.scores_of(as_mteb_search(tmp_path, encoder), task)["default"]

    with pytest.raises(KeyboardInterrupt):
        run(failing)
    assert len(seen) > 50
    assert run(working)["ndcg_at_10"] == 1.0
    assert sorted(seen + again) == sorted(document["text"] for document in documents)


def test_each_subset_has_its_own_corpus(tmp_path):
    parts, expected = {}, {}
    for number, subset in enumerate(("en", "de")):
        documents, texts = toy.corpus(seed=number), toy.queries(seed=10 + number)
        judged = toy.qrels(documents, list(texts), seed=number)
        parts[subset] = toy.retrieval_split(documents, texts, judged)
        expected[subset] = np.mean(
            [toy.ndcg(toy.by_vectors(text, documents), judged[query_id]) for query_id, text in texts.items()]
        )
    scores = toy.scores_of(as_mteb_search(tmp_path, toy.CountingEncoder().encoder()), toy.retrieval_task(parts))
    for subset, value in expected.items():
        assert scores[subset]["ndcg_at_10"] == pytest.approx(value, abs=1e-5)


def test_instructions_are_read_behind_the_query(tmp_path):
    instructions = {query_id: f"about {query_id}" for query_id in toy.queries()}
    task, _, texts, _ = toy_task(instructions=instructions)
    counting = toy.CountingEncoder()
    toy.scores_of(as_mteb_search(tmp_path, counting.encoder()), task)
    assert set(counting.queries) == {f"{text} {instructions[query_id]}" for query_id, text in texts.items()}


def test_a_lexical_search_needs_no_encoder_and_a_query_without_text_finds_nothing(tmp_path):
    documents = toy.corpus()
    judged = {"q": {"d1": 1}, "blank": {"d1": 1}}
    split = toy.retrieval_split(documents, {"q": documents[1]["text"], "blank": "  "}, judged)
    scores = toy.scores_of(as_mteb_search(tmp_path, None), toy.retrieval_task({"default": split}))["default"]
    assert scores["recall_at_1000"] == 0.5


def test_metadata_tell_searches_apart(tmp_path):
    encoder = toy.CountingEncoder().encoder()
    dense, bm25 = as_mteb_search(tmp_path, encoder).mteb_model_meta, as_mteb_search(tmp_path, None).mteb_model_meta
    assert (dense.name, dense.model_type, dense.embed_dim) == ("retrieval-engine/dense-bag-of-words", ["dense"], 16)
    assert (bm25.name, bm25.model_type, bm25.embed_dim) == ("retrieval-engine/bm25", ["sparse"], None)
    stages = {"stages": "bm25:30,mono:5"}
    metas = [
        dense,
        bm25,
        as_mteb_search(tmp_path, encoder, mode="hybrid").mteb_model_meta,
        as_mteb_search(tmp_path, encoder, collection={"long": "chunk"}).mteb_model_meta,
        as_mteb_search(tmp_path, encoder, **stages, rerankers={"mono": overlap}).mteb_model_meta,
        as_mteb_search(tmp_path, encoder, **stages, rerankers={"mono": FunctionReranker(overlap, "o", 2)})
        .mteb_model_meta,
    ]  # fmt: skip
    assert len({meta.revision for meta in metas}) == len(metas)
    assert metas[4].name == "retrieval-engine/bm25:30,mono:5-bag-of-words"
    assert as_mteb_search(tmp_path, encoder).mteb_model_meta.revision == dense.revision


def test_what_cannot_be_done_is_refused(tmp_path):
    from datasets import Dataset

    encoder = toy.CountingEncoder().encoder()
    facts = {"task_metadata": toy.metadata("Toy", "Retrieval", "ndcg_at_10"), "hf_split": "test", "hf_subset": "a"}
    with pytest.raises(TaskError, match="'where' is no option of every search"):
        as_mteb_search(tmp_path, encoder, where="a = 1")
    with pytest.raises(QueryError, match="mono"):
        as_mteb_search(tmp_path, encoder, stages="bm25:10,mono:5")
    model = as_mteb_search(tmp_path, encoder)
    with pytest.raises(TaskError, match="index\\(\\) before search"):
        model.search(Dataset.from_list([{"id": "q", "text": "t"}]), top_k=3, encode_kwargs={}, **facts)
    for rows, error, message in (
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], DuplicateDocumentError, "'a'"),
        ([{"id": "a", "image": "x"}], TaskError, "read text only"),
        ([{"id": "a", "body": "x"}], TaskError, "no column 'text'"),
        ([], TaskError, "no column 'text'"),
    ):
        with pytest.raises(error, match=message):
            model.index(Dataset.from_list(rows), encode_kwargs={}, **facts)
    empty = Dataset.from_dict({"id": [], "text": []})
    with pytest.raises(TaskError, match="corpus is empty"):
        model.index(empty, encode_kwargs={}, **facts)


def test_a_folder_with_other_documents_is_not_taken_for_the_corpus(tmp_path):
    task, documents, _, _ = toy_task()
    encoder = toy.CountingEncoder().encoder()
    toy.scores_of(as_mteb_search(tmp_path, encoder), task)
    (folder,) = tmp_path.iterdir()
    with Collection.open(folder, encoder=encoder) as collection:
        collection.delete(documents[0]["id"])
    with pytest.raises(TaskError, match="holds 39 documents, not the corpus's 40: remove it"):
        toy.scores_of(as_mteb_search(tmp_path, encoder), task)
