"""MaxPoolBERT: the largest values over the last layers, and attention from [CLS] to all tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import EncoderError
from retrieval.models.bert_heads import first_tokens
from retrieval.models.pooling.base import StatesModule
from retrieval.models.pooling.states import all_layers, padded, token_mask

VARIANTS = ("max_cls", "mha", "max_seq_mha", "mean_seq_mha", "sum_seq_mha")
"""Names of the variants; [CLS] alone is the usual pooling "cls"."""


class MaxPoolBert(StatesModule):
    """Writes `sentence_embedding` (batch, H), in one of five ways.

    "max_cls": the largest value of each component of [CLS] over the last k layers. "mha": attention of four heads whose
    query is [CLS] and whose keys and values are the tokens, all of the last layer; what the attention gives is the
    vector, without residual or norm. "max_seq_mha": the same attention over the sequence of each component's largest
    value in the last k layers, the paper's main variant. "mean_seq_mha" and "sum_seq_mha": mean and sum in place of
    the largest value. Padding is not attended to.

    Source: arXiv 2505.15696 for the idea, k = 3 and four heads; the last two variants and the exact form of the
    attention are those of `MaxPoolBERT.py` in github.com/emapco/chem-mrl.

    Args:
        hidden_size: length of the states, H.
        n_layers: layers of the transformer.
        variant: one of `VARIANTS`.
        last: k, the last layers that are read together; "mha" reads one.
        heads: of the attention; they divide H.

    Raises:
        EncoderError: there is no such variant, not as many layers, or H cannot be divided among the heads.
    """

    config_keys = ["hidden_size", "n_layers", "variant", "last", "heads"]  # noqa: RUF012 - as the base class
    reads_layers = True

    def __init__(
        self, hidden_size: int, n_layers: int, variant: str = "max_seq_mha", last: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise EncoderError(f"unknown variant {variant!r} of MaxPoolBERT: one of {', '.join(VARIANTS)}")
        if not 1 <= last <= n_layers:
            raise EncoderError(f"last must be between 1 and the {n_layers} layers of the transformer, not {last}")
        if heads < 1 or hidden_size < 1 or hidden_size % heads:
            raise EncoderError(f"{heads} heads cannot share states of {hidden_size} components equally")
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.variant = variant
        self.last = last
        self.heads = heads
        self.attention = None if variant == "max_cls" else nn.MultiheadAttention(hidden_size, heads, batch_first=True)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add `sentence_embedding`, (batch, H), to the features.

        Raises:
            EncoderError: the transformer's layers are missing or of another number.
        """
        mask = token_mask(features)  # (batch, T)
        last = 1 if self.variant == "mha" else self.last
        layers = [padded(features, states, mask) for states in all_layers(features, self.n_layers + 1)[-last:]]
        if self.attention is None:
            firsts = torch.stack([first_tokens(states, mask) for states in layers])  # (k, batch, H)
            features["sentence_embedding"] = firsts.amax(dim=0)
        else:
            features["sentence_embedding"] = self._attended(self.attention, self._merged(layers), mask)
        return features

    def _merged(self, layers: list[Tensor]) -> Tensor:
        """Return one sequence from the last layers', (batch, T, H)."""
        states = torch.stack(layers)  # (k, batch, T, H)
        if self.variant == "mean_seq_mha":
            return states.mean(dim=0)
        return states.sum(dim=0) if self.variant == "sum_seq_mha" else states.amax(dim=0)

    def _attended(self, attention: nn.MultiheadAttention, states: Tensor, mask: Tensor) -> Tensor:
        query = first_tokens(states, mask)[:, None]  # (batch, 1, H)
        attended, _ = attention(query, states, states, key_padding_mask=~mask, need_weights=False)
        return attended[:, 0]

    def get_embedding_dimension(self) -> int:
        """Return H."""
        return self.hidden_size
