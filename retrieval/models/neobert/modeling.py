"""NeoBERT with its heads, as transformers models; in checkpoints with a head the encoder is called `model`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from retrieval.models.bert_heads import first_tokens
from retrieval.models.neobert.configuration import NeoBertConfig
from retrieval.models.neobert.layers import EncoderBlock
from retrieval.models.neobert.rotary import rotations
from retrieval.models.strict_loading import StrictPreTrainedModel


class NeoBertPreTrainedModel(StrictPreTrainedModel):
    """What the encoder and its heads share: names and initial weights."""

    config_class = NeoBertConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            limit = self.config.decoder_init_range
            initialization.uniform_(module.weight, -limit, limit)
            if module.bias is not None:
                initialization.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            limit = self.config.embedding_init_range
            initialization.uniform_(module.weight, -limit, limit)
        elif isinstance(module, nn.RMSNorm):
            initialization.ones_(module.weight)


class NeoBertModel(NeoBertPreTrainedModel):
    """The encoder (arXiv 2502.19587).

    Args:
        config: its settings.
    """

    _keys_to_ignore_on_load_unexpected = (r"^decoder\.", r"^dense\.", r"^classifier\.")

    def __init__(self, config: NeoBertConfig) -> None:
        super().__init__(config)
        self.encoder = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.transformer_encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.num_hidden_layers))
        self.layer_norm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.encoder

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.encoder = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,  # noqa: ARG002  # BERT's tokenizer makes them
        *,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length) int64.
            attention_mask: (batch, length), 1 at tokens and 0 at padding, on whichever side; all tokens by default.
            token_type_ids: not read.
            inputs_embeds: (batch, length, hidden_size) instead of `input_ids`.
            output_hidden_states: also return the states of all layers.

        Returns:
            `last_hidden_state` (batch, length, hidden_size), whose values at padding mean nothing; `hidden_states`, one
            more than layers, when asked for: the last of them is `last_hidden_state`, after the final norm.

        Raises:
            ValueError: not exactly one of `input_ids` and `inputs_embeds`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        hidden = self.encoder(input_ids) if inputs_embeds is None else inputs_embeds
        config = self.config
        turns = rotations(
            hidden.shape[1], config.hidden_size // config.num_attention_heads, float(config.rope_theta), hidden.device
        )
        mask = _key_mask(attention_mask)
        states = [hidden]
        for block in self.transformer_encoder:
            states.append(block(states[-1], mask, turns))
        states[-1] = self.layer_norm(states[-1])
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states) if wanted else None)


class NeoBertForMaskedLM(NeoBertPreTrainedModel):
    """The encoder with a linear layer that scores all words; its weights are its own.

    Args:
        config: its settings.
    """

    _keys_to_ignore_on_load_unexpected = (r"^dense\.", r"^classifier\.")

    def __init__(self, config: NeoBertConfig) -> None:
        super().__init__(config)
        self.model = NeoBertModel(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the layer that scores all words."""
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer that scores all words."""
        self.decoder = new_embeddings

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
            input_ids: as in `NeoBertModel.forward`, like the next three.
            attention_mask: see there.
            token_type_ids: see there.
            inputs_embeds: see there.
            labels: (batch, length) int64, the words to predict; -100 where nothing is predicted.
            output_hidden_states: also return the states of all layers.

        Returns:
            `logits` (batch, length, vocab_size), and the mean cross-entropy `loss` with `labels`.
        """
        found = self.model(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
        )
        logits = self.decoder(found.last_hidden_state)
        loss = None if labels is None else self.loss_function(logits, labels, vocab_size=self.config.vocab_size)
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)


class NeoBertForSequenceClassification(NeoBertPreTrainedModel):
    """The encoder with a linear layer, tanh and a classifier over the first token; with one label a reranker.

    Args:
        config: its settings; `num_labels` is 1 for a reranker.
    """

    _keys_to_ignore_on_load_unexpected = (r"^decoder\.",)

    def __init__(self, config: NeoBertConfig) -> None:
        super().__init__(config)
        self.model = NeoBertModel(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.classifier_dropout)
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
            input_ids: as in `NeoBertModel.forward`, like the next three.
            attention_mask: see there.
            token_type_ids: see there.
            inputs_embeds: see there.
            labels: (batch,), numbers for one label, classes for several.
            output_hidden_states: also return the states of all layers.

        Returns:
            `logits` (batch, num_labels), and the `loss` with `labels`.
        """
        found = self.model(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
        )
        first = first_tokens(found.last_hidden_state, attention_mask)
        logits = self.classifier(self.dropout(torch.tanh(self.dense(self.dropout(first)))))
        loss: Any = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)


def _key_mask(attention_mask: Tensor | None) -> Tensor | None:
    """Return which keys are attended to, (batch, 1, 1, length) bool; None where all are.

    A text without tokens attends to everything: over nothing, the softmax would not be a number.
    """
    if attention_mask is None:
        return None
    tokens = attention_mask.bool()
    if tokens.device.type == "cpu" and bool(tokens.all()):
        return None
    return (tokens | ~tokens.any(dim=1, keepdim=True))[:, None, None]
