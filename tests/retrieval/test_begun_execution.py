"""With which settings an encoder goes on, by what is recorded of vectors; and how near they must be to new ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from retrieval.collection.begun_execution import (
    COSINE_FLOOR,
    EIGHT_BITS_FLOOR,
    are_eight_bits,
    cosine_floor,
    execution_begun_with,
)
from retrieval.runtimes.calibration import Calibration

ONNX = {"precision": "int8", "runtime": "onnx", "device": "cpu", "onnxruntime": "1"}
OPENVINO = {"precision": "int8", "runtime": "openvino", "calibration": "436e41e237f9ec2d"}


def manifest(*executions):
    parts = [None if facts is None else SimpleNamespace(execution=facts) for facts in executions]
    return SimpleNamespace(segments=[SimpleNamespace(dense=part) for part in parts])


@pytest.mark.parametrize(
    ("executions", "settings"),
    [
        ([], {"precision": "auto"}),
        ([None, {}], {"precision": "auto"}),
        ([None, {}, {"precision": "fp32", "runtime": "onnx"}], {"precision": "fp32"}),
        ([{"precision": "bf16"}, {"precision": "fp32"}], {"precision": "auto"}),
        ([ONNX, {"precision": "fp32"}], {"precision": "int8", "runtime": "onnx"}),
        (
            [OPENVINO],
            {"precision": "int8", "runtime": "openvino", "calibration": Calibration("436e41e237f9ec2d", [])},
        ),
        ([{"precision": "int8", "device": "cpu"}], {"precision": "auto"}),
        ([{"precision": "int8", "runtime": "openvino"}], {"precision": "auto"}),
        ([OPENVINO | {"calibration": 3}], {"precision": "auto"}),
        ([{"precision": "int8", "runtime": ["onnx"]}], {"precision": "auto"}),
        ([{"precision": "int8", "runtime": "torch"}], {"precision": "auto"}),
    ],
    ids=str,
)
def test_settings(executions, settings):
    found = execution_begun_with(manifest(*executions))
    assert found == settings
    assert are_eight_bits(found) == ("runtime" in settings)


@pytest.mark.parametrize(
    ("stored", "here", "floor"),
    [
        (ONNX, ONNX | {"onnxruntime": "2", "batch_tokens": 4096}, EIGHT_BITS_FLOOR),
        (ONNX, OPENVINO, COSINE_FLOOR),
        (OPENVINO, OPENVINO | {"calibration": "0"}, COSINE_FLOOR),
        (ONNX, {"precision": "fp32", "runtime": "onnx"}, COSINE_FLOOR),
        ({"precision": "fp32"}, {"precision": "fp32"}, COSINE_FLOOR),
    ],
    ids=str,
)
def test_floors(stored, here, floor):
    assert cosine_floor(stored, here) == floor
