"""Several segments are searched as one collection: their documents wait together, under one threshold.

What is compared is what `tests.indexes.test_postings_search` compares; here it is spread over segments whose sequence
numbers interleave.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.arrays import CheckedArray
from indexes.bm25_formula import BM25Settings
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError
from indexes.lists import offsets_of
from indexes.postings import WINDOW_BITS, Postings
from indexes.postings_search import Plan, PostingsSearch
from indexes.segment_table import AllowedDocuments, SearchedSegments
from tests.indexes.postings_oracle import (
    Made,
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
from tests.indexes.test_postings_search import opened, written

EXAMPLES = settings.default.max_examples  # of the profile
WINDOW = 1 << WINDOW_BITS
COLUMN_SHARE = 16  # what reading a column costs, see `kernels.cursors`
MAKERS = [bm25, impacts, columns, binary]
SHARES = (0.7, 0.4, 0.2, 0.1, 0.02, 0.003)
QUERIES = [
    {0: 1.0, 1: 1.0},
    {0: 1.0, 4: 3.0},
    {0: 0.001, 1: 0.5, 5: 9.0},
    {0: 0.3, 1: 0.3, 2: 0.7, 3: 1.1, 4: 2.0, 5: 3.0},
    {3: 1.0, 5: 1.0},
]


@pytest.fixture
def touched(monkeypatch):
    """What the kernel reads; see `watch`."""
    return watch(monkeypatch)


def parts_of(generator, sizes, make, *, most=3, sequences=None):
    """Make segments of these sizes, their documents dealt out at random, with frequencies from 1 to `most`."""
    if sequences is None:
        sequences = np.arange(sum(sizes)) * 3 - sum(sizes)
    owner = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    segments = []
    for number, size in enumerate(sizes):
        held = [np.flatnonzero(generator.random(size) < share) for share in SHARES]
        lists = lists_of_postings(size, [(rows, generator.integers(1, most + 1, len(rows))) for rows in held])
        average = {"average": 4.0} if make is bm25 else {}  # of all segments together
        segments.append(make(lists, len(SHARES), sequences=sequences[owner == number], **average))
    return segments


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "sizes",
    [(3000, 2900, 2800), (WINDOW + 3000, 700, 3, 0), (400, WINDOW - 1, WINDOW + 1)],
    ids=["alike", "one large, before small ones", "one small, before large ones"],
)
def test_segments_whose_sequences_interleave(make, sizes):
    """Few different scores, so that all places are tied for, once and again with what searches have learnt."""
    generator = np.random.default_rng(21)
    segments = parts_of(generator, sizes, make)
    searched, none = SearchedSegments([made.segment for made in segments]), [np.empty(0, bool)] * len(sizes)
    for k in (1, 10, 1000):
        known = [expected(segments, query, k) for query in QUERIES]
        for threads in (1, 2):
            queries = QUERIES * 8
            found = PostingsSearch(searched, AllowedDocuments(none), plan_of(queries, len(sizes)), k).run(threads)
            assert [triples(hits) for hits in found] == known * 8
        for query, best in zip(QUERIES, known, strict=True):
            assert triples(search(segments, [query], k)[0]) == best


@pytest.mark.parametrize("make", MAKERS)
def test_filters_that_leave_few_in_one_segment_and_many_in_another(make):
    generator = np.random.default_rng(22)
    sizes = (WINDOW + 2000, 4000, 3000)
    segments = parts_of(generator, sizes, make)
    few = [generator.random(size) < 0.004 for size in sizes]
    many = [generator.random(size) < 0.7 for size in sizes]
    nothing, every = [np.zeros(size, bool) for size in sizes], [np.empty(0, bool) for _ in sizes]
    masks = [
        [few[0], many[1], every[2]],
        [many[0], few[1], few[2]],
        [every[0], few[1], nothing[2]],
        [nothing[0], few[1], many[2]],
        [few[0], few[1], few[2]],
    ]
    for mask in masks:
        for query in QUERIES:
            for k in (1, 10, 1000):
                check(segments, query, k, mask)


@pytest.mark.parametrize("make", MAKERS)
def test_all_scores_tied_in_segments_that_interleave(make):
    """More ties than may wait, in every segment: later segments hold earlier documents."""
    n = 9000
    for owner in (np.arange(n) % 3, 2 - np.arange(n) * 3 // n, np.arange(n) // 10 % 3):
        segments = [
            make(lists_of([{0: 2, 1: 1}] * int((owner == number).sum())), 2, sequences=np.flatnonzero(owner == number))
            for number in range(3)
        ]
        for k in (1, 10, 1000, n):
            check(segments, {0: 1.0}, k)
            check(segments, {0: 0.3, 1: 7.7}, k)


@pytest.mark.parametrize("make", MAKERS)
def test_a_better_document_in_each_later_segment(make):
    """Ties fill the list before, and must give way in the right order while it is tidied up."""
    better = [{0: 1, 1: 1}]  # the first of them where nothing is guessed from
    segments = [
        make(
            lists_of(
                [{0: 1}] * 20 + better * (5 if number == 3 else 0) + [{0: 1}] * 1500 + better * number + [{0: 1}] * 1400
            ),
            2,
            sequences=np.arange(2920 + number + (5 if number == 3 else 0)) * 5 - 99 * number,
        )
        for number in range(4)
    ]
    for k in (1, 3, 6, 7, 20, 400):
        check(segments, {0: 1.0, 1: 1.0}, k)
        check(segments[::-1], {0: 0.7, 1: 0.6}, k)


@pytest.mark.parametrize("make", MAKERS)
def test_ties_in_a_later_segment_that_come_before_those_of_an_earlier_one(make):
    """When those that wait are cut to k between two windows, the last of them is of the first segment, and must go."""
    n_held, k = WINDOW // 12, WINDOW // 10
    held = np.concatenate([np.arange(n_held), WINDOW + np.arange(n_held)])
    lists = [lists_of_postings(WINDOW + n_held + more, [(held, np.ones(2 * n_held, int))]) for more in (1, 0)]
    after = 2 * WINDOW - 2 * (
        k - n_held - 1
    )  # then that last one comes where the second segment's second window begins
    for shift in (10**6, after + 8, after - 8, 0, -(10**6)):
        segments = [make(each, 1, sequences=2 * np.arange(len(each.offsets) - 1)) for each in lists]
        sequences = segments[0].segment.sequences + shift + 1
        segments[0] = make(lists[0], 1, sequences=sequences)
        check(segments, {0: 1.0}, k)
        check(segments, {0: 0.7}, k)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n_segments", [1, 2])
def test_a_first_threshold_that_was_guessed_too_high(make, n_segments, touched):
    """All good documents stand where the sample is taken from, and they are fewer than are wanted."""
    good = np.arange(60) * (WINDOW // 64)
    held = [np.arange(WINDOW), good]
    lists = lists_of_postings(WINDOW, [(rows, np.ones(len(rows), int)) for rows in held])
    segments = [make(lists, 2, sequences=np.arange(WINDOW) * 2 + number) for number in range(n_segments)]
    once = n_segments * (len(good) + (WINDOW // COLUMN_SHARE if make is columns else WINDOW))
    for query in ({0: 1.0, 1: 5.0}, {0: 0.7, 1: 5.5}):
        touched.taken()
        for k in (61 * n_segments, 70 * n_segments):
            check(segments, query, k)
            assert touched.taken() > once  # there was a second pass


@pytest.mark.parametrize("make", MAKERS)
def test_sequence_numbers_of_any_size_and_sign(make):
    generator = np.random.default_rng(23)
    least, most = -(2**63), 2**63 - 1
    sequences = np.unique(np.append(generator.integers(least, most, 5995), [least, -1, 0, 1, most]))
    segments = parts_of(generator, (3000, 2000, len(sequences) - 5000), make, most=1, sequences=sequences)
    for k in (1, 10, 1000):
        for query in QUERIES:
            check(segments, query, k)
            (hits,) = search(segments, [query], k)
            stored = [segments[number].segment.sequences[row] for number, row, _ in triples(hits)]
            assert hits.sequences.tolist() == stored


@pytest.mark.parametrize("make", MAKERS)
def test_segments_that_number_their_lists_differently(make):
    """Each holds some of the terms only, and documents of all wait for their scores together."""
    generator, n_terms = np.random.default_rng(28), 9
    segments, numbers = [], []
    for place in range(4):
        held = np.sort(generator.choice(n_terms, 6, False))
        ids = np.full(n_terms, -1)
        ids[held] = np.arange(len(held))
        shares = [(0.6, 0.3, 0.1)[term % 3] for term in held]
        rows = [np.flatnonzero(generator.random(2000) < share) for share in shares]
        lists = lists_of_postings(2000, [(each, generator.integers(1, 60, len(each))) for each in rows])
        average = {"average": 90.0} if make is bm25 else {}
        segments.append(make(lists, len(held), sequences=np.arange(2000) * 4 + place, **average))
        numbers.append(ids)
    for weights in (np.arange(1.0, n_terms + 1), generator.random(n_terms) + 0.05):
        plan = Plan(np.array([0, n_terms]), weights, numbers)
        for k in (1, 10, 101, 500):
            check_plan(segments, plan, k)


# --- Scores from a window's postings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [3, 60])
def test_classes_that_tell_no_frequency(most):
    """Of up to 60 frequencies most share classes; and a class may always say that it does not know."""
    generator = np.random.default_rng(24)
    segments = parts_of(generator, (WINDOW + 500, 3000), bm25, most=most)
    for share in (0.0, 0.3, 1.0):
        forgetful = []
        for made in segments:
            formula, own = made.segment.formula, made.segment.postings.for_kernels().values
            assert (most == 3) == bool((formula.frequencies[own] > 0).all())
            frequencies = np.where(generator.random(256) < share, 0.0, formula.frequencies)
            formula = replace(formula, frequencies=read_only(frequencies))
            forgetful.append(replace(made, segment=replace(made.segment, formula=formula)))
        for query in QUERIES:
            for k in (1, 10, 1000):
                check(forgetful, query, k)


@given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([1, 5, 40, 300]), make=st.sampled_from(MAKERS))
@settings(max_examples=EXAMPLES // 2)
def test_scores_from_postings_equal_those_from_documents(seed, k, make):
    """Many documents of few terms, of all frequencies: their scores are taken from wherever it is cheaper."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 1500, 2)
    sequences = np.sort(generator.choice(10_000, sizes.sum(), False))
    segments = parts_of(generator, sizes, make, most=int(generator.choice([1, 4, 200])), sequences=sequences)
    query = {member: float(weight) for member, weight in enumerate(generator.random(len(SHARES)) + 0.01)}
    check(segments, query, k)
    check(segments, {0: 1.0, 5: 1e-30}, k)


