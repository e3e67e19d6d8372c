"""BERT_DOT: one encoder for queries and passages, and the inner product of their [CLS] states.

`score = <h_[CLS](q), h_[CLS](p)>`, without projection and normalisation (Hofstätter et al., arXiv 2010.02666).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from indexes.token_vectors import TokenVectors
from retrieval.errors import RerankerError
from retrieval.models.rankers.backbone_network import BackboneNetwork
from retrieval.models.rankers.folder import NetworkSettings
from retrieval.models.rankers.text_side import TextSide, around, fast_tokenizer


class DotSettings(NetworkSettings, frozen=True, kw_only=True):
    """Settings of BERT_DOT; the defaults are those of the study.

    Attributes:
        query_tokens: of a query that are read, special tokens included.
        passage_tokens: likewise of a passage.
    """

    query_tokens: int = 30
    passage_tokens: int = 200


class DotNetwork(BackboneNetwork):
    """BERT_DOT; a passage is kept as one state.

    Args:
        backbone: an encoder whose first token reads the whole text.
        tokenizer: of the encoder.
        settings: of the network.

    Raises:
        RerankerError: no token stands before a text, or the encoder has not as many positions.
    """

    kind = "dot"
    settings_type: ClassVar[type[NetworkSettings]] = DotSettings

    def __init__(self, backbone: Any, tokenizer: Any, settings: DotSettings) -> None:
        super().__init__(backbone, tokenizer, settings)
        if not around(fast_tokenizer(tokenizer))[0]:
            raise RerankerError("the tokenizer puts no token before a text, whose state BERT_DOT reads; take a BERT")
        self.check_positions(max(settings.query_tokens, settings.passage_tokens), "texts")
        self.settings = settings
        self.width = int(backbone.config.hidden_size)
        self.queries = TextSide(tokenizer, settings.query_tokens)
        self.passages = TextSide(tokenizer, settings.passage_tokens)

    def encode_queries(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of the first tokens, (n, 1, width), and a mask of ones."""
        return self.hidden_states(features)[:, :1], features["counted"][:, :1]

    def encode_passages(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of the first tokens, (n, 1, width), and a mask of ones."""
        return self.encode_queries(features)

    def interact(self, queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:  # noqa: ARG002
        """Return the inner products of (n, 1, width) and (n, 1, width), (n,) float32."""
        return (queries.float() * passages.float()).sum(dim=(1, 2))

    def interact_packed(self, query: Tensor, passages: TokenVectors, batch_tokens: int = 2048) -> np.ndarray:
        """Return the inner products of one query with stored passages, (n,) float32, on the processor."""
        del batch_tokens
        states = torch.from_numpy(passages.decoded())  # (n, width)
        return (states @ query[0].detach().float().cpu()).numpy()
