"""Systems on tasks: everything that can be measured is, once, and what is stored is believed only when it is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from eval.errors import EvaluationError, ResultError, TaskError
from eval.measures import Policies
from eval.running import Reason, ResultStore, read_reasons, read_results, run_tasks
from eval.tasks.base import Reference, TaskResult
from eval.tasks.system import System
from indexes.errors import LockedError, StorageError
from tests.eval.running.conftest import ROOT, CountingEncoder, MeanTask, SearchTask

LEXICAL = System("bm25")


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "results")


def dense(name="dense", *model) -> System:
    return System(name, encoder=CountingEncoder(*model))


def names(results):
    return [(result.task, result.system) for result in results]


def test_every_system_runs_on_every_task_that_can_measure_it(surroundings, store):
    steps = []
    done = run_tasks([LEXICAL, dense()], [SearchTask(), MeanTask()], surroundings, store, progress=steps.append)
    assert names(done.results) == [("Search", "bm25"), ("Search", "dense"), ("Mean", "dense")]
    assert done.skipped == [("Mean", "bm25", "bm25 has no encoder")]
    assert read_reasons(store.folder) == [Reason("Mean", "bm25", "bm25 has no encoder")]
    assert (done.failed, done.n_stored) == ([], 0)
    ended = [(step.number, step.task, step.system, step.state) for step in steps if step.state != "begun"]
    assert ended == [
        (1, "Search", "bm25", "done"),
        (2, "Search", "dense", "done"),
        (3, "Mean", "bm25", "skipped"),
        (4, "Mean", "dense", "done"),
    ]
    assert {step.total for step in steps} == {4}


def test_a_second_run_takes_stored_results_and_encodes_nothing(surroundings, store):
    first = run_tasks([LEXICAL, dense()], [SearchTask(), MeanTask()], surroundings, store)
    system, tasks = dense(), [SearchTask(), MeanTask()]
    second = run_tasks([LEXICAL, system], tasks, surroundings, store)
    assert second.results == first.results
    assert second.n_stored == 3
    assert tasks[1].ran == []
    assert system.encoder.seen == []


def test_again_runs_everything_and_takes_embeddings_from_the_cache(surroundings, store):
    first = run_tasks([dense()], [SearchTask(), MeanTask()], surroundings, store)
    system, task = dense(), MeanTask()
    second = run_tasks([system], [SearchTask(), task], surroundings, store, again=True)
    assert task.ran == ["dense"]
    assert system.encoder.seen == []
    assert [result.scores for result in second.results] == [result.scores for result in first.results]
    assert second.results[1].costs["encoded_texts"] == 0
    assert first.results[1].costs["encoded_texts"] == 4 - 1  # one of the search's documents is "wren"


@pytest.mark.parametrize(
    "change",
    [
        {"systems": [dense("dense", "counting", 2)]},
        {"systems": [replace(dense(), long="chunk")]},
        {"systems": [replace(dense(), options={"mode": "hybrid"})]},
        {"tasks": [MeanTask(texts=("owl", "wren"))]},
        {"surroundings": {"seed": 1}},
        {"surroundings": {"policies": Policies(ignore_identical_ids=True)}},
        {"surroundings": {"latency_sample": 5}},
    ],
)
def test_what_decides_a_result_runs_it_again(surroundings, store, change):
    run_tasks([dense()], [MeanTask()], surroundings, store)
    tasks = change.get("tasks", [MeanTask()])
    done = run_tasks(
        change.get("systems", [dense()]), tasks, replace(surroundings, **change.get("surroundings", {})), store
    )
    assert tasks[0].ran == ["dense"]
    assert len(list(store)) == 1
    assert done.n_stored == 0


def test_a_result_with_times_serves_a_run_without(surroundings, store):
    run_tasks([dense()], [MeanTask()], replace(surroundings, latency_sample=5), store)
    assert run_tasks([dense()], [MeanTask()], surroundings, store).n_stored == 1


def test_another_version_of_a_package_runs_it_again(surroundings, store, monkeypatch):
    run_tasks([dense()], [MeanTask()], surroundings, store)
    monkeypatch.setattr("eval.running.facts.package_versions", lambda: {"numpy": "another"})
    assert run_tasks([dense()], [MeanTask()], surroundings, store).n_stored == 0


def test_other_code_of_this_engine_runs_it_again(surroundings, store, monkeypatch):
    run_tasks([dense()], [MeanTask()], surroundings, store)
    monkeypatch.setattr("eval.running.facts.code_fingerprint", lambda: "another")
    assert run_tasks([dense()], [MeanTask()], surroundings, store).n_stored == 0


def test_a_task_that_fails_ends_only_itself(surroundings, store):
    broken = MeanTask("Broken", error=TaskError("no texts"))
    strange = MeanTask("Strange", error=ZeroDivisionError("division by zero"))
    done = run_tasks([dense()], [broken, strange, MeanTask()], surroundings, store)
    assert names(done.results) == [("Mean", "dense")]
    assert [(failed.task, failed.system, failed.reason) for failed in done.failed] == [
        ("Broken", "dense", "no texts"),
        ("Strange", "dense", "unexpected ZeroDivisionError: division by zero"),
    ]
    kept = [(reason.task, reason.reason) for reason in read_reasons(store.folder)]
    assert kept == [(failed.task, failed.reason) for failed in done.failed]
    with pytest.raises(TaskError, match="no texts"):
        run_tasks([dense()], [broken], surroundings, store, on_error="raise")
    run_tasks([dense()], [MeanTask("Broken")], surroundings, store)
    assert [path.name for path in store.folder.glob("Broken*")] == [store.path("Broken", "dense").name]


def test_a_stored_result_that_holds_again_has_no_reason(surroundings, store):
    run_tasks([dense()], [MeanTask()], surroundings, store)
    run_tasks([dense()], [MeanTask(texts=("owl",), error=TaskError("no texts"))], surroundings, store)
    assert [reason.reason for reason in read_reasons(store.folder)] == ["no texts"]
    again = run_tasks([dense()], [MeanTask()], surroundings, store)
    assert again.n_stored == 1
    assert read_reasons(store.folder) == []


def test_a_result_that_still_holds_outlives_a_run_that_fails(surroundings, store):
    run_tasks([dense()], [MeanTask()], surroundings, store)
    failed = run_tasks([dense()], [MeanTask(error=TaskError("no room"))], surroundings, store, again=True).failed
    assert [each.reason for each in failed] == ["no room"]
    assert read_reasons(store.folder) == [], "the facts are the same"


def test_a_reason_that_cannot_be_kept_ends_nothing(surroundings, store, monkeypatch, caplog):
    strange = MeanTask("Strange", error=TaskError("no file caf\udce9"))
    run_tasks([dense()], [strange], surroundings, store)
    assert read_reasons(store.folder) == [Reason("Strange", "dense", "no file caf\\udce9")]

    def full(*_):
        raise StorageError("no space left")

    monkeypatch.setattr(ResultStore, "write_reason", full)
    done = run_tasks([dense()], [strange, MeanTask()], surroundings, store)
    assert names(done.results) == [("Mean", "dense")]
    assert "no space left" in caplog.text


def test_a_number_that_is_none_is_an_error_and_not_a_result(surroundings, store, monkeypatch):
    task = MeanTask()
    result = TaskResult("Mean", "STS", "dense", "mean", {"mean": float("nan")})
    monkeypatch.setattr(task, "run", lambda system, surroundings: result, raising=False)
    done = run_tasks([dense()], [task], surroundings, store)
    assert "score 'mean' is nan" in done.failed[0].reason
    assert list(store) == []


def test_two_systems_of_one_name_are_refused(surroundings, store):
    with pytest.raises(EvaluationError, match=r"two systems are called 'a': encoder 'one' .*, and encoder 'two' "):
        run_tasks([dense("a", "one"), dense("a", "two")], [MeanTask()], surroundings, store)
    with pytest.raises(EvaluationError, match="system 'a' is given twice"):
        run_tasks([dense("a"), dense("a")], [MeanTask()], surroundings, store)
    with pytest.raises(EvaluationError, match="two tasks are called 'Mean'"):
        run_tasks([dense()], [MeanTask(), MeanTask()], surroundings, store)
    with pytest.raises(EvaluationError, match="nothing to run"):
        run_tasks([], [MeanTask()], surroundings, store)


def test_systems_with_one_model_share_what_it_encodes(surroundings, store):
    one, two = dense("one"), dense("two")
    done = run_tasks([one, two], [MeanTask()], surroundings, store)
    assert sorted(one.encoder.passages) == ["kite", "owl", "wren"]
    assert two.encoder.seen == []
    assert done.results[0].scores == done.results[1].scores


def test_a_function_without_a_name_is_refused(surroundings, store):
    system = System("x", options={"stages": "bm25:10,mono:5", "rerankers": {"mono": len}})
    with pytest.raises(EvaluationError, match=r"system 'x': option 'rerankers' 'mono' is .*FunctionReranker"):
        run_tasks([system], [SearchTask()], surroundings, store)


def test_results_say_where_they_come_from(surroundings, store):
    (result,) = run_tasks([dense()], [MeanTask()], surroundings, store).results
    encoder = result.settings["system"]["encoder"]
    assert encoder["identity"]["name"] == "counting"
    assert encoder["execution"] == {"runtime": "function"}
    assert result.settings["task"] == {"name": "Mean", "kind": "STS", "texts": ["owl", "wren", "owl", "kite"]}
    assert result.settings["seed"] == 42
    assert "numpy" in result.settings["versions"]
    assert "cores" in result.settings["machine"]
    assert result.costs["encode_tokens_per_second"] > 0
    assert result.costs["process_peak_memory_bytes"] > 0
    assert [stored.result for stored in store] == read_results(store.folder) == [result]


def full_result() -> TaskResult:
    return TaskResult(
        "a/b é",
        "STS",
        "s: 1",
        "x",
        {"x": 0.1 + 0.2, "y": 1.0},
        {"1": 1e-300},
        [1.0, 2.0],
        [0.25, -1.5],
        3,
        {"ties": "are kept"},
        {"blank texts": 1},
        {"seconds": 0.5},
        {"split": "test"},
        Reference(0.5, "somebody", 0.002),
        {"1": "a text"},
    )


def test_a_result_is_read_as_it_was_written(store):
    result = full_result()
    path = store.write(result, {"seed": 1})
    assert store.find("a/b é", "s: 1", {"seed": 1}) == result
    assert store.find("a/b é", "s: 1", {"seed": 2}) is None
    assert store.find("a/b é", "s: 2", {"seed": 1}) is None
    assert path.parent == store.folder
    store.write(replace(result, task="a-b-"), {"seed": 1})
    assert len(list(store)) == 2  # names that look alike as files are different files


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-10],
        lambda text: text.replace("0.30000000000000004", "0.31"),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"digest"', '"digest2"'),
        lambda text: "[]",
        lambda text: "\udcff",
    ],
)
def test_a_damaged_file_is_named_and_run_again(store, surroundings, damage, caplog):
    path = store.write(full_result(), {})
    text = damage(path.read_text(encoding="utf-8"))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ResultError, match=r"result\.json"):
        store.find("a/b é", "s: 1", {})
    path.unlink()

    run_tasks([dense()], [MeanTask()], surroundings, store)
    (path,) = store.folder.iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace('"n_items": 4', '"n_items": 5'), encoding="utf-8")
    task = MeanTask()
    done = run_tasks([dense()], [task], surroundings, store)
    assert task.ran == ["dense"]
    assert path.name in caplog.text
    assert done.results[0].n_items == 4
    assert [stored.result.n_items for stored in store] == [4]


def test_a_folder_without_results_is_said(tmp_path):
    with pytest.raises(ResultError, match="no results in"):
        read_results(tmp_path / "nowhere")


def test_a_killed_run_goes_on(tmp_path, surroundings, store):
    script = textwrap.dedent(
        f"""
        import os, signal
        from dataclasses import dataclass
        from pathlib import Path
        from eval.running import ResultStore, run_tasks
        from eval.tasks.base import Surroundings
        from eval.tasks.system import System
        from tests.eval.running.conftest import ROOT, CountingEncoder, MeanTask

        class Deadly(MeanTask):
            def run(self, system, surroundings):
                system.encoder.encode_passages(["kite", "owl"])
                system.encoder.flush()
                os.kill(os.getpid(), signal.SIGKILL)

        run_tasks(
            [System("dense", encoder=CountingEncoder())],
            [MeanTask("First", ("owl", "wren")), Deadly("Second")],
            Surroundings(Path({str(surroundings.workspace)!r})),
            ResultStore(Path({str(store.folder)!r})),
        )
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    system, tasks = dense(), [MeanTask("First", ("owl", "wren")), MeanTask("Second", ("owl", "kite", "crow"))]
    again = run_tasks([system], tasks, surroundings, store)
    assert (again.n_stored, tasks[0].ran, tasks[1].ran) == (1, [], ["dense"])
    assert system.encoder.passages == ["crow"]
    assert not list(surroundings.workspace.rglob("*.tmp"))


def test_two_runs_at_once_are_refused(surroundings, store):
    class Nested(MeanTask):
        def run(self, system, surroundings):
            run_tasks([dense()], [MeanTask()], surroundings, store, on_error="raise")

    with pytest.raises(LockedError):
        run_tasks([dense()], [Nested()], surroundings, store, on_error="raise")


def test_stored_files_are_plain_json(surroundings, store):
    run_tasks([dense()], [MeanTask()], surroundings, store)
    (path,) = store.folder.iterdir()
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["result"]["scores"].keys() == {"mean"}
    assert path.name.startswith("Mean_dense_")


class Deferring(CountingEncoder):
    """Says after its first texts, or when it is told to load, that it computes in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = False

    def load_library(self):
        self.loaded = True

    def execution(self):
        return {"runtime": "library" if self.loaded or self.seen else "arrays"}


def test_an_encoder_that_loads_its_library_late_keeps_its_results(surroundings, store):
    encoder = Deferring()
    (first,) = run_tasks([System("late", encoder)], [MeanTask()], surroundings, store).results
    assert first.settings["system"]["encoder"]["execution"] == {"runtime": "library"}
    assert run_tasks([System("late", encoder)], [MeanTask()], surroundings, store).n_stored == 1
