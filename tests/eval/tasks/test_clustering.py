"""Clustering: both of mteb's protocols against sklearn and mteb's own, and data that cannot be clustered."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import v_measure_score

from eval.errors import TaskError

SMALL = "documents_per_experiment = 50\nn_experiments = 3\nbatch_size = 20\n"


def rows_of(n: int, n_labels: int = 4) -> tuple[list[str], list[int]]:
    draw = np.random.default_rng(5)
    return [f"text {number}" for number in range(n)], [int(label) for label in draw.integers(n_labels, size=n)]


def table(texts: list[str], labels: list, sets: list | None = None) -> str:
    rows = zip(labels, texts, sets or [0] * len(texts), strict=True)
    return "label\ttext\tset\n" + "".join(f"{label}\t{text}\t{of}\n" for label, text, of in rows)


def test_sampled_protocol_is_sklearns_k_means_on_drawn_texts(task_of, measure, encoder):
    texts, labels = rows_of(90)
    result = measure(task_of("Clustering", {"test.tsv": table(texts, labels)}, SMALL + "max_documents = 60"))
    draw = random.Random(42)
    rows = draw.sample(range(90), k=60)
    vectors = encoder().encode_passages([texts[row] for row in rows])
    expected = []
    for _ in range(3):
        chosen = draw.choices(range(60), k=50)
        found = MiniBatchKMeans(4, batch_size=20, n_init=1, random_state=42).fit_predict(vectors[chosen])
        expected.append(v_measure_score([labels[rows[place]] for place in chosen], found))
    assert list(result.values.values()) == pytest.approx(expected)
    assert result.score == pytest.approx(np.mean(expected))
    assert result.n_items == 60
    assert result.counts["texts that are not drawn"] == 30


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_groups_that_lie_apart_are_found(task_of, measure, encoder, protocol):
    texts, labels = rows_of(80)
    place = dict(zip(texts, labels, strict=True))

    def apart(text):
        return np.eye(4)[place[text]] * 10 + np.random.default_rng(len(text)).normal(0, 0.01, 4)

    keys = f"protocol = '{protocol}'\n" + (SMALL if protocol == "v2" else "")
    task = task_of("Clustering", {"test.tsv": table(texts, labels)}, keys)
    assert measure(task, encoder(apart, dimension=4)).score == pytest.approx(1.0)


def test_another_seed_draws_other_experiments_and_the_same_one_the_same(task_of, measure):
    texts, labels = rows_of(90)
    task = task_of("Clustering", {"test.tsv": table(texts, labels)}, SMALL)
    assert measure(task).values == measure(task).values != measure(task, seed=1).values


def test_whole_protocol_clusters_each_set(task_of, measure, encoder):
    texts, labels = rows_of(60)
    sets = ["x", "y", "z"] * 20
    for row in range(2, 60, 3):
        labels[row] = 0  # all of set z
    keys = "protocol = 'v1'\nset = 'set'\nbatch_size = 10"
    result = measure(task_of("Clustering", {"test.tsv": table(texts, labels, sets)}, keys))
    encode = encoder().encode_passages
    expected = {}
    for name in "xy":
        rows = [row for row in range(60) if sets[row] == name]
        model = MiniBatchKMeans(len({labels[row] for row in rows}), batch_size=10, n_init="auto", random_state=42)
        found = model.fit_predict(encode([texts[row] for row in rows]))
        expected[f"set {name}"] = v_measure_score([labels[row] for row in rows], found)
    assert result.values == pytest.approx(expected | {"set z": 1.0})
    assert result.counts == {"sets of one label": 1}


def test_single_texts_and_equal_vectors_are_counted(task_of, measure, encoder):
    content = table(["a", "b", "c", "d"], ["x", "x", "y", "z"])
    task = task_of("Clustering", {"test.tsv": content}, SMALL)
    result = measure(task, encoder(lambda text: [float(text > "b"), 1.0]))
    assert result.counts["labels with one text"] == 2
    assert result.counts["clusters beyond the distinct vectors"] == 1


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        (table(["a", "b"], ["x", "x"]), "", "has only the label 'x'; a clustering"),
        (table(["a", "b"], [1, 1]), "", "has only the label 1; a clustering"),
        (table([], []), "", "holds no rows"),
        (
            table(["a", "b", "c"], ["x", "y", "z"]),
            "documents_per_experiment = 2",
            "2 documents_per_experiment .* 3 clusters",
        ),
        (table(["a", "b", "c"], ["x", "y", "z"]), "max_documents = 1", "the 1 texts that are drawn have one label"),
        (table(["a", "b"], ["x", " "]), "", r"test\.tsv:3: label is ' ', not a label"),
    ],
)
def test_bad_data_is_an_error(task_of, measure, content, keys, message):
    with pytest.raises(TaskError, match=message):
        measure(task_of("Clustering", {"test.tsv": content}, keys))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("max_documents = 1\nmax_fraction = 0.5", "exclude each other"),
        ("max_fraction = 1.5", "at most 1, not 1.5"),
        ("n_experiments = 0", "at least 1"),
        ("set = 'set'", "only protocol v1"),
        ("protocol = 'v3'", "protocol"),
    ],
)
def test_settings_that_make_no_sense_are_errors(task_of, keys, message):
    with pytest.raises(TaskError, match=message):
        task_of("Clustering", {"test.tsv": table(["a", "b"], ["x", "y"])}, keys)


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [None, 0.5])
def test_scores_equal_those_of_mtebs_own_clustering(task_of, measure, encoder, mteb_run, fraction):
    """Compares V-measure and adjusted mutual information of `mteb.abstasks.AbsTaskClustering` with ours."""
    texts, labels = rows_of(120)
    keys = SMALL + (f"max_fraction = {fraction}" if fraction else "")
    ours = measure(task_of("Clustering", {"test.tsv": table(texts, labels)}, keys))
    theirs = mteb_run(
        "Clustering",
        {"test": {"sentences": texts, "labels": labels}},
        encoder(),
        max_fraction_of_documents_to_embed=fraction,
        max_documents_per_cluster=50,
        n_clusters=3,
        k_mean_batch_size=20,
    )
    assert list(ours.values.values()) == pytest.approx(theirs["v_measures"]["Level 0"], abs=1e-9)
    for name in ("v_measure", "v_measure_std", "ami", "ami_std"):
        assert ours.scores[name] == pytest.approx(theirs[name], abs=1e-9)


@pytest.mark.slow
def test_scores_equal_those_of_mtebs_own_first_protocol(task_of, measure, encoder, mteb_run):
    """Compares the V-measure of each set of `AbsTaskClusteringLegacy`, one of them of one label, with ours."""
    texts, labels = rows_of(90)
    sets = [number // 30 for number in range(90)]
    labels[60:] = [1] * 30
    keys = "protocol = 'v1'\nset = 'set'"
    ours = measure(task_of("Clustering", {"test.tsv": table(texts, labels, sets)}, keys))
    parts = [slice(0, 30), slice(30, 60), slice(60, 90)]
    rows = {"sentences": [texts[part] for part in parts], "labels": [labels[part] for part in parts]}
    theirs = mteb_run("ClusteringLegacy", {"test": rows}, encoder())
    assert list(ours.values.values()) == pytest.approx(theirs["v_measures"], abs=1e-9)
    assert ours.score == pytest.approx(theirs["v_measure"], abs=1e-9)
