"""What a pass over a source read, skipped and noted, so that nothing is lost in silence."""

from __future__ import annotations

from dataclasses import dataclass, field

from retrieval.errors import DocumentError

_EXAMPLES = 3  # kept for each reason: enough to find the fault, bounded for a file that is all faults


@dataclass
class ReadReport:
    """Counts of one pass over a source of documents.

    Args:
        strict: Raise a `DocumentError` at the first skip instead of counting it.

    Attributes:
        read: Documents handed out so far.
        skipped: Number of documents (or rows, or files) left out, by reason.
        noted: Number of things that lost no document but should be known, such as files of unknown kinds in a folder.
        examples: The first few cases of every reason and note: "file:line: reason: detail".
    """

    strict: bool = False
    read: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def n_skipped(self) -> int:
        """Number of documents, rows and files left out for any reason."""
        return sum(self.skipped.values())

    def skip(self, where: str, reason: str, detail: str = "") -> None:
        """Count one document that is left out.

        Args:
            where: File and line, "corpus.jsonl:17".
            reason: Kind of fault, in words that do not vary with the value.
            detail: The value at fault, and the fix.

        Raises:
            DocumentError: The report is strict.
        """
        if self.strict:
            raise DocumentError(_message(where, reason, detail))
        self._count(self.skipped, where, reason, detail)

    def note(self, where: str, reason: str, detail: str = "") -> None:
        """Count something worth knowing that is no fault of a document."""
        self._count(self.noted, where, reason, detail)

    def summary(self) -> str:
        """Say in one line how many documents were read, what was skipped and why, with the first place of each reason.

        Example:
            "read 1,398 documents; skipped 2: empty text 2 (first corpus.jsonl:471)"
        """
        parts = [f"read {self.read:,} document{'' if self.read == 1 else 's'}"]
        if self.skipped:
            parts.append(f"skipped {self.n_skipped:,}: {self._listed(self.skipped)}")
        if self.noted:
            parts.append(f"noted: {self._listed(self.noted)}")
        return "; ".join(parts)

    def _count(self, counts: dict[str, int], where: str, reason: str, detail: str) -> None:
        counts[reason] = counts.get(reason, 0) + 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _EXAMPLES:
            shown.append(_message(where, reason, detail))

    def _listed(self, counts: dict[str, int]) -> str:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        places = {reason: self.examples[reason][0].partition(f": {reason}")[0] for reason in counts}
        return ", ".join(f"{reason} {count:,} (first {places[reason]})" for reason, count in ordered)


def _message(where: str, reason: str, detail: str) -> str:
    """Write one printable line: names of files may hold line ends and bytes that are no text."""
    message = f"{where}: {reason}: {detail}" if detail else f"{where}: {reason}"
    return " ".join(message.encode("utf-8", "backslashreplace").decode().split())