def test_rows_behind_the_last_document_add_nothing_to_another():
    """A crafted row beyond the window's width gets points, and these must not be taken for the number of a document."""
    lists = lists_of([{0: 1, 1: 1}] * 300)
    made, other = bm25(lists, 2), bm25(lists, 2, sequences=1000 - np.arange(300)[::-1])
    arrays = made.segment.postings.for_kernels()
    crafted = [
        np.array([0, 300, 601]),
        arrays.chunk_starts,
        arrays.windows,
        np.array([299, 300], np.uint16),
        arrays.bounds,
        np.append(arrays.rows, np.uint16(WINDOW - 1)),
        np.append(arrays.values, arrays.values[-1]),
    ]
    postings = Postings(*map(CheckedArray, crafted), "here")
    wrong = replace(made, segment=replace(made.segment, postings=postings))
    for weight in (1e-3, 1e-4, 1e-5, 1e-9):
        check([wrong], {0: 1.0, 1: weight}, 300)
        check([other, wrong], {0: 1.0, 1: weight}, 600)


def test_documents_without_the_term_that_postings_name_are_not_returned():
    made = bm25(lists_of([{0: 1, 1: 1}] * 3 + [{1: 1}] + [{0: 1, 1: 2}] * 3), 2)
    arrays = [array.copy() for array in made.segment.postings.for_kernels()[:7]]
    arrays[5][arrays[0][0] + 2] = 3  # the row of the third posting of list 0, which then is not found itself
    postings = Postings(*map(CheckedArray, arrays), "here")
    (hits,) = search([replace(made, segment=replace(made.segment, postings=postings))], [{0: 1.0}], 7)
    assert triples(hits) == [hit for hit in expected([made], {0: 1.0}, 7) if hit[1] != 2]


