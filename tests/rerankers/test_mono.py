"""Pointwise reranking: scores of the library's own CrossEncoder, token budgets, batches, what it says it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.encoders.base import fingerprint
from retrieval.errors import RerankerError
from retrieval.rerankers import Candidates, load_reranker

pytestmark = pytest.mark.usefixtures("own_cache")

WORDS = ["search", "engine", "retrieval", "document", "query", "model", "word", "naïve", "検索", "1,234.56", "don't"]


def candidates(*texts):
    return Candidates([f"d{number}" for number in range(len(texts))], texts, -np.arange(len(texts), dtype=float))


def texts_of(random, n, longest):
    return [" ".join(random.choice(WORDS, size=random.integers(0, longest))) for _ in range(n)]


@pytest.fixture(scope="module")
def lists():
    """Seven queries with up to 12 candidates of up to 20 words; some have none, some texts come twice."""
    random = np.random.default_rng(0)
    queries = texts_of(random, 7, 5)
    given = [texts_of(random, n, 20) for n in (5, 0, 12, 1, 3, 0, 2)]
    given[2][4] = given[2][0]
    return queries, [candidates(*texts) for texts in given]


def predicted(folder, queries, lists):
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    pairs = [(query, text) for query, given in zip(queries, lists, strict=True) for text in given.texts]
    return model.predict(pairs, show_progress_bar=False)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distil", "alibi", "causal"])
def test_scores_are_those_of_the_cross_encoder(kind, classifier, lists):
    folder = classifier(kind)
    found = load_reranker(folder, device="cpu").score(*lists)
    assert [len(scores) for scores in found] == [len(given) for given in lists[1]]
    assert all(scores.dtype == np.float64 for scores in found)
    expected = predicted(folder, *lists)
    assert expected.std() > 0.1  # scores that differ, so that a wrong order would show
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


def test_two_logits_are_ranked_by_the_logarithm_of_the_second_probability(classifier, lists):
    folder = classifier(labels=2)
    expected = predicted(folder, *lists).astype(np.float64)
    expected = expected[:, 1] - np.log(np.exp(expected).sum(axis=1))
    np.testing.assert_allclose(np.concatenate(load_reranker(folder, device="cpu").score(*lists)), expected, atol=1e-5)


def test_equal_texts_tie_exactly(classifier, lists):
    scores = load_reranker(classifier(), device="cpu", batch_tokens=64).score(*lists)[2]
    assert scores[4] == scores[0]
    assert len(set(scores.tolist())) > 6


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_company_changes_nothing(batch_tokens, classifier, lists):
    """Each query by itself, and batches of any size: the same scores up to rounding."""
    reranker = load_reranker(classifier(), device="cpu", batch_tokens=batch_tokens)
    together = reranker.score(*lists)
    for query, of_query, scores in zip(*lists, together, strict=True):
        np.testing.assert_allclose(reranker.score([query], [of_query])[0], scores, atol=1e-5)
    np.testing.assert_allclose(
        np.concatenate(together), np.concatenate(load_reranker(classifier()).score(*lists)), atol=1e-5
    )


def test_inputs_go_in_windows(classifier, lists, monkeypatch):
    reranker = load_reranker(classifier(), device="cpu")
    expected = reranker.score(*lists)
    monkeypatch.setattr("retrieval.rerankers.mono.WINDOW", 6)
    for found, scores in zip(reranker.score(*lists), expected, strict=True):
        np.testing.assert_allclose(found, scores, atol=1e-5)


def test_a_loaded_cross_encoder(classifier, lists):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(classifier()), device="cpu")
    reranker, loaded = load_reranker(model), load_reranker(classifier(), device="cpu")
    assert reranker.identity() == loaded.identity()
    np.testing.assert_array_equal(np.concatenate(reranker.score(*lists)), np.concatenate(loaded.score(*lists)))


def test_a_saved_cross_encoder_with_a_prompt(classifier, lists, tmp_path):
    from sentence_transformers import CrossEncoder

    prompts = {"search": "search query: "}
    model = CrossEncoder(str(classifier()), device="cpu", prompts=prompts, default_prompt_name="search", max_length=40)
    model.save_pretrained(str(tmp_path / "saved"))
    reranker = load_reranker(tmp_path / "saved", device="cpu")
    assert (reranker.identity()["prompt"], reranker.identity()["max_tokens"]) == ("search query: ", 40)
    short = [candidates(*(text[:40] for text in given.texts)) for given in lists[1]]
    found = np.concatenate(reranker.score(lists[0], short))
    np.testing.assert_allclose(found, predicted(tmp_path / "saved", lists[0], short), atol=1e-5)
    without = np.concatenate(load_reranker(tmp_path / "saved", prompt="", device="cpu").score(lists[0], short))
    assert np.abs(found - without).max() > 1e-3


def test_a_cross_encoder_of_several_modules(tmp_path, lists):
    """Its scores come from a dense layer over a pooled vector, not from a classifier's head."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from tests.retrieval.conftest import save_backbone

    torch.manual_seed(0)
    dense = Dense(
        32,
        1,
        activation_function=torch.nn.Identity(),
        module_input_name="sentence_embedding",
        module_output_name="scores",
    )
    modules = [Transformer(str(save_backbone(tmp_path / "backbone", seed=0))), Pooling(32, pooling_mode="cls"), dense]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "saved"))
    reranker = load_reranker(tmp_path / "saved", device="cpu")
    found = np.concatenate(reranker.score(*lists))
    np.testing.assert_allclose(found, predicted(tmp_path / "saved", *lists), atol=1e-5)
    assert any("Pooling" in module for module in reranker.identity()["modules"])
    with pytest.raises(RerankerError, match="query_tokens cannot be set"):
        load_reranker(tmp_path / "saved", query_tokens=10)


