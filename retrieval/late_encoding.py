"""From documents to the vectors of their passages by late chunking: none that is known, durable as it goes.

A passage's vector depends on its whole document. What it is known by is therefore a hash of the document, of where that
was split, and of the passage's number; the same words in another document, or in another version of this one, are
another passage. A document of one passage has the vector of its text, and its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from retrieval.batching import plan_windows
from retrieval.chunking import Passage
from retrieval.encoders.base import Encoder, check_vectors, name_of
from retrieval.encoders.late_chunking import TextInContext, late_chunking_encoder
from retrieval.encoding import EncodedPassages, Lookup, distinct_hashes, encode_passages, known_vectors, step_tokens
from retrieval.errors import EncoderError
from retrieval.progress import ProgressBar, no_progress
from retrieval.staging import HASH_BYTES, Staging

_PERSON = b"late chunking 2"
"""Keeps these hashes apart from those of texts; to be changed whenever windows are placed or pooled in another way."""


class SplitDocument(NamedTuple):
    """A document with its passages.

    Attributes:
        full_text: title, a space and text; or one of them alone.
        title_length: characters of the title.
        passages: in the order of the text, never empty.
    """

    full_text: str
    title_length: int
    passages: Sequence[Passage]

    @property
    def spans(self) -> np.ndarray:
        """(m, 2) int64, first character and end of each passage."""
        return np.array([passage[:2] for passage in self.passages], np.int64)


def encode_late(
    encoder: Encoder,
    documents: Sequence[SplitDocument],
    *,
    known: Sequence[Lookup] = (),
    staging: Staging | None = None,
    progress: ProgressBar | None = None,
) -> EncodedPassages:
    """Return the vectors of the passages of documents, one document after the other.

    Args:
        encoder: makes the vectors.
        documents: as `retrieval.chunking` splits them.
        known: see `encode_passages`.
        staging: likewise.
        progress: likewise.

    Raises:
        EncoderError: the encoder cannot do late chunking, or returned something else than finite vectors.
    """
    late_chunking_encoder(encoder)
    whole = np.array([len(document.passages) == 1 for document in documents], bool)
    sizes = np.array([len(document.passages) for document in documents], np.int64)
    is_whole = np.repeat(whole, sizes)  # (n_passages,)
    alone = [document.passages[0] for document, one in zip(documents, whole.tolist(), strict=True) if one]
    parted = [document for document, one in zip(documents, whole.tolist(), strict=True) if not one]
    of_texts = encode_passages(
        encoder,
        [passage.text for passage in alone],
        tokens=[passage.tokens for passage in alone],
        known=known,
        staging=staging,
        progress=progress,
    )
    in_context = _encode_in_context(encoder, parted, known, staging, progress or no_progress())
    vectors = np.empty((len(is_whole), encoder.dimension), np.float32)
    hashes = np.empty((len(is_whole), HASH_BYTES), np.uint8)
    for rows, encoded in ((is_whole, of_texts), (~is_whole, in_context)):
        vectors[rows], hashes[rows] = encoded.vectors, encoded.hashes
    return EncodedPassages(vectors, hashes, of_texts.n_encoded + in_context.n_encoded)


def hashes_in_context(document: SplitDocument) -> np.ndarray:
    """Return what the passages of a document are known by, (m, 16) uint8."""
    context = hashlib.blake2b(digest_size=HASH_BYTES, person=_PERSON)
    for numbers in (np.array([len(document.passages), document.title_length]), document.spans):
        context.update(np.ascontiguousarray(numbers, "<i8").tobytes())
    context.update(document.full_text.encode("utf-8", "surrogatepass"))
    joined = b"".join(
        hashlib.blake2b(
            context.digest() + number.to_bytes(8, "little"), digest_size=HASH_BYTES, person=_PERSON
        ).digest()
        for number in range(len(document.passages))
    )
    return np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)


def _encode_in_context(
    encoder: Encoder,
    documents: Sequence[SplitDocument],
    known: Sequence[Lookup],
    staging: Staging | None,
    bar: ProgressBar,
) -> EncodedPassages:
    """Return the vectors of documents of several passages each."""
    sizes = [len(document.passages) for document in documents]
    hashes = np.concatenate(
        [np.empty((0, HASH_BYTES), np.uint8), *(hashes_in_context(document) for document in documents)]
    )
    distinct, places = distinct_hashes(hashes)
    vectors, missing = known_vectors(hashes[distinct], encoder.dimension, known, staging)
    wanted = np.zeros(len(hashes), bool)
    wanted[distinct[missing]] = True
    row_of = np.full(len(hashes), -1, np.int64)  # in `vectors`
    row_of[distinct] = np.arange(len(distinct))
    firsts = np.cumsum([0, *sizes])
    tokens = np.array([max(passage.tokens, 1) for document in documents for passage in document.passages], np.int64)
    bar.grow(int(tokens[wanted].sum()))

    to_read = np.array(
        [int(tokens[a:b].sum()) if wanted[a:b].any() else 0 for a, b in pairwise(firsts.tolist())],
        np.int64,
    )
    order = np.argsort(-to_read, kind="stable")[: np.count_nonzero(to_read)]  # documents of like length together
    pooling = late_chunking_encoder(encoder)
    left = wanted.copy()
    for step in plan_windows(to_read[order], step_tokens(encoder)):
        rows = order[step].tolist()
        texts = [_in_context(documents[row], wanted[firsts[row] : firsts[row + 1]]) for row in rows]
        for pooled in pooling.encode_in_context(texts):
            passages = firsts[rows[pooled.text]] + pooled.passages
            _check_asked(left[passages], encoder)
            left[passages] = False
            found = check_vectors(pooled.vectors, len(passages), encoder.dimension, name_of(encoder))
            vectors[row_of[passages]] = found
            if staging is not None:
                staging.add(hashes[passages], found)
            bar.advance(int(tokens[passages].sum()))
    # An encoder may be anybody's class: what it leaves out would be whatever the memory held before.
    if left.any():
        raise EncoderError(
            f"encoder {name_of(encoder)} returned no vectors for {np.count_nonzero(left):,} of {len(missing):,} "
            "passages in context; encode_in_context must yield each wanted passage once"
        )
    return EncodedPassages(vectors[places], hashes, len(missing))


def _check_asked(asked: np.ndarray, encoder: Encoder) -> None:
    if not asked.all():
        raise EncoderError(
            f"encoder {name_of(encoder)} returned a vector for a passage in context that was not asked for, or was "
            "given already; encode_in_context must yield each wanted passage once"
        )


def _in_context(document: SplitDocument, wanted: np.ndarray) -> TextInContext:
    return TextInContext(document.full_text, document.title_length, document.spans, wanted)
