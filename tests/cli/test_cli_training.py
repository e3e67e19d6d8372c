"""`retrieval train`: from a recipe and examples to a model that the other commands take."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from tests.cli.test_cli_startup import HEAVY, loaded_by
from tests.training.conftest import sentences, tiny_bert, tuples
from tests.training.planted import save_bert, write_test_set, write_training_data

__all__ = ["sentences", "tiny_bert", "tuples"]

PAIRS = [("the man plays", "the man plays", 10.0), ("the man plays", "a red house", 0.4), ("old dog", "new dog", 3.0)]


@pytest.fixture
def recipe(tmp_path, tiny_bert):
    """A recipe of a second."""
    path = tmp_path / "mine.toml"
    path.write_text(
        f'recipe = "mirror-bert"\nbatch_size = 8\nmax_tokens = 32\nlearning_rate = 1e-3\n'
        f'[model_settings]\nbackbone = "{tiny_bert}"\npooling = "mean"\n',
        encoding="utf-8",
    )
    return path


def test_help_loads_nothing_heavy():
    assert not loaded_by("train", "--help") & {*HEAVY, "numpy", "datasets", "accelerate", "rich", "msgspec"}


def test_a_run_that_is_measured_and_used(cli, recipe, sentences, tmp_path, corpus):
    sts = tmp_path / "sts.tsv"
    rows = [f"{score}\t{first}\t{second}" for first, second, score in PAIRS]
    sts.write_text("score\tsentence1\tsentence2\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = cli("train", recipe, "--data", sentences, "--out", tmp_path / "model", "--test", sts, "--seed", 7, "--json")
    assert done.status == 0, done.err
    report = done.json
    assert report["recipe"]["seed"] == 7
    assert report["steps"] == 6
    (name,) = report["after"]
    assert name == "sts.tsv Spearman (n=3)"
    from retrieval.encoders import load_encoder

    encoder = load_encoder(tmp_path / "model")
    first, second = (encoder.encode_passages([pair[side] for pair in PAIRS]) for side in (0, 1))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(first, second, strict=True)]
    assert report["after"][name] == pytest.approx(spearmanr(cosines, [pair[2] for pair in PAIRS]).statistic)
    assert cli("index", tmp_path / "x.index", corpus, "--encoder", tmp_path / "model").status == 0
    assert cli("search", tmp_path / "x.index", "csv", "--mode", "dense", "--json").json["hits"]


def test_for_people(cli, recipe, sentences, tmp_path):
    done = cli("train", recipe, "--data", sentences, "--out", tmp_path / "model")
    assert done.status == 0
    assert "trained mine: 6 steps in " in done.out
    assert f"wrote {tmp_path / 'model'}" in done.out
    assert done.err == "retrieval: sentences.txt: read 48 examples\n"


def test_a_retrieval_test_set_is_measured(cli, recipe, sentences, tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": str(number), "text": text} for number, text in enumerate(["the man plays", "red", "old dog"])]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "old dog"}), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t2\t1\n", encoding="utf-8")
    done = cli("train", recipe, "--data", sentences, "--out", tmp_path / "model", "--test", folder, "--json")
    assert done.status == 0, done.err
    # The query is the text of its document: rank one, whatever the encoder.
    expected = {f"beir test {name} (n=1)": 1.0 for name in ("nDCG@10", "RR@10", "R@100")}
    assert done.json["before"] == done.json["after"] == expected


@pytest.mark.parametrize(
    ("pooling", "weights"), [("convolution", "convolutions.0.weight"), ("weighted_cls", "mixing.weight")]
)
def test_a_pooling_that_learns(cli, tiny_bert, tuples, tmp_path, corpus, pooling, weights):
    settings = [f"model_settings.backbone={tiny_bert}", f"model_settings.pooling={pooling}", "max_tokens=32"]
    settings += ["batch_size=8", "learning_rate=1e-3"]
    found = []
    for steps in (1, 3):
        out = tmp_path / f"{steps}-steps"
        changes = [part for setting in (*settings, f"max_steps={steps}") for part in ("--set", setting)]
        done = cli("train", "pairs", "--data", tuples, "--out", out, "--json", *changes)
        assert done.status == 0, done.err
        assert done.json["steps"] == steps
        (path,) = out.glob("1_*/model.safetensors")
        found.append(load_file(path)[weights])
    assert not np.array_equal(*found)
    assert cli("index", tmp_path / "x.index", corpus, "--encoder", out).status == 0
    assert cli("search", tmp_path / "x.index", "csv", "--mode", "dense", "--json").json["hits"]


def test_a_reranker_is_measured_and_used(cli, tmp_path, corpus):
    folder = write_test_set(tmp_path / "planted")
    data, bert = write_training_data(tmp_path / "train.jsonl", n=32), save_bert(tmp_path / "bert")
    changes = (f"model_settings.backbone={bert}", "model_settings.max_tokens=24", "max_steps=1")
    settings = [part for change in changes for part in ("--set", change)]
    measuring = ["--test", folder, "--candidates", 3]
    done = cli("train", "mono", "--data", data, "--out", tmp_path / "model", *measuring, *settings, "--json")
    assert done.status == 0, done.err
    assert done.json["kind"] == "mono"
    alone, reranked = "planted test, BM25 alone RR@10 (n=12)", "planted test, BM25's 3 reranked RR@10 (n=12)"
    # Of each query's six documents BM25 puts the four that do not answer first: no order of three of them helps.
    assert done.json["before"][alone] == done.json["after"][alone] == pytest.approx(1 / 5)
    assert done.json["before"][reranked] == done.json["after"][reranked] == pytest.approx(1 / 5)
    assert cli("index", tmp_path / "x.index", corpus, "--no-dense").status == 0
    stages = ["--stages", "bm25:10,mono:5", "--reranker", f"mono={tmp_path / 'model'}"]
    assert cli("search", tmp_path / "x.index", "csv", *stages, "--json").json["hits"]
    sts = tmp_path / "sts.tsv"
    sts.write_text("score\tsentence1\tsentence2\n1\ta\tb\n0\ta\tc\n", encoding="utf-8")
    refused = cli("train", "mono", "--data", data, "--out", tmp_path / "other", "--test", sts, *settings)
    assert refused.status == 2
    assert "give a retrieval test set" in refused.error


def test_settings_on_the_command_line(cli, recipe, sentences, tmp_path):
    settings = ["--set", "loss_settings.temperature=0.2", "--set", "max_steps=2", "--set", "summary=my own"]
    done = cli("train", recipe, "--data", sentences, "--out", tmp_path / "model", *settings, "--json")
    assert done.json["steps"] == 2
    assert done.json["recipe"]["summary"] == "my own"
    assert done.json["recipe"]["loss_settings"] == {"temperature": 0.2, "positive_in_denominator": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["miror-bert"], "did you mean 'mirror-bert'"),
        (["mirror-bert", "--set", "sed=1"], "did you mean 'seed'"),
        (["mirror-bert", "--set", "seed"], "KEY=VALUE"),
        (["mirror-bert", "--set", "a b=1"], "KEY=VALUE"),
        (["mirror-bert", "--split", "dev"], "is a file and has no split 'dev'"),
        (["sbert-sts"], "no column with a first sentence"),
        (["mirror-bert", "--test", "nothing"], "nothing"),
        (["mono", "--candidates", "0"], "--candidates"),
    ],
)
def test_what_cannot_be_done_is_one_line(cli, sentences, tmp_path, arguments, words):
    done = cli("train", *arguments, "--data", sentences, "--out", tmp_path / "model")
    assert done.status == 2
    assert words in done.error


def test_a_missing_extra_is_named(cli, recipe, sentences, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else find(name))
    done = cli("train", recipe, "--data", sentences, "--out", tmp_path / "model")
    assert done.status == 2
    assert "pip install 'retrieval-engine[train]'" in done.error


def test_an_interrupted_run_goes_on(cli, recipe, sentences, tmp_path, monkeypatch):
    from retrieval.training.trainer import DenseTrainer

    arguments = ["train", recipe, "--data", sentences, "--set", "checkpoint_steps=1", "--out"]
    original = DenseTrainer.compute_loss

    def interrupted(self, *given, **options):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return original(self, *given, **options)

    with monkeypatch.context() as patches:
        patches.setattr(DenseTrainer, "compute_loss", interrupted)
        stopped = cli(*arguments, tmp_path / "broken")
        assert stopped.status == 130
        assert "--resume goes on from the last checkpoint" in stopped.err
        early = cli(*arguments, tmp_path / "early", "--set", "checkpoint_steps=0")
        assert "--resume begins anew, since there is no checkpoint yet" in early.err
    refused = cli(*arguments, tmp_path / "broken")
    assert refused.status == 2
    assert "resume" in refused.error
    assert cli(*arguments, tmp_path / "broken", "--resume").status == 0
    assert cli(*arguments, tmp_path / "whole").status == 0
    broken, whole = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("broken", "whole"))
    assert broken == whole
