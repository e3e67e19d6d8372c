"""Packed lists of documents: what goes in comes out, and whatever the bytes are, nothing reads outside of them."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.arrays import ArrayFolder, CheckedArray
from indexes.documents import DocumentsWriter, PackedDocuments
from indexes.errors import CorruptIndexError
from indexes.lists import Lists, offsets_of

EXAMPLES = settings.default.max_examples  # of the profile
LARGEST_MEMBER, LARGEST_FREQUENCY = 2**31 - 1, 2**32 - 1
EDGES = [1, 2, 3, 63, 64, 65, 127, 128, 129, 130, 8191, 8192, 16_383, 16_384, 2**21 - 1, 2**21, 2**28 - 1, 2**28]
MEMBERS = st.one_of(st.integers(0, 200), st.sampled_from([0, *EDGES, 2**30, LARGEST_MEMBER]))
FREQUENCIES = st.one_of(
    st.just(1),
    st.integers(1, 5),
    st.sampled_from([*EDGES, 2**31, 2**32 - 2, LARGEST_FREQUENCY]),
    st.integers(1, 2**32 - 1),
)
DOCUMENTS = st.lists(st.dictionaries(MEMBERS, FREQUENCIES, max_size=8), max_size=8)


def lists_of(documents):
    """Return documents, each a dictionary from member to frequency, as flat lists."""
    pairs = [sorted(document.items()) for document in documents]
    flat = list(itertools.chain.from_iterable(pairs))
    offsets = offsets_of(np.array([len(document) for document in documents], np.int64))
    return Lists(offsets, np.array([m for m, _ in flat], np.int32), np.array([f for _, f in flat], np.uint32))


def plain_bytes(document):
    """Pack a document as the module says, in plain Python."""

    def number(value):
        found = []
        while value >= 128:
            found.append(value % 128 + 128)
            value //= 128
        return [*found, value]

    packed, previous = [], -1
    for member, frequency in sorted(document.items()):
        packed += number(2 * (member - previous - 1) + (frequency != 1))
        packed += number(frequency - 2) if frequency != 1 else []
        previous = member
    return packed


def plain_pairs(content):
    """Read a packed list in plain Python; None where it is damaged."""
    position = 0

    def number():
        nonlocal position
        value = 0
        for place in range(6):
            if position == len(content):
                return None
            byte = content[position]
            position += 1
            value += byte % 128 << 7 * place
            if byte < 128:
                return value
        return None

    pairs, member = [], -1
    while position < len(content):
        gap = number()
        frequency = number() if gap is not None and gap % 2 else -1
        if gap is None or frequency is None:
            return None
        member += 1 + gap // 2
        pairs.append((member, frequency + 2))
    return pairs


def held(content, offsets):
    return PackedDocuments(CheckedArray(np.array(offsets, np.int64)), CheckedArray(content), "here")


@given(documents=DOCUMENTS)
@settings(max_examples=EXAMPLES)
def test_bytes_are_those_of_the_description(documents):
    packed = PackedDocuments.packed(lists_of(documents))
    expected = [plain_bytes(document) for document in documents]
    assert packed.for_kernels().content.tolist() == list(itertools.chain.from_iterable(expected))
    assert packed.for_kernels().offsets.tolist() == [0, *itertools.accumulate(map(len, expected))]
    assert len(packed.for_kernels().content) == sum(map(len, expected))
    assert len(packed) == len(documents)


@given(
    documents=st.lists(st.dictionaries(st.integers(0, 300), FREQUENCIES, max_size=8), min_size=1, max_size=8),
    data=st.data(),
)
@settings(max_examples=EXAMPLES)
def test_what_was_packed_is_read_again(documents, data):
    packed = PackedDocuments.packed(lists_of(documents))
    for row, document in enumerate(documents):
        members, frequencies = packed.one(row, 301)
        assert (members.dtype, frequencies.dtype) == (np.int32, np.uint32)
        assert list(zip(members.tolist(), frequencies.tolist(), strict=True)) == sorted(document.items())
    rows = np.array(data.draw(st.lists(st.integers(0, len(documents) - 1), max_size=10)), np.int64)
    expected = lists_of([documents[row] for row in rows])
    found = packed.some(rows, 301)
    assert packed.sizes(rows).tolist() == [len(documents[row]) for row in rows]
    for mine, other in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(mine, other)
    counts = np.ones(301, np.int64)
    packed.count_members(rows, counts)
    assert counts.tolist() == [1 + sum(member in documents[row] for row in rows) for member in range(301)]
    assert packed.total(301) == sum(sum(document.values()) for document in documents)


@pytest.mark.parametrize("frequency", [*EDGES, 2**31, LARGEST_FREQUENCY])
def test_the_ends_of_the_ranges(frequency):
    for member in (0, *EDGES, 2**30, LARGEST_MEMBER - 1):
        documents = [{member: frequency}, {}, {0: 1, member + 1: frequency}]
        packed = PackedDocuments.packed(lists_of(documents))
        assert packed.sizes(np.arange(3)).tolist() == [1, 0, 2]
        offsets, content = packed.for_kernels()[:2]
        for row, document in enumerate(documents):
            assert plain_pairs(content[offsets[row] : offsets[row + 1]].tolist()) == sorted(document.items())
        if member <= 2**14:  # reading takes a table of all members
            members, frequencies = packed.one(2, member + 2)
            assert (members.tolist(), frequencies.tolist()) == ([0, member + 1], [1, frequency])
            with pytest.raises(CorruptIndexError):
                packed.one(2, member + 1)


@given(documents=DOCUMENTS, cuts=st.lists(st.integers(0, 8), max_size=3))
@settings(max_examples=EXAMPLES // 3)
def test_files_hold_what_was_written_in_pieces(documents, cuts):
    whole = PackedDocuments.packed(lists_of(documents))
    places = [0, *sorted(min(cut, len(documents)) for cut in cuts), len(documents)]
    with tempfile.TemporaryDirectory() as name:
        with DocumentsWriter(Path(name)) as writer:
            for first, last in itertools.pairwise(places):
                writer.append(lists_of(documents[first:last]))
        opened = PackedDocuments.open(ArrayFolder(Path(name)), len(documents)).whole()
        for mine, other in zip(opened.for_kernels()[:2], whole.for_kernels()[:2], strict=True):
            np.testing.assert_array_equal(mine, other)
        with pytest.raises(CorruptIndexError, match="document-offsets"):
            PackedDocuments.open(ArrayFolder(Path(name)), len(documents) + 1)


@given(
    documents=st.lists(st.dictionaries(st.integers(0, 20), st.integers(1, 300), max_size=8), max_size=8),
    budget=st.integers(1, 30),
)
def test_ranges_cover_all_documents_in_order(documents, budget):
    packed = PackedDocuments.packed(lists_of(documents))
    ranges = list(packed.ranges(budget))
    assert [row for first, last in ranges for row in range(first, last)] == list(range(len(documents)))
    for first, last in ranges:
        assert last == first + 1 or sum(map(len, documents[first:last])) <= budget


@given(
    documents=st.lists(st.dictionaries(st.integers(0, 20), FREQUENCIES, max_size=6), min_size=1, max_size=5),
    data=st.data(),
)
@settings(max_examples=EXAMPLES // 2)
def test_copying_renumbers_and_refuses_members_that_are_gone(documents, data):
    packed = PackedDocuments.packed(lists_of(documents))
    gone = data.draw(st.sets(st.integers(0, 20), max_size=2))
    renumbered = np.arange(100, 121, dtype=np.int32)
    renumbered[list(gone)] = -1
    rows = np.arange(len(documents))
    sizes = packed.sizes(rows)
    # The last list first, with a gap that must stay as it is.
    targets = offsets_of(sizes[::-1] + 1)[:-1][::-1].copy()
    members = np.full(int(sizes.sum()) + len(rows), -7, np.int32)
    frequencies = np.zeros(len(members), np.uint32)
    if any(gone & set(document) for document in documents):
        with pytest.raises(CorruptIndexError, match="impossible terms"):
            packed.copy(rows, renumbered, targets, sizes, members, frequencies)
        return
    packed.copy(rows, renumbered, targets, sizes, members, frequencies)
    expected = []
    for document in reversed(documents):
        expected += [member + 100 for member in sorted(document)] + [-7]
    assert members.tolist() == expected


@given(content=st.binary(max_size=24), n_members=st.integers(0, 40), data=st.data())
@settings(max_examples=EXAMPLES)
def test_any_bytes_are_read_like_in_plain_python_or_refused(content, n_members, data):
    cut = data.draw(st.integers(0, len(content)))
    packed = held(np.frombuffer(content, np.uint8), [0, cut, len(content)])
    for row, piece in enumerate((content[:cut], content[cut:])):
        pairs = plain_pairs(piece)
        if pairs is None:
            with pytest.raises(CorruptIndexError, match="cut off"):
                packed.sizes(np.array([row]))
        else:
            assert packed.sizes(np.array([row])).tolist() == [len(pairs)]
        counts = np.zeros(n_members, np.int64)
        if pairs is None or any(member >= n_members for member, _ in pairs):
            with pytest.raises(CorruptIndexError):
                packed.count_members(np.array([row]), counts)
        else:
            packed.count_members(np.array([row]), counts)
            assert counts.sum() == len(pairs)
        if pairs is None or any(m >= n_members or frequency > LARGEST_FREQUENCY for m, frequency in pairs):
            with pytest.raises(CorruptIndexError, match="here"):
                packed.one(row, n_members)
        else:
            members, frequencies = packed.one(row, n_members)
            assert list(zip(members.tolist(), frequencies.tolist(), strict=True)) == pairs


@pytest.mark.parametrize("middle", [-1, 5, 2**62, -(2**63), 2**63 - 1])
def test_offsets_outside_are_refused(middle):
    packed = held(np.zeros(4, np.uint8), [0, middle, 4])
    for rows in ([0], [1], [0, 1]):
        for use in (packed.sizes, packed.touch, lambda rows, packed=packed: packed.some(rows, 9)):
            with pytest.raises(CorruptIndexError, match="does not ascend"):
                use(np.array(rows))
    with pytest.raises(CorruptIndexError):
        packed.total(9)


@pytest.mark.parametrize("offsets", [[1, 4], [0, 3], [0, 5], [-1, 4]])
def test_offsets_must_span_the_content(offsets):
    with pytest.raises(CorruptIndexError, match="not from 0 to 4"):
        held(np.zeros(4, np.uint8), offsets)


@pytest.mark.parametrize("row", [-1, 2, 10**9])
def test_rows_that_are_not_there(row):
    with pytest.raises(IndexError, match="there are 2"):
        PackedDocuments.packed(lists_of([{1: 1}, {}])).one(row, 5)
