"""The losses of monoBERT and duoBERT: values by hand, gradients by finite differences, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import TrainingDataError
from retrieval.training.losses.pairwise_cross_entropy import pairwise_cross_entropy
from retrieval.training.losses.pointwise_cross_entropy import pointwise_cross_entropy
from retrieval.training.ranking_loss import RankingLoss

LOSSES = [pointwise_cross_entropy, pairwise_cross_entropy]


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def scores(seed: int, n_tuples: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n_tuples, width, generator=generator, dtype=torch.float64)


def test_pointwise_by_hand():
    # One query: the positive's probability is 1/2, the negatives' are 3/4 and 1/4.
    given_scores = torch.tensor([[0.0, math.log(3), -math.log(3)]])
    expected = (math.log(2) + math.log(4) + math.log(4 / 3)) / 3
    assert pointwise_cross_entropy(given_scores).item() == pytest.approx(expected)


def test_pairwise_by_hand():
    # p of (positive, negative) is 3/4 and of (negative, positive) 1/4; with the second negative 1/2 and 9/10.
    given_scores = torch.tensor([[math.log(3), -math.log(3), 0.0, math.log(9)]])
    expected = (math.log(4 / 3) + math.log(4 / 3) + math.log(2) + math.log(10)) / 4
    assert pairwise_cross_entropy(given_scores).item() == pytest.approx(expected)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 5))
def test_both_are_the_papers_formulas(seed, n_tuples, negatives):
    """Equations 1 and 2 of the paper, in plain Python, over the number of their terms."""
    pointwise = scores(seed, n_tuples, 1 + negatives)
    terms = [
        -math.log(sigmoid(score)) if column == 0 else -math.log(1 - sigmoid(score))
        for row in pointwise.tolist()
        for column, score in enumerate(row)
    ]
    assert pointwise_cross_entropy(pointwise).item() == pytest.approx(sum(terms) / len(terms))
    pairwise = scores(seed + 1, n_tuples, 2 * negatives)
    terms = []
    for row in pairwise.tolist():
        for number in range(negatives):
            terms += [-math.log(sigmoid(row[2 * number])), -math.log(1 - sigmoid(row[2 * number + 1]))]
    assert pairwise_cross_entropy(pairwise).item() == pytest.approx(sum(terms) / len(terms))


@pytest.mark.parametrize("loss", LOSSES)
@given(st.integers(0, 1000))
def test_gradients_are_those_of_finite_differences(loss, seed):
    at = scores(seed, 3, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(loss, (at,))


@pytest.mark.parametrize("loss", LOSSES)
def test_what_the_loss_wants_is_its_least(loss):
    """Large scores where it wants 1 and small ones where it wants 0 are worth nothing, and all others something."""
    wanted = torch.tensor([[40.0, -40.0, -40.0, -40.0] if loss is pointwise_cross_entropy else [40.0, -40.0] * 2])
    assert loss(wanted).item() == pytest.approx(0.0, abs=1e-12)
    assert loss(-wanted).item() == pytest.approx(40.0)


def test_extreme_scores_give_finite_losses():
    for loss in LOSSES:
        assert loss(torch.tensor([[-1e4, 1e4]])).item() == pytest.approx(1e4)


def test_a_loss_without_its_teacher_says_so():
    loss = RankingLoss(lambda features: features["scores"], lambda found, teacher: found.sum(), needs_teacher=True)
    with pytest.raises(TrainingDataError, match="a teacher's scores, which the examples have not"):
        loss([{"scores": torch.zeros(4), "n_tuples": 2}])
