"""A loss, a builder and a recipe of one's own: one file each, and a run trains a sparse model with them."""

from __future__ import annotations

import importlib
import textwrap

import pytest

from retrieval.errors import RecipeError
from retrieval.training import builtin_recipe, registry, train

FILES = {
    "builders/tiny_splade.py": """
        def build_model(*, backbone):
            from sentence_transformers import SparseEncoder
            from sentence_transformers.sparse_encoder.modules import SpladePooling
            from sentence_transformers.base.modules import Transformer

            transformer = Transformer(backbone, transformer_task="fill-mask")
            return SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu")
    """,
    "losses/counted.py": """
        from retrieval.training.embedding_loss import EmbeddingLoss
        from retrieval.training.losses.info_nce import info_nce


        class Counted(EmbeddingLoss):
            def __init__(self, model, scale):
                super().__init__(model, lambda columns: info_nce(columns[0], columns[1]) * scale)
                self.calls = []

            def before_training(self, texts):
                self.calls.append(["before", len(texts)])

            def begin_step(self, step, steps):
                self.calls.append([step, steps])

            def after_training(self, texts):
                self.calls.append(["after", texts[0]])

            def notes(self):
                return {"calls": self.calls}


        def build_loss(model, *, scale=1.0):
            return Counted(model, scale)
    """,
    "recipes/my_sparse.py": """
        from retrieval.training.recipe import Recipe

        RECIPE = Recipe(name="my-sparse", data="pairs", model="tiny-splade", loss="counted", batch_size=20)
    """,
    "losses/_helper.py": "",
    "losses/nothing.py": "",
}


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """Put the files where the registry looks."""
    for name, text in FILES.items():
        path = tmp_path / "plugins" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    for kind in ("builders", "losses", "recipes"):
        package = importlib.import_module(f"retrieval.training.{kind}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "plugins" / kind)])


@pytest.fixture
def language_model(tiny_bert, tmp_path):
    """The tiny BERT with a head for masked language."""
    import shutil

    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path / "language-model"
    shutil.copytree(tiny_bert, folder)
    BertForMaskedLM(BertConfig.from_pretrained(tiny_bert)).save_pretrained(folder)
    return folder


def test_files_are_found_by_their_names(plugged_in):
    assert "counted" in registry.names("losses")
    assert "-helper" not in registry.names("losses")
    with pytest.raises(RecipeError, match="defines no build_loss"):
        builtin_recipe("my-sparse").changed({"loss": "nothing"}).checked()
    with pytest.raises(RecipeError, match=r"unknown setting 'scal' .*did you mean 'scale'"):
        builtin_recipe("my-sparse").changed({"loss_settings": {"scal": 2}}).checked()


def test_a_resumed_run_is_not_prepared_again(plugged_in, language_model, tuples, tmp_path, monkeypatch):
    from retrieval.training import run

    def card(_report):
        raise KeyboardInterrupt

    recipe = builtin_recipe("my-sparse").changed({"model_settings": {"backbone": str(language_model)}})
    with monkeypatch.context() as patches:
        patches.setattr(run, "model_card", card)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tuples, tmp_path / "out")
    report = train(recipe, tuples, tmp_path / "out", resume=True)
    assert [call[0] for call in report.notes["calls"]] == ["after"]


def test_a_sparse_model_trains_and_its_loss_is_told_where_the_run_is(plugged_in, language_model, tuples, tmp_path):
    from sentence_transformers import SparseEncoder

    recipe = builtin_recipe("my-sparse").changed({"model_settings": {"backbone": str(language_model)}})
    report = train(recipe.changed({"epochs": 2}), tuples, tmp_path / "out")
    steps = [[step, 4] for step in range(4)]
    calls = report.notes["calls"]
    assert calls[:-1] == [["before", 40], *steps]
    assert calls[-1][0] == "after"
    vectors = SparseEncoder(str(tmp_path / "out"), device="cpu").encode(["a man plays"], convert_to_sparse_tensor=False)
    assert vectors.shape[0] == 1
    assert float(vectors.min()) >= 0