@pytest.mark.parametrize("make", [bm25, impacts, binary])
def test_rows_behind_the_last_document_are_not_returned(make):
    """Of a list that is so short that its postings are read again instead of the window's sums."""
    made = make(lists_of([{0: 1} if row in {3, 5, 8} else {1: 1} for row in range(300)]), 2)
    arrays = [array.copy() for array in made.segment.postings.for_kernels()[:7]]
    arrays[5][arrays[0][0] + 2] = 301
    postings = Postings(*map(CheckedArray, arrays), "here")
    (hits,) = search([replace(made, segment=replace(made.segment, postings=postings))], [{0: 1.0}], 7)
    assert triples(hits) == expected([made], {0: 1.0}, 2)


def test_columns_beside_postings_without_values_are_scored_from_documents():
    """No file is such, and nothing may be read where there is nothing."""
    n = 400
    made = impacts(lists_of([{0: 1}] * n), 1)
    arrays = made.segment.postings.for_kernels()
    plain = [arrays.starts, arrays.chunk_starts, arrays.windows, arrays.sizes, arrays.bounds, arrays.rows]
    plain[4] = np.ones(1, np.uint8)
    columns_ = [CheckedArray(np.zeros(2, np.int64)), CheckedArray(np.empty(0, np.uint8))]
    postings = Postings(*map(CheckedArray, plain), CheckedArray(np.empty(0, np.uint8)), "here", *columns_)
    # The chunk is so long that it must be a column; then there is none for it.
    wrong = replace(made, segment=replace(made.segment, postings=postings))
    with pytest.raises(CorruptIndexError, match="here"):
        search([wrong], [{0: 0.5}], 10)
    few = impacts(lists_of([{0: 1} if row % 10 == 0 else {} for row in range(10 * n)]), 1)
    plain = [*few.segment.postings.for_kernels()[:6]]
    postings = Postings(*map(CheckedArray, plain), CheckedArray(np.empty(0, np.uint8)), "here", *columns_)
    check([replace(few, segment=replace(few.segment, postings=postings))], {0: 0.5}, n)


