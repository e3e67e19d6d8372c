"""A last layer for the first token alone: the same logits, the model left as it was, other models as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval.rerankers.first_token import FirstTokenLayer, reading_first_token

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}


def build(family, **settings):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES, **settings)
    return getattr(transformers, f"{family}ForSequenceClassification")(config).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["Bert", "Electra", "Roberta", "XLMRoberta"])
def test_the_logits_are_those_of_the_whole_layer(family, attention):
    model = build(family, num_labels=2)
    model.set_attn_implementation(attention)
    shortened = reading_first_token(model)
    assert shortened is not model
    ids = torch.randint(1, 50, (5, 12), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(12) < torch.tensor([12, 1, 5, 11, 7])[:, None]).long()
    with torch.inference_mode():
        for seen in (None, mask):
            expected = model(input_ids=ids, attention_mask=seen).logits
            assert expected.std() > 0.01
            np.testing.assert_allclose(shortened(input_ids=ids, attention_mask=seen).logits, expected, atol=1e-5)


def test_the_model_stays_as_it_is_and_shares_its_parameters():
    model = build("Bert")
    names = list(model.state_dict())
    shortened = reading_first_token(model)
    assert list(model.state_dict()) == names
    assert not any(isinstance(module, FirstTokenLayer) for module in model.modules())
    assert {id(parameter) for parameter in shortened.parameters()} == {
        id(parameter) for parameter in model.parameters()
    }
    ids = torch.arange(1, 9).reshape(2, 4)
    with torch.inference_mode():
        model.bert.encoder.layer[1].output.dense.bias.data += 1.0
        np.testing.assert_allclose(shortened(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5)


def test_models_that_are_not_known_are_left_alone():
    import transformers

    torch.manual_seed(0)
    other = transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=4, hidden_dim=64)
    ).eval()
    assert reading_first_token(other) is other


def test_a_layer_that_computes_something_else_is_left_alone(monkeypatch):
    """As one of another version of the library might: it is noticed, not trusted."""
    model = build("Bert")
    forward = FirstTokenLayer.forward
    monkeypatch.setattr(FirstTokenLayer, "forward", lambda self, *args, **kwargs: 1.5 * forward(self, *args, **kwargs))
    assert reading_first_token(model) is model
