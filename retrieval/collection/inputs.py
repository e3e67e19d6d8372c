"""What users may pass to a collection, brought into one form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from indexes.aggregation import Aggregation
from indexes.errors import VectorError
from retrieval.chunking import ChunkSettings
from retrieval.collection.manifest import EncoderEntry
from retrieval.documents import Document
from retrieval.errors import CollectionError, DocumentError, QueryError

if TYPE_CHECKING:
    from indexes.searchers import SearcherSettings

DocumentsInput = Document | Mapping[str, Any] | Iterable[Document | Mapping[str, Any]]


def as_documents(documents: DocumentsInput) -> Iterator[Document]:
    """Yield documents from a document, a mapping, or an iterable of either."""
    if isinstance(documents, (Document, Mapping)):
        documents = [documents]
    if isinstance(documents, (str, bytes)) or not isinstance(documents, Iterable):
        raise DocumentError(f"expected documents, not {documents!r:.80}; read files with read_documents(path)")
    for document in documents:
        if isinstance(document, Document):
            yield document
        elif isinstance(document, Mapping):
            yield Document.from_mapping(document)
        else:
            raise DocumentError(f"expected a Document or a mapping with id and text, not {document!r:.80}")


def as_ids(ids: str | Iterable[str]) -> Iterable[str]:
    """Return ids as an iterable; a single string is one id, not its characters."""
    if isinstance(ids, str):
        return [ids]
    if not isinstance(ids, Iterable):
        raise DocumentError(f"document ids are strings, not {ids!r}")
    return ids


def as_vectors(vectors: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield (d,) float32 vectors from an (n, d) array or an iterable of vectors, all of one dimension."""
    if not isinstance(vectors, Iterable):
        raise CollectionError(f"expected vectors, one a document, not {vectors!r:.80}")
    dimension: int | None = None
    for number, vector in enumerate(vectors):
        array = _numbers(vector)
        if array is None:
            raise CollectionError(f"vector {number} is not made of real numbers: {vector!r:.80}")
        if array.ndim != 1 or not len(array):
            raise CollectionError(f"vector {number} has shape {array.shape}, expected (dimension,)")
        if dimension is not None and len(array) != dimension:
            raise CollectionError(f"vector {number} has {len(array)} dimensions, the first one {dimension}")
        if problem := _problem(array):
            raise CollectionError(f"vector {number} {problem}")
        dimension = len(array)
        yield array


def as_query_vectors(
    vectors: np.ndarray | Sequence[np.ndarray], n_queries: int, encoder: EncoderEntry | None
) -> np.ndarray:
    """Return query vectors as (n_queries, d) float32 after checking their shape and values."""
    if encoder is None:
        raise QueryError("this collection has no vectors; search it with mode='bm25' and no vector")
    array = _numbers(vectors)
    if array is None:
        raise QueryError(f"query vectors are not made of real numbers: {vectors!r:.80}")
    if array.shape != (n_queries, encoder.dimension):
        raise QueryError(f"query vectors have shape {array.shape}, expected ({n_queries}, {encoder.dimension})")
    for vector in array:
        if problem := _problem(vector):
            raise QueryError(f"a query vector {problem}")
    return array


def as_queries(queries: Sequence[str]) -> list[str]:
    """Return queries as a list; a single string is not one, for its characters would be searched one by one."""
    if isinstance(queries, (str, bytes)) or not isinstance(queries, Iterable):
        raise QueryError(f"expected a list of queries, not {queries!r:.80}")
    return list(queries)


def _numbers(values: object) -> np.ndarray | None:
    """Return values as a float32 array; None where they are not an array of real numbers."""
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if array.dtype.kind in "fiub" else None


def _problem(vector: np.ndarray) -> str | None:
    """Say what keeps a (d,) float32 vector from being compared with others."""
    from indexes.vectors import LARGEST_NORM, norms

    if not np.isfinite(vector).all():
        return "holds NaN or infinity"
    if norms(vector[None, :])[0] > LARGEST_NORM:
        return f"is longer than {LARGEST_NORM:g}; scale the vectors down"
    return None


def as_searcher_settings(searcher: str | SearcherSettings) -> SearcherSettings | None:
    """Return the settings of an approximate searcher from its kind's name; None for "exact"."""
    if searcher == "exact":
        return None
    from indexes.searchers import SETTINGS

    if isinstance(searcher, str):
        if searcher not in SETTINGS:
            raise CollectionError(f"unknown searcher {searcher!r}: 'exact', {', '.join(map(repr, SETTINGS))}")
        return SETTINGS[searcher]()
    return searcher


def as_chunk_settings(long: str | ChunkSettings) -> ChunkSettings:
    """Return the settings for long texts from a policy's name."""
    return long if isinstance(long, ChunkSettings) else ChunkSettings(policy=long)  # type: ignore[arg-type]


def as_aggregation(aggregate: str | Aggregation) -> Aggregation:
    """Return how passages become a document's score from the method's name.

    Raises:
        QueryError: there is none of that name.
    """
    try:
        return aggregate if isinstance(aggregate, Aggregation) else Aggregation(aggregate)  # type: ignore[arg-type]
    except VectorError as error:
        raise QueryError(str(error)) from None
