from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from indexes import compilation

ROOT = Path(__file__).parents[2]

FIND = """
import logging, tempfile
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from indexes.arrays import ArrayFolder
from indexes.dictionary import TermDictionary, write_dictionary
with tempfile.TemporaryDirectory() as name:
    write_dictionary(Path(name), [b"a", b"b"])
    print("found", TermDictionary(ArrayFolder(Path(name))).find(["b", "c"]).tolist())
"""
WARM_UP = """
import logging
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from indexes.compilation import kernels_are_cached, warm_up
print("before", kernels_are_cached())
warm_up()
print("after", kernels_are_cached())
"""


def python(code, **environment):
    """Run code in a new interpreter and return what it wrote, standard output and log together."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def compiled_beside_the_sources():
    return [path for path in ROOT.glob("indexes/**/*kernels.*") if path.suffix in (".nbi", ".nbc")]


def imports(path):
    """Return (module, name) of what a source imports from this package."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return [(node.module, alias.name) for node in nodes if node.module.startswith("indexes") for alias in node.names]


def test_what_is_compiled_into_kernels_is_part_of_the_name_of_their_cache():
    # numba looks at a kernel's own file only: a constant that changed elsewhere would stay the old one in the cache.
    named = {path for pattern in compilation._KERNEL_SOURCES for path in (ROOT / "indexes").glob(pattern)}
    ways = {("indexes.compilation", name) for name in ("kernel", "inner_kernel")}
    kernels = [path for path in (ROOT / "indexes").rglob("*.py") if ways & set(imports(path))]
    assert len(kernels) > 5
    for path in kernels:
        modules = {module for module, name in imports(path)} - {"indexes.compilation"}
        needed = {path, *(ROOT.joinpath(*module.split(".")).with_suffix(".py") for module in modules)}
        assert needed - named == set(), path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return a cache directory in which one kernel was compiled, and what was logged."""
    directory = tmp_path_factory.mktemp("cache")
    return directory, python(FIND, NUMBA_CACHE_DIR=directory)


def test_numba_is_not_loaded_before_it_is_needed():
    code = "import sys, indexes.bm25, indexes.inverted, indexes.compilation; print('numba' in sys.modules)"
    assert python(code) == "False\n"


def test_kernels_are_kept_in_the_users_cache_directory(tmp_path):
    code = """
import numba
from indexes import list_kernels
from indexes.compilation import cache_directory
print(cache_directory(), list_kernels.find_terms.stats.cache_path, repr(numba.config.CACHE_DIR), sep="\\n")
"""
    chosen, used, setting = python(code, XDG_CACHE_HOME=tmp_path).splitlines()
    assert "retrieval-engine" in chosen
    if sys.platform == "linux":
        assert Path(chosen).is_relative_to(tmp_path)
    assert Path(used).is_relative_to(chosen)
    assert setting == "''"  # other libraries' kernels stay where they were


def test_numba_cache_dir_is_respected_and_used_again(compiled):
    directory, log = compiled
    assert "INFO compiling kernel find_terms, once on this machine" in log
    assert list(directory.glob("*/*/list_kernels.find_terms*.nbc"))
    assert python(FIND, NUMBA_CACHE_DIR=directory) == "found [1, -1]\n"
    assert compiled_beside_the_sources() == []


def test_a_directory_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    output = python(FIND, NUMBA_CACHE_DIR=tmp_path / "file" / "cache")
    assert "WARNING kernels are compiled anew in each process" in output
    assert "found [1, -1]" in output
    assert compiled_beside_the_sources() == []


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_again(compiled, tmp_path, ending):
    shutil.copytree(compiled[0], tmp_path, dirs_exist_ok=True)
    (path,) = tmp_path.glob(f"*/*/list_kernels.find_terms*.{ending}")
    path.write_bytes(path.read_bytes()[:20])
    output = python(FIND, NUMBA_CACHE_DIR=tmp_path)
    assert "WARNING kernel cache" in output
    assert "found [1, -1]" in output
    assert python(FIND, NUMBA_CACHE_DIR=tmp_path) == "found [1, -1]\n"


@pytest.mark.slow
def test_warming_up_compiles_everything(tmp_path):
    first = python(WARM_UP, NUMBA_CACHE_DIR=tmp_path)
    assert "before False" in first
    assert "after True" in first
    assert python(WARM_UP, NUMBA_CACHE_DIR=tmp_path) == "before True\nafter True\n"
