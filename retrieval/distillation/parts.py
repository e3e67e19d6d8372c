"""The folder of an unfinished scoring: windows of tuples whose scores are there whole or not at all.

```
scores.tsv.parts/
  writer.lock                      held by the process that scores
  settings.json                    teacher, data and form, compared when the work goes on
  00000000-<SHA-256>.part          the lines of the first window, and so on
```

A part's name holds the digest of its content, so that a damaged one is found and scored again. The finished file is
made of all parts in their order; then the folder is removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from indexes import file_operations
from indexes.storage import replace_file
from retrieval.errors import TrainingError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.part")


def parts_folder(out: Path) -> Path:
    """Return where the parts of a file are."""
    return out.with_name(out.name + ".parts")


class Parts:
    """The parts of one file; the folder exists and is locked.

    Args:
        folder: see `parts_folder`.
        settings: what decides the scores, as JSON has it.

    Raises:
        TrainingError: the folder holds parts of another teacher, data or form, and the message says what differs; or
            something else than parts.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        self._begin(settings)
        names = (match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))
        self._names = {int(name[1]): name[0] for name in names}

    def read(self, number: int) -> bytes | None:
        """Return the content of a part; None where it is not there whole. A damaged one is removed."""
        if number not in self._names:
            return None
        content = self._content(number)
        if content is None:
            logger.warning("%s is damaged; its tuples are scored again", self._folder / self._names[number])
            file_operations.remove(self._folder / self._names.pop(number))
        return content

    def write(self, number: int, content: bytes) -> None:
        """Write a part; a process that is killed has written all of it or nothing."""
        name = f"{number:08}-{hashlib.sha256(content).hexdigest()}.part"
        replace_file(self._folder / name, content)
        self._names[number] = name

    def contents(self, n_parts: int) -> Iterator[bytes]:
        """Yield the contents of the first parts in their order.

        Raises:
            TrainingError: one is missing or damaged.
        """
        for number in range(n_parts):
            content = self._content(number) if number in self._names else None
            if content is None:
                raise TrainingError(f"part {number:,} in {self._folder} is missing or damaged; run the same again")
            yield content

    def digest(self) -> str | None:
        """Return the SHA-256 of a file made of all parts; None where one is missing or damaged, or there is none."""
        digest = hashlib.sha256()
        for number in range(len(self._names)):
            content = self._content(number) if number in self._names else None
            if content is None:
                return None
            digest.update(content)
        return digest.hexdigest() if self._names else None

    def remove(self) -> None:
        """Remove the folder: the file is finished."""
        file_operations.remove_tree(self._folder)

    def _content(self, number: int) -> bytes | None:
        name = self._names[number]
        try:
            content = (self._folder / name).read_bytes()
        except OSError:
            return None
        return content if f"-{hashlib.sha256(content).hexdigest()}." in name else None

    def _begin(self, settings: Mapping[str, Any]) -> None:
        place = self._folder / "settings.json"
        if not place.is_file():
            others = {path.name for path in self._folder.iterdir()} - {"writer.lock", "settings.json.tmp"}
            if others:
                raise TrainingError(
                    f"{self._folder} is needed for the parts of the scores, but holds {min(others)!r}, which is none; "
                    "move it away"
                )
            replace_file(place, json.dumps(settings, indent=1, ensure_ascii=False).encode())
            return
        try:
            stored = json.loads(place.read_text(encoding="utf-8"))
        except ValueError:
            raise TrainingError(f"{place} is damaged; remove {self._folder} to score anew") from None
        changed = [
            f"{name} was {old!r:.100}, is {new!r:.100}"
            for name, old, new in _differences(stored, settings)
            if old != new
        ]
        if changed:
            raise TrainingError(
                f"{self._folder} holds scores of another teacher or of other data: {'; '.join(changed)}. Go on with "
                "the same, choose another file, or remove the folder to score anew"
            )


def _differences(stored: Any, given: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield name, stored and given value of each setting, those inside of others by names with dots."""
    if not (isinstance(stored, Mapping) and isinstance(given, Mapping)):
        yield name or "settings", stored, given
        return
    for key in sorted({*stored, *given}):
        yield from _differences(stored.get(key), given.get(key), f"{name}.{key}" if name else key)
