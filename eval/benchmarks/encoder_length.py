"""Time and memory of long-context encoders against the length of a text: `python -m eval.benchmarks.encoder_length`.

Attention with ALiBi, computed in three ways, beside the long convolutions of a Monarch Mixer: the same widths, random
weights, one text in fp32. Attention costs the square of the length in time however it is computed; what differs is the
memory. The convolutions cost length times its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from eval.benchmarks.encoder_length_worker import ENCODERS, N_HEADS, WIDTHS
from eval.benchmarks.processes import Spread, run_worker
from eval.command_line import Json, show
from eval.errors import ReproductionError
from eval.outcome import Outcome

LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768)
NAMES = {
    "dense": "ALiBi, all biases at once",
    "blockwise": "ALiBi, by blocks of queries",
    "streamed": "ALiBi, streamed",
    "monarch-mixer": "Monarch Mixer",
}
LONGEST_DENSE = 8192
"""Tokens up to which all biases are held at once; at twice that they take 4 GiB."""

_WORKER = "eval.benchmarks.encoder_length_worker"
_COMPARED = 1200  # tokens; more than one block of queries
_TOLERANCE = 1e-4
_MIB = 1 << 20


def measure(lengths: Sequence[int] = LENGTHS, repeats: int = 3, cores: int = 1) -> Outcome:
    """Encode one text of each length with each encoder, in fresh processes.

    Args:
        lengths: tokens, ascending.
        repeats: measured rounds.
        cores: processors that each process is confined to.

    Raises:
        ReproductionError: the ways of attention disagree, or a process failed.
    """
    difference = float(run_worker(["compare", str(_COMPARED)], _WORKER)["largest_difference"])
    if difference > _TOLERANCE:
        raise ReproductionError(f"the ways of attention differ by {difference:.2g}; nothing was timed")
    measured: dict[str, dict[int, list[dict[str, Any]]]] = {encoder: {} for encoder in ENCODERS}
    for length in lengths:
        for number in range(repeats):
            for encoder in ENCODERS if number % 2 == 0 else reversed(ENCODERS):
                if encoder != "dense" or length <= LONGEST_DENSE:
                    found = run_worker(["encode", encoder, str(length)], _WORKER, cores=cores)
                    measured[encoder].setdefault(length, []).append(found)
    columns = ["encoder", *(f"{length:,}" for length in lengths), "grows as"]
    rows = [[NAMES[encoder], *_cells(measured[encoder], lengths)] for encoder in ENCODERS]
    notes = [
        f"one text of random tokens, fp32, {cores} core{'s' * (cores > 1)}; {WIDTHS['num_hidden_layers']} layers of "
        f"{WIDTHS['hidden_size']}, {N_HEADS} heads, inner width {WIDTHS['intermediate_size']:,}, random weights",
        f"median of {repeats} fresh processes, alternating; memory is what the text adds to the loaded model's peak",
        "grows as: the exponents of the length in time and memory, from the two longest texts",
        f"checked first, at {_COMPARED:,} tokens: the three ways of attention differ by at most {difference:.1g} in "
        "states of unit variance",
    ]
    return Outcome("Encoder length", columns, rows, notes, {"measured": measured, "difference": difference})


def medians(rounds: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return the median seconds and bytes of one encoder at one length."""
    return Spread.of([each["seconds"] for each in rounds]).median, Spread.of([each["memory"] for each in rounds]).median


def exponent(small: float, large: float, ratio: float) -> float:
    """Return e such that a quantity grows as the length to the e, when lengths are `ratio` apart.

    Args:
        small: the quantity at the shorter length, above 0.
        large: at the longer one.
        ratio: longer length / shorter length.
    """
    return math.log(large / small) / math.log(ratio)


def _cells(measured: Mapping[int, Sequence[Mapping[str, float]]], lengths: Sequence[int]) -> list[str]:
    found = {length: medians(rounds) for length, rounds in measured.items()}
    cells = []
    for length in lengths:
        seconds, memory = found.get(length, (None, None))
        cells.append("" if seconds is None or memory is None else f"{seconds:.3f} s, {memory / _MIB:,.0f} MiB")
    if len(found) < 2:
        return [*cells, ""]
    before, last = sorted(found)[-2:]
    ratio = last / before
    time = exponent(found[before][0], found[last][0], ratio)
    memory_exponent = exponent(max(found[before][1], 1.0), max(found[last][1], 1.0), ratio)  # it can be 0
    return [*cells, f"{time:.1f}, {memory_exponent:.1f}"]


def main(
    length: Annotated[list[int] | None, typer.Option(min=128, help="Tokens; may be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    cores: Annotated[int, typer.Option(min=1, help="Processors of each process.")] = 1,
    json: Json = None,
) -> None:
    """Encode texts of growing length with attention and with long convolutions."""
    show(lambda: measure(sorted(length) if length else LENGTHS, repeats, cores), json)


if __name__ == "__main__":
    typer.run(main)
