"""A writer's work that anyone can repeat from its seed, and so know every state that was ever committed.

Each step that changes documents also writes its number into one document, the marker, in the same commit: who opens the
collection reads there which state it is looking at, and `History.advance` computes what must be in it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from retrieval import Document
from tests.retrieval.collection_oracle import WORDS

MARKER = "marker"
N_IDS = 240
SEARCHERS = ["exact", "hnsw", "ivf_pq", "int8", "binary"]

StepKind = Literal[
    "upsert", "add", "delete", "delete_where", "batch", "compact", "optimize", "reencode", "fail", "reopen"
]
_WEIGHTS: dict[StepKind, float] = {
    "upsert": 5,
    "add": 3,
    "delete": 3,
    "delete_where": 0.5,
    "batch": 4,
    "compact": 2,
    "optimize": 2,
    "reencode": 0.3,
    "fail": 0.7,
    "reopen": 0.5,
}


@dataclass
class Step:
    """One thing that the writer does.

    Attributes:
        kind: which; "fail" deletes everything in a batch that an exception discards.
        documents: to add or upsert; the marker comes beside them.
        ids: to delete.
        after: delete the documents whose year is greater.
        searcher: to optimize for.
        compact: whether the commit also compacts.
    """

    kind: StepKind
    documents: list[Document] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    after: int | None = None
    searcher: str = "exact"
    compact: bool = False


class History:
    """The writer's steps and the documents after them.

    Attributes:
        number: of the last step.
        documents: what is there, in the order in which the texts came.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.number = 0
        self.documents: dict[str, Document] = {}

    def marker(self) -> Document:
        """Return the document that names the step; only its metadata changes, so it keeps its place."""
        return Document(MARKER, "owl night", metadata={"step": self.number})

    def next(self) -> Step:
        """Draw the next step and note what it leaves."""
        self.number += 1
        step = self._draw()
        # The order in which the writer does them.
        for document in step.documents:
            self._put(document)
        for document_id in step.ids:
            self.documents.pop(document_id, None)
        if step.after is not None:
            for name in [name for name, old in self.documents.items() if old.metadata.get("year", 0) > step.after]:
                del self.documents[name]
        if step.kind in CHANGING:
            self._put(self.marker())
        return step

    def advance(self, number: int) -> dict[str, Document]:
        """Repeat steps up to a number, and return the documents that are there then."""
        if number < self.number:
            raise AssertionError(f"step {number} was seen after step {self.number}")
        while self.number < number:
            self.next()
        return dict(self.documents)

    def _put(self, document: Document) -> None:
        old = self.documents.get(document.id)
        if old is None or old.text != document.text:
            self.documents.pop(document.id, None)
        self.documents[document.id] = document

    def _draw(self) -> Step:
        draw = self._random
        if self.number == 1:
            return Step("batch", [self._document(f"d{number}") for number in range(0, N_IDS, 2)])
        kind = draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        ids = [f"d{number}" for number in draw.sample(range(N_IDS), draw.randint(1, 8))]
        step = Step(kind, searcher=draw.choice(SEARCHERS), compact=draw.random() < 0.1)
        if kind == "upsert":
            step.documents = [self._document(name) for name in ids]
        elif kind == "add":
            step.documents = [self._document(name) for name in ids if name not in self.documents]
        elif kind == "delete":
            step.ids = ids
        elif kind == "delete_where":
            step.after = draw.randint(2021, 2022)
        elif kind == "batch":
            step.documents = [self._document(draw.choice(ids)) for _ in range(2 * len(ids))]
            step.ids = ids[::3]
            step.after = 2022 if draw.random() < 0.1 else None
        return step

    def _document(self, document_id: str) -> Document:
        draw = self._random
        old = self.documents.get(document_id)
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))
        if old is not None and draw.random() < 0.3:
            text = old.text  # only its metadata changes
        year = draw.choices([None, 2019, 2020, 2021, 2022, 2023], [4, 4, 4, 4, 1, 0.2])[0]
        return Document(document_id, text, metadata={} if year is None else {"year": year})


CHANGING = {"upsert", "add", "delete", "delete_where", "batch"}
"""Steps after which the marker has their number; the others leave the documents as they are."""
