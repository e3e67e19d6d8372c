"""Pairwise reranking: what the model reads, what it is called for, and the folder that it lives in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.encoders.base import fingerprint
from retrieval.encoders.tokenization import FastTokenizer
from retrieval.errors import RerankerError
from retrieval.rerankers import Aggregation, Candidates, load_reranker
from retrieval.rerankers.duo import DuoBudget, DuoInputs
from retrieval.rerankers.duo_folder import create_duo

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = ["a search engine", "the document", "query of the model and the word", "", "naïve 検索"]


def candidates(*texts):
    return Candidates([f"d{number}" for number in range(len(texts))], texts, -np.arange(len(texts), dtype=float))


@pytest.fixture(scope="module")
def duo(classifier, tmp_path_factory):
    """The folder of a pairwise reranker with random weights and 64 positions."""
    return create_duo(classifier(labels=2), tmp_path_factory.mktemp("duo") / "model", budget=DuoBudget(12, 24))


@pytest.fixture(scope="module")
def reranker(duo):
    return load_reranker(duo, device="cpu")


def test_the_segment_table_grows_by_a_copy_of_its_last_row(classifier, duo):
    from safetensors.numpy import load_file

    before, after = (load_file(folder / "model.safetensors") for folder in (classifier(labels=2), duo))
    assert before.keys() == after.keys()
    table = after["bert.embeddings.token_type_embeddings.weight"]
    assert table.shape == (3, 32)
    for name, values in before.items():
        if "token_type" in name:
            np.testing.assert_array_equal(table, values[[0, 1, 1]])
        else:
            np.testing.assert_array_equal(after[name], values)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 400), min_size=3, max_size=3), st.booleans())
def test_an_input_has_three_separators_and_three_segments_within_its_budget(tokenizer, counts, published):
    budget = DuoBudget() if published else DuoBudget(5, 9)
    inputs = DuoInputs(tokenizer, budget)
    assert inputs.max_tokens == (512 if published else 27)
    query, *documents = (letter + f" {letter}" * (n - 1) if n else "" for letter, n in zip("abc", counts, strict=True))
    prepared = inputs.prepare([query], documents, np.array([[0, 0, 1]]))
    features = prepared.features(np.array([0]))
    ids, segments = (features[name][0].tolist() for name in ("input_ids", "token_type_ids"))
    kept = [min(n, limit) for n, limit in zip(counts, (budget.query, budget.document, budget.document), strict=True)]
    a, b, c = (tokenizer.convert_tokens_to_ids(letter) for letter in "abc")
    sep = tokenizer.sep_token_id
    assert ids == [tokenizer.cls_token_id, *[a] * kept[0], sep, *[b] * kept[1], sep, *[c] * kept[2], sep]
    assert ids.count(sep) == 3
    assert segments == [0] * (kept[0] + 2) + [1] * (kept[1] + 1) + [2] * (kept[2] + 1)
    assert len(ids) == prepared.lengths[0] <= inputs.max_tokens


@pytest.fixture(scope="module")
def tokenizer(classifier):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(classifier())


def test_probabilities_are_the_models(duo, reranker, tokenizer):
    """Each input made by hand, by itself, in transformers."""
    import torch
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(duo).eval()
    found = reranker.probabilities(["search word"], [candidates(*TEXTS)])[0]
    pieces = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("search word", *TEXTS)]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    for i in range(5):
        for j in range(5):
            if i == j:
                assert np.isnan(found[i, j])
                continue
            parts = [[cls, *pieces[0], sep], [*pieces[i + 1], sep], [*pieces[j + 1], sep]]
            segments = [number for number, part in enumerate(parts) for _ in part]
            with torch.inference_mode():
                logits = model(
                    torch.tensor([[*parts[0], *parts[1], *parts[2]]]), token_type_ids=torch.tensor([segments])
                ).logits
            assert found[i, j] == pytest.approx(torch.softmax(logits, 1)[0, 1].item(), abs=1e-5)
    assert np.nanstd(found) > 0.01


@pytest.mark.parametrize("method", ["sum", "binary", "min", "max", "symmetric-sum"])
def test_scores_are_the_aggregated_probabilities(method, duo, reranker):
    lists = [candidates(*TEXTS), candidates(), candidates("one text"), candidates(*TEXTS[:2])]
    queries = ["search word", "b", "c", "model"]
    aggregation = Aggregation(method)
    scores = load_reranker(duo, aggregation=aggregation, device="cpu").score(queries, lists)
    assert [len(each) for each in scores] == [5, 0, 1, 2]
    assert scores[2].tolist() == [0.0]
    for matrix, found in zip(reranker.probabilities(queries, lists), scores, strict=True):
        pairs = np.argwhere(~np.eye(len(matrix), dtype=bool))
        expected = aggregation.scores(len(matrix), pairs, matrix[pairs[:, 0], pairs[:, 1]])
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_order_same_scores(duo):
    order = np.random.default_rng(0).permutation(5)
    for aggregation in (Aggregation(), Aggregation("sample", 2)):
        reranker = load_reranker(duo, aggregation=aggregation, device="cpu")
        given = candidates(*TEXTS)
        moved = Candidates([given.ids[i] for i in order], [given.texts[i] for i in order], given.scores)
        scores = reranker.score(["search"], [given])[0]
        np.testing.assert_allclose(reranker.score(["search"], [moved])[0], scores[order], atol=1e-5)


def test_company_changes_nothing(duo, reranker):
    queries, lists = ["search word", "the query"], [candidates(*TEXTS), candidates(*TEXTS[1:3])]
    together = reranker.score(queries, lists)
    small = load_reranker(duo, batch_tokens=1, device="cpu")
    for query, of_query, scores in zip(queries, lists, together, strict=True):
        np.testing.assert_allclose(small.score([query], [of_query])[0], scores, atol=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "counts", "calls"),
    [
        (Aggregation(), [5, 0, 1, 2], 20 + 0 + 0 + 2),
        (Aggregation("sample", 2), [5, 0, 1, 2], 10 + 0 + 0 + 2),
        (Aggregation(), [1, 1], 0),
    ],
)
def test_model_calls(aggregation, counts, calls, duo):
    reranker = load_reranker(duo, aggregation=aggregation, device="cpu")
    rows = []
    reranker._classifier._model.classifier.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    reranker.score(list("abcd")[: len(counts)], [candidates(*TEXTS[:n]) for n in counts])
    assert sum(rows) == sum(map(reranker.calls, counts)) == calls


def test_each_text_is_tokenised_once(reranker, monkeypatch):
    tokenised = []
    pieces = FastTokenizer.pieces

    def counted(self, texts, *args, **kwargs):
        tokenised.extend(texts)
        return pieces(self, texts, *args, **kwargs)

    monkeypatch.setattr(FastTokenizer, "pieces", counted)
    reranker.score(["search word", "model"], [candidates(*TEXTS), candidates(*TEXTS[:3])])
    assert sorted(tokenised) == sorted(["search word", "model", *TEXTS])


# ---------------------------------------------------------------------------------------------------------- its folder


def test_a_folder_keeps_its_settings(classifier, tmp_path):
    aggregation = Aggregation("sample", 3, seed=7)
    folder = create_duo(classifier(labels=2), tmp_path / "duo", budget=DuoBudget(4, 5), aggregation=aggregation)
    first, second = load_reranker(folder, device="cpu"), load_reranker(folder, device="cpu", aggregation=Aggregation())
    assert first.aggregation == aggregation
    identity = first.identity()
    assert (identity["kind"], identity["query_tokens"], identity["document_tokens"]) == ("duo", 4, 5)
    assert identity["aggregation"] == {"method": "sample", "m": 3, "seed": 7}
    assert fingerprint(identity) == fingerprint(load_reranker(folder).identity()) != fingerprint(second.identity())
    assert first.name == str(folder)
    assert first.calls(10) == 30


def test_an_encoder_becomes_a_pairwise_reranker_with_a_new_head(tmp_path):
    """The same head for the same seed, two logits, everything else from the encoder."""
    from safetensors.numpy import load_file

    from tests.retrieval.conftest import save_backbone

    backbone = save_backbone(tmp_path / "backbone", seed=0)
    folders = [
        create_duo(backbone, tmp_path / name, budget=DuoBudget(8, 8), seed=seed)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    ]
    heads = [load_file(folder / "model.safetensors")["classifier.weight"] for folder in folders]
    assert heads[0].shape == (2, 32)
    np.testing.assert_array_equal(heads[0], heads[1])
    assert np.abs(heads[0] - heads[2]).max() > 0
    kept = load_file(backbone / "model.safetensors")["encoder.layer.1.output.dense.weight"]
    np.testing.assert_array_equal(
        load_file(folders[0] / "model.safetensors")["bert.encoder.layer.1.output.dense.weight"], kept
    )


def test_budgets_beyond_the_positions(classifier, tmp_path):
    with pytest.raises(RerankerError, match=r"make inputs of 512 tokens, but model .* reads 64"):
        create_duo(classifier(), tmp_path / "duo")
    with pytest.raises(RerankerError, match="at least 1, not 0 and 3"):
        DuoBudget(0, 3)


def test_a_folder_in_use_is_not_written_to(classifier, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RerankerError, match="not an empty folder"):
        create_duo(classifier(), tmp_path, budget=DuoBudget(4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, this version reads 1"),
        ({"query_tokens": None}, "damaged"),
        ({"aggregation": {"method": "median"}}, "unknown aggregation 'median'"),
        ({"document_tokens": 100}, "make inputs of 216 tokens"),
    ],
)
def test_settings_that_are_damaged(change, message, duo, tmp_path):
    import shutil

    folder = shutil.copytree(duo, tmp_path / "copy")
    settings = json.loads((folder / "reranker.json").read_text())
    (folder / "reranker.json").write_text(json.dumps(settings | change))
    with pytest.raises(RerankerError, match=message):
        load_reranker(folder)


def test_two_segments_are_too_few(classifier, duo, tmp_path):
    import shutil

    folder = shutil.copytree(classifier(labels=2), tmp_path / "copy")
    shutil.copy(duo / "reranker.json", folder)
    with pytest.raises(RerankerError, match="has 2 segments, a pairwise reranker needs 3"):
        load_reranker(folder)


def test_comparisons_that_are_not_numbers_name_query_and_documents(duo):
    reranker = load_reranker(duo, device="cpu")
    reranker._classifier._model.classifier.bias.data[:] = float("nan")
    with pytest.raises(RerankerError, match="returned nan for documents 'd0' and 'd1' and query 'a query'"):
        reranker.score(["a query"], [candidates("one", "two")])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"aggregation": "max"}, Aggregation("max")),
        ({"aggregation": "symmetric-sum", "m": None}, Aggregation("symmetric-sum")),
        ({"aggregation": "sample", "m": 3}, Aggregation("sample", 3)),
        ({"aggregation": "sample", "m": 3, "seed": 7}, Aggregation("sample", 3, 7)),
        ({}, Aggregation()),
    ],
)
def test_an_aggregation_by_name(settings, expected, duo):
    named, given_ = load_reranker(duo, device="cpu", **settings), load_reranker(duo, device="cpu", aggregation=expected)
    assert named.aggregation == expected
    lists = [candidates(*TEXTS)]
    np.testing.assert_array_equal(named.score(["a query"], lists)[0], given_.score(["a query"], lists)[0])
    assert named.identity() == given_.identity()


def test_settings_of_the_folders_aggregation(classifier, tmp_path):
    budget, sample = DuoBudget(4, 5), Aggregation("sample", 3, seed=7)
    folder = create_duo(classifier(labels=2), tmp_path / "duo", budget=budget, aggregation=sample)
    assert load_reranker(folder, device="cpu", m=2).aggregation == Aggregation("sample", 2, seed=7)
    assert load_reranker(folder, device="cpu", seed=1).aggregation == Aggregation("sample", 3, seed=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"aggregation": "median"},
            "unknown aggregation 'median': one of sum, binary, min, max, sample, symmetric-sum",
        ),
        ({"aggregation": 3}, "unknown aggregation 3: one of sum"),
        ({"aggregation": "sample"}, "aggregation 'sample' needs m of at least 1, not None"),
        ({"aggregation": "max", "m": 3}, "m is for aggregation 'sample', not for 'max'"),
        ({"aggregation": "max", "seed": 3}, "seed is for aggregation 'sample', not for 'max'"),
        ({"m": 3}, "m is for aggregation 'sample', not for 'sum'"),
        ({"aggregation": "sample", "m": 2.5}, "m is 2.5; give a whole number"),
        ({"aggregation": Aggregation(), "m": 3}, "an Aggregation has its own m"),
    ],
)
def test_aggregations_that_make_no_sense(settings, message, duo):
    with pytest.raises(RerankerError, match=message):
        load_reranker(duo, device="cpu", **settings)
