"""Which precision a device gets when it is left to the engine, and that it is used and recorded."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from retrieval import Collection
from retrieval.encoders import load_encoder
from retrieval.encoders.base import settle
from retrieval.errors import EncoderError, RerankerError
from retrieval.execution import precision
from retrieval.execution.precision import dtype_of, name_of_dtype, processor_has_bf16, supported_precision
from retrieval.rerankers import load_reranker
from retrieval.rerankers import precision as rerankers_precision
from retrieval.runtimes.loading import check_runtime
from retrieval.staging import precision_key
from tests.execution.networks import build

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Leave "auto" to the device, as for users; the other tests say fp32 (`tests/conftest.py`)."""
    monkeypatch.delenv(precision.PRECISION_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_a_processor(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert supported_precision("cpu") == expected
    assert dtype_of("auto", "cpu") == dtype_of(expected)


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512f avx512_bf16", True), ("fpu amx_tile amx_bf16", True), ("fpu avx2", False)]
)
def test_a_processor_of_which_pytorch_says_nothing(monkeypatch, tmp_path, flags, expected):
    def missing():
        raise AttributeError

    monkeypatch.setattr(torch.cpu, "get_capabilities", missing, raising=False)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    assert processor_has_bf16() is expected
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "missing")
    assert not processor_has_bf16()


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert supported_precision("cuda") == expected


def test_other_devices_compute_in_fp32():
    assert supported_precision("mps") == "fp32"


def test_what_the_engine_chooses_is_used_and_recorded(tiny_model, monkeypatch):
    exact = load_encoder(tiny_model())
    texts = ["the search engine", "a", ""]
    for chosen in ("fp32", "bf16"):
        monkeypatch.setattr(precision, "supported_precision", lambda device, chosen=chosen: chosen)
        encoder = load_encoder(tiny_model(), precision="auto", device="cpu")
        settle(encoder)
        assert encoder.execution()["precision"] == chosen
        assert encoder.identity() == exact.identity()
        vectors = encoder.encode_passages(texts)
        cosines = (vectors * exact.encode_passages(texts)).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        assert cosines.min() > 0.999


@pytest.mark.parametrize("said", ["fp32", "bf16"])
def test_the_environment_says_what_auto_is(tiny_model, monkeypatch, said):
    monkeypatch.setenv(precision.PRECISION_VARIABLE, said)
    monkeypatch.setattr(precision, "supported_precision", lambda device: "fp16")
    encoder = load_encoder(tiny_model(), device="cpu")
    settle(encoder)
    assert encoder.execution()["precision"] == said
    assert load_encoder(tiny_model(), device="cpu", precision="fp32").execution()["precision"] == "fp32"


def test_the_environment_says_nothing_that_is_a_precision(tiny_model, monkeypatch):
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "bf-16")
    with pytest.raises(EncoderError, match="RETRIEVAL_PRECISION is 'bf-16': one of fp32, bf16, fp16, auto"):
        settle(load_encoder(tiny_model()))


def test_rerankers_take_what_the_device_has(classifier, monkeypatch):
    monkeypatch.setattr(precision, "supported_precision", lambda device: "bf16")
    assert load_reranker(classifier(), device="cpu").execution()["precision"] == "bf16"
    assert load_reranker(classifier(), device="cpu", precision="fp32").execution()["precision"] == "fp32"


@pytest.fixture
def bf16(monkeypatch):
    """Let "auto" be bf16, as on a processor that has it."""
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "bf16")


def precisions(collection):
    return [segment["execution"].get("precision") for segment in collection.stats()["segments"]]


@pytest.mark.usefixtures("bf16")
@pytest.mark.parametrize("begun", ["fp32", "bf16"])
@pytest.mark.parametrize("way", ["reopened", "reopened with its name", "closed and used again", "encoded anew"])
def test_a_collection_goes_on_in_the_precision_that_it_was_begun_in(tiny_model, tmp_path, begun, way):
    encoder = load_encoder(tiny_model(), precision=begun, device="cpu")
    with Collection.create(tmp_path / "c", encoder=tiny_model() if way == "encoded anew" else encoder) as collection:
        collection.add([{"id": "1", "text": "the search engine"}])
        if way == "encoded anew":
            collection.reencode(encoder)
    if way == "reopened":
        collection = Collection.open(tmp_path / "c")
    elif way == "reopened with its name":
        collection = Collection.open(tmp_path / "c", encoder=tiny_model())
    collection.add([{"id": "2", "text": "a word"}])
    assert precisions(collection) == [begun, begun]
    collection.close()


