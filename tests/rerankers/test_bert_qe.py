"""BERT-QE: three phases against a plain loop, its neutral cases, and how often it calls its models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RerankerError
from retrieval.rerankers import (
    BertQE,
    Candidates,
    Expansion,
    FunctionReranker,
    PassageReranker,
    Splitting,
    load_reranker,
)
from tests.rerankers.test_splitting import published_passages

pytestmark = pytest.mark.usefixtures("own_cache")

DOCUMENTS = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=14).map(" ".join), max_size=5)
PASSAGES, CHUNKS = Splitting(6, 3), Splitting(2, 1, most=5)


def likeness(query, texts):
    """A score in [0, 1] that no two pairs of texts share by chance."""
    mine = query.split()
    return [(sum(3 ** -(place % 7) for place, word in enumerate(text.split()) if word in mine) % 1) for text in texts]


def of(texts):
    return Candidates([f"d{number}" for number in range(len(texts))], texts, -np.arange(len(texts), dtype=float))


def plain(query, texts, a, n_documents, n_chunks):
    """The three phases for one query, document by document."""
    relevance, best = [], []
    for text in texts:
        passages = published_passages(text, 6, 3)
        scores = likeness(query, passages)
        relevance.append(max(scores))
        best.append(passages[scores.index(max(scores))])
    top = sorted(range(len(texts)), key=lambda number: -relevance[number])[:n_documents]
    chunks = list(dict.fromkeys(chunk for number in top for chunk in published_passages(best[number], 2, 1)))
    scored = sorted(zip(likeness(query, chunks), chunks, strict=True), key=lambda pair: -pair[0])[:n_chunks]
    weights = np.exp([score for score, _ in scored])
    weights /= weights.sum()
    expanded = sum(w * np.array(likeness(chunk, best)) for w, (_, chunk) in zip(weights, scored, strict=True))
    return (1 - a) * np.array(relevance) + a * expanded


@given(DOCUMENTS, st.sampled_from(["a b", "c", ""]), st.integers(1, 4), st.integers(1, 4))
def test_scores_are_those_of_a_plain_loop(texts, query, n_documents, n_chunks):
    expansion = Expansion(0.3, n_documents, n_chunks, PASSAGES, CHUNKS)
    (found,) = BertQE(FunctionReranker(likeness), expansion).score([query], [of(texts)])
    if texts:
        np.testing.assert_allclose(found, plain(query, texts, 0.3, n_documents, n_chunks), rtol=0, atol=1e-12)
    assert found.shape == (len(texts),)


@given(DOCUMENTS)
def test_without_weight_it_is_the_first_phase(texts):
    reranker = FunctionReranker(likeness)
    expanded = BertQE(reranker, Expansion(0.0, passages=PASSAGES))
    first = PassageReranker(reranker, "max", PASSAGES)
    np.testing.assert_array_equal(expanded.score(["a b"], [of(texts)])[0], first.score(["a b"], [of(texts)])[0])
    assert expanded.calls(9) == first.calls(9)


def test_one_chunk_is_a_query_of_its_own():
    """Of one chunk the softmax is 1, so that with a = 1 documents are scored for the chunk alone."""
    reranker = FunctionReranker(likeness)
    texts = ["a b c d e f", "c d a", "g"]
    chunks = published_passages(texts[0], 2, 1)
    best = max(chunks, key=lambda chunk: likeness("a b", [chunk])[0])
    found = BertQE(reranker, Expansion(1.0, 1, 1, PASSAGES, CHUNKS)).score(["a b"], [of(texts)])[0]
    assert found.tolist() == likeness(best, texts)


def test_company_changes_nothing():
    reranker = BertQE(FunctionReranker(likeness), Expansion(0.5, 2, 3, PASSAGES, CHUNKS))
    lists = [of(["a b c", "d e", ""]), of([]), of(["g a b c d e f a b", "b"])]
    together = reranker.score(["a", "b", "c d"], lists)
    for query, given_, scores in zip(["a", "b", "c d"], lists, together, strict=True):
        np.testing.assert_array_equal(reranker.score([query], [given_])[0], scores)


class Counting(FunctionReranker):
    """Counts the texts that it scores."""

    def __init__(self, name):
        super().__init__(likeness, name=name)
        self.texts = 0

    def score(self, queries, candidates):
        self.texts += sum(map(len, candidates))
        return super().score(queries, candidates)


@given(DOCUMENTS, st.integers(1, 4), st.integers(1, 4))
def test_calls_are_never_more_than_planned(texts, n_documents, n_chunks):
    counting = Counting("one")
    reranker = BertQE(counting, Expansion(0.5, n_documents, n_chunks, PASSAGES, CHUNKS))
    reranker.score(["a b"], [of(texts)])
    assert counting.texts <= reranker.calls_for(of(texts)) <= reranker.calls(len(texts))


def test_calls_of_the_study():
    """BERT-QE-LLL takes 11.19 times the work of the first phase: 1,000 documents, 190 chunks, 10 chunks of each."""
    phases = [Counting(name) for name in ("first", "second", "third")]
    expansion = Expansion(passages=Splitting(100, 50, most=1))
    reranker = BertQE(phases[0], expansion, chunk_reranker=phases[1], feedback_reranker=phases[2])
    assert reranker.calls(1000) == 11_190
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in random.integers(10_000, size=100)) for _ in range(1000)]
    reranker.score(["w1 w2"], [of(texts)])
    assert [phase.texts for phase in phases] == [1000, 190, 10_000]


def test_models_give_probabilities(classifier):
    model = load_reranker(classifier(), device="cpu")
    texts = ["search engine word", "model query document retrieval", ""]
    expansion = Expansion(1.0, 1, 1, Splitting(6, 3), Splitting(2, 2, most=2))
    found = BertQE(model, expansion).score(["engine"], [of(texts)])[0]
    rel = model.score(["engine"], [of(texts)])[0]
    chunks = published_passages(texts[int(rel.argmax())], 2, 0)
    chunk = chunks[int(model.score(["engine"], [of(chunks)])[0].argmax())]
    expected = 1 / (1 + np.exp(-model.score([chunk], [of(texts)])[0]))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_identity_names_all_three(classifier):
    model, function = load_reranker(classifier(), device="cpu"), FunctionReranker(likeness)
    reranker = BertQE(model, chunk_reranker=function, probabilities=False)
    kinds = [phase["reranker"]["kind"] for phase in reranker.identity()["phases"]]
    assert kinds == ["mono", "function", "mono"]
    assert [phase["runtime"] for phase in reranker.execution()["phases"]] == ["torch", "function", "torch"]
    with pytest.raises(RerankerError, match="cannot be added up"):
        BertQE(model, chunk_reranker=function)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.1}, "the chunks count 0 to 1, not 1.1"),
        ({"documents": 0}, "documents must be a whole number, at least 1, not 0"),
        ({"chunks": 2.5}, "chunks must be a whole number, at least 1, not 2.5"),
        ({"chunk": Splitting(unit="tokens")}, "by words or sentences"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(RerankerError, match=message):
        Expansion(**settings)
