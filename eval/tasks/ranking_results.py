"""What the results of all ranking tasks say alike: policies with the task's own choices, and counts of what was odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eval.measures import Evaluation, Policies
from eval.tasks.base import Reference
from eval.tasks.definition import Definition
from eval.tasks.system import LongPolicy, System

_LONG = {
    "truncate": "what is beyond the encoder's maximum of tokens is not read; such texts are counted",
    "chunk": "texts beyond the encoder's maximum of tokens are read in passages, of which the best counts; queries are "
    "cut",
}

_BUDGETS = ("max_tokens", "query_tokens", "document_tokens")
"""What rerankers call their budgets in their identities, where they have one."""


def policies_of(relevant: int, given: Policies) -> Policies:
    """Return a run's policies with the lowest relevant grade of a task, where the task says one."""
    return replace(given, relevance_level=relevant) if relevant > 1 else given


def ranking_policies(policies: Policies, evaluation: Evaluation, system: System) -> dict[str, str]:
    """Return the sentences of a task whose system searches a collection: of its measures, and of how texts are read."""
    return measure_policies(policies, evaluation) | (_encoder_policies(system.long) if system.encoder else {})


def measure_policies(policies: Policies, evaluation: Evaluation) -> dict[str, str]:
    """Return a sentence for each policy; that of ties says what the other reading would give, where it differs."""
    sentences = policies.describe()
    if evaluation.other_ties:
        other = "trec_eval's order" if policies.ties == "as returned" else "the order as returned"
        values = ", ".join(f"{name} {value:.4f}" for name, value in evaluation.other_ties.items())
        sentences["ties"] += f"; {other} of equal scores would give {values}"
    return sentences


def candidate_policies(source: str, system: System) -> dict[str, str]:
    """Return how the texts of candidates are read by what scores them; nothing for what reads them to their end.

    Args:
        source: what the scores come from, see `eval.tasks.candidate_scoring.ScoredCandidates`.
        system: that scores; its policy for long texts is that of collections, and has no part in it.
    """
    if source == "similarities":
        return _encoder_policies("truncate")
    if source == "reranker" and system.reranker is not None:
        return {"truncation": _read_pairs(system.reranker.identity())}
    return {}


def _encoder_policies(long: LongPolicy) -> dict[str, str]:
    return {"truncation": _LONG[long], "prompts": "the encoder's own for queries and passages"}


def _read_pairs(identity: Mapping[str, Any]) -> str:
    budget = ", ".join(f"{name} {identity[name]}" for name in _BUDGETS if identity.get(name) is not None)
    if not budget:
        return "pairs of query and passage are read as the reranker reads them; cut ones, if any, are not counted"
    return f"pairs of query and passage are cut at the reranker's own budget ({budget}); cut ones are not counted"


def reference_of(definition: Definition, system: System, *, by_encoder: bool, as_published: bool) -> Reference | None:
    """Return the published figure of a system, by its name, or by its encoder's where that alone decided the scores.

    Args:
        definition: with published figures.
        system: that was measured.
        by_encoder: whether the encoder's similarities alone made the order.
        as_published: whether texts were cut as they were for published figures; otherwise no tolerance binds.
    """
    reference = definition.reference_for(system if by_encoder else replace(system, encoder=None))
    return reference if reference is None or as_published or not by_encoder else replace(reference, tolerance=None)


def evaluation_counts(evaluation: Evaluation) -> dict[str, int]:
    """Return what was not as it should be in a run or its judgements; zeros included."""
    return {
        "queries without results": len(evaluation.missing),
        "queries without relevant documents": evaluation.without_relevant,
        "judged queries that do not count": evaluation.skipped,
        "queries whose order hangs on ties": evaluation.tied,
        "self-matches removed": evaluation.self_matches,
        "duplicates removed": evaluation.duplicates,
        "unjudged documents removed": evaluation.unjudged_documents,
    }
