"""What is written beside a file of scores: who gave them, and what for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexes.storage import replace_file, sha256_of
from retrieval.errors import TrainingDataError


def provenance_file(scores: Path) -> Path:
    """Return where the record beside a file of scores is."""
    return scores.with_name(scores.name + ".json")


def write_provenance(scores: Path, content: Mapping[str, Any]) -> None:
    """Write the record of a finished file of scores, with its digest.

    Args:
        scores: the file.
        content: JSON values.
    """
    record = {**content, "sha256": sha256_of(scores)}
    replace_file(provenance_file(scores), (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode(), [scores])


def read_provenance(scores: Path) -> dict[str, Any]:
    """Return the record of a file of scores, with its name; without a record, its digest alone.

    Raises:
        TrainingDataError: the record is damaged, or of another file.
    """
    found = {"file": scores.name, "sha256": sha256_of(scores)}
    place = provenance_file(scores)
    if not place.is_file():
        return found
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        digest = record["sha256"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise TrainingDataError(f"{place} is damaged ({error}); remove it, or write {scores} again") from None
    if digest != found["sha256"]:
        raise TrainingDataError(f"{scores} has changed since {place} was written; remove that, or write both again")
    return {**record, **found}
