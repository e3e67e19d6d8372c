"""Tuples out of pairs: the pairs' own passages are the pool, in which a reference encoder filters and mines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from retrieval.training.data.examples import Example, ExampleReport
from retrieval.training.filtering import consistent
from retrieval.training.negatives import mine_negatives
from retrieval.training.ranking import rank_by_encoder
from retrieval.training.recipe import Recipe

if TYPE_CHECKING:
    from retrieval.encoders.base import Encoder


def mined_tuples(
    pairs: Iterator[Example], encoder: Encoder, recipe: Recipe, report: ExampleReport, place: str
) -> Iterator[Example]:
    """Yield the pairs that pass the ranking-consistency filter, with hard negatives where the recipe wants tuples.

    All pairs are in memory. Passages that are the positives of one query in several pairs are positives in each.

    Args:
        pairs: examples with query and positive.
        encoder: the reference.
        recipe: `filter_rank`, `mine_window`, `negatives`, `seed`, and "pairs" or "tuples".
        report: notes how many pairs the filter takes out.
        place: of the source, for the report.

    Raises:
        TrainingDataError: the pool is too small for the negatives.
    """
    kept = list(pairs)
    pool: dict[str, int] = {}
    for pair in kept:
        pool.setdefault(pair["positive"], len(pool))
    positives_of: dict[str, set[int]] = {}
    for pair in kept:
        positives_of.setdefault(pair["query"], set()).add(pool[pair["positive"]])
    queries = [pair["query"] for pair in kept]
    passages = list(pool)
    depth = max(recipe.filter_rank + 1, recipe.mine_window[1] if recipe.data == "tuples" else 0)
    rankings, query_vectors, passage_vectors = rank_by_encoder(encoder, queries, passages, depth)
    if recipe.filter_rank:
        own = [[pool[pair["positive"]]] for pair in kept]
        good = consistent(rankings, query_vectors, passage_vectors, own, k=recipe.filter_rank)
        for pair, is_good in zip(kept, good, strict=True):
            if not is_good:
                report.note(place, "pair without ranking consistency left out", pair["query"][:80])
        chosen = [number for number, is_good in enumerate(good.tolist()) if is_good]
        kept = [kept[number] for number in chosen]
        rankings = [rankings[number] for number in chosen]
        queries = [queries[number] for number in chosen]
    if recipe.data == "pairs":
        yield from kept
        return
    mined = mine_negatives(
        rankings,
        queries,
        [sorted(positives_of[query]) for query in queries],
        passages,
        n=recipe.negatives,
        window=recipe.mine_window,
        seed=recipe.seed,
    )
    for pair, rows in zip(kept, mined, strict=True):
        negatives = {f"negative_{number}": passages[row] for number, row in enumerate(rows.tolist(), start=1)}
        yield {**pair, **negatives}
