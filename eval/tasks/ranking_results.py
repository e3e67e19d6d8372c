"""What the results of all ranking tasks say alike: policies with the task's own choices, and counts of what was odd."""

from __future__ import annotations

from dataclasses import replace

from eval.measures import Evaluation, Policies
from eval.tasks.base import Reference
from eval.tasks.definition import Definition
from eval.tasks.system import System

_LONG = {
    "truncate": "what is beyond the encoder's maximum of tokens is not read; such texts are counted",
    "chunk": "texts beyond the encoder's maximum of tokens are read in passages, of which the best counts; queries are "
    "cut",
}


def policies_of(relevant: int, given: Policies) -> Policies:
    """Return a run's policies with the lowest relevant grade of a task, where the task says one."""
    return replace(given, relevance_level=relevant) if relevant > 1 else given


def ranking_policies(policies: Policies, evaluation: Evaluation, system: System) -> dict[str, str]:
    """Return a sentence for each policy; that of ties says what the other reading would give, where it differs."""
    sentences = policies.describe()
    if evaluation.other_ties:
        other = "trec_eval's order" if policies.ties == "as returned" else "the order as returned"
        values = ", ".join(f"{name} {value:.4f}" for name, value in evaluation.other_ties.items())
        sentences["ties"] += f"; {other} of equal scores would give {values}"
    if system.encoder is not None:
        sentences["truncation"] = _LONG[system.long]
        sentences["prompts"] = "the encoder's own for queries and passages"
    return sentences


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
