"""An encoder of ours under mteb: the same scores as by hand, and an identity that mteb's caches can rely on."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy.stats import spearmanr

from eval.errors import TaskError
from eval.mteb_models import as_mteb_encoder, as_mteb_reranker, as_mteb_search
from retrieval.encoders import FunctionEncoder, fingerprint
from retrieval.errors import MissingExtraError
from tests.eval import toy_mteb as toy

needs_mteb = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the extra mteb is not installed")


def sts_task(pairs):
    from datasets import Dataset
    from mteb.abstasks import AbsTaskSTS

    task = type("ToySTS", (AbsTaskSTS,), {"metadata": toy.metadata("ToySTS", "STS", "cosine_spearman")})()
    columns = dict(zip(("sentence1", "sentence2", "score"), map(list, zip(*pairs, strict=True)), strict=True))
    task.dataset = {"test": Dataset.from_dict(columns)}
    task.data_loaded = True
    return task


def some_pairs(n=30, seed=5):
    random = np.random.default_rng(seed)
    texts = [toy.full_text(document) for document in toy.corpus(2 * n, seed)]
    return list(zip(texts[:n], texts[n:], random.uniform(0, 5, n).tolist(), strict=True))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@needs_mteb
def test_sts_is_the_rank_correlation_of_the_encoders_similarity(similarity):
    pairs = some_pairs()
    model = as_mteb_encoder(toy.CountingEncoder().encoder(similarity=similarity))
    scores = toy.scores_of(model, sts_task(pairs))["default"]
    first, second = (toy.vectors(list(texts)).astype(np.float64) for texts in list(zip(*pairs, strict=True))[:2])
    products = (first * second).sum(axis=1)
    cosines = products / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    gold = [pair[2] for pair in pairs]
    assert scores["cosine_spearman"] == pytest.approx(spearmanr(gold, cosines).statistic, abs=1e-9)
    own = cosines if similarity == "cosine" else products
    assert scores["spearman"] == pytest.approx(spearmanr(gold, own).statistic, abs=1e-9)


@needs_mteb
def test_retrieval_is_brute_force_over_the_encoders_vectors():
    documents, texts = toy.corpus(), toy.queries()
    judged = toy.qrels(documents, list(texts))
    counting = toy.CountingEncoder()
    task = toy.retrieval_task({"default": toy.retrieval_split(documents, texts, judged)})
    scores = toy.scores_of(as_mteb_encoder(counting.encoder()), task)["default"]
    expected = [toy.ndcg(toy.by_vectors(text, documents), judged[query_id]) for query_id, text in texts.items()]
    assert scores["ndcg_at_10"] == pytest.approx(np.mean(expected), abs=1e-5)  # mteb rounds to five decimals
    assert set(counting.queries) == set(texts.values())
    assert set(counting.passages) == {toy.full_text(document) for document in documents}


@needs_mteb
def test_texts_of_symmetric_tasks_are_passages_unless_it_is_said_otherwise():
    pairs, counting = some_pairs(4), toy.CountingEncoder()
    toy.scores_of(as_mteb_encoder(counting.encoder()), sts_task(pairs))
    assert len(counting.passages) == 8
    assert not counting.queries
    for symmetric in ("query", {"STS": "query"}, {"ToySTS": "query", "STS": "passage"}):
        counting = toy.CountingEncoder()
        toy.scores_of(as_mteb_encoder(counting.encoder(), symmetric=symmetric), sts_task(pairs))
        assert len(counting.queries) == 8
        assert not counting.passages
    with pytest.raises(TaskError, match="'passage' or as 'query', not as 'document'"):
        as_mteb_encoder(counting.encoder(), symmetric={"STS": "document"})


@needs_mteb
def test_metadata_say_who_it_is():
    encoder = toy.CountingEncoder().encoder(max_tokens=77, similarity="dot")
    meta = as_mteb_encoder(encoder).mteb_model_meta
    assert meta.name == "retrieval-engine/bag-of-words"
    assert meta.revision == fingerprint(encoder.identity())
    assert (meta.embed_dim, meta.max_tokens, meta.similarity_fn_name.value) == (toy.DIMENSION, 77, "dot")
    assert meta.experiment_kwargs is None
    assert as_mteb_encoder(encoder, name="ours/bag").mteb_model_meta.name == "ours/bag"
    assert as_mteb_encoder(encoder, symmetric="query").mteb_model_meta.revision != meta.revision
    for wrong in ("", "a/b/c", "/b", "a/"):
        with pytest.raises(TaskError, match="organisation/model"):
            as_mteb_encoder(encoder, name=wrong)


@needs_mteb
def test_mtebs_cache_never_takes_one_encoder_for_another(tmp_path):
    import mteb

    cache, pairs = mteb.ResultCache(tmp_path), some_pairs(6)
    first = toy.CountingEncoder()
    toy.scores_of(as_mteb_encoder(first.encoder()), sts_task(pairs), cache)
    again, other = toy.CountingEncoder(), toy.CountingEncoder()
    toy.scores_of(as_mteb_encoder(again.encoder()), sts_task(pairs), cache)
    toy.scores_of(as_mteb_encoder(other.encoder(version="2")), sts_task(pairs), cache)
    assert (len(first.passages), len(again.passages), len(other.passages)) == (12, 0, 12)


@needs_mteb
def test_another_precision_is_another_experiment():
    class Half(FunctionEncoder):
        def execution(self):
            return {"runtime": "torch", "precision": "bf16"}

    whole = as_mteb_encoder(FunctionEncoder(toy.vectors, "a", 1)).mteb_model_meta
    half = as_mteb_encoder(Half(toy.vectors, "a", 1)).mteb_model_meta
    assert half.revision == whole.revision
    assert half.experiment_name != whole.experiment_name


@needs_mteb
def test_equal_texts_are_encoded_once_and_get_the_same_vector():
    counting = toy.CountingEncoder()
    found = as_mteb_encoder(counting.encoder()).encode(
        [{"text": ["amber", "basin"]}, {"text": ["amber"]}],
        task_metadata=toy.metadata("Toy", "STS", "cosine_spearman"),
        hf_split="test",
        hf_subset="default",
    )
    assert counting.passages == ["amber", "basin"]
    np.testing.assert_array_equal(found, toy.vectors(["amber", "basin", "amber"]))


@needs_mteb
def test_what_cannot_be_done_is_refused():
    model = as_mteb_encoder(toy.CountingEncoder().encoder())
    task = {"task_metadata": toy.metadata("Toy", "STS", "cosine_spearman"), "hf_split": "test", "hf_subset": "default"}
    with pytest.raises(TaskError, match="'Toy' has image data; the engine's models read text only"):
        model.encode([{"text": ["a"], "image": [None]}], **task)
    with pytest.raises(TaskError, match="no column 'text', only 'sentence1'"):
        model.encode([{"sentence1": ["a"]}], **task)
    with pytest.raises(TaskError, match="vectors are float32, not 'int8'"):
        model.encode([{"text": ["a"]}], **task, precision="int8")


def test_without_mteb_the_extra_is_named(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mteb" else found(name, *rest))
    for make in (as_mteb_encoder, lambda: as_mteb_reranker("mono"), lambda: as_mteb_search(tmp_path)):
        with pytest.raises(MissingExtraError, match=r"pip install 'retrieval-engine\[mteb\]'"):
            make()
