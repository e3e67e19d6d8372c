"""What a change did: every document that came in is counted once, and nothing is left out in silence."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

_EXAMPLES = 5


@dataclass
class ChangeReport:
    """Counts of one `add`, `upsert`, `delete`, or of a whole `batch`.

    Attributes:
        added: new documents.
        updated: documents whose text, title or metadata changed.
        unchanged: documents that were there already with the same content.
        deleted: documents removed.
        skipped: documents that were not taken, by reason.
        examples: a few of the skipped, "id: reason".
        long_documents: documents longer than the encoder reads.
        tokens_cut: tokens that the policy "truncate" left unread.
        passages: passages of the added and updated documents.
        encoded: passages that were encoded; the others had a vector already.
        sparse_passages: passages with sparse vectors of the added and updated documents.
        sparse_encoded: of these, those that were encoded.
        sparse_long_documents: documents longer than the sparse encoder reads.
        sparse_tokens_cut: tokens that it left unread under the policy "truncate".
        sparse_weights_cut: weights larger than the index stores, which were cut to the largest that it does.
        states: stored states of the added and updated documents: one block for each document and network.
        states_encoded: of these, those that were encoded.
        states_long_documents: of these, those of documents as long as the network reads, or longer: what is behind
            that is not read.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    long_documents: int = 0
    tokens_cut: int = 0
    passages: int = 0
    encoded: int = 0
    sparse_passages: int = 0
    sparse_encoded: int = 0
    sparse_long_documents: int = 0
    sparse_tokens_cut: int = 0
    sparse_weights_cut: int = 0
    states: int = 0
    states_encoded: int = 0
    states_long_documents: int = 0

    def skip(self, document_id: str, reason: str) -> None:
        """Count a document that is not taken."""
        self.skipped[reason] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{document_id}: {reason}")

    @property
    def changed(self) -> int:
        """Documents added, updated or deleted."""
        return self.added + self.updated + self.deleted

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {**asdict(self), "skipped": dict(self.skipped)}

    def summary(self) -> str:
        """Return one line for people, naming what is not zero."""
        parts = [
            f"{count:,} {name}"
            for name, count in (
                ("added", self.added),
                ("updated", self.updated),
                ("unchanged", self.unchanged),
                ("deleted", self.deleted),
            )
            if count
        ]
        parts += [f"{count:,} skipped ({reason})" for reason, count in sorted(self.skipped.items())]
        for name, n_long, n_cut, n_passages in (
            ("encoder", self.long_documents, self.tokens_cut, self.passages),
            ("sparse encoder", self.sparse_long_documents, self.sparse_tokens_cut, self.sparse_passages),
        ):
            if n_long:
                cut = f", {n_cut:,} tokens not read" if n_cut else f" ({n_passages:,} passages in all)"
                parts.append(f"{n_long:,} longer than the {name} reads{cut}")
        if self.sparse_weights_cut:
            parts.append(f"{self.sparse_weights_cut:,} sparse weights cut to the largest that the index stores")
        if self.states_long_documents:
            parts.append(f"{self.states_long_documents:,} texts as long as a network of stored states reads, or longer")
        return ", ".join(parts) or "nothing changed"
