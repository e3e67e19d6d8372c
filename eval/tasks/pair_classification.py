"""Pair classification: do similarities tell pairs of one kind from pairs of the other? Average precision."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from eval.errors import TaskError
from eval.tasks.definition import TextDefinition
from eval.tasks.pair_similarities import SIMILARITIES, SIMILARITY_POLICIES, own_similarity, pair_similarities
from eval.tasks.tables import Table, read_table
from eval.tasks.text_task import Measured, TextTask
from eval.tasks.text_vectors import TextVectors

MEASURES = ("ap", "accuracy", "f1", "precision", "recall")


class PairClassificationDefinition(TextDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a pair classification task, beside those of every task over texts.

    Attributes:
        first: column of one text.
        second: column of the other.
        label: column of the labels.
        positive: labels of pairs that belong together.
        negative: labels of pairs that do not.
        ignored: labels of pairs that are left out, and counted.
        id: column of the pairs' ids; by default the number of the line.
    """

    first: str = "sentence1"
    second: str = "sentence2"
    label: str = "label"
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    ignored: tuple[str, ...] = ()
    id: str = ""

    def __post_init__(self) -> None:
        kinds: dict[str, str] = {}
        for kind in ("positive", "negative", "ignored"):
            for label in getattr(self, kind):
                if kinds.setdefault(label, kind) != kind:
                    raise ValueError(f"label {label!r} is listed as {kinds[label]} and as {kind}; leave one out")


class PairClassificationTask(TextTask[PairClassificationDefinition]):
    """Pairs of two kinds, as MTEB measures them: each measure by each similarity, and its maximum over these.

    `similarity_…` is the similarity that the encoder compares its vectors by, `max_…` the best of all.
    """

    kind: ClassVar[str] = "PairClassification"
    main_score: ClassVar[str] = "max_ap"

    def measure(self, vectors: TextVectors, seed: int) -> Measured:  # noqa: ARG002  # nothing is drawn
        """Rank the pairs by each similarity and compare with their labels.

        Raises:
            TaskError: a label is neither positive nor negative nor ignored, or all pairs are of one kind.
        """
        definition = self.definition
        (file,) = self.files()
        table = read_table(file, (definition.first, definition.second, definition.label, definition.id))
        table.ids(definition.id)
        labels = self._binary(table)  # (rows,) 1, 0, or -1 for ignored ones
        kept = np.flatnonzero(labels >= 0)
        positive = labels[kept] == 1
        first, second = table.texts(definition.first), table.texts(definition.second)
        both = vectors.encode([first[row] for row in kept] + [second[row] for row in kept])  # (2n, d)
        similarities = pair_similarities(both[: len(kept)], both[len(kept) :])
        scores: dict[str, float] = {}
        for name, predicted in similarities.items():
            values = pair_scores(predicted, positive)
            scores |= {f"{name}_{measure}": values[measure] for measure in MEASURES}
        own = own_similarity(vectors.similarity)
        scores |= {f"similarity_{measure}": scores[f"{own}_{measure}"] for measure in MEASURES}
        for measure in MEASURES:
            scores[f"max_{measure}"] = max(scores[f"{name}_{measure}"] for name in SIMILARITIES)
        return Measured(
            scores=scores,
            n_items=len(kept),
            policies={
                "ties": "pairs of equal similarity are on the same side of every threshold",
                "thresholds": "accuracy and F1 are those of the best threshold on the measured pairs themselves, with "
                "at least one pair on either side",
                **SIMILARITY_POLICIES,
            },
            counts={"pairs left out for their label": len(labels) - len(kept)},
            settings={"positive_pairs": int(positive.sum())},
        )

    def _binary(self, table: Table) -> np.ndarray:
        definition = self.definition
        meanings = {
            **dict.fromkeys(definition.ignored, -1),
            **dict.fromkeys(definition.negative, 0),
            **dict.fromkeys(definition.positive, 1),
        }
        labels = np.empty(len(table), np.int64)
        for row, label in enumerate(table.labels(definition.label)):
            if str(label) not in meanings:
                raise TaskError(
                    f"{table.where(row)}: label {str(label)!r:.80} is neither positive nor negative; known are "
                    f"{', '.join(meanings)}"
                )
            labels[row] = meanings[str(label)]
        for meaning, name in ((1, "positive"), (0, "negative")):
            if meaning not in labels:
                raise TaskError(f"{table.path} has no {name} pair; both kinds are needed")
        return labels


def pair_scores(predicted: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Return average precision, and accuracy and F1 (with its precision and recall) at their best thresholds.

    Args:
        predicted: (n,) similarities; higher is more similar.
        positive: (n,) bool, with both values.
    """
    from sklearn.metrics import average_precision_score

    order = np.argsort(-predicted, kind="stable")
    ranked, hits = predicted[order], np.cumsum(positive[order])  # hits: (n,) positive pairs down to each rank
    ends = np.flatnonzero(ranked[:-1] != ranked[1:])  # the last rank above each possible threshold
    taken, found, n_positive = ends + 1, hits[ends], int(hits[-1])
    scores = dict.fromkeys(MEASURES, 0.0)
    scores["ap"] = float(average_precision_score(positive, predicted))
    if len(ends):
        misses = len(ranked) - n_positive - (taken - found)  # negative pairs below the threshold
        scores["accuracy"] = float(((found + misses) / len(ranked)).max())
        # F1 = 2 · hits / (taken + positive); equal ones take the highest threshold.
        best = int(np.argmax(2 * found / (taken + n_positive)))
        scores["f1"] = float(2 * found[best] / (taken[best] + n_positive))
        scores["precision"] = float(found[best] / taken[best])
        scores["recall"] = float(found[best] / n_positive)
    return scores
