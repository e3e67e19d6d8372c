"""The collections of the BM25 benchmarks: synthetic texts, real ones with their own queries, passages of documents."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from eval.benchmarks.documentation_passages import documentation_passages
from eval.benchmarks.peers.lexical import Texts
from eval.benchmarks.short_texts import short_texts
from eval.errors import EvaluationError

REAL = ("wordnet-senses", "debian-packages")
COLLECTIONS = ("synthetic", *REAL, "documentation")


@dataclass(frozen=True)
class TextCollection:
    """Texts to search.

    Attributes:
        name: one of `COLLECTIONS`.
        texts: ids and texts.
        own_queries: queries that came with it; empty where there are none.
    """

    name: str
    texts: Texts
    own_queries: list[str]


def text_collection(name: str, n: int | None, data: Path, documents: Path | None = None) -> TextCollection:
    """Read or make a collection.

    Args:
        name: one of `COLLECTIONS`.
        n: how many texts at most, the first ones; None takes 963,000 synthetic ones, all of the others.
        data: folder of test collections.
        documents: folder of documents for "documentation".

    Raises:
        EvaluationError: the name is unknown or the folder has no texts.
    """
    if name == "synthetic":
        texts = short_texts(n or 963_000, "synthetic", data)
        return TextCollection(name, Texts([str(number) for number in range(len(texts))], texts), [])
    if name == "documentation":
        if documents is None:
            raise EvaluationError("the collection 'documentation' needs a folder of documents")
        texts = list(islice(documentation_passages(documents), n))
        if not texts:
            raise EvaluationError(f"found no text to cut into passages below {documents}")
        return TextCollection(name, Texts([str(number) for number in range(len(texts))], texts), [])
    if name in REAL:
        return _real(name, n, data / name)
    raise EvaluationError(f"unknown collection {name!r}: {', '.join(COLLECTIONS)}")


def _real(name: str, n: int | None, folder: Path) -> TextCollection:
    from eval.testsets import read_testset
    from retrieval.documents import read_documents

    documents = list(islice(read_documents(folder, format="beir"), n))
    texts = Texts([document.id for document in documents], [document.full_text for document in documents])
    return TextCollection(name, texts, list(read_testset(folder).queries.values()))
