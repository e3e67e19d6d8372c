"""Embeddings that are computed once: an encoder that keeps what it has encoded on disk.

The store is that of a collection's staging area (`retrieval.staging`): blocks that are whole or are not there, written
at least every half minute of work, mapped when they are read. Vectors are kept apart by who made them (identity and
execution) and by whether a text was encoded as a query or as a passage; within that they are found by the hash of the
text. The code of this engine is not looked at, which results are told apart by: after a change of how an encoder works,
remove the folder, which can be done at any time when no run uses it. Everything is then encoded again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from eval.costs import Encoding
from indexes.locks import WriterLock
from indexes.storage import make_directory, replace_file
from retrieval.encoders.base import check_texts, fingerprint
from retrieval.encoders.wrapped import WrappedEncoder
from retrieval.encoding import encode_passages
from retrieval.staging import Staging

if TYPE_CHECKING:
    from retrieval.encoders import Encoder
    from retrieval.encoders.late_chunking import PooledPassages, TextInContext

Side = Literal["query", "passage"]

_BYPASSED: ContextVar[bool] = ContextVar("embedding cache bypassed", default=False)


@contextlib.contextmanager
def without_embedding_cache() -> Iterator[None]:
    """Let every text of this thread go through its model, as a search for real does: for taking times."""
    token = _BYPASSED.set(True)
    try:
        yield
    finally:
        _BYPASSED.reset(token)


class CachedEncoder(WrappedEncoder):
    """An encoder that asks its model only for texts that nobody has asked for before, in this run or an earlier one.

    It is the encoder inside in everything else, so collections take the one for the other. Vectors of passages in the
    context of their document (late chunking) are not kept: they go through the encoder inside.

    Args:
        encoder: the one inside.
        folder: where the vectors are kept, for any number of encoders; it is created. A run holds what belongs to its
            encoder until `close`.

    Raises:
        LockedError: another run, or another object of this one, keeps vectors of the same encoder there.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        super().__init__(encoder)
        make_directory(folder)
        keys = {side: embedding_key(encoder, side) for side in ("query", "passage")}
        name = fingerprint(keys["passage"])
        self._held = WriterLock(folder / f"{name}.lock")
        self._held.__enter__()
        self._lock = threading.RLock()
        self._note = folder / f"{name}.json"
        self._earlier = _read_note(self._note)
        self._staging = {side: Staging(folder, key, encoder.dimension) for side, key in keys.items()}
        self._metered = {
            "query": _Metered(encoder, encoder.encode_queries),
            "passage": _Metered(encoder, encoder.encode_passages),
        }
        self._in_context = Encoding()

    @property
    def encoded(self) -> Encoding:
        """What has gone through the model; texts that bypass the cache do not count."""
        with self._lock:
            return self._metered["query"].encoded + self._metered["passage"].encoded + self._in_context

    @property
    def ever_encoded(self) -> Encoding:
        """What has gone through the model in this run and in those before, as far as they came to write it down."""
        return self._earlier + self.encoded

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._encoded("query", texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32."""
        return self._encoded("passage", texts)

    def encode_in_context(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the wanted passages' vectors; nothing of them is kept, but they count as encoded."""
        tokens = sum(map(int, self._encoder.count_tokens([text.full_text for text in texts])))
        answers = super().encode_in_context(texts)
        seconds = 0.0
        while True:
            began = time.perf_counter()
            answer = next(answers, None)
            seconds += time.perf_counter() - began
            if answer is None:
                break
            yield answer
        with self._lock:
            self._in_context += Encoding(len(texts), tokens, seconds)

    def flush(self) -> None:
        """Write what has been encoded since the last block; a killed process loses what was not written."""
        with self._lock:
            for staging in self._staging.values():
                staging.flush()
            if self.encoded.texts:
                replace_file(self._note, msgspec.json.encode(self.ever_encoded))

    def close(self) -> None:
        """Write what is not written yet and leave the folder to others; the encoder inside stays open."""
        try:
            self.flush()
        finally:
            self._held.release()

    def _encoded(self, side: Side, texts: Sequence[str]) -> np.ndarray:
        given = check_texts(texts)
        metered = self._metered[side]
        if _BYPASSED.get():
            return metered.encode(given)
        if not given:
            return np.empty((0, self.dimension), np.float32)
        with self._lock:
            return encode_passages(metered, given, staging=self._staging[side]).vectors


def embedding_key(encoder: Encoder, side: Side) -> dict[str, object]:
    """Return what kept vectors are told apart by: who made them, how, and from what kind of text."""
    return {"identity": encoder.identity(), "execution": encoder.execution(), "text": side}


def _read_note(path: Path) -> Encoding:
    """Return what earlier runs encoded; nothing where that is not known, for it is only a figure beside others."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Encoding)
    except (OSError, msgspec.DecodeError):
        return Encoding()


class _Metered(WrappedEncoder):
    """Encodes by one of the ways of an encoder, whatever it is asked for, and counts."""

    def __init__(self, encoder: Encoder, encode: Callable[[Sequence[str]], np.ndarray]) -> None:
        super().__init__(encoder)
        self.encode = encode
        self.encoded = Encoding()

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, (n, dimension) float32."""
        began = time.perf_counter()
        vectors = self.encode(texts)
        seconds = time.perf_counter() - began
        tokens = np.asarray(self.count_tokens(texts))
        if self.max_tokens is not None:
            tokens = np.minimum(tokens, self.max_tokens)
        self.encoded += Encoding(len(texts), int(tokens.sum()), seconds)
        return vectors