# --- Long queries -----------------------------------------------------------------------------------------------------


def check_plan(segments: list[Made], plan: Plan, k: int) -> None:
    """Compare the search for one query, whose lists segments number in their ways, with the oracle."""
    numbers, rows, scores, sequences = [], [], [], []
    for number, made in enumerate(segments):
        own = made.scores(
            {int(each): weight for each, weight in zip(plan.lists[number], plan.weights, strict=True) if each >= 0}
        )
        matching = np.flatnonzero(own > 0)
        numbers.append(np.full(len(matching), number))
        rows.append(matching)
        scores.append(own[matching])
        sequences.append(made.segment.sequences[matching])
    every = np.concatenate(scores)
    order = np.lexsort((np.concatenate(sequences), -every))[:k]
    searched = SearchedSegments([made.segment for made in segments])
    (hits,) = PostingsSearch(searched, AllowedDocuments([np.empty(0, bool)] * len(segments)), plan, k).run(1)
    assert hits.scores.tolist() == every[order].tolist()
    assert hits.segments.tolist() == np.concatenate(numbers)[order].tolist()
    assert hits.rows.tolist() == np.concatenate(rows)[order].tolist()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n_held", [3000, 4095, 4096, 4097])
def test_more_terms_than_a_kernel_takes_in_some_segments_only(make, n_held):
    """One segment holds all 6,000 lists and looks documents up; the other adds up the points of those that it holds.

    In the second a document holds all that it can, and each of its points is rounded up: the sum must fit.
    """
    generator, n_terms = np.random.default_rng(n_held), 6000
    long = [{int(member): 1 for member in generator.choice(n_terms, 2000, False)} for _ in range(20)]
    full = [dict.fromkeys(range(n_held), 9)] * 3
    short = [{int(m): int(generator.integers(1, 9)) for m in generator.choice(n_held, 500, False)} for _ in range(30)]
    average = {"average": 4000.0} if make is bm25 else {}
    segments = [
        make(lists_of(long), n_terms, sequences=np.arange(20) * 2, **average),
        make(lists_of(short + full), n_held, sequences=np.arange(33) * 2 + 1, **average),
    ]
    held = np.full(n_terms, -1)
    held[np.sort(generator.choice(n_terms, n_held, False))] = np.arange(n_held)
    for weights in (np.full(n_terms, 0.7), np.full(n_terms, 1.0), generator.random(n_terms) + 0.1):
        plan = Plan(np.array([0, n_terms]), weights, [np.arange(n_terms), held])
        for k in (1, 3, 10, 53):
            check_plan(segments, plan, k)


