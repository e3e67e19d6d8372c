"""From the texts of passages to their vectors: each distinct text once, none that is known, durable as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from retrieval.batching import plan_windows
from retrieval.encoders.base import Encoder, check_vectors, encode_steps, name_of
from retrieval.progress import ProgressBar, no_progress
from retrieval.staging import Staging, passage_hashes

Lookup = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From (m, 16) hashes to (m,) bool, which are known, and (known, d) float32, their vectors in order."""

_BATCHES_IN_STEP = 8
"""Batches that are encoded between two reports of progress."""

_BATCH_TOKENS = 4096
"""Tokens of a batch of an encoder that does not say how many it takes."""

_CHARACTERS_PER_TOKEN = 4


class EncodedPassages(NamedTuple):
    """Passages with their vectors.

    Attributes:
        vectors: (n, d) float32, in the order of the texts.
        hashes: (n, 16) uint8, likewise.
        n_encoded: texts that went through the encoder; the others were known or came twice.
    """

    vectors: np.ndarray
    hashes: np.ndarray
    n_encoded: int


def encode_passages(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    tokens: Sequence[int] | None = None,
    known: Sequence[Lookup] = (),
    staging: Staging | None = None,
    progress: ProgressBar | None = None,
) -> EncodedPassages:
    """Return the vectors of passages, encoding only what has no vector yet.

    Equal texts get one vector, bit by bit. What is to be encoded goes through the encoder longest first. Memory grows
    with the number of texts (their vectors), so a stream is encoded some ten thousand passages at a time.

    Args:
        encoder: makes the vectors.
        texts: passages, as they are to be encoded.
        tokens: of each text, to plan and to report with; by default estimated from its characters.
        known: where to look for vectors before encoding, in this order; the staging area comes last.
        staging: keeps what has been encoded, so that an interrupted run can go on there.
        progress: counts tokens; its total grows by what is to be encoded.

    Raises:
        EncoderError: the encoder returned something else than finite vectors.
    """
    hashes = passage_hashes(texts)
    distinct, places = distinct_hashes(hashes)
    vectors, missing = known_vectors(hashes[distinct], encoder.dimension, known, staging)
    bar = progress or no_progress()
    lengths = _lengths(texts, tokens)[distinct[missing]]
    bar.grow(int(lengths.sum()))
    order = np.argsort(-lengths, kind="stable")
    steps = list(plan_windows(lengths[order], step_tokens(encoder)))
    given = ([texts[text] for text in distinct[missing[order[step]]].tolist()] for step in steps)
    for step, encoded in zip(steps, encode_steps(encoder, given), strict=True):
        rows = missing[order[step]]
        # An encoder may be anybody's class: one vector for several texts would become the vector of them all.
        vectors[rows] = check_vectors(encoded, len(rows), encoder.dimension, name_of(encoder))
        if staging is not None:
            staging.add(hashes[distinct[rows]], vectors[rows])
        bar.advance(int(lengths[order[step]].sum()))
    return EncodedPassages(vectors if len(distinct) == len(places) else vectors[places], hashes, len(missing))


def known_vectors(
    hashes: np.ndarray, dimension: int, known: Sequence[Lookup], staging: Staging | None
) -> tuple[np.ndarray, np.ndarray]:
    """Look passages up: first in `known`, in this order, then in the staging area.

    Args:
        hashes: (n, 16) uint8, distinct.
        dimension: of the vectors.
        known: where to look.
        staging: what an interrupted run has left.

    Returns:
        (n, dimension) float32, the vectors, where they were found; (m,) int64, the places where they were not.
    """
    vectors = np.empty((len(hashes), dimension), np.float32)
    missing = np.arange(len(hashes))
    for lookup in [*known, *([staging.find] if staging is not None else [])]:
        if not len(missing):
            break
        found, stored = lookup(hashes[missing])
        vectors[missing[found]] = stored
        missing = missing[~found]
    return vectors, missing


def step_tokens(encoder: Encoder) -> int:
    """Return how many tokens are encoded between two reports of progress."""
    return _BATCHES_IN_STEP * int(encoder.execution().get("batch_tokens", _BATCH_TOKENS))


def distinct_hashes(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of distinct hashes, each where it comes first, and for every hash which of them it is."""
    numbers: dict[bytes, int] = {}
    data = hashes.tobytes()
    width = hashes.shape[1]
    places = [numbers.setdefault(data[at : at + width], len(numbers)) for at in range(0, len(data), width)]
    inverse = np.array(places, np.int64)
    return np.unique(inverse, return_index=True)[1], inverse


def _lengths(texts: Sequence[str], tokens: Sequence[int] | None) -> np.ndarray:
    if tokens is not None:
        return np.maximum(np.asarray(tokens, np.int64), 1)
    return np.array([len(text) // _CHARACTERS_PER_TOKEN + 1 for text in texts], np.int64)
