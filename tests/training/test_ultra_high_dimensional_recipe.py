"""The recipe of ultra-high-dimensional encoders: from pairs to a model that the inverted index takes."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import load_file

from indexes.sparse import quantised
from retrieval import Collection
from retrieval.encoders import load_sparse_encoder
from retrieval.errors import EncoderError, RetrievalError
from retrieval.models.ultra_high_dimensional.building import bucket_module
from retrieval.training.builders.ultra_high_dimensional import build_model
from retrieval.training.recipes.ultra_high_dimensional import RECIPE
from retrieval.training.runner import train
from tests.training.conftest import sentence, sentences, tiny_bert, tuples

__all__ = ["sentences", "tiny_bert", "tuples"]


@pytest.fixture
def small(tiny_bert):
    """The recipe at a size of a second."""
    model = {"backbone": str(tiny_bert), "dimensions": [64, 48], "layers": [1, 2], "k": 4}
    changes = {"model_settings": model, "loss_settings": {"first_k": 32}, "batch_size": 8, "max_tokens": 64}
    return RECIPE.changed(changes)


def test_a_trained_model_is_searched_with_and_without_weights(small, tuples, tmp_path):
    report = train(small, tuples, tmp_path / "run")
    assert report.steps == 5
    assert all(np.isfinite(loss) for _, loss in report.losses)
    encoder = load_sparse_encoder(tmp_path / "run")
    assert encoder.n_dimensions == 112
    assert encoder.largest_weight > 0  # measured on the passages when training was done
    collection = Collection.create(tmp_path / "x.index", encoder=None, sparse=encoder)
    texts = [sentence(number) for number in range(30)]
    collection.add([{"id": str(number), "text": text} for number, text in enumerate(texts)])
    vectors = encoder.encode_passages(texts)
    assert (np.diff(vectors.offsets) >= 8).all()  # k winners of a token in each bucket, at least
    weights = dense(quantised(vectors, encoder.largest_weight), 112) * encoder.largest_weight / 255
    for number in range(5):
        scores = weights @ dense(encoder.encode_queries([texts[number]]), 112)[0]
        best = collection.search(texts[number], mode="sparse", k=30)
        assert len(best) == np.count_nonzero(scores)
        assert best.scores == pytest.approx(np.sort(scores)[::-1][: len(best)], rel=1e-5)


def dense(vectors, n_dimensions):
    rows = np.zeros((len(vectors), n_dimensions))
    for number, (first, last) in enumerate(pairwise(vectors.offsets)):
        rows[number, vectors.dimensions[first:last]] = vectors.weights[first:last]
    return rows


def test_winners_fall_to_the_number_that_was_asked_for(small, tuples, tmp_path, monkeypatch):
    from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional

    seen, set_k = [], UltraHighDimensional.set_k
    monkeypatch.setattr(UltraHighDimensional, "set_k", lambda module, k: (seen.append(k), set_k(module, k)))
    train(small.changed({"loss_settings": {"anneal": 0.6}}), tuples, tmp_path / "run")
    # From 32 to 4 over three of five steps: 32 * (4 / 32) ** (step / 3).
    assert seen[:5] == [32, 16, 8, 4, 4]
    assert seen[-1] == 4


def test_dead_dimensions_are_reported(small, tuples, tmp_path):
    notes = train(small, tuples, tmp_path / "run").notes
    first, second = notes["buckets"]
    assert (first["n_dimensions"], second["n_dimensions"]) == (64, 48)
    assert notes["dead share"] == (first["n_dead"] + second["n_dead"]) / 112
    # Counted from the step on that is the middle, with a query and a passage for each of eight examples.
    assert notes["texts"] == 2 * 16
    assert json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))["notes"] == notes


def test_the_same_seed_gives_the_same_weights_and_another_does_not(small, tuples, tmp_path):
    def vectors(name, seed):
        train(small.changed({"seed": seed}), tuples, tmp_path / name)
        return load_sparse_encoder(tmp_path / name).encode_passages(["a cat"])

    first, second, third = vectors("a", 1), vectors("b", 1), vectors("c", 2)
    np.testing.assert_array_equal(first.dimensions, second.dimensions)
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.dimensions.tolist() != third.dimensions.tolist()


def test_measures_before_and_after_are_of_both_kinds_of_vectors(small, tuples, tmp_path):
    from retrieval.cli.training_measures import measurer

    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": str(number), "text": sentence(number)} for number in range(12)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": sentence(7)}), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t7\t1\n", encoding="utf-8")
    report = train(small, tuples, tmp_path / "run", evaluate=measurer([str(folder)], None))
    names = {
        f"beir test{kind} {name} (n=1)" for kind in ("", ", without weights") for name in ("nDCG@10", "RR@10", "R@100")
    }
    assert set(report.before) == set(report.after) == names
    # Without weights no text shares more dimensions with the query than the query's own text.
    assert report.after["beir test, without weights R@100 (n=1)"] == 1.0


@pytest.mark.parametrize(("binarise", "stop"), [(False, 2), (True, 4)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(small, tuples, tmp_path, monkeypatch, binarise, stop):
    from retrieval.training.trainer import SparseTrainer

    class Interrupted(BaseException):
        """Stands for a kill: nothing of the run catches it."""

    recipe = small.changed({"checkpoint_steps": 1, "model_settings": {"binarise": binarise}})
    original = SparseTrainer.compute_loss

    def compute_loss(self, *given, **options):
        if self.state.global_step >= stop:
            raise Interrupted
        return original(self, *given, **options)

    whole = train(recipe, tuples, tmp_path / "whole")
    with monkeypatch.context() as patches:
        patches.setattr(SparseTrainer, "compute_loss", compute_loss)
        with pytest.raises(Interrupted):
            train(recipe, tuples, tmp_path / "broken")
    resumed = train(recipe, tuples, tmp_path / "broken", resume=True)
    # Dimensions are counted from step 3 on: what an interrupted run has seen of them is in its checkpoints.
    assert resumed.notes == whole.notes
    for name in ("model.safetensors", "1_UltraHighDimensional/model.safetensors", "1_UltraHighDimensional/config.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_card_says_that_the_model_is_sparse(small, tuples, tmp_path):
    train(small.changed({"max_steps": 1}), tuples, tmp_path / "run")
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "- sparse-encoder\n" in card
    assert "pipeline_tag: feature-extraction\n" in card
    assert 'encoder = load_sparse_encoder("path/to/this/folder")' in card
    assert "sentence_transformers.SparseEncoder(path)" in card
    assert "similarity" not in card


def test_the_ranking_loss_alone_trains_as_well(small, tuples, tmp_path):
    report = train(
        small.changed({"loss": "sparse-ranking", "loss_settings": {"balance": 1e-3}}), tuples, tmp_path / "run"
    )
    assert report.steps == 5
    assert report.notes == {}
    assert load_sparse_encoder(tmp_path / "run").n_dimensions == 112


def test_buckets_learn_at_a_rate_of_their_own(small, tuples, tmp_path):
    def weights(name, rate):
        train(small.changed({"loss_settings": {"bucket_rate": rate}}), tuples, tmp_path / name)
        folder = tmp_path / name
        backbone, buckets = (
            load_file(folder / file) for file in ("model.safetensors", "1_UltraHighDimensional/model.safetensors")
        )
        return backbone["embeddings.word_embeddings.weight"], buckets["buckets.0.weight"]

    still, slow, fast = weights("still", 1e-9), weights("slow", 1.0), weights("fast", 50.0)
    begun = weights_at_the_start(small)
    np.testing.assert_allclose(still[1], begun, atol=1e-7)
    moved = [float(np.abs(each[1] - begun).max()) for each in (slow, fast)]
    assert 20 * moved[0] < moved[1] < 80 * moved[0]  # AdamW's first steps are as long as the rate, whatever the slope
    # The backbone's steps are those of the recipe's rate in all three.
    assert 0 < np.abs(still[0] - fast[0]).max() < 20 * small.learning_rate


def weights_at_the_start(recipe):
    from transformers import set_seed

    set_seed(recipe.seed)
    return bucket_module(build_model(**recipe.model_settings)).linears[0].weight.detach().numpy()


@pytest.mark.parametrize("wrong", [{"bucket_rate": 0}, {"anneal": 1.5}])
def test_settings_that_make_no_sense(small, tuples, tmp_path, wrong):
    with pytest.raises(RetrievalError, match=next(iter(wrong))):
        train(small.changed({"loss_settings": wrong}), tuples, tmp_path / "run")


def test_a_dense_model_is_refused(small, tiny_bert, tuples, tmp_path):
    recipe = small.changed({"model": "encoder", "model_settings": {"backbone": str(tiny_bert)}})
    with pytest.raises(EncoderError, match="no ultra-high-dimensional module"):
        train(recipe, tuples, tmp_path / "run")


def test_passages_to_centre_on_are_drawn_from_all(small, tuples, tmp_path, monkeypatch):
    from retrieval.training import hooks
    from retrieval.training.losses.winner_take_all import WinnerTakeAllLoss

    seen, before = [], WinnerTakeAllLoss.before_training
    monkeypatch.setattr(hooks, "SAMPLE", 8)
    monkeypatch.setattr(
        WinnerTakeAllLoss, "before_training", lambda loss, texts: (seen.append(texts), before(loss, texts))
    )
    for run, seed in enumerate((1, 1, 2)):
        train(small.changed({"max_steps": 1, "seed": seed}), tuples, tmp_path / str(run))
    passages = [sentence(number + 1000) for number in range(40)]
    assert all(len(texts) == 8 and set(texts) <= set(passages) for texts in seen)
    assert seen[0] == seen[1] != seen[2]
    assert not set(seen[0]) <= set(passages[:20])
