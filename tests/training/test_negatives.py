"""Hard negatives and the ranking-consistency filter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.vectors import normalise
from retrieval import Collection, FunctionEncoder, load_encoder
from retrieval.errors import TrainingDataError
from retrieval.training import Recipe
from retrieval.training.data import ExampleReport, Source, read_source
from retrieval.training.filtering import consistent
from retrieval.training.negatives import mine_negatives
from retrieval.training.ranking import Ranking, rank_by_collection, rank_by_encoder, rank_by_vectors

N = 120


def random_vectors(seed: int, n: int = N, dimension: int = 8) -> np.ndarray:
    return normalise(np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32))


def full_ranking(seed: int) -> Ranking:
    order = np.random.default_rng(seed).permutation(N)
    return Ranking(order, np.linspace(1, 0, N))


class TestRanking:
    def test_by_vectors_equals_sorting_all_products(self):
        queries, passages = random_vectors(0, 7), random_vectors(1)
        rankings = rank_by_vectors(queries, passages, 20)
        for query, ranking in zip(queries, rankings, strict=True):
            scores = passages.astype(np.float64) @ query.astype(np.float64)
            assert ranking.rows.tolist() == np.argsort(-scores, kind="stable")[:20].tolist()
            assert np.allclose(ranking.scores, scores[ranking.rows], atol=1e-6)

    def test_by_an_encoder_of_cosine_does_not_look_at_lengths(self):
        vectors = {"a": [1.0, 0.0], "b": [0.0, 5.0], "near a": [9.0, 1.0]}
        encoder = FunctionEncoder(lambda texts: np.array([vectors[text] for text in texts]), "x", 1, dimension=2)
        rankings, queries, passages = rank_by_encoder(encoder, ["a"], ["b", "near a"], 5)
        assert rankings[0].rows.tolist() == [1, 0]
        assert np.allclose(np.linalg.norm(queries), 1)
        assert np.allclose(np.linalg.norm(passages, axis=1), 1)

    def test_by_a_collection(self, tmp_path):
        texts = ["cats sleep all day", "dogs run in the park", "cats and dogs", "the stock market"]
        with Collection.create(tmp_path / "x.index", encoder=None) as collection:
            collection.add([{"id": str(number), "text": text} for number, text in enumerate(texts)])
            rankings = rank_by_collection(collection, ["cats", "market"], ["3", "2", "0"], 10, mode="bm25")
        assert sorted(rankings[0].rows.tolist()) == [1, 2]  # positions in the pool, which leaves document 1 out
        assert rankings[1].rows.tolist() == [0]


class TestMining:
    @given(st.integers(0, 100), st.integers(1, 10), st.integers(0, 60), st.integers(1, 50))
    def test_only_ranks_of_the_window_and_never_a_positive(self, seed, n, low, width):
        ranking = full_ranking(seed)
        texts = [f"passage {row}" for row in range(N)]
        own = ranking.rows[[low, 0]].tolist()  # one of them within the window
        found = mine_negatives([ranking], ["query"], [own], texts, n=n, window=(low, low + width), seed=seed)[0]
        window = [row for row in ranking.rows[low : low + width].tolist() if row not in own]
        assert len(found) == len(set(found.tolist())) == n
        assert not set(found.tolist()) & set(own)
        drawn = min(n, len(window))
        assert set(found[:drawn].tolist()) <= set(window)

    def test_texts_equal_to_query_or_positive_are_left_out(self):
        texts = ["the query", "positive", "positive ", "other", "another"]
        ranking = Ranking(np.arange(5), np.linspace(1, 0, 5))
        found = mine_negatives([ranking], ["the query"], [[1]], texts, n=2, window=(0, 5))[0]
        assert sorted(found.tolist()) == [3, 4]

    def test_short_lists_are_filled_up_at_random(self):
        texts = [f"passage {row}" for row in range(N)]
        ranking = Ranking(np.array([5, 6, 7]), np.array([3.0, 2.0, 1.0]))
        found = mine_negatives([ranking] * 30, ["q"] * 30, [[5]] * 30, texts, n=4, window=(1, 3), seed=2)
        for rows in found:
            assert {6, 7} == set(rows[:2].tolist())
            assert 5 not in rows
            assert len(set(rows.tolist())) == 4
        assert len({tuple(rows[2:].tolist()) for rows in found}) > 20

    def test_the_seed_decides_and_other_queries_do_not_matter(self):
        texts = [f"passage {row}" for row in range(N)]
        rankings = [full_ranking(number) for number in range(3)]

        def mined(count: int, seed: int) -> list[list[int]]:
            found = mine_negatives(
                rankings[:count], ["q"] * count, [[0]] * count, texts, n=3, window=(10, 60), seed=seed
            )
            return [rows.tolist() for rows in found]

        assert mined(3, 0) == mined(3, 0) != mined(3, 1)
        assert mined(3, 0)[:2] == mined(2, 0)

    def test_a_pool_that_is_too_small(self):
        ranking = Ranking(np.arange(3), np.linspace(1, 0, 3))
        with pytest.raises(TrainingDataError, match="pool of 3 passages has too few negatives"):
            mine_negatives([ranking], ["q"], [[0]], ["a", "b", "c"], n=3, window=(0, 3))

    @pytest.mark.parametrize("window", [(5, 5), (-1, 3)])
    def test_an_empty_window(self, window):
        with pytest.raises(TrainingDataError, match="is empty"):
            mine_negatives([full_ranking(0)], ["q"], [[0]], ["a"] * N, window=window)


class TestConsistency:
    def keep(self, queries, passages, positives, k):
        return consistent(rank_by_vectors(queries, passages, k + 1), queries, passages, positives, k=k)

    def test_an_oracle_keeps_everything(self):
        vectors = random_vectors(0)
        assert self.keep(vectors, vectors, [[row] for row in range(N)], 0).all()

    def test_equals_the_comparison_of_scores(self):
        queries, passages = random_vectors(0), random_vectors(1)
        scores = np.sort(queries @ passages.T, axis=1)[:, ::-1]
        for k in (0, 1, 10, 50):
            positives = [[row, (row + 1) % N] for row in range(N)]
            best = np.array([max(passages[own] @ query) for query, own in zip(queries, positives, strict=True)])
            assert (self.keep(queries, passages, positives, k) == (best >= scores[:, k] - 1e-6)).all()  # of float32

    def test_random_positives_are_kept_as_often_as_chance_has_it(self):
        queries, passages = random_vectors(2, 2000), random_vectors(3, 500)
        positives = np.random.default_rng(4).integers(500, size=(2000, 1)).tolist()
        assert self.keep(queries, passages, positives, 50).mean() == pytest.approx(51 / 500, abs=0.025)

    def test_what_a_smaller_rank_keeps_a_larger_one_keeps(self):
        queries, passages = random_vectors(5), random_vectors(6)
        positives = [[row] for row in range(N)]
        kept = [self.keep(queries, passages, positives, k) for k in (0, 5, 20, 80)]
        assert all((small <= large).all() for small, large in pairwise(kept))
        assert kept[0].sum() < kept[1].sum() < kept[2].sum() < kept[3].sum()

    def test_a_small_pool_keeps_everything(self):
        assert self.keep(random_vectors(0, 5), random_vectors(1, 4), [[3]] * 5, 50).all()


@pytest.mark.slow
def test_the_embedded_encoder_tells_wrong_pairs_from_right_ones(data_folder):
    source = Source(data_folder("squad11"))
    by_passage = {pair["positive"]: pair for pair in read_source(source, Recipe(name="x"), ExampleReport())}
    generator = np.random.default_rng(0)
    one_each = list(by_passage.values())  # a question for each paragraph
    pairs = [one_each[row] for row in generator.permutation(len(one_each))[:200]]
    wrong = generator.permutation(200)[:60]
    positives = np.arange(200)
    positives[wrong] = np.roll(wrong, 1)  # each gets another's paragraph
    questions, passages = ([pair[name] for pair in pairs] for name in ("query", "positive"))
    rankings, query_vectors, passage_vectors = rank_by_encoder(load_encoder(max_tokens=128), questions, passages, 6)
    keep = consistent(rankings, query_vectors, passage_vectors, positives[:, None].tolist(), k=5)
    is_wrong = np.isin(np.arange(200), wrong)
    assert keep[~is_wrong].mean() > 0.85
    assert keep[is_wrong].mean() < 0.1  # by chance 6 of 200; some get a paragraph of the same article
