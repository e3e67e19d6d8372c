"""Bitext mining: nearest sentences against sklearn, mteb's own, and published figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from eval.errors import TaskError
from eval.tasks import Surroundings, System, load_tasks
from eval.tasks.bitext_mining import nearest_rows

HEADER = "sentence1\tsentence2\n"


def noisy(text: str) -> np.ndarray:
    """Return a vector that translations ("de 7" and "en 7") share up to much noise."""
    side, number = text.split()
    shared = np.random.default_rng(int(number)).normal(size=6)
    return (shared + 0.9 * np.random.default_rng([int(number), len(side)]).normal(size=6)).astype(np.float32)


def pairs(n: int) -> tuple[str, list[str], list[str]]:
    first, second = [f"d {number}" for number in range(n)], [f"en {number}" for number in range(n)]
    return HEADER + "".join(f"{a}\t{b}\n" for a, b in zip(first, second, strict=True)), first, second


def test_scores_are_sklearns_of_the_nearest_by_cosine(task_of, measure, encoder):
    content, first, second = pairs(50)
    result = measure(task_of("BitextMining", {"test.tsv": content}), encoder(noisy, dimension=6))
    a, b = (np.stack([noisy(text) for text in texts]).astype(float) for texts in (first, second))
    a, b = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (a, b))
    found, gold = (a @ b.T).argmax(axis=1), np.arange(50)
    expected = {
        "f1": f1_score(gold, found, average="weighted", zero_division=0),
        "precision": precision_score(gold, found, average="weighted", zero_division=0),
        "recall": recall_score(gold, found, average="weighted", zero_division=0),
        "accuracy": np.mean(found == gold),
    }
    assert result.scores == pytest.approx(expected)
    assert 0.1 < result.score < 0.9
    assert np.mean(list(result.values.values())) == pytest.approx(result.score)
    assert result.n_items == 50


def test_by_hand(task_of, measure, encoder):
    # a and c choose a' (F1 of row 1: precision 1/2, recall 1), b chooses b' (1), nobody chooses c' (0).
    vectors = {"a": [1, 0], "b": [0, 1], "c": [0.9, 0.1], "a'": [1, 0], "b'": [0, 1], "c'": [-1, 0]}
    content = "id\t" + HEADER + "1\ta\ta'\n2\tb\tb'\n3\tc\tc'\n"
    task = task_of("BitextMining", {"test.tsv": content}, "id = 'id'")
    result = measure(task, encoder(lambda text: vectors.get(text, [0, 0])))
    assert result.values == pytest.approx({"1": 2 / 3, "2": 1.0, "3": 0.0})
    assert result.scores == pytest.approx({"f1": 5 / 9, "precision": 0.5, "recall": 2 / 3, "accuracy": 2 / 3})


def test_lengths_of_vectors_matter_only_to_an_encoder_for_dot_products(task_of, measure, encoder):
    vectors = {"a": [1, 0], "b": [0, 1], "a'": [1, 0.5], "b'": [9, 9]}
    task = task_of("BitextMining", {"test.tsv": HEADER + "a\ta'\nb\tb'\n"})
    cosine, dot = (encoder(lambda text: vectors.get(text, [0, 0]), similarity=one) for one in ("cosine", "dot"))
    assert measure(task, cosine).scores["accuracy"] == 1.0
    assert measure(task, dot).scores["accuracy"] == 0.5


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16))
def test_nearest_is_the_first_of_the_largest(n, m, seed):
    draw = np.random.default_rng(seed)
    queries, candidates = (draw.integers(-2, 3, (size, 3)).astype(np.float32) for size in (n, m))
    products = queries @ candidates.T
    expected = [min(row for row in range(m) if line[row] == line.max()) for line in products]
    assert nearest_rows(queries, candidates).tolist() == expected


def test_translations_that_come_twice_are_counted(task_of, measure):
    content = HEADER + "a\tx\nb\ty\nc\tx\n"
    result = measure(task_of("BitextMining", {"test.tsv": content}))
    assert result.counts == {"rows whose translation comes in another row too": 2}


def test_one_pair_is_no_choice(task_of, measure):
    with pytest.raises(TaskError, match="one pair"):
        measure(task_of("BitextMining", {"test.tsv": HEADER + "a\tb\n"}))


@pytest.mark.slow
def test_scores_equal_those_of_mtebs_own_bitext_mining(task_of, measure, encoder, mteb_run):
    """Compares all four scores of `AbsTaskBitextMining` on 200 pairs (in two of its chunks) with ours."""
    content, first, second = pairs(200)
    ours = measure(task_of("BitextMining", {"test.tsv": content}), encoder(noisy, dimension=6))
    theirs = mteb_run("BitextMining", {"test": {"sentence1": first, "sentence2": second}}, encoder(noisy, dimension=6))
    for name in ("f1", "precision", "recall", "accuracy"):
        assert ours.scores[name] == pytest.approx(theirs[name], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("languages", ["deu-eng", "fra-eng", "cmn-eng"])
def test_published_figures(data_folder, embedded, tmp_path, languages):
    data = data_folder("tatoeba").parent
    (task,) = load_tasks(data, [f"Tatoeba.{languages}"])
    result = task.run(System("embedded", encoder=embedded), Surroundings(tmp_path))
    assert result.reference is not None
    assert result.reference.tolerance is not None
    assert result.score == pytest.approx(result.reference.value, abs=result.reference.tolerance)
