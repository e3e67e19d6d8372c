"""From the states of a document's passages to one state: the aggregators of PARADE.

Li et al., "PARADE: Passage Representation Aggregation for Document Reranking" (arXiv 2008.09093). All take states, (n,
passages, hidden), and a mask of those that are there, (n, passages) bool; at least one is in each row.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from retrieval.errors import RerankerError

Aggregation = Literal["avg", "sum", "max", "attn", "cnn", "transformer"]

_DROPOUT = 0.1
_SMALL = 0.02
"""Standard deviation of what is drawn, as in BERT."""


class Average(nn.Module):
    """The mean of the states; order does not count."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return a state for each row, (n, hidden)."""
        return summed(states, mask) / mask.sum(dim=1, keepdim=True)


class Sum(nn.Module):
    """The sum of the states; order does not count."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return a state for each row, (n, hidden)."""
        return summed(states, mask)


class Maximum(nn.Module):
    """The largest number in each dimension; order does not count."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return a state for each row, (n, hidden)."""
        return states.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


class Attention(nn.Module):
    """`softmax_i(w · z_i)` weighs the states; order does not count.

    Args:
        hidden: numbers of a state.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(hidden))
        nn.init.trunc_normal_(self.query, std=_SMALL)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return a state for each row, (n, hidden)."""
        weights = (states @ self.query).masked_fill(~mask, -torch.inf).softmax(dim=1)  # (n, passages)
        return summed(states * weights[..., None], mask)


class Convolution(nn.Module):
    """A pyramid of convolutions, each of which makes one state of two neighbours; missing passages are zeros.

    Args:
        hidden: numbers of a state.
        passages: most that a document has, a power of two.
    """

    def __init__(self, hidden: int, passages: int) -> None:
        super().__init__()
        if passages & (passages - 1):
            raise RerankerError(
                f"the convolutions join passages two by two: take 1, 2, 4, 8, … of a document, not {passages}"
            )
        self.passages = passages
        n_layers = passages.bit_length() - 1
        self.layers = nn.ModuleList(nn.Conv1d(hidden, hidden, kernel_size=2, stride=2) for _ in range(n_layers))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return a state for each row, (n, hidden)."""
        states = states * mask[..., None]
        states = nn.functional.pad(states, (0, 0, 0, self.passages - states.shape[1])).transpose(1, 2)
        for layer in self.layers:
            states = layer(states).relu()  # (n, hidden, half as many)
        return states[..., 0]


class Transformer(nn.Module):
    """A learnt [CLS] reads the states through layers of BERT's form, which start at random.

    Args:
        hidden: numbers of a state.
        passages: most that a document has.
        heads: of each layer.
        inner: width of a layer's feed-forward network.
        layers: two in the paper.
        positions: whether passages know where they stand; without, order does not count.
    """

    def __init__(
        self, hidden: int, passages: int, *, heads: int, inner: int, layers: int = 2, positions: bool = True
    ) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(hidden))
        self.positions = nn.Parameter(torch.empty(passages + 1, hidden)) if positions else None
        layer = nn.TransformerEncoderLayer(hidden, heads, inner, _DROPOUT, "gelu", 1e-12, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1 or name == "first":
                nn.init.normal_(parameter, std=_SMALL)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return a state for each row, (n, hidden)."""
        n, width, hidden = states.shape
        states = torch.cat([self.first.expand(n, 1, hidden), states], dim=1)
        if self.positions is not None:
            states = states + self.positions[: width + 1]
        padding = torch.cat([mask.new_zeros(n, 1), ~mask], dim=1)
        read: Tensor = self.layers(states, src_key_padding_mask=padding)
        return read[:, 0]


def summed(states: Tensor, mask: Tensor) -> Tensor:
    """Return the sum of the states that are there, (n, hidden)."""
    return (states * mask[..., None]).sum(dim=1)


def aggregator(
    kind: Aggregation, hidden: int, passages: int, *, heads: int, inner: int, layers: int, positions: bool
) -> nn.Module:
    """Return an aggregator of a kind; arguments as in `Transformer`.

    Raises:
        RerankerError: there is no such kind, or a number does not go with it.
    """
    if kind == "attn":
        return Attention(hidden)
    if kind == "cnn":
        return Convolution(hidden, passages)
    if kind == "transformer":
        return Transformer(hidden, passages, heads=heads, inner=inner, layers=layers, positions=positions)
    plain: dict[str, type[nn.Module]] = {"avg": Average, "sum": Sum, "max": Maximum}
    if kind not in plain:
        raise RerankerError(f"unknown aggregation {kind!r}: one of {', '.join(get_args(Aggregation))}")
    return plain[kind]()
