"""Texts by id, kept in a temporary file: a collection's passages may be larger than memory, their ids are not."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import Self


class TextStore:
    """Looks texts up by their ids; only ids and positions are in memory.

    Args:
        texts: ids and texts; of an id that comes twice the first text counts.
    """

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`, and by the system at the latest
        self._rows: dict[str, int] = {}
        self._ends = array("q", [0])  # byte position behind each text
        for text_id, text in texts:
            if text_id not in self._rows:
                self._rows[text_id] = len(self._rows)
                self._ends.append(self._ends[-1] + self._file.write(text.encode("utf-8", "replace")))
        self._file.flush()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, text_id: str) -> bool:
        return text_id in self._rows

    def __iter__(self) -> Iterator[str]:
        """Yield the ids in the order in which they came."""
        return iter(self._rows)

    def __getitem__(self, text_id: str) -> str:
        row = self._rows[text_id]
        start = self._ends[row]
        self._file.seek(start)
        return self._file.read(self._ends[row + 1] - start).decode()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
