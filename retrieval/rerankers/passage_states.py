"""A late-interaction network in two halves: passages to states, which are kept, and queries with kept states to scores.

ColBERT, PreTTR and TK read a passage without the query as far as `TwoSidedNetwork.encode_passages`. What comes out is
made once, when a document is indexed, and what a query costs is its own encoding and `interact`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from indexes.token_vectors import TokenVectors
from retrieval.batching import plan_batches
from retrieval.errors import RerankerError
from retrieval.execution.devices import on_device
from retrieval.execution.splitting import MemoryLimit, run_batches

if TYPE_CHECKING:
    from torch import Tensor

    from retrieval.encoders.model_inputs import PreparedTexts
    from retrieval.models.rankers.base import TwoSidedNetwork
    from retrieval.rerankers.base import Reranker

StatesSpec: TypeAlias = "str | Path | Reranker | TwoSidedNetwork | StateEncoder"
"""The name or folder of a late-interaction reranker; such a reranker, or its network; or what is made of them here."""

Found = TypeVar("Found")

BATCH_TOKENS = 2048
BATCH_TOKENS_GPU = 65_536

_PROBE_WORDS = 256
_MOST_PROBE_WORDS = 1 << 16
"""Words of the texts that show where a network cuts: so many, then twice as many, until the last one is cut like the
one before."""


class QueryStates(NamedTuple):
    """A query, encoded.

    Attributes:
        states: (query tokens, any width), where the network is.
        mask: (query tokens,) bool, those that count.
    """

    states: Tensor
    mask: Tensor


class StateEncoder:
    """Makes states of passages and scores queries with them.

    Scores are those of the network reading the passage's text, but for the rounding of what is stored and of batches.

    Args:
        network: with its weights; it is put into its state for scoring.
        name: what it is called.
        identity: what decides states and scores, as JSON values; by default of the network itself.
        source: name or path that `load_state_encoder` loads it from again; None when only its owner can provide it.
        batch_tokens: tokens of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
    """

    def __init__(
        self,
        network: TwoSidedNetwork,
        name: str,
        *,
        identity: dict[str, Any] | None = None,
        source: str | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if batch_tokens is not None and batch_tokens < 1:
            raise RerankerError(f"batch_tokens must be at least 1, not {batch_tokens}")
        self._network = network.eval()
        parameter = next(network.parameters(), None)
        import torch

        self._dtype = torch.float32 if parameter is None else parameter.dtype
        self._device = torch.device("cpu") if parameter is None else parameter.device
        self.name = name
        self.source = source
        self.width = int(network.width)
        self.batch_tokens = batch_tokens or (BATCH_TOKENS if self._device.type == "cpu" else BATCH_TOKENS_GPU)
        self._limit = MemoryLimit()
        self._identity = network_identity(network) if identity is None else {**identity, "width": self.width}

    def identity(self) -> dict[str, Any]:
        """Return what decides states and scores, as JSON values."""
        return dict(self._identity)

    def execution(self) -> dict[str, Any]:
        """Return how states are computed, as JSON values: precision, device, versions."""
        import torch

        from retrieval.execution.precision import name_of_dtype

        return {
            "precision": name_of_dtype(self._dtype),
            "runtime": "torch",
            "device": self._device.type,
            "batch_tokens": self.batch_tokens,
            "torch": str(torch.__version__),
        }

    def prepare(self, passages: Sequence[str]) -> PreparedTexts:
        """Tokenise passages, for `encode` to take them in batches."""
        return self._network.prepare_passages(passages)

    @cached_property
    def reads(self) -> int | None:
        """Tokens of a passage that are read, those around the text included; None where no limit was found."""
        return passage_limit(self._network)

    def encode(self, prepared: PreparedTexts, rows: np.ndarray) -> TokenVectors:
        """Return the states of prepared passages, of each those that count, in float32.

        Args:
            prepared: the passages.
            rows: (n,) int64, which of them, in the order that is wanted.

        Raises:
            RerankerError: the network returned something else than states of its width whose first ones count, or
                states that are not finite.
            EncoderError: a single passage does not fit into memory.
        """
        import torch

        blocks: list[np.ndarray] = [np.empty((0, self.width), np.float32)] * len(rows)

        def run(batch: np.ndarray) -> tuple[np.ndarray, list[int]]:
            with torch.inference_mode():
                features = on_device(prepared.features(rows[batch]), self._device)
                states, mask = self._network.encode_passages(features)
                return states.float().cpu().numpy(), self._lengths(states, mask, len(batch))

        for batch, (values, lengths) in self._run_batches(prepared.lengths[rows], run):
            for number, place in enumerate(batch.tolist()):
                blocks[place] = values[number, : lengths[number]]
        offsets = np.cumsum([0, *map(len, blocks)], dtype=np.int64)
        packed = np.concatenate([np.empty((0, self.width), np.float32), *blocks])
        if not np.isfinite(packed).all():
            raise RerankerError(f"network {self.name!r} made states that are not finite; load other weights")
        return TokenVectors(offsets, packed)

    def encode_queries(self, queries: Sequence[str]) -> list[QueryStates]:
        """Return queries, encoded, equal ones once.

        Raises:
            EncoderError: a single query does not fit into memory.
        """
        import torch

        distinct = list(dict.fromkeys(queries))
        prepared = self._network.prepare_queries(distinct)
        found: dict[str, QueryStates] = {}

        def run(batch: np.ndarray) -> tuple[Tensor, Tensor]:
            with torch.inference_mode():
                return self._network.encode_queries(on_device(prepared.features(batch), self._device))

        for batch, (states, mask) in self._run_batches(prepared.lengths, run):
            for number, row in enumerate(batch.tolist()):
                found[distinct[row]] = QueryStates(states[number], mask[number])
        return [found[query] for query in queries]

    def score(self, query: QueryStates, passages: TokenVectors) -> np.ndarray:
        """Return the scores of a query with stored states of passages, (n,) float64.

        Raises:
            RerankerError: the network returned something else than one score for each.
        """
        found = self._network.interact_packed(query.states[query.mask], passages, self.batch_tokens)
        return found.astype(np.float64)

    def _lengths(self, states: Tensor, mask: Tensor, n: int) -> list[int]:
        """Return how many states of each passage count, after looking at what the network returned."""
        shape, of_mask = tuple(states.shape), tuple(mask.shape)
        if len(shape) != 3 or shape[::2] != (n, self.width) or of_mask != shape[:2]:
            raise RerankerError(
                f"network {self.name!r} returned states {shape} with a mask {of_mask} for {n:,} passages; they are "
                f"(passages, tokens, {self.width})"
            )
        counted = mask.bool().cpu().numpy()
        lengths = counted.sum(axis=1)
        if not (counted == (np.arange(counted.shape[1]) < lengths[:, None])).all():
            raise RerankerError(f"network {self.name!r} returned states whose first ones do not count")
        found: list[int] = lengths.tolist()
        return found

    def _run_batches(
        self, lengths: np.ndarray, run: Callable[[np.ndarray], Found]
    ) -> Iterator[tuple[np.ndarray, Found]]:
        return run_batches(plan_batches(lengths, self.batch_tokens), run, lengths, self._limit)


def passage_limit(network: TwoSidedNetwork) -> int | None:
    """Return how many tokens of a passage a network reads; None where it reads all of very long ones.

    Seen from what it makes of texts, for networks need not say it.
    """
    before, n_words = -1, _PROBE_WORDS
    while n_words <= _MOST_PROBE_WORDS:
        length = int(network.prepare_passages(["word " * n_words]).lengths[0])
        if length == before:
            return length
        before, n_words = length, 2 * n_words
    return None


def load_state_encoder(specification: StatesSpec) -> StateEncoder:
    """Return what makes and scores the states of the network that is meant.

    Args:
        specification: the folder of a late-interaction reranker, or its name on the model hub; a loaded one; its
            network; or a `StateEncoder`, which is returned as it is.

    Raises:
        RerankerError: it is none of these, cannot be loaded, or reads query and passage together.
    """
    if isinstance(specification, StateEncoder):
        return specification
    from retrieval.models.rankers.base import RankingNetwork, TwoSidedNetwork

    if isinstance(specification, RankingNetwork):
        check_two_sided(specification, specification.kind)
        assert isinstance(specification, TwoSidedNetwork)
        return StateEncoder(specification, specification.kind)
    from retrieval.rerankers.loading import load_reranker

    reranker = load_reranker(specification)
    network = getattr(reranker, "network", None)
    check_two_sided(network, reranker.name)
    source = reranker.name if isinstance(specification, (str, Path)) else None
    assert isinstance(network, TwoSidedNetwork)
    return StateEncoder(
        network,
        reranker.name,
        identity=reranker.identity(),
        source=source,
        batch_tokens=reranker.execution().get("batch_tokens"),
    )


def check_two_sided(network: Any, name: str) -> None:
    """Refuse what has no states to keep.

    Raises:
        RerankerError: it is no network whose passages pass through it without the query.
    """
    from retrieval.models.rankers.base import TwoSidedNetwork

    if not isinstance(network, TwoSidedNetwork):
        kind = f" ({network.kind})" if hasattr(network, "kind") else ""
        raise RerankerError(
            f"reranker {name!r}{kind} reads query and passage together, so that there are no states to store; take one "
            "of late interaction: colbert, prettr or tk"
        )


def network_identity(network: TwoSidedNetwork) -> dict[str, Any]:
    """Return what decides a network's states and scores: what it says of itself, and its weights.

    Of one that says nothing (`describe`), what can be seen from outside: weights, and what it makes of texts.
    """
    from retrieval.encoders.tokenization import PROBES
    from retrieval.encoders.weights import tensors_digest
    from retrieval.models.rankers.base import RankingNetwork

    weights, width = tensors_digest(network.state_dict().values()), int(network.width)
    if type(network).describe is not RankingNetwork.describe:
        return {**network.describe(), "weights": weights, "width": width}
    inputs = hashlib.sha256()
    for prepared in (network.prepare_passages, network.prepare_queries):
        for text in (*PROBES, "word " * _PROBE_WORDS):
            features = prepared([text]).features(np.arange(1))
            for name in sorted(features):
                value = features[name]
                content = value.cpu().numpy().tobytes() if hasattr(value, "cpu") else repr(value).encode()
                inputs.update(name.encode() + b"\0" + content)
    return {
        "kind": network.kind,
        "network": type(network).__qualname__,
        "width": width,
        "weights": weights,
        "inputs": inputs.hexdigest(),
    }
