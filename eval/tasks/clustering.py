"""Clustering: does k-means on the vectors find the groups that people made? V-measure."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from eval.errors import TaskError
from eval.tasks.definition import TextDefinition
from eval.tasks.tables import Table, read_table
from eval.tasks.text_task import Measured, TextTask
from eval.tasks.text_vectors import TextVectors

if TYPE_CHECKING:
    from sklearn.cluster import MiniBatchKMeans


class ClusteringDefinition(TextDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a clustering task, beside those of every task over texts.

    Attributes:
        text: column of the texts.
        label: column of the groups that people made.
        protocol: MTEB's "v2" draws experiments with replacement out of a sample of the texts; its "v1" clusters each
            set of texts once, whole.
        set: v1: column that says which set a row belongs to; by default the whole file is one.
        max_fraction: v2: part of the texts that is drawn (without replacement) and encoded.
        max_documents: v2: the same as a number of texts; both left out encodes all.
        documents_per_experiment: v2: texts drawn for each clustering.
        n_experiments: v2: clusterings.
        batch_size: of the k-means; by default 512 for v2 and 500 for v1, as in MTEB.
    """

    text: str = "text"
    label: str = "label"
    protocol: Literal["v1", "v2"] = "v2"
    set: str = ""
    max_fraction: float | None = None
    max_documents: int | None = None
    documents_per_experiment: int = 16_384
    n_experiments: int = 10
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.max_fraction is not None and self.max_documents is not None:
            raise ValueError("max_fraction and max_documents exclude each other; leave one out")
        if self.max_fraction is not None and not 0 < self.max_fraction <= 1:
            raise ValueError(f"max_fraction must be above 0 and at most 1, not {self.max_fraction}")
        for name in ("max_documents", "documents_per_experiment", "n_experiments", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.set and self.protocol == "v2":
            raise ValueError("only protocol v1 has sets; leave 'set' out")


class ClusteringTask(TextTask[ClusteringDefinition]):
    """Texts of groups, as MTEB measures them: mini-batch k-means with as many clusters as there are groups."""

    kind: ClassVar[str] = "Clustering"
    main_score: ClassVar[str] = "v_measure"

    def measure(self, vectors: TextVectors, seed: int) -> Measured:
        """Cluster the texts, several times over, and compare with their labels.

        Raises:
            TaskError: there is only one label, or a clustering has fewer texts than clusters.
        """
        definition = self.definition
        (file,) = self.files()
        table = read_table(file, (definition.text, definition.label, definition.set))
        table.texts(definition.text)
        labels = np.asarray(table.labels(definition.label))
        if len(set(labels)) < 2:
            raise TaskError(f"{file} has only the label {labels[0].item()!r}; a clustering needs two")
        measured = self._sampled if definition.protocol == "v2" else self._whole
        return measured(table, labels, vectors, seed)

    def _sampled(self, table: Table, labels: np.ndarray, vectors: TextVectors, seed: int) -> Measured:
        definition = self.definition
        draw = random.Random(seed)
        rows = self._sample_rows(len(table), draw)
        labels = labels[rows]
        n_clusters = len(set(labels))
        if definition.documents_per_experiment < n_clusters:
            raise TaskError(
                f"{table.path}: {definition.documents_per_experiment} documents_per_experiment are fewer than the "
                f"{n_clusters} clusters; draw more"
            )
        if n_clusters < 2:
            raise TaskError(f"{table.path}: the {len(rows)} texts that are drawn have one label; draw more of them")
        texts = table.texts(definition.text)
        encoded = vectors.encode([texts[row] for row in rows])
        model = _k_means(n_clusters, definition.batch_size or 512, seed, n_init=1)
        v_measures, informations = [], []
        for _ in range(definition.n_experiments):
            chosen = draw.choices(range(len(rows)), k=definition.documents_per_experiment)
            found = _clustered(model, encoded[chosen])
            v_measures.append(_v_measure(labels[chosen], found))
            informations.append(_adjusted_mutual_information(labels[chosen], found))
        return Measured(
            scores={
                "v_measure": float(np.mean(v_measures)),
                "v_measure_std": float(np.std(v_measures)),
                "ami": float(np.mean(informations)),
                "ami_std": float(np.std(informations)),
            },
            n_items=len(rows),
            values={f"experiment {number}": value for number, value in enumerate(v_measures)},
            policies={
                "experiments": f"each draws {definition.documents_per_experiment} of {len(rows)} texts with "
                "replacement, as MTEB's second protocol does",
                "clusters": "as many as there are labels among the texts that are encoded",
                "paired values": "are those of the experiments; every system clusters the same texts",
            },
            counts={**_scarce(labels, encoded, n_clusters), "texts that are not drawn": len(table) - len(rows)},
            settings={"seed": seed, "n_clusters": n_clusters},
        )

    def _sample_rows(self, n: int, draw: random.Random) -> list[int]:
        definition = self.definition
        size = definition.max_documents
        if definition.max_fraction is not None:
            size = int(definition.max_fraction * n)
        return list(range(n)) if size is None else draw.sample(range(n), k=min(n, size))

    def _whole(self, table: Table, labels: np.ndarray, vectors: TextVectors, seed: int) -> Measured:
        definition = self.definition
        texts = table.texts(definition.text)
        sets: dict[str, list[int]] = {}
        names = table.labels(definition.set) if definition.set else [1] * len(table)
        for row, name in enumerate(names):
            sets.setdefault(f"set {name}", []).append(row)
        values: dict[str, float] = {}
        counts: Counter[str] = Counter()
        for name, rows in sets.items():
            n_clusters = len(set(labels[rows]))
            if n_clusters == 1:
                counts["sets of one label"] += 1
                values[name] = 1.0
                continue
            encoded = vectors.encode([texts[row] for row in rows])
            model = _k_means(n_clusters, definition.batch_size or 500, seed, n_init="auto")
            values[name] = _v_measure(labels[rows], _clustered(model, encoded))
            counts.update(_scarce(labels[rows], encoded, n_clusters))
        scores = list(values.values())
        return Measured(
            scores={"v_measure": float(np.mean(scores)), "v_measure_std": float(np.std(scores))},
            n_items=len(table),
            values=values,
            policies={
                "experiments": "each set is clustered once, whole, as MTEB's first protocol does",
                "clusters": "as many as a set has labels",
                "sets of one label": "have V-measure 1",
                "paired values": "are those of the sets",
            },
            counts=dict(counts),
            settings={"seed": seed, "n_sets": len(sets)},
        )


def _k_means(n_clusters: int, batch_size: int, seed: int, n_init: int | str) -> MiniBatchKMeans:
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(n_clusters=n_clusters, batch_size=batch_size, n_init=n_init, random_state=seed)


def _clustered(model: MiniBatchKMeans, vectors: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():  # fewer distinct vectors than clusters are counted
        warnings.simplefilter("ignore")
        return np.asarray(model.fit_predict(vectors))


def _scarce(labels: np.ndarray, vectors: np.ndarray, n_clusters: int) -> dict[str, int]:
    """Count what makes a clustering doubtful: labels with one text, and clusters that distinct vectors cannot fill."""
    distinct = len(np.unique(vectors, axis=0))
    return {
        "labels with one text": sum(size == 1 for size in Counter(labels.tolist()).values()),
        "clusters beyond the distinct vectors": max(n_clusters - distinct, 0),
    }


def _v_measure(labels: np.ndarray, found: np.ndarray) -> float:
    from sklearn.metrics import v_measure_score

    return float(v_measure_score(labels, found))


def _adjusted_mutual_information(labels: np.ndarray, found: np.ndarray) -> float:
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(labels, found))
