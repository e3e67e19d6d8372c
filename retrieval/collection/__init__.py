"""Collections of documents on disk; `Collection` is the one thing that other packages need from here.

It is imported when it is first used, because the modules in here and those that search them import each other's pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection

__all__ = ["Collection"]


def __getattr__(name: str) -> Any:
    if name != "Collection":
        raise AttributeError(f"module 'retrieval.collection' has no attribute {name!r}")
    from retrieval.collection.collection import Collection

    return Collection
