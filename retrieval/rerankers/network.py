"""Any ranking network as a reranker; where both sides pass through it apart, each text goes through it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from retrieval.batching import plan_batches, plan_windows
from retrieval.encoders.base import check_texts
from retrieval.encoders.sentence_transformer import BATCH_TOKENS_GPU
from retrieval.encoders.weights import remembered_digest, tensors_digest
from retrieval.errors import RerankerError
from retrieval.execution.devices import on_device
from retrieval.execution.precision import Precision, in_precision, name_of_dtype, set_precision
from retrieval.execution.splitting import MemoryLimit, run_batches
from retrieval.rerankers.base import Candidates, ScoreKind, check_queries
from retrieval.rerankers.classifier import BATCH_TOKENS, WINDOW, check_batch_tokens, check_precision, model_batches
from retrieval.rerankers.model_loading import moved, reranker_folder
from retrieval.rerankers.pairs import score_pairs

if TYPE_CHECKING:
    from torch import Tensor

    from indexes.token_vectors import TokenVectors
    from retrieval.encoders.model_inputs import PreparedTexts
    from retrieval.models.rankers.base import RankingNetwork

Found = TypeVar("Found")

_QUERIES = 1024
"""Queries whose states are in memory at a time."""


class _States(NamedTuple):
    """States of texts of one side.

    Attributes:
        values: (n, tokens, any width).
        mask: (n, tokens) bool, those that count.
    """

    values: Tensor
    mask: Tensor


class NetworkReranker:
    """Scores each candidate by a network: n model calls for n candidates, equal texts of a query once.

    The score is the network's own. In fp32 it differs between batches by rounding only, by at most 1e-5 of its size;
    equal texts of a query tie exactly. Of a two-sided network, a text goes through the encoder once for all queries.

    Args:
        network: with one passage to a score. It is used as it is; with another precision, a copy of it.
        name: what the reranker is called.
        precision: of weights and activations; None keeps the network's own.
        batch_tokens: of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
        weights: digest of the network's parameters, when it is known already.

    Raises:
        RerankerError: the network compares two passages, or a setting makes no sense.
    """

    def __init__(
        self,
        network: RankingNetwork,
        name: str,
        *,
        precision: Precision | None = None,
        batch_tokens: int | None = None,
        weights: str | None = None,
    ) -> None:
        if network.passages_per_score != 1:
            raise RerankerError(f"a network of kind {network.kind!r} compares two passages: use load_reranker(folder)")
        check_batch_tokens(batch_tokens)
        check_precision(precision)
        self._identity = {**network.describe(), "weights": weights or tensors_digest(network.state_dict().values())}
        self._network: RankingNetwork | None = in_precision(network, precision).eval()
        self._inputs_per_score = network.inputs_per_score
        self._name = name
        self._device = next(network.parameters()).device
        self._batch_tokens = batch_tokens or (BATCH_TOKENS if self._device.type == "cpu" else BATCH_TOKENS_GPU)
        self._limit, self._interaction_limit = MemoryLimit(), MemoryLimit()

    @property
    def name(self) -> str:
        """The path that it was loaded from, or the name that its owner gave it."""
        return self._name

    @property
    def network(self) -> RankingNetwork:
        """The network, in the reranker's precision.

        Raises:
            RerankerError: the reranker is closed.
        """
        if self._network is None:
            raise RerankerError("the reranker is closed; load it again")
        return self._network

    @property
    def pointwise(self) -> bool:
        """That a score depends on the query and the candidate alone, however many inputs it takes."""
        return True

    @property
    def scores_are(self) -> ScoreKind | None:
        """Logits, where the logistic function makes probabilities of them; None of inner products and their sums."""
        return "logits" if self.network.scores_are_logits else None

    def identity(self) -> dict[str, Any]:
        """Return the kind, settings, digests of weights and tokenizer, and the backbone's settings."""
        return dict(self._identity)

    def execution(self) -> dict[str, Any]:
        """Return precision, device, batch size and versions."""
        import torch
        import transformers

        return {
            "precision": name_of_dtype(next(self.network.parameters()).dtype),
            "runtime": "torch",
            "device": self._device.type,
            "batch_tokens": self._batch_tokens,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def calls(self, n: int) -> int:
        """Return n, times the passages of a document with PARADE: equal texts of a query meet it together."""
        return n * self._inputs_per_score

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
            EncoderError: a single pair or text does not fit into memory.
        """
        check_queries(queries, candidates)
        scores: list[np.ndarray] = []
        least = WINDOW // _QUERIES
        for window in plan_windows(np.array([max(len(given), least) for given in candidates], np.int64), WINDOW):
            chosen = window.tolist()
            asked, given = [queries[number] for number in chosen], [candidates[number] for number in chosen]
            scores += score_pairs(asked, given, self._pair_scores, self._name)
        return scores

    def encode_passages(self, texts: Sequence[str], dtype: Literal["float32", "float16"] = "float32") -> TokenVectors:
        """Return the states of passages, to be kept and scored later.

        Args:
            texts: any number, empty ones among them.
            dtype: of the states that are kept.

        Raises:
            RerankerError: the network is not two-sided, or states do not fit in the type.
        """
        from retrieval.models.rankers.packed import pack

        network = self._two_sided()
        prepared = network.prepare_passages(check_texts(texts))
        batches = ((rows, *states) for rows, states in self._run(prepared, network.encode_passages))
        packed = pack(batches, len(texts), network.width, np.dtype(dtype))
        if not np.isfinite(packed.values).all():
            raise RerankerError(f"reranker {self._name!r} made states that {dtype} cannot hold; keep them as float32")
        return packed

    def score_states(self, query: str, states: TokenVectors) -> np.ndarray:
        """Return the scores of a query with passages whose states were kept, (n,) float64.

        In fp32 they are those of `score` to 1e-5 of their size; with states in float16, to about 1e-2.

        Raises:
            RerankerError: the network is not two-sided, or its states are of another width.
        """
        network = self._two_sided()
        if states.values.shape[1] != network.width:
            raise RerankerError(f"states have {states.values.shape[1]} numbers; this network's have {network.width}")
        prepared = network.prepare_queries([query])
        _, (encoded, mask) = next(self._run(prepared, network.encode_queries))
        return network.interact_packed(encoded[0][mask[0]], states, self._batch_tokens).astype(np.float64)

    def close(self) -> None:
        """Let go of the network; the reranker cannot be used afterwards."""
        self._network = None

    def _pair_scores(self, queries: list[str], documents: list[str], rows: np.ndarray) -> np.ndarray:
        from retrieval.models.rankers.base import TwoSidedNetwork

        apart = isinstance(self.network, TwoSidedNetwork)
        return self._apart(queries, documents, rows) if apart else self._together(queries, documents, rows)

    def _together(self, queries: list[str], documents: list[str], rows: np.ndarray) -> np.ndarray:
        """Return the scores of pairs that go through the network as one input each, (n,) float64."""
        network = self.network
        prepared = network.prepare(queries, documents, rows)
        scores = np.empty(len(rows), np.float64)
        for batch, found in self._run(prepared, lambda features: network(features).float().cpu().numpy()):
            scores[batch] = found
        return scores

    def _apart(self, queries: list[str], documents: list[str], rows: np.ndarray) -> np.ndarray:
        """Return the scores of pairs, (n,) float64: each batch of passages meets its queries."""
        network = self._two_sided()
        of_queries = self._all_queries(queries)
        prepared = network.prepare_passages(documents)
        order = np.argsort(rows[:, 1], kind="stable")  # pairs by passage
        ends = np.searchsorted(rows[order, 1], np.arange(len(documents)), side="right")
        scores = np.empty(len(rows), np.float64)
        for batch, states in self._run(prepared, network.encode_passages):
            starts = np.where(batch > 0, ends[batch - 1], 0)
            own = [order[start:end] for start, end in zip(starts, ends[batch], strict=True)]
            pairs = np.concatenate(own)
            place = np.repeat(np.arange(len(batch)), [len(each) for each in own])
            scores[pairs] = self._interactions(network, of_queries, _States(*states), rows[pairs, 0], place)
        return scores

    def _interactions(
        self, network: Any, queries: _States, passages: _States, query: np.ndarray, passage: np.ndarray
    ) -> np.ndarray:
        """Return the scores of pairs, (n,) float32.

        Args:
            network: the two-sided one.
            queries: states that some pairs are of.
            passages: likewise.
            query: (n,) int64, which of the queries each pair is of.
            passage: (n,) int64, likewise.
        """
        import torch

        def run(pairs: np.ndarray) -> np.ndarray:
            of_query, of_passage = (torch.from_numpy(each[pairs]).to(self._device) for each in (query, passage))
            with torch.inference_mode():
                found = network.interact(
                    queries.values[of_query],
                    queries.mask[of_query],
                    passages.values[of_passage],
                    passages.mask[of_passage],
                )
            of_pairs: np.ndarray = found.float().cpu().numpy()
            return of_pairs

        scores = np.empty(len(query), np.float32)
        lengths = np.full(len(query), queries.values.shape[1] + max(passages.values.shape[1], 1))
        batches = plan_batches(lengths, self._batch_tokens)
        for pairs, found in run_batches(batches, run, lengths, self._interaction_limit):
            scores[pairs] = found
        return scores

    def _all_queries(self, queries: list[str]) -> _States:
        """Return the states of all queries."""
        import torch

        network = self._two_sided()
        prepared = network.prepare_queries(queries)
        found = list(self._run(prepared, network.encode_queries))
        first = found[0][1][0]
        most = max(states.shape[1] for _, (states, _) in found)
        all_states = first.new_zeros((len(queries), most, first.shape[2]))
        all_masks = torch.zeros((len(queries), most), dtype=torch.bool, device=first.device)
        for rows, (states, mask) in found:
            at = torch.from_numpy(rows).to(first.device)
            all_states[at, : states.shape[1]], all_masks[at, : states.shape[1]] = states, mask
        return _States(all_states, all_masks)

    def _run(
        self, prepared: PreparedTexts, run: Callable[[dict[str, Any]], Found]
    ) -> Iterator[tuple[np.ndarray, Found]]:
        """Yield the rows of each batch with what is made of their features, which are where the network is."""
        import torch

        def of_rows(rows: np.ndarray) -> Found:
            with torch.inference_mode():
                return run(on_device(prepared.features(rows), self._device))

        batches = model_batches(prepared.lengths, self._batch_tokens, self._device.type)
        return run_batches(batches, of_rows, prepared.lengths, self._limit)

    def _two_sided(self) -> Any:
        from retrieval.models.rankers.base import TwoSidedNetwork

        network = self.network
        if not isinstance(network, TwoSidedNetwork):
            raise RerankerError(f"a network of kind {network.kind!r} reads query and passage together: no states")
        return network


def load_network_reranker(
    name_or_path: str | Path,
    *,
    precision: Precision | None = "fp32",
    batch_tokens: int | None = None,
    device: str | None = None,
) -> NetworkReranker:
    """Load the folder of a ranking network.

    Args:
        name_or_path: a folder that a network's `save` wrote.
        precision: "fp32", "bf16", "fp16" or "auto" as for encoders; None keeps what the file has.
        batch_tokens: tokens of a batch, padding included.
        device: "cpu", "cuda", …; by default a GPU when there is one.

    Raises:
        RerankerError: it cannot be loaded, or its weights are not those of its network.
    """
    from retrieval.models.rankers.kinds import load_network

    folder, name = reranker_folder(name_or_path)
    check_precision(precision)
    network = load_network(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json"))
    weights = remembered_digest("network", files, lambda: tensors_digest(network.state_dict().values()))
    network = moved(network, device, name)
    set_precision(network, precision)  # after the weights have been hashed
    return NetworkReranker(network, name, batch_tokens=batch_tokens, weights=weights)
