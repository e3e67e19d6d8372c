"""Making the directory of a new, empty collection."""

from __future__ import annotations

from pathlib import Path

import msgspec

from indexes.locks import WriterLock
from indexes.storage import make_directory
from retrieval.collection.encoder_slots import EncoderSlots
from retrieval.collection.manifest import PARTS, Manifest
from retrieval.collection.manifest_file import MANIFEST_NAME, format_of, has_parts, write_manifest
from retrieval.collection.stored_settings import CollectionSettings
from retrieval.collection.writing import LOCK_NAME
from retrieval.errors import CollectionError

_REMAINS = {LOCK_NAME, PARTS, f"{MANIFEST_NAME}.tmp"}
"""What an interrupted `create` leaves behind; no obstacle."""


def check_free(directory: Path) -> None:
    """Refuse a place where something is already.

    Raises:
        CollectionError: it is a file, a collection, or a directory that is not empty; or it cannot be read.
    """
    try:
        _check_free(directory)
    except OSError as error:
        raise CollectionError(f"cannot create a collection at {directory}: {error.strerror or error}") from error


def write_empty(directory: Path, settings: CollectionSettings, slots: EncoderSlots) -> None:
    """Write a collection without documents.

    Raises:
        CollectionError: another process was faster, or the directory cannot be written.
    """
    manifest = Manifest(
        format=1,
        generation=0,
        settings=settings.to_json(),
        encoder=slots.dense.recorded,
        sparse=slots.sparse.recorded,
        tokens={name: slot.recorded for name, slot in slots.tokens.items() if slot.recorded},
    )
    manifest = msgspec.structs.replace(manifest, format=format_of(manifest))
    try:
        make_directory(directory / PARTS)
        with WriterLock(directory / LOCK_NAME):
            check_free(directory)
            write_manifest(directory, manifest)
    except OSError as error:
        raise CollectionError(f"cannot create a collection at {directory}: {error.strerror or error}") from error


def _check_free(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise CollectionError(f"{directory} is a file; a collection is a directory")
    if (directory / MANIFEST_NAME).exists():
        raise CollectionError(f"there is a collection at {directory} already; open it, or remove the directory")
    if has_parts(directory):  # which the next writer would remove
        raise CollectionError(
            f"there is a collection at {directory}, without its {MANIFEST_NAME}: restore that from a backup, or remove "
            "the directory"
        )
    if directory.is_dir() and any(entry.name not in _REMAINS for entry in directory.iterdir()):
        raise CollectionError(f"{directory} is not empty and not a collection; choose another directory")
