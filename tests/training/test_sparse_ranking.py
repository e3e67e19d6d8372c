"""The ranking losses of sparse encoders: hand-computed values, finite differences, and a model that learns."""

from __future__ import annotations

import math
import random

import pytest
import torch

from retrieval.errors import RetrievalError
from retrieval.models.ultra_high_dimensional.annealing import WinnerSchedule
from retrieval.models.ultra_high_dimensional.building import bucket_module, centre
from retrieval.models.ultra_high_dimensional.dead_dimensions import DimensionWatch
from retrieval.training.losses.sparse_ranking import (
    SparseRankingLoss,
    balance_loss,
    candidate_scores,
    hinge_loss,
    softmax_loss,
    straight_through,
)
from retrieval.training.losses.winner_take_all import WinnerTakeAllLoss
from tests.models.sparse_models import tiny_encoder

SCORES = torch.tensor([[2.0, 1.0, 0.0], [0.5, 0.0, 3.0]])


def test_softmax_by_hand():
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(1) + 1))
    second = -math.log(1 / (math.exp(0.5) + 1 + math.exp(3)))
    assert float(softmax_loss(SCORES)) == pytest.approx((first + second) / 2, rel=1e-6)
    halved = -math.log(math.exp(4) / (math.exp(4) + math.exp(2) + 1))
    assert float(softmax_loss(SCORES[:1], temperature=0.5)) == pytest.approx(halved, rel=1e-6)


def test_hinge_by_hand():
    # Query 0: 1 - 2 + 1 = 0 and 1 - 2 + 0 < 0; query 1: 1 - 0 + 0.5 = 1.5 and 1 - 0 + 3 = 4; four negatives in all.
    assert float(hinge_loss(SCORES)) == pytest.approx((0 + 0 + 1.5 + 4) / 4)
    assert float(hinge_loss(SCORES, margin=2.0)) == pytest.approx((1 + 0 + 2.5 + 5) / 4)
    assert float(hinge_loss(torch.tensor([[5.0]]))) == 0, "a batch of one, without negatives"


def test_balance_by_hand():
    # Means 1, 0.5 and 0.
    assert float(balance_loss(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))) == pytest.approx(1 + 0.25)
    spread, heaped = torch.eye(4), torch.zeros(4, 4)
    heaped[:, 0] = 1
    assert balance_loss(spread) < balance_loss(heaped)


def test_straight_through_is_binary_with_the_gradient_of_the_activations():
    activations = torch.tensor([[0.0, 0.3, 2.0]], requires_grad=True)
    binary = straight_through(activations)
    assert binary.tolist() == [[0.0, 1.0, 1.0]]
    (binary * torch.tensor([[5.0, 6.0, 7.0]])).sum().backward()
    assert activations.grad.tolist() == [[5.0, 6.0, 7.0]]


@pytest.mark.parametrize("loss", [softmax_loss, hinge_loss])
def test_gradients_match_finite_differences(loss):
    generator = torch.Generator().manual_seed(0)
    queries, candidates = (
        torch.rand(n, 7, dtype=torch.float64, generator=generator, requires_grad=True) for n in (3, 6)
    )

    def whole(q, c):
        return loss(candidate_scores(q, c)) + 0.1 * (balance_loss(q) + balance_loss(c))

    assert torch.autograd.gradcheck(whole, (queries, candidates))


