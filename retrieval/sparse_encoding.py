"""From the texts of passages to their sparse vectors: each distinct text once, none that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexes.sparse_vectors import SparseVectors
from retrieval.chunking import Passage
from retrieval.encoders.base import name_of
from retrieval.encoders.sparse import SparseEncoder, check_sparse
from retrieval.progress import ProgressBar
from retrieval.ragged_encoding import encode_ragged
from retrieval.staging import passage_hashes

if TYPE_CHECKING:
    from retrieval.sparse_staging import SparseStaging

SparseLookup = Callable[[np.ndarray], tuple[np.ndarray, SparseVectors]]
"""From (m, 16) hashes to (m,) bool, which are known, and the stored vectors of those, in order."""

_BATCHES_IN_STEP = 8
"""Batches that are encoded between two reports of progress."""

_BATCH_TOKENS = 4096
"""Tokens of a batch of an encoder that does not say how many it takes."""


class EncodedSparse(NamedTuple):
    """Passages with their sparse vectors.

    Attributes:
        vectors: as they are stored, in the order of the passages.
        hashes: (n, 16) uint8, likewise.
        n_encoded: passages that went through the encoder; the others were known or came twice.
    """

    vectors: SparseVectors
    hashes: np.ndarray
    n_encoded: int


def encode_sparse_passages(
    encoder: SparseEncoder,
    passages: Sequence[Passage],
    stored: Callable[[SparseVectors], SparseVectors],
    *,
    known: Sequence[SparseLookup] = (),
    staging: SparseStaging | None = None,
    progress: ProgressBar | None = None,
) -> EncodedSparse:
    """Return the stored vectors of passages, encoding only what has none yet.

    Equal texts get one vector, bit by bit. What is to be encoded goes through the encoder longest first.

    Args:
        encoder: makes the vectors.
        passages: what is to be encoded, with its tokens to plan and to report with.
        stored: brings what the encoder makes into the form in which it is stored; `known` gives that form.
        known: where to look for vectors before encoding, in this order; the staging area comes last.
        staging: keeps what has been encoded, so that an interrupted run can go on there.
        progress: counts tokens; its total grows by what is to be encoded.

    Raises:
        EncoderError: the encoder returned something else than one sparse vector for each text.
    """
    hashes = passage_hashes([passage.text for passage in passages])
    passages_once = _Passages(encoder, passages, stored)
    found = encode_ragged(passages_once, hashes, known=known, staging=staging, progress=progress)
    return EncodedSparse(found.vectors, hashes, found.n_encoded)


class _Passages:
    """Passages on their way through a sparse encoder, by their numbers."""

    def __init__(
        self,
        encoder: SparseEncoder,
        passages: Sequence[Passage],
        stored: Callable[[SparseVectors], SparseVectors],
    ) -> None:
        self._encoder = encoder
        self._passages = passages
        self._stored = stored
        self.step_tokens = _BATCHES_IN_STEP * int(encoder.execution().get("batch_tokens", _BATCH_TOKENS))

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        return np.array([self._passages[at].tokens for at in texts.tolist()], np.int64)

    def encode(self, texts: np.ndarray) -> SparseVectors:
        encoder = self._encoder
        encoded = encoder.encode_passages([self._passages[at].text for at in texts.tolist()])
        # An encoder may be anybody's class; what is wrong with its vectors would be found after the commit, or never.
        check_sparse(encoded, len(texts), encoder.n_dimensions, name_of(encoder), weighted=encoder.weighted)
        return self._stored(encoded)

    def gathered(self, blocks: Sequence[SparseVectors], numbers: np.ndarray) -> SparseVectors:
        return gathered(blocks, numbers)


def gathered(blocks: Sequence[SparseVectors], numbers: np.ndarray) -> SparseVectors:
    """Return chosen vectors of several blocks.

    Args:
        blocks: all with weights of one type, or all without.
        numbers: (n,) int64, numbers of vectors counted one block after the other, in any order, also repeatedly.
    """
    if not blocks:
        return SparseVectors(np.zeros(1, np.int64), np.empty(0, np.int32))
    counts = np.concatenate([np.diff(block.offsets) for block in blocks])
    dimensions = np.concatenate([block.dimensions for block in blocks])
    starts = np.cumsum(counts) - counts
    sizes = counts[numbers]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    places = np.repeat(starts[numbers] - offsets[:-1], sizes) + np.arange(offsets[-1])
    weights = [block.weights for block in blocks if block.weights is not None]
    chosen = np.concatenate(weights)[places] if weights else None
    return SparseVectors(offsets, dimensions[places].astype(np.int32, copy=False), chosen)
