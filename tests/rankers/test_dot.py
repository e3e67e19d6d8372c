"""BERT_DOT: inner products of first states, the folder, training, and backbones that it cannot take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval.errors import RecipeError, RerankerError
from retrieval.models.rankers.dot import DotNetwork, DotSettings
from retrieval.rerankers import load_reranker
from retrieval.training.builders import dot as builder
from tests.rankers.conftest import PASSAGES, QUERIES
from tests.rankers.students import lists, scores_of, train
from tests.rerankers.conftest import save_causal, save_roberta

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = {"query_tokens": 12, "passage_tokens": 40}


@pytest.mark.parametrize("kind", ["bert", "distil"])
def test_scores_are_inner_products_of_first_states(kind, backbone):
    from transformers import AutoModel, AutoTokenizer

    network = builder.build_model(backbone=backbone(kind), **SMALL).eval()
    encoder = AutoModel.from_pretrained(backbone(kind)).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone(kind))

    def first(texts, limit):
        cut = {"truncation": True, "max_length": limit, "return_tensors": "pt", "return_token_type_ids": False}
        with torch.inference_mode():
            found = [encoder(**tokenizer(text, **cut)).last_hidden_state[0, 0].numpy() for text in texts]
        return np.stack(found)

    expected = first(QUERIES, 12) @ first(PASSAGES, 40).T
    np.testing.assert_allclose(scores_of(network), expected, rtol=1e-5, atol=1e-4)


def test_one_folder_one_identity_and_the_same_scores_in_every_way(backbone, tmp_path):
    network = builder.build_model(backbone=backbone(), **SMALL).eval()
    network.save(tmp_path)
    expected = scores_of(network)
    np.testing.assert_array_equal(scores_of(DotNetwork.load(tmp_path)), expected)
    reranker = load_reranker(tmp_path, device="cpu")
    np.testing.assert_allclose(reranker.score(QUERIES, lists()), expected, rtol=1e-5, atol=1e-4)
    states = reranker.encode_passages(PASSAGES)
    assert (states.values.shape, states.lengths.tolist()) == ((5, 32), [1] * 5)
    np.testing.assert_allclose(reranker.score_states(QUERIES[0], states), expected[0], rtol=1e-5, atol=1e-4)
    assert reranker.identity()["settings"] == SMALL
    rounded = load_reranker(tmp_path, precision="bf16", device="cpu").score(QUERIES, lists())
    np.testing.assert_allclose(rounded, expected, rtol=0.1, atol=0.5)


def test_a_few_steps_lower_the_loss_and_reach_every_parameter(backbone, seeded):
    losses, idle = train(builder.build_model(backbone=backbone(), **SMALL), rate=1e-3)
    assert losses[-1] < 0.5 * losses[0]
    assert not idle


def test_any_encoder_with_a_first_token(tmp_path):
    """RoBERTa counts positions from behind the padding's, and has no segments."""
    from transformers import RobertaModel

    folder = save_roberta(tmp_path / "roberta")
    network = builder.build_model(backbone=str(_encoder(folder, tmp_path / "encoder", RobertaModel)), **SMALL).eval()
    together = scores_of(network, ["the search engine"], ["a document", "the query ranks " * 9])
    alone = scores_of(network, ["the search engine"], ["a document"])
    np.testing.assert_allclose(alone[:, 0], together[:, 0], rtol=1e-5)
    network.save(tmp_path / "saved")
    again = scores_of(DotNetwork.load(tmp_path / "saved"), ["the search engine"], ["a document"])
    np.testing.assert_array_equal(again, alone)
    with pytest.raises(RerankerError, match="up to 129 tokens, but the backbone reads 128"):
        builder.build_model(backbone=str(tmp_path / "encoder"), passage_tokens=129)


def _encoder(folder, target, kind):
    from transformers import AutoTokenizer

    kind.from_pretrained(folder).save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return target


def test_a_first_token_that_reads_nothing_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="causal"):
        builder.build_model(backbone=str(save_causal(tmp_path / "causal")), **SMALL)


def test_a_tokenizer_without_a_first_token_is_refused(backbone):
    from tokenizers.processors import TemplateProcessing

    transformer = builder.build_model(backbone=backbone(), **SMALL)
    tokenizer = transformer.tokenizer
    ids = {"[SEP]": tokenizer.sep_token_id}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("$A [SEP]", "$A [SEP] $B", list(ids.items()))
    with pytest.raises(RerankerError, match="no token before a text"):
        DotNetwork(transformer.backbone, tokenizer, DotSettings(**SMALL))
