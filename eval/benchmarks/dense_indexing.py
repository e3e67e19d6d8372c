"""Dense indexing against bare `SentenceTransformer.encode`: `python -m eval.benchmarks.dense_indexing`.

A collection loads and checks the embedded model, counts tokens, encodes, inverts the texts for BM25 and writes durable
files; the other side loads the same weights and encodes with its defaults (fp32). Vectors are compared first.
"""

from __future__ import annotations

import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from eval.benchmarks.processes import interleaved, ratios, run_worker, spread_of
from eval.benchmarks.short_texts import WordModel
from eval.benchmarks.workers import write_texts
from eval.command_line import DATA, Data, Json, show
from eval.errors import ReproductionError
from eval.outcome import Outcome

_TOLERANCE = 1e-4  # of the cosine from 1: batches of another shape are summed in another order
_MIB = 1 << 20


def measure(data: Path, n: int = 1_000, folder: str = "scifact", repeats: int = 3) -> Outcome:
    """Encode the same texts with both, in fresh processes.

    Args:
        data: folder of test collections.
        n: number of texts, the first of the collection.
        folder: the collection; generated texts stand in where it is missing.
        repeats: measured rounds; an earlier one warms caches up and is checked.

    Raises:
        ReproductionError: the vectors differ, or a process failed.
    """
    texts = _texts(data / folder, n)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        path, index = place / "texts.jsonl", place / "index"
        write_texts(path, texts)
        sides = {
            "ours": ["encode-with-collection", str(path), str(index), str(place / "ours.npy")],
            "bare": ["encode-with-sentence-transformers", str(path), str(place / "bare.npy")],
        }
        for side in sides.values():
            run_worker(side)
        cosine = _lowest_cosine(place)
        if cosine < 1 - _TOLERANCE:
            raise ReproductionError(f"vectors differ: the lowest cosine is {cosine:.6f}; nothing was timed")
        shutil.rmtree(index)
        measured = interleaved(sides, repeats, after_round=lambda: shutil.rmtree(index))
    ours, bare = measured["ours"], measured["bare"]
    ratio = ratios(ours, bare, "seconds")
    rows = [
        [
            name,
            spread_of(side, "seconds").text(2, " s"),
            f"{len(texts) / spread_of(side, 'seconds').median:,.1f}",
            f"{spread_of(side, 'peak').median / _MIB:,.0f} MiB",
        ]
        for name, side in (("collection, on disk", ours), ("SentenceTransformer.encode", bare))
    ]
    notes = [
        f"{len(texts):,} texts ({folder if (data / folder).is_dir() else 'generated'}), long ones truncated, CPU, "
        f"{repeats} rounds in fresh processes, alternating; median (lowest to highest)",
        f"time of ours / time of SentenceTransformer.encode, round by round: {ratio.text(2)}",
        "loading the model counts on both sides; importing the libraries on neither",
        f"checked first: the lowest cosine between the vectors of a text is {cosine:.7f}",
    ]
    numbers = {"n": len(texts), "ours": ours, "sentence_transformers": bare, "ratio": ratio, "lowest_cosine": cosine}
    return Outcome("Dense indexing", ["side", "seconds", "texts / s", "peak memory"], rows, notes, numbers)


def _texts(folder: Path, n: int) -> list[str]:
    if not folder.is_dir():
        return list(WordModel.zipfian().sample(n))
    from retrieval.documents import read_documents

    return [document.full_text for document in islice(read_documents(folder, format="beir"), n)]


def _lowest_cosine(place: Path) -> float:
    ours, bare = (np.load(place / name, allow_pickle=False) for name in ("ours.npy", "bare.npy"))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(bare, axis=1)
    return float(((ours * bare).sum(axis=1) / norms).min())


def main(
    data: Data = DATA,
    n: Annotated[int, typer.Option(min=1, help="Number of texts.")] = 1_000,
    folder: Annotated[str, typer.Option(help="Collection that the texts are taken from.")] = "scifact",
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    json: Json = None,
) -> None:
    """Encode and index texts, beside bare SentenceTransformer.encode."""
    show(lambda: measure(data, n, folder, repeats), json)


if __name__ == "__main__":
    typer.run(main)
