"""From a teacher to its students: tuples are scored once, each architecture learns the margins, collections use it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from retrieval import Collection, Document, FunctionReranker
from retrieval.distillation import score_tuples
from retrieval.rerankers import Candidates, load_reranker
from retrieval.training import builtin_recipe, train
from tests.training.planted import CUES, save_bert, write_test_set, write_training_data

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

LEARNING = {"batch_size": 16, "dropout": 0.0, "schedule": "constant_with_warmup", "warmup": 0.1}
STUDENTS = {
    "margin-mse-cat": {"epochs": 4, "learning_rate": 3e-3, "model_settings": {"query_tokens": 8, "max_tokens": 24}},
    "margin-mse-colbert": {"epochs": 4, "learning_rate": 3e-3, "model_settings": {"dimension": 32}},
    "margin-mse-prettr": {"epochs": 5, "learning_rate": 3e-3, "model_settings": {"join_layer": 1, "query_tokens": 8}},
    "margin-mse-tk": {"epochs": 4, "learning_rate": 3e-3, "model_settings": {"dimension": 20}},
}


def knows_the_rule(query, texts):
    """Score passages by the planted rule: 3 for a word of the cue's kind."""
    kind = CUES[query.split()[0]]
    return [3.0 * bool(set(kind) & set(text.split())) for text in texts]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small BERT, a teacher's scores of tuples and a test set."""
    root = tmp_path_factory.mktemp("planted")
    save_bert(root / "bert")
    write_test_set(root / "planted")
    teacher = FunctionReranker(knows_the_rule, name="rule", version="1")
    score_tuples(teacher, write_training_data(root / "train.jsonl"), root / "scored.jsonl")
    return root


@pytest.mark.parametrize("name", sorted(STUDENTS))
def test_a_student_learns_its_teachers_rule(place, tmp_path, name):
    changes = {**LEARNING, **STUDENTS[name]}
    settings = {**changes.pop("model_settings"), "backbone": str(place / "bert")}
    budget = {} if name == "margin-mse-cat" else {"passage_tokens": 8, "query_tokens": 4}
    if name in ("margin-mse-colbert", "margin-mse-prettr"):
        budget["masks"] = 0
    recipe = builtin_recipe(name).changed({**changes, "model_settings": {**settings, **budget}})
    report = train(recipe, place / "scored.jsonl", tmp_path / "student")
    assert report.losses[-1][1] < 0.3 * report.losses[0][1]
    student = load_reranker(tmp_path / "student", device="cpu")
    rows = {
        part: [json.loads(line) for line in (place / "planted" / f"{part}.jsonl").read_text().splitlines()]
        for part in ("queries", "corpus")
    }
    firsts = []
    for query in rows["queries"]:  # of topics that were not trained on
        passages = [row for row in rows["corpus"] if row["_id"].startswith(query["_id"])]
        texts = [row["text"] for row in passages]
        (scores,) = student.score([query["text"]], [Candidates([row["_id"] for row in passages], texts, np.zeros(6))])
        firsts.append(passages[int(np.argmax(scores))]["_id"].endswith(("-0", "-1")))
    assert np.mean(firsts) >= 0.9

    documents = [Document(row["_id"], row["text"]) for row in rows["corpus"]]
    query = rows["queries"][0]["text"]
    stored = {} if name == "margin-mse-cat" else {"tokens": {"student": tmp_path / "student"}}
    given = {"student": student} if name == "margin-mse-cat" else {}
    with Collection.create(tmp_path / "index", encoder=None, **stored) as collection:
        collection.add(documents)
        found = collection.search(query, stages="bm25:20,student:20", rerankers=given, k=20)
        texts = [row["text"] for row in rows["corpus"] if row["_id"] in {hit.id for hit in found}]
        by_text = dict(
            zip(texts, student.score([query], [Candidates(texts, texts, np.zeros(len(texts)))])[0], strict=True)
        )
        text_of = {document.id: document.text for document in documents}
        np.testing.assert_allclose([hit.score for hit in found], [by_text[text_of[hit.id]] for hit in found], atol=2e-2)
