"""From texts to vectors of unequal size, each distinct text once, none that is known, durable as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from retrieval.batching import plan_windows
from retrieval.encoding import distinct_hashes
from retrieval.progress import ProgressBar, no_progress
from retrieval.ragged_staging import RaggedStaging

VectorsT = TypeVar("VectorsT", bound=Sized)


class RaggedEncoder(Protocol[VectorsT]):
    """Makes the vectors of some texts, and of no others."""

    step_tokens: int
    """Tokens that are encoded between two reports of progress."""

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        """Return the tokens of texts, (m,) int64, to plan with; called once, for those that will be encoded."""

    def encode(self, texts: np.ndarray) -> VectorsT:
        """Return the vectors of texts as they are stored; texts are numbers of those that there are."""

    def gathered(self, blocks: Sequence[VectorsT], numbers: np.ndarray) -> VectorsT:
        """Return chosen vectors of several blocks, or of none, by numbers counted one block after the other."""


class Encoded(NamedTuple, Generic[VectorsT]):
    """Texts with their vectors.

    Attributes:
        vectors: as they are stored, in the order of the texts.
        n_encoded: texts that went through the encoder; the others were known or came twice.
    """

    vectors: VectorsT
    n_encoded: int


def encode_ragged(
    encoder: RaggedEncoder[VectorsT],
    hashes: np.ndarray,
    *,
    known: Sequence[Callable[[np.ndarray], tuple[np.ndarray, VectorsT]]] = (),
    staging: RaggedStaging[VectorsT] | None = None,
    progress: ProgressBar | None = None,
) -> Encoded[VectorsT]:
    """Return the stored vectors of texts, encoding only what has none yet.

    Equal texts get one vector, bit by bit. What is to be encoded goes through the encoder longest first.

    Args:
        encoder: makes the vectors.
        hashes: (n, 16) uint8, of the texts.
        known: where to look for vectors before encoding, in this order; the staging area comes last.
        staging: keeps what has been encoded, so that an interrupted run can go on there.
        progress: counts tokens; its total grows by what is to be encoded.
    """
    distinct, places = distinct_hashes(hashes)
    made: list[VectorsT] = []
    numbers = np.empty(len(distinct), np.int64)  # which vector of all that are made is whose
    missing = np.arange(len(distinct))
    n_made = 0
    for lookup in [*known, *([staging.find] if staging is not None else [])]:
        if not len(missing):
            break
        found, vectors = lookup(hashes[distinct[missing]])
        numbers[missing[found]] = n_made + np.arange(len(vectors))
        made.append(vectors)
        n_made += len(vectors)
        missing = missing[~found]
    if len(missing):
        bar = progress or no_progress()
        lengths = np.maximum(encoder.lengths(distinct[missing]), 1)
        bar.grow(int(lengths.sum()))
        order = np.argsort(-lengths, kind="stable")
        for step in plan_windows(lengths[order], encoder.step_tokens):
            chosen = missing[order[step]]
            made.append(encoder.encode(distinct[chosen]))
            if staging is not None:
                staging.add(hashes[distinct[chosen]], made[-1])
            numbers[chosen] = n_made + np.arange(len(chosen))
            n_made += len(chosen)
            bar.advance(int(lengths[order[step]].sum()))
    return Encoded(encoder.gathered(made, numbers[places]), len(missing))
