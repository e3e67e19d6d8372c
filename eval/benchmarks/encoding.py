"""Encoding against sentence-transformers: `python -m eval.benchmarks.encoding --data ../shared/data`.

The same model in memory, the same distinct texts of mixed length: SciFact's abstracts, passages of MS MARCO, titles of
NFCorpus. Each side is called as its users call it, tokenisation included. Vectors are compared first. A second table
has texts of one length each. A third says where the engine's own time goes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from eval.benchmarks.encoding_sides import REFERENCE
from eval.benchmarks.encoding_worker import LENGTHS, NEIGHBOURS
from eval.benchmarks.in_turn import times_slower
from eval.benchmarks.processes import Spread, run_worker
from eval.command_line import DATA, Data, Json, show_all
from eval.errors import EvaluationError, ReproductionError
from eval.outcome import Outcome

N_TEXTS = 5000
"""Texts of mixed length, a third of each source."""

LENGTH_TOKENS = 20_000
"""Tokens that are encoded at each length."""

SOURCES = {"scifact": "full_text", "msmarco-dl19": "text", "nfcorpus": "title"}
"""Collections, and what of their documents is encoded."""

LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.995}
"""Cosines to the reference below which nothing is reported: a side computes something else then."""

_WORKER = "eval.benchmarks.encoding_worker"
_FEWEST = 30  # texts


def measure(data: Path, *, share: float = 1.0, repeats: int = 3, cores: int = 1) -> list[Outcome]:
    """Encode texts with every side in one process, in turn.

    Args:
        data: folder of test collections.
        share: of `N_TEXTS` and `LENGTH_TOKENS`.
        repeats: measured rounds; earlier ones warm up and are checked.
        cores: processors that the process is confined to.

    Raises:
        EvaluationError: a collection is missing or cannot be read.
        ReproductionError: vectors differ, or the process failed.
    """
    texts = mixed_texts(data, max(_FEWEST, round(N_TEXTS * share)))
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "texts.json"
        path.write_bytes(msgspec.json.encode(texts))
        arguments = ["compare", str(path), str(repeats), str(max(LENGTHS[-1], round(LENGTH_TOKENS * share)))]
        found = run_worker(arguments, _WORKER, cores=cores)
    check(found["sides"])
    return [mixed_outcome(found, repeats, cores), profile_outcome(found, cores), length_outcome(found, repeats, cores)]


def mixed_texts(data: Path, n: int) -> list[str]:
    """Return distinct texts, as many of each source, one source after the other.

    Raises:
        EvaluationError: a collection is missing, or has too few of them.
    """
    from retrieval.documents import read_documents

    of_each = -(-n // len(SOURCES))
    texts: dict[str, None] = {}
    for name, part in SOURCES.items():
        before = len(texts)
        if not (data / name).is_dir():
            raise EvaluationError(f"{data} has no collection {name!r} to take texts from")
        for document in read_documents(data / name, format="beir"):
            if text := str(getattr(document, part)).strip():
                texts[text] = None
            if len(texts) - before == of_each:
                break
        else:
            raise EvaluationError(f"{name} has {len(texts) - before} distinct texts of {of_each}; take a smaller share")
    return list(islice(texts, n))


def check(sides: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse sides whose vectors are not those of the reference.

    Raises:
        ReproductionError: naming the side and its smallest cosine.
    """
    for name, side in sides.items():
        least = LEAST_COSINE.get(side["precision"], 0.0)
        if not side["min"] >= least:
            raise ReproductionError(
                f"{name}: a vector has cosine {side['min']:.6f} to that of {REFERENCE}, less than {least}; nothing is "
                "reported"
            )


