"""Token vectors: a text as one vector for each of its tokens, of many texts in flat arrays, in 16 or 8 bits a number.

Late interaction compares a query with every token of a passage, so a passage is a matrix and its store is as large as
its tokens are many. Two forms are kept, both of each token by itself, so that what is stored of a text depends on no
other text and documents that are added later are treated alike:

- "float16": each number rounded to 11 significant bits, an error of at most 2^-11 of the number itself (at most 2^-25
  for numbers below 2^-14, which is where 16 bits stop being relative).
- "int8": each number as a step of a 127th of the token's largest one, an error of at most half a step. Where some
  numbers of a token are much larger than the rest, as in hidden states of BERT, the rest pays for it.

Hidden states of MiniLM (384 numbers, 300 abstracts of NFCorpus) move by 0.02 % of their length in float16, on average,
and by 0.8 % in int8, at most by 3.7 %; projected to 128 numbers of length one, by 0.02 % and 0.6 %.

Codes relative to centroids (ColBERTv2, arXiv:2112.01488, section 3.3: some 20 to 36 bytes a token at 128 dimensions)
are not among them: centroids have to be trained on the documents that happen to be there, so that a store that has
grown would answer otherwise than one that is built anew, and they serve unit vectors of one small width, not the states
of PreTTR and TK. A rerank stage reads the few passages that it admits; what is saved is disk, not time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from indexes.errors import VectorError

Storage = Literal["float16", "int8"]

DTYPES: dict[str, str] = {"float16": "<f2", "int8": "|i1"}
"""How numbers lie in files."""

LARGEST_FLOAT16 = 65504.0
LARGEST_INT8_STATE = 1e15
"""Larger numbers are no states of a network: sums of their products would leave float32."""

_STEPS = 127


@dataclass(frozen=True)
class TokenVectors:
    """Vectors of the tokens of several texts: text i has the rows offsets[i]:offsets[i + 1].

    Attributes:
        offsets: (n + 1,) int64, from 0.
        values: (n_tokens, width) float32, as they came; float16 or int8, as they are stored.
        scales: (n_tokens,) float32, what a number of the token's row is multiplied by; None where numbers stand for
            themselves.
    """

    offsets: np.ndarray
    values: np.ndarray
    scales: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    @property
    def width(self) -> int:
        """Numbers of a token's vector."""
        return int(self.values.shape[1])

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, tokens of each text."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.offsets.nbytes + self.values.nbytes + (0 if self.scales is None else self.scales.nbytes)

    def checked(self) -> TokenVectors:
        """Return the same, or raise.

        Raises:
            VectorError: an array has another type or shape, the offsets do not ascend from 0 to the number of rows, or
                a number is not finite.
        """
        offsets, values, scales = self.offsets, self.values, self.scales
        if offsets.ndim != 1 or offsets.dtype != np.int64 or not len(offsets):
            raise VectorError(f"offsets must be a flat array of int64, not {offsets.dtype} {offsets.shape}")
        if values.ndim != 2 or values.dtype not in (np.float32, np.float16, np.int8) or not values.shape[1]:
            raise VectorError(f"token vectors must be float32, float16 or int8 rows, not {values.dtype} {values.shape}")
        if (scales is not None) != (values.dtype == np.int8):
            raise VectorError(f"{values.dtype} token vectors {'with' if scales is not None else 'without'} scales")
        if offsets[0] != 0 or offsets[-1] != len(values) or (offsets[1:] < offsets[:-1]).any():
            raise VectorError(f"the offsets must ascend from 0 to {len(values):,}, the number of token vectors")
        if scales is not None and (scales.dtype != np.float32 or scales.shape != (len(values),)):
            raise VectorError(f"{scales.dtype} scales {scales.shape} for {len(values):,} token vectors")
        return self.finite()

    def finite(self) -> TokenVectors:
        """Return the same, or raise VectorError where a number is not finite, or a scale is negative."""
        scales = self.scales
        sound = np.isfinite(self.values).all() if scales is None else (np.isfinite(scales) & (scales >= 0)).all()
        if not sound:
            raise VectorError("token vectors hold a number that is not finite")
        return self

    def decoded(self) -> np.ndarray:
        """Return the vectors as numbers to compute with, (n_tokens, width) float32."""
        values = self.values.astype(np.float32)
        return values if self.scales is None else values * self.scales[:, None]

    def some(self, first: int, last: int) -> TokenVectors:
        """Return the texts first, first + 1, ... last - 1, without copying."""
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        scales = None if self.scales is None else self.scales[begin:end]
        return TokenVectors(self.offsets[first : last + 1] - begin, self.values[begin:end], scales)


