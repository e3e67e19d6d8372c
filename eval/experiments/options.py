"""What every study is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What a study is told.

    Attributes:
        data: folder of test collections.
        workspace: where trained models are kept: a study that was broken off trains none of them again.
        seeds: of its runs, instead of the study's own; see `seeds_or`.
        share: of the steps of training and of the queries, to try it; results of less than 1 are never committed.
        models: further models by name, for studies that compare given ones.
    """

    data: Path
    workspace: Path
    seeds: Sequence[int] = ()
    share: float = 1.0
    models: dict[str, Path] = field(default_factory=dict)

    def seeds_or(self, *own: int) -> Sequence[int]:
        """Return the seeds that were asked for, or else the study's own; a study of one run takes the first."""
        return self.seeds or own

    def scaled(self, n: int) -> int:
        """Return the number of steps, texts or queries to take instead of the full one."""
        return max(2, round(n * self.share))