class TestModule:
    def test_adds_up_ranking_and_balance(self, tmp_path):
        model = tiny_encoder(tmp_path, query_cap=3).eval()
        columns = [["word", "the search engine"], ["a word", "search"], ["query", "document"]]
        features = [model.preprocess(column) for column in columns]
        queries = model.encode_query(columns[0], convert_to_sparse_tensor=False)
        others = model.encode_document(columns[1] + columns[2], convert_to_sparse_tensor=False)
        assert (queries > 0).sum(1).tolist() == [3, 3], "queries are encoded as queries"
        found = SparseRankingLoss(model, temperature=0.5, balance=0.25)(features)
        expected = softmax_loss(queries @ others.T, 0.5) + 0.25 * (balance_loss(queries) + balance_loss(others))
        torch.testing.assert_close(found, expected)
        features = [model.preprocess(column) for column in columns]
        found = SparseRankingLoss(model, objective="hinge", margin=2.0)(features)
        torch.testing.assert_close(found, hinge_loss(queries @ others.T, 2.0))
        features = [model.preprocess(column) for column in columns]
        found = SparseRankingLoss(model, binary=0.5, binary_temperature=4.0)(features)
        overlaps = (queries > 0).float() @ (others > 0).float().T
        torch.testing.assert_close(found, softmax_loss(queries @ others.T) + 0.5 * softmax_loss(overlaps, 4.0))

    def test_bucket_weights_count_in_the_binary_scores_too(self, tmp_path):
        model = tiny_encoder(tmp_path, bucket_weights=(2.0, 0.5)).eval()
        columns = [["word", "the search engine"], ["a word", "search"]]
        queries = model.encode_query(columns[0], convert_to_sparse_tensor=False)
        others = model.encode_document(columns[1], convert_to_sparse_tensor=False)
        shared = (queries > 0)[:, None] & (others > 0)[None]  # (2, 2, 100): 40 dimensions, then 60
        overlaps = 2.0 * shared[..., :40].sum(-1) + 0.5 * shared[..., 40:].sum(-1)
        found = WinnerTakeAllLoss(model, binary=0.5, binary_temperature=4.0)([model.preprocess(c) for c in columns])
        torch.testing.assert_close(found, softmax_loss(queries @ others.T) + 0.5 * softmax_loss(overlaps, 4.0))

    @pytest.mark.parametrize(
        "wrong", [{"objective": "cosine"}, {"temperature": 0}, {"margin": 0}, {"balance": -1}, {"binary": -1}]
    )
    def test_settings_that_make_no_sense(self, wrong):
        with pytest.raises(RetrievalError):
            SparseRankingLoss(None, **wrong)

    def test_one_column_is_not_enough(self, tmp_path):
        model = tiny_encoder(tmp_path)
        with pytest.raises(RetrievalError, match="1 columns came"):
            SparseRankingLoss(model)([model.preprocess(["word"])])
        assert SparseRankingLoss(model).get_config_dict()["objective"] == "softmax"


def reciprocal_rank(scores):
    """Return the mean reciprocal rank of the diagonal, (queries, documents), ties counted against it."""
    right = scores.diagonal()[:, None]
    return float((1 / (scores >= right).sum(1)).mean())


def toy_pairs(number, seed):
    """Return queries and passages that share no word: letters in a query stand for the digits of its passage."""
    draw = random.Random(seed)
    pairs = []
    while len(pairs) < number:
        numbers = tuple(draw.sample(range(10), 4))
        pairs.append((" ".join("abcdefghij"[i] for i in numbers), " ".join(str(i) for i in draw.sample(numbers, 4))))
    return [list(column) for column in zip(*pairs, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["softmax", "hinge"])
def test_a_plain_loop_raises_the_reciprocal_rank(tmp_path, objective):
    """Unseen pairs are found by what letters stand for; the binary vectors keep most of it; k is what it was set to."""
    torch.manual_seed(0)
    queries, passages = toy_pairs(600, seed=1)
    asked, held = toy_pairs(100, seed=2)
    model = tiny_encoder(tmp_path, layers=(0, 2), dimensions=(512, 512), k=8)
    module = bucket_module(model)
    centre(model, passages[:100])
    loss = SparseRankingLoss(model, objective=objective, binary=1.0, binary_temperature=2.0, balance=1e-3)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = WinnerSchedule(first=64, last=8, steps=60)

    def quality(*, binary=False):
        query, passage = (
            encode(texts, convert_to_sparse_tensor=False)
            for encode, texts in ((model.encode_query, asked), (model.encode_document, held))
        )
        if binary:
            query, passage = (query > 0).float(), (passage > 0).float()
        return reciprocal_rank(query @ passage.T)

    before, losses = quality(), []
    for step in range(150):
        module.set_k(schedule.k(step))
        rows = torch.randint(len(queries), (32,)).tolist()
        model.train()
        value = loss([model.preprocess([texts[row] for row in rows]) for texts in (queries, passages)])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    model.eval()
    watch, handle = DimensionWatch.on(module)
    after, binary = quality(), quality(binary=True)
    handle.remove()
    assert before < 0.2
    assert after > 0.5, (before, after, binary)
    assert binary > 0.6 * after, (before, after, binary)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert module.settings.k == 8
    assert all(bucket.mean_active <= 8 * 4 for bucket in watch.report().buckets)
