"""The experiments' framework: the committed summary is what the committed results say, and models are trained once."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import pytest

from eval.experiments import __file__ as package
from eval.experiments.__main__ import study_names, summary, write_summary
from eval.experiments.measuring import bm25_rankings, values_of
from eval.experiments.options import Options
from eval.experiments.plots import PLOTS
from eval.experiments.training import trained
from eval.pools import Pool
from retrieval.errors import TrainingError
from retrieval.training import Recipe
from retrieval.training.ranking import Ranking

HERE = Path(package).parent


def test_the_summary_is_made_of_the_results():
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == summary(HERE)


def test_plots_are_drawn_of_the_results_and_shown(tmp_path):
    pytest.importorskip("matplotlib")
    shutil.copytree(HERE / "results", tmp_path / "results")
    write_summary(tmp_path)
    drawn = {file.name for file in (tmp_path / "plots").iterdir()}
    assert drawn == {plot.file for name, plots in PLOTS.items() for plot in plots if _has_results(name)}
    assert (tmp_path / "RESULTS.md").read_text(encoding="utf-8").count("](plots/") == len(drawn)


def _has_results(name):
    return (HERE / "results" / f"{name}.json").is_file()


def test_results_are_of_studies_that_are_there():
    assert {file.stem for file in (HERE / "results").glob("*.json")} <= set(study_names())


@pytest.mark.parametrize("name", study_names())
def test_every_study_says_what_it_is(name):
    study = import_module(f"eval.experiments.studies.{name}")
    assert study.TITLE
    assert callable(study.run)


POOL = Pool(
    "toy",
    ids=["a", "b", "c"],
    texts=["a green tea", "black coffee", "green coffee"],
    queries={"q1": "green tea", "q2": "black"},
    qrels={"q1": {"a": 1}, "q2": {"c": 1}},
)


def test_values_are_by_query():
    assert values_of(bm25_rankings(POOL), POOL, "RR@10") == [1.0, 0.0]


def test_values_keep_the_order_of_the_rankings():
    import numpy as np

    backwards = [Ranking(np.array([2, 0]), np.array([2.0, 1.0]))] * 2
    assert values_of(backwards, POOL, "RR@10") == [0.5, 1.0]


def test_own_seeds_give_way():
    assert Options(HERE, HERE).seeds_or(1, 2) == (1, 2)
    assert Options(HERE, HERE, seeds=(7,)).seeds_or(1, 2) == (7,)


def test_a_model_of_another_recipe_is_refused(tmp_path):
    (tmp_path / "training.json").write_text(
        '{"recipe": {"name": "pairs", "seed": 1}, "seconds": 1.0, "steps": 2, "notes": {}}', encoding="utf-8"
    )
    with pytest.raises(TrainingError, match=r"trained with another .*seed"):
        trained(Recipe(name="pairs", seed=2), [], tmp_path)
