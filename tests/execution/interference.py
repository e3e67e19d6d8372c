"""What may come in between while a network computes: memory runs short, or another thread closes its owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Room:
    """Lets a network's embeddings take so many tokens of several texts at a time.

    Args:
        embeddings: of the network; packed and padded execution both call them.
        tokens: that fit.

    Attributes:
        failed: tokens of the batches that did not fit.
    """

    def __init__(self, embeddings: Any, tokens: int) -> None:
        self.tokens = tokens
        self.failed: list[int] = []
        embeddings.register_forward_pre_hook(self._check, with_kwargs=True)

    def _check(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tokens = (given[0] if given else named["input_ids"]).numel()
        if tokens > self.tokens:
            self.failed.append(tokens)
            raise MemoryError("full")


def once_within(embeddings: Any, act: Callable[[], None]) -> None:
    """Do something in the middle of the next batch, as another thread would, and not again."""

    def do(*_: Any) -> None:
        hook.remove()
        act()

    hook = embeddings.register_forward_hook(do)
