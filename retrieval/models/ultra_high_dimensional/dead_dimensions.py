"""Watching which dimensions win: a dimension that never does is dead, takes no part in any score and learns nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from retrieval.errors import EncoderError
from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional


@dataclass(frozen=True)
class BucketUse:
    """How the dimensions of one bucket were used.

    Attributes:
        n_dimensions: of the bucket.
        n_dead: active in no text.
        mean_active: active dimensions of a text, on average.
        busiest: share of the texts in which the busiest dimension was active, 0 to 1; near 1 it tells nothing apart.
        effective: dimensions that would be active as evenly as these are unevenly, exp of the entropy of the wins.
    """

    n_dimensions: int
    n_dead: int
    mean_active: float
    busiest: float
    effective: float


@dataclass(frozen=True)
class DimensionUse:
    """How dimensions were used over a stream of texts.

    Attributes:
        n_texts: how many texts.
        buckets: one entry each.
    """

    n_texts: int
    buckets: tuple[BucketUse, ...]

    @property
    def dead_share(self) -> float:
        """Dead dimensions among all, 0 to 1."""
        return sum(bucket.n_dead for bucket in self.buckets) / sum(bucket.n_dimensions for bucket in self.buckets)

    def summary(self) -> str:
        """Return one line for people."""
        parts = [
            f"bucket {number}: {bucket.n_dead:,} of {bucket.n_dimensions:,} dimensions dead, "
            f"{bucket.mean_active:.1f} active in a text, the busiest in {bucket.busiest:.0%} of them"
            for number, bucket in enumerate(self.buckets)
        ]
        return f"{self.n_texts:,} texts; {'; '.join(parts)}"


class DimensionWatch(nn.Module):
    """Counts in how many texts each dimension was active.

    A module, so that what it has counted is saved with the checkpoints of the loss that holds it.

    Args:
        sizes: dimensions of each bucket.

    Attributes:
        counts: (n,) int64, texts in which each dimension was active.
        seen: () int64, texts that were seen.
    """

    counts: Tensor
    seen: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self._sizes = tuple(sizes)
        self.register_buffer("counts", torch.zeros(sum(sizes), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def n_texts(self) -> int:
        """Texts that were seen."""
        return int(self.seen)

    @classmethod
    def on(cls, module: UltraHighDimensional) -> tuple[DimensionWatch, RemovableHandle]:
        """Watch a module from now on; `remove()` on the handle ends it."""
        watch = cls(module.settings.dimensions)

        def see(_module: Any, _features: Any, output: dict[str, Tensor]) -> None:
            watch.update(output["sentence_embedding"])

        return watch, module.register_forward_hook(see)

    def update(self, activations: Tensor) -> None:
        """Count the active dimensions, those above 0, of (texts, n) activations.

        Raises:
            EncoderError: they have another number of dimensions.
        """
        if activations.shape[1] != len(self.counts):
            raise EncoderError(f"activations have {activations.shape[1]:,} dimensions, not {len(self.counts):,}")
        self.counts.add_((activations.detach() > 0).sum(0).to(self.counts.device))
        self.seen.add_(len(activations))

    def reset(self) -> None:
        """Forget what was counted; call it where a new stretch of training begins."""
        self.counts.zero_()
        self.seen.zero_()

    def dead(self) -> Tensor:
        """Return the dimensions that have been active in no text, (n_dead,) int64."""
        return torch.nonzero(self.counts == 0).flatten()

    def report(self) -> DimensionUse:
        """Return how the dimensions of each bucket were used so far."""
        return DimensionUse(self.n_texts, tuple(map(self._use, self.counts.cpu().split(self._sizes))))

    def _use(self, counts: Tensor) -> BucketUse:
        wins, n_texts = int(counts.sum()), max(self.n_texts, 1)
        shares = counts[counts > 0].double() / max(wins, 1)
        entropy = float(-(shares * shares.log()).sum())
        return BucketUse(
            n_dimensions=len(counts),
            n_dead=int((counts == 0).sum()),
            mean_active=wins / n_texts,
            busiest=int(counts.max()) / n_texts,
            effective=float(torch.tensor(entropy).exp()) if wins else 0.0,
        )
