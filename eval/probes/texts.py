"""Texts and vectors of a probe, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.errors import MeasureError


def checked_texts(texts: Sequence[str], what: str, least: int = 2) -> list[str]:
    """Return texts as a list.

    Args:
        texts: what is to be probed with.
        what: what they are, for messages.
        least: how many different ones there must be.

    Raises:
        MeasureError: there are fewer, one is blank, or something is no text.
    """
    if isinstance(texts, (str, bytes)):
        raise MeasureError(f"{what}: expected a list of texts, not the single text {texts[:80]!r}")
    checked = list(texts)
    for row, text in enumerate(checked):
        if not isinstance(text, str):
            raise MeasureError(f"{what}: text {row} is {text!r:.80}, not a string")
        if not text.strip():
            raise MeasureError(f"{what}: text {row} is blank; leave it out")
    if len(set(checked)) < least:
        raise MeasureError(f"{what}: {len(set(checked))} different texts are too few; give at least {least}")
    return checked


def unit(vectors: np.ndarray, what: str) -> np.ndarray:
    """Return vectors scaled to length one, (n, d) float64.

    Raises:
        MeasureError: they are no matrix of finite numbers, or one has length zero and so no direction.
    """
    array = np.asarray(vectors, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise MeasureError(f"{what}: vectors must be rows of a matrix, not an array of shape {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise MeasureError(f"{what}: vector {row} holds NaN or infinity")
    lengths = np.linalg.norm(array, axis=1)
    if not lengths.all():
        raise MeasureError(f"{what}: vector {int(np.flatnonzero(lengths == 0)[0])} has length zero, so no direction")
    scaled: np.ndarray = array / lengths[:, None]
    return scaled