@pytest.mark.usefixtures("bf16")
def test_merging_does_not_forget_the_precision(tiny_model, tmp_path):
    """A few texts by NumPy and others by PyTorch: what both agree on stays."""
    with Collection.create(tmp_path / "c", encoder=load_encoder(tiny_model(), precision="fp32")) as collection:
        collection.add([{"id": "1", "text": "the search engine"}])
        collection.reencode(load_encoder(tiny_model(), precision="fp32"))
    loaded = load_encoder(tiny_model(), precision="fp32")
    settle(loaded)
    with Collection.open(tmp_path / "c", encoder=loaded) as collection:
        collection.add([{"id": "2", "text": "a word"}])
        assert len({segment["execution"]["runtime"] for segment in collection.stats()["segments"]}) == 2
        collection.compact()
        assert precisions(collection) == ["fp32"]
        assert "runtime" not in collection.stats()["segments"][0]["execution"]
    with Collection.open(tmp_path / "c") as collection:
        collection.add([{"id": "3", "text": "another"}])
        assert precisions(collection) == ["fp32", "fp32"]


def test_what_was_begun_counts_and_not_what_came_last(tiny_model, tmp_path, monkeypatch):
    for number, said in enumerate(["bf16", "fp32", "bf16"]):
        monkeypatch.setenv(precision.PRECISION_VARIABLE, said)
        with Collection.open_or_create(tmp_path / "c", encoder=tiny_model()) as collection:
            collection.add([{"id": str(number), "text": f"text {number}"}])
    assert precisions(collection) == ["bf16", "fp32", "bf16"]


def test_a_collection_begun_in_bf16_is_searched_where_there_is_no_bf16(tiny_model, tmp_path, monkeypatch):
    encoder = load_encoder(tiny_model(), precision="bf16", device="cpu")
    with Collection.create(tmp_path / "c", encoder=encoder) as collection:
        collection.add([{"id": "1", "text": "the search engine"}, {"id": "2", "text": "a word"}])
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "fp32")
    with Collection.open(tmp_path / "c") as collection:
        assert [hit.id for hit in collection.search("search", mode="dense", k=1)] == ["1"]


def test_a_classifiers_head_computes_in_fp32(classifier):
    """Logits of about 8 have neighbours in bf16 at steps of 1/32: without that nearly all scores would be ties."""
    from transformers import AutoModelForSequenceClassification

    from retrieval.rerankers.base import Candidates

    texts = [f"{first} {second}" for first in "abcdefgh" for second in "abcdefgh"]
    for kind in ("bert", "roberta", "distil"):
        model = AutoModelForSequenceClassification.from_pretrained(classifier(kind))
        assert model.dtype == torch.float32
        halved = rerankers_precision.in_precision(model, "bf16")
        assert halved is not model
        assert {parameter.dtype for parameter in halved.base_model.parameters()} == {torch.bfloat16}
        assert {parameter.dtype for parameter in halved.classifier.parameters()} == {torch.float32}
        assert name_of_dtype(halved.dtype) == "bf16"
    reranker, exact = (load_reranker(classifier(), precision=each, device="cpu") for each in ("bf16", "fp32"))
    given = [Candidates([str(row) for row in range(len(texts))], texts, -np.arange(len(texts), dtype=float))]
    found, expected = (each.score(["word"], given)[0] for each in (reranker, exact))
    assert len(set(found.tolist())) > 0.9 * len(set(expected.tolist()))


def test_off_ramps_compute_in_fp32(classifier, tmp_path):
    from safetensors.torch import load_file, save_file

    from retrieval.models.rankers.off_ramps import OFF_RAMPS_FILE
    from retrieval.rerankers.base import Candidates
    from tests.rerankers.test_early_exit import with_off_ramps

    folder = with_off_ramps(tmp_path / "exits", classifier(layers=3))
    tensors = load_file(folder / OFF_RAMPS_FILE)
    biased = {name: tensor + 8 * name.endswith("classifier.bias") for name, tensor in tensors.items()}
    save_file(biased, folder / OFF_RAMPS_FILE)  # logits of about 8, whose neighbours in bf16 are far
    reranker = load_reranker(folder, exit_entropy=1.0, precision="bf16", device="cpu")  # all leave after a layer
    texts = [f"{first} {second}" for first in "abcdefgh" for second in "abcdefgh"]
    given = [Candidates([str(row) for row in range(len(texts))], texts, -np.arange(len(texts), dtype=float))]
    found, expected = (
        each.score(["word"], given)[0] for each in (reranker, load_reranker(folder, exit_entropy=1.0, precision="fp32"))
    )
    assert len(set(found.tolist())) > 0.9 * len(set(expected.tolist()))
    assert reranker.execution()["precision"] == "bf16"


