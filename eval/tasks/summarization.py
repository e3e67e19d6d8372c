"""Summarization: are summaries that people find good the ones near to summaries by people? Spearman's correlation."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from eval.errors import TaskError
from eval.tasks.definition import TextDefinition
from eval.tasks.pair_similarities import own_similarity, unit_vectors
from eval.tasks.tables import Table, finite_number, read_table
from eval.tasks.text_task import Measured, TextTask
from eval.tasks.text_vectors import TextVectors


class SummarizationDefinition(TextDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a summarization task, beside those of every task over texts.

    Attributes:
        file: JSON lines, one for each text that was summarized.
        human: key of the list of summaries by people.
        machine: key of the list of objects, one for each summary by a machine.
        summary: key of the summary's text in such an object.
        score: key of what people said of it.
        id: key of the texts' ids; empty takes the number of the line.
        protocol: MTEB's "v2" averages the correlations of all texts; its "v1" averages correlations and p-values
            together, by a mistake, and is for comparing with figures published of it.
    """

    file: str = "{split}.jsonl"
    human: str = "human_summaries"
    machine: str = "machine_summaries"
    summary: str = "text"
    score: str = "relevance"
    id: str = "_id"
    protocol: Literal["v1", "v2"] = "v2"


class _Summaries(msgspec.Struct, frozen=True):
    """Of one text: by people, by machines, and the scores of the latter."""

    human: list[str]
    machine: list[str]
    gold: list[float]


class SummarizationTask(TextTask[SummarizationDefinition]):
    """Summaries, as MTEB measures them: each is as good as the most similar of those by people.

    `spearman` and `pearson` are of the similarity that the encoder compares its vectors by.
    """

    kind: ClassVar[str] = "Summarization"
    main_score: ClassVar[str] = "cosine_spearman"

    def measure(self, vectors: TextVectors, seed: int) -> Measured:  # noqa: ARG002  # nothing is drawn
        """Correlate similarities and scores of each text's summaries.

        Raises:
            TaskError: a text lacks summaries, or no text has summaries of different scores.
        """
        definition = self.definition
        (file,) = self.files()
        table = read_table(file, (definition.human, definition.machine, definition.id))
        ids = table.ids(definition.id)
        rows = [self._summaries(table, row) for row in range(len(table))]
        encoded = vectors.encode([text for row in rows for text in (*row.human, *row.machine)])
        unit = unit_vectors(encoded)
        start = 0
        kept: dict[str, dict[str, float]] = {}
        for text_id, row in zip(ids, rows, strict=True):
            middle, end = start + len(row.human), start + len(row.human) + len(row.machine)
            cosine = (unit[middle:end] @ unit[start:middle].T).max(axis=1)  # (machine summaries,)
            dot = (encoded[middle:end] @ encoded[start:middle].T).max(axis=1)
            start = end
            if len(set(row.gold)) > 1 and np.ptp(cosine) > 0 and np.ptp(dot) > 0:
                kept[text_id] = self._correlations(row.gold, cosine, "cosine")
                kept[text_id] |= self._correlations(row.gold, dot, "dot")
        if not kept:
            raise TaskError(f"{file}: no text has summaries of different scores and similarities to correlate")
        scores = {name: float(np.mean([one[name] for one in kept.values()])) for name in next(iter(kept.values()))}
        own = own_similarity(vectors.similarity)
        scores |= {measure: scores[f"{own}_{measure}"] for measure in ("spearman", "pearson")}
        policies = {
            "similarity": "of a machine's summary is its greatest to any summary by people",
            "ties": "equal scores share the mean of their ranks",
            "texts whose summaries are all alike": "in score or in similarity, are left out of the mean and counted",
        }
        if definition.protocol == "v1":
            policies["p-values"] = "are averaged with the correlations, as MTEB's first protocol does by mistake"
        return Measured(
            scores=scores,
            n_items=len(kept),
            values={text_id: one[self.main_score] for text_id, one in kept.items()},
            policies=policies,
            counts={"texts left out": len(rows) - len(kept)},
        )

    def _correlations(self, gold: list[float], predicted: np.ndarray, similarity: str) -> dict[str, float]:
        from scipy.stats import pearsonr, spearmanr

        found = {"spearman": spearmanr(gold, predicted), "pearson": pearsonr(gold, predicted)}
        if self.definition.protocol == "v1":
            return {f"{similarity}_{name}": float(one.statistic + one.pvalue) / 2 for name, one in found.items()}
        return {f"{similarity}_{name}": float(one.statistic) for name, one in found.items()}

    def _summaries(self, table: Table, row: int) -> _Summaries:
        definition, where = self.definition, table.where(row)
        human, machine = table.columns[definition.human][row], table.columns[definition.machine][row]
        if not _is_list_of(human, str):
            raise TaskError(f"{where}: {definition.human} is not a list of texts, at least one")
        if not _is_list_of(machine, dict) or len(machine) < 2:
            raise TaskError(f"{where}: {definition.machine} is not a list of objects, at least two")
        texts, gold = [], []
        for summary in machine:
            text = summary.get(definition.summary)
            if not isinstance(text, str):
                raise TaskError(f"{where}: a summary's {definition.summary} is {text!r:.80}, not a text")
            texts.append(text)
            gold.append(finite_number(summary.get(definition.score), definition.score, where))
        return _Summaries(human, texts, gold)


def _is_list_of(values: Any, wanted: type) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, wanted) for value in values)
