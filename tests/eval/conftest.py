from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test collections; tests that need it are skipped where it is missing."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("RETRIEVAL_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real test collections at {folder}; set RETRIEVAL_TEST_DATA to their folder")
    return folder
