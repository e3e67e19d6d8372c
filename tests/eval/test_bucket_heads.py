"""Heads on stored hidden states give what the whole model gives; costs are those of the collections' parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.experiments.bucket_heads import head_vectors, new_head, train_head
from eval.experiments.hidden_states import HiddenStates
from eval.experiments.search_costs import search_costs
from eval.pools import Pool
from indexes.sparse_vectors import SparseVectors
from retrieval.models.ultra_high_dimensional.building import bucket_module, build_encoder, centre
from tests.models.sparse_models import tiny_encoder

TEXTS = ["the search engine", "retrieval of a document", "word", "a model is a model of words"]


@pytest.fixture
def transformer(tmp_path):
    model = tiny_encoder(tmp_path)
    model[0].model.config.output_hidden_states = True
    return model[0]


def test_states_are_those_of_the_whole_model(transformer):
    states = HiddenStates(transformer, TEXTS, (0, 2))
    model = build_encoder(transformer, device="cpu", layers=(0, 2), dimensions=(40, 60), k=4)
    with torch.inference_mode():
        whole = transformer(transformer.preprocess(TEXTS))
        stored = states.features([2, 0])
    for layer in (0, 2):
        expected = torch.cat(
            [whole["all_layer_embeddings"][layer][row][whole["attention_mask"][row].bool()] for row in (2, 0)]
        )
        torch.testing.assert_close(stored["all_layer_embeddings"][layer], expected, atol=0.05, rtol=0.05)
    assert stored["cu_seq_lens_q"].diff().tolist() == whole["attention_mask"][[2, 0]].sum(1).tolist()
    assert bucket_module(model)(stored)["sentence_embedding"].shape == (2, 100)


def test_a_new_head_is_centred_as_a_model_is(transformer):
    states = HiddenStates(transformer, TEXTS, (0, 2))
    head = new_head(transformer, states, layers=(0, 2), dimensions=(40, 60), k=4, seed=3)
    model = build_encoder(transformer, device="cpu", seed=3, layers=(0, 2), dimensions=(40, 60), k=4)
    centre(model, TEXTS)
    for one, other in zip(head.linears, bucket_module(model).linears, strict=True):
        assert torch.equal(one.weight, other.weight)
        torch.testing.assert_close(one.bias, other.bias, atol=0.02, rtol=0.02)


def test_a_trained_head_ranks_its_pairs_better(transformer):
    states = HiddenStates(transformer, TEXTS, (2,))
    head = new_head(transformer, states, layers=(2,), dimensions=(60,), k=4, seed=0)
    backwards = HiddenStates(transformer, TEXTS[::-1], (2,))

    def scores():
        vectors = head_vectors(head, states, backwards, states)
        assert 0 <= vectors.dead_share < 1
        assert 0 < vectors.largest_weight <= max(vectors.passages.weights)
        return dense(vectors.queries, 60) @ dense(vectors.passages, 60).T

    before = np.diagonal(scores()) - scores().mean(1)
    settings = {"temperature": 1.0, "binary": 0.5}
    train_head(head, states, backwards, steps=30, batch_size=4, rate=3e-2, seed=0, loss_settings=settings)
    assert (np.diagonal(scores()) - scores().mean(1)).mean() > before.mean() + 0.5


def dense(vectors, n):
    rows = np.zeros((len(vectors), n))
    rows[np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets)), vectors.dimensions] = vectors.weights
    return rows


def test_costs_are_of_what_each_side_reads(tmp_path):
    texts = [f"green tea number {number}" for number in range(20)]
    pool = Pool("toy", [str(number) for number in range(20)], texts, {"q": "green tea"}, {"q": {"3": 1}})
    generator = np.random.default_rng(0)
    vectors = [generator.normal(size=(n, 8)).astype(np.float32) for n in (1, 20)]
    sparse = [
        SparseVectors(np.arange(n + 1) * 3, np.tile(np.array([1, 5, 9], np.int32), n), np.ones(3 * n, np.float32))
        for n in (1, 20)
    ]
    costs = search_costs(pool, (vectors[0], vectors[1]), (sparse[0], sparse[1], 1.0), tmp_path, repeats=1)
    assert all(0 < cost.milliseconds <= cost.p99 for cost in costs.values())
    assert costs["dense, exact"].bytes_per_document > 8 * 4  # float32 numbers, and the files' heads
    assert costs["dense, HNSW"].bytes_per_document > costs["dense, exact"].bytes_per_document
    impacts, binary = (costs[f"ultra-high-dimensional, {kind}"].bytes_per_document for kind in ("impacts", "binary"))
    assert impacts > binary > 0
