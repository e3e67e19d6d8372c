"""The ALiBi encoder with its heads, as transformers models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput, SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from retrieval.models.alibi_bert.alibi import alibi_slopes
from retrieval.models.alibi_bert.attention import AlibiAttention
from retrieval.models.alibi_bert.configuration import AlibiBertConfig
from retrieval.models.alibi_bert.layers import AlibiBertLayer, Embeddings
from retrieval.models.bert_heads import MaskedLanguageHead, Pooler, Predictions, first_tokens
from retrieval.models.strict_loading import StrictPreTrainedModel


class AlibiBertPreTrainedModel(StrictPreTrainedModel):
    """What all ALiBi models share: settings, initial weights, names."""

    config_class = AlibiBertConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ("AlibiBertLayer",)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Predictions):
            initialization.zeros_(module.bias)


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


class AlibiBertModel(AlibiBertPreTrainedModel):
    """BERT with symmetric ALiBi instead of positions and a gated feed-forward network (arXiv 2310.19923).

    Args:
        config: its settings.
        add_pooling_layer: with the linear layer and tanh over the first token, which mean pooling does not read.
    """

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


class AlibiBertForMaskedLM(AlibiBertPreTrainedModel):
    """The encoder with a masked-language-model head, whose weights are those of the word embeddings.

    Args:
        config: its settings.
    """

    _tied_weights_keys = {  # noqa: RUF012  # transformers reads it from the class
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    _keys_to_ignore_on_load_unexpected = (r"^bert\.pooler\.", r"^pooler\.", r"^classifier\.")

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__(config)
        self.bert = AlibiBertModel(config, add_pooling_layer=False)
        self.cls = MaskedLanguageHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the layer that scores all words."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer that scores all words."""
        self.cls.predictions.decoder = new_embeddings
        self.cls.predictions.bias = new_embeddings.bias

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Score all words at all positions.

        Args:
            input_ids: as in `AlibiBertModel.forward`, like the next three.
            attention_mask: see there.
            token_type_ids: see there.
            inputs_embeds: see there.
            labels: (batch, length) int64, the words to predict; -100 where nothing is predicted.
            output_hidden_states: also return the states of all layers.

        Returns:
            `logits` (batch, length, vocab_size), and the mean cross-entropy `loss` with `labels`.
        """
        found = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
        )
        logits = self.cls(found.last_hidden_state)
        loss = None if labels is None else self.loss_function(logits, labels, vocab_size=self.config.vocab_size)
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)


class AlibiBertForSequenceClassification(AlibiBertPreTrainedModel):
    """The encoder with a linear layer over the pooler, as the published rerankers (jina-reranker-v1) have it.

    Args:
        config: its settings; `num_labels` is 1 for a reranker.
    """

    _keys_to_ignore_on_load_unexpected = (r"^cls\.",)

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__(config)
        self.bert = AlibiBertModel(config)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Score each text, or each pair of texts.

        Args:
            input_ids: as in `AlibiBertModel.forward`, like the next three.
            attention_mask: see there.
            token_type_ids: see there.
            inputs_embeds: see there.
            labels: (batch,), numbers for one label, classes for several.
            output_hidden_states: also return the states of all layers.

        Returns:
            `logits` (batch, num_labels), and the `loss` with `labels`.
        """
        found = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
        )
        logits = self.classifier(self.dropout(found.pooler_output))
        loss: Any = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)
