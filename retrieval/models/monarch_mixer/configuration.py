"""Settings of the Monarch Mixer encoder, with the names that the released checkpoints use."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from retrieval.errors import EncoderError


@strict
class MonarchMixerConfig(PreTrainedConfig):
    """Settings of an M2-BERT (arXiv 2310.12109, 2402.07440); the defaults are those of m2-bert-80M-32k-retrieval.

    Attributes:
        max_position_embeddings: rows of the table of positions. Longer inputs are an error.
        long_conv_l_max: longest input that the filters are made for, in tokens; it is the unit of their time.
        residual_long_conv: with a second long convolution, of the layer's raw input.
        monarch_mlp_nblocks: diagonal blocks of the feed-forward network's two matrices.
        hyena_emb_dim: positional features that a filter is computed from: time, and sines and cosines; odd.
        hyena_filter_order: width of the network that computes a filter.
        hyena_w: initial frequency of that network's sine activations, which is learnt.
        hyena_w_mod: fixed factor of the frequency.
        pool_all: the pooler reads the mean over all tokens instead of the first one.
        mask_padding: padded positions count as nothing, so that padding on either side changes no result. The released
            network does not do this (`False`): its convolutions read padding like words, a text's vector depends on how
            far it was padded, and its figures were measured with padding up to the maximum length.
        hidden_act: activation of the masked-language-model head; the feed-forward network's is the exact GELU.

    Raises:
        EncoderError: blocks that do not divide a width, or an even number of features.
    """

    model_type = "monarch_mixer"

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 32768
    long_conv_l_max: int = 32768
    residual_long_conv: bool = True
    monarch_mlp_nblocks: int = 4
    hyena_emb_dim: int = 5
    hyena_filter_order: int = 128
    hyena_w: float | int = 10
    hyena_w_mod: float | int = 1
    pool_all: bool = False
    mask_padding: bool = True
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | int | None = None
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the widths."""
        for name in ("hidden_size", "intermediate_size"):
            if getattr(self, name) % self.monarch_mlp_nblocks:
                raise EncoderError(
                    f"{name} {getattr(self, name)} is no multiple of monarch_mlp_nblocks {self.monarch_mlp_nblocks}"
                )
        if self.hyena_emb_dim < 3 or self.hyena_emb_dim % 2 == 0:
            raise EncoderError(f"hyena_emb_dim is {self.hyena_emb_dim}: time, sines and cosines are 3, 5, 7, …")
        super().__post_init__(**kwargs)
