"""BERTScore: hand values, a naive computation, the authors' package's figures, and what must always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group, spearmanr

from eval.errors import MeasureError, TaskError
from eval.probes.data import RatedSummaries, read_rated_summaries
from eval.probes.layer_states import load_layer_states
from eval.probes.summary_ratings import correlate_with_ratings
from eval.probes.token_matching import Baseline, BertScorer, DocumentFrequencies, frequencies_of, match_tokens

CANDIDATES = ["a man reads a book", "the dog runs", "the old house", "a man reads a book"]
REFERENCES = ["the man plays guitar", "a dog runs", "a new house by the river", "a man reads a book"]


def test_matching_by_hand():
    """Candidate tokens at 0° and 90° (of any length), reference tokens at 0°, 60° and 180°."""
    candidate = np.array([[2.0, 0], [0, 5]])
    reference = np.array([[1.0, 0], [0.5, math.sqrt(3) / 2], [-3, 0]])
    # Rows of cosines: 1, 0.5, -1 and 0, 0.866, 0.
    precision, recall, f1 = match_tokens(candidate, reference, np.ones(2), np.ones(3))
    assert precision == pytest.approx((1 + math.sqrt(3) / 2) / 2)
    assert recall == pytest.approx((1 + math.sqrt(3) / 2 + 0) / 3)
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    # A weight of nothing keeps a token as a partner: the second candidate token still matches the second reference one.
    precision, recall, _ = match_tokens(candidate, reference, np.array([3.0, 0]), np.array([1.0, 2, 0]))
    assert precision == pytest.approx(1)
    assert recall == pytest.approx((1 + 2 * math.sqrt(3) / 2) / 3)


def naive(candidate, reference, candidate_weights, reference_weights):
    def cosine(x, y):
        return sum(a * b for a, b in zip(x, y, strict=True)) / math.dist(x, [0] * len(x)) / math.dist(y, [0] * len(y))

    def side(these, others, weights):
        best = [max(cosine(each, other) for other in others) for each in these]
        return sum(w * b for w, b in zip(weights, best, strict=True)) / sum(weights)

    precision, recall = side(candidate, reference, candidate_weights), side(reference, candidate, reference_weights)
    return precision, recall, 2 * precision * recall / (precision + recall)


@given(st.integers(0, 10**6))
def test_matching_equals_a_naive_one_and_no_rotation_or_order_changes_it(seed):
    draw = np.random.default_rng(seed)
    candidate, reference = draw.normal(size=(4, 3)), draw.normal(size=(6, 3))
    weights = draw.uniform(0.1, 2, 4), draw.uniform(0.1, 2, 6)
    found = match_tokens(candidate, reference, *weights)
    assert found == pytest.approx(naive(candidate.tolist(), reference.tolist(), *(each.tolist() for each in weights)))
    rotation = ortho_group.rvs(3, random_state=seed)
    assert match_tokens(candidate @ rotation, reference @ rotation, *weights) == pytest.approx(found)
    first, second = draw.permutation(4), draw.permutation(6)
    assert match_tokens(candidate[first], reference[second], weights[0][first], weights[1][second]) == pytest.approx(
        found
    )
    precision, recall, f1 = match_tokens(reference, candidate, *weights[::-1])
    assert (recall, precision, f1) == pytest.approx(found)  # sides change places
    assert match_tokens(candidate, candidate, weights[0], weights[0]) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("candidate", "weights", "words"),
    [
        ([[1.0, 0]], [0.0], "weigh nothing"),
        ([[1.0, 0]], [-1.0], "from 0 up"),
        ([[1.0, 0]], [1.0, 1.0], "one for each of 1 tokens"),
        ([[0.0, 0]], [1.0], "length zero"),
        ([[np.nan, 0]], [1.0], "NaN"),
    ],
)
def test_tokens_that_cannot_be_matched_are_refused(candidate, weights, words):
    with pytest.raises(MeasureError, match=words):
        match_tokens(np.array(candidate), np.eye(2), np.array(weights), np.ones(2))


def test_document_frequencies_by_hand():
    found = DocumentFrequencies.of([np.array([1, 2, 2]), np.array([1, 3]), np.array([1])])
    assert found.weights(np.array([1, 2, 9])) == pytest.approx([math.log(4 / 4), math.log(4 / 2), math.log(4)])
    with pytest.raises(MeasureError, match="need texts"):
        DocumentFrequencies.of([])


@pytest.fixture(scope="module")
def model(tiny_model):
    from retrieval.training.builders.encoder import build_model

    return build_model(backbone=str(tiny_model)).eval()


def token_states(model, text, layer):
    tokens = model.tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        every = model[0].model(**tokens, output_hidden_states=True).hidden_states
    return every[layer][0].double().numpy(), tokens["input_ids"][0].tolist()


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_scores_are_those_of_the_layers_states(tiny_states, model, layer):
    found = BertScorer(tiny_states, layer=layer).score(CANDIDATES, REFERENCES)
    for row, (candidate, reference) in enumerate(zip(CANDIDATES, REFERENCES, strict=True)):
        x, y = token_states(model, candidate, layer)[0], token_states(model, reference, layer)[0]
        own = [[0, *([1] * (len(states) - 2)), 0] for states in (x, y)]  # not [CLS] and [SEP]
        wanted = naive(x.tolist(), y.tolist(), *own)
        assert (found.precision[row], found.recall[row], found.f1[row]) == pytest.approx(wanted, abs=1e-5)
    assert (found.precision[3], found.recall[3], found.f1[3]) == pytest.approx((1, 1, 1))


def test_idf_weights_tokens_by_the_references(tiny_states, model):
    frequencies = frequencies_of(tiny_states, REFERENCES)
    found = BertScorer(tiny_states, frequencies=frequencies).score(CANDIDATES, REFERENCES)
    ids = [token_states(model, text, 0)[1] for text in REFERENCES]
    for row in range(3):
        states = [token_states(model, text, 3) for text in (CANDIDATES[row], REFERENCES[row])]
        weights = [[math.log(5 / (1 + sum(token in text for text in ids))) for token in tokens] for _, tokens in states]
        assert weights[0][0] == weights[0][-1] == 0  # special tokens stand in every text
        wanted = naive(states[0][0].tolist(), states[1][0].tolist(), *weights)
        assert (found.precision[row], found.recall[row], found.f1[row]) == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(MeasureError, match="weigh nothing"):
        one = frequencies_of(tiny_states, ["the dog"])
        BertScorer(tiny_states, frequencies=one).score(["the dog"], ["the dog"])


def test_a_baseline_rescales_linearly(tiny_states):
    plain = BertScorer(tiny_states).score(CANDIDATES, REFERENCES)
    scaled = BertScorer(tiny_states, baseline=Baseline(0.2, 0.5, -1)).score(CANDIDATES, REFERENCES)
    assert scaled.precision == pytest.approx((plain.precision - 0.2) / 0.8)
    assert scaled.recall == pytest.approx((plain.recall - 0.5) / 0.5)
    assert scaled.f1 == pytest.approx((plain.f1 + 1) / 2)
    with pytest.raises(MeasureError, match="must be below 1, but that of recall is 1"):
        Baseline(0, 1, 0)


def test_layers_and_bad_input(tiny_states):
    assert BertScorer(tiny_states).layer == 3  # three quarters of three layers, rounded up
    with pytest.raises(MeasureError, match=r"no layer 4: model .* has 0 to 3"):
        BertScorer(tiny_states, layer=4)
    with pytest.raises(MeasureError, match="2 candidates have 1 references"):
        BertScorer(tiny_states).score(["a", "b"], ["a"])
    with pytest.raises(MeasureError, match="text 0 is blank"):
        BertScorer(tiny_states).score([""], ["a"])


PUBLISHED = {
    # By bert_score 0.3.13 on the packaged MiniLM: layer, idf -> precision, recall, F1 of each pair.
    (3, False): [(0.89489, 0.85283, 0.87335), (0.68208, 0.67139, 0.67669), (0.75282, 0.66766, 0.70769)],
    (3, True): [(0.86129, 0.829, 0.84484), (0.56669, 0.62856, 0.59602), (0.66416, 0.64586, 0.65489)],
    (5, False): [(0.93164, 0.90531, 0.91828), (0.70946, 0.72083, 0.7151), (0.78443, 0.74032, 0.76173)],
    (5, True): [(0.88329, 0.87992, 0.88161), (0.57031, 0.67176, 0.61689), (0.71039, 0.72477, 0.71751)],
}


@pytest.mark.slow
def test_the_authors_package_gives_the_same_scores():
    candidates = [
        "The cat sat on the mat.",
        "A quick brown fox jumps over the lazy dog.",
        "It rained all day in London.",
    ]
    references = [
        "A cat was sitting on the mat.",
        "The lazy dog slept while a fox ran by.",
        "London had sunshine yesterday, but it rained on Monday.",
    ]
    states = load_layer_states("embedded")
    frequencies = frequencies_of(states, references)
    for (layer, idf), wanted in PUBLISHED.items():
        scorer = BertScorer(states, layer=layer, frequencies=frequencies if idf else None)
        found = scorer.score(candidates, references)
        np.testing.assert_allclose(np.array([found.precision, found.recall, found.f1]).T, wanted, atol=2e-5)


def article(name, candidates, ratings, references=("the man runs", "a dog eats")):
    return RatedSummaries(name, list(references), candidates, {"fluency": np.array(ratings)})


def test_correlation_with_ratings_is_within_articles(tiny_states):
    texts = ["the man runs", "a dog runs", "the old house", "a book by the river"]
    articles = [article("one", texts, [4.0, 3, 2, 1]), article("two", texts[::-1], [5.0, 5, 1, 2], ["a bird eats"])]
    scorer = BertScorer(tiny_states)
    for references, combine in (("max", np.max), ("mean", np.mean)):
        found = correlate_with_ratings(scorer, articles, references=references)
        wanted, every = [], []
        for each in articles:
            scores = [
                combine([scorer.score([text], [one]).f1[0] for one in each.references]) for text in each.candidates
            ]
            wanted.append(spearmanr(each.ratings["fluency"], scores).statistic)
            every += scores
        assert found.spearman["f1"]["fluency"].value == pytest.approx(np.mean(wanted))
        assert found.mean["f1"] == pytest.approx(np.mean(every))
        assert (found.n_articles, found.n_summaries, found.left_out) == (2, 8, {"fluency": 0})
    constant = article("three", texts, [3.0] * 4)
    found = correlate_with_ratings(scorer, [*articles, constant])
    assert found.left_out == {"fluency": 1}
    assert "fluency 1" in found.outcome().markdown()
    with pytest.raises(MeasureError, match="1 articles have summaries that differ"):
        correlate_with_ratings(scorer, [articles[0], constant])
    with pytest.raises(MeasureError, match="at least two"):
        correlate_with_ratings(scorer, articles[:1])
    with pytest.raises(MeasureError, match="1 summaries and 2 references"):
        correlate_with_ratings(scorer, [articles[0], article("short", ["a"], [1.0])])
    with pytest.raises(MeasureError, match="finite number for each of 4"):
        correlate_with_ratings(scorer, [articles[0], article("nan", texts, [1.0, 2, 3, np.nan])])


def test_real_summaries_have_ratings(data):
    articles = read_rated_summaries(data / "summeval" / "test.jsonl.gz", most=3)
    assert [(len(each.candidates), len(each.references)) for each in articles] == [(16, 11)] * 3
    assert articles[0].ratings["relevance"].shape == (16,)


def test_summaries_without_ratings_are_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"human_summaries": ["a"], "machine_summaries": [{"text": "b", "coherence": 1}]}\n', "utf-8")
    with pytest.raises(TaskError, match=r"x\.jsonl:1: consistency is None"):
        read_rated_summaries(path)
