"""What a teacher is for: where one passage of many relevant ones is labelled, its margins say more than labels do."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from eval.measures import evaluate_run
from retrieval import FunctionReranker
from retrieval.distillation import score_tuples
from retrieval.rerankers import Candidates, load_reranker
from retrieval.training import builtin_recipe, train
from tests.training.planted import CUES, FILLERS, save_bert

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

WORDS = 3  # of a passage that may be of the cue's kind
QUERIES = sorted(CUES)


def grade(query, text):
    """The relevance of a passage: how many of its words are of the cue's kind."""
    return sum(word in CUES[query] for word in text.split())


def passage(draw):
    """A passage of words of both kinds, any number of each."""
    of_first = draw.randint(0, WORDS)
    first, second = QUERIES
    words = draw.sample(CUES[first], of_first) + draw.sample(CUES[second], WORDS - of_first) + draw.sample(FILLERS, 2)
    draw.shuffle(words)
    return " ".join(words)


def tuples(labels, n=600):
    """Tuples whose positives are labelled, one of a query's ("sparse"), or all of them, better before worse ("dense").

    A sparse label is one relevant passage; whatever else there is counts as irrelevant, also what is as good or better.
    """
    draw = random.Random(0)
    rows = []
    while len(rows) < n:
        query, positive, negative = draw.choice(QUERIES), passage(draw), passage(draw)
        better = grade(query, positive) > grade(query, negative)
        if better if labels == "dense" else grade(query, positive) == 1:
            rows.append({"query": query, "positive": positive, "negative": negative})
    return rows


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("sparse") / "bert")


def ndcg(folder):
    """Return nDCG@10 over lists of thirty passages of every grade."""
    draw = random.Random(1)
    lists = [(query, [passage(draw) for _ in range(30)]) for query in QUERIES * 10]
    student = load_reranker(folder, device="cpu")
    ids = [str(row) for row in range(30)]
    scores = student.score([query for query, _ in lists], [Candidates(ids, texts, np.zeros(30)) for _, texts in lists])
    run, qrels = {}, {}
    for number, ((query, texts), found) in enumerate(zip(lists, scores, strict=True)):
        order = np.argsort(-found, kind="stable").tolist()
        run[str(number)] = [(ids[row], float(-rank)) for rank, row in enumerate(order)]
        qrels[str(number)] = {name: grade(query, text) for name, text in zip(ids, texts, strict=True)}
    return evaluate_run(run, qrels, ["nDCG@10"]).measures["nDCG@10"]


def taught(bert, folder, labels):
    """Return nDCG@10 of a student of the labels and of a student of the teacher, of the same tuples and steps."""
    folder.mkdir()
    (folder / "tuples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tuples(labels)), encoding="utf-8")
    teacher = FunctionReranker(
        lambda query, texts: [2.0 * grade(query, text) for text in texts], name="grades", version="1"
    )
    score_tuples(teacher, folder / "tuples.jsonl", folder / "scored.jsonl")
    values = {}
    for loss in ("ranknet", "margin-mse"):
        recipe = builtin_recipe("margin-mse-colbert").changed(
            {
                "model": "dot",
                "model_settings": {"backbone": str(bert), "query_tokens": 4, "passage_tokens": 8},
                "loss": loss,
                "batch_size": 16,
                "dropout": 0.0,
                "learning_rate": 3e-3,
                "schedule": "constant_with_warmup",
                "warmup": 0.1,
                "epochs": 4,
            }
        )
        values[loss] = ndcg(train(recipe, folder / "scored.jsonl", folder / loss).out)
    return values


def test_margins_beat_sparse_labels_and_equal_dense_ones(bert, tmp_path):
    sparse, dense = taught(bert, tmp_path / "sparse", "sparse"), taught(bert, tmp_path / "dense", "dense")
    assert sparse["margin-mse"] > sparse["ranknet"] + 0.1
    assert sparse["margin-mse"] > 0.95
    assert dense["margin-mse"] == pytest.approx(dense["ranknet"], abs=0.05)
    assert dense["ranknet"] > 0.95
