"""Which admissions are tried: for each stage some numbers up to the pipeline's own, and all combinations of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from eval.errors import TuningError
from retrieval.pipeline.stages import Admission, Pipeline

LARGEST_GRID = 10_000
"""More combinations than that are refused: nobody reads them."""


def series(limit: int) -> list[int]:
    """Return 0, 1, 2, 5, 10, 20, 50, … below a number, and the number."""
    steps = [0]
    power = 1
    while power < limit:
        steps += [step * power for step in (1, 2, 5) if step * power < limit]
        power *= 10
    return [*steps, limit] if limit else [0]


def make_grid(pipeline: Pipeline, numbers: Mapping[str, Sequence[int]] | None = None) -> list[Pipeline]:
    """Return the pipelines that are tried, the largest last.

    Args:
        pipeline: with the largest number of each stage.
        numbers: for some stages by name the numbers to try. By default rerankers take `series` and retrievers keep the
            depth that they have: a reranker's admission already bounds what it reads.

    Raises:
        TuningError: a stage is unknown, a number is larger than the pipeline's, or there are too many combinations.
    """
    numbers = numbers or {}
    stages = {retriever.name: retriever.depth for retriever in pipeline.retrievers} | dict(pipeline.rerankers)
    for name, tried in numbers.items():
        if name not in stages:
            raise TuningError(f"no stage is called {name!r}; stages: {', '.join(map(repr, stages))}")
        if not tried or min(tried) < 0 or max(tried) > stages[name]:
            raise TuningError(f"stage {name!r} tries one or more numbers from 0 to {stages[name]:,}, not {list(tried)}")
    columns = [sorted(set(numbers.get(name, [depth]))) for name, depth, _ in pipeline.retrievers]
    columns += [sorted(set(numbers.get(name, series(limit)))) for name, limit in pipeline.rerankers]
    if (size := prod(map(len, columns))) > LARGEST_GRID:
        raise TuningError(f"{size:,} combinations are more than {LARGEST_GRID:,}; try fewer numbers")
    n_retrievers = len(pipeline.retrievers)
    grid = []
    for row in product(*columns):
        if not any(row[:n_retrievers]):
            continue  # nothing would be retrieved
        retrievers = zip(pipeline.retrievers, row[:n_retrievers], strict=True)
        rerankers = zip(pipeline.rerankers, row[n_retrievers:], strict=True)
        grid.append(
            Pipeline(
                tuple(retriever._replace(depth=depth) for retriever, depth in retrievers),
                tuple(Admission(name, limit) for (name, _), limit in rerankers),
            )
        )
    return grid
