"""Searching postings equals adding up every document's score, to the bit, whatever the pruning does.

The oracle (`tests.indexes.postings_oracle`) knows no windows, classes, points, thresholds or floors.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes import block_checksums
from indexes.arrays import ArrayFolder, CheckedArray
from indexes.bm25_formula import BM25Settings
from indexes.compilation import read_only
from indexes.documents import DocumentsWriter, PackedDocuments
from indexes.errors import CorruptIndexError
from indexes.postings import Postings
from indexes.postings_search import PostingsSearch, score_rows
from indexes.postings_writer import PostingsWriter
from indexes.segment_table import AllowedDocuments, SearchedSegments
from tests.indexes.postings_oracle import (
    binary,
    bm25,
    check,
    columns,
    expected,
    impacts,
    lists_of,
    lists_of_postings,
    plan_of,
    search,
    triples,
    watch,
)

EXAMPLES = settings.default.max_examples  # of the profile
WINDOW = 1 << 16
MAKERS = [bm25, impacts, columns, binary]
PARAMETERS = [(1.2, 0.75), (0.9, 0.4), (1.5, 0.0), (0.0, 0.75), (2.0, 1.0), (1e100, 0.5), (1e-100, 1.0)]


@pytest.fixture
def touched(monkeypatch):
    """What the kernel reads; see `watch`."""
    return watch(monkeypatch)


# --- Small collections ------------------------------------------------------------------------------------------------

FREQUENCIES = st.one_of(st.integers(1, 4), st.integers(5, 255))
DOCUMENTS = st.lists(st.dictionaries(st.integers(0, 9), FREQUENCIES, max_size=6), max_size=20)
WEIGHTS = st.one_of(st.integers(1, 5).map(float), st.floats(0.01, 20), st.sampled_from([1e-100, 1e-9, 1e9, 1e100]))
QUERIES = st.dictionaries(st.integers(0, 9), WEIGHTS, max_size=10)


def plain_scores(documents, query, k1, b, average):
    """Score in plain Python: another way than the oracle's, which uses numpy."""
    scores = []
    for document in documents:
        norm = k1 * (1 - b + b * (sum(document.values()) / average))
        score = 0.0
        for member in sorted(set(document) & set(query)):
            score += query[member] * (document[member] / (document[member] + norm))
        scores.append(score)
    return scores


@given(
    documents=DOCUMENTS,
    query=QUERIES,
    k=st.integers(1, 25),
    parameters=st.sampled_from(PARAMETERS),
    average=st.floats(0.5, 500),
    looseness=st.sampled_from([1.0, 1.0, 1.5, 10.0]),
    claimed=st.sampled_from([1.0, 1.0, 1.5, 1e6]),
    data=st.data(),
)
@settings(max_examples=4 * EXAMPLES)
def test_bm25_equals_scoring_every_document(documents, query, k, parameters, average, looseness, claimed, data):
    """Also with bounds that are looser than they could be, and with promises of what they are worth that are wrong."""
    made = bm25(
        lists_of(documents), 10, BM25Settings(*parameters), average=average, looseness=looseness, claimed=claimed
    )
    assert made.scores(query).tolist() == plain_scores(documents, query, *parameters, average)
    size = len(documents)
    mask = data.draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=size, max_size=size)))
    check([made], query, k, None if mask is None else [np.array(mask, bool)])


@given(
    documents=DOCUMENTS,
    query=QUERIES,
    k=st.integers(1, 25),
    make=st.sampled_from([impacts, columns, binary]),
    data=st.data(),
)
@settings(max_examples=2 * EXAMPLES)
def test_impacts_and_overlaps_equal_scoring_every_document(documents, query, k, make, data):
    if data.draw(st.booleans()):  # integers in which points are scores
        query = {member: float(data.draw(st.integers(1, 40))) for member in query}
    size = len(documents)
    mask = data.draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=size, max_size=size)))
    check([make(lists_of(documents), 10)], query, k, None if mask is None else [np.array(mask, bool)])


