"""ColBERT: a state for each token of query and passage, which meet by MaxSim; in two forms.

That of the study of Margin-MSE (Hofstätter et al., arXiv 2010.02666): a projection with bias, dot products, and eight
[MASK]s behind each query that count as its tokens. The original one (Khattab and Zaharia, SIGIR 2020): 128 dimensions
without bias, states of length one, a marker behind [CLS] that tells queries from passages, queries filled with [MASK]
to 32 tokens, and passages without the states of their punctuation.
"""

from __future__ import annotations

import string
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from indexes.token_vectors import TokenVectors
from retrieval.errors import RerankerError
from retrieval.models.rankers.backbone_network import BackboneNetwork
from retrieval.models.rankers.folder import NetworkSettings
from retrieval.models.rankers.maxsim import maxsim, maxsim_packed
from retrieval.models.rankers.packed import kept_first
from retrieval.models.rankers.text_side import TextSide, around, fast_tokenizer, table_size


class ColBERTSettings(NetworkSettings, frozen=True, kw_only=True):
    """Settings of ColBERT; the defaults are those of the study, `ORIGINAL` has those of the original.

    Attributes:
        dimension: of a token's state.
        bias: whether the projection has one.
        normalised: whether states have length one.
        query_marker: token behind [CLS] of a query; "" for none.
        passage_marker: likewise of a passage.
        query_tokens: of a query that are read, special tokens included and [MASK]s not.
        passage_tokens: likewise of a passage.
        masks: [MASK]s behind each query.
        filled_to: [MASK]s behind each query until it has that many tokens.
        masks_are_read: whether the query's tokens attend to [MASK]s. Their states count in any case.
        punctuation: whether the states of punctuation in passages are kept.
    """

    dimension: int = 768
    bias: bool = True
    normalised: bool = False
    query_marker: str = ""
    passage_marker: str = ""
    query_tokens: int = 30
    passage_tokens: int = 200
    masks: int = 8
    filled_to: int = 0
    masks_are_read: bool = True
    punctuation: bool = True

    def __post_init__(self) -> None:
        if self.dimension < 1 or self.masks < 0 or self.filled_to < 0:
            raise RerankerError(
                f"dimension must be at least 1 and numbers of [MASK]s not negative, not {self.dimension}, {self.masks} "
                f"and {self.filled_to}"
            )


ORIGINAL = ColBERTSettings(
    dimension=128,
    bias=False,
    normalised=True,
    query_marker="[unused0]",
    passage_marker="[unused1]",
    query_tokens=32,
    passage_tokens=220,
    masks=0,
    filled_to=32,
    masks_are_read=False,
    punctuation=False,
)
"""The original form, with the defaults of its authors' library; BERT's vocabulary has places for the two markers."""


class ColBERT(BackboneNetwork):
    """ColBERT; a passage is kept as one state for each of its tokens.

    Args:
        backbone: any encoder with token states.
        tokenizer: of the encoder, with the markers among its tokens.
        settings: of the network.

    Raises:
        RerankerError: a marker is no token, or the encoder has not as many positions.
    """

    kind = "colbert"
    settings_type: ClassVar[type[NetworkSettings]] = ColBERTSettings

    def __init__(self, backbone: Any, tokenizer: Any, settings: ColBERTSettings) -> None:
        super().__init__(backbone, tokenizer, settings)
        query_tokens = max(settings.query_tokens + settings.masks, settings.filled_to)
        self.check_positions(max(query_tokens, settings.passage_tokens), "texts")
        self.settings = settings
        self.width = settings.dimension
        self.projection = nn.Linear(backbone.config.hidden_size, settings.dimension, bias=settings.bias)
        self.queries = TextSide(
            tokenizer,
            settings.query_tokens,
            before=_before(tokenizer, settings.query_marker),
            masks=settings.masks,
            filled_to=settings.filled_to,
            masks_are_read=settings.masks_are_read,
        )
        self.passages = TextSide(
            tokenizer,
            settings.passage_tokens,
            before=_before(tokenizer, settings.passage_marker),
            uncounted=() if settings.punctuation else punctuation_ids(tokenizer),
        )

    def encode_queries(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of queries, (n, tokens, width), and which of them are no padding, (n, tokens) bool."""
        return self._states(features), features["counted"]

    def encode_passages(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the states of passages, (n, tokens, width), those that count first, and which they are."""
        states, counted = self._states(features), features["counted"]
        return (states, counted) if self.settings.punctuation else kept_first(states, counted)

    def interact(self, queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
        """Return MaxSim of (n, query tokens, width) and (n, passage tokens, width), (n,) float32."""
        return maxsim(queries, query_mask, passages, passage_mask)

    def interact_packed(self, query: Tensor, passages: TokenVectors, batch_tokens: int = 2048) -> np.ndarray:
        """Return MaxSim of one query with stored passages, without padding them, on the processor."""
        del batch_tokens
        return maxsim_packed(query, passages)

    def _states(self, features: dict[str, Any]) -> Tensor:
        states: Tensor = self.projection(self.hidden_states(features))
        return functional.normalize(states.float(), dim=-1).to(states.dtype) if self.settings.normalised else states


def add_markers(backbone: Any, tokenizer: Any, *markers: str) -> None:
    """Make markers tokens of a tokenizer and give them rows in an encoder's table of words, where it lacks them."""
    known = tokenizer.get_vocab()
    new = [marker for marker in markers if marker and marker not in known]
    if new:
        tokenizer.add_tokens(new, special_tokens=True)
        if table_size(tokenizer) > backbone.get_input_embeddings().num_embeddings:
            backbone.resize_token_embeddings(table_size(tokenizer))


def punctuation_ids(tokenizer: Any) -> set[int]:
    """Return the first token of each ASCII punctuation mark, as the original's authors leave them out."""
    pieces = fast_tokenizer(tokenizer).pieces(list(string.punctuation))
    return {int(ids[0]) for ids in pieces if len(ids)} - set(tokenizer.all_special_ids)


def _before(tokenizer: Any, marker: str) -> list[int]:
    """Return what stands before a text: [CLS], and the marker behind it.

    Raises:
        RerankerError: the marker is no token.
    """
    usual = around(fast_tokenizer(tokenizer))[0]
    if not marker:
        return usual
    vocabulary = tokenizer.get_vocab()
    if marker not in vocabulary:
        raise RerankerError(f"the tokenizer has no token {marker!r} to mark a side with; add_markers() makes one")
    return [*usual, vocabulary[marker]]
