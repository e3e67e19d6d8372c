"""Passages encoded by several processes at once, one on each device.

The way to use several GPUs. On one processor a single process uses all cores already.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.batching import distinct, plan_windows
from retrieval.encoders.base import Encoder, check_texts, encode_steps, name_of, settle
from retrieval.encoders.parallel_worker import Encoded, Load, begin, encode, who_is
from retrieval.encoders.wrapped import WrappedEncoder
from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.queues import Queue

FEW_CHARACTERS = 1 << 15
"""Texts of so many characters are encoded by the calling process, so that no processes are started for them."""

_PART_CHARACTERS = 1 << 19
"""Characters of one call's texts that go to a process at once; some 128,000 tokens."""

_AHEAD = 2
"""Steps for each process that are under way: one is encoded while the next one waits."""


class ParallelEncoder(WrappedEncoder):
    """An encoder whose passages are encoded by processes of their own.

    Made by `load_encoder(MODEL, device=["cuda:0", "cuda:1"])`. Queries, a few texts and late chunking stay in the
    calling process. Vectors and their order are those of the encoder itself, up to its tolerance; equal texts of a call
    get the same bits. The processes start when they are first needed, and end with `close` or with the calling process.
    They are new interpreters, which import the script that started them: guard its start by
    `if __name__ == "__main__":`.

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
        settle(encoder)  # the processes do so, too: all compute in the same way
        super().__init__(encoder)
        self._devices = list(devices)
        self._load = load
        self._expected = who_is(encoder)
        self._turn = threading.Lock()
        self._processes: ProcessPoolExecutor | None = None
        self._is_closed = False

    def execution(self) -> dict[str, Any]:
        """Return how vectors are computed, with the devices."""
        return {**self.inside.execution(), "devices": list(self._devices)}

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32.

        Raises:
            EncoderError: as of the encoder; a process ended, or loaded another model.
        """
        unique, places = distinct(check_texts(texts))
        windows = list(plan_windows(np.array([len(text) for text in unique], np.int64), self._part_characters(unique)))
        if len(windows) <= 1:
            return super().encode_passages(texts)
        parts = [[unique[row] for row in window.tolist()] for window in windows]
        return np.concatenate(list(self.encode_stream(parts)))[places]

    def encode_stream(self, steps: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yield the vectors of the passages of each step, (n, dimension) float32, in the order of the steps.

        In memory are the texts and vectors of two steps for each process. Steps that are few texts altogether are
        encoded by the calling process.

        Raises:
            EncoderError: as of the encoder; a process ended, or loaded another model.
        """
        coming = iter(steps)
        first, enough = _first_steps(coming, FEW_CHARACTERS)
        if not enough:
            yield from encode_steps(self.inside, first)
            return
        from concurrent.futures.process import BrokenProcessPool

        pool = self._pool()
        under_way: deque[Future[Encoded]] = deque()
        try:
            for step in chain[Sequence[str]](first, coming):
                under_way.append(pool.submit(encode, check_texts(step)))
                if len(under_way) >= _AHEAD * len(self._devices):
                    yield self._checked(under_way.popleft())
            while under_way:
                yield self._checked(under_way.popleft())
        except (BrokenProcessPool, CancelledError):
            raise self._ended(pool) from None
        except RuntimeError:
            if self._is_closed:  # by another thread: nothing more can be given to the processes
                raise self._ended(pool) from None
            raise
        finally:
            for waiting in under_way:
                waiting.cancel()

    def close(self) -> None:
        """End the processes and let go of the model; the encoder cannot be used afterwards."""
        with self._turn:
            processes, self._processes, self._is_closed = self._processes, None, True
        if processes is not None:
            processes.shutdown(cancel_futures=True)
        super().close()

    def _part_characters(self, texts: Sequence[str]) -> int:
        """Return how many characters of a call's texts go to a process at once: all where they are few."""
        total = sum(map(len, texts))
        if total <= FEW_CHARACTERS:
            return max(total, 1)
        return max(min(_PART_CHARACTERS, total // len(self._devices)), 1)

    def _pool(self) -> ProcessPoolExecutor:
        with self._turn:
            if self._is_closed:
                raise EncoderError(f"encoder {name_of(self.inside)} is closed; load it again")
            if self._processes is None:
                import multiprocessing
                from concurrent.futures import ProcessPoolExecutor

                # A fork would take the threads of the tokenizer and of torch along in whatever state they are.
                context = multiprocessing.get_context("spawn")
                devices: Queue[str] = context.Queue()
                for device in self._devices:
                    devices.put(device)
                sharing = sum(device.partition(":")[0] == "cpu" for device in self._devices)
                self._processes = ProcessPoolExecutor(
                    len(self._devices), context, begin, (self._load, devices, sharing)
                )
            return self._processes

    def _ended(self, pool: ProcessPoolExecutor) -> EncoderError:
        """Return the error for processes that are no more; the next call starts others."""
        with self._turn:
            if self._processes is pool:
                self._processes = None
            if self._is_closed:
                return EncoderError(f"encoder {name_of(self.inside)} was closed while it encoded; load it again")
        return EncoderError(
            f"a process that encodes for {name_of(self.inside)} on {', '.join(self._devices)} ended: memory did not "
            "suffice, or the script that started it does not guard its start by if __name__ == '__main__'"
        )

    def _checked(self, encoded: Future[Encoded]) -> np.ndarray:
        vectors, who = encoded.result()
        if who.identity != self._expected.identity:
            raise EncoderError(
                f"model {name_of(self.inside)} has changed on the disk since it was loaded; load it again"
            )
        if who.precision != self._expected.precision:
            raise EncoderError(
                f"encoder {name_of(self.inside)} computes in {who.precision} on one of {', '.join(self._devices)}, "
                f"in {self._expected.precision} on {self._devices[0]}; give one precision for all"
            )
        return vectors


def _first_steps(steps: Iterator[Sequence[str]], characters: int) -> tuple[list[list[str]], bool]:
    """Take steps until they have more characters; return them, and whether they have."""
    first: list[list[str]] = []
    total = 0
    for step in steps:
        first.append(check_texts(step))
        total += sum(map(len, first[-1]))
        if total > characters:
            return first, True
    return first, False