@given(documents=DOCUMENTS, queries=st.lists(QUERIES, max_size=4), k=st.integers(1, 12), data=st.data())
@settings(max_examples=2 * EXAMPLES)
def test_segments_equal_one(documents, queries, k, data):
    """Documents in several segments, in each of which some may not be returned; several queries at once."""
    make = data.draw(st.sampled_from(MAKERS))
    n_segments = data.draw(st.integers(1, 4))
    size = len(documents)
    parts = data.draw(st.lists(st.integers(0, n_segments - 1), min_size=size, max_size=size))
    masks = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    segments, allowed = [], []
    for number in range(n_segments):
        own = np.array([place for place in range(size) if parts[place] == number], np.int64)
        lists = lists_of([documents[place] for place in own])
        average = {"average": 20.0} if make is bm25 else {}  # of all segments together
        segments.append(make(lists, 10, sequences=own, **average))
        allowed.append(np.array([masks[place] for place in own], bool))
    for mask in (None, allowed):
        found = [triples(hits) for hits in search(segments, queries, k, mask)]
        assert found == [expected(segments, query, k, mask) for query in queries]


# --- Extremes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("k", [1, 10, 1000, 4999, 5000, 5001, 10**12])
def test_all_scores_tied(make, k):
    """More ties than may wait: 4 k and a thousand."""
    made = make(lists_of([{0: 2, 1: 1}] * 5000), 3)
    for query in ({0: 1.0}, {0: 1.0, 1: 1.0}, {0: 0.3, 1: 7.7, 2: 1.0}):
        check([made], query, k)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_ties_at_the_last_place_are_ordered_by_sequence(k):
    """Some better documents come last, and the ties before them must give way in the right order."""
    documents = [{0: 1}] * 3000 + [{0: 1, 1: 1}] * 7 + [{0: 1}] * 3000
    for make in MAKERS:
        check([make(lists_of(documents), 2)], {0: 1.0, 1: 1.0}, k)


def test_one_list_and_empty_lists():
    documents = [{0: 1 + row % 3} for row in range(300)]
    for make in MAKERS:
        made = make(lists_of(documents), 4)
        for query in ({0: 1.0}, {1: 1.0}, {1: 2.0, 3: 1.0}, {0: 1.0, 1: 1e9, 2: 1.0}, {}):
            check([made], query, 10)
        check([make(lists_of([]), 4)], {0: 1.0}, 10)
        check([make(lists_of([{}, {}]), 4)], {0: 1.0}, 10)
        check([make(lists_of([{}, {}]), 4), made, make(lists_of([]), 4)], {0: 1.0}, 10)


@pytest.mark.parametrize("k", [1, 2, 10])
def test_terms_repeated_and_documents_longer_than_two_to_the_twentieth(k):
    documents = [
        {0: 65_536},
        {0: 1, 1: 1},
        {0: 2**20 + 1, 1: 3},
        {1: 1, 2: 2**30},
        {0: 3, 2: 2**31 - 10},
        {0: 63, 1: 62},
    ]
    documents += [{0: 1 + row % 90, 1: 1, 3: row * row + 1} for row in range(2000)]
    for parameters in PARAMETERS:
        for query in ({0: 1.0}, {0: 1.0, 1: 0.5, 2: 2.0}, {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}):
            check([bm25(lists_of(documents), 4, BM25Settings(*parameters))], query, k)


@pytest.mark.parametrize("n_terms", [4095, 4096, 4097, 6000])
def test_more_terms_than_a_kernel_takes(n_terms):
    generator = np.random.default_rng(n_terms)
    documents = [
        {
            int(member): int(generator.integers(1, 9))
            for member in generator.choice(6000, generator.integers(1, 3000), False)
        }
        for _ in range(40)
    ]
    chosen = generator.choice(6000, n_terms, False).tolist()
    for make in MAKERS:
        made = make(lists_of(documents), 6000)
        check(
            [made],
            {member: float(weight) for member, weight in zip(chosen, generator.random(n_terms) + 0.1, strict=True)},
            7,
        )
        check([made], dict.fromkeys(chosen, 1.0), 40)
        check([made], dict.fromkeys(chosen, 16.0), 40)


@pytest.mark.parametrize("k", [1, 5, 60])
@pytest.mark.parametrize("heavy_first", [True, False])
def test_weights_of_all_magnitudes_in_one_query(k, heavy_first):
    """Beside the heaviest, points of the light lists say nothing; a segment's floor may be beyond another's scores."""
    generator = np.random.default_rng(9)
    light = [{int(m): int(generator.integers(1, 6)) for m in generator.choice(4, 2, False)} for _ in range(400)]
    heavy = [{5: int(generator.integers(1, 6)), int(generator.integers(0, 4)): 1} for _ in range(30)]
    query = {0: 1e-100, 1: 1e-50, 2: 1.0, 3: 1e50, 5: 1e100}
    for make in MAKERS:
        first, second = (heavy, light) if heavy_first else (light, heavy)
        segments = [
            make(lists_of(first), 6, sequences=np.arange(len(first))),
            make(lists_of(second), 6, sequences=1000 + np.arange(len(second))),
        ]
        check(segments, query, k)
        check(segments[:1], query, k)
        check(segments[1:], query, k)
        check(segments, {0: 1e-100, 5: 1e100}, k)
        only_lightest = make(lists_of([{0: 1 + row % 4} for row in range(70)]), 6, sequences=2000 + np.arange(70))
        check([segments[0], only_lightest, segments[1]], query, k)


