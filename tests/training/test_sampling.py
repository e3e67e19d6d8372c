"""The order of training: batches of one task, mixed batches, and what lies between."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.training.sampling import EpochBatches, plan_batches

TASKS = st.lists(st.integers(0, 3), min_size=1, max_size=200).map(np.array)


@given(TASKS, st.integers(1, 32), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(0, 5), st.integers(0, 3))
def test_each_example_is_in_one_batch(tasks, batch_size, homogeneous, seed, epoch):
    batches = plan_batches(tasks, batch_size, homogeneous=homogeneous, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(tasks)))
    assert max(map(len, batches)) <= batch_size
    loader = EpochBatches(tasks, batch_size, homogeneous, seed)
    loader.set_epoch(epoch)
    assert len(loader) == len(batches)
    assert list(loader) == [batch.tolist() for batch in batches]


@given(TASKS, st.integers(1, 32), st.integers(0, 5))
def test_homogeneous_batches_are_of_one_task(tasks, batch_size, seed):
    for batch in plan_batches(tasks, batch_size, homogeneous=1.0, seed=seed):
        assert len(set(tasks[batch].tolist())) == 1


def largest_share(homogeneous: float) -> float:
    """The mean part of a batch that its most frequent task has, of three equal tasks."""
    tasks = np.repeat([0, 1, 2], 3200)
    batches = plan_batches(tasks, 32, homogeneous=homogeneous, seed=1)
    return float(np.mean([np.bincount(tasks[batch]).max() / len(batch) for batch in batches]))


def test_without_homogeneity_batches_are_as_mixed_as_the_whole():
    tasks = np.repeat([0, 1, 2], 3200)
    counts = np.array([np.bincount(tasks[batch], minlength=3) for batch in plan_batches(tasks, 32, seed=0)])
    # Hypergeometric: mean 32/3, variance 32 * 1/3 * 2/3.
    assert np.allclose(counts.mean(axis=0), 32 / 3, atol=0.01)
    assert np.allclose(counts.var(axis=0), 32 * 2 / 9, rtol=0.25)


def test_the_ratio_lies_between():
    # Half of a batch is of its task, and a third of what was shuffled back in is by chance: 1/2 + 1/2 * 1/3.
    assert 0.6 < largest_share(0.5) < 0.72
    assert largest_share(0.0) < largest_share(0.25) < largest_share(0.5) < largest_share(0.75) < largest_share(1.0) == 1


def test_order_depends_on_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(plan_batches(np.zeros(50, int), 8, seed=seed, epoch=epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_batches_are_as_even_as_they_can_be():
    assert sorted(map(len, plan_batches(np.zeros(33, int), 32))) == [16, 17]
