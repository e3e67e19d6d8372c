"""Settings of the ALiBi encoder, with the names that the published checkpoints use."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from retrieval.errors import EncoderError

FAMILIES = ("jina-bert-v2", "jina-bert-v2-qk-post-norm")
FEED_FORWARD_TYPES = ("geglu", "reglu")
ATTENTION_MODES = ("auto", "dense", "streamed", "blockwise")


@strict
class AlibiBertConfig(PreTrainedConfig):
    """Settings of a BERT with symmetric ALiBi and a gated feed-forward network (arXiv 2310.19923).

    The defaults are those of jina-embeddings-v2-base-en.

    Attributes:
        family: layout of a layer, which also decides the names of its parameters.
            "jina-bert-v2": the first half of the gated projection is activated, the second one is linear.
            "jina-bert-v2-qk-post-norm": queries and keys pass a LayerNorm, the residual is added and normalised twice
            after attention, and the halves change places: the second one is activated.
        feed_forward_type: "geglu" (exact GELU) or "reglu" (ReLU).
        attention_mode: how attention is computed; all give the same numbers up to rounding. "auto" chooses by device
            and length; see `retrieval.models.alibi_bert.attention`.
        hidden_act: activation of the masked-language-model head; the feed-forward network has its own.
        max_position_embeddings: the length that the model is meant for, in tokens. There is no table of positions:
            longer inputs run, and the tokenizer is what cuts them.

    Raises:
        EncoderError: an unknown name, or a width that the heads do not divide.
    """

    model_type = "alibi_bert"

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    family: str = "jina-bert-v2"
    feed_forward_type: str = "geglu"
    attention_mode: str = "auto"
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.0
    max_position_embeddings: int = 8192
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | int | None = None
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the names and the widths."""
        for name, known in (
            ("family", FAMILIES),
            ("feed_forward_type", FEED_FORWARD_TYPES),
            ("attention_mode", ATTENTION_MODES),
        ):
            if getattr(self, name) not in known:
                raise EncoderError(f"{name} is {getattr(self, name)!r}; this model knows {', '.join(known)}")
        if self.hidden_size % self.num_attention_heads:
            raise EncoderError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
        super().__post_init__(**kwargs)
