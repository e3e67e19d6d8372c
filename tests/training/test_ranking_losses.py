"""Losses of rankers: values computed by hand, gradients by finite differences, invariances, and other libraries."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from retrieval.errors import RecipeError, TrainingDataError
from retrieval.training import Recipe, registry
from retrieval.training.losses.kl_divergence import kl_divergence
from retrieval.training.losses.localized_contrastive import localized_contrastive
from retrieval.training.losses.margin_mse import margin_mse
from retrieval.training.losses.pointwise_mse import pointwise_mse
from retrieval.training.losses.pointwise_mse_ranknet import pointwise_mse_ranknet
from retrieval.training.losses.ranknet import ranknet
from retrieval.training.ranking_loss import RankingLoss

STUDENT = torch.tensor([[3.0, 1.0, 0.0], [0.5, 2.0, -1.0]], dtype=torch.float64)
TEACHER = torch.tensor([[5.0, 4.0, 1.0], [2.0, 1.0, 2.0]], dtype=torch.float64)
LOSSES = {
    "margin-mse": margin_mse,
    "margin-mse of all pairs": lambda scores, teacher: margin_mse(scores, teacher, all_pairs=True),
    "pointwise-mse": pointwise_mse,
    "ranknet": lambda scores, _teacher: ranknet(scores),
    "weighted ranknet": ranknet,
    "pointwise-mse-ranknet": pointwise_mse_ranknet,
    "kl-divergence": lambda scores, teacher: kl_divergence(scores, teacher, temperature=2.0),
    "localized-contrastive": lambda scores, _teacher: localized_contrastive(scores),
}
SHIFTABLE = sorted(set(LOSSES) - {"pointwise-mse", "pointwise-mse-ranknet"})
SWAPPABLE = ["margin-mse", "margin-mse of all pairs", "pointwise-mse", "weighted ranknet", "kl-divergence"]

shapes = st.tuples(st.integers(1, 5), st.integers(1, 4))
seeds = st.integers(0, 1000)


def scores(seed: int, n_tuples: int, n_negatives: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n_tuples, 1 + n_negatives, generator=generator, dtype=torch.float64)


def log_sigmoid(value: float) -> float:
    return -math.log(1 + math.exp(-value))


class TestByHand:
    def test_margin_mse(self):
        # Margins of the student 2, 3 and -1.5, 1.5; of the teacher 1, 4 and 1, 0: errors 1, -1, -2.5, 1.5.
        assert margin_mse(STUDENT, TEACHER).item() == pytest.approx((1 + 1 + 6.25 + 2.25) / 4)

    @given(shapes, seeds)
    def test_margin_mse_of_all_pairs(self, shape, seed):
        found, wanted = scores(seed, *shape), scores(seed + 1, *shape)
        errors = [
            ((student[i] - student[j]) - (teacher[i] - teacher[j])) ** 2
            for student, teacher in zip(found.tolist(), wanted.tolist(), strict=True)
            for i, j in itertools.combinations(range(len(student)), 2)
        ]
        assert margin_mse(found, wanted, all_pairs=True).item() == pytest.approx(sum(errors) / len(errors))

    def test_pointwise_mse(self):
        # Positives miss by -2 and -1.5; negatives by -3, -1, 1, -3.
        expected = ((4 + 2.25) / 2 + (9 + 1 + 1 + 9) / 4) / 2
        assert pointwise_mse(STUDENT, TEACHER).item() == pytest.approx(expected)

    def test_ranknet(self):
        expected = -sum(map(log_sigmoid, (2, 3, -1.5, 1.5))) / 4
        assert ranknet(STUDENT).item() == pytest.approx(expected)
        assert pointwise_mse_ranknet(STUDENT, TEACHER).item() == pytest.approx(
            expected + pointwise_mse(STUDENT, TEACHER).item()
        )

    def test_weighted_ranknet_follows_a_teacher_that_prefers_the_negative(self):
        teacher = torch.tensor([[5.0, 4.0, 1.0], [2.0, 2.5, 2.0]], dtype=torch.float64)  # margins 1, 4, -0.5, 0
        expected = -(1 * log_sigmoid(2) + 4 * log_sigmoid(3) + 0.5 * log_sigmoid(1.5)) / 4
        assert ranknet(STUDENT, teacher).item() == pytest.approx(expected)

    def test_kl_divergence(self):
        expected = 0.0
        for student, teacher in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
            p, q = (
                [math.exp(score / 2) / sum(math.exp(other / 2) for other in row) for score in row]
                for row in (teacher, student)
            )
            expected += 4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
        assert kl_divergence(STUDENT, TEACHER, temperature=2.0).item() == pytest.approx(expected)

    def test_localized_contrastive(self):
        parts = [
            math.log(sum(math.exp(score) for score in row)) - row[0] for row in STUDENT.tolist()
        ]  # -log softmax of the first
        assert localized_contrastive(STUDENT).item() == pytest.approx(sum(parts) / 2)
        assert localized_contrastive(STUDENT[:, :2]).item() == pytest.approx(ranknet(STUDENT[:, :2]).item())


class TestLaws:
    @given(shapes, seeds, st.floats(-50, 50))
    def test_margin_mse_is_nothing_up_to_a_constant_of_the_query(self, shape, seed, constant):
        teacher = scores(seed, *shape)
        shifted = teacher + constant * torch.arange(1, shape[0] + 1)[:, None]
        for all_pairs in (False, True):
            assert margin_mse(shifted, teacher, all_pairs=all_pairs).item() == pytest.approx(0, abs=1e-9)
        assert kl_divergence(shifted, teacher).item() == pytest.approx(0, abs=1e-9)

    @given(shapes, seeds, st.floats(-3, 3))
    def test_margin_mse_grows_with_the_scale(self, shape, seed, scale):
        teacher = scores(seed, *shape)
        squared = (teacher[:, :1] - teacher[:, 1:]).square().mean().item()
        assert margin_mse(scale * teacher, teacher).item() == pytest.approx((scale - 1) ** 2 * squared)

    def test_the_gradient_of_margin_mse(self):
        student, teacher = scores(0, 4, 1).requires_grad_(), scores(1, 4, 1).requires_grad_()
        margin_mse(student, teacher).backward()
        error = (student[:, 0] - student[:, 1]) - (teacher[:, 0] - teacher[:, 1])
        assert torch.allclose(student.grad[:, 0], 2 * error / 4)
        assert torch.allclose(student.grad[:, 1], -student.grad[:, 0])
        assert teacher.grad is None

    @pytest.mark.parametrize("name", SHIFTABLE)
    @settings(max_examples=25)
    @given(shapes, seeds, st.floats(-50, 50))
    def test_what_is_added_to_a_query_changes_nothing(self, name, shape, seed, constant):
        student, teacher = scores(seed, *shape), scores(seed + 1, *shape)
        shift = constant * torch.arange(1, shape[0] + 1)[:, None]
        expected = LOSSES[name](student, teacher).item()
        assert LOSSES[name](student + shift, teacher).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)
        assert LOSSES[name](student, teacher - shift).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize("name", SWAPPABLE)
    @settings(max_examples=25)
    @given(st.integers(1, 5), seeds)
    def test_swapping_both_passages_for_both_changes_nothing(self, name, n, seed):
        student, teacher = scores(seed, n, 1), scores(seed + 1, n, 1)
        swapped = LOSSES[name](student.flip(1), teacher.flip(1)).item()
        assert swapped == pytest.approx(LOSSES[name](student, teacher).item(), abs=1e-12)

    @pytest.mark.parametrize("name", LOSSES)
    @settings(max_examples=25)
    @given(shapes, seeds, st.randoms(use_true_random=False))
    def test_the_order_of_queries_and_of_negatives_changes_nothing(self, name, shape, seed, random):
        student, teacher = scores(seed, *shape), scores(seed + 1, *shape)
        rows = random.sample(range(shape[0]), shape[0])
        columns = [0, *random.sample(range(1, 1 + shape[1]), shape[1])]
        found = LOSSES[name](student[rows][:, columns], teacher[rows][:, columns]).item()
        assert found == pytest.approx(LOSSES[name](student, teacher).item())

    @pytest.mark.parametrize("name", LOSSES)
    def test_gradients_by_finite_differences(self, name):
        teacher = scores(7, 3, 3)
        assert torch.autograd.gradcheck(
            lambda given: LOSSES[name](given, teacher), scores(8, 3, 3).requires_grad_(), fast_mode=False
        )

    @pytest.mark.parametrize("name", LOSSES)
    def test_a_step_down_the_gradient_lowers_it(self, name):
        student, teacher = scores(3, 4, 2).requires_grad_(), scores(4, 4, 2)
        loss = LOSSES[name](student, teacher)
        loss.backward()
        assert LOSSES[name](student.detach() - 0.01 * student.grad, teacher).item() < loss.item()

    @pytest.mark.parametrize("name", LOSSES)
    def test_a_positive_alone_is_refused(self, name):
        with pytest.raises(TrainingDataError, match="set negatives to 1 or more"):
            LOSSES[name](STUDENT[:, :1], TEACHER[:, :1])

    def test_margins_of_a_teacher_with_large_scores_are_kept(self):
        teacher = torch.tensor([[2021515.0, 1964141.0]])
        student = torch.tensor([[0.25, 0.125]])
        wanted = (0.125 - 57374.0) ** 2
        assert margin_mse(student, teacher).item() == pytest.approx(wanted, rel=1e-6)


class Linear(nn.Module):
    """A network whose scores are the products of its weights and the rows' features."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([1.0, -2.0]))

    def forward(self, features):
        return features["rows"] @ self.weights


