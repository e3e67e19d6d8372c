"""The encoding benchmark's process: all sides encode the same texts in turn, beside the processor's own peak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import typer

from eval.benchmarks.encoding_profile import seconds_by_part
from eval.benchmarks.encoding_sides import PROFILED, REFERENCE, Encode, load_sides
from eval.benchmarks.in_turn import in_turn

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

LENGTHS = (8, 16, 32, 64, 128, 256)
"""Tokens of a text, special ones included, at which throughput is measured; the model reads 256."""

NEIGHBOURS = 10
_NEIGHBOURS_OF = 500  # texts, the first ones
_PROFILED = 500  # texts, one in so many
_PEAK_SHAPES = ((2048, 384, 1536), (2048, 1536, 384), (1024, 1152, 1024))
"""Rows, inputs, outputs: the model's widest layers over a batch, and a block of as many operations."""

_PEAK_PRODUCTS = 10  # in one call, so that the clock has something to measure
_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


@app.command()
def compare(path: Path, repeats: int, length_tokens: int) -> None:
    """Compare vectors and time all sides over the texts of a file, then over texts of one length each.

    Args:
        path: a JSON list of distinct texts.
        repeats: measured rounds.
        length_tokens: tokens that are encoded at each of `LENGTHS`; 0 leaves that out.
    """
    texts = msgspec.json.decode(path.read_bytes(), type=list[str])
    sides, left_out = load_sides()
    counts = token_counts(texts)
    calls: dict[str, Callable[[], object]] = {name: partial(side.encode, texts) for name, side in sides.items()}
    products = peak_calls({side.precision for side in sides.values()})
    agreement = compared({name: side.encode for name, side in sides.items()}, texts)
    peaks: dict[str, dict[str, list[float]]] = {precision: {} for precision in products}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats):
        order = list(calls) if number % 2 == 0 else list(reversed(calls))
        for name, times in in_turn({name: calls[name] for name in order}, 1, warm=True).items():
            seconds[name] += times
        for precision, ways in products.items():  # in each round, so that both meet the same machine
            for name, times in in_turn(ways, 1).items():
                peaks[precision].setdefault(name, []).extend(times)
    measured = {
        "texts": len(texts),
        "tokens": int(counts.sum()),
        "flops": flops(counts),
        "peak_flops": _PEAK_PRODUCTS * 2 * int(np.prod(_PEAK_SHAPES[0])),
        "peaks": best_peaks(peaks),
        "sides": {name: {"precision": side.precision, **agreement[name]} for name, side in sides.items()},
        "seconds": seconds,
        "left_out": left_out,
        "profiles": {
            name: seconds_by_part(side.encode, texts[:: max(1, len(texts) // _PROFILED)])
            for name, side in sides.items()
            if name in PROFILED
        },
    }
    lengths = []
    if length_tokens:
        for length in LENGTHS:
            alike = texts_of_length(texts, length, max(length_tokens // length, 1))
            calls = {name: partial(side.encode, alike) for name, side in sides.items()}
            found = {"length": length, "texts": len(alike), "seconds": in_turn(calls, repeats)}
            lengths.append(found)
    typer.echo(msgspec.json.encode({**measured, "lengths": lengths}).decode())


@app.callback()
def commands() -> None:
    """All sides, in one process."""


def compared(encoders: Mapping[str, Encode], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return how near each side's vectors are to those of the reference.

    Args:
        encoders: by side, `REFERENCE` among them.
        texts: distinct ones, more than `NEIGHBOURS`.

    Returns:
        By side the mean and the smallest cosine to the reference, and `overlap`, the mean share of the nearest
        `NEIGHBOURS` texts that both agree on, of the first texts.
    """
    reference = normalised(encoders[REFERENCE](texts))
    nearest = nearest_texts(reference)
    found = {}
    for name, encode in encoders.items():
        vectors = normalised(encode(texts))
        cosines = np.einsum("nd,nd->n", vectors, reference)
        pairs = zip(nearest_texts(vectors), nearest, strict=True)
        overlap = np.mean([len(set(ours) & set(theirs)) / len(theirs) for ours, theirs in pairs])
        found[name] = {"mean": float(cosines.mean()), "min": float(cosines.min()), "overlap": float(overlap)}
    return found


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length one, (n, d) float64; bf16 leaves them a little shorter or longer."""
    exact = np.asarray(vectors, np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True))


def nearest_texts(vectors: np.ndarray) -> list[list[int]]:
    """Return which other texts are nearest to each of the first ones, (at most 500, at most `NEIGHBOURS`)."""
    scores = vectors[:_NEIGHBOURS_OF] @ vectors.T
    scores[np.arange(len(scores)), np.arange(len(scores))] = -np.inf
    k = min(NEIGHBOURS, len(vectors) - 1)
    found: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
    return found


def token_counts(texts: Sequence[str]) -> np.ndarray:
    """Return the tokens of each text that the embedded model reads, (n,) int64."""
    encoder = _encoder()
    return np.minimum(encoder.count_tokens(texts), encoder.max_tokens)


def texts_of_length(texts: Sequence[str], length: int, n: int) -> list[str]:
    """Return n distinct texts of so many tokens each, cut from others that stand one behind the other.

    Args:
        texts: to cut from.
        length: tokens, special ones included.
        n: texts.
    """
    encoder = _encoder()
    whole = " ".join(texts)
    spans = encoder.token_spans([whole])[0]
    # A piece may begin within a word, whose tokens then are others: some more are cut, and those that fit are taken.
    room = length - 2
    found: dict[str, None] = {}
    for shift in range(room):
        starts = range(shift, len(spans) - room, room)
        cut = list(dict.fromkeys(whole[spans[start][0] : spans[start + room - 1][1]] for start in starts))
        counts = encoder.count_tokens(cut) if cut else []
        found.update(dict.fromkeys(text for text, count in zip(cut, counts, strict=True) if count == length))
        if len(found) >= n:
            break
    return list(found)[:n]


def flops(lengths: np.ndarray) -> float:
    """Return the multiplications and additions of the embedded model for texts of these lengths, padding left out.

    Of each token and layer four products of d x d and two of d x inner; of each pair of tokens of a text two of d.

    Args:
        lengths: (n,) tokens.
    """
    config = _encoder_config()
    d, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    linear = int(lengths.sum()) * 2 * (4 * d * d + 2 * d * inner)
    attention = int((lengths.astype(np.int64) ** 2).sum()) * 2 * 2 * d
    return float(layers * (linear + attention))


def peak_calls(precisions: set[str]) -> dict[str, dict[str, Callable[[], object]]]:
    """Return by precision calls that do nothing but multiply matrices, of several shapes and in several ways.

    All of them take as many multiplications and additions; the fastest is the measure of what there is to be had.
    """
    import torch

    functions: dict[str, Callable[[Any, Any], object]] = {
        "linear": torch.nn.functional.linear,
        "mm": lambda left, right: torch.mm(left, right.T),
        "mm, laid out": torch.mm,
    }
    found: dict[str, dict[str, Callable[[], object]]] = {}
    for precision in sorted(precisions & set(_DTYPES)):
        dtype = getattr(torch, _DTYPES[precision])
        found[precision] = calls = {}
        for rows, inputs, outputs in _PEAK_SHAPES:
            for name, function in functions.items():
                left = torch.randn(rows, inputs).to(dtype)
                right = torch.randn(*((inputs, outputs) if name == "mm, laid out" else (outputs, inputs))).to(dtype)

                def multiply(function: Any = function, left: Any = left, right: Any = right) -> None:
                    for _ in range(_PEAK_PRODUCTS):
                        function(left, right)

                calls[f"{name} {rows} x {inputs} x {outputs}"] = multiply
    return found


def best_peaks(found: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Return by precision the shortest time of any way to multiply, round by round."""
    return {precision: [min(times) for times in zip(*ways.values(), strict=True)] for precision, ways in found.items()}


def _encoder() -> Any:
    from retrieval.encoders import load_encoder

    if not _LOADED:
        _LOADED.append(load_encoder("embedded"))
    return _LOADED[0]


def _encoder_config() -> dict[str, int]:
    from retrieval.encoders.embedded import embedded_folder

    config: dict[str, int] = msgspec.json.decode((embedded_folder() / "config.json").read_bytes())
    return config


_LOADED: list[Any] = []

if __name__ == "__main__":
    app()
