"""TK: word embeddings, two small transformer layers, and kernels over cosines; in two forms.

Hofstätter, Zlabinger and Hanbury, "Interpretable & Time-Budget-Constrained Contextualization for Re-Ranking" (ECAI
2020, arXiv 2002.01854). The original form adds a logarithmic and a length-normalised sum of the kernels; the one that
its authors use since weighs the kernels instead and takes passages' positions from behind those of queries. Both run
PyTorch's transformer layers; the original was published with AllenNLP's, whose layers differ in details.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import torch
from torch import Tensor, nn

from retrieval.errors import RerankerError
from retrieval.models.rankers.folder import (
    NetworkSettings,
    read_settings,
    read_tokenizer,
    read_weights,
    save_network,
    set_weights,
)
from retrieval.models.rankers.kernel_pooling import MEANS, SMALLEST, WIDTH, cosines, kernel_sums
from retrieval.models.rankers.sided import SidedNetwork
from retrieval.models.rankers.text_side import TextSide, table_size
from retrieval.rerankers.classifier import tokenizer_digest

_LONGEST_WAVE = 1.0e4
_SMALL = 0.014
"""Kernels' weights start within this of 0, as in the authors' code."""


class TKSettings(NetworkSettings, frozen=True, kw_only=True):
    """Settings of TK; the defaults are those of the improved form, `ORIGINAL` has those of the original.

    Attributes:
        form: "improved" or "original", how kernels become a score.
        dimension: of the word embeddings.
        layers: of the transformer.
        heads: of each layer; they divide the dimension.
        inner: width of a layer's feed-forward network.
        hybrid: whether a token is a learnt mix of its embedding and its context, or its context alone.
        positions: whether tokens know where they stand.
        passage_offset: positions of passages begin there.
        means: of the kernels.
        widths: of the kernels, as many.
        query_tokens: of a query that are read.
        passage_tokens: of a passage that are read.
    """

    form: Literal["improved", "original"] = "improved"
    dimension: int = 300
    layers: int = 2
    heads: int = 10
    inner: int = 300
    hybrid: bool = True
    positions: bool = True
    passage_offset: int = 500
    means: tuple[float, ...] = MEANS
    widths: tuple[float, ...] = (WIDTH,) * len(MEANS)
    query_tokens: int = 30
    passage_tokens: int = 200

    def __post_init__(self) -> None:
        if min(self.dimension, self.layers, self.heads, self.inner) < 1 or self.dimension % self.heads:
            raise RerankerError(
                f"{self.heads} heads do not divide {self.dimension} dimensions, or one of layers ({self.layers}), "
                f"inner ({self.inner}) and these is below 1"
            )
        if not self.means or len(self.means) != len(self.widths) or min(self.widths) <= 0:
            raise RerankerError(f"each kernel needs a mean and a positive width, not {self.means} and {self.widths}")
        if self.passage_offset < 0:
            raise RerankerError(f"passage_offset cannot be negative, not {self.passage_offset}")


ORIGINAL = TKSettings(form="original", inner=100, passage_offset=0)
"""The original form."""


class TransformerKernel(SidedNetwork):
    """TK; a passage is kept as one state for each of its tokens.

    Texts are tokens alone, without special tokens around them: an empty query scores 0 with everything.

    Args:
        tokenizer: of transformers, a fast one.
        settings: of the network.
        embeddings: (vocabulary, dimension), where the table of words starts; at random by default.

    Raises:
        RerankerError: the table has another size.
    """

    kind = "tk"

    def __init__(self, tokenizer: Any, settings: TKSettings, embeddings: Tensor | None = None) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.settings = settings
        self.width = settings.dimension
        self.embeddings = nn.Embedding(table_size(tokenizer), settings.dimension)
        if embeddings is not None:
            self._start_from(embeddings)
        layer = nn.TransformerEncoderLayer(
            settings.dimension, settings.heads, settings.inner, dropout=0.0, batch_first=True
        )
        self.contextualiser = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.mix = nn.Parameter(torch.tensor(0.5)) if settings.hybrid else None
        self.scoring: nn.Module = (KernelScoring if settings.form == "improved" else LogAndLength)(len(settings.means))
        self.queries = TextSide(tokenizer, settings.query_tokens, before=(), behind=())
        self.passages = TextSide(tokenizer, settings.passage_tokens, before=(), behind=())

    def encode_queries(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of queries, (n, tokens, width), and which of them are no padding, (n, tokens) bool."""
        return self._states(features, start=0), features["counted"]

    def encode_passages(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of passages, (n, tokens, width), and which of them are no padding, (n, tokens) bool."""
        return self._states(features, start=self.settings.passage_offset), features["counted"]

    def interact(self, queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
        """Return the scores of (n, query tokens, width) with (n, passage tokens, width), (n,) float32."""
        sums = kernel_sums(cosines(queries, passages), passage_mask, self.settings.means, self.settings.widths)
        score: Tensor = self.scoring(sums, query_mask, passage_mask.sum(dim=1))
        return score

    def describe(self) -> dict[str, Any]:
        """Return settings and a digest of the tokenizer."""
        digest = tokenizer_digest(self.tokenizer)
        return {**super().describe(), "settings": msgspec.to_builtins(self.settings), "tokenizer": digest}

    def save(self, folder: str | Path) -> None:
        """Write settings, weights and tokenizer; see `rankers.folder`."""
        save_network(folder, self, kind=self.kind, settings=self.settings, tokenizer=self.tokenizer)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote, ready to score.

        Raises:
            RerankerError: there is no such network, or its weights are of other names or shapes.
        """
        place = Path(folder)
        settings = read_settings(place, cls.kind, TKSettings)
        network = cls(read_tokenizer(place), settings)
        set_weights(network, read_weights(place), str(folder))
        return network.eval()

    def _start_from(self, embeddings: Tensor) -> None:
        if embeddings.shape != self.embeddings.weight.shape:
            wanted, found = tuple(self.embeddings.weight.shape), tuple(embeddings.shape)
            raise RerankerError(f"the table of words is {found}, the tokenizer and the settings ask for {wanted}")
        self.embeddings.weight.data.copy_(embeddings)

    def _states(self, features: dict[str, Any], *, start: int) -> Tensor:
        words: Tensor = self.embeddings(features["input_ids"])  # (n, tokens, width)
        placed = words
        if self.settings.positions:
            placed = words + sinusoids(start, words.shape[1], self.width, words.device).to(words.dtype)
        padding = ~features["counted"]
        # A text without tokens would attend to nothing, which is no number; its one place of padding counts nowhere.
        padding = padding & features["counted"].any(dim=1, keepdim=True)
        context: Tensor = self.contextualiser(placed, src_key_padding_mask=padding)
        return context if self.mix is None else self.mix * words + (1 - self.mix) * context


class KernelScoring(nn.Module):
    """The improved form: `score = sum over k of w_k · sum over i in q of ln(max(a_k · K_ik, 1e-10))`.

    Args:
        n_kernels: number of kernels.
    """

    def __init__(self, n_kernels: int) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.ones(n_kernels))
        self.weights = nn.Parameter(torch.empty(n_kernels).uniform_(-_SMALL, _SMALL))

    def forward(self, sums: Tensor, query_mask: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002
        """Return scores, (n,) float32.

        Args:
            sums: (n, query tokens, kernels).
            query_mask: (n, query tokens) bool.
            lengths: (n,), tokens of the passages, of which this form takes no notice.
        """
        logarithms = (sums * self.scales.float()).clamp(min=SMALLEST).log()
        pooled = (logarithms * query_mask[..., None]).sum(dim=1)  # (n, kernels)
        return pooled @ self.weights.float()


class LogAndLength(nn.Module):
    """The original form: a sum of logarithms and one of counts over the passage's length, weighed and added.

    `phi_k = sum over i of s · log2(max(K_ik, 1e-10))`, `psi_k = sum over i of s · K_ik / (|p| + 1)` and
    `score = c_1 · (w · phi) + c_2 · (v · psi)`.

    Args:
        n_kernels: number of kernels.
    """

    def __init__(self, n_kernels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.01))
        self.of_logarithms = nn.Parameter(torch.empty(n_kernels).uniform_(-_SMALL, _SMALL))
        self.of_counts = nn.Parameter(torch.empty(n_kernels).uniform_(-_SMALL, _SMALL))
        self.combination = nn.Parameter(torch.empty(2).uniform_(-(0.5**0.5), 0.5**0.5))  # as of a layer of two inputs

    def forward(self, sums: Tensor, query_mask: Tensor, lengths: Tensor) -> Tensor:
        """Return scores, (n,) float32; arguments as in `KernelScoring.forward`."""
        counted = query_mask[..., None] * self.scale.float()
        logarithms = (sums.clamp(min=SMALLEST).log2() * counted).sum(dim=1) @ self.of_logarithms.float()
        counts = (sums * counted).sum(dim=1) / (lengths + 1)[:, None] @ self.of_counts.float()
        return torch.stack([logarithms, counts], dim=1) @ self.combination.float()


def sinusoids(start: int, length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return the codes of positions, (length, width) float32: all sines, then all cosines, wave lengths 1 to 10^4 · 2π.

    Args:
        start: the first position.
        length: number of positions.
        width: of a code; an odd one ends with 0.
        device: where.
    """
    waves = width // 2
    places = torch.arange(start, start + length, dtype=torch.float32, device=device)
    exponents = torch.arange(waves, dtype=torch.float32, device=device) / max(waves - 1, 1)
    angles = places[:, None] * _LONGEST_WAVE**-exponents
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))
