"""What each process of a `ParallelEncoder` does: load the model on its device, encode, end with its parent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.encoders.base import Encoder, fingerprint, settle
from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

Load = Callable[..., Encoder]
"""From a `device` to an encoder; must be picklable."""


class Who(NamedTuple):
    """What must not differ between processes: the fingerprint of the identity, and the precision."""

    identity: str
    precision: str | None


Encoded = tuple[np.ndarray, Who]
"""Vectors, (n, dimension) float32, and whose they are."""


def who_is(encoder: Encoder) -> Who:
    """Return what an encoder has in common with those of the other processes."""
    return Who(fingerprint(encoder.identity()), encoder.execution().get("precision"))


_encoder: Encoder | Exception | None = None
"""Of a process that encodes; or why it cannot."""


def begin(load: Load, devices: Queue[str], sharing: int) -> None:
    """Load the encoder of a process.

    Args:
        load: see `Load`.
        devices: one for each process.
        sharing: how many processes share the processor's cores.
    """
    global _encoder  # noqa: PLW0603 - what an initializer leaves to its process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    device = devices.get()
    if device.partition(":")[0] == "cpu" and sharing > 1:
        _take_threads(sharing)
    try:
        _encoder = load(device=device)
        settle(_encoder)
    except Exception as error:
        _encoder = error


def _end_with_parent() -> None:
    """End this process when the one that started it has ended: without that it would keep its device's memory."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _take_threads(sharing: int) -> None:
    """Leave the other processes their part of the cores."""
    import torch

    threads = max(1, torch.get_num_threads() // sharing)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # what other runtimes look at
    torch.set_num_threads(threads)


def encode(texts: list[str]) -> Encoded:
    """Return the vectors, and whose they are."""
    if _encoder is None or isinstance(_encoder, Exception):
        raise EncoderError(f"a process that encodes could not load its model: {_encoder}")
    return _encoder.encode_passages(texts), who_is(_encoder)
