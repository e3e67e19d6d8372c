"""Passages encoded by several processes at once, one on each device.

The way to use several GPUs, or several processors that do not share their memory; on one ordinary processor a single
process with all its threads is as fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.batching import distinct
from retrieval.encoders.base import Encoder, Similarity, check_texts, fingerprint, name_of, settle
from retrieval.encoders.late_chunking import LateChunkingEncoder, PooledPassages, TextInContext
from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.queues import Queue

FEW_TEXTS = 64
"""So many texts are encoded by the calling process: sending them around takes longer."""

_PART_TEXTS = 1024
"""Texts of one call that go to a process at once."""

_AHEAD = 2
"""Steps for each process that are under way: one is encoded while the next one waits."""

Load = Callable[..., Encoder]
"""From a `device` to an encoder; must be picklable."""


class ParallelEncoder:
    """An encoder whose passages are encoded by processes of their own.

    Made by `load_encoder(MODEL, device=["cuda:0", "cuda:1"])`. Queries, small calls and late chunking stay in the
    calling process. Vectors and their order are those of the encoder itself, up to its tolerance; equal texts of a call
    get the same bits. The processes start when they are first needed, and end with `close`. They are new interpreters,
    which import the script that started them: guard its start by `if __name__ == "__main__":`.

    Args:
        encoder: of the calling process.
        devices: one for each process, such as ["cuda:0", "cuda:1"]; a device may come twice.
        load: loads the same encoder on a device; called in each process.

    Raises:
        EncoderError: there are no devices.
    """

    def __init__(self, encoder: Encoder, devices: Sequence[str], load: Load) -> None:
        if not devices or not all(isinstance(device, str) for device in devices):
            raise EncoderError(f"device={devices!r}: name at least one device, such as ['cuda:0', 'cuda:1']")
        self._encoder = encoder
        self._devices = list(devices)
        self._load = load
        self._fingerprint = fingerprint(encoder.identity())
        self._processes: ProcessPoolExecutor | None = None
        self._is_closed = False

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    @property
    def similarity(self) -> Similarity:
        """What vectors are compared by."""
        return self._encoder.similarity

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read."""
        return self._encoder.max_tokens

    @property
    def source(self) -> str | None:
        """Name or path; a collection is opened again without the processes."""
        return self._encoder.source

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors: the devices do not."""
        return self._encoder.identity()

    def execution(self) -> dict[str, Any]:
        """Return how vectors are computed, with the devices."""
        return {**self._encoder.execution(), "devices": list(self._devices)}

    def load_library(self) -> None:
        """Have the encoder load what it would load later; see `DeferredEncoder`."""
        settle(self._encoder)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._open().encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32.

        Raises:
            EncoderError: as of the encoder; a process ended, or loaded another model.
        """
        unique, places = distinct(check_texts(texts))
        if len(unique) <= FEW_TEXTS:
            return self._open().encode_passages(texts)
        size = min(_PART_TEXTS, -(-len(unique) // len(self._devices)))
        parts = [unique[start : start + size] for start in range(0, len(unique), size)]
        return np.concatenate(list(self.encode_stream(parts)))[places]

    def encode_stream(self, steps: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yield the vectors of the passages of each step, (n, dimension) float32, in the order of the steps.

        In memory are the texts and vectors of two steps for each process.

        Raises:
            EncoderError: as of the encoder; a process ended, or loaded another model.
        """
        from concurrent.futures.process import BrokenProcessPool

        under_way: deque[Future[tuple[np.ndarray, str]]] = deque()
        try:
            for step in steps:
                under_way.append(self._pool().submit(_encode, check_texts(step)))
                if len(under_way) >= _AHEAD * len(self._devices):
                    yield self._checked(under_way.popleft())
            while under_way:
                yield self._checked(under_way.popleft())
        except BrokenProcessPool:
            self._processes = None
            raise EncoderError(
                f"a process that encodes for {name_of(self._encoder)} on {', '.join(self._devices)} ended: memory did "
                "not suffice, the model cannot be loaded there, or the script that started it does not guard its start "
                "by if __name__ == '__main__'"
            ) from None
        finally:
            for waiting in under_way:
                waiting.cancel()

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, (n,) int64."""
        return self._open().count_tokens(texts)

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token, (tokens, 2) int64 for each text."""
        return self._open().token_spans(texts)

    def late_chunking_problem(self) -> str | None:
        """Say what keeps the encoder from late chunking; None when nothing does."""
        encoder = self._open()
        if isinstance(encoder, LateChunkingEncoder):
            return encoder.late_chunking_problem()
        return "it gives vectors of texts, not of their tokens"

    def encode_in_context(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the vectors of wanted passages, pooled from their whole texts; by the calling process."""
        encoder = self._open()
        if not isinstance(encoder, LateChunkingEncoder):
            raise EncoderError(f"encoder {name_of(encoder)} cannot do late chunking: {self.late_chunking_problem()}")
        return encoder.encode_in_context(texts)

    def close(self) -> None:
        """End the processes and let go of the model; the encoder cannot be used afterwards."""
        processes, self._processes, self._is_closed = self._processes, None, True
        if processes is not None:
            processes.shutdown(cancel_futures=True)
        self._encoder.close()

    def _open(self) -> Encoder:
        if self._is_closed:
            raise EncoderError(f"encoder {name_of(self._encoder)} is closed; load it again")
        return self._encoder

    def _pool(self) -> ProcessPoolExecutor:
        self._open()
        if self._processes is None:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            # A fork would take the threads of the tokenizer and of torch along in whatever state they are.
            context = multiprocessing.get_context("spawn")
            devices: Queue[str] = context.Queue()
            for device in self._devices:
                devices.put(device)
            self._processes = ProcessPoolExecutor(
                len(self._devices), context, _begin, (self._load, devices, self._devices.count("cpu"))
            )
        return self._processes

    def _checked(self, encoded: Future[tuple[np.ndarray, str]]) -> np.ndarray:
        vectors, of = encoded.result()
        if of != self._fingerprint:
            raise EncoderError(
                f"model {name_of(self._encoder)} has changed on the disk since it was loaded; load it again"
            )
        return vectors


_encoder: Encoder | None = None
"""Of a process that encodes."""


def _begin(load: Load, devices: Queue[str], sharing: int) -> None:
    """Load the encoder of a process.

    Args:
        load: see `Load`.
        devices: one for each process.
        sharing: how many processes share the processor's cores.
    """
    global _encoder  # noqa: PLW0603 - what an initializer leaves to its process
    device = devices.get()
    _encoder = load(device=device)
    settle(_encoder)
    if device == "cpu" and sharing > 1:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // sharing))


def _encode(texts: list[str]) -> tuple[np.ndarray, str]:
    """Return the vectors, and the fingerprint of the encoder that they are of."""
    assert _encoder is not None  # or the process were broken
    return _encoder.encode_passages(texts), fingerprint(_encoder.identity())
