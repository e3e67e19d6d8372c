"""Errors of the index floor; each message names the fact, the offending value and the fix."""

from __future__ import annotations


class StorageError(Exception):
    """Something about an index's files cannot be used as asked; base of all errors raised in `indexes`."""


class CorruptIndexError(StorageError):
    """A file of an index is missing, has another size or checksum than recorded, or holds impossible values."""


class NotDurableError(StorageError):
    """A change is in effect, but the system could not confirm that it would survive a power failure."""


class LockedError(StorageError):
    """Another process is writing to the same directory."""


class VectorError(StorageError, ValueError):
    """Vectors, queries or the settings of a searcher that cannot be used as given."""
