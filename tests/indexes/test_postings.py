"""Chunked postings: lists come out as they went in, wherever windows begin, and damage is refused."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes import array_writer
from indexes.arrays import ArrayFolder, CheckedArray
from indexes.errors import CorruptIndexError
from indexes.file_operations import create
from indexes.lists import offsets_of
from indexes.postings import Postings
from indexes.postings_writer import PostingsWriter

EXAMPLES = settings.default.max_examples  # of the profile
WINDOW = 1 << 16
LARGEST_ROW = 2**31 - 1
ROWS = st.one_of(
    st.integers(0, 40),
    st.sampled_from([WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 5 * WINDOW - 1, LARGEST_ROW - 1, LARGEST_ROW]),
    st.integers(0, LARGEST_ROW),
)
LISTS = st.lists(st.dictionaries(ROWS, st.integers(0, 255), max_size=9), max_size=6)


def flat(lists):
    """Return lists, each a dictionary from row to value, as starts, rows and values."""
    pairs = list(itertools.chain.from_iterable(sorted(one.items()) for one in lists))
    starts = offsets_of(np.array([len(one) for one in lists], np.int64))
    return starts, np.array([row for row, _ in pairs], np.int32), np.array([value for _, value in pairs], np.uint8)


def without_values(arrays):
    return (*arrays[:2], np.empty(0, np.uint8))


def plain_chunks(lists, *, with_values=True):
    """Cut lists where windows begin, in plain Python: for each list its chunks as (window, size - 1, bound)."""
    return [
        [
            (window, len(pairs) - 1, max(value for _, value in pairs) if with_values else 1)
            for window, pairs in (
                (window, list(group))
                for window, group in itertools.groupby(sorted(one.items()), lambda pair: pair[0] // WINDOW)
            )
        ]
        for one in lists
    ]


def arrays_of(postings):
    return [np.asarray(array).tolist() for array in postings.for_kernels()]


@given(lists=LISTS, with_values=st.booleans())
@settings(max_examples=EXAMPLES)
def test_chunks_are_those_of_the_description(lists, with_values):
    starts, rows, values = flat(lists) if with_values else without_values(flat(lists))
    postings = Postings.chunked(starts, rows, values, "here")
    kernel = postings.for_kernels()
    chunks = plain_chunks(lists, with_values=with_values)
    every = list(itertools.chain.from_iterable(chunks))
    assert list(zip(kernel.windows.tolist(), kernel.sizes.tolist(), kernel.bounds.tolist(), strict=True)) == every
    assert kernel.chunk_starts.tolist() == [0, *itertools.accumulate(map(len, chunks))]
    assert kernel.starts.tolist() == starts.tolist()
    assert kernel.rows.tolist() == [row % WINDOW for row in rows.tolist()]
    assert kernel.values.tolist() == values.tolist()
    assert (len(postings), postings.n_postings) == (len(lists), len(rows))


@given(lists=LISTS, with_values=st.booleans())
@settings(max_examples=EXAMPLES)
def test_rows_come_out_as_they_went_in(lists, with_values):
    postings = Postings.chunked(*(flat(lists) if with_values else without_values(flat(lists))), "here")
    for number, one in enumerate(lists):
        rows = postings.rows_of(number, 2**31)
        assert rows.tolist() == sorted(one)
        assert rows.dtype == np.int32
        if one:
            with pytest.raises(CorruptIndexError, match="impossible documents"):
                postings.rows_of(number, max(one))
    starts, ends = postings.spans(np.arange(len(lists)))
    assert (ends - starts).tolist() == [len(one) for one in lists]


@given(lists=LISTS, with_values=st.booleans(), cuts=st.lists(st.integers(0, 6), max_size=3))
@settings(max_examples=EXAMPLES // 3)
def test_files_hold_what_was_written_in_pieces(lists, with_values, cuts):
    places = [0, *sorted(min(cut, len(lists)) for cut in cuts), len(lists)]
    with tempfile.TemporaryDirectory() as name:
        with PostingsWriter(Path(name), with_values=with_values) as writer:
            for first, last in itertools.pairwise(places):
                writer.append(*(flat if with_values else lambda part: without_values(flat(part)))(lists[first:last]))
        opened = Postings.open(ArrayFolder(Path(name)), len(lists), with_values=with_values).whole()
        opened.touch(np.arange(len(lists)))
        whole = Postings.chunked(*(flat(lists) if with_values else without_values(flat(lists))), "here")
        assert arrays_of(opened) == arrays_of(whole)
        assert (Path(name) / "postings-values.npy").exists() == with_values
        with pytest.raises(CorruptIndexError, match="postings-offsets"):
            Postings.open(ArrayFolder(Path(name)), len(lists) + 1, with_values=with_values)


def dense_lists(n_documents, shares, seed):
    """Make lists of which some chunks, by their share of the documents, are columns."""
    generator = np.random.default_rng(seed)
    lists = []
    for share in shares:
        rows = np.flatnonzero(generator.random(n_documents) < share)
        lists.append(dict(zip(rows.tolist(), generator.integers(1, 256, len(rows)).tolist(), strict=True)))
    return lists


@pytest.mark.parametrize("n_documents", [1, 7, 8, 9, 100, WINDOW, WINDOW + 1, WINDOW + 900])
def test_long_chunks_become_columns(n_documents, tmp_path):
    """With a posting for one of eight documents or more; the others stay postings, in the same list as well."""
    lists = [{}, *dense_lists(n_documents, [1, 0.5, 0.2, 0.12, 0.01, 0], n_documents)]
    lists.append(dict.fromkeys(range(max(0, n_documents - 20), n_documents), 9))  # in the last window only
    with PostingsWriter(tmp_path, with_values=True, columns_of=n_documents) as writer:
        for first, last in ((0, 2), (2, 2), (2, len(lists))):
            writer.append(*flat(lists[first:last]))
    postings = Postings.open(ArrayFolder(tmp_path), len(lists), with_values=True, with_columns=True).whole()
    kernel = postings.for_kernels()
    rows, values, dense, row_starts, dense_starts = [], [], [], [0], [0]
    for one, chunks in zip(lists, plain_chunks(lists), strict=True):
        for window, size, _ in chunks:
            width = min(WINDOW, n_documents - window * WINDOW)
            held = {row - window * WINDOW: value for row, value in one.items() if row // WINDOW == window}
            if 8 * (size + 1) >= width:
                dense += [held.get(local, 0) for local in range(width)]
            else:
                rows += sorted(held)
                values += [held[local] for local in sorted(held)]
        row_starts.append(len(rows))
        dense_starts.append(len(dense))
    assert (kernel.rows.tolist(), kernel.values.tolist(), kernel.dense.tolist()) == (rows, values, dense)
    assert (kernel.starts.tolist(), kernel.dense_starts.tolist()) == (row_starts, dense_starts)
    every = list(itertools.chain.from_iterable(plain_chunks(lists)))
    assert list(zip(kernel.windows.tolist(), kernel.sizes.tolist(), kernel.bounds.tolist(), strict=True)) == every
    assert postings.counts().tolist() == [len(one) for one in lists]
    assert postings.n_postings == sum(map(len, lists))


def test_a_chunk_holds_a_whole_window():
    lists = [dict.fromkeys(range(1, 2 * WINDOW + 1), 3), dict.fromkeys(range(WINDOW), 255)]
    postings = Postings.chunked(*flat(lists), "here")
    kernel = postings.for_kernels()
    assert kernel.windows.tolist() == [0, 1, 2, 0]
    assert kernel.sizes.tolist() == [WINDOW - 2, WINDOW - 1, 0, WINDOW - 1]
    assert kernel.bounds.tolist() == [3, 3, 3, 255]
    assert postings.rows_of(0, 2 * WINDOW + 1).tolist() == list(range(1, 2 * WINDOW + 1))
    assert postings.rows_of(1, WINDOW).tolist() == list(range(WINDOW))


@given(
    starts=st.lists(st.integers(-2, 9), min_size=1, max_size=3),
    chunk_starts=st.lists(st.integers(-2, 7), min_size=1, max_size=3),
    windows=st.lists(st.sampled_from([0, 0, 0, 1, 2, 32_767, 32_768, 65_535]), min_size=5, max_size=5),
    sizes=st.lists(st.sampled_from([0, 0, 1, 2, 65_535]), min_size=5, max_size=5),
    rows=st.lists(st.sampled_from([0, 1, 2, 3, 65_535]), min_size=7, max_size=7),
)
@settings(max_examples=4 * EXAMPLES)
def test_whatever_the_arrays_hold_rows_are_in_order_or_refused(starts, chunk_starts, windows, sizes, rows):
    """Compared with plain Python: the chunks of a list, put behind each other, must give its documents."""
    n_lists = min(len(starts), len(chunk_starts)) + 1
    starts, chunk_starts = [0, *starts[: n_lists - 1], 7], [0, *chunk_starts[: n_lists - 1], 5]
    arrays = [
        np.array(values, kind)
        for values, kind in [
            (starts, np.int64),
            (chunk_starts, np.int64),
            (windows, np.uint16),
            (sizes, np.uint16),
            ([1] * 5, np.uint8),
            (rows, np.uint16),
            ([1] * 7, np.uint8),
        ]
    ]
    postings = Postings(*map(CheckedArray, arrays), source="here")
    for number in range(n_lists):
        begin, end = starts[number : number + 2]
        first, last = chunk_starts[number : number + 2]
        expected = None
        if 0 <= begin <= end <= 7 and 0 <= first <= last <= 5:
            widths = [sizes[chunk] + 1 for chunk in range(first, last)]
            if sum(widths) == end - begin:
                bases = np.repeat([windows[chunk] * WINDOW for chunk in range(first, last)], widths)
                found = [int(base) + row for base, row in zip(bases, rows[begin:end], strict=True)]
                if found == sorted(set(found)) and (not found or found[-1] <= LARGEST_ROW):
                    expected = found
        if expected is None:
            with pytest.raises(CorruptIndexError, match="here"):
                postings.rows_of(number, 2**31)
        else:
            assert postings.rows_of(number, 2**31).tolist() == expected


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("values", [[1, 3], [0, 2], [0, 4], [-1, 3]])
def test_offsets_must_span_what_they_point_into(place, values):
    arrays = [np.array([0, 3]), np.array([0, 3])]
    arrays[place] = np.array(values)
    chunks = [np.zeros(3, np.uint16), np.zeros(3, np.uint16), np.ones(3, np.uint8)]
    with pytest.raises(CorruptIndexError, match="not from 0 to 3"):
        Postings(
            *map(CheckedArray, [*arrays, *chunks, np.arange(3, dtype=np.uint16), np.ones(3, np.uint8)]), source="s"
        )


@pytest.mark.parametrize("number", [-1, 2, 10**9])
def test_lists_that_are_not_there(number):
    with pytest.raises(IndexError, match="there are 2"):
        Postings.chunked(*flat([{1: 1}, {}]), "here").rows_of(number, 5)


@pytest.mark.parametrize("name", ["postings-rows", "postings-columns"])
def test_files_are_closed_when_another_cannot_be_made(tmp_path, monkeypatch, name):
    made = []

    def watched(path):
        if path.stem == name:
            raise OSError("no room")
        made.append(create(path))
        return made[-1]

    monkeypatch.setattr(array_writer, "create", watched)
    with pytest.raises(OSError, match="no room"):
        PostingsWriter(tmp_path, with_values=True, columns_of=10)
    assert made
    assert all(file.closed for file in made)
