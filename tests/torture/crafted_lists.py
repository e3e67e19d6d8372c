"""Changes to the lists of an inverted index that a crafted one has, with offsets that fit: packed lists and chunks."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np

_NUMBERS = [
    *(bytes([number]) for number in (0, 1, 2, 3, 126, 127)),
    b"\x80\x00",  # nothing, in two bytes
    b"\x80" * 5 + b"\x00",
    b"\x80" * 6 + b"\x00",  # longer than any number
    b"\x80" * 40,  # without an end
    b"\xff" * 5 + b"\x7f",
    b"\xff" * 6 + b"\x7f",
    b"\xfe\xff\xff\xff\x1f",  # a member of 2^31 and more
    b"\xff\xff\xff\xff\x1f",
    b"\xfd\xff\xff\xff\x0f",  # a frequency of 2^32 - 1
    b"\xfe\xff\xff\xff\x0f",  # and one more
]
"""Bytes that stand for numbers, and bytes that do not."""


def change_packed_list(folder: Path, random_: random.Random) -> str:
    """Replace a document's packed list."""
    content, offsets = np.load(folder / "document-lists.npy"), np.load(folder / "document-offsets.npy")
    lists = [content[begin:end].tobytes() for begin, end in itertools.pairwise(offsets)]
    number = random_.randrange(len(lists))
    how = random_.choice(["numbers", "cut", "longer", "twice", "empty", "noise"])
    old = lists[number]
    lists[number] = {
        "numbers": b"".join(random_.choices(_NUMBERS, k=random_.randint(1, 12))),
        "cut": old[: random_.randrange(len(old) + 1)] + b"\x80",
        "longer": old + random_.choice(_NUMBERS),
        "twice": old + old,
        "empty": b"",
        "noise": random_.randbytes(random_.choice([1, 5, 60])),
    }[how]
    np.save(folder / "document-lists.npy", np.frombuffer(b"".join(lists), np.uint8))
    np.save(folder / "document-offsets.npy", np.cumsum([0, *map(len, lists)]).astype(np.int64))
    return f"{folder.name}: packed list {number}, {how}"


def change_chunks(folder: Path, random_: random.Random) -> str:
    """Cut a postings list in another way, or into what no writer writes."""
    names = ("windows", "sizes", "bounds")
    columns = [np.load(folder / f"postings-chunk-{name}.npy") for name in names]
    chunks = [list(chunk) for chunk in zip(*(column.tolist() for column in columns), strict=True)]
    offsets = np.load(folder / "postings-chunk-offsets.npy").tolist()
    starts = np.load(folder / "postings-offsets.npy")
    lists = [chunks[begin:end] for begin, end in itertools.pairwise(offsets)]
    number = random_.randrange(len(lists))
    mine = lists[number]
    how = random_.choice(["split", "split", "twice", "none", "windows", "sizes", "bounds", "neighbours", "starts"])
    if how == "split" and mine:
        window, size, bound = mine.pop(0)
        first = random_.randint(0, size)
        mine[:0] = [[window, first, bound], [random_.choice([window, window + 1]), max(size - first - 1, 0), bound]]
    elif how == "twice":
        mine *= 2
    elif how == "none":
        mine.clear()
    elif how == "neighbours":
        other = random_.randrange(len(lists))
        lists[number], lists[other] = lists[other], lists[number]
    elif how == "starts":
        place = random_.randrange(len(starts))
        starts[place] = random_.randint(0, int(starts[-1]))
        np.save(folder / "postings-offsets.npy", starts)
    elif how in names:
        for chunk in mine:
            chunk[names.index(how)] = random_.choice([0, 1, 2, 255] if how == "bounds" else [0, 1, 2, 65_535])
    flat = list(itertools.chain.from_iterable(lists))
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        np.save(folder / f"postings-chunk-{name}.npy", np.array([chunk[place] for chunk in flat], column.dtype))
    np.save(folder / "postings-chunk-offsets.npy", np.cumsum([0, *map(len, lists)]).astype(np.int64))
    return f"{folder.name}: chunks of list {number}, {how}"
