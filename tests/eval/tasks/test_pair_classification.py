"""Pair classification: average precision and best thresholds against sklearn, every threshold, and mteb's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, precision_recall_fscore_support

from eval.errors import TaskError
from eval.tasks.pair_classification import MEASURES, pair_scores

HEADER = "label\tsentence1\tsentence2\n"


def pairs(n: int, seed: int = 0) -> tuple[str, list[int], list[tuple[str, str]]]:
    draw = np.random.default_rng(seed)
    labels = [int(label) for label in draw.integers(0, 2, n)]
    # Repeated pairs give ties of similarity, with both labels.
    texts = [(f"text {draw.integers(n // 4)}", f"other {draw.integers(3)}") for _ in range(n)]
    content = HEADER + "".join(f"{label}\t{a}\t{b}\n" for label, (a, b) in zip(labels, texts, strict=True))
    return content, labels, texts


@st.composite
def labelled_similarities(draw):
    n = draw(st.integers(2, 30))
    positive = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda labels: len(set(labels)) == 2))
    similarities = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    return np.array(positive), np.array(similarities, np.float32)


@given(labelled_similarities())
def test_thresholds_equal_trying_every_one(drawn):
    positive, similarities = drawn
    distinct = np.unique(similarities)
    tried = [similarities > threshold for threshold in distinct[:-1]]  # at least one pair on either side
    ours = pair_scores(similarities, positive)
    assert ours["ap"] == pytest.approx(average_precision_score(positive, similarities))
    assert ours["accuracy"] == pytest.approx(max((accuracy_score(positive, one) for one in tried), default=0.0))
    values = [precision_recall_fscore_support(positive, one, average="binary", zero_division=0)[:3] for one in tried]
    assert ours["f1"] == pytest.approx(max((f1 for *_, f1 in values), default=0.0))
    if ours["f1"]:
        assert any((ours["precision"], ours["recall"]) == pytest.approx((p, r)) for p, r, _ in values)


@given(labelled_similarities(), st.randoms())
def test_the_order_of_the_pairs_does_not_matter(drawn, random):
    positive, similarities = drawn
    order = list(range(len(positive)))
    random.shuffle(order)
    assert pair_scores(similarities[order], positive[order]) == pytest.approx(pair_scores(similarities, positive))


def test_by_hand():
    # Down the ranking: right, wrong, right, wrong. AP = (1 + 2/3) / 2; the best accuracy has one or three above.
    scores = pair_scores(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
    assert scores == pytest.approx({"ap": 5 / 6, "accuracy": 0.75, "f1": 0.8, "precision": 2 / 3, "recall": 1.0})


def test_scores_are_named_by_similarity_and_the_main_one_is_their_maximum(task_of, measure, encoder):
    content, _, _ = pairs(40)
    task = task_of("PairClassification", {"test.tsv": content})
    result = measure(task)
    names = ("cosine", "dot", "euclidean", "manhattan")
    assert result.main_score == "max_ap"
    assert set(result.scores) == {f"{name}_{of}" for name in (*names, "similarity", "max") for of in MEASURES}
    assert result.score == max(result.scores[f"{name}_ap"] for name in names)
    assert result.scores["similarity_ap"] == result.scores["cosine_ap"]
    assert measure(task, encoder(similarity="dot")).scores["similarity_ap"] == result.scores["dot_ap"]
    assert result.values == {}


def test_labels_have_the_meaning_that_the_definition_gives(task_of, measure):
    content = HEADER + "yes\ta\tb\nno\tb\tc\nperhaps\ta\tc\nno\tc\td\n"
    keys = "positive = ['yes']\nnegative = ['no']\nignored = ['perhaps']"
    result = measure(task_of("PairClassification", {"test.tsv": content}, keys))
    assert result.n_items == 3
    assert result.counts == {"pairs left out for their label": 1}
    assert result.settings["positive_pairs"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1\ta\tb\n2\ta\tc\n", r"test\.tsv:3: label '2' is neither positive nor negative; known are 0, 1"),
        (HEADER + "1\ta\tb\n\ta\tc\n", r"test\.tsv:3: label is '', not a label"),
        (HEADER + "1\ta\tb\n1\ta\tc\n", "no negative pair"),
        (HEADER + "0\ta\tb\n0\ta\tc\n", "no positive pair"),
        (HEADER, "holds no rows"),
    ],
)
def test_bad_data_is_an_error(task_of, measure, content, message):
    with pytest.raises(TaskError, match=message):
        measure(task_of("PairClassification", {"test.tsv": content}))


@pytest.mark.slow
def test_scores_equal_those_of_mtebs_own_pair_classification(task_of, measure, encoder, mteb_run):
    """Compares every score of `mteb.abstasks.AbsTaskPairClassification` on the same pairs and vectors with ours."""
    content, labels, texts = pairs(300, seed=3)
    ours = measure(task_of("PairClassification", {"test.tsv": content}))
    rows = {"sentence1": [a for a, _ in texts], "sentence2": [b for _, b in texts], "labels": labels}
    theirs = mteb_run("PairClassification", {"test": rows}, encoder())
    compared = [name for name in ours.scores if name in theirs]
    assert len(compared) == 30
    assert {name: ours.scores[name] for name in compared} == pytest.approx(
        {name: theirs[name] for name in compared}, abs=1e-4
    )
