"""What the command line does not load, so that it starts at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "faiss",
    "pandas",
    "matplotlib",
    "sklearn",
    "bs4",
    "docutils",
)
REPORT = """
import json, sys
try:
    {code}
finally:
    print(json.dumps(sorted(name for name in sys.modules if "." not in name)), file=sys.stderr)
"""


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh process has after running some code."""
    done = subprocess.run([sys.executable, "-c", REPORT.format(code=code)], capture_output=True, text=True, check=False)
    return set(json.loads(done.stderr.splitlines()[-1]))


def loaded_by(*arguments: object) -> set[str]:
    return loaded_after(f"from retrieval.cli import main; main({[str(argument) for argument in arguments]!r})")


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import retrieval") & {*HEAVY, "numpy", "numba", "pyarrow", "rich", "msgspec", "scipy"}


@pytest.mark.parametrize("arguments", [["--help"], ["index", "--help"], ["compare", "--help"], ["--version"], []])
def test_help_loads_nothing_heavy(arguments):
    assert not loaded_by(*arguments) & {*HEAVY, "numpy", "numba", "pyarrow", "rich", "msgspec", "scipy"}


def test_a_lexical_search_loads_no_model_library(lexical):
    loaded = loaded_by("search", lexical, "csv")
    assert "numba" in loaded
    assert not loaded & set(HEAVY)
    assert "scipy.linalg" not in loaded


@pytest.mark.slow
def test_lexical_indexing_and_upkeep_load_no_model_library(lexical, corpus, tmp_path):
    for arguments in (
        ["index", tmp_path / "new.index", corpus, "--no-dense"],
        ["index", lexical, corpus],
        ["delete", lexical, "json.load"],
        ["compact", lexical],
        ["verify", lexical],
        ["info", lexical],
        ["export", lexical, tmp_path / "out.jsonl"],
    ):
        assert not loaded_by(*arguments) & set(HEAVY), arguments


def test_the_exports_are_what_they_say():
    import retrieval

    for name in retrieval.__all__:
        assert getattr(retrieval, name).__name__ in (name, "EncoderSpec")
    assert set(retrieval.__all__) <= set(dir(retrieval))
    assert retrieval.__version__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        retrieval.nonsense  # noqa: B018
    from retrieval.collection import Collection

    assert Collection is retrieval.Collection


def test_version_and_help_are_answers(cli):
    assert cli("--version").out.startswith("retrieval-engine ")
    for arguments in ([], ["--help"], ["-h"]):
        done = cli(*arguments)
        assert done.status == 0
        for command in ("index", "search", "evaluate", "delete", "compact", "verify", "info", "doctor", "demo"):
            assert f"\n  {command} " in done.out


def test_kernels_that_must_be_compiled_are_announced(cli, lexical, monkeypatch):
    monkeypatch.setattr("indexes.compilation.kernels_are_cached", lambda: False)
    done = cli("search", lexical, "csv", "--json")
    assert done.err.startswith("retrieval: compiling the search kernels, once on this machine")
    assert done.json["hits"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "nothing.index", "csv"),
        ("similar", "nothing.index", "a"),
        ("delete", "nothing.index", "a"),
        ("compact", "nothing.index"),
        ("evaluate", "nothing.index", "data"),
        ("tune", "nothing.index", "data", "--stages", "bm25:10"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_fails_at_once_waits_for_no_compilation(cli, monkeypatch, arguments):
    monkeypatch.setattr("indexes.compilation.kernels_are_cached", lambda: False)
    monkeypatch.setattr("indexes.compilation.warm_up", lambda: pytest.fail("kernels are compiled"))
    done = cli(*arguments)
    assert done.status == 2
    assert "no collection at nothing.index" in done.error


def test_scipy_is_hidden_from_numba_only_while_it_loads():
    import scipy.linalg.cython_blas

    from retrieval.cli.kernels import prepare_kernels

    before = sys.modules["scipy.linalg.cython_blas"]
    prepare_kernels()
    assert sys.modules["scipy.linalg.cython_blas"] is before is scipy.linalg.cython_blas