def mixed_outcome(found: Mapping[str, Any], repeats: int, cores: int) -> Outcome:
    """Return the table of texts of mixed length."""
    columns = ["side", "seconds", "tokens/s", "times faster", "share of peak", "cosine mean", "min", "neighbours"]
    rows = [_row(name, found) for name in found["sides"]]
    peaks = {precision: found["peak_flops"] / min(times) / 1e9 for precision, times in found["peaks"].items()}
    notes = [
        f"{found['texts']:,} distinct texts, {found['tokens']:,} tokens: abstracts, passages, titles in equal parts; "
        f"MiniLM-L6, tokenisation included, {cores} core{'s' * (cores > 1)}",
        f"median of {repeats} rounds in one process, in turn, with the range; times faster than {REFERENCE} with its "
        "defaults: round by round",
        "share of peak: multiplications and additions that the texts need, padding left out, against "
        + ", ".join(f"{speed:,.0f} GFLOP/s of {precision}" for precision, speed in peaks.items())
        + ", the fastest of nine products of matrices (three shapes, two of them the model's, in three ways) in each "
        "round",
        f"cosines are to the vectors of {REFERENCE}; neighbours: share of each text's {NEIGHBOURS} nearest that are "
        "the same",
        *(f"{name} is left out: {reason}" for name, reason in found["left_out"].items()),
    ]
    return Outcome("Encoding", columns, rows, notes, {"measured": dict(found)})


def profile_outcome(found: Mapping[str, Any], cores: int) -> Outcome:
    """Return the table of where the engine's time goes."""
    profiles: Mapping[str, Mapping[str, float]] = found["profiles"]
    parts = list(next(iter(profiles.values())))
    rows = [
        [part, *(f"{100 * seconds[part] / sum(seconds.values()):.1f} %" for seconds in profiles.values())]
        for part in parts
    ]
    notes = [
        f"some of the same texts, evenly drawn, once under PyTorch's profiler; shares of the call's time, {cores} "
        f"core{'s' * (cores > 1)}"
    ]
    return Outcome("Encoding, where the time goes", ["part", *profiles], rows, notes, {"profiles": dict(profiles)})


def length_outcome(found: Mapping[str, Any], repeats: int, cores: int) -> Outcome:
    """Return the table of texts of one length each."""
    columns = ["side", *(f"{each['length']} tokens" for each in found["lengths"])]
    rows = [[name, *(f"{throughput(each, name):,.0f}" for each in found["lengths"])] for name in found["sides"]]
    notes = [
        "tokens a second, texts of exactly that many tokens, special ones included; best of "
        f"{repeats} rounds in one process, in turn, {cores} core{'s' * (cores > 1)}"
    ]
    return Outcome("Encoding, by length", columns, rows, notes, {"lengths": found["lengths"]})


def throughput(measured: Mapping[str, Any], side: str) -> float:
    """Return the tokens a second of a side at one length, in its best round."""
    tokens: int = measured["texts"] * measured["length"]
    return tokens / float(min(measured["seconds"][side]))


def _row(name: str, found: Mapping[str, Any]) -> list[str]:
    side, seconds = found["sides"][name], found["seconds"][name]
    peak = found["peaks"].get(side["precision"])
    # Work and time of both: the share is of two speeds that were measured in the same round.
    shares = (
        None
        if peak is None
        else [(found["flops"] / ours) / (found["peak_flops"] / best) for ours, best in zip(seconds, peak, strict=True)]
    )
    return [
        name,
        Spread.of(seconds).text(2),
        f"{found['tokens'] / Spread.of(seconds).median:,.0f}",
        times_slower(found["seconds"][REFERENCE], seconds).text(2),
        "" if shares is None else f"{100 * Spread.of(shares).median:.0f} %",
        f"{side['mean']:.6f}",
        f"{side['min']:.6f}",
        f"{side['overlap']:.3f}",
    ]


def main(
    *,
    data: Data = DATA,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the texts, to try it.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    cores: Annotated[int, typer.Option(min=1, help="Processors of the process.")] = 1,
    json: Json = None,
) -> None:
    """Encode texts of mixed length, and texts of one length each."""
    show_all(lambda: measure(data, share=share, repeats=repeats, cores=cores), json)


if __name__ == "__main__":
    typer.run(main)
