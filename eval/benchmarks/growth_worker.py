"""The growth benchmark's processes: `build` indexes a stream of synthetic texts, `search` searches what it made."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import typer

from eval.benchmarks.in_turn import in_turn, latencies, percentiles
from eval.benchmarks.peers.engine_lexical import EngineCollection
from eval.benchmarks.peers.lexical import Texts, default_analyser
from eval.benchmarks.processes import peak_memory, resident_memory
from eval.benchmarks.query_spans import LENGTHS, query_spans
from eval.benchmarks.short_texts import word_model
from eval.benchmarks.workers import directory_size
from retrieval import Collection
from retrieval.documents import Document

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_QUERY_TEXTS = 5_000  # texts of another seed, which the queries are taken from
_KS = (10, 1000)


@app.command()
def build(n: int, data: Path, directory: Path) -> None:
    """Index n texts that are made on the way, then merge all segments; what making them takes is subtracted."""
    model = word_model(data)
    before = peak_memory()
    began = time.perf_counter()
    for _ in model.sample(n):
        pass
    making = time.perf_counter() - began
    began = time.perf_counter()
    collection = Collection.create(directory, encoder=None)
    collection.upsert(Document(str(number), text) for number, text in enumerate(model.sample(n)))
    indexed = time.perf_counter()
    collection.compact()
    _report(
        seconds=indexed - began - making,
        compacting=time.perf_counter() - indexed,
        peak=peak_memory(),
        before=before,
        bytes=directory_size(directory),
    )


@app.command()
def search(n: int, data: Path, directory: Path, n_queries: int, repeats: int) -> None:
    """Time queries of each length, as batches and one at a time, on the processors that this process has."""
    analyser = default_analyser()
    texts = list(word_model(data).sample(_QUERY_TEXTS, seed=1))
    before = resident_memory()
    side = EngineCollection(directory, Texts([""] * n, []), 1)
    rows = []
    for words, lengths in LENGTHS.items():
        queries = query_spans(texts, n_queries, lengths, lambda text: bool(analyser.terms(text)))
        for k in _KS:
            seconds = in_turn({"ours": partial(side.search, queries, k)}, repeats)["ours"]
            single = latencies({"ours": [partial(side.search_one, query, k) for query in queries]}, repeats)["ours"]
            rows.append({"words": words, "k": k, "seconds": seconds, "milliseconds": percentiles(single)})
    memory = resident_memory()
    _report(rows=rows, queries=n_queries, anonymous=memory["anonymous"] - before["anonymous"], mapped=memory["mapped"])


def _report(**measured: Any) -> None:
    typer.echo(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    app()
