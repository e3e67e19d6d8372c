"""Rerankers over passages: FirstP, MaxP, SumP, the mean of the best and the decaying sum, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.aggregation import Aggregation
from retrieval import Collection, Document
from retrieval.errors import RerankerError
from retrieval.rerankers import (
    BirchReranker,
    Candidates,
    FunctionReranker,
    PassageReranker,
    QueryRoutingReranker,
    RoutingReranker,
    Splitting,
    load_reranker,
)
from tests.rerankers.test_splitting import published_passages

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = Splitting(3, 2, most=50)
METHODS = {
    "max": max,
    "first": lambda scores: scores[0],
    "sum": sum,
    "mean": lambda scores: np.mean(sorted(scores)[-3:]),
    "decayed": lambda scores: sum(score * 0.5**rank for rank, score in enumerate(sorted(scores)[::-1])),
}
DOCUMENTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join), max_size=5)


def overlap(query, texts):
    """A score that depends on the query and the text, negative for some."""
    return [sum(query.count(word) for word in text.split()) - 0.37 * len(text) % 1 - 0.3 for text in texts]


def of(texts):
    return Candidates([f"d{number}" for number in range(len(texts))], texts, -np.arange(len(texts), dtype=float))


class Spy(FunctionReranker):
    """Keeps what it was asked."""

    def __init__(self):
        super().__init__(overlap)
        self.asked = []

    def score(self, queries, candidates):
        self.asked.append([(query, given.texts) for query, given in zip(queries, candidates, strict=True)])
        return super().score(queries, candidates)


@given(DOCUMENTS, st.sampled_from(list(METHODS)), st.sampled_from(["ab", "eec", ""]))
def test_scores_are_those_of_a_plain_loop(texts, method, query):
    (found,) = PassageReranker(FunctionReranker(overlap), method, SMALL).score([query], [of(texts)])
    expected = [METHODS[method](overlap(query, published_passages(text, 3, 1))) for text in texts]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@given(DOCUMENTS, st.sampled_from(list(METHODS)))
def test_company_changes_nothing(texts, method):
    reranker = PassageReranker(FunctionReranker(overlap), method, SMALL)
    together = reranker.score(["ab", "c"], [of(texts), of(texts[::-1])])
    alone = [[reranker.score([query], [of([text])])[0][0] for text in texts] for query in ("ab", "c")]
    assert together[0].tolist() == alone[0]
    assert together[1].tolist() == alone[1][::-1]


@given(DOCUMENTS)
def test_the_best_passage_is_above_all_and_sums_add_up(texts):
    reranker = FunctionReranker(overlap)
    best, total = (PassageReranker(reranker, method, SMALL).score(["ab"], [of(texts)])[0] for method in ("max", "sum"))
    for row, text in enumerate(texts):
        scores = overlap("ab", published_passages(text, 3, 1))
        assert all(best[row] >= score for score in scores)
        assert best[row] in scores
        # The sum over a text's passages is what the passages have as documents of their own.
        apart = PassageReranker(reranker, "sum", SMALL).score(["ab"], [of(published_passages(text, 3, 1))])[0]
        assert total[row] == pytest.approx(apart.sum(), abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["", "a", "a b c"])
def test_one_passage_has_its_own_score(method, text):
    found = PassageReranker(FunctionReranker(overlap), method, SMALL).score(["ab"], [of([text])])
    assert found[0].tolist() == overlap("ab", [text])


def test_one_call_for_all_queries_and_equal_passages_once():
    spy = Spy()
    reranker = PassageReranker(spy, "sum", Splitting(2, 2))
    given_ = [of(["a b c d", "a b a b", ""]), of([]), of(["a b"])]
    scores = reranker.score(["q", "nothing", "ab"], given_)
    assert spy.asked == [[("q", ["a b", "c d", ""]), ("nothing", []), ("ab", ["a b"])]]
    assert [len(own) for own in scores] == [3, 0, 1]
    assert scores[0][1] == 2 * overlap("q", ["a b"])[0]
    assert [reranker.calls_for(each) for each in given_] == [3, 0, 1]
    assert [reranker.calls(n) for n in (0, 1, 7)] == [0, 30, 210]
    assert PassageReranker(spy, "first").calls(7) == 7


@given(DOCUMENTS, st.sampled_from(list(METHODS)), st.integers(1, 4))
def test_calls_are_never_more_than_planned(texts, method, most):
    spy = Spy()
    reranker = PassageReranker(spy, method, Splitting(3, 2, most=most))
    reranker.score(["ab"], [of(texts)])
    made = sum(len(passages) for _, passages in spy.asked[0])
    assert made == reranker.calls_for(of(texts)) <= reranker.calls(len(texts))


# --------------------------------------------------------------------------------------------------------- with models


@pytest.mark.parametrize("labels", [1, 2])
def test_sums_of_a_model_are_sums_of_probabilities(labels, classifier):
    model = load_reranker(classifier(labels=labels), device="cpu")
    texts = ["search engine word model query document", "word", ""]
    logits = model.score(["search"], [of(published_passages(texts[0], 3, 1))])[0]
    probabilities = 1 / (1 + np.exp(-logits)) if labels == 1 else np.exp(logits)
    found = PassageReranker(model, "sum", SMALL).score(["search"], [of(texts)])[0]
    assert found[0] == pytest.approx(probabilities.sum(), abs=1e-5)
    as_they_are = PassageReranker(model, "sum", SMALL, probabilities=False).score(["search"], [of(texts)])[0]
    assert as_they_are[0] == pytest.approx(logits.sum(), abs=1e-4)
    best = PassageReranker(model, "max", SMALL).score(["search"], [of(texts)])[0]
    assert best[0] == pytest.approx(logits.max(), abs=1e-5)


def test_passages_by_the_models_tokens(classifier):
    """No passage is longer than the model reads, which it would cut."""
    from transformers import AutoTokenizer

    model = load_reranker(classifier(), device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(classifier())
    text = "the document retrieval naïve word 1,234.56 " * 5
    pieces = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    windows = [(start, min(start + 7, len(pieces))) for start in range(0, len(pieces) - 7 + 3, 3)]
    expected = [text[pieces[start][0] : pieces[end - 1][1]] for start, end in windows]
    reranker = PassageReranker(model, "max", Splitting(7, 3, "tokens", most=100))
    assert reranker.calls_for(of([text])) == len(set(expected))
    found = reranker.score(["a query"], [of([text])])[0]
    assert found[0] == pytest.approx(model.score(["a query"], [of(expected)])[0].max(), abs=1e-5)


def test_identity_and_execution_name_the_reranker(classifier):
    model = load_reranker(classifier(), device="cpu")
    rerankers = [
        model,
        PassageReranker(model),
        PassageReranker(model, "mean"),
        PassageReranker(model, "mean", SMALL),
        PassageReranker(model, Aggregation("mean", best=2), SMALL),
        PassageReranker(model, Aggregation("mean", best=2), SMALL, probabilities=True),
    ]
    identities = [repr(reranker.identity()) for reranker in rerankers]
    assert len(set(identities)) == len(identities)
    assert rerankers[1].identity()["reranker"] == model.identity()
    assert rerankers[1].execution()["reranker"] == model.execution()
    assert rerankers[1].name == f"{model.name} (max of passages)"


def test_closing_closes_the_model(classifier):
    reranker = PassageReranker(load_reranker(classifier(), device="cpu"))
    reranker.close()
    with pytest.raises(RerankerError, match="closed"):
        reranker.score(["q"], [of(["text"])])


class Pairwise(FunctionReranker):
    """Calls its model for each pair."""

    def calls(self, n):
        return n * (n - 1)


def test_a_reranker_that_routes_candidates_is_refused_for_the_true_reason(classifier):
    """It is pointwise; but its calls are not those of its passages."""
    model = load_reranker(classifier(), device="cpu")
    routing = RoutingReranker(model, model, 0.5)
    for compose, who in ((PassageReranker, "a passage reranker"), (BirchReranker, "Birch")):
        with pytest.raises(RerankerError, match=f"{who} counts one model call for each passage, and .* makes up to 14"):
            compose(routing)


def test_what_cannot_read_passages():
    with pytest.raises(RerankerError, match=r"needs a pointwise reranker.*calls its model 42 times for 7 candidates"):
        PassageReranker(Pairwise(overlap))
    function = FunctionReranker(overlap)
    with pytest.raises(RerankerError, match="'overlap or function' says that a score depends on the other candidates"):
        PassageReranker(QueryRoutingReranker(overlap, function, 0.5))
    with pytest.raises(
        RerankerError, match=r"counts one model call for each passage, and .* up to 210 for 7 candidates"
    ):
        PassageReranker(PassageReranker(function))
    with pytest.raises(RerankerError, match=r"neither a reranker nor a function .*: .mono.; load it once"):
        PassageReranker("mono")
    PassageReranker(overlap)  # a function will do
    with pytest.raises(RerankerError, match="nothing is known of the scores of 'function'"):
        PassageReranker(function, probabilities=True)
    with pytest.raises(RerankerError, match="does not say where its tokens stand"):
        PassageReranker(function, "max", Splitting(unit="tokens"))
    with pytest.raises(RerankerError, match=r"unknown aggregation of passages 'median'.*or 'sum'"):
        PassageReranker(function, "median")


def test_a_score_that_is_no_number_is_named_with_its_passage():
    broken = FunctionReranker(lambda _, texts: [float("nan") if "c" in text else 0.0 for text in texts])
    with pytest.raises(RerankerError, match=r"returned nan for document 'd1 \(passage 2\)' and query 'q'"):
        PassageReranker(broken, "max", Splitting(2, 2)).score(["q"], [of(["a b", "a b c"])])


# ------------------------------------------------------------------------------------------------------- in a pipeline


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Two long documents, of which only the later part of one answers; and a short one."""
    made = Collection.create(tmp_path_factory.mktemp("passages") / "c", encoder=None)
    filler = "owl " + "kite " * 40
    made.add(
        [
            Document("late", filler + "the swift sleeps on the wing " * 3, "Birds"),
            Document("never", filler * 2, "Birds"),
            Document("short", "owl wren", ""),
        ]
    )
    return made


