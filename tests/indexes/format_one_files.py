"""Writing the files of format 1, which no version writes any more, to compare what is read from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexes.inverted import InvertedIndex
from indexes.lists import Lists, offsets_of, transposed

NEW = ["document-lists", "frequency-classes", "postings-values"]
NEW += [f"postings-chunk-{what}" for what in ("bounds", "offsets", "sizes", "windows")]
"""Files of format 2 that format 1 did not have."""


def to_format_one(directory: Path) -> None:
    """Write the lists of an inverted index as format 1 did, in the place of its own."""
    index = InvertedIndex.open(directory)
    rows = [index.document(row) for row in range(index.n_documents)]
    offsets = offsets_of(np.array([len(terms) for terms, _ in rows], np.int64))
    members = np.concatenate([np.empty(0, np.int32), *(terms for terms, _ in rows)])
    frequencies = np.concatenate([np.empty(0, np.uint32), *(frequencies for _, frequencies in rows)])
    documents = Lists(offsets, members, frequencies)
    postings = transposed(documents, offsets_of(np.bincount(members, minlength=index.n_terms)))
    for name in NEW:
        (directory / f"{name}.npy").unlink()
    for lists, names in ((documents, "document-{}"), (postings, "postings-{}")):
        np.save(directory / f"{names.format('offsets')}.npy", lists.offsets)
        np.save(directory / f"{names.format('frequencies')}.npy", lists.frequencies)
    np.save(directory / "document-terms.npy", documents.members)
    np.save(directory / "postings-rows.npy", postings.members)
