"""The losses: values computed by hand, gradients by finite differences, and the laws that the papers imply."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from retrieval.errors import RecipeError
from retrieval.training import registry
from retrieval.training.losses.group_info_nce import group_info_nce, grouped
from retrieval.training.losses.info_nce import info_nce
from retrieval.training.losses.matryoshka import build_loss as build_matryoshka
from retrieval.training.losses.matryoshka import matryoshka
from retrieval.training.losses.mirror import mirror

E1, E2, E3 = torch.eye(3, dtype=torch.float64)


def vectors(seed: int, *shape: int, grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(grad)


def brute_force_info_nce(queries, passages, negatives, temperature):
    """Both directions in plain Python, from cosines."""

    def cosine(first, second):
        return float(first @ second / first.norm() / second.norm())

    n = len(queries)
    forward = backward = 0.0
    hard = [] if negatives is None else [vector for group in negatives for vector in group]
    for i in range(n):
        own = math.exp(cosine(queries[i], passages[i]) / temperature)
        seen = [math.exp(cosine(queries[i], other) / temperature) for other in (*passages, *hard)]
        forward -= math.log(own / sum(seen))
        seen = [math.exp(cosine(passages[i], other) / temperature) for other in queries]
        backward -= math.log(own / sum(seen))
    return (forward + backward) / 2 / n


class TestInfoNce:
    def test_two_orthogonal_pairs_by_hand(self):
        # Cosines are 1 on the diagonal and 0 beside it: -log(e / (e + 1)) in both directions, at temperature 1.
        both = torch.stack([E1, E2])
        assert info_nce(both, both, temperature=1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))

    def test_one_hard_negative_by_hand(self):
        # The query direction sees cosines 1 (positive) and 0 (negative); the passage direction sees the query alone.
        found = info_nce(E1[None], E1[None], E2[None, None], temperature=1.0)
        assert found.item() == pytest.approx(math.log(1 + math.exp(-1)) / 2)

    def test_the_direction_from_passages_sees_no_hard_negative(self):
        queries, passages = vectors(0, 4, 6), vectors(1, 4, 6)
        easy, hard = vectors(2, 4, 3, 6), queries[:, None, :].expand(4, 3, 6)
        both = [info_nce(queries, passages, negatives, temperature=0.5) for negatives in (easy, hard)]
        forward = [
            info_nce(queries, passages, negatives, temperature=0.5, bidirectional=False) for negatives in (easy, hard)
        ]
        # What the negatives change, they change in the forward direction: half of it arrives in the mean.
        assert (both[1] - both[0]).item() == pytest.approx((forward[1] - forward[0]).item() / 2)

    @given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 1000))
    def test_equals_brute_force(self, n, n_negatives, seed):
        queries, passages = vectors(seed, n, 4), vectors(seed + 1, n, 4)
        negatives = vectors(seed + 2, n, n_negatives, 4) if n_negatives else None
        found = info_nce(queries, passages, negatives, temperature=0.3).item()
        assert found == pytest.approx(brute_force_info_nce(queries, passages, negatives, 0.3))

    def test_a_single_pair_has_no_loss(self):
        assert info_nce(E1[None], (E1 + E2)[None]).item() == pytest.approx(0)

    def test_symmetric_without_hard_negatives_only(self):
        queries, passages, negatives = vectors(3, 5, 4), vectors(4, 5, 4), vectors(5, 5, 2, 4)
        assert info_nce(queries, passages).item() == pytest.approx(info_nce(passages, queries).item())
        there = info_nce(queries, passages, negatives).item()
        assert there != pytest.approx(info_nce(passages, queries, negatives).item())

    @pytest.mark.parametrize("bidirectional", [True, False])
    def test_gradients(self, bidirectional):
        inputs = (vectors(6, 3, 4, grad=True), vectors(7, 3, 4, grad=True), vectors(8, 3, 2, 4, grad=True))
        assert torch.autograd.gradcheck(
            lambda *given: info_nce(*given, temperature=0.5, bidirectional=bidirectional), inputs
        )


class TestMirror:
    def test_two_orthogonal_texts_by_hand(self):
        both = torch.stack([E1, E2])
        # Each of the four vectors sees its copy (cosine 1) and two others (0).
        inside = mirror(both, both, temperature=1.0)
        assert inside.item() == pytest.approx(math.log((math.e + 2) / math.e))
        # Without the copy: -log(e / 2), which is negative.
        outside = mirror(both, both, temperature=1.0, positive_in_denominator=False)
        assert outside.item() == pytest.approx(math.log(2) - 1)
        assert outside.item() < 0 < inside.item()

    @given(st.integers(2, 6), st.integers(0, 500))
    def test_with_the_copy_inside_it_is_never_negative_and_above_the_other_form(self, n, seed):
        first, second = vectors(seed, n, 5), vectors(seed + 1, n, 5)
        inside = mirror(first, second, temperature=1.0).item()
        assert inside >= 0
        assert inside > mirror(first, second, temperature=1.0, positive_in_denominator=False).item()

    @pytest.mark.parametrize(("inside", "others"), [(True, 7), (False, 6)])
    def test_at_infinite_temperature_it_counts_the_others(self, inside, others):
        found = mirror(vectors(0, 4, 5), vectors(1, 4, 5), temperature=1e9, positive_in_denominator=inside)
        assert found.item() == pytest.approx(math.log(others))

    def test_equals_the_symmetric_cross_entropy_over_all_vectors(self):
        first, second = vectors(2, 4, 5), vectors(3, 4, 5)
        both = nn.functional.normalize(torch.cat([first, second]), dim=1)
        expected = 0.0
        for i in range(8):
            scores = [float(both[i] @ both[j]) / 0.1 for j in range(8) if j != i]
            own = float(both[i] @ both[(i + 4) % 8]) / 0.1
            expected += math.log(sum(map(math.exp, scores))) - own
        assert mirror(first, second, temperature=0.1).item() == pytest.approx(expected / 8)

    def test_identical_copies_still_push_other_texts_apart(self):
        texts = vectors(4, 3, 5, grad=True)
        mirror(texts, texts, temperature=0.2).backward()
        assert texts.grad is not None
        assert texts.grad.abs().max() > 0

    @pytest.mark.parametrize("inside", [True, False])
    def test_gradients(self, inside):
        inputs = (vectors(5, 3, 4, grad=True), vectors(6, 3, 4, grad=True))
        assert torch.autograd.gradcheck(
            lambda *given: mirror(*given, temperature=0.5, positive_in_denominator=inside), inputs
        )


class TestGroups:
    def test_by_hand(self):
        # One query; its positive has cosine 1, its negatives 0 and -1.
        passages = torch.stack([E1, E2, -E1])
        found = group_info_nce(E1[None], passages, temperature=1.0)
        assert found.item() == pytest.approx(math.log((math.e + 1 + math.exp(-1)) / math.e))

    def test_without_negatives_it_is_one_direction_of_info_nce(self):
        queries, passages = vectors(0, 4, 5), vectors(1, 4, 5)
        one_way = info_nce(queries, passages, temperature=0.1, bidirectional=False)
        assert group_info_nce(queries, passages, temperature=0.1).item() == pytest.approx(one_way.item())

    def test_with_negatives_it_is_one_direction_of_info_nce(self):
        queries, passages, negatives = vectors(0, 4, 5), vectors(1, 4, 5), vectors(2, 4, 2, 5)
        one_way = info_nce(queries, passages, negatives, temperature=0.1, bidirectional=False)
        groups = grouped([passages, negatives[:, 0], negatives[:, 1]])
        assert group_info_nce(queries, groups, temperature=0.1).item() == pytest.approx(one_way.item())

    def test_expanded_negatives_by_hand(self):
        # Two orthogonal queries with equal positives: each row gains a 0 from the queries and a 0 from the positives.
        both = torch.stack([E1, E2])
        found = group_info_nce(both, both, temperature=1.0, expanded_negatives=True)
        assert found.item() == pytest.approx(math.log((math.e + 3) / math.e))

    @pytest.mark.parametrize("expanded", [True, False])
    def test_gradients(self, expanded):
        inputs = (vectors(5, 3, 4, grad=True), vectors(6, 6, 4, grad=True))
        assert torch.autograd.gradcheck(
            lambda *given: group_info_nce(*given, temperature=0.5, expanded_negatives=expanded), inputs
        )


class TestMatryoshka:
    def test_the_full_dimension_alone_is_plain_info_nce(self):
        columns = [vectors(0, 4, 6), vectors(1, 4, 6)]
        whole = matryoshka(columns, lambda parts: info_nce(*parts), [6], [1.0])
        assert whole.item() == pytest.approx(info_nce(*columns).item())

    def test_is_the_weighted_sum_of_truncated_losses(self):
        columns = [vectors(0, 4, 6), vectors(1, 4, 6)]
        expected = 1.0 * info_nce(*columns) + 0.3 * info_nce(columns[0][:, :2], columns[1][:, :2])
        found = matryoshka(columns, lambda parts: info_nce(*parts), [6, 2], [1.0, 0.3])
        assert found.item() == pytest.approx(expected.item())

    def test_lengths_before_the_cut_make_no_difference(self):
        columns = [vectors(0, 4, 6), vectors(1, 4, 6)]
        unit = [nn.functional.normalize(column, dim=1) for column in columns]
        losses = [matryoshka(given, lambda parts: info_nce(*parts), [4, 2], [1, 1]).item() for given in (columns, unit)]
        assert losses[0] == pytest.approx(losses[1])

    def test_gradients(self):
        inputs = (vectors(2, 3, 4, grad=True), vectors(3, 3, 4, grad=True))
        assert torch.autograd.gradcheck(
            lambda *given: matryoshka(list(given), lambda parts: info_nce(*parts, temperature=0.5), [4, 2], [1, 0.5]),
            inputs,
        )

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"dimensions": [4, 2], "weights": [1.0]}, "2 dimensions have 1 weights"),
            ({"dimensions": [0], "weights": [1.0]}, "must be positive"),
        ],
    )
    def test_settings_that_make_no_sense(self, settings, words):
        with pytest.raises(RecipeError, match=words):
            build_matryoshka(nn.Identity(), **settings)

    def test_a_dimension_beyond_the_vectors(self):
        with pytest.raises(RecipeError, match="hold 8, but the vectors have 6"):
            matryoshka([vectors(0, 2, 6), vectors(1, 2, 6)], lambda parts: info_nce(*parts), [8], [1.0])


class _Given(nn.Module):
    """Stands where a model stands in a loss, and returns the vectors that it is given."""

    device = torch.device("cpu")

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self._dimension = dimension

    def get_embedding_dimension(self) -> int:
        return self._dimension

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}


def sbert(name: str, columns, labels=None, **settings):
    loss = registry.find("losses", name, "build_loss")(_Given(columns[0].shape[1]), **settings)
    return loss, lambda *given: loss([{"vectors": column} for column in given], labels)


class TestSentenceBert:
    def test_regression_by_hand(self):
        # Cosines 1 and 0 against 0.5 and 0.2: (0.25 + 0.04) / 2.
        columns = [torch.stack([E1, E1]), torch.stack([2 * E1, E2])]
        _, loss = sbert("cosine-regression", columns, torch.tensor([0.5, 0.2]))
        assert loss(*columns).item() == pytest.approx(0.145)

    def test_regression_is_zero_where_the_cosines_match(self):
        columns = [torch.stack([E1, E1]), torch.stack([3 * E1, E3])]
        _, loss = sbert("cosine-regression", columns, torch.tensor([1.0, 0.0]))
        assert loss(*columns).item() == pytest.approx(0)

    def test_triplet_by_hand(self):
        # Distances 1 and sqrt(2): 1 - sqrt(2) + 1.
        zero = torch.zeros(1, 3, dtype=torch.float64)
        columns = [zero, E1[None], (E1 + E2)[None]]
        _, loss = sbert("euclidean-triplet", columns)
        assert loss(*columns).item() == pytest.approx(2 - math.sqrt(2), abs=1e-5)
        far = [zero, E1[None], 2.5 * E2[None]]
        assert loss(*far).item() == 0

    def test_classification_by_hand(self):
        columns = [E1[None].float(), E2[None].float()]
        loss, value = sbert("softmax-classification", columns, torch.tensor([1]), classes=2)
        assert loss.classifier.weight.shape == (2, 9)
        with torch.no_grad():
            loss.classifier.weight.zero_()
            loss.classifier.bias.zero_()
            loss.classifier.weight[1, 0] = 1.0  # u's first component
            loss.classifier.weight[1, 4] = 2.0  # v's second component
            loss.classifier.weight[1, 7] = 3.0  # |u - v|'s second component
        assert value(*columns).item() == pytest.approx(math.log(1 + math.exp(-6)), rel=1e-4)
        # [u; v; |u - v|] is not symmetric.
        assert value(columns[1], columns[0]).item() != pytest.approx(value(*columns).item())

    @pytest.mark.parametrize(
        ("name", "n_columns", "labels"),
        [
            ("cosine-regression", 2, torch.tensor([0.1, 0.9, 0.4], dtype=torch.float64)),
            ("euclidean-triplet", 3, None),
            ("softmax-classification", 2, torch.tensor([0, 2, 1])),
        ],
    )
    def test_gradients(self, name, n_columns, labels):
        columns = tuple(vectors(seed, 3, 4, grad=True) for seed in range(n_columns))
        loss, value = sbert(name, columns, labels)
        loss.double()
        assert torch.autograd.gradcheck(value, columns)


@pytest.mark.parametrize("name", ["info-nce", "group-info-nce", "matryoshka", "mirror"])
def test_modules_hand_their_columns_on_in_order(name):
    build = registry.find("losses", name, "build_loss")
    settings = {"dimensions": [4, 2]} if name == "matryoshka" else {}
    columns = [vectors(seed, 3, 4).float() for seed in range(2 if name == "mirror" else 4)]
    found = build(_Given(4), **settings)([{"vectors": column} for column in columns], None)
    expected = {
        "info-nce": lambda: info_nce(columns[0], columns[1], torch.stack(columns[2:], dim=1)),
        "group-info-nce": lambda: group_info_nce(columns[0], torch.stack(columns[1:], dim=1).flatten(0, 1)),
        "mirror": lambda: mirror(columns[0], columns[1]),
        "matryoshka": lambda: sum(
            info_nce(columns[0][:, :d], columns[1][:, :d], torch.stack(columns[2:], dim=1)[..., :d]) for d in (4, 2)
        ),
    }[name]()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
