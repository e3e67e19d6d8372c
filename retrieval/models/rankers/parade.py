"""PARADE: each passage meets the query in the encoder, their [CLS] states become one, and a linear layer scores it.

Li et al., "PARADE: Passage Representation Aggregation for Document Reranking" (arXiv 2008.09093). Unlike
scores, states can be weighed against each other before anything is decided. The authors' code reads BERT's pooler; here
it is the [CLS] state itself, as with ELECTRA, which has none.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.tokenization import UnknownTokenizerError
from retrieval.errors import RerankerError
from retrieval.models.rankers.backbone_network import EncoderNetwork
from retrieval.models.rankers.folder import NetworkSettings
from retrieval.models.rankers.passage_aggregation import Aggregation, aggregator
from retrieval.models.rankers.text_side import around, fast_tokenizer
from retrieval.rerankers.base import Candidates
from retrieval.rerankers.pair_inputs import AssembledPairs
from retrieval.rerankers.splitting import Splitting, split_candidates


class ParadeSettings(NetworkSettings, frozen=True, kw_only=True):
    """Settings of PARADE; the defaults are those of the authors' code, whose reported runs read 16 passages.

    Attributes:
        aggregation: how the passages' states become one: "avg", "sum", "max" in each dimension, "attn", "cnn" or
            "transformer".
        words: of a passage.
        overlap: words that a passage shares with the one before.
        passages: of a document at most; of one that has more the first, the last and evenly spread others.
        max_tokens: of an input, query, passage and special tokens; a passage loses what is longer.
        query_tokens: of a query that are read, the special tokens around it included.
        layers: of the aggregating transformer.
        positions: whether its passages know where they stand.
    """

    aggregation: Aggregation = "transformer"
    words: int = 150
    overlap: int = 50
    passages: int = 8
    max_tokens: int = 128
    query_tokens: int = 64
    layers: int = 2
    positions: bool = True


class Parade(EncoderNetwork):
    """PARADE; a document's passages are the inputs of one row.

    Args:
        backbone: an encoder whose first token reads the whole input.
        tokenizer: of the encoder, a fast one.
        settings: of the network.

    Raises:
        RerankerError: a setting makes no sense, the encoder has not as many positions, or the tokenizer does not put
            its special tokens around two texts, the first of them in front.
    """

    kind = "parade"
    scores_are_logits = True
    settings_type: ClassVar[type[NetworkSettings]] = ParadeSettings

    def __init__(self, backbone: Any, tokenizer: Any, settings: ParadeSettings) -> None:
        super().__init__(backbone, tokenizer, settings)
        if not around(fast_tokenizer(tokenizer))[0]:
            raise RerankerError("the tokenizer puts no token before a text, whose state PARADE reads; take a BERT")
        tokenizer.padding_side = "right"  # the first state of an input is that token's
        if not 0 <= settings.overlap < settings.words:
            raise RerankerError(
                f"passages of {settings.words} words can share 0 to {settings.words - 1}, not {settings.overlap}"
            )
        if settings.layers < 1:
            raise RerankerError(f"the transformer needs at least 1 layer, not {settings.layers}")
        self.check_positions(settings.max_tokens, "inputs")
        self.settings = settings
        self.inputs_per_score = settings.passages
        self._splitting = Splitting(settings.words, settings.words - settings.overlap, most=settings.passages)
        self._pairs = self._pair_inputs()
        config = backbone.config
        hidden = int(config.hidden_size)
        self.aggregator = aggregator(
            settings.aggregation,
            hidden,
            settings.passages,
            heads=int(config.num_attention_heads),
            inner=int(getattr(config, "intermediate_size", getattr(config, "hidden_dim", 4 * hidden))),
            layers=settings.layers,
            positions=settings.positions,
        )
        self.scoring = nn.Linear(hidden, 1)

    def prepare(self, queries: Sequence[str], passages: Sequence[str], rows: np.ndarray) -> PreparedTexts:
        """Cut documents into passages, and tokenise queries and passages, each once.

        Args:
            queries: distinct ones.
            passages: distinct documents.
            rows: (n, 2) int64, a query and a document each.
        """
        documents = Candidates([""] * len(passages), passages, np.zeros(len(passages)))
        pieces, firsts = split_candidates(documents, self._splitting, None)
        counts = np.diff(firsts, append=len(pieces))[rows[:, 1]]  # (n,) passages of each row
        ends = np.cumsum(counts)
        place = np.arange(counts.sum()) - np.repeat(ends - counts, counts)  # of an input among its row's
        inputs = np.stack([np.repeat(rows[:, 0], counts), np.repeat(firsts[rows[:, 1]], counts) + place], axis=1)
        prepared = self._pairs.prepare(queries, pieces, inputs)

        def features(chosen: np.ndarray) -> dict[str, Any]:
            own = [np.arange(ends[row] - counts[row], ends[row]) for row in chosen.tolist()]
            return {
                "inputs": prepared.features(np.concatenate(own)),
                "counts": torch.from_numpy(counts[chosen]),
            }

        longest = np.maximum.reduceat(prepared.lengths, ends - counts) if len(rows) else counts
        return PreparedTexts(longest * counts, features)

    def forward(self, features: dict[str, Any]) -> Tensor:
        """Return the scores of documents, (n,).

        Args:
            features: `inputs`, of the encoder, row by row, and `counts`, (n,), inputs of each row.
        """
        first: Tensor = self.backbone(**features["inputs"]).last_hidden_state[:, 0]  # (inputs, hidden)
        counts = features["counts"]
        mask = torch.arange(int(counts.max()), device=first.device) < counts[:, None]  # (n, passages)
        states = first.new_zeros((*mask.shape, first.shape[1]))
        states[mask] = first
        score: Tensor = self.scoring(self.aggregator(states, mask))
        return score[:, 0]

    def full_rows(self, features: dict[str, Any]) -> int:
        """Return how many rows have an input with as many tokens as are read.

        Args:
            features: as for `forward`.
        """
        inputs = features["inputs"]
        if inputs["input_ids"].shape[1] < self.settings.max_tokens:
            return 0
        mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
        full = mask.sum(dim=1) >= self.settings.max_tokens
        return sum(bool(own.any()) for own in full.split(features["counts"].tolist()))

    def _pair_inputs(self) -> AssembledPairs:
        has_segments = "token_type_ids" in inspect.signature(self.backbone.forward).parameters
        try:
            return AssembledPairs(
                self.tokenizer,
                max_tokens=self.settings.max_tokens,
                query_tokens=min(self.settings.query_tokens, self.settings.max_tokens // 2),
                has_segments=has_segments,
            )
        except UnknownTokenizerError as error:
            raise RerankerError(f"PARADE reads query and passage as one input: {error}") from None
