"""What a collection is and holds, in numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from retrieval.collection.snapshot import Snapshot, describe_segments
from retrieval.collection.stored_settings import CollectionSettings


def statistics(snapshot: Snapshot, settings: CollectionSettings) -> dict[str, Any]:
    """Return counts, sizes, settings, encoder and searcher, ready for JSON."""
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
        "searcher": _searcher(snapshot),
        "settings": asdict(settings),
        "segments": segments,
    }


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