def test_a_document_whose_score_is_no_point_is_found_nevertheless():
    """The last of the best k is worth less than one point of the scale that the heavy list sets."""
    for make in MAKERS:
        made = make(lists_of([{0: 1}, {1: 1}, {1: 2}, {0: 2, 1: 1}]), 2)
        for k in (1, 2, 3, 4, 5):
            check([made], {0: 1e100, 1: 1e-100}, k)
            check([made], {0: 1e6, 1: 1e-6}, k)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_parameters_at_their_ends(parameters):
    generator = np.random.default_rng(5)
    documents = [
        {
            int(member): int(count)
            for member, count in zip(generator.choice(8, 4, False), generator.zipf(1.5, 4) % 500 + 1, strict=True)
        }
        for _ in range(1500)
    ]
    made = bm25(lists_of(documents), 8, BM25Settings(*parameters))
    for size in (1, 3, 8):
        for k in (1, 10, 700, 1500):
            check([made], {member: 1.0 + member for member in range(size)}, k)


# --- Filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("k", [1, 10, 3000])
def test_filters_that_leave_nothing_one_or_all_but_one(make, k):
    generator = np.random.default_rng(6)
    held = [(np.flatnonzero(generator.random(3000) < share), None) for share in (0.9, 0.4, 0.05, 0.01)]
    held = [(rows, generator.integers(1, 5, len(rows))) for rows, _ in held]
    made = make(lists_of_postings(3000, held), 4)
    query = {0: 1.0, 1: 2.0, 2: 3.5, 3: 4.0}
    best = expected([made], query, 1)[0][1]
    nothing, one, the_best, all_but_the_best = (np.zeros(3000, bool) for _ in range(4))
    one[1234], the_best[best] = True, True
    all_but_the_best[:] = ~the_best
    for mask in (nothing, one, the_best, all_but_the_best, np.ones(3000, bool), generator.random(3000) < 0.95):
        check([made], query, k, [mask])
        check([made, made], query, k, [mask, nothing])


# --- More documents than a window -------------------------------------------------------------------------------------

N_LARGE = 3 * WINDOW + 1234
SHARES = [0.6, 0.3, 0.3, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001, 0.0002]


@pytest.fixture(scope="module")
def large():
    """Two hundred thousand documents in four windows; the last lists are in some of them only, or empty."""
    generator = np.random.default_rng(7)
    held = [np.flatnonzero(generator.random(N_LARGE) < share) for share in SHARES]
    held.append(np.array([5, WINDOW - 1, 2 * WINDOW, 2 * WINDOW + 1, N_LARGE - 1]))  # not in the second window
    held.append(WINDOW + np.arange(100))  # in the second only
    held.append(np.empty(0, np.int64))
    frequencies = [np.minimum(generator.geometric(0.6, len(rows)), 9) for rows in held]
    frequencies[3][::50] = 200
    return lists_of_postings(N_LARGE, list(zip(held, frequencies, strict=True)))


N_MEMBERS = len(SHARES) + 3
LARGE_QUERIES = [
    *({member: 1.0} for member in (0, 5, 9, 10, 11)),
    {0: 1.0, 9: 6.0},
    {0: 0.5, 1: 0.8, 2: 0.8, 7: 5.0, 8: 6.0, 10: 12.0},
    {10: 1.0, 11: 1.0},
    {9: 1.0, 10: 1.0, 11: 1.0, 12: 1.0},
    dict.fromkeys(range(13), 1.0),
    {member: 13.0 - member for member in range(13)},
]


@pytest.mark.parametrize("make", MAKERS)
def test_windows_equal_scoring_every_document(large, make):
    made = make(large, N_MEMBERS)
    generator = np.random.default_rng(8)
    masks = [
        None,
        [generator.random(N_LARGE) < 0.95],
        [np.arange(N_LARGE) >= 2 * WINDOW + 1],
        [generator.random(N_LARGE) < 0.0005],
    ]
    for query in LARGE_QUERIES:
        for k in (1, 10, 1000):
            for mask in masks:
                check([made], query, k, mask)


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS)
def test_windows_equal_scoring_every_document_for_all_that_match(large, make):
    made = make(large, N_MEMBERS)
    for query in LARGE_QUERIES:
        for k in (N_LARGE - 1, N_LARGE, 10**15):
            check([made], query, k)


