"""What a collection is and holds, in numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from retrieval.collection.snapshot import Snapshot, describe_segments
from retrieval.collection.stored_settings import CollectionSettings


def statistics(snapshot: Snapshot, settings: CollectionSettings) -> dict[str, Any]:
    """Return counts, sizes, settings, encoders and searcher, ready for JSON."""
    manifest = snapshot.manifest
    segments = describe_segments(snapshot.segments)
    return {
        "path": str(snapshot.directory),
        "format": manifest.format,
        "generation": manifest.generation,
        "documents": snapshot.n_documents,
        "deleted": sum(segment.entry.n_deleted for segment in snapshot.segments),
        "passages": sum(segment.entry.dense.n_passages for segment in snapshot.segments if segment.entry.dense),
        "bytes": sum(part.size for part in manifest.parts),
        "encoder": None
        if manifest.encoder is None
        else {
            "source": manifest.encoder.source,
            "dimension": manifest.encoder.dimension,
            "similarity": manifest.encoder.similarity,
            "identity": manifest.encoder.identity,
        },
        "sparse": _sparse(snapshot),
        "tokens": _tokens(snapshot),
        "searcher": _searcher(snapshot),
        "settings": asdict(settings),
        "segments": segments,
    }


def _sparse(snapshot: Snapshot) -> dict[str, Any] | None:
    entry = snapshot.manifest.sparse
    if entry is None:
        return None
    stores = [segment.sparse for segment in snapshot.segments if segment.sparse is not None]
    n_bytes = sum(segment.entry.sparse.part.size for segment in snapshot.segments if segment.entry.sparse is not None)
    n_documents = sum(segment.entry.n_documents for segment in snapshot.segments)
    n_postings = sum(store.index.n_postings for store in stores)
    return {
        "source": entry.source,
        "n_dimensions": entry.n_dimensions,
        "payload": entry.payload,
        "largest_weight": entry.largest_weight,
        "identity": entry.identity,
        "passages": sum(store.n_passages for store in stores),
        "postings": n_postings,
        "postings_per_document": n_postings / n_documents if n_documents else 0.0,
        "bytes": n_bytes,
        "bytes_per_document": n_bytes / n_documents if n_documents else 0.0,
    }


def _tokens(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    found = {}
    n_documents = sum(segment.entry.n_documents for segment in snapshot.segments)
    for name, entry in sorted(snapshot.manifest.tokens.items()):
        parts = [segment.entry.tokens[name] for segment in snapshot.segments]
        n_bytes, n_tokens = sum(part.part.size for part in parts), sum(part.n_tokens for part in parts)
        found[name] = {
            "source": entry.source,
            "width": entry.width,
            "storage": entry.storage,
            "identity": entry.identity,
            "documents": n_documents,
            "tokens": n_tokens,
            "tokens_per_document": n_tokens / n_documents if n_documents else 0.0,
            "bytes": n_bytes,
            "bytes_per_document": n_bytes / n_documents if n_documents else 0.0,
        }
    return found


def _searcher(snapshot: Snapshot) -> dict[str, Any]:
    entry = snapshot.manifest.searcher
    vectors = {
        segment.name: segment.entry.dense.n_passages for segment in snapshot.segments if segment.entry.dense is not None
    }
    covered = sum(vectors.get(name, 0) for name in entry.covers) if entry else 0
    return {
        "settings": entry.settings if entry else {"type": "exact"},
        "bytes": entry.part.size if entry else 0,
        "covered": covered,
        "searched_exactly": sum(vectors.values()) - covered,
    }
