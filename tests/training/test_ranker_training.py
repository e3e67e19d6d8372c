"""Rerankers are trained: they learn a planted rule, folders score as networks do, and runs resume, stop and refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from retrieval.cli.training_measures import measurer
from retrieval.encoders.embedded import EMBEDDED
from retrieval.errors import RecipeError, RerankerError, TrainingDataError, TrainingError
from retrieval.models.rankers.duo import DuoNetwork
from retrieval.models.rankers.mono import MonoNetwork
from retrieval.rerankers import Candidates, load_reranker
from retrieval.training import builtin_recipe, registry, train
from retrieval.training.losses.pointwise_cross_entropy import pointwise_cross_entropy
from retrieval.training.ranker_trainer import RankerTrainer
from retrieval.training.ranking_collation import RankingCollator
from retrieval.training.ranking_loss import RankingLoss
from tests.training.planted import save_bert, write_test_set, write_training_data
from tests.training.test_runner import Interrupted, same, weights

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LEARNING = {"batch_size": 16, "dropout": 0.0, "schedule": "constant_with_warmup"}
BUDGETS = {"mono": {"query_tokens": 8, "max_tokens": 24}, "duo": {"query_tokens": 4, "document_tokens": 8}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small BERT, training data and a test set."""
    root = tmp_path_factory.mktemp("planted")
    save_bert(root / "bert")
    write_training_data(root / "train.jsonl")
    write_training_data(root / "few.jsonl", n=40)
    write_test_set(root / "planted")
    return root


def recipe(kind, backbone, **changes):
    settings = {"model_settings": {"backbone": str(backbone), **BUDGETS[kind]}, **LEARNING}
    return builtin_recipe(kind).changed({**settings, **changes})


@pytest.fixture(scope="module")
def trained(place):
    """Reports of a pointwise reranker, and of a pairwise one that goes on from it; both are measured."""
    measure = measurer([str(place / "planted")], None)
    mono = recipe("mono", place / "bert", learning_rate=3e-3, epochs=4)
    reports = {"mono": train(mono, place / "train.jsonl", place / "mono", evaluate=measure)}
    duo = recipe("duo", place / "mono", learning_rate=1e-3, epochs=3)
    reports["duo"] = train(duo, place / "train.jsonl", place / "duo", evaluate=measure)
    return reports


