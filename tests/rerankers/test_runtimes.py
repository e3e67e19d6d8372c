"""ONNX Runtime and OpenVINO run rerankers: PyTorch's scores, the same identity, another execution."""

from __future__ import annotations

import gc
import json
import logging
import shutil
import sys
import weakref
from itertools import pairwise

import numpy as np
import pytest

from retrieval import Collection
from retrieval.encoders import load_encoder
from retrieval.errors import MissingExtraError, RerankerError
from retrieval.rerankers import load_reranker
from retrieval.rerankers.duo import DuoBudget
from retrieval.rerankers.duo_folder import create_duo
from tests.rerankers.test_early_exit import with_off_ramps
from tests.rerankers.test_mono import candidates, texts_of
from tests.retrieval.test_runtimes_exported import PACKAGES, cache

__all__ = ["cache"]


def needs(runtime):
    for package in PACKAGES[runtime]:
        pytest.importorskip(package)


@pytest.fixture(params=PACKAGES)
def runtime(request, cache):
    needs(request.param)
    return request.param


@pytest.fixture(scope="module")
def lists():
    """Six queries with up to 9 candidates of up to 13 words; some have none, some texts are empty or come twice."""
    random = np.random.default_rng(3)
    given = [texts_of(random, n, 14) for n in (5, 0, 9, 1, 3, 2)]
    given[2][4], given[2][5] = given[2][0], ""
    return texts_of(random, 6, 5), [candidates(*texts) for texts in given]


@pytest.fixture(scope="module")
def duo(classifier, tmp_path_factory):
    return create_duo(classifier(labels=2), tmp_path_factory.mktemp("duo") / "model", budget=DuoBudget(12, 24))


def joined(scores):
    return np.concatenate(scores)


# ------------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("bert", {}), ("bert", {"labels": 2}), ("roberta", {}), ("distil", {})],
    ids=["one logit", "two logits", "roberta", "distil"],
)
def test_scores_are_those_of_pytorch(kind, settings, runtime, classifier, lists):
    folder = classifier(kind, **settings)
    ours, torch = (load_reranker(folder, runtime=name, device="cpu") for name in (runtime, "torch"))
    found, expected = ours.score(*lists), torch.score(*lists)
    assert [len(scores) for scores in found] == [len(given) for given in lists[1]]
    assert joined(expected).std() > 0.01  # scores that differ, so that a wrong order would show
    np.testing.assert_allclose(joined(found), joined(expected), atol=1e-5)
    np.testing.assert_allclose(joined(ours.logits(*lists)), joined(torch.logits(*lists)), atol=1e-5)
    assert found[2][4] == found[2][0], "equal texts of a query tie"
    assert (ours.identity(), ours.scores_are, ours.name) == (torch.identity(), torch.scores_are, torch.name)


