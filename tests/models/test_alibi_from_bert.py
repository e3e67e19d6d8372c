"""An ALiBi encoder made of a BERT: what stays the same function, and which head gets which slope."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import BertConfig, BertModel

from retrieval.errors import EncoderError
from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertForMaskedLM, AlibiBertModel
from retrieval.models.alibi_bert.alibi import alibi_bias, alibi_slopes
from retrieval.models.alibi_bert.from_bert import alibi_from_bert
from retrieval.models.alibi_bert.head_order import head_orders, reorder_heads

SMALL = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_attention_heads": 6,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
}


def random_bert(n_layers: int = 2, seed: int = 0, **changes) -> BertModel:
    """Return a BERT in which no norm, bias or embedding is as it was initialised."""
    generator = torch.Generator().manual_seed(seed)
    model = BertModel(BertConfig(**{**SMALL, "num_hidden_layers": n_layers, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            scaled = 0.3 * drawn
            if name.endswith("LayerNorm.weight"):
                scaled = 0.5 + drawn.abs()
            parameter.copy_(scaled)
    return model


def placeless(bert: BertModel) -> BertModel:
    """Return a copy that has the mean of its positions at each of them."""
    model = copy.deepcopy(bert)
    table = model.embeddings.position_embeddings.weight
    with torch.no_grad():
        table.copy_(table.mean(dim=0).expand_as(table))
    return model


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_one_token_is_encoded_as_before(activation):
    bert = random_bert(hidden_act=activation)
    words = torch.arange(50)[:, None]
    with torch.no_grad():
        found, wanted = alibi_from_bert(bert)(words), placeless(bert)(words)
    torch.testing.assert_close(found.last_hidden_state, wanted.last_hidden_state, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.pooler_output, wanted.pooler_output, atol=2e-5, rtol=1e-4)


def test_texts_are_encoded_as_by_a_bert_whose_attention_is_given_the_biases():
    bert = random_bert(n_layers=1)
    (order,) = head_orders(bert)
    words = torch.randint(50, (3, 20), generator=torch.Generator().manual_seed(1))
    bias = torch.empty(6, 20, 20)
    bias[order] = alibi_bias(alibi_slopes(6), torch.arange(20), torch.arange(20))
    with torch.no_grad():
        wanted = placeless(bert)(words, attention_mask=bias.expand(3, -1, -1, -1)).last_hidden_state
        found = alibi_from_bert(bert)(words).last_hidden_state
    assert (wanted - placeless(bert)(words).last_hidden_state).abs().max() > 0.05  # the biases have a say
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


def test_the_bert_is_left_as_it_is():
    bert = random_bert()
    before = copy.deepcopy(bert.state_dict())
    alibi_from_bert(bert)
    assert all(torch.equal(before[name], value) for name, value in bert.state_dict().items())


def test_bf16_computes_the_same_in_its_own_rounding():
    words = torch.arange(50)[:, None]
    bert = random_bert()
    with torch.no_grad():
        exact = placeless(bert)(words).last_hidden_state
        alone = placeless(bert).bfloat16()(words).last_hidden_state.float()
        found = alibi_from_bert(bert.bfloat16())(words).last_hidden_state
    assert found.dtype == torch.bfloat16
    # Not much farther from the truth than the BERT itself is in bf16.
    assert (found.float() - exact).square().mean() < 6 * (alone - exact).square().mean()


def test_reads_more_than_the_bert_and_loads_again(tmp_path):
    model = alibi_from_bert(random_bert())
    words = torch.randint(50, (1, 200), generator=torch.Generator().manual_seed(2))
    model.save_pretrained(tmp_path)
    again = AlibiBertModel.from_pretrained(tmp_path)
    assert again.config.max_position_embeddings == 8192
    with torch.no_grad():
        torch.testing.assert_close(again(words).last_hidden_state, model(words).last_hidden_state)
    AlibiBertForMaskedLM.from_pretrained(tmp_path, allow_missing=["cls.*"])  # the encoder under a new head


def test_a_head_that_looks_at_its_neighbours_gets_the_steepest_slope():
    """Queries and keys of one head find the word beside them by its position; the others look everywhere."""
    bert = random_bert(n_layers=1)
    embeddings, layer = bert.embeddings, bert.encoder.layer[0].attention.self
    near = 3
    rows = slice(near * 4, near * 4 + 4)
    angles = torch.arange(32) / 2
    with torch.no_grad():
        for linear in (layer.query, layer.key):
            linear.weight.zero_()
            linear.bias.zero_()
            linear.weight[rows, :2] = 40 * torch.eye(4, 2)
        embeddings.word_embeddings.weight[:, :2] = 0
        embeddings.token_type_embeddings.weight[:, :2] = 0
        embeddings.position_embeddings.weight[:, 2:] = 0
        embeddings.position_embeddings.weight[:, 0] = angles.cos()
        embeddings.position_embeddings.weight[:, 1] = angles.sin()
    (order,) = head_orders(bert)
    assert sorted(order) == list(range(6))
    steepest = int(alibi_slopes(6).argmax())
    assert order[steepest] == near


def test_heads_change_places_without_changing_the_layer():
    bert = random_bert(n_layers=1)
    words = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        before = bert(words).last_hidden_state
        query = bert.encoder.layer[0].attention.self.query.weight.clone()
        reorder_heads(bert.encoder.layer[0].attention, [5, 0, 4, 1, 3, 2])
        torch.testing.assert_close(bert(words).last_hidden_state, before, atol=1e-5, rtol=1e-4)
    moved = bert.encoder.layer[0].attention.self.query.weight
    torch.testing.assert_close(moved[:4], query[20:24])
    torch.testing.assert_close(moved[8:12], query[16:20])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "tanh"}, "hidden_act is 'tanh'"),
        ({"is_decoder": True}, "this one is a decoder"),
    ],
)
def test_what_has_no_alibi_form_is_refused(changes, said):
    with pytest.raises(EncoderError, match=said):
        alibi_from_bert(random_bert(**changes))


def test_other_networks_are_refused():
    with pytest.raises(EncoderError, match="of the type 'alibi_bert'"):
        alibi_from_bert(AlibiBertModel(AlibiBertConfig(**SMALL, num_hidden_layers=1)))


def test_a_scale_of_zero_is_refused():
    bert = random_bert()
    with torch.no_grad():
        bert.encoder.layer[1].attention.output.LayerNorm.weight[5] = 0
    with pytest.raises(EncoderError, match="scale of"):
        alibi_from_bert(bert)
