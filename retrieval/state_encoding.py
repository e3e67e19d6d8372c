"""From documents to the states of a late-interaction network, as they are stored, and their staging area."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexes.errors import VectorError
from indexes.token_vectors import Storage, TokenVectors, empty, encoded, gathered
from retrieval.errors import RerankerError
from retrieval.progress import ProgressBar
from retrieval.ragged_encoding import encode_ragged
from retrieval.ragged_staging import RaggedStaging
from retrieval.staging import passage_hashes

if TYPE_CHECKING:
    from retrieval.encoders.model_inputs import PreparedTexts
    from retrieval.rerankers.passage_states import StateEncoder

StateLookup = Callable[[np.ndarray], tuple[np.ndarray, TokenVectors]]
"""From (m, 16) hashes to (m,) bool, which are known, and the stored states of those, in order."""

_BATCHES_IN_STEP = 8
"""Batches that are encoded between two reports of progress."""


class EncodedStates(NamedTuple):
    """Texts with their states.

    Attributes:
        states: as they are stored, in the order of the texts.
        hashes: (n, 16) uint8, likewise.
        n_encoded: texts that went through the network; the others were known or came twice.
        n_long: texts as long as the network reads, or longer: what is behind that is not read.
    """

    states: TokenVectors
    hashes: np.ndarray
    n_encoded: int
    n_long: int


def encode_states(
    encoder: StateEncoder,
    texts: Sequence[str],
    storage: Storage,
    *,
    known: Sequence[StateLookup] = (),
    staging: StateStaging | None = None,
    progress: ProgressBar | None = None,
) -> EncodedStates:
    """Return the stored states of texts, encoding only what has none yet; equal texts get the same, bit by bit.

    Args:
        encoder: makes the states.
        texts: what is encoded, each from its beginning as far as the network reads.
        storage: how they are stored; `known` gives this form.
        known: where to look for states before encoding, in this order; the staging area comes last.
        staging: keeps what has been encoded, so that an interrupted run can go on there.
        progress: counts tokens; its total grows by what is to be encoded.

    Raises:
        RerankerError: the network returned no states, or such as cannot be stored.
    """
    hashes, prepared = passage_hashes(texts), encoder.prepare(texts)
    n_long = 0 if encoder.reads is None else int((prepared.lengths >= encoder.reads).sum())
    texts_once = _Texts(encoder, prepared, storage)
    found = encode_ragged(texts_once, hashes, known=known, staging=staging, progress=progress)
    return EncodedStates(found.vectors, hashes, found.n_encoded, n_long)


class _Texts:
    """Texts on their way through a network, by their numbers."""

    def __init__(self, encoder: StateEncoder, prepared: PreparedTexts, storage: Storage) -> None:
        self._encoder = encoder
        self._prepared = prepared
        self._storage: Storage = storage
        self.step_tokens = _BATCHES_IN_STEP * encoder.batch_tokens

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        return np.asarray(self._prepared.lengths, np.int64)[texts]

    def encode(self, texts: np.ndarray) -> TokenVectors:
        try:
            return encoded(self._encoder.encode(self._prepared, texts), self._storage)
        except VectorError as error:
            raise RerankerError(f"states of network {self._encoder.name!r} cannot be stored: {error}") from None

    def gathered(self, blocks: Sequence[TokenVectors], numbers: np.ndarray) -> TokenVectors:
        return gathered(blocks, numbers) if blocks else empty(self._encoder.width, self._storage)


class StateStaging(RaggedStaging[TokenVectors]):
    """The staged states of one network; see `RaggedStaging`.

    A block holds `hashes`, (m, 16) uint8, `offsets`, (m + 1,) int64, `values`, (n, width) float16 or int8, and, with
    int8, `scales`, (n,) float32.

    Args:
        directory: the staging area; it is created by the first block.
        encoder: whose states they are.
        storage: how they are stored.
    """

    def __init__(self, directory: Path, encoder: StateEncoder, storage: Storage) -> None:
        key = {
            "identity": encoder.identity(),
            "precision": encoder.execution().get("precision"),
            "storage": storage,
        }
        kinds: dict[str, tuple[str, type]] = {"offsets": ("I64", np.int64)}
        kinds["values"] = ("F16", np.float16) if storage == "float16" else ("I8", np.int8)
        if storage == "int8":
            kinds["scales"] = ("F32", np.float32)
        self._width = encoder.width
        self._storage: Storage = storage
        super().__init__(directory, key, kinds, "documents' states")

    def vectors_of(self, block: Mapping[str, np.ndarray]) -> TokenVectors:
        """Return the states of a block's arrays."""
        return TokenVectors(block["offsets"], block["values"], block.get("scales"))

    def arrays_of(self, vectors: TokenVectors) -> dict[str, np.ndarray]:
        """Return offsets, values, and scales where there are any."""
        arrays = {"offsets": vectors.offsets, "values": vectors.values}
        return arrays if vectors.scales is None else {**arrays, "scales": vectors.scales}

    def fits(self, vectors: TokenVectors) -> bool:
        """Tell whether the states are in order, finite and as wide as the network's."""
        try:
            vectors.checked()
        except VectorError:
            return False
        return vectors.width == self._width

    def gathered(self, blocks: Sequence[TokenVectors], numbers: np.ndarray) -> TokenVectors:
        """Return chosen states of several blocks."""
        return gathered(blocks, numbers) if blocks else empty(self._width, self._storage)
