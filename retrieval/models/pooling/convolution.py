"""Convolution over the states of tokens, before the usual pooling: the outer CNN of CNN-SBERT.

Choi et al., "Evaluation of BERT and ALBERT Sentence Embedding Performance", ICPR 2020 (arXiv 2101.10642) put a CNN
between a siamese encoder's tokens and its sentence vector. Its layers are not to be read from the text; kernels of 1, 3
and 5 side by side are those of sentence-transformers' `CNN`, and the stack of kernels of 3 is the other usual form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import EncoderError
from retrieval.models.pooling.base import StatesModule
from retrieval.models.pooling.states import padded, token_mask


class Convolution(StatesModule):
    """Replaces `token_embeddings` (batch, T, H) by their convolutions over the positions, (batch, T, width).

    Padding is set to zero before every convolution, so that a text's states do not depend on the batch that it is in:
    beside a text there are zeros, as if it stood alone.

    Args:
        hidden_size: length of the states that come in, H.
        out_channels: length of what each convolution gives.
        kernel_sizes: positions that each convolution sees, odd numbers.
        stacked: one convolution after the other with ReLU between them; otherwise all read the same states and their
            outputs are put side by side.

    Raises:
        EncoderError: a size is not positive, or a kernel is even and has no middle.
    """

    config_keys = ["hidden_size", "out_channels", "kernel_sizes", "stacked"]  # noqa: RUF012 - as the base class

    def __init__(
        self, hidden_size: int, out_channels: int, kernel_sizes: Sequence[int] = (1, 3, 5), stacked: bool = False
    ) -> None:
        super().__init__()
        if hidden_size < 1 or out_channels < 1:
            raise EncoderError(f"hidden_size and out_channels must be positive, not {hidden_size} and {out_channels}")
        if not kernel_sizes or any(size < 1 or size % 2 == 0 for size in kernel_sizes):
            raise EncoderError(f"kernel_sizes must be odd numbers such as 1, 3, 5, not {list(kernel_sizes)}")
        self.hidden_size = hidden_size
        self.out_channels = out_channels
        self.kernel_sizes = list(kernel_sizes)
        self.stacked = stacked
        self.convolutions = nn.ModuleList(
            nn.Conv1d(out_channels if stacked and place else hidden_size, out_channels, size, padding=size // 2)
            for place, size in enumerate(self.kernel_sizes)
        )

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Replace the states of the features by their convolutions."""
        mask = token_mask(features)  # (batch, T)
        states = padded(features, features["token_embeddings"], mask).transpose(1, 2)  # (batch, H, T)
        if self.stacked:
            convolved = self._in_a_row(states, mask)
        else:
            convolved = torch.cat([convolution(states) for convolution in self.convolutions], dim=1)
        found = convolved.transpose(1, 2)  # (batch, T, width)
        features["token_embeddings"] = found[mask][None] if "cu_seq_lens_q" in features else found
        features.pop("cls_token_embeddings", None)  # pooling would take it in place of the new first state
        return features

    def _in_a_row(self, states: Tensor, mask: Tensor) -> Tensor:
        for place, convolution in enumerate(self.convolutions):
            if place:
                states = torch.relu(states).masked_fill(~mask[:, None, :], 0.0)  # the bias reached the padding
            states = convolution(states)  # (batch, out_channels, T)
        return states

    def get_embedding_dimension(self) -> int:
        """Return the length of the states that go out."""
        return self.out_channels * (1 if self.stacked else len(self.kernel_sizes))
