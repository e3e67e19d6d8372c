"""Orders of documents: permutations that bring similar documents together, and the benchmark that compares them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmarks.document_orders import ORDERS, heaviest_term_order, min_hash_order
from eval.benchmarks.graph_bisection import bisection_order
from eval.benchmarks.reordering import Reordered, collections, measure
from eval.errors import EvaluationError, ReproductionError
from indexes.lists import Lists


def lists_of(documents):
    """Return lists of documents, dictionaries from term to frequency."""
    offsets = np.cumsum([0, *map(len, documents)])
    terms = [term for document in documents for term in sorted(document)]
    frequencies = [document[term] for document in documents for term in sorted(document)]
    return Lists(offsets, np.array(terms, np.int32), np.array(frequencies, np.uint32))


def planted(n, n_groups, seed):
    """Return documents of groups with 50 terms each, of which a document has 20, and each document's group."""
    random = np.random.default_rng(seed)
    groups = random.integers(n_groups, size=n)
    terms = [random.choice(50, 20, replace=False) + 50 * group for group in groups]
    return lists_of([dict.fromkeys(each.tolist(), 1) for each in terms]), groups


def gap_bits(lists, order):
    """Return the bits that the gaps of all terms' lists take by their logarithms, which bisection is to lower."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    rows = np.repeat(places, np.diff(lists.offsets))
    by_list = np.lexsort((rows, lists.members))
    gaps, same = np.diff(rows[by_list]), np.diff(lists.members[by_list]) == 0
    return float(np.log2(gaps[same] + 1).sum())


@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(1, 5), max_size=6), min_size=1, max_size=150))
@settings(max_examples=50)
def test_every_order_is_a_permutation(documents):
    lists = lists_of(documents)
    for order in ORDERS.values():
        assert sorted(order(lists, 31).tolist()) == list(range(len(documents)))


@pytest.mark.parametrize("n_groups", [5, 8, 13])
def test_bisection_finds_planted_groups(n_groups):
    lists, groups = planted(2048, n_groups, seed=n_groups)
    found = groups[bisection_order(lists, 50 * n_groups)]
    changes = np.count_nonzero(np.diff(found))
    # Halves do not end where groups do: a group may lie on both sides of a border, at every level above the smallest.
    assert changes < 0.1 * np.count_nonzero(np.diff(groups))


def test_bisection_shortens_gaps_as_its_papers_say():
    lists, groups = planted(2000, 10, seed=0)
    came, best = gap_bits(lists, np.arange(2000)), gap_bits(lists, np.argsort(groups))
    bisected = gap_bits(lists, bisection_order(lists, 500))
    assert best < came
    assert bisected < came - 0.8 * (came - best)


def test_heaviest_terms_by_hand():
    # Of 5 documents, term 0 is in 4, term 1 in 2, term 2 in 2, term 3 in 1, which counts nothing.
    documents = [{0: 1, 2: 1}, {0: 1, 1: 1}, {0: 9, 1: 1}, {3: 7}, {0: 1, 2: 2}]
    # 1: idf ln(5/2) = 0.92, and 2; 0: ln(5/4) = 0.22, times 9 = 2.0. Heaviest: 2, 1, 0, none, 2.
    assert heaviest_term_order(lists_of(documents), 4).tolist() == [3, 2, 1, 0, 4]


def test_min_hashes_bring_equal_documents_together():
    random = np.random.default_rng(0)
    kinds = [dict.fromkeys(random.choice(200, 10, replace=False).tolist(), 1) for _ in range(20)]
    drawn = random.integers(20, size=300)
    found = drawn[min_hash_order(lists_of([kinds[kind] for kind in drawn]), 200)]
    assert np.count_nonzero(np.diff(found)) == len(set(drawn.tolist())) - 1


@pytest.mark.parametrize("name", ["synthetic", "learned", "binary in clusters"])
def test_the_benchmark_compares_all_orders(tmp_path, name):
    (collection,) = collections(tmp_path, tmp_path, [name], share=0.002)
    outcome = measure(collection, ks=[3], repeats=1)
    assert outcome.title == f"Document reordering, {name}"
    assert [row[0] for row in outcome.rows] == list(ORDERS)
    assert all(len(row) == len(outcome.columns) for row in outcome.rows)
    assert outcome.rows[0][3] == "1.000"
    assert {found["bytes"] > 0 for found in outcome.numbers["orders"].values()} == {True}


def test_orders_that_find_other_scores_are_refused(tmp_path, monkeypatch):
    collection, other = collections(tmp_path, tmp_path, ["binary", "binary in clusters"], share=0.002)
    merged = Reordered.merged

    def wrong(self, order, directory):
        return merged(self if order[0] == 0 else other, order, directory)

    monkeypatch.setattr(Reordered, "merged", wrong)
    with pytest.raises(ReproductionError, match="'binary' in the order 'shuffled' finds other scores, k = 3"):
        measure(collection, ks=[3], repeats=1)


def test_an_unknown_collection_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="unknown collection 'other'"):
        list(collections(tmp_path, tmp_path, ["other"]))
