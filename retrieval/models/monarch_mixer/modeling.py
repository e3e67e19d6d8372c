"""The Monarch Mixer encoder with its heads, as transformers models."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import initialization
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import can_return_tuple

from retrieval.errors import EncoderError
from retrieval.models.bert_heads import Pooler, first_tokens
from retrieval.models.encoder_heads import (
    EncoderForMaskedLM,
    EncoderForSequenceClassification,
    EncoderPreTrainedModel,
)
from retrieval.models.monarch_mixer.configuration import MonarchMixerConfig
from retrieval.models.monarch_mixer.implicit_filter import HyenaFilter, PositionalFeatures, Sine, positional_features
from retrieval.models.monarch_mixer.layers import Embeddings, MonarchMixerLayer, ShortFilter
from retrieval.models.monarch_mixer.monarch_matrix import BlockDiagonalLinear

_DERIVED = (
    r"embeddings\.position_ids$",
    r"pos_emb\.t$",
    r"modulation\.deltas$",
    r"implicit_filter\.[35]\.freq$",
    r"implicit_filter_rev\.[135]\.freq$",
    r"flashfft\.",
)
"""What released checkpoints hold besides: numbers that follow from the settings, and the shared frequencies again."""


class MonarchMixerPreTrainedModel(EncoderPreTrainedModel):
    """Settings and initial weights."""

    config_class = MonarchMixerConfig
    _keep_in_fp32_modules_strict = ("filter_fn", "filter_fn2")

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start as the released code does: filters from BERT's small weights, the rest as torch starts them."""
        if isinstance(module, BlockDiagonalLinear):
            initialization.uniform_(module.weight, -module.initial_bound, module.initial_bound)
            if module.bias is not None:
                initialization.zeros_(module.bias)
        elif isinstance(module, ShortFilter):
            initialization.uniform_(module.weight, -module.bound, module.bound)
            initialization.uniform_(module.bias, -module.bound, module.bound)
        elif isinstance(module, HyenaFilter):
            initialization.normal_(module.bias, mean=0.0, std=1.0)
        elif isinstance(module, Sine):
            initialization.constant_(module.freq, module.initial)
        elif isinstance(module, PositionalFeatures):
            initialization.copy_(module.z, positional_features(module.z.shape[1], module.z.shape[2])[None])
        else:
            super()._init_weights(module)


class Encoder(nn.Module):
    """The stack of layers.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(MonarchMixerLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Return the input and the output of each layer, n + 1 times (batch, length, hidden_size)."""
        states = [hidden]
        for layer in self.layer:
            states.append(layer(states[-1], mask))
        return states


class MonarchMixerModel(MonarchMixerPreTrainedModel):
    """M2-BERT: gated long convolutions instead of attention, block-diagonal feed-forward networks (arXiv 2310.12109).

    Args:
        config: its settings.
        add_pooling_layer: with the linear layer and tanh over the first token or the mean, which the released retrieval
            models give as a text's vector.
    """

    _keys_to_ignore_on_load_missing = (r"^pooler\.",)
    _keys_to_ignore_on_load_unexpected = (r"^cls\.", r"^classifier\.", r"^bert\.pooler\.", r"^pooler\.", *_DERIVED)

    def __init__(self, config: MonarchMixerConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.embeddings.word_embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode a batch.

        Args:
            input_ids: (batch, length) int64.
            attention_mask: (batch, length), 1 at tokens and 0 at padding, on whichever side; all tokens by default.
                With `mask_padding` off it is read by the mean of the pooler only.
            token_type_ids: (batch, length) int64; 0 by default.
            inputs_embeds: (batch, length, hidden_size) instead of `input_ids`.
            output_hidden_states: also return the states of all layers.

        Returns:
            `last_hidden_state` (batch, length, hidden_size), whose values at padding mean nothing; `pooler_output`
            (batch, hidden_size); `hidden_states`, one more than layers, when asked for.

        Raises:
            EncoderError: the input is longer than the table of positions or the filters.
            ValueError: not exactly one of `input_ids` and `inputs_embeds`.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        longest = min(self.config.max_position_embeddings, self.config.long_conv_l_max)
        if given.shape[1] > longest:
            raise EncoderError(
                f"the input has {given.shape[1]} tokens, this model reads at most {longest}; cut it, or see "
                "retrieval.models.monarch_mixer.extension"
            )
        read = attention_mask.bool() if attention_mask is not None and self.config.mask_padding else None
        hidden = self.embeddings(input_ids, token_type_ids, inputs_embeds, read)
        states = self.encoder(hidden, None if read is None else read[:, :, None].to(hidden.dtype))
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=states[-1],
            pooler_output=None if self.pooler is None else self.pooler(self._pooled(states[-1], attention_mask)),
            hidden_states=tuple(states) if wanted else None,
        )

    def _pooled(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        if not self.config.pool_all:
            return first_tokens(hidden, attention_mask)
        if attention_mask is None:
            return hidden.mean(dim=1)
        weights = attention_mask[:, :, None].to(hidden.dtype)  # (batch, length, 1)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class MonarchMixerForMaskedLM(EncoderForMaskedLM, MonarchMixerPreTrainedModel):
    """The encoder with a masked-language-model head."""

    encoder_class = MonarchMixerModel
    _keys_to_ignore_on_load_unexpected = (*EncoderForMaskedLM._keys_to_ignore_on_load_unexpected, *_DERIVED)


class MonarchMixerForSequenceClassification(EncoderForSequenceClassification, MonarchMixerPreTrainedModel):
    """The encoder with a linear layer over the pooler."""

    encoder_class = MonarchMixerModel
    _keys_to_ignore_on_load_unexpected = (
        *EncoderForSequenceClassification._keys_to_ignore_on_load_unexpected,
        *_DERIVED,
    )
