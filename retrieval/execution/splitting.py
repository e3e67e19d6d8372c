"""Batches one after another; one that does not fit into memory goes through in halves, and the log says so."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from retrieval.errors import EncoderError

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

_SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "cublas_status_alloc_failed",
    "could not create a memory object",  # oneDNN
)
"""What a `RuntimeError` of a library says when memory is short, in small letters."""


class MemoryLimit:
    """What was learnt of the memory for a network's batches, kept by the network's owner from call to call.

    Threads may share one: of two that lower it at once one may go unheard, and is heard at its next failure.

    Attributes:
        tokens: of a batch of several texts, at most; infinite until a batch did not fit.
    """

    def __init__(self) -> None:
        self.tokens = math.inf

    def lower(self, tokens: float) -> None:
        """Allow so many tokens at most; what allows more changes nothing."""
        self.tokens = min(self.tokens, tokens)


def run_batches(
    batches: Iterable[np.ndarray],
    run: Callable[[np.ndarray], Found],
    lengths: np.ndarray,
    limit: MemoryLimit | None = None,
) -> Iterator[tuple[np.ndarray, Found]]:
    """Yield the rows of each batch with what was found for them.

    After a batch that did not fit, none is run that has more than half of its tokens, unless it is a single text.

    Args:
        batches: (m,) int64 rows each.
        run: from rows to their results.
        lengths: (n,) tokens of each row.
        limit: what earlier calls learnt, and later ones are to know; by default nothing is known or kept.

    Raises:
        EncoderError: a single text does not fit.
    """
    limit = limit or MemoryLimit()
    for batch in batches:
        known = limit.tokens
        waiting = [batch]
        while waiting:
            rows = waiting.pop()
            tokens = int(lengths[rows].sum())
            if tokens > limit.tokens and len(rows) > 1:
                middle = len(rows) // 2
                waiting += [rows[middle:], rows[:middle]]
                continue
            try:
                found = run(rows)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = " ".join(str(error).split())[:200] or type(error).__name__
            else:
                yield rows, found
                continue
            # Outside of the handler: the traceback holds the tensors that did not leave room.
            if len(rows) == 1:
                limit.tokens = known  # not the batch was too large: of batches nothing was learnt
                raise EncoderError(
                    f"a text of {tokens} tokens does not fit into memory ({reason}); let less of a text be read"
                )
            limit.lower(tokens / 2)
            logger.warning(
                "a batch of %d texts, %d tokens, does not fit into memory (%s); it is run again in halves, and so are "
                "larger ones: set batch_tokens lower",
                len(rows),
                tokens,
                reason,
            )
            _free_caches()
            waiting.append(rows)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of any library says that memory is short."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def _free_caches() -> None:
    """Give back what PyTorch keeps of a GPU's memory, where it has any."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
