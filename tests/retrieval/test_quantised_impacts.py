"""Weights of real documents as impacts of 8 bits: nearly all of the best ten stay, in either index that holds them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from eval.testsets import read_testset
from indexes.sparse import SparseIndex, SparseIndexWriter, SparseSearcher, SparseSegment, SparseVectors, quantised
from retrieval import AnalyserSettings, Collection, Document
from retrieval.analysis import Analyser
from retrieval.collection.settings import Fields

K = 10
_NORM = 1.2


@pytest.fixture(scope="module")
def weighted(data_folder):
    """Cranfield: the terms of its queries, and of each document the terms with what they are worth to BM25."""
    testset, analyser = read_testset(data_folder("cranfield")), Analyser()
    counts = [Counter(analyser.terms(document.full_text)) for document in testset.corpus]
    holding = Counter(term for of_document in counts for term in of_document)
    average = sum(of_document.total() for of_document in counts) / len(counts)
    documents = [
        {
            term: float(
                np.log1p((len(counts) - holding[term] + 0.5) / (holding[term] + 0.5))
                * frequency
                / (frequency + _NORM * (0.25 + 0.75 * of_document.total() / average))
            )
            for term, frequency in of_document.items()
        }
        for of_document in counts
    ]
    return [Counter(analyser.terms(query)) for query in testset.queries.values()], documents


def best(query, documents):
    """Return the ten best documents by sums of the weights as they are."""
    scores = [sum(times * weights.get(term, 0.0) for term, times in query.items()) for weights in documents]
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:K]
    return {row for row in order if scores[row] > 0}


@pytest.mark.slow
def test_impacts_of_8_bits_keep_the_best_ten(weighted, tmp_path):
    queries, documents = weighted
    largest = max(weight for weights in documents for weight in weights.values())
    terms = {term: number for number, term in enumerate(sorted({term for weights in documents for term in weights}))}

    def vectors(bags):
        entries = [sorted((terms[term], weight) for term, weight in bag.items() if term in terms) for bag in bags]
        flat = [entry for of_bag in entries for entry in of_bag]
        return SparseVectors(
            np.cumsum([0, *map(len, entries)]), np.array([d for d, _ in flat]), np.array([float(w) for _, w in flat])
        )

    with SparseIndexWriter(tmp_path, "impacts") as writer:
        writer.add_many(quantised(vectors(documents), largest))
    searcher = SparseSearcher([SparseSegment(SparseIndex.open(tmp_path), None, np.arange(len(documents)))])
    in_sparse_index = [set(hits.rows.tolist()) for hits in searcher.search_many(vectors(queries), K)]

    # The same weights in documents' metadata, and terms that are stems already.
    fields = Fields(term_weights="vector", weight_scale=255 / largest, impacts=True)
    as_they_are = AnalyserSettings(stemmer=None, stop_words=None)
    collection = Collection.create(tmp_path / "c", encoder=None, fields=fields, analyser=as_they_are)
    collection.add(
        Document(str(row), "text", metadata={"vector": weights}) for row, weights in enumerate(documents) if weights
    )
    texts = [" ".join(query.elements()) for query in queries]
    in_collection = [{int(name) for name in hits.ids} for hits in collection.search_many(texts, K, mode="bm25")]

    expected = [best(query, documents) for query in queries]
    for found in (in_sparse_index, in_collection):
        kept = sum(len(one & other) for one, other in zip(found, expected, strict=True))
        assert kept / sum(map(len, expected)) > 0.99
