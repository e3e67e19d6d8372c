from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.errors import CorruptIndexError
from indexes.inverted import InvertedIndex, InvertedIndexWriter, merge_inverted
from indexes.lists import blocks, offsets_of

FILES = [
    "dictionary-bytes",
    "dictionary-offsets",
    "document-lists",
    "document-offsets",
    "frequency-classes",
    "lengths",
    "postings-chunk-bounds",
    "postings-chunk-offsets",
    "postings-chunk-sizes",
    "postings-chunk-windows",
    "postings-offsets",
    "postings-rows",
    "postings-values",
]
EXAMPLES = settings.default.max_examples  # of the profile
WORDS = ["a", "b", "ba", "c", "é", "日本", "z", "zz"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12)
# A document is a title and a text.
DOCUMENTS = st.lists(st.tuples(TEXTS, TEXTS), max_size=12)


def build(directory, documents, weights=(3, 1), vocabulary=None):
    """Write the index of documents that are tuples of token lists, and open it."""
    numbers = {term: number for number, term in enumerate(vocabulary or [])}
    writer = InvertedIndexWriter()
    for row, fields in enumerate(documents):
        ids = [[numbers.setdefault(token, len(numbers)) for token in tokens] for tokens in fields]
        assert writer.add(list(zip(ids, weights, strict=False))) == row
    assert writer.n_documents == len(documents)
    directory.mkdir(parents=True, exist_ok=True)
    writer.write(directory, list(numbers))
    return InvertedIndex.open(directory)


