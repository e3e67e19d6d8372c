"""A reranker of ours under mteb: each query's candidates together, whatever mteb's batches are."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from eval.errors import TaskError
from eval.mteb_models import as_mteb_reranker
from retrieval.encoders import fingerprint
from retrieval.rerankers import FunctionReranker
from tests.eval import toy_mteb as toy

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the extra mteb is not installed")


def overlap(query, texts):
    words = set(query.split())
    return [len(words & set(text.split())) + 1e-3 * len(text) for text in texts]


class Recording(FunctionReranker):
    """Keeps what it was asked."""

    def __init__(self, function):
        super().__init__(function, "overlap", 3)
        self.asked = []

    def score(self, queries, candidates):
        self.asked += zip(queries, candidates, strict=True)
        return super().score(queries, candidates)


def task_with_candidates(seed=7):
    documents, texts = toy.corpus(), toy.queries()
    judged = toy.qrels(documents, list(texts))
    random = np.random.default_rng(seed)
    ids = [document["id"] for document in documents]
    lists = {query_id: [str(each) for each in random.permutation(ids)[: random.integers(1, 20)]] for query_id in texts}
    split = toy.retrieval_split(documents, texts, judged, top_ranked=lists)
    return toy.retrieval_task({"default": split}, kind="Reranking"), {each["id"]: each for each in documents}, lists


def test_candidates_are_ranked_as_by_hand():
    task, documents, lists = task_with_candidates()
    texts, judged = toy.queries(), toy.qrels(list(documents.values()), list(lists))
    reranker = Recording(overlap)
    scores = toy.scores_of(as_mteb_reranker(reranker), task)["default"]
    expected = []
    for query_id, ids in lists.items():
        found = dict(zip(ids, overlap(texts[query_id], [toy.full_text(documents[each]) for each in ids]), strict=True))
        # mteb measures by score, ties by descending id
        ranking = sorted(found, key=lambda each: (found[each], each), reverse=True)
        expected.append(toy.ndcg(ranking, judged[query_id]))
    assert scores["ndcg_at_10"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_reranker_sees_each_query_once_with_all_its_candidates_and_their_titles():
    task, documents, lists = task_with_candidates()
    reranker = Recording(overlap)
    toy.scores_of(as_mteb_reranker(reranker), task)
    assert [query for query, _ in reranker.asked] == list(toy.queries().values())
    assert [list(candidates.ids) for _, candidates in reranker.asked] == list(lists.values())
    for _, candidates in reranker.asked:
        assert list(candidates.texts) == [toy.full_text(documents[each]) for each in candidates.ids]
        titles = [documents[each]["title"] for each in candidates.ids]
        assert list(candidates.title_lengths) in ([], [len(title) for title in titles])
        assert bool(candidates.title_lengths) == any(titles)


def predict(reranker, queries, documents):
    facts = {"task_metadata": toy.metadata("Toy", "Reranking", "ndcg_at_10"), "hf_split": "test", "hf_subset": "a"}
    return as_mteb_reranker(reranker).predict(queries, documents, **facts)


def test_batches_cut_neither_queries_nor_candidates():
    reranker = Recording(lambda query, texts: [len(texts)] * len(texts))  # each score depends on all candidates
    queries = [{"id": ["1", "1"], "text": ["same", "same"]}, {"id": ["1", "2"], "text": ["same", "same"]}]
    documents = [{"id": ["a", "b", "c"], "text": ["x", "y", "z"]}, {"id": ["a"], "text": ["x"]}]
    np.testing.assert_array_equal(predict(reranker, queries, documents), [3, 3, 3, 1])


def test_a_candidate_that_comes_twice_is_scored_once_and_gets_its_score_twice():
    reranker = Recording(lambda query, texts: [float(text) for text in texts])
    queries = [{"id": ["1"] * 4, "text": ["q"] * 4}]
    documents = [{"id": ["b", "a", "b", "c"], "text": ["5", "7", "5", "2"]}]
    np.testing.assert_array_equal(predict(reranker, queries, documents), [5, 7, 5, 2])
    assert list(reranker.asked[0][1].ids) == ["b", "a", "c"]


def test_pairs_need_both_sides():
    with pytest.raises(TaskError, match="another number of documents than of queries"):
        predict(Recording(overlap), [{"text": ["q", "q"]}], [{"text": ["a"]}])
    assert predict(Recording(overlap), [], []).shape == (0,)


def test_metadata_say_who_it_is():
    reranker = FunctionReranker(overlap, "word overlap", 3)
    meta = as_mteb_reranker(reranker).mteb_model_meta
    assert meta.name == "retrieval-engine/word-overlap"
    assert meta.revision == fingerprint(reranker.identity())
    assert meta.is_cross_encoder


def test_the_precision_of_a_model_within_a_reranker_is_an_experiment_of_its_own():
    class Outer(FunctionReranker):
        def execution(self):
            return {"runtime": "passages", "reranker": {"runtime": "torch", "precision": "bf16"}}

    plain = as_mteb_reranker(FunctionReranker(overlap, "a", 1)).mteb_model_meta
    half = as_mteb_reranker(Outer(overlap, "a", 1)).mteb_model_meta
    assert plain.experiment_kwargs is None
    assert half.experiment_kwargs == {"reranker reranker precision": "bf16"}
    assert half.revision == plain.revision
