"""Results of three systems on five tasks as reports get them: published figures, ties, oddities and nasty texts."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from eval.tasks.base import Reference, TaskResult

NASTY = "</script><script>document.title = 'caught'</script><img src=http://example.invalid/x> & \u202e\u2028 日本"
"""A query that would be markup, a request, or the end of the page's data, where it is not taken for text."""

SYSTEMS = ("BM25", "encoder", "hybrid <b>&\"' $x_1$")
UNMEASURED = [("Pairs", SYSTEMS[2], "a reranker has no vectors"), ("Clusters", "BM25", "no vectors to cluster")]

_POLICIES = {"ties": "the order of the results is judged as it is", "missing queries": "score 0"}


def _retrieval(task, place, values, queries, **more):
    mean = float(np.mean(values))
    return TaskResult(
        task=task,
        kind="Retrieval",
        system=SYSTEMS[place],
        main_score="nDCG@10",
        scores={"nDCG@10": mean, "R@100": min(1.0, mean + 0.3)},
        values=dict(zip(queries, map(float, values), strict=True)),
        n_items=len(values),
        queries=dict(queries),
        **more,
    )


def sample_results(n: int = 60) -> list[TaskResult]:
    """Return the results; `n` queries of the first task."""
    generator = np.random.default_rng(11)
    results = []
    for task, size in (("SciFact", n), ("ArguAna_2", 40)):
        texts = {f"q{number}": " ".join(["word"] * int(generator.integers(1, 20))) for number in range(size)}
        texts["q1"] = NASTY
        base = generator.uniform(0.1, 0.5, size)
        for place in range(3):
            values = np.clip(np.round(base + 0.15 * place + generator.normal(0, 0.08, size), 2), 0, 1)
            values[1] = 0.9 if place == 2 else 0.0
            mean = float(np.mean(values))
            results.append(
                _retrieval(
                    task,
                    place,
                    values,
                    texts,
                    policies=dict(_POLICIES)
                    if place
                    else {**_POLICIES, "ties": _POLICIES["ties"] + "; trec_eval's order would give nDCG@10 0.1"},
                    counts={"cut texts": 7} if place else {},
                    costs={
                        "query_p50_ms": [1.5, 6.25, 80.0][place],
                        "bytes_per_document": [400.0, 1536.0, 1900.0][place],
                    },
                    settings={
                        "split": "test",
                        "other_ties": {"nDCG@10": mean - 0.01} if place == 0 else {},
                        "encoder": {"identity": {"name": "all-MiniLM-L6-v2", "weights": "53aa5117"}} if place else None,
                    },
                    reference=Reference(mean + [0.01, 0.001, 0.0][place], "published <elsewhere>", 0.002)
                    if place < 2
                    else None,
                )
            )
    gold = generator.integers(0, 6, 80).astype(float)
    for place, noise in enumerate((3.0, 0.5)):
        predicted = gold + generator.normal(0, noise, 80)
        score = float(spearmanr(gold, predicted).statistic)
        results.append(
            TaskResult(
                "Pairs",
                "STS",
                SYSTEMS[place],
                "cosine_spearman",
                {"cosine_spearman": score},
                gold=gold.tolist(),
                predicted=predicted.tolist(),
                n_items=80,
            )
        )
    results += [
        TaskResult("Clusters", "Clustering", SYSTEMS[place], "v_measure", {"v_measure": 0.25 * place}, n_items=1)
        for place in (1, 2)
    ]
    return results
