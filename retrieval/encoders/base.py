"""What the engine asks of an encoder, and how its identity is compared.

An encoder turns texts into vectors of one dimension. It says who it is in two parts: its *identity*, everything that
decides which vectors a text gets (any difference is an error when a collection is opened), and its *execution*, how it
computes them (recorded beside the vectors, never a reason to refuse).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from retrieval.errors import EncoderError

Similarity = Literal["cosine", "dot"]


class TokenCounter(Protocol):
    """What cutting texts into passages needs to know of an encoder, whatever its vectors are."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read; see `Encoder`."""

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text, (n,) int64; see `Encoder`."""

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where each token of each text stands in it, (tokens, 2) int64; see `Encoder`."""


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors; write a class with these members to plug in a model of your own.

    `encode_*` may be called from several threads at once. The same text gets the same vector in any company, up to
    rounding (implementations state the tolerance).
    """

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def similarity(self) -> Similarity:
        """What the model was trained to compare vectors by; "cosine" does not promise that they have length one."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read, prompt and special tokens included; None where there is no limit."""

    @property
    def source(self) -> str | None:
        """Name or path that `load_encoder` loads it from again; None when only its owner can provide it."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors, as JSON values: weights, tokenizer, pooling, prompts, lengths and so on."""

    def execution(self) -> dict[str, Any]:
        """Return how vectors are computed, as JSON values: precision, runtime, device, versions."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32, in the order of the texts."""

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32, in the order of the texts."""

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, (n,) int64: prompt and special tokens included, nothing cut."""

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where each token of each text stands in it, (tokens, 2) int64 of character start and end.

        Without prompt and special tokens; starts never descend.
        """

    def close(self) -> None:
        """Let go of the model."""


@runtime_checkable
class StreamingEncoder(Protocol):
    """What an encoder has beside the members of `Encoder` when it prepares the next passages while it encodes some."""

    def encode_stream(self, steps: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yield what `encode_passages` returns for each step, in their order."""


def encode_steps(encoder: Encoder, steps: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
    """Yield the vectors of the passages of each step, one step after the other."""
    if isinstance(encoder, StreamingEncoder):
        return encoder.encode_stream(steps)
    return (encoder.encode_passages(texts) for texts in steps)


def settle(model: object) -> None:
    """Let an encoder that changes its execution with its first large request do so before anybody asks for it."""
    load = getattr(model, "load_library", None)
    if load is not None:
        load()


def settle_precision(model: object) -> None:
    """Let an encoder whose first few texts are computed in another precision than the rest do so before it is asked.

    Vectors that are stored together are of one precision; one that changes nothing but its library stays as it is.
    """
    choose = getattr(model, "settle_precision", None)
    if choose is not None:
        choose()


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that are equal for equal identities."""
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class _Named(Protocol):
    @property
    def source(self) -> str | None: ...

    def identity(self) -> dict[str, Any]: ...


def name_of(encoder: _Named) -> str:
    """Return what to call an encoder, dense or sparse, in a message: its source, else its name, else its kind."""
    identity = encoder.identity()
    return repr(encoder.source or identity.get("name") or identity.get("kind") or type(encoder).__name__)


def check_vectors(vectors: Any, n_texts: int, dimension: int | None, name: str) -> np.ndarray:
    """Return what an encoder produced as (n_texts, d) float32.

    Args:
        vectors: what it produced.
        n_texts: texts it was given.
        dimension: what d must be; None takes it from the vectors.
        name: the encoder's, for the message.

    Raises:
        EncoderError: another shape, or values that are not finite numbers.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinity, and is refused below
            array = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError):
        raise EncoderError(f"encoder {name} returned {type(vectors).__name__}, not an array of numbers") from None
    if array.ndim != 2 or len(array) != n_texts or array.shape[1] != (dimension or array.shape[1] or -1):
        expected = f"({n_texts}, {dimension or 'dimension'})"
        raise EncoderError(f"encoder {name} returned an array of shape {array.shape}, expected {expected}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise EncoderError(
            f"encoder {name} returned NaN or infinity for {n_texts - int(finite.sum())} texts (first: {row})"
        )
    return array


def check_texts(texts: Sequence[str]) -> list[str]:
    """Return texts as a list.

    Raises:
        EncoderError: a single string (its characters would be encoded one by one), or something that is not text.
    """
    if isinstance(texts, (str, bytes)):
        raise EncoderError(f"expected a list of texts, not the single text {texts[:80]!r}; put it in a list")
    checked = list(texts)
    for number, text in enumerate(checked):
        if not isinstance(text, str):
            raise EncoderError(f"text {number} is {text!r:.80}, not a string")
    return checked
