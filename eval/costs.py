"""What a result cost: speed of encoding, times of single queries, memory. Each figure's name holds its unit."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.tasks.base import TaskResult

ENCODED_TEXTS = "encoded_texts"
"""Cost: texts that went through the model; the others had been encoded before."""


@dataclass(frozen=True)
class Encoding:
    """Texts that went through a model, and what that took.

    Attributes:
        texts: how many.
        tokens: of them, as far as the model reads them.
        seconds: wall time of the model's calls, tokenization included.
    """

    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Encoding) -> Encoding:
        return Encoding(self.texts + other.texts, self.tokens + other.tokens, self.seconds + other.seconds)

    def __sub__(self, other: Encoding) -> Encoding:
        return Encoding(self.texts - other.texts, self.tokens - other.tokens, self.seconds - other.seconds)

    def speeds(self) -> dict[str, float]:
        """Return texts and tokens a second; nothing where no text was encoded."""
        if not self.texts or self.seconds <= 0:
            return {}
        return {
            "encode_texts_per_second": self.texts / self.seconds,
            "encode_tokens_per_second": self.tokens / self.seconds,
        }


def encoding_costs(spent: Encoding, ever: Encoding) -> dict[str, float]:
    """Return what encoding cost a result.

    Args:
        spent: what went through the model for this result.
        ever: for whatever result; its speeds stand where all texts of this one had been encoded before.
    """
    costs = {ENCODED_TEXTS: float(spent.texts), "encode_seconds": spent.seconds}
    return {**costs, **(spent.speeds() or ever.speeds())}


def peak_memory() -> dict[str, float]:
    """Return "process_peak_memory_bytes": the most that the process has held so far.

    It never falls, so it is an upper bound for each result of a run but the first, models included.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kibibytes elsewhere
    return {"process_peak_memory_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}


def merge_costs(result: TaskResult, measured: Mapping[str, float]) -> TaskResult:
    """Return a result with what was measured around its task.

    Args:
        result: of the task.
        measured: replaces the task's own figures of the same name. Where it says how many texts were encoded, the
            task's own speed of encoding goes: through a cache of embeddings that is the speed of reading, too.
    """
    own = result.costs
    if ENCODED_TEXTS in measured:
        own = {name: figure for name, figure in own.items() if not name.startswith("encode_")}
    return replace(result, costs={**own, **measured})
