"""Each kind of task of ours against mteb's own, on made data and one encoder of arbitrary vectors."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from eval.errors import TaskError
from eval.mteb_models import as_mteb_encoder
from eval.mteb_parity.comparison import Parity, Sides, compare, read_published
from eval.mteb_parity.mteb_tasks import mteb_task
from eval.mteb_parity.table import COLUMNS, markdown, write_tables
from eval.policies import Policies
from eval.tasks.base import Surroundings
from eval.tasks.loading import load_task, load_tasks
from tests.eval import toy_mteb as toy

needs_mteb = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the extra mteb is not installed")

RANDOM = np.random.default_rng(11)
TEXTS = [f"{toy.full_text(document)} {number}" for number, document in enumerate(toy.corpus(120, seed=4))]


def table(*columns):
    names, values = zip(*columns, strict=True)
    return "\n".join(["\t".join(names), *("\t".join(map(str, row)) for row in zip(*values, strict=True))]) + "\n"


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def labelled(n, n_labels=3):
    return table(("label", RANDOM.integers(0, n_labels, n)), ("text", TEXTS[:n]))


def pairs(third, values):
    return table((third, values), ("sentence1", TEXTS[:40]), ("sentence2", TEXTS[40:80]))


def beir():
    documents, queries = toy.corpus(), toy.queries()
    judged = toy.qrels(documents, list(queries))
    return {
        "corpus.jsonl": lines({"_id": each["id"], "title": each["title"], "text": each["text"]} for each in documents),
        "queries.jsonl": lines({"_id": query_id, "text": text} for query_id, text in queries.items()),
        "qrels/test.tsv": table(
            ("query-id", [query_id for query_id, grades in judged.items() for _ in grades]),
            ("corpus-id", [each for grades in judged.values() for each in grades]),
            ("score", [grade for grades in judged.values() for grade in grades.values()]),
        ),
    }


def judged_pairs():
    numbers = range(60)
    return table(
        ("qid", [f"q{number // 6}" for number in numbers]),
        ("query", [TEXTS[60 + number // 6] for number in numbers]),
        ("passage", TEXTS[:60]),
        ("label", [int(value) for value in RANDOM.integers(0, 2, 54)] + [0] * 6),  # the last query has no good one
    )


def summaries():
    def row(number):
        machine = [{"text": text, "relevance": float(RANDOM.integers(1, 6))} for text in TEXTS[number : number + 7]]
        return {"_id": str(number), "human_summaries": TEXTS[number + 50 : number + 53], "machine_summaries": machine}

    return lines(row(number) for number in range(6))


CASES = {
    "STS": ("", {"test.tsv": pairs("score", RANDOM.uniform(0, 5, 40))}),
    "PairClassification": (
        'ignored = ["-1"]',
        {"test.tsv": pairs("label", [-1, 0, 1] + [int(value) for value in RANDOM.integers(0, 2, 37)])},
    ),
    "Classification": (
        "n_experiments = 3\nsamples_per_label = 5",
        {"train.tsv": labelled(60), "test.tsv": labelled(40)},
    ),
    "Clustering": (
        "max_documents = 80\ndocuments_per_experiment = 50\nn_experiments = 3",
        {"test.tsv": labelled(120)},
    ),
    "Clustering v1": ('protocol = "v1"', {"test.tsv": labelled(120)}),
    "BitextMining": ("", {"test.tsv": table(("sentence1", TEXTS[:40]), ("sentence2", [*TEXTS[:20], *TEXTS[50:70]]))}),
    "Summarization": ("", {"test.jsonl": summaries()}),
    "Summarization v1": ('protocol = "v1"', {"test.jsonl": summaries()}),
    "Retrieval": ("", beir()),
    "LongDocumentRetrieval": ("", beir()),
    "Reranking": ("", {"test.tsv": judged_pairs()}),
    "Reranking of all": ('measured_queries = "all"', {"test.tsv": judged_pairs()}),
    "Reranking by nDCG": ('measure = "nDCG@10"', {"test.tsv": judged_pairs()}),
}


def write_task(folder, kind, name="Toy", keys="", files=()):
    (folder / "task.toml").write_text(f'name = "{name}"\nkind = "{kind}"\n{keys}\n', encoding="utf-8")
    for file, content in dict(files).items():
        (folder / file).parent.mkdir(exist_ok=True, parents=True)
        (folder / file).write_text(content, encoding="utf-8")
    return load_task(folder / "task.toml")


def sides_in(folder, published=None):
    encoder = toy.CountingEncoder().encoder()
    surroundings = Surroundings(folder / "workspace", policies=Policies.preset("mteb"))
    return Sides(encoder, as_mteb_encoder(encoder), as_mteb_encoder(encoder), surroundings, published or {})


@pytest.mark.parametrize("case", [name for name in CASES if name != "Summarization v1"])
@needs_mteb
def test_every_kind_gives_mtebs_number(tmp_path, case):
    keys, files = CASES[case]
    (task,) = write_task(tmp_path, case.split()[0], keys=keys, files=files)
    found = compare(task, sides_in(tmp_path))
    assert found.mteb != 0
    assert found.ours == pytest.approx(found.mteb, abs=1e-5)  # mteb rounds what ranks to five decimals
    assert found.adapted == found.mteb
    assert found.published is None


@needs_mteb
def test_the_first_summarization_protocol_is_that_of_mtebs_own_task(tmp_path):
    keys, files = CASES["Summarization v1"]
    (task,) = write_task(tmp_path, "Summarization", name="SummEval", keys=keys, files=files)
    found = compare(task, sides_in(tmp_path))
    assert found.ours == pytest.approx(found.mteb, abs=1e-9)


@needs_mteb
def test_mtebs_own_class_measures_where_it_has_the_task(tmp_path):
    published = {("STSBenchmark", "test", "default"): 0.25}
    (task,) = write_task(tmp_path, "STS", name="STSBenchmark", files=CASES["STS"][1])
    made = mteb_task(task)
    assert (made.name, made.split, made.subset, made.published) == ("STSBenchmark", "test", "default", True)
    assert type(made.task).__module__.startswith("mteb.tasks")
    found = compare(task, sides_in(tmp_path, published))
    assert found.published == 0.25
    assert found.published_difference == found.ours - 0.25


@needs_mteb
def test_subsets_and_splits_are_found_under_mtebs_names(tmp_path):
    (task,) = write_task(
        tmp_path,
        "BitextMining",
        name="Tatoeba",
        keys='subsets = ["deu-eng"]\nfile = "{subset}.tsv"',
        files={"deu-eng.tsv": CASES["BitextMining"][1]["test.tsv"]},
    )
    made = mteb_task(task)
    assert (made.name, made.split, made.subset) == ("Tatoeba", "test", "deu-eng")
    found = compare(task, sides_in(tmp_path))
    assert found.ours == pytest.approx(found.mteb, abs=1e-9)
    (tmp_path / "q").mkdir()
    (meetings,) = write_task(tmp_path / "q", "LongDocumentRetrieval", name="QMSum", files=beir())
    assert mteb_task(meetings)[1:] == ("LEMBQMSumRetrieval", "test", "default", True)
    assert compare(meetings, sides_in(tmp_path / "q")).difference == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "name", "keys", "files", "message"),
    [
        ("Retrieval", "Toy", 'relevant = 2\nmeasure = "AP"', beir(), "every grade above 0"),
        ("Retrieval", "Toy", 'measure = "P@7"', beir(), "does not report P@7"),
        ("Clustering", "Toy", 'protocol = "v1"\nset = "label"', {"test.tsv": labelled(9)}, "several sets"),
        ("BitextMining", "Tatoeba", 'subsets = ["xxx-eng"]', CASES["BitextMining"][1], "no subset 'xxx-eng'"),
    ],
)
@needs_mteb
def test_what_mteb_measures_otherwise_is_not_compared(tmp_path, kind, name, keys, files, message):
    (task,) = write_task(tmp_path, kind, name=name, keys=keys, files=files)
    with pytest.raises(TaskError, match=message):
        mteb_task(task)


def row(**changes):
    values = {
        "task": "A", "kind": "STS", "score": "cosine_spearman", "n_items": 9, "mteb": 0.5, "adapted": 0.5,
        "ours": 0.50004, "published": 0.51, "mteb_task": "A",
    }  # fmt: skip
    return Parity(**(values | changes))


def test_the_table_says_what_is_equal_and_what_is_not(tmp_path):
    rows = [row(), row(task="B", mteb_task="MB", ours=0.6, adapted=None, published=None)]
    text = markdown(rows, 1e-4, {"mteb": "2"}, {"C": "no data"})
    assert "Both of ours equal mteb's to 0.0001: 1 of 2 tasks; not B." in text
    assert "| A | STS | cosine_spearman | 9 | 0.50000 | 0.50000 | 0.50004 | +0.00004 | 0.51000 | -0.00996 |" in text
    assert "| B (MB) | STS | cosine_spearman | 9 | 0.50000 |  | 0.60000 | +0.10000 |  |  |" in text
    assert "- C was not compared: no data" in text
    write_tables(tmp_path / "new", rows, 1e-4, {"mteb": "2"}, {})
    table = [line.split("\t") for line in (tmp_path / "new" / "parity.tsv").read_text().splitlines()]
    assert table[0] == list(COLUMNS)
    assert float(table[1][6]) == 0.50004
    assert (tmp_path / "new" / "parity.md").read_text() == markdown(rows, 1e-4, {"mteb": "2"}, {})


def test_what_is_no_number_equals_nothing():
    assert row().equals(1e-4)
    assert not row().equals(1e-5)
    assert not row(ours=float("nan")).equals(1e-4)
    assert row(adapted=row().mteb).equals(1e-4)
    assert not row(adapted=row().mteb + 0.01).equals(1e-4)
    assert "0 of 1 tasks; not A." in markdown([row(mteb=float("nan"))], 1e-4, {}, {})


def test_published_scores_are_of_one_model(tmp_path):
    file = tmp_path / "scores.tsv"
    rows = [
        ("STS12", "a/x", "test", "default", 0.5),
        ("STS12", "a/y", "test", "default", 0.6),
        ("T", "a/x", "v", "de", 1),
    ]
    file.write_text("task\tmodel\tsplit\tsubset\tmain_score\n" + "".join("\t".join(map(str, r)) + "\n" for r in rows))
    assert read_published(file, "a/x") == {("STS12", "test", "default"): 0.5, ("T", "v", "de"): 1.0}
    with pytest.raises(TaskError, match="cannot read published scores"):
        read_published(tmp_path / "none.tsv", "a/x")
    file.write_text("task\tmodel\nSTS12\ta/x\n")
    with pytest.raises(TaskError, match="no table of task, model, split, subset and main_score"):
        read_published(file, "a/x")


@pytest.mark.slow
@needs_mteb
def test_the_embedded_encoder_gets_mtebs_number_on_real_data(data, tmp_path):
    """Another loop over batches, another library's wrapper, the same model: equal to 1e-4."""
    from eval.mteb_parity.__main__ import PUBLISHED_SCORES, make_sides

    if not (data / "biosses").is_dir() or not (data / PUBLISHED_SCORES).is_file():
        pytest.skip(f"no BIOSSES or no {PUBLISHED_SCORES} in {data}")
    published = read_published(data / PUBLISHED_SCORES, "sentence-transformers/all-MiniLM-L6-v2")
    with make_sides(tmp_path, published, adapter=True) as sides:
        found = compare(load_tasks(data, ["BIOSSES"])[0], sides)
    assert found.equals(1e-4)
    assert found.difference == pytest.approx(0, abs=1e-4)
    assert found.adapted == pytest.approx(found.mteb, abs=1e-4)
    assert found.published_difference == pytest.approx(0, abs=0.005)  # the local texts differ by some characters


