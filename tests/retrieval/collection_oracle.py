"""What a collection should answer, computed the plain way: a list of documents, word counts and brute force.

Nothing of the engine is used here but its plain data. BM25 is written out from its formula (Robertson & Zaragoza 2009,
in Lucene's form), cosines are numpy's, and a filter is a comparison in Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from retrieval import Document, FunctionEncoder
from retrieval.encoders import SparseFunctionEncoder

# English, none of them a stop word, and all with stems of their own.
WORDS = ["owl", "night", "fly", "winter", "swim", "song", "nest", "egg"]
QUERIES = ["owl night", "fly fly swim", "egg nest song winter"]


@lru_cache(1 << 16)
def counts_of(text: str) -> tuple[int, ...]:
    """Return how often each of `WORDS` stands in a text of such words (others are ignored)."""
    counts = Counter(text.split())
    return tuple(counts[word] for word in WORDS)


def vectors_of(texts: Iterable[str], version: str) -> np.ndarray:
    """Return the vectors of a version's encoder; they have another dimension in each."""
    counts = np.array([counts_of(text) for text in texts], np.float32).reshape(-1, len(WORDS))
    if version == "1":
        return counts + np.float32(0.25)
    return counts[:, :5] - 2 * counts[:, 3:] + np.float32(0.5)


def encoder(version: str = "1", max_tokens: int | None = None) -> FunctionEncoder:
    """Return the encoder of a version; with `max_tokens` longer texts are cut into passages."""
    return FunctionEncoder(
        lambda texts: vectors_of(texts, version),
        name="words" if max_tokens is None else f"words, {max_tokens} at a time",
        version=version,
        dimension=vectors_of([""], version).shape[1],
        max_tokens=max_tokens,
    )


LARGEST_WEIGHT = 1.5
"""Of the sparse vectors: a word that stands twice or more in a text reaches it, and is cut to it."""


def sparse_of(texts: Iterable[str]) -> list[dict[int, float]]:
    """Return a weight for each of `WORDS` in a text, in dimensions far apart."""
    counted = [counts_of(text) for text in texts]
    return [{7 * word: 0.3 + 0.6 * count for word, count in enumerate(counts) if count} for counts in counted]


def sparse_encoder(kind: str) -> SparseFunctionEncoder:
    """Return the sparse encoder of a kind: "weighted", "binary", or "passages", which reads four words at a time."""
    return SparseFunctionEncoder(
        sparse_of,
        name=f"sparse words, {kind}",
        version=1,
        n_dimensions=7 * len(WORDS),
        weighted=kind != "binary",
        largest_weight=None if kind == "binary" else LARGEST_WEIGHT,
        max_tokens=4 if kind == "passages" else None,
    )