# ------------------------------------------------------------------------------------------------------ token budgets


def tokens(reranker, query, text):
    """Return the ids and segments that the model gets for one pair."""
    seen = []
    network = reranker._classifier._model.base_model.embeddings
    handle = network.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    reranker.score([query], [candidates(text)])
    handle.remove()
    (features,) = seen
    return features["input_ids"][0].tolist(), features["token_type_ids"][0].tolist()


@settings(max_examples=20)
@given(st.integers(0, 80), st.integers(0, 80), st.sampled_from([8, 9, 30, 64]))
def test_the_query_is_cut_at_its_budget_and_the_document_to_what_is_left(n_query, n_document, max_tokens):
    reranker = _small(max_tokens)
    budget = reranker.identity()["query_tokens"] - 2  # [CLS] and [SEP]
    ids, segments = tokens(reranker, "a " * n_query, "b " * n_document)
    query = min(n_query, budget)
    document = min(n_document, max_tokens - 3 - query)
    vocabulary = _small(64)._inputs._tokenizer._tokenizer.get_vocab()
    cls, sep, a, b = (vocabulary[piece] for piece in ("[CLS]", "[SEP]", "a", "b"))
    assert ids == [cls, *[a] * query, sep, *[b] * document, sep]
    assert segments == [0] * (query + 2) + [1] * (document + 1)
    assert len(ids) <= max_tokens


MODELS: dict[int, object] = {}
FOLDER: list = []


@pytest.fixture(autouse=True, scope="module")
def _folder(classifier):
    FOLDER.append(classifier())


def _small(max_tokens):
    if max_tokens not in MODELS:
        MODELS[max_tokens] = load_reranker(FOLDER[-1], max_tokens=max_tokens, device="cpu")
    return MODELS[max_tokens]