def test_pairs_of_documents_are_compared_as_in_pytorch(runtime, duo, lists):
    ours, torch = (load_reranker(duo, runtime=name, device="cpu") for name in (runtime, "torch"))
    for found, expected in zip(ours.probabilities(*lists), torch.probabilities(*lists), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(joined(ours.score(*lists)), joined(torch.score(*lists)), atol=1e-4)  # sums
    assert ours.identity() == torch.identity()
    assert ours.execution()["runtime"] == runtime


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_company_changes_nothing(batch_tokens, runtime, classifier, lists):
    """Each query by itself, and batches of any size: the same scores up to rounding."""
    reranker = load_reranker(classifier(), runtime=runtime, batch_tokens=batch_tokens)
    for query, given, scores in zip(*lists, reranker.score(*lists), strict=True):
        np.testing.assert_allclose(reranker.score([query], [given])[0], scores, atol=1e-5)
        alone = [reranker.score([query], [candidates(text)])[0][0] for text in given.texts]
        np.testing.assert_allclose(alone, scores, atol=1e-5)


def test_a_model_that_reads_no_segments_of_its_tokenizer(runtime, classifier, lists, tmp_path):
    """A BERT whose tokenizer makes none: all tokens are of the first segment."""
    folder = shutil.copytree(classifier(), tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    found, expected = (joined(load_reranker(folder, runtime=name).score(*lists)) for name in (runtime, "torch"))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - joined(load_reranker(classifier(), runtime=runtime).score(*lists))).max() > 1e-3


def test_weights_in_half_precision_are_computed_with_in_fp32(classifier, lists, tmp_path, cache):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    needs("onnx")
    AutoModelForSequenceClassification.from_pretrained(classifier()).to(torch.float16).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(classifier()).save_pretrained(tmp_path)
    ours, expected = load_reranker(tmp_path, runtime="onnx", precision=None), load_reranker(tmp_path)
    np.testing.assert_allclose(joined(ours.score(*lists)), joined(expected.score(*lists)), atol=1e-5)
    assert ours.identity() == expected.identity()


# ----------------------------------------------------------------------------------------------------------- execution


def test_execution_names_runtime_and_version(runtime, classifier):
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[runtime]
    execution = load_reranker(classifier(), runtime=runtime, batch_tokens=77).execution()
    assert execution == {
        "precision": "fp32",
        "runtime": runtime,
        "device": "cpu",
        "batch_tokens": 77,
        package: sys.modules[package].__version__,
    }


def networks(cache):
    return {path: path.stat().st_mtime_ns for path in cache.rglob("network.onnx")}


def test_a_network_is_exported_once_for_all_runtimes(runtime, classifier, cache):
    load_reranker(classifier(), runtime=runtime)
    before = networks(cache)
    load_reranker(classifier(), runtime=runtime, max_tokens=30, prompt="query: ")
    for other in PACKAGES:
        needs(other)
        load_reranker(classifier(), runtime=other)
    assert networks(cache) == before, "token budgets and prompts are no part of a network"


def test_a_damaged_network_is_exported_again(classifier, lists, own_cache):
    needs("onnx")
    expected = load_reranker(classifier(), runtime="onnx").score(*lists)
    (network,) = networks(own_cache)
    network.write_bytes(network.read_bytes()[:-100] + bytes(100))
    np.testing.assert_array_equal(joined(load_reranker(classifier(), runtime="onnx").score(*lists)), joined(expected))


def test_an_encoder_of_the_same_weights_is_another_network(classifier, lists, cache):
    needs("onnx")
    encoder, reranker = (load(classifier(), runtime="onnx") for load in (load_encoder, load_reranker))
    assert encoder.encode_passages(["a document"]).shape == (1, 32)
    np.testing.assert_allclose(
        joined(reranker.score(*lists)), joined(load_reranker(classifier()).score(*lists)), atol=1e-5
    )


def test_what_weights_do_not_say_makes_another_network(classifier, lists, tmp_path, cache):
    """The same tensors under another activation."""
    needs("onnx")
    folder = shutil.copytree(classifier(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    plain, changed = (joined(load_reranker(each, runtime="onnx").score(*lists)) for each in (classifier(), folder))
    np.testing.assert_allclose(changed, joined(load_reranker(folder).score(*lists)), atol=1e-5)
    assert np.abs(plain - changed).max() > 1e-3


def test_nothing_of_pytorch_stays_in_memory(classifier, cache, monkeypatch):
    needs("onnx")
    from retrieval.rerankers import mono_loading

    load, loaded = mono_loading.load_classifier, []

    def remembered(*arguments, **settings):
        model, tokenizer = load(*arguments, **settings)
        loaded.append(weakref.ref(model))
        return model, tokenizer

    monkeypatch.setattr(mono_loading, "load_classifier", remembered)
    reranker = load_reranker(classifier(), runtime="onnx")
    gc.collect()
    assert loaded[0]() is None
    assert len(reranker.score(["a"], [candidates("b")])[0]) == 1


def test_a_batch_that_memory_does_not_hold_is_split(classifier, lists, cache, monkeypatch, caplog):
    needs("onnx")
    reranker = load_reranker(classifier(), runtime="onnx")
    expected = joined(reranker.score(*lists))
    inner = reranker._classifier._runtime
    run = inner.run

    def cramped(batch):
        if len(batch.lengths) > 2:
            raise MemoryError("no room")
        return run(batch)

    monkeypatch.setattr(inner, "run", cramped)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(joined(reranker.score(*lists)), expected, atol=1e-5)
    assert "it is run again in halves" in caplog.text


def test_a_closed_reranker_says_so(runtime, classifier):
    reranker = load_reranker(classifier(), runtime=runtime)
    reranker.close()
    for use in (lambda: reranker.score(["a"], [candidates("b")]), reranker.execution):
        with pytest.raises(RerankerError, match="the reranker is closed; load it again"):
            use()


# ---------------------------------------------------------------------------------------------------------- precisions


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_onnx_in_eight_bits(kind, classifier, lists, cache):
    needs("onnx")
    eight, exact = load_reranker(classifier(kind), runtime="onnx", precision="int8"), load_reranker(classifier(kind))
    assert (eight.execution()["precision"], eight.identity()) == ("int8", exact.identity())
    found, expected = joined(eight.score(*lists)), joined(exact.score(*lists))
    assert np.corrcoef(found, expected)[0, 1] > 0.9
    assert np.abs(found - expected).max() > 1e-5


def test_openvino_in_bf16(classifier, lists, cache):
    needs("openvino")
    openvino = sys.modules["openvino"]
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(RerankerError, match=r"cannot be run by openvino: this processor has no units for bf16"):
            load_reranker(classifier(), runtime="openvino", precision="bf16")
        return
    half, exact = load_reranker(classifier(), runtime="openvino", precision="bf16"), load_reranker(classifier())
    assert half.execution()["precision"] == "bf16"
    assert np.corrcoef(joined(half.score(*lists)), joined(exact.score(*lists)))[0, 1] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_openvino_in_eight_bits(kind, classifier, lists, cache):
    needs("openvino")
    pytest.importorskip("nncf")
    pairs = [(query, text) for query, given in zip(*lists, strict=True) for text in given.texts]
    eight = load_reranker(classifier(kind), runtime="openvino", precision="int8", calibration=pairs)
    exact = load_reranker(classifier(kind))
    assert (eight.execution()["precision"], eight.identity()) == ("int8", exact.identity())
    found = eight.score(*lists)
    assert np.corrcoef(joined(found), joined(exact.score(*lists)))[0, 1] > 0.9
    for query, given, scores in zip(*lists, found, strict=True):  # ranges do not hang on the batch
        np.testing.assert_allclose(eight.score([query], [given])[0], scores, atol=0.02 * joined(found).std())
    other = load_reranker(classifier(kind), runtime="openvino", precision="int8", calibration=pairs[:5])
    assert eight.execution()["calibration"] != other.execution()["calibration"], "other ranges, other scores"


@pytest.mark.slow
def test_pairs_of_documents_in_eight_bits(duo, lists, cache):
    needs("openvino")
    pytest.importorskip("nncf")
    triples = [
        [query, *texts]
        for query, given in zip(*lists, strict=True)
        for texts in (*pairwise(given.texts), *pairwise(reversed(given.texts)))
    ]
    eight = load_reranker(duo, runtime="openvino", precision="int8", calibration=triples)
    found, expected = (
        joined([each[~np.isnan(each)] for each in reranker.probabilities(*lists)])
        for reranker in (eight, load_reranker(duo))
    )
    assert np.corrcoef(found, expected)[0, 1] > 0.8
    assert np.abs(found - expected).max() > 1e-5


# ------------------------------------------------------------------------------------------- where rerankers are named


def test_in_a_pipeline_and_a_composed_file(classifier, cache, tmp_path):
    needs("onnx")
    (tmp_path / "birch.toml").write_text(
        f'kind = "birch"\nreranker = {{model = "{classifier()}", runtime = "onnx", batch_tokens = 99}}\n'
    )
    reranker = load_reranker(tmp_path / "birch.toml")
    with Collection.create(tmp_path / "index", encoder=None) as collection:
        collection.add({"id": str(n), "text": text} for n, text in enumerate(["a query of words", "the word", "model"]))
        for stage, here, torch in (
            ("mono", load_reranker(classifier(), runtime="onnx"), load_reranker(classifier())),
            ("mono", reranker, None),
        ):
            hits = collection.search("word", stages=f"bm25:3,{stage}:3", rerankers={stage: here})
            if torch is not None:
                same = collection.search("word", stages=f"bm25:3,{stage}:3", rerankers={stage: torch})
                assert [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in same] == [(h.id, h.score) for h in hits]
    assert reranker.execution()["reranker"]["runtime"] == "onnx"


# ----------------------------------------------------------------------------------------------- what is not to be had


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runtime": "tensorrt"}, "unknown runtime 'tensorrt': one of torch, onnx, openvino"),
        ({"runtime": 3}, "runtime is 3; give a text"),
        ({"runtime": "onnx", "precision": "bf16"}, "runtime 'onnx' has no precision 'bf16': one of fp32, int8"),
        ({"runtime": "onnx", "device": "cuda"}, "computes on the processor, not on 'cuda'; leave device out"),
        ({"runtime": "onnx", "batch_tokens": 0}, "batch_tokens must be at least 1, not 0"),
        (
            {"runtime": "onnx", "calibration": [("a", "b")]},
            "calibration is for runtime='openvino' with precision='int8'",
        ),
        ({"calibration": [("a", "b")]}, "calibration is for runtime='openvino' with precision='int8'"),
        (
            {"runtime": "openvino", "precision": "int8"},
            "give calibration= some hundred pairs of a query and a document, or",
        ),
        (
            {"runtime": "openvino", "precision": "int8", "calibration": "ab"},
            "calibration is 'ab'; give a list of pairs",
        ),
        (
            {"runtime": "openvino", "precision": "int8", "calibration": [("a", "b", "c")]},
            r"calibration holds \('a', 'b', 'c'\); give pairs of a query and a document",
        ),
        ({"runtime": "onnx", "exit_entropy": 0.1}, "exit_entropy is 0.1, but only PyTorch lets candidates leave"),
    ],
)
def test_settings_that_do_not_fit(settings, message, classifier, cache):
    if settings.get("runtime") in PACKAGES:
        needs(settings["runtime"])
    with pytest.raises(RerankerError, match=message):
        load_reranker(classifier(), **settings)


def test_a_pairwise_reranker_is_calibrated_with_triples(duo, cache):
    needs("openvino")
    for calibration in (None, [("a", "b")]):
        with pytest.raises(RerankerError, match="triples of a query and two documents"):
            load_reranker(duo, runtime="openvino", precision="int8", calibration=calibration)


def test_models_that_make_their_input_themselves(runtime, classifier):
    with pytest.raises(
        RerankerError, match=rf"cannot be run by {runtime}: it makes its input itself, .*leave runtime out"
    ):
        load_reranker(classifier("causal"), runtime=runtime)


def test_models_with_off_ramps_run_whole_or_in_pytorch(classifier, lists, tmp_path, cache):
    needs("onnx")
    folder = with_off_ramps(tmp_path / "model", classifier(layers=3))
    whole = load_reranker(folder, runtime="onnx")
    np.testing.assert_allclose(joined(whole.score(*lists)), joined(load_reranker(folder).score(*lists)), atol=1e-5)
    with pytest.raises(RerankerError, match="not runtime 'onnx'; leave one of them out"):
        load_reranker(folder, runtime="onnx", exit_entropy=0)


def test_networks_that_cannot_be_exported(runtime, classifier, capfd):
    with pytest.raises(
        RerankerError, match=r"PyTorch cannot export this network \(.*\), but can run it: leave runtime"
    ):
        load_reranker(classifier("alibi"), runtime=runtime)
    said = capfd.readouterr()
    assert "def forward" not in said.out + said.err, "the exporter shows its graph on the terminal"


def test_other_networks_and_loaded_models(classifier, tmp_path):
    from sentence_transformers import CrossEncoder

    (tmp_path / "reranker.json").write_text('{"kind": "colbert"}')
    (tmp_path / "config.json").write_text("{}")
    for specification, kind in (
        (tmp_path, "a reranker of kind 'colbert'"),
        (CrossEncoder(str(classifier()), device="cpu"), "a model that is loaded already"),
    ):
        with pytest.raises(
            RerankerError, match=f"'runtime' is no setting of {kind}: it runs in PyTorch; give it for the"
        ):
            load_reranker(specification, runtime="onnx")


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_its_extra(classifier, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf"needs the package '{package}': pip install 'retrieval-engine\[{name}\]'"
    ):
        load_reranker(classifier(), runtime=name)