def sparse_score(query: str, text: str, kind: str) -> float:
    """Return the inner product of a query with a text's impacts, or with 1 for each dimension that both have."""
    (asked,), (held,) = sparse_of([query]), sparse_of([text])
    if kind == "binary":
        return sum(float(np.float32(weight)) for dimension, weight in asked.items() if dimension in held)
    steps = {dimension: max(1, round(255 * min(weight / LARGEST_WEIGHT, 1))) for dimension, weight in held.items()}
    shared = asked.keys() & held.keys()
    return sum(float(np.float32(asked[dimension])) * steps[dimension] * LARGEST_WEIGHT / 255 for dimension in shared)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors at length 1, float64; zeros stay."""
    exact = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
    return exact / np.where(lengths == 0, 1, lengths)


def fused(lists: Sequence[Sequence[str]], places: dict[str, int], k: int) -> list[tuple[str, float]]:
    """Return the best k of several ranked lists by reciprocal rank fusion, ties by place."""
    scores: dict[str, float] = {}
    for ids in lists:
        for rank, document_id in enumerate(ids, 1):
            scores[document_id] = scores.get(document_id, 0.0) + 1 / (60 + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], places[item[0]]))[:k]


class Oracle:
    """One state of a collection, and the answers that it must give.

    Args:
        documents: what is there, in the order in which the texts came.
        vectors: (n, d), one for each; None where dense search is not looked at.

    Attributes:
        places: number of each id in that order.
    """

    def __init__(self, documents: Iterable[Document], vectors: np.ndarray | None = None) -> None:
        self.documents = list(documents)
        self.places = {document.id: place for place, document in enumerate(self.documents)}
        counts = [counts_of(document.full_text) for document in self.documents]
        self._counts = np.array(counts, np.int64).reshape(-1, len(WORDS))
        self._given = vectors
        self._vectors = None if vectors is None else unit(vectors)

    def allowed(self, after: int | None = None) -> np.ndarray:
        """Return which documents pass the filter "year > after", (n,) bool; all for None."""
        if after is None:
            return np.ones(len(self.documents), bool)
        return np.array([document.metadata.get("year", -1) > after for document in self.documents], bool)

    def bm25_scores(self, query: str, k1: float = 1.2, b: float = 0.75) -> np.ndarray:
        """Return each document's score, (n,) float64."""
        weights = counts_of(query)
        lengths = self._counts.sum(axis=1)
        average = lengths.mean() if lengths.sum() else 1.0
        scores = np.zeros(len(self.documents))
        for frequencies, weight in zip(self._counts.T, weights, strict=True):
            holding = np.count_nonzero(frequencies)
            if weight and holding:
                idf = np.log(1 + (len(self.documents) - holding + 0.5) / (holding + 0.5))
                scores += weight * idf * frequencies / (frequencies + k1 * (1 - b + b * lengths / average))
        return scores

    def check_bm25(
        self, results: Iterable, query: str, k: int, *, after: int | None = None, k1: float = 1.2, b: float = 0.75
    ) -> None:
        """Check a BM25 search: any two documents of equal length and frequencies must tie exactly."""
        scores = self.bm25_scores(query, k1, b)
        of_query = self._counts * (np.array(counts_of(query)) > 0)
        twins = np.concatenate([of_query, self._counts.sum(axis=1, keepdims=True)], axis=1)
        self._check(results, scores, self.allowed(after) & (scores > 0), twins, k, tolerance=1e-12)

    def check_dense(
        self, results: Iterable, query: np.ndarray, k: int, *, after: int | None = None, complete: bool = True
    ) -> None:
        """Check a dense search: documents of equal vectors must tie exactly.

        Args:
            results: its hits.
            query: (d,), the query's vector.
            k: how many were asked for.
            after: the filter that was asked for.
            complete: that they are the best; without, only that each is alive and has its exact score, as approximate
                searchers promise.
        """
        assert self._vectors is not None, "this oracle has no vectors"
        scores = self._vectors @ unit(query)
        self._check(results, scores, self.allowed(after), self._given, k, tolerance=1e-6, complete=complete)

    def check_sparse(self, results: Iterable, query: str, k: int, kind: str, *, after: int | None = None) -> None:
        """Check a search by sparse vectors of documents that are one passage each: equal words must tie exactly."""
        scores = np.array([sparse_score(query, document.full_text, kind) for document in self.documents])
        of_query = self._counts * (np.array(counts_of(query)) > 0)
        self._check(results, scores, self.allowed(after) & (scores > 0), of_query, k, tolerance=1e-9)

    def check_similar(self, results: Iterable, document_id: str, k: int, *, complete: bool = True) -> None:
        """Check the documents that are most like a stored one, in a collection with one vector for each."""
        place = self.places[document_id]
        allowed = self.allowed()
        allowed[place] = False
        scores = self._vectors @ self._vectors[place]
        self._check(results, scores, allowed, self._given, k, tolerance=1e-6, complete=complete)

    def check_hybrid(self, results: Iterable, lists: Sequence[Iterable], k: int) -> None:
        """Check a hybrid search against the two lists that it must have fused, each checked before."""
        expected = fused([[hit.id for hit in ranked] for ranked in lists], self.places, k)
        found = [(hit.id, hit.score) for hit in results]
        scores = [score for _, score in found]
        assert [name for name, _ in found] == [name for name, _ in expected], f"fused {found}, not {expected}"
        near = np.allclose(scores, [score for _, score in expected], rtol=1e-12, atol=0)
        assert near, f"fused scores {found}, not {expected}"

    def check_contents(self, collection) -> None:
        """Check what can be read: number, order and content of all documents."""
        assert len(collection) == len(self.documents), f"{len(collection)} documents, not {len(self.documents)}"
        found = list(collection)
        if found != self.documents:
            wrong = [(one, other) for one, other in zip(found, self.documents, strict=False) if one != other]
            raise AssertionError(f"documents differ, first {wrong[:1] or (len(found), len(self.documents))}")
        assert list(collection.ids()) == list(self.places), "ids() has another order than the documents"

    def check_get(self, collection, document_id: str) -> None:
        """Check what is read by id, present or not."""
        place = self.places.get(document_id)
        expected = None if place is None else self.documents[place]
        found = collection.get(document_id)
        assert found == expected, f"get({document_id!r}) gave {found}, not {expected}"
        assert (document_id in collection) == (place is not None), f"{document_id!r} in collection is wrong"

    def _check(
        self,
        results: Iterable,
        scores: np.ndarray,
        allowed: np.ndarray,
        twins: np.ndarray,
        k: int,
        *,
        tolerance: float,
        complete: bool = True,
    ) -> None:
        found = [(hit.id, hit.score) for hit in results]
        strange = [document_id for document_id, _ in found if document_id not in self.places]
        assert not strange, f"{strange} is not there in this state; found {found}"
        places = np.array([self.places[document_id] for document_id, _ in found], np.int64)
        got = np.array([score for _, score in found])
        assert len(set(places.tolist())) == len(places), f"a document was found twice: {found}"
        assert allowed[places].all(), f"found what the filter or the query excludes: {found}"
        number = min(k, int(allowed.sum()))
        assert len(found) == number, f"{len(found)} hits, not {number}: {found}"
        near = np.allclose(got, scores[places], rtol=tolerance, atol=tolerance)
        assert near, f"found {found}, expected scores {scores[places].tolist()}"
        order = np.lexsort((places, -got))
        assert (order == np.arange(len(order))).all(), f"not by score and then by place: {found}, {places.tolist()}"
        if complete:
            best = np.sort(scores[allowed])[::-1][:k]
            assert np.allclose(got, best, rtol=tolerance, atol=tolerance), f"found {found}, best are {best.tolist()}"
            self._check_twins(places, got, allowed, twins)

    def _check_twins(self, places: np.ndarray, got: np.ndarray, allowed: np.ndarray, twins: np.ndarray) -> None:
        """Equal documents tie exactly, and the earlier ones come first."""
        if not len(places):
            return
        kind = np.unique(twins, axis=0, return_inverse=True)[1].reshape(-1)
        for number in np.unique(kind[places]).tolist():
            chosen = kind[places] == number
            every = np.flatnonzero(allowed & (kind == number))
            first = every[: int(chosen.sum())]
            assert (places[chosen] == first).all(), f"of the equal documents {every} the later {places[chosen]} found"
            assert len(set(got[chosen].tolist())) == 1, f"equal documents have the scores {got[chosen].tolist()}"
