"""Settings of NeoBERT, with the names that the published checkpoint uses."""

from __future__ import annotations

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from retrieval.errors import EncoderError

_INNER_MULTIPLE = 8


@strict
class NeoBertConfig(PreTrainedConfig):
    """Settings of NeoBERT (arXiv 2502.19587); the defaults are those of the published model.

    Attributes:
        intermediate_size: of a feed-forward network without a gate. The gated one has three matrices instead of two and
            is two thirds as wide, so that it has as many parameters; see `inner_size`.
        norm_eps: of the RMSNorms.
        max_length: tokens that the model was trained to read. Positions are rotations, not a table: longer inputs run.
        rope_theta: base of the rotations' wavelengths.
        dropout: after attention and after the feed-forward network, in training; the published model has none.
        classifier_dropout: of the classification head.
        embedding_init_range: new word embeddings are uniform between plus and minus this.
        decoder_init_range: the same for all matrices.

    Raises:
        EncoderError: heads of a width that is no even number.
    """

    model_type = "neobert"
    attribute_map: ClassVar[dict[str, str]] = {"max_position_embeddings": "max_length"}

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 28
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    norm_eps: float = 1e-5
    max_length: int = 4096
    rope_theta: float | int = 10000.0
    pad_token_id: int | None = 0
    dropout: float | int = 0.0
    classifier_dropout: float | int = 0.1
    embedding_init_range: float = 0.02
    decoder_init_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the widths."""
        if self.hidden_size % (2 * self.num_attention_heads):
            raise EncoderError(
                f"hidden_size {self.hidden_size} is no even multiple of num_attention_heads "
                f"{self.num_attention_heads}, and rotary positions turn pairs of numbers"
            )
        super().__post_init__(**kwargs)

    @property
    def inner_size(self) -> int:
        """Width between the matrices of the feed-forward network: two thirds of `intermediate_size`, a multiple of 8.

        2048 for 3072.
        """
        two_thirds = int(2 * self.intermediate_size / 3)
        return -(-two_thirds // _INNER_MULTIPLE) * _INNER_MULTIPLE
