"""SPLADE without padding gives the weights of the library's own way, whatever a batch holds, a few tokens at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling

from retrieval.encoders import load_sparse_encoder
from retrieval.encoders.sparse_transformer import SparseTransformerEncoder
from retrieval.execution import packed_splade as module
from retrieval.execution.packed import packed_network
from retrieval.execution.packed_splade import PackedSplade, language_head
from tests.encoders.conftest import own_cache, sparse_model
from tests.execution.networks import FAMILIES, LONGEST, PAD_IDS, VOCABULARY, batch_of, build

__all__ = ["own_cache", "sparse_model"]

TEXTS = ["how do I read a csv file", "", "a", "the search engine " * 30, "a", "tokens of words"]
LENGTHS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=6)
MODELS = {family: build(family, "ForMaskedLM") for family in FAMILIES}


def expected(family, pooling, batch):
    """Return what the library makes of the padded batch."""
    features = {name: torch.from_numpy(each) for name, each in batch.padded(PAD_IDS.get(family, 0)).items()}
    with torch.inference_mode():
        logits = MODELS[family](**features).logits
        found = pooling({"token_embeddings": logits, "attention_mask": features["attention_mask"]})
    return found["sentence_embedding"].numpy()


def packed(family, pooling, *, copied=False):
    network = MODELS[family]
    return PackedSplade(packed_network(network.base_model, copied=copied), language_head(network), pooling)


@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_library(family, strategy, activation):
    pooling = SpladePooling(strategy, activation).eval()
    runs = packed(family, pooling, copied=True)

    @given(LENGTHS, st.integers(0, 5), st.sampled_from([1, 3, 7, 1000]))
    def check(lengths, seed, tokens):
        batch = batch_of(lengths, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_SCORES", tokens * VOCABULARY)
            found = runs.run(batch).numpy()
        assert found.shape == (len(lengths), VOCABULARY)
        assert (found >= 0).all()
        np.testing.assert_allclose(found, expected(family, pooling, batch), atol=2e-5, rtol=1e-5)

    check()


def test_no_more_scores_are_in_memory_than_are_allowed(monkeypatch):
    monkeypatch.setattr(module, "_SCORES", 10 * VOCABULARY)
    runs, rows = packed("Bert", SpladePooling("max").eval()), []
    decoder = MODELS["Bert"].cls.predictions.decoder
    with decoder.register_forward_hook(lambda *given: rows.append(len(given[2]))):
        runs.run(batch_of([25, 4, 4, 3, 1]))
    assert max(rows) <= 10
    assert sum(rows) == 37


def test_other_heads_and_networks_are_left_to_the_library():
    assert language_head(build("Bert")) is None
    assert language_head(None) is None


def padded_encoder(folder):
    return SparseTransformerEncoder(SparseEncoder(str(folder), device="cpu"), packed=False)


class TestEncoder:
    @pytest.mark.parametrize("pooling", ["max", "sum"])
    def test_entries_are_those_of_the_padded_way(self, sparse_model, pooling):
        folder = sparse_model("splade", pooling=pooling)
        without, library = load_sparse_encoder(folder), padded_encoder(folder)
        assert without.execution()["packed"]
        assert "packed" not in library.execution()
        assert without.identity() == library.identity()
        for side in ("encode_queries", "encode_passages"):
            found, known = getattr(without, side)(TEXTS), getattr(library, side)(TEXTS)
            np.testing.assert_array_equal(found.offsets, known.offsets)
            np.testing.assert_array_equal(found.dimensions, known.dimensions)
            np.testing.assert_allclose(found.weights, known.weights, atol=1e-5)

    def test_the_largest_are_kept_where_the_model_says_so(self, sparse_model):
        folder = sparse_model("splade", max_active_dims=5)
        encoder = load_sparse_encoder(folder)
        assert encoder.execution()["packed"]
        assert np.diff(encoder.encode_passages(TEXTS).offsets).max() <= 5

    def test_other_models_are_padded(self, sparse_model):
        assert "packed" not in load_sparse_encoder(sparse_model("buckets")).execution()
