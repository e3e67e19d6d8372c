"""A network compiled by OpenVINO that stays of use after a batch for which memory was short.

Its layers are kept at the shapes of the last batch. One that fails leaves some of them at its own shapes, and others at
those of the batch before, but without the memory that went with them. A layer whose shapes do not change is left alone,
so that a second batch of such shapes fails as well, with an error about memory or about dimensions, or gives nothing
back (seen with OpenVINO 2026.4). A batch of a third shape brings all layers to one state again. Compiling anew would,
too, but takes memory where there is none.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

_SHORT_OF_MEMORY = re.compile(r"Failed to allocate \d+ bytes of memory")
"""What OpenVINO's errors say when memory is short."""


class OpenVinoNetwork:
    """Runs batches, one at a time.

    Args:
        compiled: by OpenVINO, in one stream, so that its layers are there once.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._lock = threading.Lock()
        self._failed = False  # the last batch
        self._shapes: set[tuple[int, int]] = set()
        """At which layers may stand: that of the last batch, and of all since the last one that did not fail."""

    def run(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the network's output.

        Args:
            features: (n, width) int64, by the network's names for its inputs.

        Raises:
            MemoryError: OpenVINO had too little memory.
        """
        with self._lock:
            if self._failed:
                self._infer(_of_another_shape(features, self._shapes))
            return self._infer(features)

    def _infer(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        n, width = next(iter(features.values())).shape
        self._shapes.add((n, width))
        self._failed = True  # until it is known that it has not
        request = self._compiled.create_infer_request()
        try:
            found = request.infer(features, share_inputs=True)
        except RuntimeError as error:
            said = _SHORT_OF_MEMORY.search(str(error))
            if said is None:
                raise
            reason = said[0]
        else:
            output: np.ndarray = found[0]
            if output.size:
                self._shapes, self._failed = {(n, width)}, False
                return output
            reason = "gave nothing back"  # without an error: so it is with one thread
        raise MemoryError(f"OpenVINO: {reason}")


def _of_another_shape(features: Mapping[str, np.ndarray], shapes: set[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Return a small batch that has neither as many texts nor as many tokens as any of some shapes."""
    n = next(number for number in count(1) if all(number != texts for texts, _ in shapes))
    width = next(number for number in count(1) if all(number != tokens for _, tokens in shapes))
    return {name: np.resize(values[:1, :1], (n, width)) for name, values in features.items()}
