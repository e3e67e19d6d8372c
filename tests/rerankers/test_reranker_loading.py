"""What can be named as a reranker, and what is refused: missing parameters, pickles, other things."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from retrieval.errors import RerankerError
from retrieval.rerankers import Candidates, FunctionReranker, Reranker, load_reranker

pytestmark = pytest.mark.usefixtures("own_cache")


def candidates(*texts):
    return Candidates([f"d{number}" for number in range(len(texts))], texts, -np.arange(len(texts), dtype=float))


def overlap(query, texts):
    return [len(set(query.split()) & set(text.split())) for text in texts]


def changed(folder, target, change):
    """Copy a model and change its tensors."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_function():
    reranker = load_reranker(FunctionReranker(overlap, name="overlap", version=2))
    assert isinstance(reranker, Reranker)
    found = reranker.score(["a b", "c", "d"], [candidates("a b c", "b"), candidates(), candidates("d d")])
    assert [scores.tolist() for scores in found] == [[2, 1], [], [1]]
    assert reranker.identity() == {"kind": "function", "name": "overlap", "version": "2"}
    assert (reranker.name, reranker.calls(7)) == ("overlap", 7)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda query, texts: [1.0], r"shape \(1,\), expected \(2,\)"),
        (lambda query, texts: [1.0, float("inf")], "returned inf for document 'd1' and query 'a query'"),
        (lambda query, texts: "no", "returned str, not an array of numbers"),
        (lambda query, texts: None, "shape"),
    ],
)
def test_functions_that_return_something_else(function, message):
    with pytest.raises(RerankerError, match=message):
        FunctionReranker(function).score(["a query"], [candidates("one", "two")])


def test_a_function_needs_a_name():
    with pytest.raises(RerankerError, match="needs a name and a version"):
        FunctionReranker(overlap, name="")


def test_candidates_of_unequal_lengths():
    with pytest.raises(RerankerError, match=r"not \(2, 1, 2\)"):
        Candidates(["a", "b"], ["text"], np.zeros(2))


@pytest.mark.parametrize("thing", [None, 3, FunctionReranker, object(), ["model"]])
def test_what_is_no_reranker(thing):
    with pytest.raises(RerankerError, match="is not a reranker"):
        load_reranker(thing)


def test_missing_and_unexpected_parameters_are_named(classifier, tmp_path):
    headless = changed(classifier(), tmp_path / "headless", lambda tensors: tensors.pop("classifier.weight"))
    with pytest.raises(RerankerError, match=r"missing classifier\.weight"):
        load_reranker(headless)
    more = changed(classifier(), tmp_path / "more", lambda t: t.update({"adapter.weight": np.ones(3, np.float32)}))
    with pytest.raises(RerankerError, match=r"unexpected adapter\.weight"):
        load_reranker(more)


def test_positions_that_older_checkpoints_hold_are_no_parameters(classifier, tmp_path):
    positions = {"bert.embeddings.position_ids": np.arange(64)[None]}
    older = changed(classifier(), tmp_path / "older", lambda tensors: tensors.update(positions))
    assert load_reranker(older).identity() == load_reranker(classifier()).identity()


def test_missing_parameters_of_a_model_of_several_modules(tmp_path):
    """The library fills them with random numbers and says so in the log alone."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from tests.retrieval.conftest import save_backbone

    dense = Dense(
        32,
        1,
        activation_function=torch.nn.Identity(),
        module_input_name="sentence_embedding",
        module_output_name="scores",
    )
    modules = [Transformer(str(save_backbone(tmp_path / "backbone", seed=0))), Pooling(32), dense]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "saved"))
    name = "encoder.layer.0.output.dense.weight"
    broken = changed(tmp_path / "saved", tmp_path / "broken", lambda tensors: tensors.pop(name))
    with pytest.raises(RerankerError, match=f"missing {name}"):
        load_reranker(broken)


def test_an_encoder_without_a_head(tmp_path):
    from tests.retrieval.conftest import save_backbone

    with pytest.raises(RerankerError, match=r"missing classifier\.bias, classifier\.weight"):
        load_reranker(save_backbone(tmp_path / "backbone", seed=0))


def test_three_labels_are_no_relevance(classifier):
    with pytest.raises(RerankerError, match="3 labels"):
        load_reranker(classifier(labels=3))


def test_pickled_weights_are_not_read(classifier, tmp_path):
    folder = shutil.copytree(classifier(), tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RerankerError, match="can run code when it is read"):
        load_reranker(folder)


def test_remote_code_is_not_run(classifier, tmp_path):
    folder = shutil.copytree(classifier(), tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "code.Config", "AutoModelForSequenceClassification": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": auto_map}))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(RerankerError, match="cannot be loaded"):
        load_reranker(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("/no/such/folder", "there is no such folder"), ("", "needs a name"), ("a/b/c", "no such")]
)
def test_folders_that_are_not_there(name, message):
    with pytest.raises(RerankerError, match=message):
        load_reranker(name)


def test_a_name_that_is_not_on_this_machine():
    with pytest.raises(RerankerError, match="give the folder or name of a CrossEncoder"):
        load_reranker("ms-marco-no-such-model")


def test_settings_that_do_not_exist(classifier):
    with pytest.raises(RerankerError, match="'batch_size' is no setting of a pointwise reranker: one of batch_tokens"):
        load_reranker(classifier(), batch_size=3)
    with pytest.raises(RerankerError, match="unknown precision 'int4': one of fp32, bf16, fp16"):
        load_reranker(classifier(), precision="int4")
    with pytest.raises(RerankerError, match="batch_tokens must be at least 1, not 0"):
        load_reranker(classifier(), batch_tokens=0)
    with pytest.raises(RerankerError, match="'device' is no setting of a reranker that is loaded already"):
        load_reranker(FunctionReranker(overlap), device="cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_tokens": "x"}, "max_tokens is 'x'; give a whole number"),
        ({"max_tokens": 20.5}, r"max_tokens is 20\.5; give a whole number"),
        ({"query_tokens": True}, "query_tokens is True; give a whole number"),
        ({"batch_tokens": "many"}, "batch_tokens is 'many'; give a whole number"),
        ({"prompt": 3}, "prompt is 3; give a text, on the command line in quotes"),
        ({"precision": 16}, "precision is 16; give a text"),
        ({"device": "tpu9"}, "cannot be on device 'tpu9': .*; take device='cpu'"),
        ({"device": 1.5}, r"device is 1\.5; give a name, such as cpu, cuda or cuda:1"),
    ],
)
def test_values_that_no_model_understands(settings, message, classifier):
    with pytest.raises(RerankerError, match=message):
        load_reranker(classifier(), **settings)


def test_a_gpu_that_is_not_there(classifier):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(RerankerError, match=r"cannot be on device 'cuda': .*(CUDA|NVIDIA).*; take device='cpu'"):
        load_reranker(classifier(), device="cuda")


def test_whole_numbers_of_numpy_are_whole_numbers(classifier):
    assert (
        load_reranker(classifier(), max_tokens=np.int64(20), prompt="query: ", device="cpu").identity()["max_tokens"]
        == 20
    )


def test_importing_rerankers_loads_no_model_library():
    code = (
        "import sys, numpy as np; from retrieval.rerankers import Candidates, FunctionReranker, load_reranker;"
        "r = load_reranker(FunctionReranker(lambda q, t: [1.0]));"
        "assert r.score(['a'], [Candidates(['b'], ['c'], np.zeros(1))])[0].tolist() == [1.0];"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
