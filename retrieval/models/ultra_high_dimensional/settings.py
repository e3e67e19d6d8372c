"""What an ultra-high-dimensional encoder is set up with: one frozen structure, saved as its module's configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from retrieval.errors import EncoderError


@dataclass(frozen=True)
class UltraHighDimensionalSettings:
    """Buckets, sparsity and output of an ultra-high-dimensional encoder.

    Sequences may be given as lists, as JSON has them. The defaults of `dimensions` and `k` keep one dimension in 256 of
    each token, close to the one in a thousand of the literature at a size that a laptop trains.

    Attributes:
        hidden_size: length of the backbone's hidden states, H.
        layers: hidden states that are read, one bucket each: 0 is the output of the embeddings, i that of layer i, -1
            that of the last layer, -2 of the one before.
        dimensions: dimensions of each bucket, n_b; the encoder has their sum, n.
        k: winners of each token in each bucket.
        query_cap: active dimensions that a query keeps at most, its largest; None keeps all.
        passage_cap: likewise of a passage, which bounds what the index stores for it.
        bucket_weights: what each bucket counts in a score, s(q, d) = sum_b w_b <u_b(q), u_b(d)>; None for 1 each. They
            are applied to queries only, so that the index does not depend on them.
        binarise: outside of training, active dimensions count 1 instead of their activation.
        largest_weight: the activation that becomes the largest impact of an index of 8 bits; None where nobody has
            measured it (see `calibration`).
    """

    hidden_size: int
    layers: tuple[int, ...] = (-1,)
    dimensions: tuple[int, ...] = (8192,)
    k: int = 32
    query_cap: int | None = None
    passage_cap: int | None = None
    bucket_weights: tuple[float, ...] | None = None
    binarise: bool = False
    largest_weight: float | None = None

    def __post_init__(self) -> None:
        for name in ("layers", "dimensions", "bucket_weights"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.hidden_size < 1:
            raise EncoderError(f"hidden_size must be at least 1, not {self.hidden_size}")
        if not self.layers or len(self.layers) != len(self.dimensions):
            raise EncoderError(
                f"each bucket needs a layer and a number of dimensions, not layers {list(self.layers)} with dimensions "
                f"{list(self.dimensions)}"
            )
        if min(self.dimensions) < 1:
            raise EncoderError(f"a bucket needs at least one dimension, not {list(self.dimensions)}")
        check_k(self.k, self.dimensions)
        for name in ("query_cap", "passage_cap"):
            cap = getattr(self, name)
            if cap is not None and cap < 1:
                raise EncoderError(f"{name} must be at least 1, not {cap}; None keeps every active dimension")
        self._check_weights()

    def _check_weights(self) -> None:
        weights = self.bucket_weights
        if weights is not None and (
            len(weights) != len(self.layers) or not all(0 < weight < math.inf for weight in weights)
        ):
            raise EncoderError(f"bucket_weights must be {len(self.layers)} positive numbers, not {list(weights)}")
        if self.largest_weight is not None and not 0 < self.largest_weight < math.inf:
            raise EncoderError(f"largest_weight must be a positive number, not {self.largest_weight}")

    @property
    def n_dimensions(self) -> int:
        """Dimensions of all buckets together, n."""
        return sum(self.dimensions)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each bucket begins: dimension j of bucket b is dimension offsets[b] + j of the encoder."""
        return tuple(sum(self.dimensions[:bucket]) for bucket in range(len(self.dimensions)))

    @classmethod
    def from_mapping(cls, stored: Mapping[str, Any]) -> UltraHighDimensionalSettings:
        """Read what `as_mapping` wrote.

        Raises:
            EncoderError: a name is unknown or missing, or the values do not go together.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(stored) - set(known))
        if unknown or "hidden_size" not in stored:
            wrong = f"unknown setting {unknown[0]!r}" if unknown else "no setting 'hidden_size'"
            raise EncoderError(f"{wrong} of an ultra-high-dimensional encoder; the settings are {', '.join(known)}")
        return cls(**stored)

    def as_mapping(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def check_k(k: int, dimensions: tuple[int, ...]) -> None:
    """Refuse a number of winners that some bucket cannot have.

    Raises:
        EncoderError: k is less than 1, or larger than the smallest bucket.
    """
    if not 1 <= k <= min(dimensions):
        raise EncoderError(
            f"k must be between 1 and {min(dimensions):,}, the dimensions of the smallest bucket, not {k:,}"
        )
