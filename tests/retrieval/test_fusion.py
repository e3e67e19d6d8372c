import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.hits import Hits
from retrieval.collection.settings import Fields, Fusion
from retrieval.errors import CollectionError, QueryError
from retrieval.fusion import fuse, min_max, reciprocal_ranks


def hits(*sequences_and_scores):
    sequences = np.array([sequence for sequence, _ in sequences_and_scores], np.int64)
    scores = np.array([score for _, score in sequences_and_scores], np.float64)
    return Hits(np.zeros(len(scores), np.int32), sequences, scores, sequences)


def test_reciprocal_rank_fusion_by_hand():
    fused = fuse([hits((7, 9.0), (3, 8.0)), hits((3, 0.9), (5, 0.5))], [1, 1], Fusion(), 10)
    # Document 3 is second and first, 7 is first once, 5 is second once.
    assert fused.sequences.tolist() == [3, 7, 5]
    assert fused.scores.tolist() == [1 / 62 + 1 / 61, 1 / 61, 1 / 62]


def test_ties_are_broken_by_sequence():
    fused = fuse([hits((9, 1.0)), hits((2, 1.0))], [1, 1], Fusion(), 10)
    assert fused.sequences.tolist() == [2, 9]
    assert fused.scores[0] == fused.scores[1]


def test_weighted_fusion_by_hand():
    fusion = Fusion(method="weighted")
    fused = fuse([hits((1, 10.0), (2, 6.0), (3, 2.0)), hits((3, 0.8), (2, 0.2))], [0.5, 0.5], fusion, 10)
    # BM25 becomes 1, 0.5, 0; dense becomes 1, 0.
    assert dict(zip(fused.sequences.tolist(), fused.scores.tolist(), strict=True)) == {1: 0.5, 3: 0.5, 2: 0.25}
    assert fused.sequences.tolist() == [1, 3, 2]


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(-100, 100), st.floats(0.01, 50))
def test_min_max_does_not_see_shift_and_scale(values, shift, scale):
    scores = np.sort(np.array(values).round(3))[::-1]
    assert np.allclose(min_max(scores), min_max(scores * scale + shift), atol=1e-6)
    assert min_max(scores).max() == 1.0


LISTS = st.lists(
    st.lists(st.integers(0, 30), unique=True, max_size=20).map(
        lambda sequences: hits(*((sequence, 100.0 - rank) for rank, sequence in enumerate(sequences)))
    ),
    min_size=2,
    max_size=2,
)


@given(LISTS, st.sampled_from(["rrf", "weighted"]), st.integers(1, 25))
def test_fusion_equals_a_plain_dictionary_and_top_k_is_a_prefix(lists, method, k):
    fusion = Fusion(method=method, depth=15)
    totals: dict[int, float] = {}
    for ranked in lists:
        cut = ranked.cut(15)
        gains = reciprocal_ranks(len(cut.rows), 60) if method == "rrf" else min_max(cut.scores)
        for sequence, gain in zip(cut.sequences.tolist(), gains.tolist(), strict=True):
            totals[sequence] = totals.get(sequence, 0.0) + gain
    expected = sorted(totals, key=lambda sequence: (-totals[sequence], sequence))
    fused = fuse(lists, [1.0, 1.0], fusion, k)
    assert fused.sequences.tolist() == expected[:k]
    assert fuse(lists, [1.0, 1.0], fusion, 40).sequences.tolist()[:k] == expected[:k]


def test_settings_refuse_nonsense():
    for wrong in ({"method": "max"}, {"constant": -1}, {"depth": 0}, {"dense_weight": 1.5}):
        with pytest.raises(QueryError):
            Fusion(**wrong)
    for wrong in ({"title_boost": -1.0}, {"title_boost": 0.0, "text_boost": 0.0}, {"text_boost": 101.0}):
        with pytest.raises(CollectionError):
            Fields(**wrong)


@pytest.mark.parametrize(
    ("title", "text", "expected"), [(1, 1, (1, 1, 1)), (2.5, 1, (5, 2, 2)), (0.1, 0.25, (2, 5, 20)), (3, 0, (3, 0, 1))]
)
def test_boosts_become_exact_integers(title, text, expected):
    assert Fields(title, text).weights() == expected
