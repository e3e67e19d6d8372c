from __future__ import annotations

import csv
import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from retrieval.standard_library import standard_library_documents
from retrieval.standard_library.compiled_reader import CompiledReader
from retrieval.standard_library.publication import published_entries
from retrieval.standard_library.source_reader import Sources

pytestmark = pytest.mark.slow  # parses the whole library


@pytest.fixture(scope="module")
def documents():
    return list(standard_library_documents())


@pytest.fixture(scope="module")
def by_id(documents):
    return {document.id: document for document in documents}


def test_thousands_of_documents_ordered_by_unique_ids(documents):
    ids = [document.id for document in documents]
    assert ids == sorted(set(ids))
    assert 4000 < len(ids) < 12000
    kinds = Counter(document.metadata["kind"] for document in documents)
    assert set(kinds) == {"module", "class", "function", "method"}
    assert min(kinds.values()) > 200
    assert all(document.text.strip() and document.title for document in documents)


def digest(documents):
    documents = [document for document in documents if document.metadata["module"] != "sys"]  # tests replace hooks
    return hashlib.sha256(repr([document.to_mapping() for document in documents]).encode()).hexdigest()


def test_only_public_names(by_id):
    for name in by_id:
        assert not any(part.startswith("_") for part in name.split(".") if part != "__future__"), name
    assert not {"this", "antigravity", "idlelib", "test"} & {name.split(".")[0] for name in by_id}


def test_csv_dict_reader(by_id):
    document = by_id["csv.DictReader"]
    assert "): dictionary reader (reads)" in document.title
    expected = inspect.getdoc(csv.DictReader) or "list of keys for the dict"  # comments stand in for a docstring
    assert expected in document.text
    assert document.title.startswith("csv.DictReader(f, fieldnames=None, restkey=None, restval=None, dialect='excel'")
    assert document.metadata == {"kind": "class", "module": "csv"}


@pytest.mark.parametrize(
    ("name", "kind", "module"),
    [
        ("csv", "module", "csv"),
        ("pathlib.Path.read_text", "method", "pathlib"),
        ("os.path.join", "function", "os.path"),
        ("os.listdir", "function", "os"),
        ("asyncio.run", "function", "asyncio"),
        ("collections.abc.Mapping", "class", "collections.abc"),
        ("concurrent.futures.ThreadPoolExecutor", "class", "concurrent.futures"),
        ("unittest.TestCase.assertEqual", "method", "unittest"),
        ("argparse.ArgumentParser.add_argument", "method", "argparse"),
        ("str.split", "method", "builtins"),
        ("open", "function", "builtins"),
        ("ValueError", "class", "builtins"),
        ("math.gcd", "function", "math"),
        ("socket.socket.bind", "method", "socket"),
        ("datetime.date.strftime", "method", "datetime"),
        ("json.loads", "function", "json"),
    ],
)
def test_well_known_names(by_id, name, kind, module):
    assert by_id[name].metadata == {"kind": kind, "module": module}


def test_texts_are_the_docstrings(by_id):
    for value, name in [(csv.reader, "csv.reader"), (str.split, "str.split"), (os.walk, "os.walk"), (json, "json")]:
        assert by_id[name].text == inspect.cleandoc(value.__doc__).strip()
    assert by_id["os.walk"].title.startswith("os.walk(top, topdown=True, onerror=None, followlinks=False)")


def test_inherited_documentation_is_not_repeated(by_id):
    assert "dict.get" in by_id
    assert not {"collections.OrderedDict.get", "collections.Counter.get", "ValueError.add_note"} & set(by_id)


def test_reading_is_deterministic_and_has_no_side_effects(documents):
    script = (
        "import hashlib, sys\n"
        "from retrieval.standard_library import standard_library_documents\n"
        "documents = list(standard_library_documents())\n"
        "mappings = [one.to_mapping() for one in documents if one.metadata['module'] != 'sys']\n"
        "never = {'this', 'antigravity', 'tkinter', 'turtle', 'idlelib', 'readline', 'test', 'torch', 'numba'}\n"
        "print(hashlib.sha256(repr(mappings).encode()).hexdigest(), sorted(never & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "12"},
    )
    assert (done.stdout, done.stderr) == (f"{digest(documents)} []\n", "")


def test_publication(tmp_path):
    files = {
        "pack": '"""About."""\n__all__ = ["run", "Lazy"]\nfrom pack.inner import *\nfrom ._private import run\n',
        "pack._private": 'def run(a, b: int = 1, *rest):\n    """Runs."""\ndef hidden():\n    """Hidden."""\n',
        "pack.inner": 'class Lazy:\n    """Lazy."""\n    def go(self): "Goes."\ndef own():\n    """Own."""\n',
        "_hidden": 'class Kept:\n    """Kept."""\n',
        "shown": "import sys\nimport _hidden\nsys.modules[__name__] = _hidden\n",
        "broken": "def (:\n",
    }
    paths = {}
    for name, source in files.items():
        paths[name] = tmp_path / ("__init__.py" if name == "pack" else f"{name}.py")
        paths[name].write_text(source, encoding="utf-8")
    found = {entry.name: (entry.kind, entry.signature) for entry in published_entries(Sources(paths))}
    assert found == {
        "pack": ("module", ""),
        "pack.run": ("function", "(a, b=1, *rest)"),
        "pack.Lazy": ("class", ""),
        "pack.Lazy.go": ("method", "()"),
        "pack.inner.own": ("function", "()"),
        "shown.Kept": ("class", ""),
    }


def test_known_names_are_not_read_again():
    known = {"str.split", "math"}
    names = [entry.name for entry in CompiledReader(set(known)).entries()]
    assert not known & set(names)
    assert len(names) == len(set(names))
