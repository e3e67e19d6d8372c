"""The order of training: seeded batches, and batches that come from one task in part or as a whole.

KaLM-Embedding's semi-homogeneous task batching (arXiv 2501.01028, section 3; HITsz-TMG/KaLM-Embedding, train/data.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


def plan_batches(
    tasks: np.ndarray, batch_size: int, *, homogeneous: float = 0.0, seed: int = 0, epoch: int = 0
) -> list[np.ndarray]:
    """Divide the examples of an epoch into batches.

    Examples are shuffled within their tasks and cut into batches of one task each, as even in size as they can be. From
    each batch the last `size · (1 − homogeneous)` places are pooled over all batches, shuffled, and filled again: with
    1 every batch is of one task. Then the batches are shuffled. With 0 this is a plain shuffle of all examples.

    Args:
        tasks: number of each example's task, (n,) int.
        batch_size: examples a batch.
        homogeneous: part of a batch that stays in its task, 0 to 1.
        seed: of everything random, together with the epoch.
        epoch: number of the pass over the examples.

    Returns:
        Row numbers, (≤ batch_size,) int64 each; every row is in exactly one batch.
    """
    generator = np.random.default_rng([seed, epoch])
    if homogeneous <= 0:
        return _cut(generator.permutation(len(tasks)), batch_size)
    batches: list[np.ndarray] = []
    for task in np.unique(tasks):
        rows = generator.permutation(np.flatnonzero(tasks == task))
        batches.extend(_cut(rows, batch_size))
    if homogeneous < 1:
        kept = [round(len(batch) * homogeneous) for batch in batches]
        loose = generator.permutation(np.concatenate([batch[n:] for batch, n in zip(batches, kept, strict=True)]))
        ends = np.cumsum([len(batch) - n for batch, n in zip(batches, kept, strict=True)])
        refills = np.split(loose, ends[:-1])
        batches = [np.concatenate([batch[:n], refill]) for batch, n, refill in zip(batches, kept, refills, strict=True)]
    return [batches[number] for number in generator.permutation(len(batches))]


def _cut(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut into batches whose sizes differ by one at most: a last batch of one example would have no negatives."""
    return np.array_split(rows, math.ceil(len(rows) / batch_size)) if len(rows) else []


class EpochBatches:
    """The batches of each epoch, as torch's data loaders take them; the same for a resumed run.

    Args:
        tasks: see `plan_batches`.
        batch_size: see `plan_batches`.
        homogeneous: see `plan_batches`.
        seed: see `plan_batches`.
    """

    def __init__(self, tasks: np.ndarray, batch_size: int, homogeneous: float, seed: int) -> None:
        self._tasks = tasks
        self.batch_size = batch_size
        self._homogeneous = homogeneous
        self._seed = seed
        self.drop_last = False
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the batches of another epoch."""
        self.epoch = epoch

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return plan_batches(self._tasks, self.batch_size, homogeneous=self._homogeneous, seed=self._seed, epoch=epoch)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._plan(self.epoch):
            yield batch.tolist()

    def __len__(self) -> int:
        """Return the number of batches, which no epoch changes."""
        if self._homogeneous <= 0:
            return math.ceil(len(self._tasks) / self.batch_size)
        counts = np.unique(self._tasks, return_counts=True)[1]
        return sum(math.ceil(count / self.batch_size) for count in counts.tolist())
