"""Training runs on tiny models: repeatable, resumable, stopped by a loss that is not finite, loadable elsewhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from indexes import file_operations
from indexes.errors import LockedError
from retrieval.encoders import load_encoder
from retrieval.errors import (
    EncoderError,
    MissingExtraError,
    RecipeError,
    RetrievalError,
    TrainingDataError,
    TrainingError,
)
from retrieval.training import Recipe, builtin_recipe, train
from retrieval.training.run import Run
from retrieval.training.run_folder import last_checkpoint
from retrieval.training.trainer import DenseTrainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def mirror(tiny_bert):
    """Mirror-BERT at a size of a second."""
    changes = {
        "model_settings": {"backbone": str(tiny_bert), "pooling": "mean"},
        "batch_size": 8,
        "max_tokens": 32,
        "learning_rate": 1e-3,
        "limit": 0,
    }
    return builtin_recipe("mirror-bert").changed(changes)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Interrupted(BaseException):
    """Stands for a kill: nothing of the run catches it."""


def interrupt_after(monkeypatch, steps: int) -> None:
    """Let the process die in the step after this many."""
    original = DenseTrainer.compute_loss

    def compute_loss(self, *given, **options):
        if self.state.global_step >= steps:
            raise Interrupted
        return original(self, *given, **options)

    monkeypatch.setattr(DenseTrainer, "compute_loss", compute_loss)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(mirror, sentences, tmp_path):
    for name, recipe in {"a": mirror, "b": mirror, "c": mirror.changed({"seed": 1})}.items():
        report = train(recipe, sentences, tmp_path / name)
        assert report.steps == 6
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("steps", [1, 5, 6, 11])
def test_a_resumed_run_ends_as_an_uninterrupted_one(mirror, sentences, tmp_path, monkeypatch, steps):
    recipe = mirror.changed({"epochs": 2, "checkpoint_steps": 2, "accumulation": 1, "drophead": 0.2})
    whole = train(recipe, sentences, tmp_path / "whole")
    assert whole.steps == 12
    with monkeypatch.context() as patches:
        interrupt_after(patches, steps)
        with pytest.raises(Interrupted):
            train(recipe, sentences, tmp_path / "broken")
    assert not (tmp_path / "broken" / "modules.json").exists()
    with pytest.raises(TrainingError, match="holds an unfinished run; resume it"):
        train(recipe, sentences, tmp_path / "broken")
    report = train(recipe, sentences, tmp_path / "broken", resume=True)
    assert report.resumed
    assert report.steps == 12
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert [step for step, _ in report.losses] == list(range(1, 13))
    assert report.losses == whole.losses
    assert not (tmp_path / "broken" / "run").exists()


@pytest.mark.parametrize("pooling", ["convolution", "max_seq_mha"])
def test_a_pooling_with_weights_is_resumed_too(mirror, sentences, tmp_path, monkeypatch, pooling):
    settings = {**mirror.model_settings, "pooling": pooling}
    recipe = mirror.changed({"model_settings": settings, "checkpoint_steps": 2})
    train(recipe, sentences, tmp_path / "whole")
    with monkeypatch.context() as patches:
        interrupt_after(patches, 3)
        with pytest.raises(Interrupted):
            train(recipe, sentences, tmp_path / "broken")
    assert train(recipe, sentences, tmp_path / "broken", resume=True).resumed
    (module,) = (path.name for path in (tmp_path / "whole").glob("1_*"))
    assert same(weights(tmp_path / "whole" / module), weights(tmp_path / "broken" / module))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


@pytest.fixture
def labelled(tmp_path):
    """A file of sentence pairs in three classes."""
    classes = ("yes", "no", "maybe")
    rows = [f"a man plays {number}\ta man eats {number}\t{classes[number % 3]}" for number in range(24)]
    path = tmp_path / "labelled.tsv"
    path.write_text("sentence1\tsentence2\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def siamese(tiny_bert):
    """Sentence-BERT's classification at a size of a second; its loss draws weights of its own."""
    return builtin_recipe("sbert-nli").changed(
        {"model_settings": {"backbone": str(tiny_bert)}, "batch_size": 4, "max_tokens": 32, "checkpoint_steps": 2}
    )