def begins(query, texts):
    """Read the first 20 words only, as a model with a token limit does."""
    return [len(set(query.split()) & set(text.split()[:20])) for text in texts]


def test_passages_find_what_stands_behind_the_token_limit(collection):
    query, stages = "owl swift sleeps", "bm25:10,mono:10"
    model = FunctionReranker(begins)
    passages = PassageReranker(model, "max", Splitting(20, 10, most=12))
    cut = collection.search(query, stages=stages, rerankers={"mono": model})
    whole = collection.search(query, stages=stages, rerankers={"mono": passages})
    assert {hit.id: hit.score for hit in cut} == {"late": 1, "never": 1, "short": 1}
    assert (whole[0].id, whole[0].score) == ("late", 2)
    assert collection.plan(stages, {"mono": passages}).calls == 3 * 12
    mono = whole.stages[-1]
    assert 3 < mono.calls < 3 * 12  # what was read, not what could have been
    assert cut.stages[-1].calls == 3


def test_titles_reach_the_passages(collection):
    seen = []
    model = FunctionReranker(lambda _, texts: [seen.append(text) or 0.0 for text in texts])
    reranker = PassageReranker(model, "max", Splitting(20, 20, title_words=3))
    collection.search("owl", stages="bm25:10,mono:10", rerankers={"mono": reranker})
    of_late = [text for text in seen if "Birds" in text]
    assert len(of_late) == len(seen) - 1  # all but the document without a title
    assert all(text.startswith("Birds ") and text.count("Birds") == 1 for text in of_late)
