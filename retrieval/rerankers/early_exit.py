"""Pointwise reranking that stops at the layer at which it is sure of a candidate (DeeBERT, arXiv 2004.12993).

The threshold is the knob between time and quality: 0 is the whole model, to the bit; above ln 2 = 0.69 every candidate
leaves after one layer. Scores of all off-ramps are log-odds of relevance, learnt with one loss, and so are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.execution.devices import on_device
from retrieval.execution.splitting import run_batches
from retrieval.rerankers.base import Candidates, check_queries
from retrieval.rerankers.classifier import Classifier, model_batches
from retrieval.rerankers.mono import MonoReranker
from retrieval.rerankers.pair_inputs import PairInputs
from retrieval.rerankers.pairs import find_pairs

if TYPE_CHECKING:
    from torch import nn


class ExitScores(NamedTuple):
    """Scores and what they cost.

    Attributes:
        scores: for each query (n_i,) float64.
        layers: for each query (n_i,) int64, the layers that each candidate went through.
    """

    scores: list[np.ndarray]
    layers: list[np.ndarray]

    @property
    def mean_layers(self) -> float:
        """Layers of a candidate on average; 0.0 without candidates."""
        everything = np.concatenate([np.empty(0, np.int64), *self.layers])
        return float(everything.mean()) if len(everything) else 0.0


class EarlyExitClassifier(Classifier):
    """A classifier that rows leave by off-ramps; those that are done leave their batch, the rest goes on.

    Args:
        model: of transformers, for sequence classification, of BERT's kind.
        ramps: its off-ramps, on the same device.
        exit_entropy: thresholds in nats, see `models.rankers.off_ramps.run_with_exits`.
        batch_tokens: as in `Classifier`.
        own: as in `Classifier`.

    Raises:
        RerankerError: the model or the thresholds do not fit.
    """

    def __init__(
        self,
        model: Any,
        ramps: nn.ModuleList,
        exit_entropy: float | Sequence[float],
        *,
        batch_tokens: int | None = None,
        own: bool = False,
    ) -> None:
        from retrieval.models.rankers.layers import LayeredClassifier
        from retrieval.models.rankers.off_ramps import checked_thresholds

        self.thresholds = checked_thresholds(exit_entropy, len(ramps))
        # Without padding where no row leaves: then it is the whole model, and computes as that does.
        self._never = all(threshold <= 0 for threshold in self.thresholds)
        super().__init__(model, batch_tokens=batch_tokens, packed=self._never, own=own)
        self._layered: Any = LayeredClassifier(model)
        self._ramps: Any = ramps.eval()

    def logits(self, prepared: PreparedTexts) -> np.ndarray:
        """Return the logits by which each input left, (n, n_labels) float32."""
        return self.exits(prepared)[0]

    def exits(self, prepared: PreparedTexts) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits by which each input left, (n, n_labels) float32, and its layers, (n,) int64."""
        import torch

        from retrieval.models.rankers.off_ramps import run_with_exits

        layered, ramps = self._layered, self._ramps  # before the model, which `close` lets go of first
        self._open()
        if self._never:
            return super().logits(prepared), np.full(len(prepared.lengths), len(layered.layers), np.int64)
        logits = np.empty((len(prepared.lengths), self.n_labels), np.float32)
        layers = np.empty(len(prepared.lengths), np.int64)

        def run(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with torch.inference_mode():
                features = on_device(prepared.features(rows), self._device)
                found = run_with_exits(layered, ramps, features, self.thresholds)
                return found.logits.float().cpu().numpy(), found.layers.cpu().numpy()

        batches = model_batches(prepared.lengths, self._batch_tokens, self._device.type)
        for rows, found in run_batches(batches, run, prepared.lengths, self._limit):
            logits[rows], layers[rows] = found
        return logits, layers

    def close(self) -> None:
        """Let go of the model and its off-ramps."""
        super().close()
        self._layered = self._ramps = None


class EarlyExitReranker(MonoReranker):
    """Scores each candidate by itself, with as few layers as make the model sure of it.

    The thresholds decide scores and are part of its identity. `score_with_layers` says what they saved.

    Args:
        classifier: the model and its off-ramps.
        inputs: make what it reads.
        name: what the reranker is called.
        identity: of weights, off-ramps, tokenizer and backbone.
    """

    _classifier: EarlyExitClassifier

    def __init__(
        self, classifier: EarlyExitClassifier, inputs: PairInputs, name: str, identity: dict[str, Any]
    ) -> None:
        super().__init__(classifier, inputs, name, {**identity, "exit_entropy": list(classifier.thresholds)})

    def score_with_layers(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> ExitScores:
        """Return the scores, and through how many layers each candidate went.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        check_queries(queries, candidates)
        logits: list[np.ndarray] = []
        layers: list[np.ndarray] = []
        for asked, given in self._windows(queries, candidates):
            pairs = find_pairs(asked, given)
            of_pairs = self._classifier.exits(self._prepared(pairs))
            logits += pairs.by_query(of_pairs[0])
            layers += pairs.by_query(of_pairs[1])
        return ExitScores(self._checked(queries, candidates, logits), layers)
