"""Errors that users meet; each message is one line that names the fact, the offending value and the fix."""

from __future__ import annotations


class RetrievalError(Exception):
    """Base of all errors raised in `retrieval`."""


class CollectionError(RetrievalError):
    """A collection cannot be created, opened or changed as asked."""


class DocumentError(RetrievalError):
    """A document or a source of documents is unusable."""


class DuplicateDocumentError(DocumentError):
    """A document's id is in the collection already and the policy says that this is an error."""


class EncoderError(RetrievalError):
    """An encoder cannot be loaded or used as asked."""


class EncoderMismatchError(EncoderError):
    """A collection was built with another encoder than the one offered; the message shows the difference."""


class RerankerError(RetrievalError):
    """A reranker cannot be loaded or used as asked."""


class AnalyserMismatchError(CollectionError):
    """A collection was built with another analyser than the one offered; the message shows the difference."""


class FilterError(RetrievalError):
    """A metadata filter cannot be parsed or does not make sense."""


class QueryError(RetrievalError):
    """A query or its settings do not make sense."""


class TrainingError(RetrievalError):
    """An encoder cannot be trained as asked, or its training went wrong."""


class RecipeError(TrainingError):
    """A recipe is unknown, or has a setting that does not exist or does not make sense."""


class TrainingDataError(TrainingError):
    """Examples to train on cannot be read or are not of the kind that a recipe needs."""


class MissingExtraError(RetrievalError):
    """An optional dependency is needed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install 'retrieval-engine[{extra}]'")