@pytest.mark.usefixtures("bf16")
def test_a_head_that_is_not_known_is_not_rounded_unasked():
    model = torch.nn.Linear(2, 1)
    model.preprocess = lambda pairs: pairs  # as a CrossEncoder has it
    assert rerankers_precision.in_precision(model, "auto") is model
    assert rerankers_precision.set_precision(model, "auto").weight.dtype == torch.float32
    assert rerankers_precision.in_precision(model, "bf16").weight.dtype == torch.bfloat16


def test_a_wrong_environment_is_not_mended_by_int8(classifier, monkeypatch):
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "nope")
    with pytest.raises(RerankerError, match=r"is 'nope': one of fp32, bf16, fp16, auto$"):
        load_reranker(classifier())


@pytest.mark.parametrize(
    ("said", "flags", "driver", "expected"),
    [
        ("fp32", "amx_bf16", True, False),
        ("bf16", "fpu", False, True),
        (None, "fpu amx_bf16", False, True),
        (None, "fpu", False, False),
        (None, "fpu", True, True),
    ],
)
def test_what_is_known_without_pytorch(monkeypatch, tmp_path, said, flags, driver, expected):
    if said is not None:
        monkeypatch.setenv(precision.PRECISION_VARIABLE, said)
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(precision, "_GPU_DRIVERS", (tmp_path if driver else tmp_path / "none",))
    assert precision.may_differ_from_fp32(None) is expected
    assert precision.may_differ_from_fp32("cpu") is (expected and not (driver and said is None))


def test_eight_bits_of_each_runtime_are_kept_apart():
    assert precision_key({"precision": "fp32", "runtime": "onnx"}) == precision_key({"precision": "fp32"}) == "fp32"
    assert precision_key({"precision": "int8", "runtime": "onnx"}) == "int8, onnx"
    assert precision_key({"precision": "int8", "runtime": "openvino", "calibration": "a1"}) == "int8, openvino, a1"
    assert precision_key({"runtime": "function"}) is None


def test_several_devices_compute_in_one_precision(tiny_model, monkeypatch):
    monkeypatch.setattr(precision, "supported_precision", lambda device: {"cpu": "fp32", "cpu:0": "bf16"}[device])
    with contextlib.closing(load_encoder(tiny_model(), device=["cpu:0", "cpu"])) as encoder:
        assert encoder.execution()["precision"] == "fp32"


def test_a_precision_that_there_is_not(tiny_model):
    with pytest.raises(EncoderError, match="unknown precision 'fp8': one of fp32, bf16, fp16, auto"):
        load_encoder(tiny_model(), precision="fp8")


def test_a_model_in_another_precision_is_a_copy():
    network = build("Bert")
    assert precision.in_precision(network, None) is precision.in_precision(network, "fp32") is network
    half = precision.in_precision(network, "fp16")
    assert (name_of_dtype(half.dtype), name_of_dtype(network.dtype)) == ("fp16", "fp32")
    assert name_of_dtype(torch.float64) == "float64"


@pytest.mark.parametrize(("runtime", "expected"), [("onnx", "fp32"), ("openvino", "bf16")])
def test_other_runtimes_take_it_where_they_have_it(monkeypatch, runtime, expected):
    pytest.importorskip("onnxruntime" if runtime == "onnx" else "openvino")
    monkeypatch.setattr(precision, "supported_precision", lambda device: "bf16")
    monkeypatch.setattr("retrieval.runtimes.loading.processor_has_bf16", lambda: True)
    assert check_runtime(runtime, "auto") == expected
    monkeypatch.setattr("retrieval.runtimes.loading.processor_has_bf16", lambda: False)
    assert check_runtime(runtime, "auto") == "fp32", "the environment asks for it, the processor has it not"
    monkeypatch.setattr(precision, "supported_precision", lambda device: "fp32")
    assert check_runtime(runtime, "auto") == check_runtime(runtime, None) == "fp32"
