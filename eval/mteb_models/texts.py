"""The texts in what mteb hands to its models: data loaders of batches, columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from eval.errors import TaskError

OTHER_MODALITIES = ("image", "audio", "video")
"""Columns of a batch or a corpus that hold no text."""


def texts_of(batches: Iterable[Mapping[str, Any]], task: str) -> list[str]:
    """Return the texts of all batches, in order.

    Args:
        batches: a data loader.
        task: name of the task, for the message.

    Raises:
        TaskError: there is no text, or not only text.
    """
    return [row["text"] for row in rows_of(batches, task)]


def rows_of(batches: Iterable[Mapping[str, Any]], task: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of all batches, in order: the values of one text by column.

    Args:
        batches: a data loader.
        task: name of the task, for the message.

    Raises:
        TaskError: there is no text, or not only text.
    """
    for batch in batches:
        check_columns(list(batch), task)
        columns = {name: values for name, values in batch.items() if len(values) == len(batch["text"])}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def check_columns(columns: Sequence[str], task: str) -> None:
    """Refuse what is not text alone.

    Raises:
        TaskError: naming the column.
    """
    other = [column for column in OTHER_MODALITIES if column in columns]
    if other:
        raise TaskError(f"task {task!r} has {other[0]} data; the engine's models read text only: choose a text task")
    if "text" not in columns:
        raise TaskError(f"task {task!r} gives no column 'text', only {', '.join(map(repr, columns)) or 'nothing'}")
