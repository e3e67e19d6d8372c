"""Which code makes a stored result outdated: what tasks import, and nothing that only asks for results."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from eval.provenance import _WITHOUT_SAY, code_fingerprint, deciding_modules

ROOT = Path(__file__).parents[2]
DECIDING = deciding_modules()
ALL = sorted(
    path.relative_to(ROOT).as_posix()
    for floor in ("indexes", "retrieval", "eval")
    for path in (ROOT / floor).rglob("*.py")
)


@pytest.mark.parametrize(
    "name",
    [
        "indexes/bm25_formula.py",
        "retrieval/analysis/__init__.py",
        "retrieval/collection/collection.py",
        "retrieval/encoders/base.py",
        "retrieval/models/rankers/mono.py",
        "retrieval/rerankers/base.py",
        "retrieval/pipeline/reranking.py",
        "eval/collection_evaluation.py",
        "eval/embedding_cache.py",
        "eval/latency.py",
        "eval/measures.py",
        "eval/policies.py",
        "eval/query_runs.py",
        "eval/testsets.py",
        "eval/tasks/retrieval.py",
        "eval/running/shared_stages.py",
    ],
)
def test_what_tasks_run_counts(name):
    assert name in DECIDING


@pytest.mark.parametrize(
    "name",
    [
        "eval/benchmarks/growth.py",
        "eval/comparison/means.py",
        "eval/experiments/candidates.py",
        "eval/mteb_models/encoder.py",
        "eval/mteb_parity/table.py",
        "eval/outcome.py",
        "eval/pools.py",
        "eval/probes/needle.py",
        "eval/protocols.py",
        "eval/reports/markdown.py",
        "eval/resampling.py",
        "eval/significance.py",
        "eval/tuning/tune.py",
        "retrieval/__main__.py",
        "retrieval/cli/comparing.py",
        "retrieval/distillation/scoring.py",
        "retrieval/snippets.py",
        "retrieval/standard_library/titles.py",
        "retrieval/training/trainer.py",
    ],
)
def test_what_no_task_runs_does_not_count(name):
    assert name in ALL
    assert name not in DECIDING


def test_every_exception_is_there():
    for prefix in _WITHOUT_SAY:
        assert any(name.startswith(prefix) for name in ALL), prefix


def module(name):
    return ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__")


def imported(name):
    """Return the modules that a module imports, anywhere in it, but for what only checkers of types see."""
    tree = ast.parse((ROOT / name).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # of tables of what is imported by name
            found.add(node.value)
    return found


def test_what_counts_imports_nothing_that_does_not():
    without_say = {module(name) for name in ALL} - {module(name) for name in DECIDING}
    faults = {name: imported(name) & without_say for name in DECIDING}
    assert not {name: found for name, found in faults.items() if found}


def test_the_fingerprint_follows_what_counts(tmp_path):
    def written(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        code_fingerprint.cache_clear()
        return code_fingerprint(tmp_path)

    first = written("eval/measures.py", "a = 1")
    assert written("eval/reports/markdown.py", "b = 1") == first
    assert written("eval/reports/markdown.py", "b = 2") == first
    assert written("eval/measures.py", "a = 2") != first
    assert written("eval/measures.py", "a = 1") == first
    assert written("retrieval/search.py", "c = 1") != first
    code_fingerprint.cache_clear()
