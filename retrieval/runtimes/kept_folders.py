"""Folders of files that can be made again: exported and quantised networks, in the user's cache directory.

A folder is named by everything that its files depend on, is put in its place whole, and holds the SHA-256 digest of
each file; a file that does not have it any more is made again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from indexes.storage import replace_file
from retrieval.encoders.base import fingerprint
from retrieval.encoders.weights import cache_directory, file_digest
from retrieval.errors import EncoderError

_RECORD = "digests.json"
_MAKING = "making-"
_ABANDONED = 86_400
"""Seconds after which nobody is still making a folder."""


def kept_folder(made_of: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """Return a folder from the cache; make it first where it is missing or damaged.

    Args:
        made_of: everything that decides the files, as JSON values.
        make: writes the files into an empty folder.

    Raises:
        EncoderError: the cache directory cannot be written.
    """
    folder = cache_directory() / "networks" / fingerprint(made_of)
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_MAKING))
    except OSError as error:
        raise EncoderError(
            f"a network cannot be kept in {folder.parent}: {error.strerror or error}; set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from None
    try:
        make(temporary)
        digests = {path.name: file_digest(path) for path in sorted(temporary.iterdir())}
        content = {"made_of": dict(made_of), "digests": digests}
        replace_file(temporary / _RECORD, json.dumps(content, indent=2).encode(), needs=sorted(temporary.iterdir()))
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)  # damaged
        with contextlib.suppress(OSError):  # another process was faster; its folder holds the same
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not _is_whole(folder):
        raise EncoderError(
            f"{folder} cannot be written as it should be; remove it, or set XDG_CACHE_HOME to another place"
        )
    return folder


def _sweep(place: Path) -> None:
    """Remove what processes that were killed have left half made."""
    for left in place.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["digests"]
        return bool(digests) and all(file_digest(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
