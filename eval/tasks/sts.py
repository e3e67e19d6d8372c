"""STS: do similarities of pairs of sentences rise with what people said? Spearman's rank correlation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from eval.errors import TaskError
from eval.tasks.definition import TextDefinition
from eval.tasks.pair_similarities import SIMILARITY_POLICIES, own_similarity, pair_similarities
from eval.tasks.tables import read_table
from eval.tasks.text_task import Measured, TextTask
from eval.tasks.text_vectors import TextVectors


class STSDefinition(TextDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of an STS task, beside those of every task over texts.

    Attributes:
        first: column of one text.
        second: column of the other.
        score: column of what people said; higher is more similar.
        id: column of the pairs' ids; by default the number of the line.
    """

    first: str = "sentence1"
    second: str = "sentence2"
    score: str = "score"
    id: str = ""


class STSTask(TextTask[STSDefinition]):
    """Semantic textual similarity, as MTEB measures it: correlations of each similarity with the people's scores.

    `spearman` and `pearson` are of the similarity that the encoder compares its vectors by.
    """

    kind: ClassVar[str] = "STS"
    main_score: ClassVar[str] = "cosine_spearman"

    def measure(self, vectors: TextVectors, seed: int) -> Measured:  # noqa: ARG002  # nothing is drawn
        """Correlate the similarities of all pairs with their gold scores.

        Raises:
            TaskError: fewer than two pairs, or all gold scores are equal.
        """
        definition = self.definition
        (file,) = self.files()
        table = read_table(file, (definition.first, definition.second, definition.score, definition.id))
        table.ids(definition.id)
        gold = table.numbers(definition.score)
        if len(set(gold)) < 2:
            raise TaskError(f"{file} has {len(gold)} pairs, all of score {gold[0]}; a correlation needs two scores")
        both = vectors.encode(table.texts(definition.first) + table.texts(definition.second))  # (2n, d)
        similarities = pair_similarities(both[: len(gold)], both[len(gold) :])
        scores: dict[str, float] = {}
        for name, predicted in similarities.items():
            scores |= {f"{name}_{measure}": value for measure, value in correlations(gold, predicted).items()}
        own = own_similarity(vectors.similarity)
        scores |= {measure: scores[f"{own}_{measure}"] for measure in ("spearman", "pearson")}
        return Measured(
            scores=scores,
            n_items=len(gold),
            gold=gold,
            predicted=[float(value) for value in similarities["cosine"]],
            policies={
                "ties": "equal scores share the mean of their ranks",
                "predictions that are all equal": "have no correlation with anything, and score 0; they are counted",
                **SIMILARITY_POLICIES,
            },
            counts={"similarities that are equal for all pairs": sum(map(_constant, similarities.values()))},
        )


def correlations(gold: list[float], predicted: np.ndarray) -> dict[str, float]:
    """Return Spearman's and Pearson's correlation; 0 where the predictions are all equal.

    Args:
        gold: n >= 2 scores, not all equal.
        predicted: (n,).
    """
    from scipy.stats import pearsonr, spearmanr

    if _constant(predicted):
        return {"spearman": 0.0, "pearson": 0.0}
    return {
        "spearman": float(spearmanr(gold, predicted).statistic),
        "pearson": float(pearsonr(gold, predicted).statistic),
    }


def _constant(predicted: np.ndarray) -> bool:
    return bool(np.ptp(predicted) == 0.0)
