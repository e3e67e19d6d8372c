"""Comparing a collection that is there with the settings that `open_or_create` was given for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from retrieval.collection.inputs import as_chunk_settings
from retrieval.collection.manifest import Manifest
from retrieval.collection.stored_settings import CollectionSettings
from retrieval.errors import CollectionError

OPENING = {"encoder", "sparse", "tokens", "analyser", "progress"}
"""Arguments of `Collection.open`."""

_CREATION = {"fields", "long", "bm25", "fusion", "largest_weight"}


def check_names(settings: Iterable[str]) -> None:
    """Refuse what is no setting of a collection.

    Raises:
        TypeError: naming it, as Python does for an argument that a function has not.
    """
    if unknown := set(settings) - OPENING - _CREATION:
        raise TypeError(f"open_or_create() got an unexpected keyword argument {min(unknown)!r}")


def check_wanted(wanted: Mapping[str, Any], settings: CollectionSettings, manifest: Manifest) -> None:
    """Refuse settings that the collection does not have; those that opening it compares are left out here.

    Args:
        wanted: by name; None is not compared.
        settings: the collection's.
        manifest: the collection's.

    Raises:
        CollectionError: showing the difference.
    """
    given = {name: wanted[name] for name in sorted(_CREATION & wanted.keys()) if wanted[name] is not None}
    largest = given.pop("largest_weight", None)
    if "long" in given:
        given["long"] = as_chunk_settings(given["long"])
    settings.check(given)
    stored = None if manifest.sparse is None else manifest.sparse.largest_weight
    if largest is not None and stored != largest:
        raise CollectionError(f"the collection was created with largest_weight {stored!r}, not {largest!r}")
