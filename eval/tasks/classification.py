"""Classification: how well does a simple classifier on few vectors tell the labels of others? Accuracy."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from eval.errors import TaskError
from eval.tasks.definition import TextDefinition
from eval.tasks.tables import Table, read_table
from eval.tasks.text_task import Measured, TextTask
from eval.tasks.text_vectors import TextVectors

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Labels = list[str] | list[int]


class ClassificationDefinition(TextDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a classification task, beside those of every task over texts.

    Attributes:
        train_split: whose texts the classifiers learn from.
        train_file: its file.
        text: column of the texts.
        label: column of the labels.
        n_experiments: classifiers that are trained, each on samples of its own.
        samples_per_label: that each learns from.
        max_iterations: of the logistic regression.
        n_neighbours: of the nearest-neighbour classifier.
    """

    train_split: str = "train"
    train_file: str = "{train_split}.tsv"
    text: str = "text"
    label: str = "label"
    n_experiments: int = 10
    samples_per_label: int = 8
    max_iterations: int = 100
    n_neighbours: int = 5

    def __post_init__(self) -> None:
        for name in ("n_experiments", "samples_per_label", "max_iterations", "n_neighbours"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


class ClassificationTask(TextTask[ClassificationDefinition]):
    """Texts with labels, as MTEB measures them: logistic regression on a few samples of each label, several times over.

    Beside it the same samples serve a nearest-neighbour classifier (`knn_…`, Euclidean distance).
    """

    kind: ClassVar[str] = "Classification"
    main_score: ClassVar[str] = "accuracy"

    def file_names(self) -> list[str]:
        """Return the training file and the measured one."""
        return [self.definition.train_file, self.definition.file]

    def measure(self, vectors: TextVectors, seed: int) -> Measured:
        """Train and measure the classifiers of all experiments.

        Raises:
            TaskError: a split has only one label.
        """
        definition = self.definition
        train, test = (read_table(file, (definition.text, definition.label)) for file in self.files())
        train_labels, test_labels = alike(train.labels(definition.label), test.labels(definition.label))
        _check_classes(train, train_labels)
        _check_classes(test, test_labels)
        samples = draw_samples(train_labels, definition.samples_per_label, definition.n_experiments, seed)
        train_texts, test_texts = train.texts(definition.text), test.texts(definition.text)
        rows = sorted(set().union(*samples))  # training texts that any experiment uses
        place = {row: position for position, row in enumerate(rows)}
        known = vectors.encode([train_texts[row] for row in rows])
        unknown = vectors.encode(test_texts)

        experiments: list[dict[str, float]] = []
        not_converged = 0
        for sample in samples:
            few, few_labels = known[[place[row] for row in sample]], [train_labels[row] for row in sample]
            regression = _logistic_regression(definition.max_iterations, seed)
            neighbours = _nearest_neighbours(min(definition.n_neighbours, len(few)))
            with warnings.catch_warnings():  # a regression that does not converge is counted instead
                warnings.simplefilter("ignore")
                predicted = regression.fit(few, few_labels).predict(unknown)
            not_converged += int(max(regression.n_iter_) >= definition.max_iterations)
            measured = label_scores(test_labels, predicted)
            near = label_scores(test_labels, neighbours.fit(few, few_labels).predict(unknown))
            experiments.append(measured | {f"knn_{name}": value for name, value in near.items()})

        sizes, trained = Counter(train_labels), set(train_texts)
        scarce = sum(size < definition.samples_per_label for size in sizes.values())
        return Measured(
            scores={name: float(np.mean([scores[name] for scores in experiments])) for name in experiments[0]},
            n_items=len(test),
            values={f"experiment {number}": scores["accuracy"] for number, scores in enumerate(experiments)},
            policies={
                "samples": f"{definition.samples_per_label} of each label, or all where there are fewer, drawn as MTEB "
                "draws them: one generator state for all experiments, shuffling the order that the last one left",
                "labels that are only measured": "count, as errors",
                "paired values": "are those of the experiments; every system learns from the same samples",
                "distances": "nearest neighbours are Euclidean",
            },
            counts={
                "labels with fewer training texts than samples": scarce,
                "measured texts whose label has no training text": sum(label not in sizes for label in test_labels),
                "measured texts that are also training texts": sum(text in trained for text in test_texts),
                "experiments whose regression did not converge": not_converged,
            },
            settings={"seed": seed, "n_labels": len(sizes)},
        )


def alike(train: Labels, test: Labels) -> tuple[Labels, Labels]:
    """Return the labels of two files as whole numbers where both are, else both as texts."""
    if isinstance(train[0], int) and isinstance(test[0], int):
        return train, test
    return [str(label) for label in train], [str(label) for label in test]


def _check_classes(table: Table, labels: Labels) -> None:
    if len(set(labels)) < 2:
        raise TaskError(f"{table.path} has only the label {labels[0]!r}; a classification needs two")


def draw_samples(labels: Sequence[Any], per_label: int, n_experiments: int, seed: int) -> list[list[int]]:
    """Return the training rows of each experiment, drawn as MTEB draws them.

    The rows are shuffled and the first few of each label taken. The next experiment seeds the generator anew, but
    shuffles the order that the last one left.

    Args:
        labels: of the training rows.
        per_label: rows taken of each; fewer where there are no more.
        n_experiments: how many samples.
        seed: of the generator.
    """
    order = list(range(len(labels)))
    samples = []
    for _ in range(n_experiments):
        np.random.RandomState(seed).shuffle(order)  # another generator would draw other samples than MTEB's
        taken: Counter[Any] = Counter()
        sample = []
        for row in order:
            if taken[labels[row]] < per_label:
                taken[labels[row]] += 1
                sample.append(row)
        samples.append(sample)
    return samples


def _logistic_regression(max_iterations: int, seed: int) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=max_iterations, random_state=seed)


def _nearest_neighbours(n_neighbours: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=n_neighbours)


def label_scores(gold: Labels, predicted: np.ndarray) -> dict[str, float]:
    """Return accuracy, and F1, precision and recall, each averaged over labels alike and by their size.

    Of two labels 0 and 1, `ap` is the average precision of the predicted labels themselves.

    Args:
        gold: n labels.
        predicted: (n,) labels.
    """
    from sklearn.metrics import accuracy_score, average_precision_score, precision_recall_fscore_support

    scores = {"accuracy": float(accuracy_score(gold, predicted))}
    for average, ending in (("macro", ""), ("weighted", "_weighted")):
        precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)
        scores |= {f"f1{ending}": float(f1), f"precision{ending}": float(precision), f"recall{ending}": float(recall)}
    if set(gold) == {0, 1}:
        scores["ap"] = float(average_precision_score(gold, predicted))
    return scores
