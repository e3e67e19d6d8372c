"""Classification: samples and scores against sklearn and mteb's own, bad data, and published figures."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

from eval.errors import TaskError
from eval.tasks import Surroundings, System, load_tasks
from eval.tasks.classification import draw_samples
from eval.tasks.tables import read_table

KEYS = "n_experiments = 3\nsamples_per_label = 4"


def rows_of(n: int, labels: list, seed: int) -> tuple[list[str], list]:
    draw = np.random.default_rng(seed)
    return [f"text {seed} {number}" for number in range(n)], [labels[draw.integers(len(labels))] for _ in range(n)]


def table(texts: list[str], labels: list) -> str:
    return "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in zip(labels, texts, strict=True))


def files(labels: list) -> tuple[dict[str, str], tuple, tuple]:
    train, test = rows_of(60, labels, 1), rows_of(40, labels, 2)
    return {"train.tsv": table(*train), "test.tsv": table(*test)}, train, test


@given(
    st.lists(st.sampled_from("abc"), min_size=2, max_size=40),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
def test_samples_hold_so_many_of_each_label_and_none_twice(labels, per_label, n_experiments, seed):
    samples = draw_samples(labels, per_label, n_experiments, seed)
    assert len(samples) == n_experiments
    sizes = Counter(labels)
    for sample in samples:
        assert len(set(sample)) == len(sample)
        assert Counter(labels[row] for row in sample) == {label: min(sizes[label], per_label) for label in sizes}
    assert samples == draw_samples(labels, per_label, n_experiments, seed)


def test_scores_are_the_means_of_sklearns_classifiers(task_of, measure, encoder):
    content, (train_texts, train_labels), (test_texts, test_labels) = files(["red", "green", "blue"])
    result = measure(task_of("Classification", content, KEYS))
    encode = encoder().encode_passages
    expected = []
    for sample in draw_samples(train_labels, 4, 3, 42):
        known, labels = encode([train_texts[row] for row in sample]), [train_labels[row] for row in sample]
        regression = LogisticRegression(max_iter=100, random_state=42).fit(known, labels)
        predicted = regression.predict(encode(test_texts))
        near = KNeighborsClassifier(5).fit(known, labels).predict(encode(test_texts))
        expected.append(
            (
                np.mean(predicted == np.array(test_labels)),
                f1_score(test_labels, predicted, average="macro"),
                np.mean(near == np.array(test_labels)),
            )
        )
    accuracy, f1, near = np.mean(expected, axis=0)
    assert result.scores["accuracy"] == pytest.approx(accuracy)
    assert result.scores["f1"] == pytest.approx(f1)
    assert result.scores["knn_accuracy"] == pytest.approx(near)
    assert list(result.values.values()) == pytest.approx([row[0] for row in expected])
    assert result.score == pytest.approx(np.mean(list(result.values.values())))
    assert "ap" not in result.scores


def test_vectors_that_tell_the_labels_are_classified_without_fault(task_of, measure, encoder):
    labels = ["red", "green", "blue"]
    train = [(f"{label} {number}", label) for label in labels for number in range(6)]
    test = [(f"{label} x{number}", label) for label in labels for number in range(4)]
    content = {
        "train.tsv": table([text for text, _ in train], [label for _, label in train]),
        "test.tsv": table([text for text, _ in test], [label for _, label in test]),
    }
    telling = encoder(lambda text: [float(text.startswith(label)) for label in labels])
    result = measure(task_of("Classification", content, KEYS), telling)
    assert result.score == result.scores["knn_accuracy"] == result.scores["f1"] == 1.0
    assert result.counts == {}


def test_only_texts_that_some_experiment_learns_from_are_encoded(task_of, measure, encoder):
    seen = []

    def watched(text):
        seen.append(text)
        return [float(len(text)), 1.0, float(text.count("1"))]

    content, (_, train_labels), (test_texts, _) = files(["a", "b"])
    measure(task_of("Classification", content, KEYS), encoder(watched, dimension=3))
    used = set().union(*draw_samples(train_labels, 4, 3, 42))
    assert len(seen) == len(set(seen)) == len(used) + len(test_texts) < 60 + 40


def test_what_is_not_as_it_should_be_is_counted(task_of, measure):
    train = [("t1", "a"), ("t2", "a"), ("t3", "b")]
    test = [("t1", "a"), ("u", "b"), ("v", "c"), ("w", "c")]
    content = {
        "train.tsv": table([text for text, _ in train], [label for _, label in train]),
        "test.tsv": table([text for text, _ in test], [label for _, label in test]),
    }
    result = measure(task_of("Classification", content, "samples_per_label = 2\nmax_iterations = 1"))
    assert result.counts == {
        "labels with fewer training texts than samples": 1,
        "measured texts whose label has no training text": 2,
        "measured texts that are also training texts": 1,
        "experiments whose regression did not converge": 10,
    }
    assert result.score <= 0.5


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("label\ttext\na\tx\na\ty\n", "label\ttext\na\tx\nb\ty\n", r"train\.tsv has only the label 'a'"),
        ("label\ttext\na\tx\nb\ty\n", "label\ttext\na\tx\na\ty\n", r"test\.tsv has only the label 'a'"),
        ("label\ttext\n", "label\ttext\na\tx\n", r"train\.tsv holds no rows"),
        ("label\ttext\na\tx\nb\ty\n", "label\ttext\n", r"test\.tsv holds no rows"),
        (
            "kind\ttext\na\tx\n",
            "label\ttext\na\tx\n",
            r"train\.tsv:1: the header has no column 'label'; it is kind, text",
        ),
    ],
)
def test_bad_data_is_an_error(task_of, measure, train, test, message):
    with pytest.raises(TaskError, match=message):
        measure(task_of("Classification", {"train.tsv": train, "test.tsv": test}))


def test_a_training_split_must_be_there_and_settings_in_range(task_of):
    with pytest.raises(TaskError, match=r"no file train\.tsv"):
        task_of("Classification", {"test.tsv": table(["a", "b"], ["x", "y"])})
    with pytest.raises(TaskError, match="n_experiments must be at least 1, not 0"):
        task_of("Classification", {}, "n_experiments = 0")


def test_whole_numbers_of_one_file_and_words_of_the_other_are_texts(task_of, measure):
    content = {"train.tsv": table(["p", "q"], [1, 2]), "test.tsv": table(["r", "s", "t"], [1, 2, "other"])}
    result = measure(task_of("Classification", content))
    assert result.counts["measured texts whose label has no training text"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("labels", [[0, 1], list(range(5))], ids=["two labels", "five labels"])
def test_scores_equal_those_of_mtebs_own_classification(task_of, measure, encoder, mteb_run, labels):
    """Compares every score of `mteb.abstasks.AbsTaskClassification`, and each experiment's accuracy, with ours."""
    content, train, test = files(labels)
    ours = measure(task_of("Classification", content, KEYS))
    splits = {name: {"text": rows[0], "label": rows[1]} for name, rows in (("train", train), ("test", test))}
    theirs = mteb_run("Classification", splits, encoder(), n_experiments=3, samples_per_label=4)
    accuracies = [experiment["accuracy"] for experiment in theirs["scores_per_experiment"]]
    assert list(ours.values.values()) == pytest.approx(accuracies, abs=1e-9)
    names = ["accuracy", *(f"{name}{end}" for name in ("f1", "precision", "recall") for end in ("", "_weighted"))]
    for name in [*names, *(["ap"] if len(labels) == 2 else [])]:
        assert ours.scores[name] == pytest.approx(theirs[name], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Banking77Classification", "AmazonCounterfactualClassification"])
def test_published_figures(data_folder, embedded, tmp_path, name):
    data = data_folder("banking77").parent
    (task,) = load_tasks(data, [name])
    result = task.run(System("embedded", encoder=embedded), Surroundings(tmp_path))
    assert result.reference is not None
    assert result.reference.tolerance is not None
    assert result.score == pytest.approx(result.reference.value, abs=result.reference.tolerance)


def test_labels_that_only_look_like_one_number_are_two(tmp_path):
    file = tmp_path / "labels.tsv"
    for written, labels in ((("01", "1", "1"), ["01", "1", "1"]), (("-1", "1", "0"), [-1, 1, 0])):
        file.write_text("\n".join(["label", *written]), encoding="utf-8")
        assert read_table(file, ["label"]).labels("label") == labels
