"""The parts of the NumPy runtime, against other libraries and numbers worked out by hand."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from retrieval.errors import EncoderError
from retrieval.runtimes.bert_numpy import gelu
from retrieval.runtimes.heads import ACTIVATIONS, DenseLayer, SentenceHead, normalised, pool
from retrieval.runtimes.mapped_tensors import map_float_tensors

STATES = np.array([[1, -2], [3, 4], [5, 0], [-7, 1]], np.float32)
LENGTHS = np.array([3, 1])


@given(st.floats(-40, 40, width=32))
def test_gelu_is_that_of_the_error_function(value):
    exact = value * 0.5 * math.erfc(-value / math.sqrt(2))
    assert abs(float(gelu(np.array([value], np.float32))[0]) - exact) < 3e-7 + 1e-7 * abs(exact)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_torch(name):
    values = np.linspace(-90, 90, 181, dtype=np.float32)
    expected = getattr(torch.nn, name)()(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](values), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[3, 2 / 3], [-7, 1]]),
        ("cls", [[1, -2], [-7, 1]]),
        ("lasttoken", [[5, 0], [-7, 1]]),
        ("max", [[5, 4], [-7, 1]]),
        ("mean_sqrt_len_tokens", [[9 / math.sqrt(3), 2 / math.sqrt(3)], [-7, 1]]),
        ("weightedmean", [[22 / 6, 1], [-7, 1]]),
    ],
)
def test_poolings(pooling, expected):
    np.testing.assert_allclose(pool(STATES, LENGTHS, pooling), expected, rtol=1e-6)


def test_a_head_is_its_steps_in_order():
    layer = DenseLayer(np.array([[3, 0], [0, 4], [0, 0]], np.float32), np.array([0, 0, 1], np.float32), "Identity")
    found = SentenceHead("cls", [layer, normalised])(np.array([[1, 1]], np.float32), np.array([1]))
    np.testing.assert_allclose(found, [[3 / math.sqrt(26), 4 / math.sqrt(26), 1 / math.sqrt(26)]], rtol=1e-6)
    assert normalised(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]


class TestMappedTensors:
    def test_are_those_of_the_file(self, tmp_path):
        tensors = {"a": torch.randn(3, 5), "b": torch.randn(7), "half": torch.ones(3, dtype=torch.float16)}
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
        found = map_float_tensors(tmp_path / "model.safetensors")
        assert set(found) == {"a", "b"}
        for name, array in found.items():
            assert array.tolist() == tensors[name].tolist()
            assert not array.flags.writeable

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x05",
            struct.pack("<Q", 1 << 60) + b"{}",
            struct.pack("<Q", 2) + b"[]",
            struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,800000000]}}',
            struct.pack("<Q", 56) + b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}  ' + bytes(8),
            struct.pack("<Q", 56) + b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}} ' + bytes(8),
        ],
    )
    def test_damaged_files_are_refused(self, tmp_path, content):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(EncoderError, match=r"model\.safetensors cannot be read"):
            map_float_tensors(tmp_path / "model.safetensors")
