"""An encoder or a reranker is closed while another thread uses it: a run is finished, or told that it is closed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SparseEncoder

from retrieval.encoders.known_folders import read_known_folder
from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.encoders.sparse_transformer import SparseTransformerEncoder
from retrieval.errors import EncoderError, RerankerError
from retrieval.rerankers.classifier import Classifier
from retrieval.runtimes.bert_numpy import NumpyBert
from tests.encoders.conftest import sparse_model
from tests.execution.interference import once_within
from tests.execution.networks import batch_of, build

__all__ = ["sparse_model"]

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = ["the search engine", "a query of the model"]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_dense_encoder(tiny_model, packed):
    model = SentenceTransformer(str(tiny_model()), device="cpu")
    encoder = SentenceTransformerEncoder(model, packed=packed)
    expected = encoder.encode_passages(TEXTS)
    once_within(model[0].model.embeddings, encoder.close)
    np.testing.assert_array_equal(encoder.encode_passages(TEXTS), expected)
    with pytest.raises(EncoderError, match="closed"):
        encoder.encode_passages(TEXTS)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_dense_encoder_between_batches(tiny_model, packed):
    model = SentenceTransformer(str(tiny_model()), device="cpu")
    encoder = SentenceTransformerEncoder(model, packed=packed, batch_tokens=1)
    once_within(model[0].model.embeddings, encoder.close)
    with pytest.raises(EncoderError, match="is closed; load it again"):
        encoder.encode_passages(TEXTS)


def test_dense_encoder_from_another_thread(tiny_model):
    model = SentenceTransformer(str(tiny_model()), device="cpu")
    encoder = SentenceTransformerEncoder(model, batch_tokens=8)
    errors: list[Exception] = []

    def encode() -> None:
        try:
            while True:
                encoder.encode_passages(TEXTS)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=encode) for _ in range(3)]
    for thread in threads:
        thread.start()
    encoder.close()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [EncoderError] * 3


def test_sparse_encoder(sparse_model):
    model = SparseEncoder(str(sparse_model("splade")), device="cpu")
    encoder = SparseTransformerEncoder(model)
    expected = encoder.encode_passages(TEXTS)
    once_within(model[0].model.base_model.embeddings, encoder.close)
    np.testing.assert_array_equal(encoder.encode_passages(TEXTS).weights, expected.weights)
    with pytest.raises(EncoderError, match="closed"):
        encoder.encode_passages(TEXTS)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_classifier(packed):
    model = build("Bert", "ForSequenceClassification", num_labels=1)
    classifier = Classifier(model, packed=packed, batch_tokens=9)
    batch = batch_of([9])
    features = {name: torch.from_numpy(value) for name, value in batch.padded(0).items()}
    prepared = PreparedTexts(np.full(3, 9), lambda _: features, lambda _: batch)  # three batches
    expected = classifier.logits(prepared)
    once_within(model.base_model.embeddings, classifier.close)
    np.testing.assert_array_equal(classifier.logits(prepared), expected)
    with pytest.raises(RerankerError, match="closed"):
        classifier.logits(prepared)


class ClosedWithin(dict):
    """Tensors; the runtime that reads them is closed meanwhile."""

    runtime: NumpyBert

    def __getitem__(self, name):
        self.runtime.close()
        return super().__getitem__(name)


def test_numpy_runtime(tiny_model):
    known = read_known_folder(tiny_model())
    batch = batch_of([5, 3])
    expected = NumpyBert(known.shape, known.tensors, known.head).run(batch)
    tensors = ClosedWithin(known.tensors)
    tensors.runtime = NumpyBert(known.shape, tensors, known.head)
    np.testing.assert_array_equal(tensors.runtime.run(batch), expected)
    with pytest.raises(EncoderError, match="closed"):
        tensors.runtime.run(batch)