def counted(document, weights=(3, 1)):
    counts = Counter()
    for tokens, weight in zip(document, weights, strict=False):
        for token in tokens:
            counts[token] += weight
    return counts


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@given(documents=DOCUMENTS)
@settings(max_examples=EXAMPLES // 3)
def test_holds_what_was_added(documents):
    with tempfile.TemporaryDirectory() as name:
        index = build(Path(name), documents)
        expected = [counted(document) for document in documents]
        terms = sorted(set().union(*expected))
        assert [index.term(number) for number in range(index.n_terms)] == terms
        assert index.n_documents == len(documents)
        assert index.n_postings == sum(map(len, expected))
        assert index.lengths.tolist() == [sum(counts.values()) for counts in expected]
        assert index.total_length == sum(index.lengths.tolist())
        for row, counts in enumerate(expected):
            numbers, frequencies = index.document(row)
            assert dict(zip(map(terms.__getitem__, numbers), frequencies.tolist(), strict=True)) == counts
            assert sorted(numbers.tolist()) == numbers.tolist()
        for number, term in enumerate(terms):
            rows = [row for row, counts in enumerate(expected) if term in counts]
            assert index.rows_with(number).tolist() == rows
        assert index.document_frequencies().tolist() == [sum(term in counts for counts in expected) for term in terms]


def test_types(tmp_path):
    index = build(tmp_path, [(["a"], ["b", "a"])])
    terms, frequencies = index.document(0)
    assert (terms.dtype, frequencies.dtype, index.lengths.dtype) == (np.int32, np.uint32, np.int32)
    assert index.rows_with(0).dtype == np.int32
    assert index.term_ids(["b", "x", "a"]).tolist() == [1, -1, 0]
    assert index.rows_with(-1).tolist() == []
    assert not index.lengths.flags.writeable
    assert sorted(path.stem for path in tmp_path.iterdir()) == FILES


@given(documents=DOCUMENTS, order=st.permutations(WORDS))
@settings(max_examples=EXAMPLES // 3)
def test_bytes_do_not_depend_on_the_callers_term_ids(documents, order):
    with tempfile.TemporaryDirectory() as name:
        build(Path(name) / "one", documents)
        build(Path(name) / "other", documents, vocabulary=["unused", *order, "unused too"])
        assert contents(Path(name) / "one") == contents(Path(name) / "other")


@given(documents=DOCUMENTS, data=st.data())
@settings(max_examples=EXAMPLES // 3)
def test_document_frequencies_under_a_mask(documents, data):
    with tempfile.TemporaryDirectory() as name:
        index = build(Path(name), documents)
        size = len(documents)
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)
        expected = [int(mask[index.rows_with(number)].sum()) for number in range(index.n_terms)]
        assert index.document_frequencies(mask).tolist() == expected
        assert index.document_frequencies(mask).dtype == np.int64


@given(documents=DOCUMENTS, data=st.data())
@settings(max_examples=EXAMPLES // 3)
def test_merging_gives_the_bytes_of_a_new_index(documents, data):
    """Each document goes to one of several indexes, some are dropped, the rest are merged in sequence order."""
    n_parts = data.draw(st.integers(1, 4))
    size = len(documents)
    parts = data.draw(st.lists(st.integers(0, n_parts - 1), min_size=size, max_size=size))
    kept = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        inputs, sequences = [], []
        for part in range(n_parts):
            members = [sequence for sequence in range(size) if parts[sequence] == part]
            rows = [row for row, sequence in enumerate(members) if kept[sequence]]
            index = build(root / str(part), [documents[sequence] for sequence in members])
            inputs.append((index, np.array(rows, np.int64)))
            sequences += [members[row] for row in rows]
        (root / "merged").mkdir()
        merge_inverted(inputs, np.argsort(np.array(sequences, np.int64)), root / "merged")
        build(root / "new", [document for document, keep in zip(documents, kept, strict=True) if keep])
        assert contents(root / "merged") == contents(root / "new")


def test_merging_in_small_blocks_gives_the_same_bytes(tmp_path, monkeypatch):
    generator = np.random.default_rng(5)
    documents = [([], [str(term) for term in generator.zipf(1.4, 30) % 500]) for _ in range(200)]
    index = build(tmp_path / "one", documents)
    monkeypatch.setattr("indexes.list_merge.PAIRS_IN_MEMORY", 100)
    monkeypatch.setattr("indexes.list_merge._PAIRS_READ", 7)
    (tmp_path / "merged").mkdir()
    merge_inverted([(index, np.arange(200))], np.arange(200), tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "one")


def test_nothing_at_all(tmp_path):
    index = build(tmp_path / "empty", [])
    assert (index.n_documents, index.n_terms, index.n_postings, index.total_length) == (0, 0, 0, 0)
    assert index.term_ids(["a"]).tolist() == [-1]
    assert index.document_frequencies(np.empty(0, bool)).tolist() == []
    (tmp_path / "merged").mkdir()
    merge_inverted([], np.empty(0, np.int64), tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "empty")


def test_documents_without_terms(tmp_path):
    index = build(tmp_path, [([], []), (), ([], ["a"]), ([], [])])
    assert index.lengths.tolist() == [0, 0, 1, 0]
    assert index.document(0)[0].tolist() == []
    assert index.rows_with(0).tolist() == [2]


def test_frequencies_beyond_16_bits_and_lengths_beyond_31(tmp_path):
    index = build(tmp_path, [(["a"] * 65_536,)], weights=(32_767,))
    assert index.document(0)[1].tolist() == [65_536 * 32_767]
    assert index.total_length == 65_536 * 32_767
    with pytest.raises(ValueError, match=r"row 0 has a length of 2,147,483,648"):
        build(tmp_path, [(["a"] * 65_536,)], weights=(32_768,))


def test_negative_ids_are_left_out_and_arrays_are_taken(tmp_path):
    writer = InvertedIndexWriter()
    writer.add([(np.array([0, -1, 1, -1]), 1)])
    writer.add([([-1, -1], 2)])
    assert writer.n_tokens == 6
    writer.write(tmp_path, ["x", "y"])
    index = InvertedIndex.open(tmp_path)
    assert index.lengths.tolist() == [2, 0]
    assert index.n_postings == 2


def test_a_refused_document_leaves_no_trace(tmp_path):
    writer = InvertedIndexWriter()
    with pytest.raises(OverflowError):
        writer.add([([0, 1], 1), ([2**31], 1)])
    with pytest.raises(ValueError, match="weight must be at least 1, not 0"):
        writer.add([([0], 0)])
    writer.add([([1], 1)])
    assert (writer.n_documents, writer.n_tokens) == (1, 1)
    writer.write(tmp_path, ["x", "y"])
    assert [InvertedIndex.open(tmp_path).term(0)] == ["y"]


def test_ids_and_vocabulary_must_fit(tmp_path):
    writer = InvertedIndexWriter()
    writer.add([([0, 2], 1)])
    with pytest.raises(ValueError, match="term id 2 is not in the vocabulary of 2 terms"):
        writer.write(tmp_path, ["x", "y"])
    with pytest.raises(ValueError, match="distinct"):
        writer.write(tmp_path, ["x", "y", "x"])


def test_merge_refuses_rows_and_orders_that_do_not_fit(tmp_path):
    index = build(tmp_path / "one", [([], ["a"]), ([], ["b"])])
    for rows in ([1, 0], [0, 0], [0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="must ascend from 0 to 1"):
            merge_inverted([(index, np.array(rows))], np.arange(2), tmp_path)
    with pytest.raises(ValueError, match="2 rows are kept and 1 are ordered"):
        merge_inverted([(index, np.array([0, 1]))], np.arange(1), tmp_path)


@pytest.mark.parametrize("number", [-2, -1, 3])
def test_numbers_out_of_range(tmp_path, number):
    index = build(tmp_path, [([], ["a"]), ([], ["b"]), ([], ["c"])])
    for use in (index.term, index.document, lambda number: index.postings.rows_of(number, 3)):
        with pytest.raises(IndexError):
            use(number)
    with pytest.raises(ValueError, match="3 documents"):
        index.document_frequencies(np.ones(2, bool))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "garbage", "type", "shape", "longer"])
def test_damaged_files_are_named_on_open(tmp_path, file, damage):
    build(tmp_path, [([], ["a", "b"]), (["b"], ["c", "c"])])
    path = tmp_path / f"{file}.npy"
    values = np.load(path)
    match damage:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(path.read_bytes()[:-1])
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(b"\x00garbage" * 30)
        case "type":
            np.save(path, values.astype(np.float32))
        case "shape":
            np.save(path, values[:, None])
        case "longer":
            np.save(path, np.append(values, values[-1:]))
    # A file that is longer than it should be is sound by itself: the first one that does not fit is named.
    with pytest.raises(CorruptIndexError, match="damaged" if damage == "longer" else file):
        InvertedIndex.open(tmp_path)


def test_object_arrays_are_never_unpickled(tmp_path):
    build(tmp_path, [([], ["a"])])
    np.save(tmp_path / "lengths.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptIndexError, match="lengths"):
        InvertedIndex.open(tmp_path)


def test_negative_lengths(tmp_path):
    build(tmp_path, [([], ["a"])])
    np.save(tmp_path / "lengths.npy", np.array([-1], np.int32))
    with pytest.raises(CorruptIndexError, match="negative length"):
        InvertedIndex.open(tmp_path)


@pytest.mark.parametrize("rows", [[0, 3], [1, 0], [1, 1], [0, 65_535]])
def test_damaged_postings_are_named_when_used(tmp_path, rows):
    build(tmp_path, [([], ["a"]), ([], ["a"]), ([], [])])
    np.save(tmp_path / "postings-rows.npy", np.array(rows, np.uint16))
    with pytest.raises(CorruptIndexError, match="postings"):
        InvertedIndex.open(tmp_path).rows_with(0)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("postings-chunk-windows", [1]),
        ("postings-chunk-windows", [65_535]),  # rows beyond 2^31
        ("postings-chunk-sizes", [0]),
        ("postings-chunk-sizes", [2]),
        ("postings-chunk-sizes", [65_535]),
    ],
)
def test_damaged_chunks_are_named_when_used(tmp_path, file, values):
    build(tmp_path, [([], ["a"]), ([], ["a"]), ([], [])])
    np.save(tmp_path / f"{file}.npy", np.array(values, np.uint16))
    with pytest.raises(CorruptIndexError, match="postings"):
        InvertedIndex.open(tmp_path).rows_with(0)


@pytest.mark.parametrize("offset", [-1, 5, 2**60, -(2**60)])
def test_damaged_offsets_are_named_when_used(tmp_path, offset):
    documents = [([], ["a", "b"]), ([], ["a", "b"])]
    for file, n_held in (("postings-offsets", 4), ("postings-chunk-offsets", 2)):
        build(tmp_path / file, documents)
        np.save(tmp_path / file / f"{file}.npy", np.array([0, offset, n_held]))
        damaged = InvertedIndex.open(tmp_path / file)
        with pytest.raises(CorruptIndexError, match="postings-offsets"):
            damaged.rows_with(0)
        if file == "postings-offsets":
            for use in (damaged.document_frequencies, lambda damaged=damaged: damaged.spans(np.array([1, -1]))):
                with pytest.raises(CorruptIndexError, match="postings-offsets"):
                    use()
    build(tmp_path / "d", documents)
    np.save(tmp_path / "d" / "document-offsets.npy", np.array([0, offset, 4]))
    damaged = InvertedIndex.open(tmp_path / "d")
    target = tmp_path / "m"
    target.mkdir()
    for use in (
        lambda: damaged.document(1),
        lambda: merge_inverted([(damaged, np.arange(2))], np.arange(2), target),
    ):
        with pytest.raises(CorruptIndexError, match="document-offsets"):
            use()


def test_blocks_cover_everything_within_the_budget():
    sizes = np.array([3, 0, 0, 5, 20, 1, 1, 0, 2, 0])
    offsets = offsets_of(sizes)
    ranges = list(blocks(offsets, 5))
    assert [first for first, _ in ranges] == [0, *(last for _, last in ranges[:-1])]
    assert ranges[-1][1] == len(sizes)
    assert all(sizes[first:last].sum() <= 5 or last - first == 1 for first, last in ranges)