def test_bounds_that_are_loose_or_wrong_promises_change_nothing_in_windows(large):
    made = bm25(large, N_MEMBERS)
    for looseness, claimed in ((1.0, 1e6), (3.0, 1.0), (3.0, 3.0), (1.3, 1e6)):
        formula = made.segment.formula
        upper, lower = read_only(formula.upper * looseness), read_only(formula.lower * claimed)
        changed = replace(formula, upper=upper, lower=lower)
        loose = replace(made, segment=replace(made.segment, formula=changed))
        for query in LARGE_QUERIES:
            for k in (1, 10, 50):
                check([loose], query, k)


@pytest.mark.parametrize(
    "n_documents", [*range(1, 20), 255, 256, 257, 999, 4096, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 999]
)
@pytest.mark.parametrize("make", MAKERS)
def test_windows_of_every_width(n_documents, make):
    """The last window may be of any width, and then a list may have both columns and chunks."""
    generator = np.random.default_rng(n_documents)
    held = [np.flatnonzero(generator.random(n_documents) < share) for share in (1, 0.5, 0.2, 0.12, 0.01)]
    held.append(np.arange(max(0, n_documents - 5), n_documents))
    lists = lists_of_postings(n_documents, [(rows, generator.integers(1, 256, len(rows))) for rows in held])
    made = make(lists, 6)
    for query in ({0: 1.0}, {1: 2.5}, {0: 1.0, 3: 7.0, 5: 0.1}, dict.fromkeys(range(6), 1.0), {4: 255.0, 5: 1.0}):
        for k in (1, 7, 50, n_documents):
            check([made], query, k)


def test_windows_without_postings_are_passed_over():
    rows = np.array([1, 3, 5 * WINDOW + 7, 9 * WINDOW])
    made = bm25(lists_of_postings(10 * WINDOW, [(rows, np.array([1, 2, 3, 4])), (rows[1:3], np.array([1, 1]))]), 2)
    for k in (1, 2, 3, 4, 5):
        check([made], {0: 1.0, 1: 1.0}, k)


def test_lists_that_cannot_matter_are_not_read(large, touched):
    """The counter-check of the pruning: it does happen in the cases above."""
    made = bm25(large, N_MEMBERS)
    sizes = np.bincount(large.members, minlength=N_MEMBERS)
    check([made], {0: 0.001, 9: 10.0}, 10)
    assert touched.taken() < 0.7 * sizes[[0, 9]].sum()  # the first window is read before ten documents are known
    check([made], {0: 1.0, 9: 1.0}, N_LARGE)
    assert touched.taken() == sizes[[0, 9]].sum()


@pytest.mark.parametrize("make", MAKERS)
def test_a_document_that_needs_every_list_that_is_left_unread_is_found(make, touched):
    """One point less and it would not be looked at: the k-th best so far has 6, the better one 5 and the unread 2."""
    generator = np.random.default_rng(14)
    n_documents, best, chosen = 2 * WINDOW, [100, 200, 300, 400, 500], WINDOW + 777
    dense = [np.flatnonzero(generator.random(n_documents) < 0.6) for _ in range(2)]
    dense = [np.union1d(np.setdiff1d(rows, best), [chosen]) for rows in dense]
    rare = [np.array([*best, *([chosen] if member < 5 else [])]) for member in range(6)]
    made = make(lists_of_postings(n_documents, [(rows, np.ones(len(rows), int)) for rows in [*rare, *dense]]), 8)
    query = dict.fromkeys(range(8), 1.0)
    if make is not bm25:
        assert expected([made], query, 5)[0] == (0, chosen, 7.0)
    check([made], query, 5)
    if make in {impacts, binary}:  # whose bounds are what documents have
        assert touched.taken() < sum(map(len, [*rare, *dense]))


# --- The threshold that is hoped for ----------------------------------------------------------------------------------

N_TERMS = 8


