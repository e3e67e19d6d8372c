"""An encoder with a masked-language-model or a classification head; in checkpoints the encoder is called `bert`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import initialization
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from retrieval.models.bert_heads import MaskedLanguageHead, Predictions
from retrieval.models.strict_loading import StrictPreTrainedModel


class EncoderPreTrainedModel(StrictPreTrainedModel):
    """What the encoders and their heads share: names and initial weights."""

    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    encoder_class: ClassVar[Any] = None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Predictions):
            initialization.zeros_(module.bias)


class EncoderForMaskedLM(EncoderPreTrainedModel):
    """An encoder with a masked-language-model head, whose weights are those of the word embeddings.

    Args:
        config: its settings.
    """

    _tied_weights_keys = {  # noqa: RUF012  # transformers reads it from the class
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    _keys_to_ignore_on_load_unexpected: tuple[str, ...] = (r"^bert\.pooler\.", r"^pooler\.", r"^classifier\.")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = self.encoder_class(config, add_pooling_layer=False)
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
            input_ids: (batch, length) int64.
            attention_mask: (batch, length), 1 at tokens and 0 at padding, on whichever side; all tokens by default.
            token_type_ids: (batch, length) int64; 0 by default.
            inputs_embeds: (batch, length, hidden_size) instead of `input_ids`.
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


class EncoderForSequenceClassification(EncoderPreTrainedModel):
    """An encoder with a linear layer over its pooler: a classifier, or with one label a reranker.

    Args:
        config: its settings; `num_labels` is 1 for a reranker.
    """

    _keys_to_ignore_on_load_unexpected: tuple[str, ...] = (r"^cls\.",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = self.encoder_class(config)
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
            input_ids: as in `EncoderForMaskedLM.forward`, like the next three.
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
