"""What did not fit into memory once is not tried again, in later windows and calls, whatever runs the batch."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SparseEncoder

from retrieval.encoders.late_chunking import TextInContext
from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.encoders.sparse_transformer import SparseTransformerEncoder
from retrieval.errors import EncoderError
from retrieval.models.rankers.mono import MonoNetwork
from retrieval.models.rankers.off_ramps import new_off_ramps
from retrieval.rerankers import Candidates
from retrieval.rerankers.classifier import Classifier
from retrieval.rerankers.early_exit import EarlyExitClassifier
from retrieval.rerankers.model_loading import load_classifier
from retrieval.rerankers.network import NetworkReranker
from retrieval.rerankers.passage_states import StateEncoder
from tests.encoders.conftest import sparse_model
from tests.execution.interference import Room
from tests.execution.networks import batch_of, build
from tests.rerankers.conftest import save_classifier
from tests.rerankers.two_sided import WordNetwork

__all__ = ["sparse_model"]

pytestmark = pytest.mark.usefixtures("own_cache")

WORDS = ("search", "engine", "query", "model", "word", "document", "retrieval", "the")
TEXTS = [f"the {first} of a {second}" for first in WORDS[:4] for second in WORDS[4:]]
"""Sixteen texts of seven tokens each."""

FAILURES = [112, 56]
"""Tokens of the batches that fail where there is room for four texts."""


def embeddings_of(encoder_model):
    return encoder_model[0].model.embeddings


class TestEncoders:
    @pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
    def test_windows_and_calls_know_what_earlier_ones_learnt(self, tiny_model, packed, caplog):
        model = SentenceTransformer(str(tiny_model()), device="cpu")
        encoder = SentenceTransformerEncoder(model, batch_tokens=112, packed=packed)
        expected = encoder.encode_passages(TEXTS)
        room = Room(embeddings_of(model), 28)
        with caplog.at_level(logging.WARNING):
            for vectors in encoder.encode_stream([TEXTS] * 20):
                np.testing.assert_allclose(vectors, expected, atol=1e-5)
            encoder.encode_queries(TEXTS)
        assert room.failed == FAILURES
        assert len(caplog.records) == len(FAILURES)

    def test_it_is_the_encoder_s_own(self, tiny_model):
        model = SentenceTransformer(str(tiny_model()), device="cpu")
        encoders = [SentenceTransformerEncoder(model, batch_tokens=112) for _ in range(2)]
        room = Room(embeddings_of(model), 28)
        for encoder in encoders:
            encoder.encode_passages(TEXTS)
        assert room.failed == 2 * FAILURES

    def test_sparse(self, sparse_model):
        model = SparseEncoder(str(sparse_model("splade")), device="cpu")
        encoder = SparseTransformerEncoder(model, batch_tokens=112)
        expected = encoder.encode_passages(TEXTS)
        room = Room(model[0].model.base_model.embeddings, 28)
        for _ in range(3):
            found = encoder.encode_passages(TEXTS)
            np.testing.assert_array_equal(found.dimensions, expected.dimensions)
        assert room.failed == FAILURES

    def test_late_chunking(self, tiny_model):
        model = SentenceTransformer(str(tiny_model()), device="cpu")
        encoder = SentenceTransformerEncoder(model, batch_tokens=112)
        expected = encoder.encode_passages(TEXTS)
        room = Room(embeddings_of(model), 28)
        texts = [TextInContext(text, 0, np.array([[0, len(text)]]), np.ones(1, bool)) for text in TEXTS]
        for _ in range(3):
            for pooled in encoder.encode_in_context(texts):
                np.testing.assert_allclose(pooled.vectors[0], expected[pooled.text], atol=1e-5)
        encoder.encode_passages(TEXTS)
        assert room.failed == FAILURES
        room.tokens = 6
        with pytest.raises(EncoderError, match=r"a text of 7 tokens does not fit into memory \(full\)"):
            list(encoder.encode_in_context(texts[:1]))


class TestClassifiers:
    def prepared(self) -> PreparedTexts:
        batches = [batch_of([7], seed) for seed in range(16)]

        def tokens(rows):
            chosen = [batches[row] for row in rows.tolist()]
            return chosen[0]._replace(
                ids=np.concatenate([each.ids for each in chosen]),
                lengths=np.concatenate([each.lengths for each in chosen]),
            )

        def features(rows):
            return {name: torch.from_numpy(value) for name, value in tokens(rows).padded(0).items()}

        return PreparedTexts(np.full(16, 7), features, tokens)

    @pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
    def test_calls_know_what_earlier_ones_learnt(self, packed):
        model = build("Bert", "ForSequenceClassification", num_labels=1)
        classifier, prepared = Classifier(model, packed=packed, batch_tokens=112), self.prepared()
        expected = classifier.logits(prepared)
        room = Room(model.base_model.embeddings, 28)
        for _ in range(3):
            np.testing.assert_allclose(classifier.logits(prepared), expected, atol=1e-5)
        assert len(room.failed) == 2

    def test_early_exits(self):
        model = build("Bert", "ForSequenceClassification", num_labels=1)
        classifier = EarlyExitClassifier(model, new_off_ramps(model), 1e-300, batch_tokens=112)
        prepared = self.prepared()
        expected, layers = classifier.exits(prepared)
        room = Room(model.base_model.embeddings, 28)
        for _ in range(3):
            logits, again = classifier.exits(prepared)
            np.testing.assert_allclose(logits, expected, atol=1e-5)
            np.testing.assert_array_equal(again, layers)
        assert len(room.failed) == 2


class CrampedNetwork(WordNetwork):
    """Has room for so many words, and for so many pairs; counts what did not fit."""

    def __init__(self) -> None:
        super().__init__(reads=20)
        self.words = self.pairs = 10**6
        self.failed: list[str] = []

    def _states(self, features):
        self._check("words", features["ids"].numel(), self.words)
        return super()._states(features)

    def interact(self, queries, query_mask, passages, passage_mask):
        self._check("pairs", len(queries), self.pairs)
        return super().interact(queries, query_mask, passages, passage_mask)

    def _check(self, what: str, n: int, room: int) -> None:
        if n > room:
            self.failed.append(what)
            raise MemoryError("full")


class TestNetworks:
    LISTS = (
        WORDS[:6],
        [Candidates([str(at) for at in range(len(TEXTS))], TEXTS, -np.arange(len(TEXTS), dtype=float))] * 6,
    )

    def test_reranker(self):
        network = CrampedNetwork()
        reranker = NetworkReranker(network, "words", batch_tokens=112)
        expected, states = reranker.score(*self.LISTS), reranker.encode_passages(TEXTS)
        network.words, network.pairs = 24, 4
        for _ in range(3):
            for found, scores in zip(reranker.score(*self.LISTS), expected, strict=True):
                np.testing.assert_allclose(found, scores, rtol=1e-5)
            np.testing.assert_array_equal(reranker.encode_passages(TEXTS).values, states.values)
        assert set(network.failed) == {"words", "pairs"}
        assert len(network.failed) < 8  # in all of three calls
        network.words = 1
        with pytest.raises(EncoderError, match="tokens does not fit into memory"):
            reranker.score(*self.LISTS)

    def test_reranker_of_pairs(self, tmp_path):
        folder = save_classifier(tmp_path / "model")
        network = MonoNetwork(*load_classifier(folder, "model", device="cpu"))
        reranker = NetworkReranker(network, "mono", batch_tokens=180)
        expected = reranker.score(*self.LISTS)
        room = Room(network.model.base_model.embeddings, 48)
        for _ in range(3):
            for found, scores in zip(reranker.score(*self.LISTS), expected, strict=True):
                np.testing.assert_allclose(found, scores, atol=1e-5)
        assert 1 <= len(room.failed) <= 3  # in all of three calls

    def test_states_of_passages_and_queries(self):
        network = CrampedNetwork()
        encoder = StateEncoder(network, "words", batch_tokens=112)
        prepared, rows = encoder.prepare(TEXTS), np.arange(len(TEXTS))
        expected, queries = encoder.encode(prepared, rows), encoder.encode_queries(TEXTS)
        network.words = 24
        for _ in range(3):
            np.testing.assert_array_equal(encoder.encode(prepared, rows).values, expected.values)
            for found, known in zip(encoder.encode_queries(TEXTS), queries, strict=True):
                np.testing.assert_array_equal(found.states.detach(), known.states.detach())
        assert len(network.failed) == 2
