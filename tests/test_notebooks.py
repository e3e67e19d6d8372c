"""The notebooks: they run from start to end, and what is stored in them is fit to be read by others."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def shown(cell: nbformat.NotebookNode) -> str:
    """Return all text that a cell's stored outputs show."""
    texts = [output.get("text", "") for output in cell.outputs]
    texts += [text for output in cell.outputs for text in output.get("data", {}).values() if isinstance(text, str)]
    return "\n".join(texts)


def assert_comparisons_hold(cells: list[nbformat.NotebookNode]) -> None:
    """What a notebook compares, it compares to show that it is the same."""
    for cell in cells:
        assert not re.search(r"\bFalse\b|\| no \|", shown(cell)), shown(cell)


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_the_outputs_are_stored_and_complete(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "execute it: make notebooks"
    assert_comparisons_hold(cells)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert "error" not in kinds
    assert kinds & {"stream", "execute_result", "display_data"}
    warnings = [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert not warnings


@each_notebook
def test_nothing_stored_depends_on_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.metadata, "cell metadata (times of execution?)"
    paths = re.compile(r"(?<![\w.~:/<-])(?:/(?:[\w.-]+/)+[\w.-]*|[A-Z]:\\\w)")  # of at least one folder
    for cell in code_cells(path):
        assert not paths.findall(shown(cell))
        assert not paths.findall(cell.source)


@pytest.mark.slow
@each_notebook
def test_it_runs(path, tmp_path):
    """In a copy, in a folder with nothing else, without a model hub."""
    from nbclient import NotebookClient

    folder = tmp_path / "notebooks"
    folder.mkdir()
    copy = Path(shutil.copy(path, folder))
    notebook = nbformat.read(copy, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"HF_HUB_OFFLINE": "1", "IPYTHONDIR": str(tmp_path / "ipython")})
    executed = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in executed)
    assert_comparisons_hold(executed)
    stored = [bool(cell.outputs) for cell in code_cells(path)]
    assert [bool(cell.outputs) for cell in executed] == stored, "the stored outputs are of other cells"
    assert [file.name for file in folder.iterdir()] == [path.name], "it left something behind"
