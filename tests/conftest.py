"""What all tests share: where the real test collections lie, and no model hub."""

from __future__ import annotations

import os
from pathlib import Path

# Before any library reads them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RETRIEVAL_PRECISION", "fp32")  # what is compared to 1e-5 is so on every processor
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several workers share the processors.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# The same code gets the same verdict; "nightly" looks for new examples, and more of them.
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", settings.get_profile("default"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

DATA = Path(os.environ.get("RETRIEVAL_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def data_folder():
    """Return a function from a test collection's name to its folder; skips where it is missing."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"test collection {name!r} is not at {DATA}; set RETRIEVAL_TEST_DATA")
        return DATA / name

    return folder
