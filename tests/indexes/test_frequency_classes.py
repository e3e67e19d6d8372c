"""Classes of (frequency, length): what they say of a posting's worth must hold, whatever the statistics become."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.arrays import ArrayFolder
from indexes.bm25_formula import LARGEST_PARAMETER, BM25Settings
from indexes.errors import CorruptIndexError
from indexes.frequency_classes import PairCounts, class_bounds, class_frequencies, load_boxes
from indexes.lists import Lists, offsets_of

EXAMPLES = settings.default.max_examples  # of the profile
FREQUENCIES = st.one_of(
    st.integers(1, 4),
    st.integers(60, 66),
    st.integers(125, 131),
    st.sampled_from([255, 256, 257, 258, 259, 511, 512, 516, 1000, 2**20 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1]),
    st.integers(1, 2**32 - 1),
)
LENGTHS = st.one_of(
    st.integers(0, 12),
    st.integers(505, 530),
    st.sampled_from([1023, 1024, 2**20 + 5, 2**30, 2**31 - 1]),
    st.integers(0, 2**31 - 1),
)
# A document is its length and its frequencies; that these add up to it is not needed here.
DOCUMENTS = st.lists(st.tuples(LENGTHS, st.lists(FREQUENCIES, max_size=6)), max_size=40)
SETTINGS = st.builds(
    BM25Settings,
    st.one_of(st.sampled_from([0.0, 1.2, 1e-300, LARGEST_PARAMETER]), st.floats(0, 10)),
    st.one_of(st.sampled_from([0.0, 0.75, 1.0]), st.floats(0, 1)),
)
AVERAGES = st.one_of(st.just(1.0), st.floats(1e-3, 1e4), st.sampled_from([1e-9, 2.0**31]))


def lists_of(documents):
    offsets = offsets_of(np.array([len(frequencies) for _, frequencies in documents], np.int64))
    flat = [frequency for _, frequencies in documents for frequency in frequencies]
    return Lists(offsets, np.zeros(len(flat), np.int32), np.array(flat, np.uint32))


def lengths_of(documents):
    return np.array([length for length, _ in documents], np.int32)


def classes_of(documents, cut=None):
    pairs = PairCounts(lengths_of(documents))
    cut = len(documents) if cut is None else min(cut, len(documents))
    pairs.add(0, lists_of(documents[:cut]))
    pairs.add(cut, lists_of(documents[cut:]))
    return pairs.classes()


def values_of(classes, documents):
    rows = np.repeat(np.arange(len(documents), dtype=np.int32), [len(frequencies) for _, frequencies in documents])
    return classes.of(rows, lists_of(documents).frequencies)


def pairs_of(documents):
    return [(frequency, length) for length, frequencies in documents for frequency in frequencies]


def worth(frequency, length, bm25, unit, average):
    """Return what the kernels make of a posting: the same operations in the same order, in plain Python."""
    return frequency / (frequency + bm25.k1 * unit * (1 - bm25.b + bm25.b * (length / average)))


def wide_documents(n_documents, seed):
    """Many more pairs than classes."""
    generator = np.random.default_rng(seed)
    return [
        (int(length), np.minimum(generator.zipf(1.3, 12), 2**32 - 1).tolist())
        for length in (generator.pareto(0.7, n_documents) * 40).clip(0, 2**31 - 1)
    ]


def assert_bounds_hold(documents, bm25, unit, average):
    classes = classes_of(documents)
    upper, lower = class_bounds(classes.boxes, bm25, unit, average)
    for value, (frequency, length) in zip(values_of(classes, documents).tolist(), pairs_of(documents), strict=True):
        boxes = classes.boxes[classes.boxes[:, 0] == value]
        assert (
            (boxes[:, 1] <= frequency) & (frequency <= boxes[:, 2]) & (boxes[:, 3] <= length) & (length <= boxes[:, 4])
        ).any()
        assert lower[value] <= worth(frequency, length, bm25, unit, average) <= upper[value] <= 1


@given(documents=DOCUMENTS, bm25=SETTINGS, unit=st.integers(1, 100), average=AVERAGES)
@settings(max_examples=EXAMPLES)
def test_each_pair_lies_in_a_box_of_its_class_and_within_its_bounds(documents, bm25, unit, average):
    assert_bounds_hold(documents, bm25, unit, average)


@pytest.mark.parametrize("bm25", [BM25Settings(), BM25Settings(0, 0.5), BM25Settings(2, 0), BM25Settings(0.9, 1)])
@pytest.mark.parametrize("average", [1.0, 40.0, 1e5])
def test_bounds_hold_with_more_pairs_than_classes(bm25, average):
    documents = wide_documents(300, 1)
    assert len(set(pairs_of(documents))) > 1000
    assert len(set(values_of(classes_of(documents), documents).tolist())) > 150
    assert_bounds_hold(documents, bm25, 2, average)


@given(documents=DOCUMENTS, data=st.data())
@settings(max_examples=EXAMPLES // 2)
def test_neither_order_nor_blocks_change_the_classes(documents, data):
    shuffled = data.draw(st.permutations(documents))
    one, other = classes_of(documents), classes_of(shuffled, cut=data.draw(st.integers(0, 40)))
    np.testing.assert_array_equal(one.boxes, other.boxes)
    by_pair = dict(zip(pairs_of(documents), values_of(one, documents).tolist(), strict=True))
    assert by_pair == dict(zip(pairs_of(shuffled), values_of(other, shuffled).tolist(), strict=True))


def test_the_order_does_not_matter_with_more_pairs_than_classes():
    documents = wide_documents(300, 2)
    np.testing.assert_array_equal(classes_of(documents).boxes, classes_of(documents[::-1], cut=17).boxes)


@given(
    pairs=st.lists(st.tuples(st.integers(1, 127), st.integers(0, 511)), min_size=1, max_size=128, unique=True),
    bm25=SETTINGS,
    unit=st.integers(1, 9),
    average=AVERAGES,
)
@settings(max_examples=EXAMPLES // 2)
def test_as_many_pairs_as_half_the_classes_are_exact(pairs, bm25, unit, average):
    documents = [(length, [frequency]) for frequency, length in pairs]
    classes = classes_of(documents)
    values = values_of(classes, documents).tolist()
    assert len(set(values)) == len(pairs)
    upper, lower = class_bounds(classes.boxes, bm25, unit, average)
    for value, (frequency, length) in zip(values, pairs, strict=True):
        assert upper[value] == lower[value] == worth(frequency, length, bm25, unit, average)


def test_the_most_frequent_pairs_are_exact_and_the_others_close_at_usual_settings():
    frequent = set(range(3, 511, 4))
    documents = [(length, [1 + length % 7] * (2 if length in frequent else 1)) for length in range(1, 510)]
    assert len(frequent) == 127
    classes = classes_of(documents)
    values = values_of(classes, documents).tolist()
    average = float(lengths_of(documents).mean())
    upper, lower = class_bounds(classes.boxes, BM25Settings(), 1, average)
    for value, (_, length) in zip(values, pairs_of(documents), strict=True):
        assert upper[value] == lower[value] or length not in frequent
    assert sum(upper[value] != lower[value] for value in set(values)) > 20
    # Of seven frequencies, equally frequent, four share their classes.
    assert max(upper[value] - lower[value] for value in values) <= 1 / 16
    held = class_frequencies(classes.boxes)
    told = [held[value] == frequency for value, (frequency, _) in zip(values, pairs_of(documents), strict=True)]
    assert np.mean(told) > 3 / 7


@given(documents=DOCUMENTS)
@settings(max_examples=EXAMPLES // 2)
def test_a_class_tells_its_frequency_or_that_it_holds_several(documents):
    classes = classes_of(documents)
    held: dict[int, set[int]] = {}
    for value, (frequency, _) in zip(values_of(classes, documents).tolist(), pairs_of(documents), strict=True):
        held.setdefault(value, set()).add(frequency)
    told = class_frequencies(classes.boxes)
    for value, frequencies in held.items():
        # A bin of several frequencies tells none, even if only one of them is there.
        assert told[value] in (
            (0, *frequencies) if max(frequencies) >= 128 else (0,) if len(frequencies) > 1 else frequencies
        )
    assert not told[[value for value in range(256) if value not in held]].any()


@given(documents=DOCUMENTS)
@settings(max_examples=EXAMPLES // 2)
def test_classes_are_numbered_by_worth_at_usual_settings(documents):
    classes = classes_of(documents)
    average = max(float(lengths_of(documents).mean()) if documents else 1.0, 1e-9)
    upper, _ = class_bounds(classes.boxes, BM25Settings(), 1, average)
    used = sorted({*values_of(classes, documents).tolist()})
    assert used == list(range(256 - len(used), 256))
    assert (np.diff(upper[used]) >= 0).all()


def test_classes_without_pairs_bound_nothing():
    upper, lower = class_bounds(np.empty((0, 5), np.int64), BM25Settings(), 1, 1.0)
    assert not upper.any()
    assert not lower.any()
    assert upper.shape == lower.shape == (256,)


@given(documents=DOCUMENTS)
@settings(max_examples=EXAMPLES // 4)
def test_boxes_are_read_as_they_were_written(documents):
    classes = classes_of(documents)
    with tempfile.TemporaryDirectory() as name:
        classes.write(Path(name))
        np.testing.assert_array_equal(load_boxes(ArrayFolder(Path(name))), classes.boxes)


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("value", [-(2**63), -1, 2**62, 2**63 - 1])
def test_crafted_boxes_are_refused_or_give_finite_bounds(tmp_path, column, value):
    boxes = classes_of([(3, [1, 2]), (600, [1, 70])]).boxes.copy()
    boxes[1, column] = value
    np.save(tmp_path / "frequency-classes.npy", boxes)
    try:
        loaded = load_boxes(ArrayFolder(tmp_path))
    except CorruptIndexError as error:
        assert "frequency-classes" in str(error)
    else:
        assert column in {2, 4}
        bounds = class_bounds(loaded, BM25Settings(1e100, 1.0), 10, 1e-6)
        assert np.isfinite(bounds).all()