def empty(width: int, storage: Storage) -> TokenVectors:
    """Return the vectors of no text."""
    scales = np.empty(0, np.float32) if storage == "int8" else None
    return TokenVectors(np.zeros(1, np.int64), np.empty((0, width), DTYPES[storage]), scales)


def encoded(vectors: TokenVectors, storage: Storage) -> TokenVectors:
    """Return vectors as they are stored.

    Args:
        vectors: in float32.
        storage: "float16" or "int8".

    Raises:
        VectorError: the vectors are not in order or not finite, or a number is too large for the storage.
    """
    check_storage(storage)
    vectors.checked()
    largest = np.abs(vectors.values).max(axis=1, initial=0.0)  # (n_tokens,)
    limit = LARGEST_FLOAT16 if storage == "float16" else LARGEST_INT8_STATE
    if len(largest) and largest.max() > limit:
        hint = "; store them as 'int8'" if storage == "float16" else ""
        raise VectorError(f"a token vector holds {largest.max():g}, and {storage} takes numbers up to {limit:g}{hint}")
    if storage == "float16":
        return TokenVectors(vectors.offsets, vectors.values.astype(DTYPES[storage]))
    scales = (largest / _STEPS).astype(np.float32)
    # Numbers too small to have a 127th: they are zero in any product.
    steps = vectors.values / np.where(scales > 0, scales, 1)[:, None]
    codes = np.clip(np.rint(steps), -_STEPS, _STEPS)
    codes[scales == 0] = 0
    return TokenVectors(vectors.offsets, codes.astype(np.int8), scales)


def largest_error(vectors: TokenVectors, storage: Storage) -> np.ndarray:
    """Return how far a stored number may be from what it was, for each token of float32 vectors, (n_tokens,) float64.

    The Euclidean distance of a token's vectors is at most sqrt(width) times that.
    """
    largest = np.abs(vectors.values).max(axis=1, initial=0.0).astype(np.float64)
    if storage == "float16":
        return np.maximum(largest * 2.0**-11, 2.0**-25)
    # Half a step, and the rounding of the step itself and of its product in float32.
    return largest / (2 * _STEPS) * (1 + 2.0**-14) + 2.0**-126


def gathered(blocks: Sequence[TokenVectors], numbers: np.ndarray) -> TokenVectors:
    """Return chosen texts of several blocks, without padding.

    Args:
        blocks: at least one, all of one width and form.
        numbers: (n,) int64, numbers of texts counted one block after the other, in any order, also repeatedly.
    """
    counts = np.concatenate([block.lengths for block in blocks])
    ends = np.cumsum([len(block) for block in blocks])
    of_block = np.searchsorted(ends, numbers, side="right")  # (n,)
    sizes = counts[numbers]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    values = np.empty((int(offsets[-1]), blocks[0].width), blocks[0].values.dtype)
    scales = None if blocks[0].scales is None else np.empty(len(values), np.float32)
    for number in np.unique(of_block).tolist():
        block, mine = blocks[number], np.flatnonzero(of_block == number)
        rows = numbers[mine] - (int(ends[number]) - len(block))
        source = row_numbers(block.offsets[rows], sizes[mine])
        target = row_numbers(offsets[mine], sizes[mine])
        values[target] = block.values[source]
        if scales is not None and block.scales is not None:
            scales[target] = block.scales[source]
    return TokenVectors(offsets, values, scales)


def row_numbers(begins: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the numbers begins[i], begins[i] + 1, ... of sizes[i] rows each, one after the other, int64."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(begins - before, sizes) + np.arange(int(sizes.sum()))


def check_storage(storage: str) -> None:
    """Refuse a form that token vectors are not stored in.

    Raises:
        VectorError: naming those that there are.
    """
    if storage not in get_args(Storage):
        raise VectorError(f"token vectors are stored as 'float16' or 'int8', not {storage!r}")
