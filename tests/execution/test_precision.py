"""Which precision a device gets when it is left to the engine, and that it is used and recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval import Collection
from retrieval.encoders import load_encoder
from retrieval.encoders.base import settle
from retrieval.errors import EncoderError
from retrieval.execution import precision
from retrieval.execution.precision import dtype_of, name_of_dtype, processor_has_bf16, supported_precision
from retrieval.rerankers import load_reranker
from retrieval.runtimes.loading import check_runtime
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
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
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


@pytest.mark.parametrize(("begun", "then"), [("fp32", "fp32"), ("bf16", "bf16")])
def test_a_collection_goes_on_in_the_precision_that_it_was_begun_in(tiny_model, tmp_path, monkeypatch, begun, then):
    encoder = load_encoder(tiny_model(), precision=begun, device="cpu")
    with Collection.create(tmp_path / "c", encoder=encoder) as collection:
        collection.add([{"id": "1", "text": "the search engine"}])
    monkeypatch.setattr(precision, "supported_precision", lambda device: "bf16")
    with Collection.open(tmp_path / "c") as collection:
        collection.add([{"id": "2", "text": "a word"}])
        executions = [segment["execution"]["precision"] for segment in collection.stats()["segments"]]
    assert executions == [begun, then]


def test_a_collection_begun_in_bf16_goes_on_in_fp32_where_there_is_no_bf16(tiny_model, tmp_path, monkeypatch):
    encoder = load_encoder(tiny_model(), precision="bf16", device="cpu")
    with Collection.create(tmp_path / "c", encoder=encoder) as collection:
        collection.add([{"id": "1", "text": "the search engine"}])
    monkeypatch.setattr(precision, "supported_precision", lambda device: "fp32")
    with Collection.open(tmp_path / "c") as collection:
        collection.add([{"id": "2", "text": "a word"}])
        executions = [segment["execution"]["precision"] for segment in collection.stats()["segments"]]
        assert [hit.id for hit in collection.search("search", mode="dense", k=1)] == ["1"]
    assert executions == ["bf16", "fp32"]


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
    assert check_runtime(runtime, "auto") == expected
    monkeypatch.setattr(precision, "supported_precision", lambda device: "fp32")
    assert check_runtime(runtime, "auto") == check_runtime(runtime, None) == "fp32"
