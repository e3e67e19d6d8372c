"""An encoder of arbitrary vectors, and folders with a definition and its data."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from eval.tasks import Surroundings, System, load_task
from retrieval.encoders import FunctionEncoder


def arbitrary_vector(text: str, dimension: int = 8) -> np.ndarray:
    """Return a vector that nothing but the text decides; neither centred nor of length one."""
    return np.random.default_rng(zlib.crc32(text.encode())).normal(0.3, 1.0, dimension).astype(np.float32)


def encoder_of(function=arbitrary_vector, **settings) -> FunctionEncoder:
    return FunctionEncoder(lambda texts: np.stack([function(text) for text in texts]), "arbitrary", 1, **settings)


@pytest.fixture
def encoder():
    """Return a function that makes an encoder out of a function from a text to its vector."""
    return encoder_of


@pytest.fixture
def task_of(tmp_path):
    """Return a function that writes a definition and its files and loads the task."""

    def make(kind: str, files: dict[str, str], keys: str = ""):
        for name, content in files.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
        (tmp_path / "task.toml").write_text(f'name = "Mine"\nkind = "{kind}"\n{keys}', encoding="utf-8")
        (task,) = load_task(tmp_path / "task.toml")
        return task

    return make


@pytest.fixture
def measure(tmp_path):
    """Return a function that runs a task with an encoder."""

    def run(task, encoder=None, **surroundings):
        system = System("system", encoder=encoder or encoder_of())
        return task.run(system, Surroundings(workspace=Path(tmp_path), **surroundings))

    return run


@pytest.fixture(scope="session")
def embedded():
    """Return the encoder that comes with the package."""
    from retrieval.encoders import load_encoder

    with contextlib.closing(load_encoder()) as encoder:
        yield encoder
