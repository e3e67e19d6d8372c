"""Summarization: correlations per text against scipy, mteb's own, and published figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from eval.errors import TaskError
from eval.tasks import Surroundings, System, load_tasks


def documents(n: int, n_machine: int = 6) -> list[dict]:
    draw = np.random.default_rng(7)
    return [
        {
            "_id": f"text {number}",
            "human_summaries": [f"human {number} {i}" for i in range(int(draw.integers(1, 4)))],
            "machine_summaries": [
                {"text": f"machine {number} {i}", "relevance": float(draw.integers(1, 6))} for i in range(n_machine)
            ],
        }
        for number in range(n)
    ]


def lines(rows: list[dict]) -> dict[str, str]:
    return {"test.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}


def similarities(row: dict, encode) -> list[float]:
    unit = [
        [vector / np.linalg.norm(vector) for vector in encode(texts).astype(float)]
        for texts in ([one["text"] for one in row["machine_summaries"]], row["human_summaries"])
    ]
    return [max(float(machine @ human) for human in unit[1]) for machine in unit[0]]


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_scores_are_scipys_correlations_with_the_nearest_summary_by_people(task_of, measure, encoder, protocol):
    rows = documents(8)
    result = measure(task_of("Summarization", lines(rows), f"protocol = '{protocol}'"))
    spearman, pearson = {}, {}
    for row in rows:
        gold = [one["relevance"] for one in row["machine_summaries"]]
        predicted = similarities(row, encoder().encode_passages)
        for name, values in ((spearmanr, spearman), (pearsonr, pearson)):
            found = name(gold, predicted)
            values[row["_id"]] = found.statistic if protocol == "v2" else (found.statistic + found.pvalue) / 2
    assert result.values == pytest.approx(spearman)
    assert result.score == pytest.approx(np.mean(list(spearman.values())))
    assert result.scores["cosine_pearson"] == pytest.approx(np.mean(list(pearson.values())), abs=1e-6)
    assert ("p-values" in result.policies) == (protocol == "v1")
    assert result.n_items == 8


def test_texts_without_differences_are_left_out_and_counted(task_of, measure):
    rows = documents(5)
    for summary in rows[1]["machine_summaries"]:
        summary["relevance"] = 3
    for summary in rows[3]["machine_summaries"]:
        summary["text"] = "the same"
    result = measure(task_of("Summarization", lines(rows)))
    assert list(result.values) == ["text 0", "text 2", "text 4"]
    assert result.counts == {"texts left out": 2}


def test_plain_names_are_of_the_encoders_own_similarity(task_of, measure, encoder):
    task = task_of("Summarization", lines(documents(5)))
    assert measure(task).scores["spearman"] == measure(task).scores["cosine_spearman"]
    dot = measure(task, encoder(similarity="dot")).scores
    assert dot["spearman"] == dot["dot_spearman"] != dot["cosine_spearman"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"human_summaries": []}, r"test\.jsonl:2: human_summaries is not a list of texts, at least one"),
        ({"human_summaries": [1]}, "human_summaries is not a list of texts"),
        ({"machine_summaries": []}, "machine_summaries is not a list of objects, at least two"),
        ({"machine_summaries": [{"text": "a", "relevance": 1}]}, "at least two"),
        ({"machine_summaries": [{"text": "a", "relevance": 1}, {"text": "b"}]}, r":2: relevance is None, not a number"),
        ({"machine_summaries": [{"text": "a", "relevance": 1}, {"relevance": 2}]}, "a summary's text is None"),
        ({"_id": "text 0"}, r"test\.jsonl:2: _id 'text 0' was there before, in line 1"),
    ],
)
def test_bad_data_is_an_error(task_of, measure, change, message):
    first, second = documents(2)
    with pytest.raises(TaskError, match=message):
        measure(task_of("Summarization", lines([first, second | change])))


def test_not_a_number_is_an_error(task_of, measure):
    content = json.dumps(documents(1)[0]).replace('"relevance": ', '"relevance": "NaN", "was": ', 1)
    with pytest.raises(TaskError, match=r"test\.jsonl:1: relevance is 'NaN'"):
        measure(task_of("Summarization", {"test.jsonl": content}))


def test_nothing_to_correlate_is_an_error(task_of, measure, encoder):
    with pytest.raises(TaskError, match="no text has summaries of different scores"):
        measure(task_of("Summarization", lines(documents(3))), encoder(lambda text: [1.0, 1.0]))


@pytest.mark.slow
def test_scores_equal_those_of_mtebs_own_summarization(task_of, measure, encoder, mteb_run):
    """Compares every score of `AbsTaskSummarization`, with its present and its first evaluator, with ours."""
    from mteb._evaluators.text.summarization_evaluator import DeprecatedSummarizationEvaluator

    rows = documents(12)
    columns = {
        "text": ["" for _ in rows],
        "human_summaries": [row["human_summaries"] for row in rows],
        "machine_summaries": [[one["text"] for one in row["machine_summaries"]] for row in rows],
        "relevance": [[one["relevance"] for one in row["machine_summaries"]] for row in rows],
    }
    scale = {"min_score": 0, "max_score": 5}
    for protocol, more in (("v2", {}), ("v1", {"evaluator": DeprecatedSummarizationEvaluator})):
        ours = measure(task_of("Summarization", lines(rows), f"protocol = '{protocol}'"))
        theirs = mteb_run("Summarization", {"test": columns}, encoder(), **scale, **more)
        assert ours.scores == pytest.approx({name: theirs[name] for name in ours.scores}, abs=1e-6)


@pytest.mark.slow
def test_published_figures(data_folder, embedded, tmp_path):
    data = data_folder("summeval").parent
    (task,) = load_tasks(data, ["SummEvalSummarization.v2"])
    result = task.run(System("embedded", encoder=embedded), Surroundings(tmp_path))
    assert result.reference is not None
    assert result.reference.tolerance is not None
    assert result.score == pytest.approx(result.reference.value, abs=result.reference.tolerance)
