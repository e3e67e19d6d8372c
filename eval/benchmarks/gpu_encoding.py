"""Encoding on one GPU against sentence-transformers: `python -m eval.benchmarks.gpu_encoding --data ../shared/data`.

The same texts and the same model as in `eval.benchmarks.encoding`, in one process, side by side in turn; each side is
called as its users call it, tokenisation included, and returns vectors in the processor's memory. sentence-transformers
also takes part with larger batches than its default, and with flash attention where that is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from eval.benchmarks.device_use import busy_while, seconds_of_product
from eval.benchmarks.encoding import check, mixed_texts
from eval.benchmarks.encoding_sides import REFERENCE, Encode, LeftOut, Side, load_sides
from eval.benchmarks.encoding_worker import compared, flops, token_counts
from eval.benchmarks.in_turn import times_slower
from eval.benchmarks.processes import Spread
from eval.command_line import DATA, Data, Json, show
from eval.outcome import Outcome
from retrieval.execution.precision import Precision

TITLE = "GPU encoding"
N_TEXTS = 5_000
PRODUCT = (8192, 4096, 4096)
"""Rows, inputs and outputs of the product of matrices whose speed is the peak."""

_LARGER_BATCH = 256  # texts; the default is 32
_FEWEST = 30  # texts
_COLUMNS = ["side", "seconds", "tokens/s", "times faster", "share of peak", "GPU busy", "cosine mean", "min"]


def missing_device() -> str | None:
    """Say why nothing can be measured here; None where there is a GPU."""
    import torch

    return None if torch.cuda.is_available() else "PyTorch finds no GPU here"


def measure(data: Path, *, share: float = 1.0, repeats: int = 3, device: str = "cuda") -> Outcome:
    """Encode texts of mixed length with every side in turn.

    Args:
        data: folder of test collections.
        share: of `N_TEXTS`.
        repeats: measured rounds; an earlier one warms up and is checked.
        device: that all sides compute on; "cpu" tries the benchmark where there is no GPU.

    Raises:
        EvaluationError: a collection is missing or cannot be read.
        ReproductionError: vectors differ.
    """
    texts = mixed_texts(data, max(_FEWEST, round(N_TEXTS * share)))
    sides, left_out = load_sides(sides_on(device))
    agreement = compared({name: side.encode for name, side in sides.items()}, texts)
    checked = {name: {"precision": side.precision, **agreement[name]} for name, side in sides.items()}
    check(checked)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    peaks: dict[str, list[float]] = {side.precision: [] for side in sides.values()}
    for number in range(repeats):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            taken, used = busy_while(partial(sides[name].encode, texts), device)
            seconds[name].append(taken)
            busy[name] += used
        for precision, times in peaks.items():  # in each round, so that both meet the same machine
            times.append(seconds_of_product(PRODUCT, precision, device))
    counts = token_counts(texts)
    found = {
        "texts": len(texts),
        "tokens": int(counts.sum()),
        "flops": flops(counts),
        "sides": checked,
        "seconds": seconds,
        "busy": busy,
        "peaks": peaks,
    }
    return Outcome(
        TITLE, _COLUMNS, [row(name, found) for name in sides], _notes(found, left_out, repeats, device), found
    )


def sides_on(device: str) -> dict[str, Callable[[], Side]]:
    """Return the sides by name, each loaded on a device when it is called."""
    return {
        REFERENCE: lambda: _library(device, "fp32"),
        f"{REFERENCE}, bf16": lambda: _library(device, "bf16"),
        f"{REFERENCE}, bf16, {_LARGER_BATCH} texts at once": lambda: _library(device, "bf16", batch_size=_LARGER_BATCH),
        f"{REFERENCE}, bf16, flash attention": lambda: _library(device, "bf16", attention="flash_attention_2"),
        "engine, fp32": lambda: _engine(device, "fp32"),
        "engine, bf16": lambda: _engine(device, "bf16"),
    }


def row(name: str, found: Mapping[str, Any]) -> list[str]:
    """Return the table's row of a side.

    Args:
        name: of the side.
        found: see `measure`.
    """
    side, seconds, busy = found["sides"][name], found["seconds"][name], found["busy"][name]
    rounds, products = zip(seconds, found["peaks"][side["precision"]], strict=True), 2 * float(np.prod(PRODUCT))
    shares = [(found["flops"] / ours) / (products / best) for ours, best in rounds]
    return [
        name,
        Spread.of(seconds).text(2),
        f"{found['tokens'] / Spread.of(seconds).median:,.0f}",
        times_slower(found["seconds"][REFERENCE], seconds).text(2),
        f"{100 * Spread.of(shares).median:.0f} %",
        f"{np.mean(busy):.0f} %" if busy else "",
        f"{side['mean']:.6f}",
        f"{side['min']:.6f}",
    ]


def _notes(found: Mapping[str, Any], left_out: Mapping[str, str], repeats: int, device: str) -> list[str]:
    speeds = {name: 2 * float(np.prod(PRODUCT)) / min(times) / 1e12 for name, times in found["peaks"].items()}
    named = ", ".join(f"{speed:,.2f} TFLOP/s of {precision}" for precision, speed in speeds.items())
    return [
        f"{found['texts']:,} distinct texts, {found['tokens']:,} tokens: abstracts, passages, titles in equal parts; "
        f"MiniLM-L6, tokenisation included, on {_called(device)}",
        f"median of {repeats} rounds in one process, in turn, with the range; times faster than {REFERENCE} with its "
        "defaults: round by round",
        f"share of peak: what the texts need, padding left out, against {named}, a product of "
        f"{' x '.join(map(str, PRODUCT))}; GPU busy: share of the time in which it computed at all, as its driver says",
        *(f"{name} is left out: {reason}" for name, reason in left_out.items()),
    ]


def _called(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _library(device: str, precision: Precision, *, batch_size: int = 32, attention: str | None = None) -> Side:
    from sentence_transformers import SentenceTransformer

    from retrieval.encoders.embedded import embedded_folder
    from retrieval.execution.precision import dtype_of

    if attention is not None and importlib.util.find_spec("flash_attn") is None:
        raise LeftOut("the package flash-attn is not installed")
    settings = {"dtype": dtype_of(precision)} | ({"attn_implementation": attention} if attention else {})
    model = SentenceTransformer(str(embedded_folder()), device=device, model_kwargs=settings)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(model.encode(list(texts), batch_size=batch_size, show_progress_bar=False), np.float32)

    return Side(encode, precision)


def _engine(device: str, precision: Precision) -> Side:
    from retrieval.encoders.embedded import embedded_folder
    from retrieval.encoders.model_loading import load_sentence_transformer

    encode: Encode = load_sentence_transformer(embedded_folder(), precision=precision, device=device).encode_passages
    return Side(encode, precision)


def main(
    *,
    data: Data = DATA,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the texts, to try it.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    device: Annotated[str, typer.Option(help="Device of all sides; cpu to try it.")] = "cuda",
    json: Json = None,
) -> None:
    """Encode texts of mixed length on a GPU."""
    reason = missing_device() if device.startswith("cuda") else None
    if reason is not None:
        typer.echo(f"error: {reason}; try the benchmark with --device cpu", err=True)
        raise typer.Exit(1)
    show(lambda: measure(data, share=share, repeats=repeats, device=device), json)


if __name__ == "__main__":
    typer.run(main)
