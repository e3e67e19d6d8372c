"""Pipelines with small models of random weights, a pointwise and a pairwise one: from folders to tuned numbers."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from eval.tuning import make_grid, simulate
from eval.tuning.scores import kind_of
from retrieval import Collection, Document, load_reranker, parse_stages
from tests.retrieval.conftest import WORDS, save_backbone

STAGES = "bm25:30,mono:12,duo:4"
QUERIES = {f"q{number}": f"{WORDS[number]} {WORDS[number + 5]} {WORDS[number + 7]}" for number in range(6)}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Folders of a pointwise and of a pairwise reranker."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from retrieval.rerankers.duo import DuoBudget
    from retrieval.rerankers.duo_folder import create_duo

    root = tmp_path_factory.mktemp("models")
    backbone = save_backbone(root / "backbone", seed=3)
    torch.manual_seed(3)
    config = BertConfig.from_pretrained(backbone)
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(root / "mono")
    AutoTokenizer.from_pretrained(backbone).save_pretrained(root / "mono")
    create_duo(root / "mono", root / "duo", budget=DuoBudget(12, 24))
    return {"mono": root / "mono", "duo": root / "duo"}


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    collection = Collection.create(tmp_path_factory.mktemp("models") / "c", encoder=None)
    draw = random.Random(0)
    collection.add(Document(f"d{number}", " ".join(draw.choices(WORDS, k=8))) for number in range(50))
    return collection


@pytest.mark.slow
def test_every_setting_is_what_a_search_with_models_returns(collection, models):
    rerankers = {name: load_reranker(folder, device="cpu") for name, folder in models.items()}
    assert {name: kind_of(reranker) for name, reranker in rerankers.items()} == {"mono": "pointwise", "duo": "pairwise"}
    grid = make_grid(parse_stages(STAGES))
    simulation = simulate(collection, QUERIES, grid, rerankers, 10)
    reordered = set()
    for simulated in simulation.settings:
        found = collection.search_many(list(QUERIES.values()), 10, stages=simulated.pipeline, rerankers=rerankers)
        assert [[name for name, _ in ranking] for ranking in simulated.run.values()] == [each.ids for each in found]
        assert sum(simulated.calls) == sum(stage.calls for each in found for stage in each.stages)
        reordered.add(tuple(name for each in found for name in each.ids))
    assert len(reordered) > len(grid) / 2  # random weights agree neither with BM25 nor with each other
    assert sum(simulation.calls) < sum(sum(simulated.calls) for simulated in simulation.settings)


@pytest.mark.slow
def test_the_command_line_loads_models_from_folders(collection, models, capsys):
    from retrieval.cli import main

    query = QUERIES["q0"]
    given = [word for name, folder in models.items() for word in ("--reranker", f"{name}={folder}")]
    with pytest.raises(SystemExit) as leaving:
        main(["search", str(collection.path), query, "--stages", STAGES, *given, "--json"])
    assert leaving.value.code == 0, sys.stderr
    found = json.loads(capsys.readouterr().out)
    rerankers = {name: load_reranker(folder) for name, folder in models.items()}
    assert [hit["id"] for hit in found["hits"]] == collection.search(query, stages=STAGES, rerankers=rerankers).ids
    assert [stage["calls"] for stage in found["stages"]] == [0, 12, 12]
    assert sum(stage["calls"] for stage in found["stages"]) == collection.plan(STAGES, rerankers).calls
