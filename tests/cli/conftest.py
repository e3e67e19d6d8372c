"""Running the command line inside the test process, and a small collection to run it on."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass

import pytest

from retrieval.cli import main

DOCUMENTS = [
    {
        "id": "csv.DictReader",
        "title": "Dictionaries from CSV",
        "text": "Read rows of a csv file into dictionaries.",
        "year": 2020,
    },
    {"id": "json.load", "title": "json.load(fp)", "text": "Read a JSON document from a file.", "year": 2021},
    {"id": "日本 東京", "text": "東京は日本の首都です。", "year": 2022, "lang": "ja"},
    {"id": "line\nend", "text": "A document whose id holds a line end and speaks of turtles.", "year": 2023},
]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("retrieval: error: ")
        return lines[0].removeprefix("retrieval: error: ")


@pytest.fixture
def cli(capsys, monkeypatch):
    """Return a function that runs a command line and returns its `Outcome`."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(leaving.value.code, out, err)

    return run


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels():
    """Compile now what commands would otherwise announce on standard error."""
    from indexes.compilation import warm_up

    warm_up()


@pytest.fixture
def documents():
    """The rows of a small corpus."""
    return [dict(document) for document in DOCUMENTS]


@pytest.fixture
def write_lines(tmp_path):
    """Return a function that writes rows as JSON lines and returns the path."""

    def write(rows, name: str = "rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def corpus(write_lines, documents):
    """The path of the small corpus."""
    return write_lines(documents, "corpus.jsonl")


@pytest.fixture
def lexical(tmp_path, cli, corpus):
    """The path of a lexical index over the small corpus."""
    index = tmp_path / "lexical.index"
    assert cli("index", index, corpus, "--no-dense").status == 0
    return index
