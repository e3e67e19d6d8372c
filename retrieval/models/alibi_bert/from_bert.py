"""An ALiBi encoder made of a trained BERT, to be adapted to its new positions instead of pre-trained from nothing.

Attention, embeddings and norms are taken over. Two things are not the same in both networks:

- The gated feed-forward network has no bias, so act(W x + b) seems out of reach. But x comes out of a LayerNorm with
  scale g and shift s, so that the mean of (x - s) / g is 0 for every token: x' = x + shift has mean(x' / g) = 1 where
  shift = g (1 - mean(s / g)). With u = 1 / (d g), u · x' = 1 always, and (W + (b - W shift) u^T) x' = W x + b; the
  linear half is u in each of its rows, which is 1. The shift is taken back in the bias behind the network. So the
  feed-forward networks compute the same function, up to rounding.
- Positions: the mean of BERT's table goes to the token types, the rest is lost; ALiBi takes its place, each slope in
  the head that it disturbs least (`head_order`). This is what training has to make good.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import EncoderError
from retrieval.models.alibi_bert.configuration import AlibiBertConfig
from retrieval.models.alibi_bert.head_order import head_orders, reorder_heads
from retrieval.models.alibi_bert.layers import GatedFeedForward
from retrieval.models.alibi_bert.modeling import AlibiBertModel

_FEED_FORWARD_TYPES = {"gelu": "geglu", "relu": "reglu"}
_SMALLEST_SCALE = 1e-3  # of a LayerNorm, as a part of its largest: below, 1 / g would drown the rest in rounding


def alibi_from_bert(bert: Any, *, max_position_embeddings: int = 8192) -> AlibiBertModel:
    """Return an ALiBi encoder with the weights of a BERT.

    On texts of one token, where there are no distances, it computes what the BERT does with the mean of its position
    vectors at each position.

    Args:
        bert: a `transformers.BertModel`; it is not changed.
        max_position_embeddings: tokens that the new encoder is meant for.

    Raises:
        EncoderError: it is no BERT encoder, its activation has no gated form here, or a LayerNorm has a scale of 0.
    """
    config = alibi_config(bert, max_position_embeddings=max_position_embeddings)
    model = AlibiBertModel(config, add_pooling_layer=bert.pooler is not None).to(bert.dtype).to(bert.device)
    with torch.no_grad():
        embeddings = bert.embeddings
        model.embeddings.word_embeddings.weight.copy_(embeddings.word_embeddings.weight)
        model.embeddings.token_type_embeddings.weight.copy_(
            embeddings.token_type_embeddings.weight + embeddings.position_embeddings.weight.mean(dim=0)
        )
        model.embeddings.LayerNorm.load_state_dict(embeddings.LayerNorm.state_dict())
        for new, old, order in zip(model.encoder.layer, bert.encoder.layer, head_orders(bert), strict=True):
            for name in ("query", "key", "value"):
                getattr(new.attention.self, name).load_state_dict(getattr(old.attention.self, name).state_dict())
            new.attention.output.dense.load_state_dict(old.attention.output.dense.state_dict())
            reorder_heads(new.attention, order)
            new.attention.output.LayerNorm.load_state_dict(old.attention.output.LayerNorm.state_dict())
            new.mlp.layernorm.load_state_dict(old.output.LayerNorm.state_dict())
            _fill(new.mlp, new.attention.output.LayerNorm, old.intermediate.dense, old.output.dense)
        if model.pooler is not None:
            model.pooler.dense.load_state_dict(bert.pooler.dense.state_dict())
    return model.train(bert.training)


def alibi_config(bert: Any, *, max_position_embeddings: int = 8192) -> AlibiBertConfig:
    """Return the settings of the ALiBi encoder that a BERT becomes.

    Raises:
        EncoderError: see `alibi_from_bert`.
    """
    config = bert.config
    if config.model_type != "bert" or getattr(config, "is_decoder", False):
        kind = "a decoder" if config.model_type == "bert" else f"of the type {config.model_type!r}"
        raise EncoderError(f"an ALiBi encoder can be made of a BERT encoder (model_type 'bert'); this one is {kind}")
    if config.hidden_act not in _FEED_FORWARD_TYPES:
        known = ", ".join(_FEED_FORWARD_TYPES)
        raise EncoderError(f"hidden_act is {config.hidden_act!r}; only {known} have a gated form in this network")
    return AlibiBertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        feed_forward_type=_FEED_FORWARD_TYPES[config.hidden_act],
        hidden_act=config.hidden_act,
        hidden_dropout_prob=config.hidden_dropout_prob,
        attention_probs_dropout_prob=config.attention_probs_dropout_prob,
        max_position_embeddings=max_position_embeddings,
        type_vocab_size=config.type_vocab_size,
        initializer_range=config.initializer_range,
        layer_norm_eps=config.layer_norm_eps,
        pad_token_id=config.pad_token_id,
    )


def _fill(network: GatedFeedForward, norm: nn.LayerNorm, inner: nn.Linear, outer: nn.Linear) -> None:
    """Let a gated network behind a LayerNorm compute outer(act(inner(x))) + x; the norm's shift is moved.

    Args:
        network: without biases inside.
        norm: gives its inputs.
        inner: (intermediate_size, d) with bias.
        outer: (d, intermediate_size) with bias.
    """
    scale, before = norm.weight.double(), norm.bias.double()  # (d,) each
    if not bool((scale.abs() > _SMALLEST_SCALE * scale.abs().max()).all()):
        raise EncoderError(
            "a LayerNorm of this BERT has a scale of (nearly) 0, so that no constant can be read from its outputs; "
            "this BERT cannot become an ALiBi encoder"
        )
    shift = scale * (1 - (before / scale).mean())  # (d,)
    one = 1 / (len(scale) * scale)  # (d,); one · (x + shift) is 1 for all outputs x of the norm
    weight, bias = inner.weight.double(), inner.bias.double()
    gate = weight + torch.outer(bias - weight @ shift, one)  # (intermediate_size, d)
    norm.bias.copy_(_like(before + shift, norm.bias))
    network.gated_layers.weight.copy_(_like(torch.cat([gate, one.expand_as(gate)]), network.gated_layers.weight))
    network.wo.weight.copy_(outer.weight)
    network.wo.bias.copy_(_like(outer.bias.double() - shift, network.wo.bias))


def _like(values: Tensor, parameter: Tensor) -> Tensor:
    return values.to(parameter.dtype)
