"""Test sets of the optional package ir_datasets: "ir_datasets:beir/scifact/test" where a folder is expected.

The package downloads what it has not got; here nothing else is done than asking it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from eval.errors import TestSetError
from retrieval.documents.ir_datasets_source import PREFIX, find_dataset
from retrieval.errors import DocumentError

if TYPE_CHECKING:
    from eval.testsets import TestSet

_QUERY_FIELDS = ("text", "query", "title", "question")


def read_ir_datasets_testset(name: str, split: str | None = None, language: str | None = None) -> TestSet:
    """Read queries and judgements of a data set; its documents stream later, from `TestSet.corpus`.

    Args:
        name: as ir-datasets.com lists it, split included: "msmarco-passage/trec-dl-2019/judged".
        split: None: the name says it.
        language: None: likewise.

    Raises:
        TestSetError: there is no such data set, it has no queries or no judgements, they cannot be had, or contradict
            each other.
        MissingExtraError: ir_datasets is not installed.
    """
    from eval.testsets import TestSet

    if split is not None or language is not None:
        raise TestSetError(
            f"the data set {name!r} of ir_datasets says its split and language by its name; leave "
            f"{split or language!r} out, or name another data set"
        )
    dataset = _load(name)
    qrels = _qrels(name, dataset)
    texts = {query.query_id: _text(name, query) for query in _drawn(name, "queries", dataset.queries_iter)}
    return TestSet(
        name=name,
        split=name.rpartition("/")[2],
        queries={query_id: texts[query_id] for query_id in qrels if query_id in texts},
        qrels=qrels,
        corpus=_corpus(name) if dataset.has_docs() else None,
        queries_without_text=tuple(query_id for query_id in qrels if query_id not in texts),
    )


def _load(name: str) -> Any:
    try:
        dataset = find_dataset(name)
    except DocumentError as fault:
        raise TestSetError(str(fault)) from None
    for what, has in (("queries", dataset.has_queries()), ("judgements", dataset.has_qrels())):
        if not has:
            raise TestSetError(f"the data set {name!r} of ir_datasets has no {what}; name one of its splits")
    return dataset


def _qrels(name: str, dataset: Any) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for judgement in _drawn(name, "judgements", dataset.qrels_iter):
        grade = int(judgement.relevance)
        earlier = qrels.setdefault(judgement.query_id, {}).setdefault(judgement.doc_id, grade)
        if earlier != grade:
            raise TestSetError(
                f"the data set {name!r} of ir_datasets grades document {judgement.doc_id!r} for query "
                f"{judgement.query_id!r} twice, {earlier} and {grade}"
            )
    if not qrels:
        raise TestSetError(f"the data set {name!r} of ir_datasets holds no judgements")
    return qrels


def _text(name: str, query: Any) -> str:
    """Return a query's text; of topics with several fields the title, as is usual at TREC."""
    for field in _QUERY_FIELDS:
        value = getattr(query, field, None)
        if isinstance(value, str):
            return value
    raise TestSetError(
        f"the queries of {name!r} of ir_datasets have the fields {', '.join(query._fields)}, but none of "
        f"{', '.join(_QUERY_FIELDS)}"
    )


def _corpus(name: str) -> Any:
    from retrieval.documents import read_documents

    return read_documents(PREFIX + name)


def _drawn(name: str, what: str, iterate: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what an iterator of ir_datasets gives, with any of the faults of the libraries beneath in one line."""
    try:
        yield from iterate()
    except TestSetError:
        raise
    except Exception as error:
        fault = " ".join(str(error).split()) or type(error).__name__
        raise TestSetError(f"ir_datasets cannot provide the {what} of {name!r}: {fault}") from None
