"""Searching sparse vectors equals scoring every document in plain Python, to the bit, and in the promised order."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes import block_checksums
from indexes.errors import CorruptIndexError, VectorError
from indexes.sparse import SparseIndex, SparseSearcher, SparseSegment, SparseVectors, quantised
from tests.indexes.sparse_oracle import dictionaries, expected, files, saved, score, triples, vectors_of

EXAMPLES = settings.default.max_examples
WINDOW = 1 << 16


def searcher_of(directory, segments, dimension_weights=None, alive=None, sequences=None):
    """Write documents, a list of flat vectors or dictionaries for each segment, and open a searcher of them."""
    made = []
    for number, vectors in enumerate(segments):
        index = saved(directory / str(number), vectors)
        own = np.arange(len(vectors)) if sequences is None else np.asarray(sequences[number], np.int64)
        made.append(SparseSegment(index, None if alive is None else alive[number], own))
    return SparseSearcher(made, dimension_weights)


# --- Small collections ------------------------------------------------------------------------------------------------

DIMENSIONS = st.integers(0, 9)
IMPACTS = st.one_of(st.sampled_from([1, 2, 255]), st.integers(1, 255))
DOCUMENTS = st.lists(st.dictionaries(DIMENSIONS, IMPACTS, max_size=6), max_size=24)
EXTREME = st.sampled_from([0.0, 1e-100, 1e-9, 1.0, 1e9, 1e100])
INTEGERS = st.integers(0, 40).map(float)
WEIGHTS = st.one_of(INTEGERS, st.floats(1e-3, 20), EXTREME)
QUERY_DIMENSIONS = st.one_of(DIMENSIONS, st.sampled_from([10, 11, 70_000, (1 << 22) - 1]))


def queries_with(weights):
    return st.lists(st.dictionaries(QUERY_DIMENSIONS, weights, max_size=9), max_size=4)


QUERIES = st.one_of(queries_with(INTEGERS), queries_with(WEIGHTS), queries_with(EXTREME))
DIMENSION_WEIGHTS = st.one_of(
    st.just([]),
    st.lists(EXTREME, max_size=14),
    st.lists(st.integers(0, 3), max_size=14),  # one for each bucket; 0 leaves a bucket out
    st.lists(st.one_of(st.just(0.0), st.floats(0.01, 12)), max_size=14),  # idf
)


@given(
    documents=DOCUMENTS,
    dtype=st.sampled_from([np.uint8, None]),
    queries=QUERIES,
    dimension_weights=DIMENSION_WEIGHTS,
    k=st.integers(1, 30),
    threads=st.sampled_from([1, 2, None]),
    data=st.data(),
)
@settings(max_examples=EXAMPLES)
def test_searching_equals_scoring_every_document(
    tmp_path_factory, documents, dtype, queries, dimension_weights, k, threads, data
):
    """Several segments, whose sequence numbers are interleaved; deleted documents; masks."""
    if dtype is None:
        documents = [dict.fromkeys(document, 1) for document in documents]
    size = len(documents)
    n_segments = data.draw(st.integers(1, 3), label="segments")
    parts = data.draw(st.lists(st.integers(0, n_segments - 1), min_size=size, max_size=size), label="parts")
    sequences = [[row for row in range(size) if parts[row] == number] for number in range(n_segments)]
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    alive, masks = data.draw(flags | st.none(), label="alive"), data.draw(flags | st.none(), label="mask")
    own = [[documents[row] for row in rows] for rows in sequences]

    def of_segments(chosen):
        return None if chosen is None else [np.array([chosen[row] for row in rows], bool) for rows in sequences]

    searcher = searcher_of(
        tmp_path_factory.mktemp("search"),
        [vectors_of(vectors, dtype) for vectors in own],
        np.array(dimension_weights) if dimension_weights else None,
        of_segments(alive),
        sequences,
    )
    flat = vectors_of(queries, np.float64)
    found = searcher.search_many(flat, k, of_segments(masks), threads)
    allowed = [[(alive is None or alive[row]) and (masks is None or masks[row]) for row in rows] for rows in sequences]
    assert len(found) == len(queries)
    for number, (hits, query) in enumerate(zip(found, queries, strict=True)):
        truth = expected(own, query, k, sequences, allowed, dimension_weights)
        assert triples(hits) == truth
        assert hits.sequences.tolist() == [sequences[segment][row] for segment, row, _ in truth]
        for segment, vectors in enumerate(own):
            rows = np.arange(len(vectors))[::-1]
            values = [score(vectors[row], query, dimension_weights) for row in rows]
            assert searcher.score(flat.some(number, number + 1), segment, rows).tolist() == values


@given(documents=DOCUMENTS, queries=queries_with(st.floats(0, 8, width=32)), k=st.integers(1, 12))
def test_weights_of_other_types_and_quantised_documents(tmp_path_factory, documents, queries, k):
    weighted = [{dimension: impact / 7 for dimension, impact in document.items()} for document in documents]
    vectors = quantised(vectors_of(weighted, np.float32), 31.0)
    searcher = searcher_of(tmp_path_factory.mktemp("search"), [vectors])
    for hits, query in zip(searcher.search_many(vectors_of(queries, np.float32), k), queries, strict=True):
        assert triples(hits) == expected([dictionaries(vectors)], query, k, [range(len(documents))])
    small = [{d: int(w) for d, w in query.items()} for query in queries]
    for dtype in (np.uint8, np.int64, None):
        for hits, query in zip(searcher.search_many(vectors_of(small, dtype), k), small, strict=True):
            asked = dict.fromkeys(query, 1) if dtype is None else query
            assert triples(hits) == expected([dictionaries(vectors)], asked, k, [range(len(documents))])


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_overlaps_by_hand(tmp_path, dtype):
    documents = [{0: 1, 2: 1}, {}, {2: 1, 3: 1, 70_000: 1}, {1: 1}]
    searcher = searcher_of(tmp_path, [vectors_of(documents, dtype)])
    (hits,) = searcher.search_many(vectors_of([{2: 1, 3: 1, 5: 1, 70_000: 1, 80_000: 1}], None), 5)
    assert triples(hits) == [(0, 2, 3.0), (0, 0, 1.0)]


# --- Dimensions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_dimensions_beyond_16_bits_and_beyond_the_index(tmp_path, dtype):
    rng = np.random.default_rng(4)
    far = [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 100_000, (1 << 22) - 1]
    own = [
        [
            {
                d: 1 if dtype is None else int(rng.integers(1, 256))
                for d in rng.choice(far[:last], 4, replace=False).tolist()
            }
            for _ in range(150)
        ]
        for last in (6, 8)  # the segments end at different dimensions
    ]
    sequences = [range(0, 300, 2), range(1, 300, 2)]
    searcher = searcher_of(tmp_path, [vectors_of(vectors, dtype) for vectors in own], sequences=sequences)
    queries = [
        {WINDOW: 1.0},
        {0: 0.3, WINDOW - 1: 0.7, WINDOW: 1.1, 3 * WINDOW: 9.0},
        dict.fromkeys(far, 2.0),
        {(1 << 22) - 1: 0.5},
        {3 * WINDOW: 1.0},
    ]
    for k in (1, 20, 1000):
        for hits, query in zip(searcher.search_many(vectors_of(queries, np.float64), k), queries, strict=True):
            assert triples(hits) == expected(own, query, k, sequences)


@pytest.mark.parametrize("dtype", [np.uint8, None])
@pytest.mark.parametrize("n_dimensions", [4_096, 4_097, 9_000])
def test_queries_of_thousands_of_dimensions(tmp_path, dtype, n_dimensions):
    rng = np.random.default_rng(6)
    documents = [
        {d: 1 if dtype is None else int(rng.integers(1, 256)) for d in rng.choice(10_000, 30, replace=False).tolist()}
        for _ in range(120)
    ]
    halves = [documents[:50], documents[50:]]
    sequences = [range(50), range(50, 120)]
    alive = [rng.random(50) < 0.8, rng.random(70) < 0.8]
    searcher = searcher_of(tmp_path, [vectors_of(half, dtype) for half in halves], None, alive, sequences)
    chosen = np.sort(rng.choice(10_000, n_dimensions, replace=False)).tolist()
    queries = [dict.fromkeys(chosen, 1.0), {d: float(rng.uniform(0.01, 3)) for d in chosen}, {chosen[0]: 1.0}]
    for k in (5, 120):
        for hits, query in zip(searcher.search_many(vectors_of(queries, np.float64), k), queries, strict=True):
            assert triples(hits) == expected(halves, query, k, sequences, alive)


# --- Ties -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, None])
@pytest.mark.parametrize("weight", [1.0, 0.3, 1e-100, 1e100])
@pytest.mark.parametrize("k", [1, 7, 499, 500, 501, 10**15])
def test_all_tied_come_by_sequence_number(tmp_path, dtype, weight, k):
    impact = 1 if dtype is None else 255
    sequences = np.random.default_rng(7).permutation(500)
    parts = [np.sort(sequences[:200]), np.sort(sequences[200:])]
    segments = [vectors_of([{3: impact, 8: impact}] * len(part), dtype) for part in parts]
    searcher = searcher_of(tmp_path, segments, None, None, parts)
    (hits,) = searcher.search_many(vectors_of([{3: weight, 8: weight, 9: weight}], np.float64), k)
    assert hits.sequences.tolist() == list(range(min(k, 500)))
    assert set(hits.scores.tolist()) == {weight * impact + weight * impact}


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_the_last_place_is_given_to_the_earliest_of_the_tied(tmp_path, dtype):
    documents = [{1: 1}, {0: 1, 1: 1}, {1: 1}, {0: 1}, {0: 1, 1: 1}, {1: 1}]
    searcher = searcher_of(tmp_path, [vectors_of(documents, dtype)])
    query = vectors_of([{0: 1, 1: 1}], None)
    for k in range(1, 8):
        (hits,) = searcher.search_many(query, k)
        assert hits.rows.tolist() == [1, 4, 0, 2, 3, 5][:k]


# --- Thousands of documents -------------------------------------------------------------------------------------------


class Large:
    """Documents as a dense matrix, the score of which numpy adds up one dimension after the other."""

    def __init__(self, rng, n, shares, dtype):
        held = rng.random((n, len(shares))) < shares
        values = np.ones(held.shape, np.uint8) if dtype is None else rng.integers(1, 256, held.shape, np.uint8)
        if dtype is not None:
            values[:, ::3] = np.where(rng.random((n, values[:, ::3].shape[1])) < 0.5, 1, 255)
        self.matrix = np.where(held, values, 0).astype(np.uint8)
        rows, dimensions = np.nonzero(held)
        offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
        weights = None if dtype is None else self.matrix[rows, dimensions]
        self.vectors = SparseVectors(offsets, dimensions.astype(np.int32), weights)

    def scores(self, query):
        total = np.zeros(len(self.matrix))
        for dimension in sorted(query):
            if dimension < self.matrix.shape[1]:
                total += query[dimension] * self.matrix[:, dimension].astype(np.float64)
        return total

    def best(self, query, k, allowed=None):
        scores = self.scores(query)
        if allowed is not None:
            scores[~allowed] = 0
        rows = np.lexsort((np.arange(len(scores)), -scores))[: min(k, int((scores > 0).sum()))]
        return rows.tolist(), scores[rows].tolist()


SHARES = np.array([0.95, 0.5, 0.2, 0.13, 0.12, 0.05, 0.05, 0.02, 0.01, 0.004, 0.001, 0.001])
QUERIES_OF_LARGE = [
    {0: 1.0},
    {11: 3.0},
    {0: 1.0, 1: 2.0, 2: 3.0, 9: 40.0},
    {0: 0.31, 1: 0.7, 5: 1.9, 9: 4.1, 30: 1.0},
    {2: 0.5, 3: 0.25, 4: 0.75},
    {6: 1e-9, 7: 1.0, 8: 1e9},
    dict.fromkeys(range(12), 1.0),
    {dimension: 0.1 * (12 - dimension) for dimension in range(12)},
]


def check_large(searcher, large, queries, ks, masks=(None,), threads=None):
    for mask in masks:
        for k in ks:
            given_masks = None if mask is None else [mask]
            found = searcher.search_many(vectors_of(queries, np.float64), k, given_masks, threads)
            for hits, query in zip(found, queries, strict=True):
                assert (hits.rows.tolist(), hits.scores.tolist()) == large.best(query, k, mask)


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_dense_dimensions_beside_sparse_ones(tmp_path, dtype):
    rng = np.random.default_rng(10)
    large = Large(rng, 3_000, SHARES, dtype)
    searcher = searcher_of(tmp_path, [large.vectors])
    columns = SparseIndex.open(tmp_path / "0").postings.for_kernels().dense_starts
    if dtype is None:
        assert not len(columns)
    else:  # where an eighth of the documents hold the dimension
        assert (np.diff(columns) > 0).tolist() == ((large.matrix > 0).sum(axis=0) * 8 >= 3_000).tolist()
        assert 0 < (np.diff(columns) > 0).sum() < 12
    masks = [None, rng.random(3_000) < 0.5, rng.random(3_000) < 0.01, np.zeros(3_000, bool), np.ones(3_000, bool)]
    check_large(searcher, large, QUERIES_OF_LARGE, (1, 10, 500, 3_000, 3_001), masks)


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_more_documents_than_a_window_holds(tmp_path, dtype):
    rng = np.random.default_rng(11)
    n = WINDOW + 9_000  # columns of the last window are shorter
    large = Large(rng, n, SHARES, dtype)
    searcher = searcher_of(tmp_path, [large.vectors])
    masks = [None, rng.random(n) < 0.95, np.arange(n) >= WINDOW, rng.random(n) < 0.0005]
    check_large(searcher, large, QUERIES_OF_LARGE, (1, 10, 1000), masks)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_several_windows_in_segments_with_deletions(tmp_path, dtype):
    """All that match, too: k around the number of documents."""
    rng = np.random.default_rng(12)
    n, cut = 3 * WINDOW + 1, 2 * WINDOW + 77
    large = Large(rng, n, SHARES, dtype)
    alive = rng.random(n) < 0.95
    segments = [large.vectors.some(0, cut), large.vectors.some(cut, n)]
    halves = np.arange(cut), np.arange(cut, n)
    searcher = searcher_of(tmp_path, segments, None, [alive[:cut], alive[cut:]], halves)
    for k in (10, 1000, n - 1, 10**15):
        for hits, query in zip(
            searcher.search_many(vectors_of(QUERIES_OF_LARGE, np.float64), k), QUERIES_OF_LARGE, strict=True
        ):
            assert (hits.sequences.tolist(), hits.scores.tolist()) == large.best(query, k, alive)


def test_threads_change_nothing(tmp_path):
    rng = np.random.default_rng(13)
    large = Large(rng, 3_000, SHARES, np.uint8)
    searcher = searcher_of(tmp_path, [large.vectors.some(0, 1_000), large.vectors.some(1_000, 3_000)])
    queries = [{int(d): float(rng.uniform(0.1, 2)) for d in rng.choice(12, 4, replace=False)} for _ in range(100)]
    flat = vectors_of(queries, np.float64)
    one = searcher.search_many(flat, 10, threads=1)
    for threads in (2, 3, None):
        for hits, same in zip(searcher.search_many(flat, 10, threads=threads), one, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(hits, same, strict=True))
    alone = [searcher.search_many(flat.some(number, number + 1), 10)[0] for number in range(100)]
    assert [triples(hits) for hits in alone] == [triples(hits) for hits in one]


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_daring_returns_true_scores_in_order_and_finds_most(tmp_path, dtype):
    rng = np.random.default_rng(14)
    n = 3 * WINDOW  # in the first window nothing has been found yet that could be dared upon
    shares = np.concatenate([SHARES, np.full(30, 0.3)])
    large = Large(rng, n, shares, dtype)
    searcher = searcher_of(tmp_path, [large.vectors])
    queries = [{int(d): float(rng.uniform(0.1, 4)) for d in rng.choice(42, 12, replace=False)} for _ in range(10)]
    flat = vectors_of(queries, np.float64)
    exact, recalls = searcher.search_many(flat, 20), []
    for daring in (1.0, 1.05, 1e100):
        shared = 0
        for hits, best, query in zip(searcher.search_many(flat, 20, daring=daring), exact, queries, strict=True):
            assert hits.scores.tolist() == large.scores(query)[hits.rows].tolist()
            order = list(zip((-hits.scores).tolist(), hits.rows.tolist(), strict=True))
            assert order == sorted(set(order))
            shared += len({*hits.rows.tolist()} & {*best.rows.tolist()})
        recalls.append(shared / 200)
    assert recalls[0] == 1
    assert recalls[1] >= 0.85
    assert 0.2 < recalls[2] < 0.7  # what is in the first window, and little else


# --- What scores mean -------------------------------------------------------------------------------------------------


def codes(rng, n, active, n_dimensions):
    dimensions = np.sort([rng.choice(n_dimensions, active, replace=False) for _ in range(n)], axis=1)
    return SparseVectors(np.arange(0, n * active + 1, active), dimensions.ravel().astype(np.int32))


@pytest.mark.parametrize(("n", "a", "b"), [(4096, 80, 200), (512, 60, 200), (81_920, 300, 3000)])
def test_overlaps_of_random_codes_are_hypergeometric(tmp_path, n, a, b):
    """Of a query with a of n dimensions and a document with b: mean a b / n, and the variance below.

    Also the whole distribution, P(o) = C(b, o) C(n - b, a - o) / C(n, a), by its standard errors. Overlaps of one query
    with random documents are independent of each other, and those of different queries are uncorrelated.
    """
    from math import comb

    rng = np.random.default_rng([n, a, b])
    documents, queries = codes(rng, 600, b, n), codes(rng, 60, a, n)
    searcher = searcher_of(tmp_path, [documents])
    found = [hits.scores for hits in searcher.search_many(queries, 600)]  # documents without overlap are not found
    overlaps = np.concatenate([np.concatenate([scores, np.zeros(600 - len(scores))]) for scores in found])
    mean, variance = a * b / n, a * (b / n) * (1 - b / n) * (n - a) / (n - 1)
    assert overlaps.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / len(overlaps)))
    assert overlaps.var() == pytest.approx(variance, rel=0.05)
    for overlap in range(int(mean - 2 * np.sqrt(variance)), int(mean + 2 * np.sqrt(variance)) + 1):
        probability = comb(b, overlap) * comb(n - b, a - overlap) / comb(n, a)
        share = (overlaps == overlap).mean()
        assert share == pytest.approx(probability, abs=6 * np.sqrt(probability * (1 - probability) / len(overlaps)))


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_scores_with_two_buckets_are_those_with_each_added_up(tmp_path, dtype):
    """Three buckets of 40 dimensions; a dimension's weight is its bucket's."""
    rng = np.random.default_rng(15)
    large = Large(rng, 500, np.full(120, 0.1), dtype)
    queries = codes(rng, 20, 30, 120)
    index = SparseSegment(saved(tmp_path, large.vectors), None, np.arange(500))

    def scores(*buckets):
        weights = np.repeat([float(bucket in buckets) for bucket in (1, 2, 3)], 40)
        total = np.zeros((20, 500))
        for row, hits in zip(total, SparseSearcher([index], weights).search_many(queries, 500), strict=True):
            row[hits.rows] = hits.scores
        return total

    assert scores(1).any()
    assert (scores(1, 2) == scores(1) + scores(2)).all()
    assert (scores(1, 2, 3) == scores(1, 2) + scores(3)).all()
    plain = np.zeros((20, 500))
    for row, query in zip(plain, dictionaries(queries), strict=True):
        row[:] = large.scores(query)
    assert (scores(1, 2, 3) == plain).all()
    assert not scores().any()


def test_inverse_document_frequencies_count_as_if_the_query_had_them(tmp_path):
    rng = np.random.default_rng(16)
    large = Large(rng, 1_000, SHARES, None)
    segment = SparseSegment(saved(tmp_path, large.vectors), None, np.arange(1_000))
    idf = np.log(1_000 / np.maximum(segment.index.document_frequencies(), 1))
    weighted = SparseSearcher([segment], idf[:9])  # dimensions beyond count 1
    queries = [{d: w for d, w in query.items() if d < 12} for query in QUERIES_OF_LARGE]
    asked = [{d: w * idf[d] if d < 9 else w for d, w in query.items()} for query in queries]
    found = weighted.search_many(vectors_of(queries, np.float64), 50)
    for hits, query in zip(found, asked, strict=True):
        assert (hits.rows.tolist(), hits.scores.tolist()) == large.best(query, 50)


# --- Edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_nothing_to_find(tmp_path, dtype):
    nothing, empty = vectors_of([], dtype), vectors_of([{}, {}], dtype)
    queries = vectors_of([{}, {0: 1.0}, {0: 0.0}], np.float64)
    for name, segments in (("none", []), ("nothing", [nothing]), ("empty", [empty, nothing])):
        found = searcher_of(tmp_path / name, segments).search_many(queries, 3)
        assert [len(hits.rows) for hits in found] == [0, 0, 0]
    searcher = searcher_of(tmp_path / "one", [vectors_of([{0: 1}], dtype)])
    assert [len(hits.rows) for hits in searcher.search_many(queries, 3)] == [0, 1, 0]
    assert [len(hits.rows) for hits in searcher.search_many(queries, 0)] == [0, 0, 0]
    assert searcher.search_many(vectors_of([], np.float64), 3) == []
    assert searcher.score(queries.some(1, 2), 0, np.empty(0, np.int64)).tolist() == []


def test_masks_of_integers_are_read_as_masks(tmp_path):
    searcher = searcher_of(tmp_path, [vectors_of([{0: 1}] * 4)], None, [np.array([True, True, True, False])])
    (hits,) = searcher.search_many(vectors_of([{0: 1.0}], np.float64), 9, [np.array([2, 0, 4, 8])])
    assert hits.rows.tolist() == [0, 2]


def test_a_mask_that_is_changed_later_changes_nothing(tmp_path):
    alive = np.array([True, False])
    searcher = searcher_of(tmp_path, [vectors_of([{0: 1}] * 2)], None, [alive])
    alive[:] = True
    (hits,) = searcher.search_many(vectors_of([{0: 1.0}], np.float64), 9)
    assert hits.rows.tolist() == [0]


def test_what_is_refused_and_what_is_said(tmp_path):
    impacts, binary = saved(tmp_path / "i", vectors_of([{0: 2}, {1: 3}])), saved(tmp_path / "b", vectors_of([{}], None))
    segment = SparseSegment(impacts, None, np.arange(2))
    query = vectors_of([{0: 1.0}], np.float64)
    for alive, sequences, message in (
        (np.ones(3, bool), np.arange(2), r"alive has shape \(3,\), the index 2 documents"),
        (None, np.arange(1), r"sequences has shape \(1,\), the index 2 documents"),
    ):
        with pytest.raises(ValueError, match=message):
            SparseSegment(impacts, alive, sequences)
    with pytest.raises(ValueError, match=r"of one payload can be searched together, not of .*'binary', 'impacts'"):
        SparseSearcher([segment, SparseSegment(binary, None, np.arange(1))])
    for weights, message in (
        ([1.0, -2.0], "dimension 1 has -2.0"),
        ([np.nan], "dimension 0 has nan"),
        ([0.0, 1e101], r"dimension 1 has 1e\+101"),
        ([[1.0]], r"one number each, not an array \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            SparseSearcher([segment], np.array(weights))
    searcher = SparseSearcher([segment])
    for daring in (0.99, 0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"daring must be a finite factor of at least 1, not {daring!r}"):
            searcher.search_many(query, 1, daring=daring)
    with pytest.raises(ValueError, match="2 masks for 1 segments"):
        searcher.search_many(query, 1, [None, None])
    with pytest.raises(ValueError, match=r"mask 0 has shape \(3,\), its segment 2 documents"):
        searcher.search_many(query, 1, [np.ones(3, bool)])
    for ask, given_ in ((searcher.search_many, (1,)), (searcher.score, (0, np.arange(2)))):
        with pytest.raises(VectorError, match=r"a query weight must be at most 1e\+100: dimension 1 has 1e\+101"):
            ask(vectors_of([{0: 1.0, 1: 1e101}], np.float64), *given_)
    with pytest.raises(VectorError, match=r"entry 0 is -1\.0"):
        searcher.search_many(vectors_of([{0: -1.0}], np.float64), 1)
    with pytest.raises(VectorError, match="one query, not for 2"):
        searcher.score(vectors_of([{0: 1.0}, {1: 1.0}], np.float64), 0, np.arange(2))
    for rows in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match=f"rows from {rows[0]} to {rows[1]} of a segment of 2 documents"):
            searcher.score(query, 0, np.array(rows))


@pytest.mark.parametrize("weight", [1e-100, 1e-60, 0.1, 1.0, 1e60, 1e100])
@pytest.mark.parametrize("other", [1e-100, 1.0, 1e100])
def test_weights_of_all_sizes_beside_each_other(tmp_path, weight, other):
    rng = np.random.default_rng(17)
    large = Large(rng, 2_000, SHARES, np.uint8)
    searcher = searcher_of(tmp_path, [large.vectors])
    queries = [{0: weight, 3: other}, {1: weight, 8: weight, 10: other}, dict.fromkeys(range(12), weight) | {11: other}]
    check_large(searcher, large, queries, (1, 30))


def test_damage_that_opening_does_not_see_is_an_error_when_it_is_read(tmp_path):
    """In files of several blocks, each of which is compared with its checksum when it is first read."""
    n, size = 120_000, block_checksums.BLOCK
    large = Large(np.random.default_rng(18), n, np.concatenate([SHARES, np.full(28, 0.1)]), np.uint8)
    saved(tmp_path, large.vectors)
    contents = files(tmp_path)
    sums = {
        name: [zlib.crc32(held[at : at + size]) for at in range(0, len(held), size)] for name, held in contents.items()
    }
    (tmp_path / block_checksums.NAME).write_bytes(block_checksums.encode_checksums(sums))
    query = dict.fromkeys(range(40), 0.7)

    def search():
        segment = SparseSegment(SparseIndex.open(tmp_path), None, np.arange(n))
        (hits,) = SparseSearcher([segment]).search_many(vectors_of([query], np.float64), 10)
        assert (hits.rows.tolist(), hits.scores.tolist()) == large.best(query, 10)
        return segment.index

    search()
    for stem in ("postings-rows", "postings-values", "postings-columns", "document-lists"):
        path = tmp_path / f"{stem}.npy"
        content = bytearray(contents[path.name])
        assert len(content) > 4 * size
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        SparseIndex.open(tmp_path)
        with pytest.raises(CorruptIndexError, match=stem):
            search().vectors(np.arange(n))  # a search reads few documents' lists
        path.write_bytes(contents[path.name])
    search()


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("first", [0, -4_000])
def test_thousands_of_equal_scores_over_segments(tmp_path, interleaved, first):
    generator = np.random.default_rng(5)
    size, n_segments, n_dimensions = 2_500, 3, 48
    numbers = np.arange(first, first + size * n_segments)
    numbers = generator.permutation(numbers) if interleaved else numbers
    sequences = [np.sort(numbers[size * place : size * (place + 1)]) for place in range(n_segments)]
    alive = [None, generator.random(size) < 0.8, None]
    held = generator.random((n_segments, size, n_dimensions)) < 0.15
    segments = [vectors_of([dict.fromkeys(np.flatnonzero(row), 1) for row in part], None) for part in held]
    searcher = searcher_of(tmp_path, segments, alive=alive, sequences=sequences)
    query = generator.random(n_dimensions) < 0.2
    wanted = []
    for number, part in enumerate(held):
        overlaps = (part & query).sum(axis=1)
        kept = (overlaps > 0) & (True if alive[number] is None else alive[number])
        wanted += [(-overlaps[row], sequences[number][row], number, row) for row in np.flatnonzero(kept)]
    wanted.sort()
    for k in (1, 40, 1_000, 2_400, 10_000):
        (hits,) = searcher.search_many(vectors_of([dict.fromkeys(np.flatnonzero(query), 1)], None), k)
        found = zip(-hits.scores, hits.sequences, hits.segments, hits.rows, strict=True)
        assert list(found) == wanted[:k]