# --- From files -------------------------------------------------------------------------------------------------------


def deal(generator, make, n_segments, size):
    """Make segments that fill several blocks of a file each."""
    return parts_of(generator, [size - 1000 * number for number in range(n_segments)], make, most=4)


@pytest.mark.parametrize("make", [bm25, impacts])
@pytest.mark.parametrize("k", [1, 200, 3000])
def test_the_first_search_of_mapped_files_of_several_segments(tmp_path, make, k):
    generator = np.random.default_rng(25)
    segments = deal(generator, make, 3, 40_000)
    for number, made in enumerate(segments):
        written(made, tmp_path / str(number))
    masks = [np.arange(made.n_documents) % 40 == 7 for made in segments]
    for query in QUERIES:
        known, filtered = expected(segments, query, k), expected(segments, query, k, masks)
        cold = [opened(made, tmp_path / str(number)) for number, made in enumerate(segments)]
        assert not any(made.segment.documents.is_checked for made in cold)
        for _ in range(2):
            assert triples(search(cold, [query], k)[0]) == known
        cold = [opened(made, tmp_path / str(number)) for number, made in enumerate(segments)]
        assert [triples(hits) for hits in search(cold, [query] * 20, k, threads=2)] == [known] * 20
        cold = [opened(made, tmp_path / str(number)) for number, made in enumerate(segments)]
        assert triples(search(cold, [query], k, masks)[0]) == filtered


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_damage_names_the_segment_that_is_damaged(damaged):
    """Lists that end early, in one segment, while documents of all wait."""
    generator = np.random.default_rng(26)
    for make in MAKERS[:2]:
        segments = parts_of(generator, (3000, 2500, 2000), make)
        for number, made in enumerate(segments):
            arrays = [array.copy() for array in made.segment.postings.for_kernels()[:7]]
            if number == damaged:
                arrays[3][arrays[1][1]] -= 1  # of the second list's first chunk
            postings = Postings(*map(CheckedArray, arrays), f"segment {number}")
            segments[number] = replace(made, segment=replace(made.segment, postings=postings))
        for query in QUERIES[:1] + QUERIES[2:4]:
            for k in (1, 1000, 5000):
                with pytest.raises(CorruptIndexError, match=f"segment {damaged}"):
                    search(segments, [query], k)


def test_damage_names_the_segment_where_documents_of_another_were_scored_last():
    """In the second segment reading ceases early; then those that wait are scored, all of them of the first."""
    n = 20_000
    rows, none = np.arange(n), np.empty(0, np.int64)
    first, second = (
        lists_of_postings(size, [(held, np.ones(len(held), int)) for held in (np.arange(size), *others)])
        for size, others in ((n + 1, (rows[:400], none, none)), (n, (none, rows[:150], rows[150:300])))
    )
    good, made = binary(first, 4), binary(second, 4, sequences=10**6 + rows)
    arrays = [array.copy() for array in made.segment.postings.for_kernels()[:7]]
    arrays[3][0] -= 1
    named = Postings(*map(CheckedArray, arrays), "the second")
    segments = [good, replace(made, segment=replace(made.segment, postings=named))]
    with pytest.raises(CorruptIndexError, match="the second"):
        search(segments, [{0: 0.001, 1: 1.0, 2: 0.9, 3: 0.8}], 200)


def test_parameters_at_their_ends_over_segments():
    generator = np.random.default_rng(27)
    documents = [
        {int(m): int(c) for m, c in zip(generator.choice(8, 4, False), generator.zipf(1.5, 4) % 500 + 1, strict=True)}
        for _ in range(2400)
    ]
    owner = generator.integers(0, 3, len(documents))
    offsets = offsets_of(np.bincount(owner))
    assert offsets[-1] == len(documents)
    for parameters in [(0.0, 0.75), (2.0, 1.0), (1e100, 0.5), (1e-100, 1.0)]:
        segments = []
        for number in range(3):
            own = np.flatnonzero(owner == number)
            lists = lists_of([documents[place] for place in own])
            segments.append(bm25(lists, 8, BM25Settings(*parameters), average=50.0, sequences=own))
        for size in (1, 3, 8):
            for k in (1, 10, 700):
                check(segments, {member: 1.0 + member for member in range(size)}, k)