def built(name: str, model, **settings) -> RankingLoss:
    return registry.find("losses", name, "build_loss")(model, **settings)


NAMES = ["margin-mse", "pointwise-mse", "ranknet", "pointwise-mse-ranknet", "kl-divergence", "localized-contrastive"]


class TestOverANetwork:
    rows = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.5, 0.0], [0.0, -1.0], [1.0, 1.0]])  # STUDENT's scores

    @pytest.mark.parametrize("name", NAMES)
    def test_scores_stand_query_by_query(self, name):
        loss = built(name, Linear())([{"rows": self.rows, "n_tuples": 2}], TEACHER)
        assert loss.item() == pytest.approx(
            LOSSES[name](STUDENT, TEACHER).item() if name != "kl-divergence" else kl_divergence(STUDENT, TEACHER).item()
        )
        loss.backward()

    def test_settings(self):
        batch = [{"rows": self.rows, "n_tuples": 2}], 4 * TEACHER
        found = {
            "margin-mse": margin_mse(STUDENT, TEACHER),
            "pointwise-mse": pointwise_mse(STUDENT, TEACHER),
            "pointwise-mse-ranknet": pointwise_mse_ranknet(STUDENT, TEACHER),
            "kl-divergence": kl_divergence(STUDENT, TEACHER),
        }
        for name, expected in found.items():
            assert built(name, Linear(), teacher_scale=0.25)(*batch).item() == pytest.approx(expected.item())
        assert built("margin-mse", Linear(), all_pairs=True)(batch[0], TEACHER).item() == pytest.approx(
            margin_mse(STUDENT, TEACHER, all_pairs=True).item()
        )
        assert built("ranknet", Linear(), weighted=True)(batch[0], TEACHER).item() == pytest.approx(
            ranknet(STUDENT, TEACHER).item()
        )

    def test_a_teacher_that_is_needed_and_missing(self):
        batch = [{"rows": self.rows, "n_tuples": 2}]
        for name, given_settings in (("margin-mse", {}), ("kl-divergence", {}), ("ranknet", {"weighted": True})):
            with pytest.raises(TrainingDataError, match="which the examples have not"):
                built(name, Linear(), **given_settings)(batch)
        for name in ("ranknet", "localized-contrastive"):
            assert torch.isfinite(built(name, Linear())(batch))

    def test_scores_that_belong_to_other_passages(self):
        with pytest.raises(TrainingDataError, match=r"the shape \(2, 2\), the student's \(2, 3\)"):
            built("margin-mse", Linear())([{"rows": self.rows, "n_tuples": 2}], TEACHER[:, :2])

    def test_kinds_of_data(self):
        for name in NAMES:
            Recipe(name="x", loss=name, data="scored_tuples").checked()
        with pytest.raises(RecipeError, match="'margin-mse' is for data of kind scored_tuples, not tuples"):
            Recipe(name="x", loss="margin-mse", data="tuples").checked()
        with pytest.raises(RecipeError, match="temperature in loss_settings is 0"):
            built("kl-divergence", None, temperature=0.0)