@pytest.fixture(scope="module")
def lists(place):
    """Queries of the test set and the six passages of each one's topic, in an order that says nothing."""
    rows = {
        name: [json.loads(line) for line in (place / "planted" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("queries", "corpus")
    }
    candidates = []
    for query in rows["queries"]:
        of_topic = [row for row in rows["corpus"] if row["_id"].startswith(query["_id"])]
        texts = [row["text"] for row in of_topic]
        candidates.append(Candidates([row["_id"] for row in of_topic], texts, np.zeros(len(texts))))
    return [query["text"] for query in rows["queries"]], candidates


def network_scores(network, queries, passages, rows):
    """Score each row alone: no padding, no batches."""
    network.eval()
    prepared = network.prepare(queries, passages, np.array(rows))
    with torch.inference_mode():
        return np.array([float(network(prepared.features(np.array([row])))) for row in range(len(rows))])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mono", "duo"])
def test_a_planted_rule_is_learnt(trained, kind):
    """What BM25 puts last is first, for topics that were not trained on."""
    before, after = trained[kind].before, trained[kind].after
    n = {"mono": 100, "duo": 10}[kind]
    alone, reranked = "planted test, BM25 alone RR@10 (n=12)", f"planted test, BM25's {n} reranked RR@10 (n=12)"
    assert after[alone] == before[alone] == pytest.approx(0.2)  # four passages that hold the topic twice come first
    assert after[reranked] == pytest.approx(1.0)
    assert after[reranked.replace("RR", "nDCG")] == pytest.approx(1.0)
    if kind == "mono":
        assert before[reranked] < 0.9  # of the untrained head
    card = (trained[kind].out / "README.md").read_text(encoding="utf-8")
    assert f"| {reranked} |" in card
    assert f"--reranker {kind}=" in card
    assert "pipeline_tag: text-ranking" in card
    assert ("CrossEncoder" in card) == (kind == "mono")


@pytest.mark.slow
def test_a_rule_is_learnt_from_passages_of_documents(place, tmp_path, lists):
    """PARADE: what counts stands in some passage of four words."""
    passages = {"words": 4, "overlap": 1, "passages": 4, "max_tokens": 16, "query_tokens": 8, "layers": 1}
    settings = {"backbone": str(place / "bert"), **passages}
    learning = {**LEARNING, "accumulation": 1, "learning_rate": 3e-3, "epochs": 6, "model_settings": settings}
    report = train(builtin_recipe("parade").changed(learning), place / "train.jsonl", tmp_path / "parade")
    assert report.losses[-1][1] < 0.8 * report.losses[0][1]  # of one batch, which varies with the processor
    found = load_reranker(tmp_path / "parade", device="cpu").score(*lists)
    firsts = [given.ids[int(np.argmax(scores))] for given, scores in zip(lists[1], found, strict=True)]
    assert np.mean([name.endswith(("-0", "-1")) for name in firsts]) >= 0.9


@pytest.mark.slow
def test_the_probabilities_of_both_orders_add_up_to_one(trained, lists):
    """Nothing in the network makes them; training in both orders does, on held-out pairs."""
    matrices = load_reranker(trained["duo"].out, device="cpu").probabilities(*lists)
    deviations = []
    for given, matrix in zip(lists[1], matrices, strict=True):
        relevant = np.array([name.endswith(("-0", "-1")) for name in given.ids])
        better = relevant[:, None] & ~relevant  # (6, 6)
        assert (matrix[better] > 0.5).all()
        deviations.append(np.abs((matrix + matrix.T)[better] - 1))
    assert np.mean(deviations) < 0.2  # 0.02 as a rule, 0.12 in one run on a busy machine


@pytest.mark.slow
def test_the_folder_scores_as_the_network_and_as_a_cross_encoder(trained, lists):
    from sentence_transformers import CrossEncoder

    queries, candidates = lists
    network = MonoNetwork.load(trained["mono"].out)
    found = load_reranker(trained["mono"].out, device="cpu").score(queries, candidates)
    plain = CrossEncoder(str(trained["mono"].out), device="cpu")
    for query, given, scores in zip(queries, candidates, found, strict=True):
        own = network_scores(network, [query], given.texts, [(0, row) for row in range(len(given))])
        np.testing.assert_allclose(scores, own, atol=1e-5)
        np.testing.assert_allclose(plain.predict([(query, text) for text in given.texts]), own, atol=1e-5)
    assert np.ptp(np.concatenate(found)) > 1


@pytest.mark.slow
def test_a_pairwise_folder_compares_as_the_network(trained, lists):
    queries, candidates = lists
    network = DuoNetwork.load(trained["duo"].out)
    matrices = load_reranker(trained["duo"].out, device="cpu").probabilities(queries, candidates)
    rows = [(0, i, j) for i in range(6) for j in range(6) if i != j]
    for query, given, matrix in zip(queries[:3], candidates, matrices, strict=False):
        own = 1 / (1 + np.exp(-network_scores(network, [query], given.texts, rows)))
        np.testing.assert_allclose([matrix[i, j] for _, i, j in rows], own, atol=1e-5)


# --------------------------------------------------------------------------------------------- what a folder remembers


@pytest.mark.parametrize("labels", [1, 2])
def test_an_untrained_folder_reads_as_much_as_its_network(place, tmp_path, labels):
    """Budgets and the head are kept; of two logits the difference ranks as the probability that the reranker gives."""
    build = registry.find("builders", "mono", "build_model")
    torch.manual_seed(3)
    network = build(backbone=str(place / "bert"), labels=labels, query_tokens=6, max_tokens=14)
    network.save(tmp_path / "mono")
    reranker = load_reranker(tmp_path / "mono", device="cpu")
    assert (reranker.identity()["query_tokens"], reranker.identity()["max_tokens"]) == (6, 14)
    queries = ["whither oaka", "whom " * 9]
    texts = ["oaka harbour", "green oaka " * 12, "silver sister"]
    candidates = [Candidates(["a", "b", "c"], texts, np.zeros(3))] * 2
    for query, scores in zip(queries, reranker.score(queries, candidates), strict=True):
        own = network_scores(network, [query], texts, [(0, 0), (0, 1), (0, 2)])
        expected = own if labels == 1 else -np.logaddexp(0, -own)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    again = MonoNetwork.load(tmp_path / "mono")
    assert same(dict(network.state_dict()), dict(again.state_dict()))
    assert (again.query_tokens, again.max_tokens) == (6, 14)
    shorter = load_reranker(tmp_path / "mono", max_tokens=8, device="cpu")
    assert (shorter.identity()["query_tokens"], shorter.identity()["max_tokens"]) == (4, 8)


def test_a_reranker_learns_on_with_its_own_head(place, tmp_path):
    build = registry.find("builders", "mono", "build_model")
    torch.manual_seed(3)
    build(backbone=str(place / "bert"), labels=2).save(tmp_path / "mono")
    mono = build(backbone=str(tmp_path / "mono"))
    assert same(weights(tmp_path / "mono"), dict(mono.model.state_dict()))
    with pytest.raises(RerankerError, match="has 2 labels, not 1; leave labels out"):
        build(backbone=str(tmp_path / "mono"), labels=1)
    duo = registry.find("builders", "duo", "build_model")(backbone=str(tmp_path / "mono"), **BUDGETS["duo"])
    before, after = weights(tmp_path / "mono"), dict(duo.model.state_dict())
    for name, tensor in before.items():
        expected = tensor[[0, 1, 1]] if "token_type" in name else tensor
        assert torch.equal(after[name], expected), name
    duo.save(tmp_path / "duo")
    assert same(dict(DuoNetwork.load(tmp_path / "duo").state_dict()), dict(duo.state_dict()))


def test_an_encoder_may_have_heads_for_other_tasks(place, tmp_path):
    """As published BERTs have: the head for masked language is left out, a new one starts at random."""
    import shutil

    from transformers import BertConfig, BertForMaskedLM

    shutil.copytree(place / "bert", tmp_path / "bert")
    torch.manual_seed(5)
    BertForMaskedLM(BertConfig.from_pretrained(place / "bert")).save_pretrained(tmp_path / "bert")
    network = registry.find("builders", "mono", "build_model")(backbone=str(tmp_path / "bert"), max_tokens=24)
    stored = weights(tmp_path / "bert")
    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(network.model.state_dict()[name], stored[name])


def test_the_packaged_encoder_becomes_both():
    """By the defaults of the recipes, with the published budgets."""
    networks = {
        kind: registry.find("builders", kind, "build_model")(**builtin_recipe(kind).model_settings)
        for kind in ("mono", "duo")
    }
    assert builtin_recipe("mono").model_settings == {"backbone": EMBEDDED}
    assert (networks["mono"].query_tokens, networks["mono"].max_tokens) == (64, 512)
    assert (networks["duo"].budget.query, networks["duo"].budget.document) == (62, 223)
    prepared = networks["duo"].prepare(["what is it"], ["this " * 400, "that"], np.array([[0, 0, 1], [0, 1, 1]]))
    assert prepared.lengths.tolist() == [3 + 223 + 1 + 4, 3 + 1 + 1 + 4]
    features = prepared.features(np.arange(2))
    assert networks["duo"].full_rows(features) == 1
    with torch.inference_mode():
        assert networks["duo"].eval()(features).shape == (2,)


# ------------------------------------------------------------------------------------------------------------ batches


def example(number, n_negatives=2):
    negatives = {f"negative_{at}": f"oaka farmer {number} {at}" for at in range(1, n_negatives + 1)}
    return {"query": f"whither oak{'abc'[number]}", "positive": f"harbour {number}", **negatives}


class Recorder:
    """Stands where a network does and keeps what it is asked to prepare."""

    def __init__(self, passages_per_score):
        self.passages_per_score = passages_per_score

    def prepare(self, queries, passages, rows):
        from retrieval.encoders.model_inputs import PreparedTexts

        self.rows = [(queries[row[0]], *(passages[passage] for passage in row[1:])) for row in rows.tolist()]
        self.queries, self.passages = queries, passages
        return PreparedTexts(np.ones(len(rows)), lambda chosen: {"chosen": torch.from_numpy(chosen)})

    def full_rows(self, features):
        return int((features["chosen"] % 2).sum())


def test_a_batch_has_a_row_for_each_passage_the_positive_first():
    network = Recorder(1)
    collate = RankingCollator(network)
    shared = {**example(1), "query": example(0)["query"]}
    batch = collate([example(0), shared])
    texts = [text for each in (example(0), shared) for name, text in each.items() if name != "query"]
    assert network.rows == [(example(0)["query"], text) for text in texts]
    assert network.queries == [example(0)["query"]]  # once
    assert batch["n_tuples"] == 2
    assert batch["chosen"].tolist() == list(range(6))
    assert "labels" not in batch
    assert (collate.texts, collate.full) == (6, 3)


def test_a_pairwise_batch_has_both_orders_of_each_negative():
    network = Recorder(2)
    batch = RankingCollator(network)([example(0), example(2, n_negatives=2)])
    expected = []
    for each in (example(0), example(2)):
        for name in ("negative_1", "negative_2"):
            expected.append((each["query"], each["positive"], each[name]))
            expected.append((each["query"], each[name], each["positive"]))
    assert network.rows == expected
    assert batch["n_tuples"] == 2


def test_a_teachers_scores_become_labels():
    batch = RankingCollator(Recorder(1))([{**example(number), "scores": [3.0, number, -1.5]} for number in (0, 1)])
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == [[3.0, 0.0, -1.5], [3.0, 1.0, -1.5]]


# ---------------------------------------------------------------------------------------------------------------- runs


def interrupt_after(monkeypatch, steps):
    original = RankerTrainer.compute_loss

    def compute_loss(self, *given, **options):
        if self.state.global_step >= steps:
            raise Interrupted
        return original(self, *given, **options)

    monkeypatch.setattr(RankerTrainer, "compute_loss", compute_loss)


@pytest.mark.parametrize("kind", ["mono", "duo"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(place, tmp_path, monkeypatch, kind):
    """With dropout, gradients over two batches and a checkpoint inside an epoch."""
    changes = {"dropout": None, "accumulation": 2, "batch_size": 5, "epochs": 2, "checkpoint_steps": 3}
    short = recipe(kind, place / "bert", learning_rate=1e-3, **changes)
    whole = train(short, place / "few.jsonl", tmp_path / "whole")
    assert whole.steps == 8
    with monkeypatch.context() as patches:
        interrupt_after(patches, 5)
        with pytest.raises(Interrupted):
            train(short, place / "few.jsonl", tmp_path / "broken")
    pickles = [path.name for path in (tmp_path / "broken").rglob("*") if path.name == "training_args.bin"]
    assert pickles == []
    report = train(short, place / "few.jsonl", tmp_path / "broken", resume=True)
    assert report.resumed
    assert report.losses == whole.losses
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(place, tmp_path):
    short = recipe("mono", place / "bert", max_steps=2)
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        train(short.changed({"seed": seed}), place / "few.jsonl", tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_batches_that_are_added_up_are_one_batch(place, tmp_path):
    """The mean over a batch is the mean over its two halves, up to rounding, so that one step is the same."""
    one = recipe("mono", place / "bert", max_steps=1, batch_size=40, learning_rate=1e-3, warmup=0.0)
    train(one, place / "few.jsonl", tmp_path / "one")
    train(one.changed({"batch_size": 20, "accumulation": 2}), place / "few.jsonl", tmp_path / "two")
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    started = weights(place / "bert")
    moved = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.allclose(first[moved], started[moved.removeprefix("bert.")], atol=1e-4)
    differences = torch.cat([(first[name] - second[name]).flatten().abs() for name in first])
    assert float(differences.mean()) < 1e-5  # Adam's first step is a sign, which rounding can turn where it is 0


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(place, tmp_path, monkeypatch):
    from retrieval.training.losses import pointwise_cross_entropy as module

    original, calls = module.pointwise_cross_entropy, []

    def broken(scores, teacher=None):
        calls.append(None)
        return original(scores) * (float("nan") if len(calls) > 3 else 1.0)

    monkeypatch.setattr(module, "pointwise_cross_entropy", broken)
    short = recipe("mono", place / "bert", batch_size=8, checkpoint_steps=2)
    with pytest.raises(TrainingError, match=r"the loss is nan in step 4; the last good checkpoint is .*-2"):
        train(short, place / "few.jsonl", tmp_path / "run")
    stored = load_file(tmp_path / "run" / "run" / "checkpoints" / "checkpoint-2" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in stored.values())
    monkeypatch.setattr(module, "pointwise_cross_entropy", original)
    assert train(short, place / "few.jsonl", tmp_path / "run", resume=True).steps == 5


def test_mixed_precision_trains_full_weights(place, tmp_path):
    found = {}
    for precision in ("fp32", "bf16"):
        short = recipe("mono", place / "bert", precision=precision, max_steps=2)
        seen = []
        report = train(
            short,
            place / "few.jsonl",
            tmp_path / precision,
            evaluate=lambda network, seen=seen: seen.append(network) or {},
            device="cpu",
        )
        assert report.execution == {"device": "cpu", "precision": precision}
        found[precision] = weights(tmp_path / precision)
        # What is measured computes as what is loaded: not in mixed precision.
        args = (["whither oaka"], ["oaka harbour"], [(0, 0)])
        np.testing.assert_allclose(
            network_scores(seen[-1], *args), network_scores(MonoNetwork.load(report.out), *args), atol=1e-6
        )
    assert all(tensor.dtype == torch.float32 for tensor in found["bf16"].values())
    assert not same(found["fp32"], found["bf16"])


def test_the_report_says_what_was_cut(place, tmp_path):
    cut = recipe("mono", place / "bert", max_steps=1).changed({"model_settings": {"max_tokens": 8, "query_tokens": 4}})
    report = train(cut, place / "few.jsonl", tmp_path / "run")
    assert report.kind == "mono"
    assert report.full_texts == 1.0  # a query and its passage are ten tokens
    assert "100.0% of the inputs had as many tokens" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


class Scaled(RankingLoss):
    """A loss with a weight of its own, which has a learning rate of its own, as has the network's head."""

    def __init__(self, model):
        super().__init__(model, lambda scores, _: pointwise_cross_entropy(scores * self.scale), needs_teacher=False)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def learning_rates(self, rate):
        return {r"^scale$": 0.1, r"model\.classifier\.": rate / 2}

    def begin_step(self, step, steps):
        self.steps = (step, steps)

    def notes(self):
        return {"scale": float(self.scale), "steps": self.steps}


def test_a_loss_learns_at_a_rate_of_its_own_and_is_resumed(place, tmp_path, monkeypatch):
    from retrieval.training.losses import pointwise_cross_entropy as module

    rates = []
    original = RankerTrainer.create_optimizer

    def create_optimizer(self, model=None):
        optimizer = original(self, model)
        names = {id(parameter): name for name, parameter in self.loss.named_parameters()}
        for group in optimizer.param_groups:
            rates.extend((names[id(parameter)], group["lr"], group["weight_decay"]) for parameter in group["params"])
        return optimizer

    monkeypatch.setattr(module, "build_loss", lambda model: Scaled(model))  # noqa: PLW0108
    short = recipe("mono", place / "bert", batch_size=8, checkpoint_steps=2, learning_rate=1e-3)
    with monkeypatch.context() as patches:
        patches.setattr(RankerTrainer, "create_optimizer", create_optimizer)
        whole = train(short, place / "few.jsonl", tmp_path / "whole")
    found = {name: settings for name, *settings in rates}
    assert found["scale"] == [0.1, 0.01]
    assert found["model.model.classifier.weight"] == [5e-4, 0.01]
    assert found["model.model.classifier.bias"] == [5e-4, 0.0]
    assert found["model.model.bert.pooler.dense.weight"] == [1e-3, 0.01]
    assert len(found) == len(rates) == 1 + len(list(MonoNetwork.load(tmp_path / "whole").parameters()))
    assert abs(whole.notes["scale"] - 1) > 0.05
    assert whole.notes["steps"] == (4, 5)
    with monkeypatch.context() as patches:
        interrupt_after(patches, 3)
        with pytest.raises(Interrupted):
            train(short, place / "few.jsonl", tmp_path / "broken")
    resumed = train(short, place / "few.jsonl", tmp_path / "broken", resume=True)
    assert resumed.notes == whole.notes
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


class TestWrongUse:
    def test_a_learning_rate_for_nothing(self, place, tmp_path, monkeypatch):
        from retrieval.training.losses import pointwise_cross_entropy as module

        class Mistaken(Scaled):
            def learning_rates(self, rate):
                return {"kernels": rate}

        monkeypatch.setattr(module, "build_loss", lambda model: Mistaken(model))  # noqa: PLW0108
        with pytest.raises(TrainingError, match="a learning rate is set for parameters 'kernels'"):
            train(recipe("mono", place / "bert"), place / "few.jsonl", tmp_path / "run")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model_settings": {"pooling": "mean"}}, "unknown setting 'pooling' in model_settings; valid settings"),
            ({"model_settings": {"label": 1}}, "did you mean 'labels'"),
            ({"model_settings": {"labels": 3}}, "labels in model_settings is 3"),
            ({"loss_settings": {"temperature": 1}}, "it has none"),
            ({"data": "pairs"}, "loss 'pointwise-cross-entropy' is for data of kind tuples"),
            ({"data": "pairs", "loss": "info-nce"}, "is trained on tuples, not on pairs"),
            ({"negatives": 0}, "set negatives to 1 or more"),
            ({"max_tokens": 128}, "max_tokens is 128, but is for encoders"),
            ({"encoder_tokens": 128}, "encoder_tokens is 128, but is for encoders"),
            ({"instruction": "Find it."}, "have an instruction, which a reranker does not see"),
            ({"loss": "info-nce"}, "loss 'info-nce' is for encoders, and model 'mono' is a reranker"),
            ({"loss": "matryoshka", "loss_settings": {}}, "'matryoshka'"),
            ({"loss": "pairwise-cross-entropy"}, "is for scores of pairs of passages, and model 'mono' scores single"),
        ],
    )
    def test_settings_that_do_not_fit_a_reranker(self, place, tmp_path, changes, message):
        with pytest.raises(RecipeError, match=message):
            train(recipe("mono", place / "bert").changed(changes), place / "few.jsonl", tmp_path / "run")

    def test_a_pairwise_network_and_a_pointwise_loss(self, place, tmp_path):
        changed = recipe("duo", place / "bert").changed({"loss": "pointwise-cross-entropy"})
        with pytest.raises(RecipeError, match="is for scores of single passages, and model 'duo' scores pairs"):
            train(changed, place / "few.jsonl", tmp_path / "run")

    def test_an_encoder_and_a_loss_for_pairs_of_passages(self, place, tmp_path):
        changes = {"model_settings": {"backbone": str(place / "bert")}, "loss": "pairwise-cross-entropy"}
        recipe = builtin_recipe("hard-negatives").changed({**changes, "max_tokens": 0})
        with pytest.raises(RecipeError, match="pairs of passages, and model 'encoder' scores single passages"):
            train(recipe, place / "few.jsonl", tmp_path / "run")

    def test_budgets_that_the_backbone_does_not_read(self, place, tmp_path):
        large = recipe("duo", place / "bert").changed({"model_settings": {"document_tokens": 40}})
        with pytest.raises(RerankerError, match=r"make inputs of 88 tokens, but model .* reads 48"):
            train(large, place / "few.jsonl", tmp_path / "run")

    def test_a_prompt_that_training_would_not_see(self, place, tmp_path):
        from sentence_transformers import CrossEncoder

        registry.find("builders", "mono", "build_model")(backbone=str(place / "bert")).save(tmp_path / "mono")
        model = CrossEncoder(str(tmp_path / "mono"), device="cpu", prompts={"q": "find: "}, default_prompt_name="q")
        model.save_pretrained(str(tmp_path / "prompted"))
        with pytest.raises(RerankerError, match="puts 'find: ' before queries, which training does not"):
            train(recipe("mono", tmp_path / "prompted"), place / "few.jsonl", tmp_path / "run")

    def test_a_reranker_with_modules_behind_its_network(self, place, tmp_path):
        """Its head is not in the network: it would start at random, without a word."""
        from sentence_transformers import CrossEncoder
        from sentence_transformers.base.modules import Dense, Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        names = {"module_input_name": "sentence_embedding", "module_output_name": "scores"}
        dense = Dense(32, 1, activation_function=torch.nn.Identity(), **names)
        model = CrossEncoder(modules=[Transformer(str(place / "bert")), Pooling(32), dense], device="cpu")
        model.save_pretrained(str(tmp_path / "several"))
        with pytest.raises(RerankerError, match="is more than a transformers network with a head"):
            train(recipe("mono", tmp_path / "several"), place / "few.jsonl", tmp_path / "run")

    def test_sentence_pairs_measure_no_reranker(self, place, tmp_path):
        sts = tmp_path / "sts.tsv"
        sts.write_text("score\tsentence1\tsentence2\n1\ta\tb\n0\ta\tc\n", encoding="utf-8")
        with pytest.raises(TrainingDataError, match="a reranker ranks documents; give a retrieval test set"):
            train(
                recipe("mono", place / "bert"),
                place / "few.jsonl",
                tmp_path / "run",
                evaluate=measurer([str(sts)], None),
            )
