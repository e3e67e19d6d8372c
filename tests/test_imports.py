"""Who may import whom, what is loaded when, and what library code never does: the house rules, checked."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("indexes", "retrieval", "eval")
MODEL_LIBRARIES = {"torch", "transformers", "sentence_transformers", "tokenizers"}
PICKLES = {
    "pickle",
    "_pickle",
    "cPickle",
    "pickletools",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}


class Import(NamedTuple):
    """An import statement, at the top of a module or anywhere else in it."""

    module: str
    line: int


@cache
def sources() -> dict[str, ast.Module]:
    """Return every module of the three floors, by its path from the root."""
    files = (file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py")))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_bytes(), str(file)) for file in files}


def imports(tree: ast.Module) -> Iterator[Import]:
    """Yield what a module imports, `importlib.import_module("...")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be checked"
            yield Import(node.module or "", node.lineno)
            # `from package import name`: the name may be a module of its own.
            yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node).endswith("import_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield Import(name.value, node.lineno)


def called(node: ast.Call) -> str:
    """Return what a call calls, as it is written."""
    return ast.unparse(node.func)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def places(below: str, forbidden: set[str], *, without: str | None = None) -> list[str]:
    """Return where modules below a folder import something forbidden."""
    return [
        f"{path}:{found.line} imports {found.module}"
        for path, tree in sources().items()
        if path.startswith(f"{below}/") and not (without and path.startswith(f"{without}/"))
        for found in imports(tree)
        if any(is_within(found.module, name) for name in forbidden)
    ]


def test_the_sources_are_found():
    for floor in FLOORS:
        assert sum(path.startswith(f"{floor}/") for path in sources()) > 10


def test_the_check_sees_every_kind_of_import():
    tree = ast.parse(
        textwrap.dedent("""
        import torch.nn as nn, json
        def late():
            from retrieval import search
            importlib.import_module("eval.runs")
        if TYPE_CHECKING:
            from numpy import ndarray
        """)
    )
    modules = {found.module for found in imports(tree)}
    assert {"torch.nn", "json", "retrieval.search", "eval.runs", "numpy"} <= modules
    assert is_within("torch.nn", "torch")
    assert not is_within("torchvision", "torch")


def test_indexes_know_neither_models_nor_text():
    assert not places("indexes", {"retrieval", "eval"} | MODEL_LIBRARIES)


def test_the_library_does_not_know_what_measures_it():
    assert not places("retrieval", {"eval"}, without="retrieval/cli")


def test_nothing_imports_the_command_line():
    assert not places("indexes", {"retrieval.cli"})
    assert not places("eval", {"retrieval.cli"})
    inside = places("retrieval", {"retrieval.cli"}, without="retrieval/cli")
    assert all(place.startswith("retrieval/__main__.py:") for place in inside), inside


def test_nothing_imports_the_tests():
    for floor in FLOORS:
        assert not places(floor, {"tests", "pytest", "hypothesis"})


def test_library_code_does_not_print():
    printing = [
        f"{path}:{node.lineno}"
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) in ("print", "builtins.print", "pprint", "pprint.pprint")
    ]
    assert not printing


def test_nothing_is_pickled():
    for floor in FLOORS:
        assert not places(floor, PICKLES)
    calls = [(path, node) for path, tree in sources().items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [f"{path}:{node.lineno}" for path, node in calls if called(node) in ("torch.load", "torch.save")]
    # NumPy pickles arrays of objects: reading them is off unless asked for, writing them is on unless it is turned off.
    numpy_calls = [
        (f"{path}:{node.lineno}", called(node), {word.arg: ast.unparse(word.value) for word in node.keywords})
        for path, node in calls
        if called(node) in ("np.load", "np.save", "np.lib.format.write_array", "np.lib.format.read_array")
    ]
    assert numpy_calls
    assert not [place for place, _, words in numpy_calls if words.get("allow_pickle", "False") != "False"]
    assert not [place for place, _, words in numpy_calls if "allow_pickle" not in words]


# ------------------------------------------------------------------------------------------------ in a fresh process


def loaded_after(code: str, folder: Path) -> set[str]:
    """Run code in a fresh process and return the top-level modules that it has loaded."""
    report = '\nimport json, sys\nprint(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))\n'
    return set(json.loads(run(textwrap.dedent(code) + report, folder).splitlines()[-1]))


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder, timeout=300
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
    return done.stdout


def test_importing_the_package_loads_nothing(tmp_path):
    loaded = loaded_after("import retrieval, retrieval.errors", tmp_path)
    assert not loaded & {"numpy", "numba", "pyarrow", "faiss", "msgspec", "rich", "click", "typer"}
    assert not loaded & MODEL_LIBRARIES


def test_importing_the_measures_loads_no_model(tmp_path):
    loaded = loaded_after("import eval.measures, eval.collection_evaluation, eval.runs, eval.testsets", tmp_path)
    assert not loaded & ({"pandas", "matplotlib", "ir_measures", "faiss"} | MODEL_LIBRARIES)


def test_a_few_texts_are_added_without_pytorch_where_its_precision_is_the_same(tmp_path):
    """Tests compute in fp32 (`tests/conftest.py`), which is known without asking PyTorch what the processor has."""
    loaded = loaded_after(
        """
        from retrieval import Collection

        with Collection.create("few.index") as collection:
            collection.add([{"id": "1", "text": "Swifts sleep on the wing."}])
        """,
        tmp_path,
    )
    assert "torch" not in loaded


def test_bm25_never_loads_a_model(tmp_path):
    """Neither in a lexical collection nor in one with vectors."""
    loaded = loaded_after(
        """
        import numpy as np
        from retrieval import Collection, FunctionEncoder

        lexical = Collection.create("lexical.index", encoder=None)
        lexical.add([{"id": "1", "text": "Swifts sleep on the wing."}, {"id": "2", "text": "Hotel for birds."}])
        assert lexical.search("swift").ids == lexical.search("+swift", syntax="query").ids == ["1"]
        assert lexical.search("bird", where="x is null").ids == ["2"]
        lexical.upsert({"id": "2", "text": "Hotels."})
        lexical.delete("1")
        lexical.compact()

        vectors = Collection.create("vectors.index", encoder=None)
        vectors.add([{"id": "1", "text": "swift"}, {"id": "2", "text": "hotel"}], vectors=np.eye(2, dtype=np.float32))
        assert vectors.search("hotel", mode="bm25").ids == ["2"]
        assert vectors.search(vector=[1.0, 0.0]).mode == "dense"

        encoder = FunctionEncoder(lambda texts: np.ones((len(texts), 3)), name="mine", version="1")
        encoded = Collection.create("encoded.index", encoder=encoder)
        encoded.add({"id": "1", "text": "swift"})
        assert encoded.search("swift").mode == "hybrid"
        """,
        tmp_path,
    )
    assert "numba" in loaded
    assert not loaded & ({"faiss", "pandas", "matplotlib", "bs4", "docutils"} | MODEL_LIBRARIES)


COMPUTE = {
    "torch": "import torch; a = torch.ones(300, 300); assert float((a @ a)[0, 0]) == 300",
    "faiss": """
import faiss, numpy
vectors = numpy.random.default_rng(0).standard_normal((2000, 32)).astype("float32")
index = faiss.IndexHNSWFlat(32, 16)
index.add(vectors)
assert (index.search(vectors[:50], 1)[1][:, 0] == range(50)).mean() > 0.9
""",
    "numba": """
import numpy
from indexes.compilation import warm_up
warm_up()
""",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", [("torch", "faiss", "numba"), ("faiss", "torch", "numba"), ("numba", "faiss", "torch")]
)
def test_native_libraries_work_together_in_any_order(order, tmp_path):
    """Each brings threads and a runtime of its own; wrong combinations crash or hang, and some in one order only."""
    run("\n".join([*(COMPUTE[name] for name in order), *(COMPUTE[name] for name in order)]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["faiss", "torch"])
def test_a_collection_works_whichever_library_came_first(first, tmp_path):
    """An approximate searcher (FAISS) beside the embedded encoder (torch), in one process."""
    run(
        f"import {first}\n"
        + textwrap.dedent("""
        from retrieval import Collection
        collection = Collection.create("my.index")
        collection.add({"id": str(number), "text": f"Bird number {number} sleeps."} for number in range(20))
        exact = collection.search("bird number 7", mode="dense").ids
        collection.optimize("hnsw")
        assert collection.search("bird number 7", mode="dense").ids == exact
        assert collection.search("bird number 7")[0].id == "7"
        """),
        tmp_path,
    )