def test_what_a_loss_learns_itself_is_resumed_too(siamese, labelled, tmp_path, monkeypatch):
    train(siamese, labelled, tmp_path / "whole")
    with monkeypatch.context() as patches:
        interrupt_after(patches, 3)
        with pytest.raises(Interrupted):
            train(siamese, labelled, tmp_path / "broken")
    train(siamese, labelled, tmp_path / "broken", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for number in (2, 10, 12):
        (tmp_path / f"checkpoint-{number}").mkdir()
    for number in (2, 10):
        (tmp_path / f"checkpoint-{number}" / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert last_checkpoint(tmp_path).name == "checkpoint-10"


def test_a_run_that_ended_before_it_was_written_is_written(mirror, sentences, tmp_path, monkeypatch):
    from retrieval.training import run

    def card(_report):
        raise Interrupted

    train(mirror, sentences, tmp_path / "whole")
    with monkeypatch.context() as patches:
        patches.setattr(run, "model_card", card)
        with pytest.raises(Interrupted):
            train(mirror, sentences, tmp_path / "broken")
    report = train(mirror, sentences, tmp_path / "broken", resume=True)
    assert report.steps == 6
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_a_run_that_ended_while_its_report_was_written_goes_on(mirror, sentences, tmp_path, monkeypatch):
    rename = file_operations.rename

    def interrupted(source, target):
        if target.name == "training.json":
            raise Interrupted
        rename(source, target)

    recipe = mirror.changed({"max_steps": 1})
    with monkeypatch.context() as patches:
        patches.setattr(file_operations, "rename", interrupted)
        with pytest.raises(Interrupted):
            train(recipe, sentences, tmp_path / "out")
    assert not (tmp_path / "out" / "training.json").exists()
    report = train(recipe, sentences, tmp_path / "out", resume=True)
    assert json.loads((tmp_path / "out" / "training.json").read_text()) == json.loads(json.dumps(report.as_dict()))
    assert sorted(place.name for place in (tmp_path / "out").glob("*.tmp")) == []
    assert not (tmp_path / "out" / "run").exists()


def test_another_recipe_does_not_resume(mirror, sentences, tmp_path, monkeypatch):
    with monkeypatch.context() as patches:
        interrupt_after(patches, 1)
        with pytest.raises(Interrupted):
            train(mirror, sentences, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"learning_rate was 0.001, is 0.5"):
        train(mirror.changed({"learning_rate": 0.5}), sentences, tmp_path / "run", resume=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    mirror, sentences, tmp_path, monkeypatch, value
):
    from retrieval.training.losses import mirror as loss

    calls = []
    original = loss.mirror

    def broken(first, second, **settings):
        calls.append(None)
        return original(first, second, **settings) * (value if len(calls) > 3 else 1.0)

    monkeypatch.setattr(loss, "mirror", broken)
    recipe = mirror.changed({"checkpoint_steps": 2})
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in step 4; the last good checkpoint is .*-2"):
        train(recipe, sentences, tmp_path / "run")
    assert len(calls) == 4
    checkpoint = tmp_path / "run" / "run" / "checkpoints" / "checkpoint-2"
    assert all(torch.isfinite(tensor).all() for tensor in weights(checkpoint).values())
    monkeypatch.setattr(loss, "mirror", original)
    assert train(recipe, sentences, tmp_path / "run", resume=True).steps == 6


def test_gradients_that_are_not_finite_stop_the_run(mirror, sentences, tmp_path, monkeypatch):
    from retrieval.training.losses import mirror as loss

    original = loss.mirror

    def broken(first, second, **settings):
        # A finite value whose gradient is infinite: the root of 0.
        return original(first, second, **settings) + torch.sqrt((first - first).pow(2).sum())

    monkeypatch.setattr(loss, "mirror", broken)
    with pytest.raises(TrainingError, match="gradients of step 1 are not finite; there is no checkpoint yet"):
        train(mirror, sentences, tmp_path / "run")


def test_what_is_trained_loads_in_both_libraries_and_has_a_card(mirror, sentences, tmp_path):
    from sentence_transformers import SentenceTransformer

    seen = []

    def evaluate(model):
        vectors = model.encode(["a man plays the guitar"])
        seen.append(vectors)
        return {"length": float(np.linalg.norm(vectors))}

    report = train(mirror, sentences, tmp_path / "run", evaluate=evaluate)
    texts = ["a man plays the guitar", "the dog eats"]
    plain = SentenceTransformer(str(tmp_path / "run"), device="cpu")
    np.testing.assert_allclose(plain.encode(texts[:1]), seen[1], atol=1e-5)
    with np.testing.assert_raises(AssertionError):
        np.testing.assert_allclose(seen[0], seen[1], atol=1e-3)
    encoder = load_encoder(tmp_path / "run")
    np.testing.assert_allclose(encoder.encode_passages(texts), plain.encode(texts), atol=1e-5)
    assert encoder.max_tokens == 32
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    for words in ("Seed 0", "48 of 48 examples", "6 steps", "| length |", "read 48 examples", "torch ", "`'mirror'`"):
        assert words in card
    stored = json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))
    assert stored["after"] == report.after
    assert stored["before"]["length"] == pytest.approx(float(np.linalg.norm(seen[0])))
    with pytest.raises(TrainingError, match="holds a trained model already"):
        train(mirror, sentences, tmp_path / "run")


