"""BERTScore: how well the tokens of two texts match, each with the most similar one of the other text.

Zhang, Kishore, Wu, Weinberger & Artzi 2020, "BERTScore: Evaluating Text Generation with BERT" (ICLR, arXiv 1904.09675).
With states x of a candidate and y of a reference, scaled to length one:

    precision = sum_x w(x) max_y x·y / sum_x w(x),    recall = sum_y w(y) max_x x·y / sum_y w(y),    F1 of both,

where weights are 1, or the tokens' inverse document frequencies log((n + 1) / (df + 1)) in n references. Rescaling with
a baseline b, the score of texts that have nothing to do with each other, is (score - b) / (1 - b).

What the paper leaves open is as in its authors' package (bert_score 0.3.13, `greedy_cos_idf`): special tokens weigh
nothing, but are there to be matched; tokens that no reference holds weigh log(n + 1); texts are cut where the model's
are. Other than there, a text whose tokens all weigh nothing is an error, not NaN, and a score below 0 stays below 0
whatever is padded in its batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.layer_states import LayerStates
from eval.probes.texts import checked_texts, unit


@dataclass(frozen=True)
class Matching:
    """Scores of candidates against references.

    Attributes:
        precision: (n,) float64, how well the candidate's tokens are matched.
        recall: (n,) how well the reference's are.
        f1: (n,) harmonic mean of both; 0 where they add up to 0.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


@dataclass(frozen=True)
class Baseline:
    """Scores of texts that have nothing to do with each other, by the same model and layer; each below 1."""

    precision: float
    recall: float
    f1: float

    def __post_init__(self) -> None:
        for name in ("precision", "recall", "f1"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value < 1):
                raise MeasureError(f"a baseline must be below 1, but that of {name} is {value}")


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many of n texts each token stands."""

    n: int
    counts: dict[int, int]

    @classmethod
    def of(cls, texts: Iterable[np.ndarray]) -> DocumentFrequencies:
        """Count the tokens of texts, each (tokens,) ids.

        Raises:
            MeasureError: there are none.
        """
        counts: Counter[int] = Counter()
        n = 0
        for n, ids in enumerate(texts, start=1):  # noqa: B007
            counts.update(set(ids.tolist()))
        if not n:
            raise MeasureError("document frequencies need texts to count in; give the references")
        return cls(n, dict(counts))

    def weights(self, ids: np.ndarray) -> np.ndarray:
        """Return the inverse document frequency of each token, (tokens,) float64."""
        return np.array([math.log((self.n + 1) / (self.counts.get(each, 0) + 1)) for each in ids.tolist()])


def match_tokens(
    candidate: np.ndarray, reference: np.ndarray, candidate_weights: np.ndarray, reference_weights: np.ndarray
) -> tuple[float, float, float]:
    """Return precision, recall and F1 of one candidate against one reference.

    Args:
        candidate: (m, d) states of its tokens, of any length.
        reference: (n, d).
        candidate_weights: (m,), 0 for tokens that only serve as partners.
        reference_weights: (n,).

    Raises:
        MeasureError: a state is not finite or zero, weights are negative or do not fit, or all of them are zero.
    """
    x, y = unit(candidate, "candidate"), unit(reference, "reference")
    for states, weights, name in ((x, candidate_weights, "candidate"), (y, reference_weights, "reference")):
        if weights.shape != (len(states),) or not np.isfinite(weights).all() or (weights < 0).any():
            raise MeasureError(f"{name}: weights must be numbers from 0 up, one for each of {len(states)} tokens")
        if not weights.any():
            raise MeasureError(
                f"{name}: all its tokens weigh nothing (they stand in every reference, or it has none of its own); "
                "weight without idf, or count in more references"
            )
    cosines = x @ y.T  # (m, n)
    precision = float(cosines.max(axis=1) @ candidate_weights / candidate_weights.sum())
    recall = float(cosines.max(axis=0) @ reference_weights / reference_weights.sum())
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class BertScorer:
    """Scores candidates by the states of one layer.

    Args:
        states: the network.
        layer: 0 for the output of the embeddings, i for that of layer i; by default three quarters of the way up,
            rounded up, which is where the authors' search ended for BERT base (9 of 12), BERT large (18 of 24) and
            DistilBERT (5 of 6).
        frequencies: weight tokens by idf; see `frequencies_of`.
        baseline: rescale scores with it.

    Raises:
        MeasureError: there is no such layer.
    """

    def __init__(
        self,
        states: LayerStates,
        *,
        layer: int | None = None,
        frequencies: DocumentFrequencies | None = None,
        baseline: Baseline | None = None,
    ) -> None:
        self.layer = math.ceil(states.n_layers * 3 / 4) if layer is None else layer
        if not 0 <= self.layer <= states.n_layers:
            raise MeasureError(f"there is no layer {layer}: model {states.name!r} has 0 to {states.n_layers}")
        self._states = states
        self._frequencies = frequencies
        self._baseline = baseline

    def settings(self) -> dict[str, Any]:
        """Return what decides the scores, as JSON values."""
        baseline = self._baseline
        return {
            "model": self._states.name,
            "layer": self.layer,
            "max_tokens": self._states.max_tokens,
            "idf_texts": self._frequencies.n if self._frequencies else None,
            "baseline": [baseline.precision, baseline.recall, baseline.f1] if baseline else None,
        }

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> Matching:
        """Score each candidate against the reference in the same place; memory holds the states of all texts.

        Args:
            candidates: texts.
            references: texts, as many.

        Raises:
            MeasureError: they are not as many, one is blank, or all tokens of one weigh nothing.
        """
        sides = [checked_texts(candidates, "candidates", least=1), checked_texts(references, "references", least=1)]
        if len(sides[0]) != len(sides[1]):
            raise MeasureError(f"{len(sides[0])} candidates have {len(sides[1])} references; give one to each")
        found = self._texts(list(dict.fromkeys([*sides[0], *sides[1]])))
        scores = np.array(
            [
                match_tokens(found[candidate][0], found[reference][0], found[candidate][1], found[reference][1])
                for candidate, reference in zip(*sides, strict=True)
            ]
        )  # (n, 3)
        if self._baseline is not None:
            floor = np.array([self._baseline.precision, self._baseline.recall, self._baseline.f1])
            scores = (scores - floor) / (1 - floor)
        return Matching(*scores.T)

    def _texts(self, texts: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the states (tokens, d) and weights (tokens,) of each text."""
        found = {}
        for batch in self._states.batches(texts):
            for place, row in enumerate(batch.rows.tolist()):
                kept = batch.mask[place]
                states = batch.layers[self.layer][place][kept].numpy()
                found[texts[row]] = states, self._weights(batch.ids[place][kept].numpy())
        return found

    def _weights(self, ids: np.ndarray) -> np.ndarray:
        weights = np.ones(len(ids)) if self._frequencies is None else self._frequencies.weights(ids)
        before, behind = self._states.around
        weights[:before] = 0
        weights[len(ids) - behind :] = 0
        return weights


def frequencies_of(states: LayerStates, references: Sequence[str]) -> DocumentFrequencies:
    """Count in how many references each token stands, as the model reads them; equal references count each.

    Raises:
        MeasureError: there is none, or one is blank.
    """
    return DocumentFrequencies.of(states.token_ids(checked_texts(references, "references", least=1)))
