"""How much of a GPU a call uses: whether it computes at all, and how fast it could multiply."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SAMPLE_SECONDS = 0.05


def busy_while(call: Callable[[], object], device: str) -> tuple[float, list[float]]:
    """Run a call; returns its seconds, and the share of the time in which its GPU computed, in per cent, as sampled.

    The driver says the share of a period of its own, a sixth of a second to a second. There are no samples on other
    devices, and none where its library (the package nvidia-ml-py) is not installed.

    Args:
        call: that returns when the device has finished.
        device: "cuda", "cuda:1", "cpu", …
    """
    done, samples = threading.Event(), list[float]()
    watcher = threading.Thread(target=_watch, args=(device, done, samples), daemon=True)
    watcher.start()
    try:
        began = time.perf_counter()
        call()
        seconds = time.perf_counter() - began
    finally:
        done.set()
        watcher.join()
    return seconds, samples


def seconds_of_product(shape: tuple[int, int, int], precision: str, device: str, repeats: int = 5) -> float:
    """Return the shortest time of a product of matrices.

    Args:
        shape: rows, inputs and outputs.
        precision: "fp32", "bf16" or "fp16".
        device: where it is computed.
        repeats: products that are timed, after one that is not.
    """
    import torch

    from retrieval.execution.precision import dtype_of

    rows, inputs, outputs = shape
    dtype = dtype_of(precision)  # type: ignore[arg-type]  # one that a side computes in
    left, right = (torch.randn(size, device=device).to(dtype) for size in ((rows, inputs), (inputs, outputs)))
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        torch.mm(left, right)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)  # the call itself only queues the work
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _watch(device: str, done: threading.Event, samples: list[float]) -> None:
    import torch

    while device.startswith("cuda") and not done.wait(_SAMPLE_SECONDS):
        try:
            samples.append(float(torch.cuda.utilization(device)))
        except (RuntimeError, ModuleNotFoundError):  # no driver's library
            return