@pytest.mark.slow
@needs_mteb
def test_mteb_measures_a_collection_as_our_retrieval_task_does(data, tmp_path):
    """The order of the search is judged by both: fused ranks tie often, and mteb alone would read ties by id."""
    from eval.mteb_models import as_mteb_search
    from eval.mteb_parity.comparison import run_mteb
    from eval.tasks.system import System
    from retrieval.encoders import load_encoder

    if not (data / "adi").is_dir():
        pytest.skip(f"no ADI in {data}")
    (task,) = load_tasks(data, ["ADI"])
    encoder = load_encoder("embedded")
    surroundings = Surroundings(tmp_path / "tasks", policies=Policies(ties="as returned"))
    for options in ({"mode": "dense"}, {"stages": "bm25:50+dense:50"}):
        found = run_mteb(as_mteb_search(tmp_path / "mteb", encoder, **options), mteb_task(task))
        ours = task.run(System("ours", encoder, options), surroundings)
        assert found["main_score"] == pytest.approx(ours.score, abs=1e-4)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    from eval.mteb_parity.__main__ import main

    app = typer.Typer()
    app.command()(main)
    for arguments, message in (
        (["--data", str(tmp_path / "none")], "no data folder"),
        (["--data", str(tmp_path), "--tasks", "Nothing"], "no task 'Nothing'"),
        (["--data", str(tmp_path), "--tasks", "BIOSSES"], "task BIOSSES has no data"),
    ):
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
