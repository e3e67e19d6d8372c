"""The ALiBi encoder with its heads, as transformers models."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import can_return_tuple

from retrieval.models.alibi_bert.alibi import alibi_slopes
from retrieval.models.alibi_bert.attention import AlibiAttention
from retrieval.models.alibi_bert.configuration import AlibiBertConfig
from retrieval.models.alibi_bert.layers import AlibiBertLayer, Embeddings
from retrieval.models.bert_heads import Pooler, first_tokens
from retrieval.models.encoder_heads import (
    EncoderForMaskedLM,
    EncoderForSequenceClassification,
    EncoderPreTrainedModel,
)


class Encoder(nn.Module):
    """The stack of layers.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(AlibiBertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden: Tensor, attention: AlibiAttention) -> list[Tensor]:
        """Return the input and the output of each layer, n + 1 times (batch, length, hidden_size)."""
        states = [hidden]
        for layer in self.layer:
            states.append(layer(states[-1], attention))
        return states


class AlibiBertModel(EncoderPreTrainedModel):
    """BERT with symmetric ALiBi instead of positions and a gated feed-forward network (arXiv 2310.19923).

    Args:
        config: its settings.
        add_pooling_layer: with the linear layer and tanh over the first token, which mean pooling does not read.
    """

    config_class = AlibiBertConfig
    # An encoder that was pre-trained with a head has no pooler; heads of other tasks are not the encoder's.
    _keys_to_ignore_on_load_missing = (r"^pooler\.",)
    _keys_to_ignore_on_load_unexpected = (r"^cls\.", r"^classifier\.", r"^bert\.pooler\.", r"^pooler\.")

    def __init__(self, config: AlibiBertConfig, add_pooling_layer: bool = True) -> None:
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
            token_type_ids: (batch, length) int64; 0 by default.
            inputs_embeds: (batch, length, hidden_size) instead of `input_ids`.
            output_hidden_states: also return the states of all layers.

        Returns:
            `last_hidden_state` (batch, length, hidden_size), whose values at padding mean nothing; `pooler_output`
            (batch, hidden_size); `hidden_states`, one more than layers, when asked for.

        Raises:
            ValueError: not exactly one of `input_ids` and `inputs_embeds`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        hidden = self.embeddings(input_ids, token_type_ids, inputs_embeds)
        attention = AlibiAttention.prepare(
            alibi_slopes(self.config.num_attention_heads).to(hidden.device),
            attention_mask,
            (hidden.shape[0], hidden.shape[1]),
            dtype=hidden.dtype,
            mode=self.config.attention_mode,
            dropout=float(self.config.attention_probs_dropout_prob) if self.training else 0.0,
        )
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = self.encoder(hidden, attention)
        return BaseModelOutputWithPooling(
            last_hidden_state=states[-1],
            pooler_output=None if self.pooler is None else self.pooler(first_tokens(states[-1], attention_mask)),
            hidden_states=tuple(states) if wanted else None,
        )


class AlibiBertForMaskedLM(EncoderForMaskedLM):
    """The encoder with a masked-language-model head."""

    config_class = AlibiBertConfig
    encoder_class = AlibiBertModel


class AlibiBertForSequenceClassification(EncoderForSequenceClassification):
    """The encoder with a linear layer over the pooler, as the published rerankers (jina-reranker-v1) have it."""

    config_class = AlibiBertConfig
    encoder_class = AlibiBertModel