def test_measuring_does_not_change_what_is_trained(siamese, labelled, tmp_path):
    train(siamese, labelled, tmp_path / "a")
    train(siamese, labelled, tmp_path / "b", evaluate=lambda _model: {"draw": float(torch.rand(1))})
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("name", ["pairs", "hard-negatives", "kalm", "sbert-triplet"])
def test_recipes_over_queries_and_passages(tiny_bert, tuples, tmp_path, name):
    recipe = builtin_recipe(name)
    changes = {"model_settings": {"backbone": str(tiny_bert)}, "batch_size": 8, "max_tokens": 64, "reference": ""}
    changes["negatives"] = min(recipe.negatives, 2)
    if name == "kalm":
        changes["loss_settings"] = {"dimensions": [32, 16, 8], "weights": [1.0, 0.3, 0.2]}
    report = train(recipe.changed(changes), tuples, tmp_path / "run")
    assert report.counts == {"tuples.jsonl": 40}
    assert report.steps == 5
    assert all(np.isfinite(loss) for _, loss in report.losses)
    encoder = load_encoder(tmp_path / "run")
    query, passage = encoder.encode_queries(["a cat"]), encoder.encode_passages(["a cat"])
    assert np.allclose(query, passage) == (name != "kalm")  # its queries have an instruction before them


def test_sts_training_fits_its_scores(tiny_bert, tmp_path):
    pairs = [("a man plays", "a man plays", 5), ("a man plays", "the river", 0), ("the dog eats", "the dog eats", 5)]
    pairs += [("the dog eats", "old music", 0), ("a red house", "a red house", 5), ("a red house", "cat sleeps", 0)]
    data = tmp_path / "sts.tsv"
    lines = [f"{first}\t{second}\t{score}" for first, second, score in pairs * 8]
    data.write_text("sentence1\tsentence2\tscore\n" + "\n".join(lines) + "\n", encoding="utf-8")
    changes = {"model_settings": {"backbone": str(tiny_bert)}, "max_tokens": 32, "learning_rate": 3e-3, "epochs": 6}
    train(builtin_recipe("sbert-sts").changed(changes), data, tmp_path / "run")
    encoder = load_encoder(tmp_path / "run")
    first, second = (encoder.encode_passages([pair[side] for pair in pairs]) for side in (0, 1))
    first, second = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second))
    cosines = (first * second).sum(axis=1)
    assert cosines[::2] == pytest.approx(1.0)
    assert cosines[1::2].max() < 0.5


def test_sentences_spread_and_the_loss_falls(mirror, sentences, tmp_path):
    texts = sentences.read_text(encoding="utf-8").splitlines()

    def uniformity(model):
        vectors = torch.nn.functional.normalize(torch.tensor(model.encode(texts)), dim=1)
        # Wang and Isola (arXiv 2005.10242): lower is better.
        return {"uniformity": float(torch.pdist(vectors).square().mul(-2).exp().mean().log())}

    report = train(mirror.changed({"epochs": 4}), sentences, tmp_path / "run", evaluate=uniformity)
    assert report.after["uniformity"] < report.before["uniformity"] - 0.5
    assert report.losses[-1][1] < report.losses[0][1] / 2


