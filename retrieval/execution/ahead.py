"""One step ahead: while a model runs, the next texts are tokenised in a thread beside it.

Tokenizers work outside of Python's lock, by default on all cores. That is left as it is: a text's tokens take a few
hundredths of the time of its vector on one core, so the two hardly meet, and beside a GPU the cores have nothing to do.
Where cores are to be kept free, RAYON_NUM_THREADS bounds the tokenizer's threads, OMP_NUM_THREADS PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def one_ahead(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Yield what is made of each thing in turn, the next one being made meanwhile.

    Two at most are in memory: the one that was yielded last and the next. A single one is made without a thread.

    Args:
        make: may raise; its error comes out where its result would have.
        given: taken one at a time, in the caller's thread.
    """
    rest = iter(given)
    try:
        current = next(rest)
    except StopIteration:
        return
    made = make(current)
    try:
        current = next(rest)
    except StopIteration:
        yield made
        return
    with ThreadPoolExecutor(1, "tokenise") as pool:
        waiting = pool.submit(make, current)
        for following in rest:
            yield made
            made = waiting.result()
            waiting = pool.submit(make, following)
        yield made
        yield waiting.result()