def misleading(k):
    """Make a collection whose points promise k documents a score that they do not have; return it with the query.

    With b = 0 at search time, a class of pairs that are worth the same at usual settings holds pairs of very different
    worth: (4, 40) and (8, some hundred). The decoys have the first in all terms of the query; the second is in
    documents without these terms, but makes the class's bound. The real best have (5, 45), which is so frequent that
    its class holds nothing else: fewer points, higher scores.
    """
    documents = []
    n_decoys, n_real, many = k + 2, 2 * k + 20, 1 + k // 10
    other, pad, n_members = N_TERMS, N_TERMS + 330, N_TERMS + 331
    for _ in range(n_decoys):
        documents.append({**dict.fromkeys(range(N_TERMS), 4), pad: 40 - 4 * N_TERMS})
    for _ in range(n_real):
        documents.append({**dict.fromkeys(range(N_TERMS), 5), pad: 45 - 5 * N_TERMS})
    # Documents without the query's terms. First those that make (5, 45), and pairs for all other single classes.
    documents += [dict.fromkeys(range(other, other + 9), 5)] * (60 * many)
    documents += [dict.fromkeys(range(other, other + length), 1) for length in range(200, 329) for _ in range(many)]
    # Then those whose frequencies do not share classes with others.
    documents += [{**dict.fromkeys(range(other, other + 9), f), pad: n} for f in (1, 2, 3) for n in range(400, 520)]
    # And those that share classes with the decoys, whatever these are.
    documents += [{other: 8, other + 1: 8, pad: length - 16} for length in range(60, 1500, 5)]
    return bm25(lists_of(documents), n_members, BM25Settings(1.2, 0.0)), dict.fromkeys(range(N_TERMS), 1.0), n_decoys


@pytest.mark.parametrize("k", [10, 11, 25, 50])
def test_a_hope_that_fails_costs_a_second_pass_and_no_result(k, touched):
    made, query, n_decoys = misleading(k)
    sizes = np.bincount(made.lists.members)[:N_TERMS]
    best = expected([made], query, k)
    assert min(row for _, row, _ in best) >= n_decoys  # the decoys are not among the best
    check([made], query, k)
    touched.taken()
    # A mask that allows all: then the first threshold is not guessed, which may fail as well.
    every = [np.ones(made.n_documents, bool)]
    check([made], query, k, every)
    assert touched.taken() > 1.5 * sizes.sum()
    # With four lists the margin is the largest possible error, and what is hoped for always comes true.
    few = dict.fromkeys(range(4), 1.0)
    check([made], few, k, every)
    assert touched.taken() <= sizes[:4].sum()