class TestOverABiEncoder:
    @pytest.fixture
    def encoder(self, tiny_bert):
        from retrieval.training.builders.encoder import build_model

        return build_model(backbone=str(tiny_bert), pooling="cls").eval()

    @pytest.fixture
    def columns(self, encoder):
        def columns():
            texts = (["the man", "a dog runs"], ["man plays", "dog"], ["red house", "the cat sleeps now"], ["a", "b"])
            return [encoder.preprocess(column) for column in texts]

        return columns

    def test_equals_the_losses_of_sentence_transformers(self, encoder, columns):
        from sentence_transformers.sentence_transformer import losses

        labels = TEACHER.float()
        ours = built("margin-mse", encoder)(columns(), labels)
        assert encoder.similarity_fn_name == "dot"
        assert ours.item() == pytest.approx(losses.MarginMSELoss(encoder)(columns(), labels).item(), rel=1e-5)
        ours = built("kl-divergence", encoder, temperature=3.0)(columns(), labels)
        theirs = losses.DistillKLDivLoss(encoder, temperature=3.0)(columns(), labels)
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)
        ours.backward()
        assert all(parameter.grad is not None for name, parameter in encoder.named_parameters() if "pooler" not in name)

    def test_a_sparse_encoder_tells_queries_from_passages(self, tmp_path):
        from tests.models.sparse_models import tiny_encoder

        model = tiny_encoder(tmp_path, query_cap=3).eval()
        texts = ["word", "the search engine"], ["a word", "search"], ["query", "document"]
        queries = model.encode_query(texts[0], convert_to_sparse_tensor=False)
        passages = [model.encode_document(column, convert_to_sparse_tensor=False) for column in texts[1:]]
        found = torch.stack([(queries * column).sum(1) for column in passages], dim=1)
        loss = built("margin-mse", model)([model.preprocess(column) for column in texts], TEACHER[:, :2])
        assert loss.item() == pytest.approx(margin_mse(found, TEACHER[:, :2]).item(), rel=1e-5)
