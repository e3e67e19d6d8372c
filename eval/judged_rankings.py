"""Rankings as measures see them: checked, put in the order that the tie rule asks for, cleaned as the policies say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.errors import RunError
from eval.policies import Policies, Ties

Ranking = Sequence[tuple[str, float]]
"""(document id, score) of one query, best first."""


@dataclass(frozen=True)
class JudgedRanking:
    """A query's documents in the order that is judged.

    Attributes:
        ids: of the documents, each once, best first.
        duplicates: removed because the document had a better place.
        self_matches: removed because they carry the query's id.
        unjudged: removed because nobody judged them.
    """

    ids: tuple[str, ...]
    duplicates: int = 0
    self_matches: int = 0
    unjudged: int = 0


def check_ranking(query_id: str, ranking: Ranking, policies: Policies) -> None:
    """Check that scores are finite, and what else the policies ask of a ranking.

    Raises:
        RunError: a score is not finite, a document is there twice where that is an error, or a score is above the one
            before it where the order is judged as it is.
    """
    seen: set[str] = set()
    previous = math.inf
    for document_id, score in ranking:
        if policies.duplicates == "error" and document_id in seen:
            raise RunError(f"query {query_id!r}: document {document_id!r} is in the ranking twice")
        if not math.isfinite(score):
            raise RunError(f"query {query_id!r}: document {document_id!r} has the score {score}")
        if policies.ties == "as returned" and score > previous:
            raise RunError(
                f"query {query_id!r}: document {document_id!r} has a higher score ({score:g}) than the one before it "
                f"({previous:g}); sort the ranking best first"
            )
        seen.add(document_id)
        previous = score


def judged_ranking(
    query_id: str, ranking: Ranking, grades: Mapping[str, int], policies: Policies, order: Sequence[int]
) -> JudgedRanking:
    """Take a ranking in an order and remove what the policies remove.

    Args:
        query_id: whose ranking it is.
        ranking: checked by `check_ranking`.
        grades: by document id; a negative one stands for a document that was pooled and not judged, as in trec_eval.
        policies: which documents are removed.
        order: positions in the ranking, best first, see `tie_order`.
    """
    ordered = [ranking[position][0] for position in order]
    distinct = list(dict.fromkeys(ordered))
    others = [name for name in distinct if name != query_id] if policies.ignore_identical_ids else distinct
    kept = [name for name in others if grades.get(name, -1) >= 0] if policies.unjudged == "condensed" else others
    return JudgedRanking(
        tuple(kept), len(ordered) - len(distinct), len(distinct) - len(others), len(others) - len(kept)
    )


def tie_order(ranking: Ranking, ties: Ties, *, whole_precision: bool = False) -> Sequence[int]:
    """Return the positions of a ranking in the order that a tie rule judges.

    Args:
        ranking: checked by `check_ranking`.
        ties: the rule. "as returned" keeps the order of equal scores.
        whole_precision: compare scores as 64-bit floats, not as 32-bit ones; "as returned" always does.
    """
    scores = _scores(ranking, whole_precision or ties == "as returned")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    if ties == "as returned" or not (ordered[1:] == ordered[:-1]).any():
        return order.tolist()
    values = scores.tolist()
    # Python compares strings by code point, which is the order of their bytes in UTF-8, and so of C's strcmp.
    return sorted(range(len(ranking)), key=lambda position: (values[position], ranking[position][0]), reverse=True)


def has_equal_scores(ranking: Ranking) -> bool:
    """Tell whether two scores of a ranking are equal as 32-bit floats."""
    scores = np.sort(_scores(ranking, whole_precision=False))
    return bool((scores[1:] == scores[:-1]).any())


def _scores(ranking: Ranking, whole_precision: bool) -> np.ndarray:
    scores = np.fromiter((score for _, score in ranking), np.float64, len(ranking))
    with np.errstate(over="ignore"):  # what is too large is infinite for trec_eval, too
        return scores if whole_precision else scores.astype(np.float32)
