"""Which precision a device gets when it is left to the engine, and that it is used and recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval.encoders import load_encoder
from retrieval.errors import EncoderError
from retrieval.execution import precision
from retrieval.execution.precision import dtype_of, name_of_dtype, processor_has_bf16, supported_precision
from tests.execution.networks import build

pytestmark = pytest.mark.usefixtures("own_cache")


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
        assert encoder.execution()["precision"] == chosen
        assert encoder.identity() == exact.identity()
        vectors = encoder.encode_passages(texts)
        cosines = (vectors * exact.encode_passages(texts)).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        assert cosines.min() > 0.999


def test_a_precision_that_there_is_not(tiny_model):
    with pytest.raises(EncoderError, match="unknown precision 'fp8': one of fp32, bf16, fp16, auto"):
        load_encoder(tiny_model(), precision="fp8")


def test_a_model_in_another_precision_is_a_copy():
    network = build("Bert")
    assert precision.in_precision(network, None) is precision.in_precision(network, "fp32") is network
    half = precision.in_precision(network, "fp16")
    assert (name_of_dtype(half.dtype), name_of_dtype(network.dtype)) == ("fp16", "fp32")
    assert name_of_dtype(torch.float64) == "float64"
