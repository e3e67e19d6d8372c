"""Reading inverted indexes of format 1, which stored lists unpacked: 16 bytes for each pair of a document and a term.

They are packed in memory when the index is opened, which takes about a second for ten million pairs, as many bytes as
the files of a new index, and happens once for each time it is opened; compacting the collection rewrites them.
"""

from __future__ import annotations

import logging

import numpy as np

from indexes.arrays import ArrayFolder
from indexes.documents import PackedDocuments
from indexes.frequency_classes import PairCounts
from indexes.lists import Lists
from indexes.postings import Postings

logger = logging.getLogger(__name__)

_DOCUMENTS = ("document-offsets", "document-terms", "document-frequencies")
_POSTINGS = ("postings-offsets", "postings-rows", "postings-frequencies")


def is_format_one(folder: ArrayFolder) -> bool:
    """Tell whether the lists in a folder are of format 1."""
    return (folder.directory / f"{_POSTINGS[2]}.npy").is_file()


def open_format_one(
    folder: ArrayFolder, lengths: np.ndarray, n_terms: int
) -> tuple[PackedDocuments, Postings, np.ndarray]:
    """Return documents' lists, postings and the boxes of the postings' classes, all in memory.

    Args:
        folder: where the files lie.
        lengths: (n_documents,) int32.
        n_terms: number of terms.

    Raises:
        CorruptIndexError: a file is missing, is damaged, or does not fit the others.
    """
    logger.info("%s is of an older format and packed in memory at each opening: compact the index", folder.directory)
    documents = _load(folder, _DOCUMENTS, len(lengths), n_terms)
    postings = _load(folder, _POSTINGS, n_terms, len(lengths))
    if len(documents.members) != len(postings.members):
        raise documents.damaged(f"has {len(documents.members):,} entries for {len(postings.members):,} postings")
    if postings.frequencies.max(initial=0) > documents.frequencies.max(initial=0):
        raise postings.damaged(f"points to a frequency of {postings.frequencies.max():,}, which no document has")
    pairs = PairCounts(lengths)
    pairs.add(0, documents)
    classes = pairs.classes()
    values = classes.of(postings.members, postings.frequencies)
    chunked = Postings.chunked(postings.offsets, postings.members, values, postings.source)
    return PackedDocuments.packed(documents), chunked, classes.boxes


def _load(folder: ArrayFolder, files: tuple[str, str, str], n_lists: int, n_members: int) -> Lists:
    offsets = folder.load(files[0], np.int64, (n_lists + 1,))
    members = folder.load(files[1], np.int32, (None,))
    frequencies = folder.load(files[2], np.uint32, (len(members),))
    lists = Lists(offsets, members, frequencies, f"{folder.directory / files[0]}.npy")
    if offsets[0] != 0 or offsets[-1] != len(members) or (offsets[1:] < offsets[:-1]).any():
        raise lists.damaged("does not ascend from 0 to the number of entries")
    begins_list = np.zeros(len(members) + 1, bool)
    begins_list[offsets] = True
    ascends = np.diff(members, prepend=-1) > 0
    if len(members) and not (
        members.min() >= 0 and members.max() < n_members and (ascends | begins_list[:-1]).all() and frequencies.all()
    ):
        raise lists.damaged("points to lists of impossible numbers")
    return lists
