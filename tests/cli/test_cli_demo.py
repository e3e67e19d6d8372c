"""`retrieval demo`: the collection that every machine has."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_the_demo_indexes_searches_and_is_quick_the_second_time(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = cli("demo", "--no-dense")
    assert first.status == 0
    assert "> how do I read a csv file into dictionaries" in first.out
    assert "csv.DictReader" in first.out
    assert "retrieval search python-docs.index" in first.out
    assert (tmp_path / "python-docs.index").is_dir()
    again = cli("demo", "--no-dense")
    assert again.status == 0
    assert "unchanged" in again.out
    assert " added" not in again.out


@pytest.mark.slow
def test_the_demo_refuses_an_index_of_another_kind(cli, tmp_path, lexical):
    assert cli("demo", "--index", tmp_path, "--no-dense").status == 2
