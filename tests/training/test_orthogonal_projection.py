from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from torch import nn

from retrieval.training.losses.orthogonal_projection import (
    OrthogonalProjectionLoss,
    build_loss,
    orthogonal_projection,
)


class Table(nn.Module):
    """A model whose texts are numbers of vectors."""

    def __init__(self, n: int = 20, dimension: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.vectors = nn.Parameter(torch.randn(n, dimension, dtype=torch.float64))

    def forward(self, features):
        return {**features, "sentence_embedding": self.vectors[features["input_ids"]]}


def columns(*rows):
    return [{"input_ids": torch.tensor(row)} for row in rows]


class TestFunction:
    def test_by_hand(self):
        queries = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]])
        passages = torch.tensor([[4.0, 3.0], [0.0, 2.0], [-1.0, -1.0]])
        # cosines 24/25, 0, -1
        labels = torch.tensor([1, 0, 0])
        expected = ((24 / 25 - 1) ** 2 + 0 + 1) / 3
        assert math.isclose(orthogonal_projection(queries, passages, labels), expected, rel_tol=1e-6)

    @pytest.mark.parametrize(("label", "passage"), [(1, [2.0, 4.0]), (0, [-2.0, 1.0])])
    def test_is_zero_where_the_cosine_is_the_label(self, label, passage):
        query = torch.tensor([[1.0, 2.0]])
        assert orthogonal_projection(query, torch.tensor([passage]), torch.tensor([label])) < 1e-12

    def test_an_orthogonal_negative_is_left_alone(self):
        """Unlike InfoNCE, which always pushes."""
        query = torch.tensor([[1.0, 2.0]], requires_grad=True)
        orthogonal_projection(query, torch.tensor([[-2.0, 1.0]]), torch.tensor([0])).backward()
        assert query.grad.abs().max() < 1e-7
        opposite = torch.tensor([[1.0, 2.0]], requires_grad=True)
        orthogonal_projection(opposite, torch.tensor([[-1.0, 0.5]]), torch.tensor([1])).backward()
        assert opposite.grad.abs().max() > 0.1

    def test_gradient_is_the_finite_difference(self):
        torch.manual_seed(1)
        queries, passages = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        labels = torch.tensor([1, 0, 0, 1])
        assert torch.autograd.gradcheck(lambda q, p: orthogonal_projection(q, p, labels), (queries, passages))

    @pytest.mark.parametrize("labels", [[1, -1], [0.5, 1.0]])
    def test_other_labels(self, labels):
        with pytest.raises(ValueError, match="1 says positive, 0 negative"):
            orthogonal_projection(torch.ones(2, 3), torch.ones(2, 3), torch.tensor(labels))

    def test_too_few_labels(self):
        with pytest.raises(ValueError, match="1 labels for 2 pairs"):
            orthogonal_projection(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([1]))


class TestLoss:
    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(10, 19), st.integers(0, 1)), min_size=1, max_size=8))
    def test_is_the_librarys_with_labels_one_and_zero(self, rows):
        model = Table()
        queries, passages, labels = zip(*rows, strict=True)
        features = columns(queries, passages)
        ours = build_loss(model)(features, torch.tensor(labels))
        theirs = CosineSimilarityLoss(model)(features, torch.tensor(labels).double())
        torch.testing.assert_close(ours.double(), theirs, atol=1e-6, rtol=1e-6)

    def test_query_positive_and_negatives(self):
        model = Table()
        found = OrthogonalProjectionLoss(model)(columns([0, 1], [2, 3], [4, 5], [6, 7]))
        pairs = columns([0, 1, 0, 1, 0, 1], [2, 3, 4, 5, 6, 7])
        expected = OrthogonalProjectionLoss(model)(pairs, torch.tensor([1, 1, 0, 0, 0, 0]))
        torch.testing.assert_close(found, expected)

    def test_a_batch_of_one(self):
        model = Table()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
        loss = OrthogonalProjectionLoss(model)
        for _ in range(100):
            for passage, label in ((1, 1), (2, 0)):
                optimiser.zero_grad()
                loss(columns([0], [passage]), torch.tensor([label])).backward()
                optimiser.step()
        cosines = torch.cosine_similarity(model.vectors[:1], model.vectors[1:3])
        torch.testing.assert_close(cosines, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=0.02, rtol=0)

    def test_columns_without_their_labels(self):
        with pytest.raises(ValueError, match="2 columns without labels"):
            OrthogonalProjectionLoss(Table())(columns([0], [1]))
        with pytest.raises(ValueError, match="3 columns with labels"):
            OrthogonalProjectionLoss(Table())(columns([0], [1], [2]), torch.tensor([1]))
