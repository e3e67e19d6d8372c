"""Documents of an exact length, and the mean of their windows."""

from __future__ import annotations

import numpy as np
import pytest

from eval.experiments.token_documents import (
    TokenEncoder,
    VectorCache,
    mean_vectors,
    needle_documents,
    windows_of,
)
from retrieval.encoders import load_encoder
from retrieval.encoders.embedded import embedded_folder
from retrieval.encoders.own_modules import open_sentence_transformer


def test_needles_stand_between_windows_of_the_text():
    needles = [[1] * 7, [2] * 30, [3] * 45]
    text = list(range(100, 200))
    documents = needle_documents(needles, 40, 8, np.random.default_rng(0))
    for needle, document in zip(needles, documents, strict=True):
        tokens = document.tokens(text, 40)
        assert len(tokens) == max(40, len(needle))
        assert tokens[document.place : document.place + len(needle)] == needle
        assert document.place % 8 == 0
        rest = tokens[: document.place] + tokens[document.place + len(needle) :]
        assert rest == text[: max(40 - len(needle), 0)]
    assert len({needle_documents([[1]], 4000, 8, np.random.default_rng(seed))[0].place for seed in range(9)}) > 3


def test_windows_are_the_text():
    windows = windows_of(range(23), 10)
    assert [len(window) for window in windows] == [10, 10, 3]
    assert sum(windows, []) == list(range(23))  # noqa: RUF017


def test_means_are_weighted_by_tokens():
    means = mean_vectors([np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 2.0]])], [[30, 40], [5]])
    np.testing.assert_allclose(means, [[0.6, 0.8], [0.0, 1.0]], rtol=1e-6)


@pytest.fixture(scope="module")
def encoder():
    return TokenEncoder(open_sentence_transformer(embedded_folder(), device="cpu"))


def test_vectors_are_those_of_texts(encoder):
    texts = [
        "The cat sat on the mat.",
        "A longer text about retrieval of documents with vectors.",
        "The cat sat there.",
    ]
    with_encoder = load_encoder("embedded").encode_passages(texts)
    np.testing.assert_allclose(encoder.text_vectors(texts), with_encoder, atol=1e-5)


def test_a_cache_encodes_once(encoder, tmp_path):
    documents = encoder.tokens(["one", "two words"])
    cache = VectorCache(tmp_path / "vectors", "key")
    first, seconds = cache(encoder, "name", documents)
    again, remembered = cache(None, "name", documents)  # no encoder is asked
    np.testing.assert_array_equal(first, again)
    assert seconds == remembered
    with pytest.raises(AttributeError):
        VectorCache(tmp_path / "vectors", "another")(None, "name", documents)