def test_budgets_as_published_where_the_model_reads_that_much(classifier):
    identity = load_reranker(classifier("roberta"), device="cpu").identity()
    assert (identity["query_tokens"], identity["max_tokens"]) == (64, 128)
    assert load_reranker(classifier(), device="cpu").identity()["max_tokens"] == 64


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"max_tokens": 65}, "max_tokens is 65, but .* reads 64"),
        ({"query_tokens": 64}, "query_tokens is 64 of max_tokens 64, which leaves 62 for the query itself and -1"),
        ({"query_tokens": 2}, "leaves 0 for the query itself"),
    ],
)
def test_budgets_that_leave_no_room(budgets, message, classifier):
    with pytest.raises(RerankerError, match=message):
        load_reranker(classifier(), **budgets)


# ------------------------------------------------------------------------------------------------ calls and identity


def test_model_calls(classifier, lists):
    """One for each candidate; equal texts of a query once."""
    reranker = load_reranker(classifier(), device="cpu")
    rows = []
    reranker._classifier._model.classifier.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    different = [candidates(*dict.fromkeys(given.texts)) for given in lists[1]]
    reranker.score(lists[0], different)
    assert sum(rows) == sum(reranker.calls(len(given)) for given in different) > 20
    rows.clear()
    reranker.score(lists[0], lists[1])
    assert sum(rows) == sum(len(given) for given in different)


def test_identity_is_that_of_the_weights_and_the_settings(classifier):
    identities = [
        load_reranker(classifier(**model), device="cpu", **settings).identity()
        for model, settings in (({}, {}), ({"seed": 1}, {}), ({}, {"max_tokens": 32}), ({}, {"prompt": "q: "}))
    ]
    assert len({fingerprint(identity) for identity in identities}) == 4
    again = load_reranker(classifier(), device="cpu", batch_tokens=7, precision="bf16")
    assert again.identity() == identities[0]
    assert (again.execution()["batch_tokens"], again.execution()["precision"]) == (7, "bf16")


def test_half_precision_ranks_alike(classifier, lists):
    full = np.concatenate(load_reranker(classifier(), device="cpu").score(*lists))
    half = np.concatenate(load_reranker(classifier(), device="cpu", precision="bf16").score(*lists))
    assert np.isfinite(half).all()
    assert np.corrcoef(full, half)[0, 1] > 0.99


def test_scores_that_are_not_numbers_name_query_and_document(classifier):
    reranker = load_reranker(classifier(), device="cpu")
    reranker._classifier._model.classifier.bias.data[:] = float("nan")
    with pytest.raises(RerankerError, match=r"returned nan for document 'd0' and query 'a query'"):
        reranker.score(["a query"], [candidates("one", "two")])


def test_one_list_for_each_query(classifier):
    reranker = load_reranker(classifier(), device="cpu")
    with pytest.raises(RerankerError, match="2 queries, but candidates for 1"):
        reranker.score(["a", "b"], [candidates("c")])
    with pytest.raises(RerankerError, match="put it in a list"):
        reranker.score("query", [candidates("c")])
    assert reranker.score([], []) == []


def test_a_closed_reranker(classifier):
    reranker = load_reranker(classifier(), device="cpu")
    reranker.close()
    with pytest.raises(RerankerError, match="closed"):
        reranker.score(["a"], [candidates("b")])


def test_threads_score_as_one_does(classifier, lists):
    """Searches run at the same time share a reranker: each thread has queries of its own."""
    reranker = load_reranker(classifier(), device="cpu", batch_tokens=100)
    queries, given = lists
    expected = reranker.score(queries, given)
    turns = [list(np.roll(np.arange(len(queries)), shift)) for shift in range(4)] * 3

    def score(order):
        return reranker.score([queries[number] for number in order], [given[number] for number in order])

    with ThreadPoolExecutor(4) as pool:
        for order, found in zip(turns, pool.map(score, turns), strict=True):
            for number, scores in zip(order, found, strict=True):
                np.testing.assert_allclose(scores, expected[number], atol=1e-5)
