"""PreTTR: the lower layers read query and passage apart, the upper ones together; what a passage is below is kept.

MacAvaney et al., "Efficient Document Re-Ranking for Transformers by Precomputing Term Representations", SIGIR 2020
(arXiv 2004.14255); as in the study of Margin-MSE (arXiv 2010.02666), `score = w · h_0` without bias.

A passage's positions begin where the longest query ends, whatever the query: otherwise its states could not be kept.
The study's own code lets them begin behind the longest query of a batch, so that scores depend on company.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retrieval.errors import RerankerError
from retrieval.models.rankers.backbone_network import BackboneNetwork
from retrieval.models.rankers.compression import Compression
from retrieval.models.rankers.folder import NetworkSettings
from retrieval.models.rankers.split_layers import attention_probabilities, embed, first_state, layers_of, run_layers
from retrieval.models.rankers.text_side import TextSide


class PreTTRSettings(NetworkSettings, frozen=True, kw_only=True):
    """Settings of PreTTR; the defaults are those of the study, of whose six layers three are joint.

    Attributes:
        join_layer: the first layer that reads query and passage together, counted from 0; as many as there are layers:
            none does.
        compression: numbers of a passage's state that are kept; 0 keeps all. The original has 128, 256 and 384.
        query_tokens: of a query that are read, special tokens included and [MASK]s not.
        passage_tokens: of a passage that are read, the separator behind it included.
        masks: [MASK]s behind each query, which count as its tokens.
        passage_start: position of a passage's first token; by default (0) the length of the longest query.
    """

    join_layer: int = 3
    compression: int = 0
    query_tokens: int = 30
    passage_tokens: int = 200
    masks: int = 8
    passage_start: int = 0

    @property
    def start(self) -> int:
        """Position of a passage's first token."""
        return self.passage_start or self.query_tokens + self.masks

    def __post_init__(self) -> None:
        if min(self.join_layer, self.compression, self.masks, self.passage_start) < 0:
            raise RerankerError(
                "join_layer, compression, masks and passage_start cannot be negative, not "
                f"{self.join_layer}, {self.compression}, {self.masks} and {self.passage_start}"
            )


class PreTTR(BackboneNetwork):
    """PreTTR; a passage is kept as one state for each of its tokens, as it is below the joint layers.

    `[CLS] query [SEP]` and [MASK]s are one part, `passage [SEP]` is the other; a BERT tells them apart by segments.

    Args:
        backbone: a BERT (MiniLM is one) or a DistilBERT.
        tokenizer: of the encoder.
        settings: of the network.

    Raises:
        RerankerError: the encoder is another one, or has not as many layers or positions.
    """

    kind = "prettr"
    scores_are_logits = True
    settings_type: ClassVar[type[NetworkSettings]] = PreTTRSettings

    def __init__(self, backbone: Any, tokenizer: Any, settings: PreTTRSettings) -> None:
        super().__init__(backbone, tokenizer, settings)
        n_layers, hidden = len(layers_of(backbone)), int(backbone.config.hidden_size)
        if settings.join_layer > n_layers:
            raise RerankerError(f"join_layer is {settings.join_layer}, but the backbone has {n_layers} layers")
        self.check_positions(settings.start + settings.passage_tokens, "a query and its passage")
        self.check_positions(settings.query_tokens + settings.masks, "queries")
        self.settings = settings
        self.width = settings.compression or hidden
        self.compression = Compression(hidden, settings.compression) if settings.compression else None
        self.scoring = nn.Linear(hidden, 1, bias=False)
        self.queries = TextSide(tokenizer, settings.query_tokens, masks=settings.masks)
        self.passages = TextSide(tokenizer, settings.passage_tokens, before=())

    def encode_queries(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of queries below the joint layers, (n, tokens, hidden), and which are no padding."""
        states, mask = self._below(features, start=0, segment=0), features["counted"]
        return (states if self.compression is None else self.compression(states)), mask

    def encode_passages(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of passages below the joint layers, (n, tokens, width), and which are no padding."""
        states, mask = self._below(features, start=self.settings.start, segment=1), features["counted"]
        return (states if self.compression is None else self.compression.compressed(states)), mask

    def interact(self, queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
        """Return the score of the joint layers' [CLS], (n,).

        Args:
            queries: (n, query tokens, hidden), as from `encode_queries`.
            query_mask: (n, query tokens) bool.
            passages: (n, passage tokens, width), as from `encode_passages`, of any float type.
            passage_mask: (n, passage tokens) bool.
        """
        passages = passages.to(queries.dtype)
        if self.compression is not None:
            passages = self.compression.expanded(passages)
        states, mask = torch.cat([queries, passages], dim=1), torch.cat([query_mask, passage_mask], dim=1)
        joint = layers_of(self.backbone)[self.settings.join_layer :]
        if len(joint) and not self.training:
            states = run_layers(self.backbone, joint[:-1], states, mask)
            first = first_state(self.backbone, joint[-1], states, mask)
        else:
            first = run_layers(self.backbone, joint, states, mask)[:, 0]
        score: Tensor = self.scoring(first)
        return score[:, 0]

    def attention_difference(self, features: dict[str, Any]) -> Tensor:
        """Return how much compression changes what the joint layers attend to, a scalar: its loss of pre-training.

        The mean squared difference of attention probabilities with and without compression, over the joint layers,
        heads, and pairs of tokens. Gradients flow to the compression alone.

        Args:
            features: as for `forward`.

        Raises:
            RerankerError: the network does not compress, or no layer is joint.
        """
        joint = layers_of(self.backbone)[self.settings.join_layer :]
        if self.compression is None or not len(joint):
            raise RerankerError(
                f"nothing to match: compression is {self.settings.compression} and {len(joint)} layers are joint"
            )
        query, passage = features["query_of_row"], features["passage_of_row"]
        mask = torch.cat([features["queries"]["counted"][query], features["passages"]["counted"][passage]], dim=1)
        with torch.no_grad():
            queries = self._below(features["queries"], start=0, segment=0)[query]
            passages = self._below(features["passages"], start=self.settings.start, segment=1)[passage]
            states = torch.cat([queries, passages], dim=1)  # (rows, tokens, hidden)
        compressed = self.compression(states)
        pairs = (mask[:, :, None] & mask[:, None, :])[:, None]  # (rows, 1, tokens, tokens)
        differences = []
        with _frozen(self.backbone):
            for layer in joint:
                with torch.no_grad():
                    wanted = attention_probabilities(layer, states, mask)
                    states = run_layers(self.backbone, [layer], states, mask)
                found = attention_probabilities(layer, compressed, mask)
                compressed = run_layers(self.backbone, [layer], compressed, mask)
                differences.append((found - wanted).square().mul(pairs).sum() / (pairs.sum() * found.shape[1]))
        return torch.stack(differences).mean()

    def _below(self, features: dict[str, Any], *, start: int, segment: int) -> Tensor:
        states = embed(self.backbone, features["input_ids"], start, segment)
        layers = layers_of(self.backbone)[: self.settings.join_layer]
        return run_layers(self.backbone, layers, states, features["attention_mask"].bool())


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Keep gradients from a module's parameters while a graph is built; they flow through it all the same."""
    parameters = [each for each in module.parameters() if each.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
