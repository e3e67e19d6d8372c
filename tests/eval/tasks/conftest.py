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


class MtebEncoder:
    """An encoder of ours as mteb asks for one, without what the engine adds."""

    def __init__(self, encoder):
        import mteb

        self.encoder = encoder
        self.mteb_model_meta = mteb.models.ModelMeta.create_empty({"name": "ours/encoder", "revision": "1"})

    def encode(self, inputs, **_):
        return self.encoder.encode_passages([text for batch in inputs for text in batch["text"]])

    def similarity(self, first, second):
        from mteb.similarity_functions import cos_sim

        return cos_sim(first, second)

    def similarity_pairwise(self, first, second):
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(first, second)


@pytest.fixture
def mteb_run():
    """Return a function that runs one of mteb's own kinds of task on rows in memory; skips without mteb."""
    mteb = pytest.importorskip("mteb")
    import datasets
    from mteb.abstasks import AbsTaskClassification, AbsTaskClustering, AbsTaskPairClassification, AbsTaskSTS
    from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
    from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
    from mteb.abstasks.text.summarization import AbsTaskSummarization

    kinds = {
        "STS": (AbsTaskSTS, "STSBenchmark"),
        "PairClassification": (AbsTaskPairClassification, "TwitterURLCorpus"),
        "Classification": (AbsTaskClassification, "Banking77Classification"),
        "Clustering": (AbsTaskClustering, "TwentyNewsgroupsClustering.v2"),
        "ClusteringLegacy": (AbsTaskClusteringLegacy, "TwentyNewsgroupsClustering"),
        "BitextMining": (AbsTaskBitextMining, "BUCC.v2"),
        "Summarization": (AbsTaskSummarization, "SummEvalSummarization.v2"),
    }

    def run(kind: str, splits: dict[str, dict[str, list]], encoder, **attributes):
        base, like = kinds[kind]
        members = {"metadata": mteb.get_task(like).metadata, **attributes}
        task = type("Mine", (base,), members)()
        task.dataset = datasets.DatasetDict(
            {split: datasets.Dataset.from_dict(columns) for split, columns in splits.items()}
        )
        task.data_loaded = True
        task.hf_subsets = ["default"]
        scores = task.evaluate(MtebEncoder(encoder), "test", encode_kwargs={"batch_size": 32})
        return scores["default"]

    return run
