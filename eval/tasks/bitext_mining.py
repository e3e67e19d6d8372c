"""Bitext mining: is the nearest sentence of the other language the translation? F1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from eval.errors import TaskError
from eval.tasks.definition import TextDefinition
from eval.tasks.pair_similarities import own_similarity, unit_vectors
from eval.tasks.tables import read_table
from eval.tasks.text_task import Measured, TextTask
from eval.tasks.text_vectors import TextVectors

_QUERIES_AT_ONCE = 1024


class BitextMiningDefinition(TextDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a bitext mining task, beside those of every task over texts; each row is a sentence and its translation.

    Attributes:
        first: column of the sentences whose translation is sought.
        second: column of the sentences it is sought among.
        id: column of the rows' ids; by default the number of the line.
    """

    first: str = "sentence1"
    second: str = "sentence2"
    id: str = ""


class BitextMiningTask(TextTask[BitextMiningDefinition]):
    """Translations, as MTEB measures them: the nearest by the encoder's similarity, without a margin."""

    kind: ClassVar[str] = "BitextMining"
    main_score: ClassVar[str] = "f1"

    def measure(self, vectors: TextVectors, seed: int) -> Measured:  # noqa: ARG002  # nothing is drawn
        """Find the nearest sentence for each and compare with the translation.

        Raises:
            TaskError: there is only one pair.
        """
        definition = self.definition
        (file,) = self.files()
        table = read_table(file, (definition.first, definition.second, definition.id))
        ids = table.ids(definition.id)
        n = len(table)
        if n < 2:
            raise TaskError(f"{file} has one pair of sentences; a choice needs two")
        first, second = table.texts(definition.first), table.texts(definition.second)
        both = vectors.encode(first + second)  # (2n, d)
        if own_similarity(vectors.similarity) == "cosine":
            both = unit_vectors(both)
        found = nearest_rows(both[:n], both[n:])
        hits = found == np.arange(n)
        chosen = np.bincount(found, minlength=n)  # (n,) how often each sentence is the nearest
        # Row i is a class of its own with one member: precision 1/chosen and recall 1 where that member is found.
        precision = hits / np.maximum(chosen, 1)
        f1 = 2 * hits / (chosen + 1)
        return Measured(
            scores={
                "f1": float(f1.mean()),
                "precision": float(precision.mean()),
                "recall": float(hits.mean()),
                "accuracy": float(hits.mean()),
            },
            n_items=n,
            values=dict(zip(ids, (float(value) for value in f1), strict=True)),
            policies={
                "ties": "of sentences that are equally near, the first in the file counts as the nearest",
                "duplicate sentences": "only the sentence of the same row is the translation, even where another row "
                "has the same text",
                "F1": "of each row as a class of its own, averaged over rows",
            },
            counts={"rows whose translation comes in another row too": n - _single(second)},
        )


def _single(texts: list[str]) -> int:
    counted: dict[str, int] = {}
    for text in texts:
        counted[text] = counted.get(text, 0) + 1
    return sum(counted[text] == 1 for text in texts)


def nearest_rows(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the row of the candidate with the largest dot product, (n,) int64; of equal ones the first.

    Args:
        queries: (n, d) float32.
        candidates: (m, d) float32.
    """
    found = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = queries[start : start + _QUERIES_AT_ONCE]
        found[start : start + len(part)] = np.argmax(part @ candidates.T, axis=1)
    return found