@pytest.mark.parametrize(("warmup", "peak"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_the_learning_rate_rises_over_the_share_of_the_steps(mirror, sentences, tmp_path, monkeypatch, warmup, peak):
    rates = []
    original = DenseTrainer.compute_loss

    def compute_loss(self, *given, **options):
        rates.append(self.optimizer.param_groups[0]["lr"])
        return original(self, *given, **options)

    monkeypatch.setattr(DenseTrainer, "compute_loss", compute_loss)
    train(mirror.changed({"warmup": warmup, "schedule": "linear"}), sentences, tmp_path / "run")
    expected = [step / peak if step < peak else (6 - step) / (6 - peak) for step in range(6)]
    assert rates == pytest.approx([1e-3 * share for share in expected])


def test_the_prompts_of_a_backbone_stand_before_texts_in_training_too(tiny_bert, tuples, tmp_path):
    from retrieval.training.builders.encoder import build_model

    model = build_model(backbone=str(tiny_bert))
    model.save_pretrained(str(tmp_path / "plain"))
    model.prompts = {"query": "the dog reads ", "document": "a river is "}
    model.save_pretrained(str(tmp_path / "prompted"))
    rows = [json.loads(line) for line in tuples.read_text(encoding="utf-8").splitlines()]
    (tmp_path / "with.tsv").write_text(
        "query\tpositive\n" + "".join(f"the dog reads {row['query']}\ta river is {row['positive']}\n" for row in rows),
        encoding="utf-8",
    )

    def trained(name, data):
        changes = {"model_settings": {"backbone": str(tmp_path / name)}, "batch_size": 8, "max_tokens": 64}
        train(builtin_recipe("pairs").changed({**changes, "learning_rate": 1e-3}), data, tmp_path / f"of-{name}")
        return weights(tmp_path / f"of-{name}")

    assert same(trained("prompted", tuples), trained("plain", tmp_path / "with.tsv"))


def test_a_limit_draws_at_random_with_the_seed(mirror, sentences, tmp_path):
    first = train(mirror.changed({"limit": 8}), sentences, tmp_path / "a")
    assert first.steps == 1
    again = train(mirror.changed({"limit": 8}), sentences, tmp_path / "b")
    other = train(mirror.changed({"limit": 8, "seed": 3}), sentences, tmp_path / "c")
    assert first.losses == again.losses != other.losses


def test_truncated_vectors_are_those_that_a_truncated_index_searches(tiny_bert, tuples, tmp_path):
    from retrieval import Collection

    changes = {
        "model_settings": {"backbone": str(tiny_bert), "pooling": "mean"},
        "loss": "matryoshka",
        "loss_settings": {"dimensions": [32, 8]},
        "data": "pairs",
    }
    train(builtin_recipe("pairs").changed({**changes, "batch_size": 8, "max_tokens": 32}), tuples, tmp_path / "run")
    whole = load_encoder(tmp_path / "run")
    texts = ["a man plays the guitar", "the dog eats", "a red house"]
    cut = whole.encode_passages(texts)[:, :8]
    cut /= np.linalg.norm(cut, axis=1, keepdims=True)
    encoder = load_encoder(tmp_path / "run", truncate_dim=8)
    with Collection.create(tmp_path / "x.index", encoder=encoder) as collection:
        collection.add([{"id": str(number), "text": text} for number, text in enumerate(texts)])
        hits = collection.search(texts[0], mode="dense", k=3)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        {str(number): float(cut[0] @ cut[number]) for number in range(3)}, abs=1e-5
    )


def test_several_sources_are_tasks_of_one_batch_each(tiny_bert, tuples, tmp_path):
    second = tmp_path / "second.jsonl"
    shutil.copy(tuples, second)
    changes = {"model_settings": {"backbone": str(tiny_bert)}, "batch_size": 8, "homogeneous": 1.0, "max_tokens": 32}
    report = train(builtin_recipe("pairs").changed(changes), [tuples, second], tmp_path / "run")
    assert report.counts == {"tuples.jsonl": 40, "second.jsonl": 40}
    assert report.steps == 10


def test_texts_that_fill_the_limit_are_counted(mirror, tmp_path):
    data = tmp_path / "sentences.txt"
    data.write_text("the dog eats\na cat sleeps in the old house\nthe man\n" + "the " * 40, encoding="utf-8")
    report = train(mirror.changed({"max_tokens": 9, "span_characters": 0}), data, tmp_path / "run")
    # With [CLS] and [SEP]: 5, 9, 4 and 42 tokens.
    assert report.full_texts == 0.5
    assert "50.0% of the texts had as many tokens as are read" in (tmp_path / "run" / "README.md").read_text()


def test_precisions_may_follow_each_other_in_a_process(mirror, sentences, tmp_path):
    weights_of = {}
    for name, precision in {"a": "fp32", "b": "bf16", "c": "auto"}.items():
        report = train(mirror.changed({"precision": precision}), sentences, tmp_path / name, device="cpu")
        assert report.execution == {"device": "cpu", "precision": "bf16" if precision == "bf16" else "fp32"}
        weights_of[name] = weights(tmp_path / name)
    assert same(weights_of["a"], weights_of["c"])
    assert not same(weights_of["a"], weights_of["b"])
    assert all(tensor.dtype == torch.float32 for tensor in weights_of["b"].values())


def test_the_trained_encoder_is_compared_with_one_that_reads_as_much(mirror, sentences, tmp_path):
    read = []
    recipe = mirror.changed({"encoder_tokens": 40, "max_steps": 1})

    def evaluate(model):
        read.append(model.max_seq_length)
        return {}

    report = train(recipe, sentences, tmp_path / "out", evaluate=evaluate)
    assert read == [40, 40]
    train(mirror.changed({"max_steps": 1}), sentences, tmp_path / "plain")
    assert same(weights(tmp_path / "out"), weights(tmp_path / "plain"))
    assert load_encoder(report.out).max_tokens == 40


class TestWrongUse:
    def test_an_encoder_cannot_read_more_than_it_has_positions_for(self, mirror, sentences, tmp_path, monkeypatch):
        monkeypatch.setattr(DenseTrainer, "train", lambda *_given, **_settings: pytest.fail("hours of training"))
        with pytest.raises(EncoderError, match=r"max_tokens is 100000, but this model reads 1 to"):
            train(mirror.changed({"encoder_tokens": 100_000}), sentences, tmp_path / "out")

    def test_a_device_that_is_not_there(self, mirror, sentences, tmp_path):
        with pytest.raises(TrainingError, match="cannot train on device 'abacus'"):
            train(mirror, sentences, tmp_path / "run", device="abacus")
        assert not (tmp_path / "run").exists()  # nothing was read for it

    @pytest.mark.parametrize(
        "fault", [{"model_settings": {"backbone": "/nowhere"}}, {"loss_settings": {"temperature": 1e-45}}]
    )
    def test_a_fault_before_the_first_checkpoint_leaves_the_folder_free(self, mirror, sentences, tmp_path, fault):
        with pytest.raises(RetrievalError):
            train(mirror.changed(fault), sentences, tmp_path / "run")
        assert train(mirror.changed({"max_steps": 1}), sentences, tmp_path / "run").steps == 1

    def test_a_missing_extra_is_named(self, mirror, sentences, tmp_path, monkeypatch):
        import importlib.util

        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "accelerate" else find(name))
        with pytest.raises(MissingExtraError, match=r"pip install 'retrieval-engine\[train\]'"):
            train(mirror, sentences, tmp_path / "run")

    def test_settings_are_checked_before_anything_is_read(self, mirror, tmp_path):
        with pytest.raises(RecipeError, match="did you mean 'temperature'"):
            train(mirror.changed({"loss_settings": {"temprature": 1}}), tmp_path / "nothing", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_data_of_another_kind(self, mirror, sentences, tmp_path):
        recipe = mirror.changed({"data": "scored", "loss": "cosine-regression"})
        with pytest.raises(TrainingDataError, match=r"sentences\.txt:1: no column with a first sentence"):
            train(recipe, sentences, tmp_path / "run")

    def test_a_folder_with_something_in_it(self, mirror, sentences, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(TrainingError, match="is not empty"):
            train(mirror, sentences, tmp_path / "run")

    def test_two_processes_do_not_train_into_one_folder(self, mirror, sentences, tmp_path, monkeypatch):
        def begin_a_second_run(run, evaluate, *, goes_on):
            with pytest.raises(LockedError, match="is being written"):
                train(mirror, sentences, tmp_path / "run", resume=True)
            raise Interrupted

        monkeypatch.setattr(Run, "train", begin_a_second_run)
        with pytest.raises(Interrupted):
            train(mirror, sentences, tmp_path / "run")
        monkeypatch.undo()
        assert train(mirror, sentences, tmp_path / "run", resume=True).steps > 0

    def test_a_recipe_without_a_loss_of_that_name(self, sentences, tmp_path):
        with pytest.raises(RecipeError, match=r"unknown loss 'info-ncee' \(did you mean 'info-nce'\?\)"):
            train(Recipe(name="x", loss="info-ncee"), sentences, tmp_path / "run")