@pytest.mark.parametrize("k", [10, 50])
def test_a_hope_that_fails_in_a_later_segment_or_under_a_filter(k):
    made, query, n_decoys = misleading(k)
    some = np.ones(made.n_documents, bool)
    some[n_decoys : n_decoys + k] = False
    check([made], query, k, [some])
    other = bm25(made.lists, N_TERMS + 331, BM25Settings(1.2, 0.0), sequences=10**6 + np.arange(made.n_documents))
    check([made, other], query, k)
    check([made, other], query, 3 * k, [some, some])


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(10, 50), n_lists=st.integers(5, 12))
@settings(max_examples=EXAMPLES // 2)
def test_promises_that_are_wrong_change_nothing(seed, k, n_lists):
    """Upper bounds far from scores and lower bounds that claim otherwise: hopes fail, and results are right."""
    generator = np.random.default_rng(seed)
    n_documents = int(generator.integers(k, 3000))
    held = []
    for share in generator.random(n_lists) * 0.8:
        rows = np.flatnonzero(generator.random(n_documents) < share)
        held.append((rows, generator.integers(1, 80, len(rows))))
    parameters = BM25Settings(float(generator.choice([0.0, 1.2, 5.0])), float(generator.choice([0.0, 0.75, 1.0])))
    query = {member: float(weight) for member, weight in enumerate(generator.random(n_lists) + 0.05)}
    lists = lists_of_postings(n_documents, held)
    made = bm25(lists, n_lists, parameters, looseness=float(generator.uniform(1, 4)), claimed=1e6)
    check([made], query, k)


def test_promises_that_are_wrong_do_lead_to_second_passes(touched):
    """The counter-check of the test above."""
    generator = np.random.default_rng(1)
    held = []
    for _ in range(8):
        rows = np.flatnonzero(generator.random(3000) < 0.5)
        held.append((rows, generator.integers(1, 80, len(rows))))
    lists = lists_of_postings(3000, held)
    query, every = dict.fromkeys(range(8), 1.0), [np.ones(3000, bool)]  # so that no threshold is guessed
    check([bm25(lists, 8, looseness=3.0, claimed=1e6)], query, 20, every)
    assert touched.taken() > len(lists.members)
    few_pairs = lists._replace(frequencies=np.ones_like(lists.frequencies))  # all classes hold a single pair
    check([bm25(few_pairs, 8, claimed=1e6)], query, 20, every)
    assert touched.taken() <= len(lists.members)


# --- Threads, batches, scoring ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
def test_threads_and_batches_change_nothing(large, make):
    generator = np.random.default_rng(10)
    segments = [make(large, N_MEMBERS), make(large, N_MEMBERS, sequences=N_LARGE + np.arange(N_LARGE))]
    queries = [
        {int(member): float(generator.integers(1, 9)) for member in generator.choice(N_MEMBERS, size, False)}
        for size in generator.integers(0, 7, 40)
    ]
    alone = [triples(search(segments, [query], 15)[0]) for query in queries]
    for threads in (1, 2, 5):
        assert [triples(hits) for hits in search(segments, queries, 15, threads=threads)] == alone
    backwards = [triples(hits) for hits in search(segments, queries[::-1], 15, threads=2)]
    assert backwards[::-1] == alone


def test_scoring_chosen_documents(large):
    generator = np.random.default_rng(11)
    for make in MAKERS:
        made = make(large, N_MEMBERS)
        rows = generator.integers(0, N_LARGE, 500)
        for query in LARGE_QUERIES:
            lists, weights = np.array(sorted(query), np.int64), np.array([query[member] for member in sorted(query)])
            found = score_rows(SearchedSegments([made.segment]), 0, lists, weights, rows)
            assert found.tolist() == made.scores(query)[rows].tolist()


# --- Daring -----------------------------------------------------------------------------------------------------------


def test_daring_searches_return_true_scores_and_miss_more_the_more_they_dare(touched):
    """Recall and what is read fall with the factor, on average over many queries; scores stay true."""
    generator = np.random.default_rng(12)
    n_documents, shares = 4 * WINDOW, [0.5, 0.4, 0.3, 0.2, 0.1, 0.08, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002]
    held = [np.flatnonzero(generator.random(n_documents) < share) for share in shares]
    frequencies = [np.minimum(generator.geometric(0.5, len(rows)), 30) for rows in held]
    made = bm25(lists_of_postings(n_documents, list(zip(held, frequencies, strict=True))), len(shares))
    queries = [
        {int(member): float(np.log(1 / shares[member])) for member in generator.choice(len(shares), 5, False)}
        for _ in range(25)
    ]
    factors = [1.0, 1.2, 1.5, 2.0, 4.0, 1e100]
    k, recalls, costs = 20, [], []
    best = [{row for _, row, _ in expected([made], query, k)} for query in queries]
    scores = [made.scores(query) for query in queries]
    for factor in factors:
        touched.taken()
        recall = 0.0
        for hits, known, truth in zip(search([made], queries, k, daring=factor), best, scores, strict=True):
            assert hits.scores.tolist() == truth[hits.rows].tolist()
            assert all(one >= other for one, other in pairwise(hits.scores.tolist()))
            assert len(set(hits.rows.tolist())) == len(hits.rows) == k
            recall += len(known & {*hits.rows.tolist()}) / k / len(queries)
        recalls.append(recall)
        costs.append(touched.taken())
    assert recalls[0] == pytest.approx(1)
    assert all(later <= earlier + 0.01 for earlier, later in pairwise(recalls))
    assert all(later <= 1.02 * earlier for earlier, later in pairwise(costs))
    assert costs[-1] < 0.8 * costs[0]
    assert 0.1 < recalls[-1] < 1


def test_what_daring_searches_find_does_not_depend_on_the_searches_before():
    generator = np.random.default_rng(15)
    n_documents, shares = 2 * WINDOW, [0.5, 0.4, 0.3, 0.2, 0.1, 0.08, 0.05, 0.03, 0.02]
    held = [np.flatnonzero(generator.random(n_documents) < share) for share in shares]
    frequencies = [np.minimum(generator.geometric(0.5, len(rows)), 30) for rows in held]
    made = bm25(lists_of_postings(n_documents, list(zip(held, frequencies, strict=True))), len(shares))
    queries = [
        {int(member): float(np.log(1 / shares[member])) for member in generator.choice(len(shares), 6, False)}
        for _ in range(20)
    ]
    found, searched, plan = [], SearchedSegments([made.segment]), plan_of(queries, 1)
    for luck in ([0, 0, 0, 0], [0, 100, 0, 0], [0, 0, 0, 100], [0, 100, 0, 100]):
        searched.luck[:] = luck
        every = PostingsSearch(searched, AllowedDocuments([np.empty(0, bool)]), plan, 20, 1.5).run(threads=1)
        found.append([triples(hits) for hits in every])
    assert found[1:] == found[:1] * 3
    alone = [triples(search([made], [query], 20, daring=1.5)[0]) for query in queries[::-1]]
    assert alone[::-1] == found[0]


# --- From files -------------------------------------------------------------------------------------------------------


def written(made, folder):
    """Write a segment's lists with the checksums of their blocks."""
    folder.mkdir()
    arrays = made.segment.postings.for_kernels()
    rows = [made.segment.postings.rows_of(number, made.n_documents) for number in range(len(made.segment.postings))]
    with PostingsWriter(folder, with_values=True) as writer:
        writer.append(arrays.starts, np.concatenate(rows), arrays.values)
    with DocumentsWriter(folder) as documents:
        documents.append(made.lists)
    size = block_checksums.BLOCK
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    sums = {
        name: [zlib.crc32(held[at : at + size]) for at in range(0, len(held), size)] for name, held in contents.items()
    }
    (folder / block_checksums.NAME).write_bytes(block_checksums.encode_checksums(sums))
    return contents


def opened(made, folder):
    """Map it anew: nothing has been compared with its checksums."""
    arrays = ArrayFolder(folder)
    postings = Postings.open(arrays, len(made.segment.postings), with_values=True)
    documents = PackedDocuments.open(arrays, made.n_documents)
    return replace(made, segment=replace(made.segment, postings=postings, documents=documents))


@pytest.mark.parametrize("k", [1, 10, 5000, pytest.param(N_LARGE, marks=pytest.mark.slow)])
def test_the_first_search_of_mapped_files_equals_all_others(large, tmp_path, k):
    made = bm25(large, N_MEMBERS)
    assert len(written(made, tmp_path / "index")["document-lists.npy"]) > 5 * block_checksums.BLOCK
    for query in ({9: 1.0}, {0: 0.5, 7: 3.0, 9: 4.0}):
        cold = opened(made, tmp_path / "index")
        known = expected([made], query, k)
        for _ in range(2):
            assert triples(search([cold], [query], k)[0]) == known
        cold = opened(made, tmp_path / "index")
        assert [triples(hits) for hits in search([cold], [query] * 20, k, threads=2)] == [known] * 20


@pytest.mark.parametrize("file", ["document-lists", "document-offsets", "postings-rows", "postings-values"])
def test_damage_in_mapped_files_is_named_or_not_looked_at(large, tmp_path, file):
    made = bm25(large, N_MEMBERS)
    content = written(made, tmp_path / "index")[f"{file}.npy"]
    path = tmp_path / "index" / f"{file}.npy"
    generator, found = np.random.default_rng(13), {"named": 0, "answered": 0}
    for _ in range(12):
        changed = bytearray(content)
        changed[int(generator.integers(200, len(content)))] ^= int(generator.integers(1, 256))
        path.unlink()  # what is mapped stays as it is
        path.write_bytes(changed)
        for query in ({0: 1.0}, {5: 1.0, 10: 2.0}):
            cold = opened(made, tmp_path / "index")
            try:
                hits = search([cold], [query], 5)
            except CorruptIndexError as error:
                assert path.name in str(error)
                found["named"] += 1
            else:
                assert triples(hits[0]) == expected([made], query, 5)
                found["answered"] += 1
    assert found["named"], json.dumps(found)


# --- Crafted arrays ---------------------------------------------------------------------------------------------------

OFFSETS = st.sampled_from([0, 0, 1, 2, 3, 4, 6, 12, 24, -1, -2, 2**31, 2**62, -(2**63), 2**63 - 1])


def offsets_into(draw, size, n_lists):
    """Return offsets of lists that begin and end as they must; between, in order or anything."""
    inner = draw(st.lists(OFFSETS, min_size=n_lists - 1, max_size=n_lists - 1))
    if draw(st.booleans()):
        inner = sorted(min(max(offset, 0), size) for offset in inner)
    return np.array([0, *inner, size], np.int64)


@given(data=st.data())
@settings(max_examples=10 * EXAMPLES)
def test_whatever_the_arrays_hold_a_search_ends_with_scores_or_an_error(data):
    """No crash, no endless loop; crafted postings may hide documents."""
    n_lists, n_documents = 3, data.draw(st.sampled_from([1, 3, 12, 200]))
    numbers = lambda values, size, kind: np.array(data.draw(st.lists(values, min_size=size, max_size=size)), kind)  # noqa: E731
    n_chunks, n_rows, n_dense = (data.draw(st.integers(0, most)) for most in (5, 12, 24))
    with_values, with_columns = data.draw(st.booleans()), data.draw(st.booleans())
    windows = numbers(st.sampled_from([0, 0, 0, 1, 65_535]), n_chunks, np.uint16)
    sizes = numbers(st.sampled_from([0, 0, 1, 2, 5, 11, 199, 65_535]), n_chunks, np.uint16)
    bounds = numbers(st.sampled_from([0, 1, 2, 255]), n_chunks, np.uint8)
    rows = numbers(st.sampled_from([0, 1, 2, 3, 11, 199, 65_535]), n_rows, np.uint16)
    values = numbers(st.integers(0, 255), n_rows if with_values else 0, np.uint8)
    dense = numbers(st.integers(0, 255), n_dense, np.uint8)
    documents = [{row % 3: 1 + row, 3: 1} for row in range(n_documents)]
    made = data.draw(st.sampled_from([bm25, impacts, binary]))(lists_of(documents), 4)
    arrays = [offsets_into(data.draw, n_rows, n_lists), offsets_into(data.draw, n_chunks, n_lists)]
    arrays += [windows, sizes, bounds, rows, values]
    columns_ = [offsets_into(data.draw, n_dense, n_lists), dense] if with_columns else []
    postings = Postings(*map(CheckedArray, arrays), "here", *map(CheckedArray, columns_))
    crafted = replace(made, segment=replace(made.segment, postings=postings))
    query = data.draw(st.dictionaries(st.integers(0, 2), WEIGHTS, min_size=1))
    k = data.draw(st.sampled_from([1, 2, 50]))
    mask = data.draw(st.sampled_from([None, [np.ones(n_documents, bool)], [np.arange(n_documents) % 2 == 0]]))
    try:
        (hits,) = search([crafted], [query], k, mask)
    except CorruptIndexError as error:
        assert "here" in str(error)
        return
    assert len(set(hits.rows.tolist())) == len(hits.rows) <= min(k, n_documents)
    assert mask is None or mask[0][hits.rows].all()
    # A posting that tells its frequency is read in the place of the document's own list; none can be worth more.
    if made.norms is None or made.segment.formula.frequencies[values].any():
        assert (hits.scores >= 0).all()
        assert made.norms is None or (hits.scores <= sum(query.values())).all()
    else:
        assert hits.scores.tolist() == made.scores(query)[hits.rows].tolist()


def test_a_posting_that_tells_its_frequency_is_taken_at_its_word():
    """Checksums tell damage, not lies: only who wrote the file could have made it say so."""
    made = bm25(lists_of([{row % 3: 1 + row, 3: 1} for row in range(200)]), 4)
    told = int(np.flatnonzero(made.segment.formula.frequencies)[0])
    arrays = [
        np.array([0, 1, 1, 1]),
        np.array([0, 1, 1, 1]),
        np.zeros(1, np.uint16),
        np.zeros(1, np.uint16),
        np.array([255], np.uint8),
        np.array([1], np.uint16),
        np.array([told], np.uint8),
    ]
    postings = Postings(*map(CheckedArray, arrays), "here")
    (hits,) = search([replace(made, segment=replace(made.segment, postings=postings))], [{0: 1.0}], 1)
    frequency = made.segment.formula.frequencies[told]
    assert hits.rows.tolist() == [1]
    assert hits.scores.tolist() == [frequency / (frequency + made.norms[1])]
    assert made.scores({0: 1.0})[1] == 0


def test_columns_that_claim_to_add_nothing_are_not_taken_for_postings():
    """So much is left unread, and it can add so little, that the window's few postings are read again."""
    n_columns = 5
    made = impacts(lists_of([{0: 9}] * WINDOW), 1 + n_columns)
    arrays = [
        np.array([0, *[1] * (n_columns + 1)]),
        np.arange(n_columns + 2),
        np.zeros(n_columns + 1, np.uint16),
        np.array([0, *[WINDOW - 1] * n_columns], np.uint16),
        np.array([9, *[0] * n_columns], np.uint8),
        np.array([5], np.uint16),
        np.array([9], np.uint8),
    ]
    held = [
        np.array([0, *(WINDOW * number for number in range(n_columns + 1))]),
        np.zeros(WINDOW * n_columns, np.uint8),
    ]
    postings = Postings(*map(CheckedArray, arrays), "here", *map(CheckedArray, held))
    crafted = replace(made, segment=replace(made.segment, postings=postings))
    (hits,) = search([crafted], [dict.fromkeys(range(1 + n_columns), 1.0)], 3)
    assert triples(hits) == [(0, 5, 9.0)]
