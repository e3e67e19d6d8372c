"""OpenVINO's networks after batches that failed; test_runtimes_memory has such that memory did not hold for real."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from retrieval.encoders import load_encoder

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnxscript")

TEXTS = ["the search", "a search", "to search", "the engine of search", "word", "is the word in the engine"]
SHORT = "Exception from src/inference/src/infer_request.cpp:1:\nFailed to allocate 123 bytes of memory\n"


@dataclass
class Batches:
    """The shapes of the batches that reach OpenVINO, whether each failed, and the error of those of over two texts."""

    error: RuntimeError | None = None
    seen: list[tuple[tuple[int, int], bool]] = field(default_factory=list)


@pytest.fixture
def batches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = Batches()
    infer = openvino.InferRequest.infer

    def watched(self, features, **options):
        shape = next(iter(features.values())).shape
        failing = found.error is not None and shape[0] > 2
        found.seen.append((shape, failing))
        if failing:
            raise found.error
        return infer(self, features, **options)

    monkeypatch.setattr(openvino.InferRequest, "infer", watched)
    return found


def check_that_layers_are_left(seen):
    """After a failure comes a batch that has nothing in common with those at whose shapes layers may stand."""
    standing = []
    for (shape, failed), (after, _) in pairwise(seen):
        standing = [*standing, shape] if failed else [shape]
        if failed:
            assert all(here != there for other in standing for here, there in zip(after, other, strict=True))


def test_a_batch_that_memory_does_not_hold_is_split(tiny_model, batches, caplog):
    folder = tiny_model()
    encoder = load_encoder(folder, runtime="openvino")
    encoder.encode_passages(TEXTS[:2])
    batches.error = RuntimeError(SHORT)
    found = encoder.encode_passages(TEXTS)
    np.testing.assert_allclose(found, load_encoder(folder, runtime="torch").encode_passages(TEXTS), atol=1e-5)
    assert "does not fit into memory (OpenVINO: Failed to allocate 123 bytes of memory)" in caplog.text
    assert [failed for _, failed in batches.seen].count(True) == 2
    check_that_layers_are_left(batches.seen)


def test_other_errors_pass_and_the_next_batch_is_computed(tiny_model, batches):
    encoder = load_encoder(tiny_model(), runtime="openvino")
    expected = encoder.encode_passages(TEXTS)
    batches.error = RuntimeError("Failed to allocate required number of vector registers")
    with pytest.raises(RuntimeError, match="vector registers"):
        encoder.encode_passages(TEXTS)
    batches.error = None
    np.testing.assert_array_equal(encoder.encode_passages(TEXTS), expected)
    check_that_layers_are_left(batches.seen)
