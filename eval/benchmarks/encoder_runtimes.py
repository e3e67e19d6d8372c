"""Runtimes of the embedded encoder, speed beside loss: `python -m eval.benchmarks.encoder_runtimes --share 0.05`.

PyTorch, ONNX Runtime and OpenVINO encode SciFact and NFCorpus in each precision that they have. Beside the throughput
stands what it costs: cosines with PyTorch's fp32 vectors, how many of the ten best documents stay, and nDCG@10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from eval.benchmarks.in_turn import in_turn, times_slower
from eval.benchmarks.processes import Spread
from eval.command_line import DATA, Data, Json, show
from eval.errors import EvaluationError
from eval.measures import evaluate_run
from eval.outcome import Outcome
from eval.testsets import TestSet, read_testset
from retrieval.documents import read_documents
from retrieval.encoders import Encoder, load_encoder
from retrieval.errors import EncoderError, MissingExtraError
from retrieval.execution.precision import processor_has_bf16

COLLECTIONS = {"scifact": "SciFact", "nfcorpus": "NFCorpus"}

CALIBRATION = "msmarco-dl19"
"""Collection whose first passages show OpenVINO's int8 the ranges of activations."""

SIDES: dict[str, dict[str, Any]] = {
    "PyTorch fp32": {"runtime": "torch"},
    "PyTorch bf16": {"runtime": "torch", "precision": "bf16"},
    "ONNX Runtime fp32": {"runtime": "onnx"},
    "ONNX Runtime int8": {"runtime": "onnx", "precision": "int8"},
    "OpenVINO fp32": {"runtime": "openvino"},
    "OpenVINO bf16": {"runtime": "openvino", "precision": "bf16"},
    "OpenVINO int8": {"runtime": "openvino", "precision": "int8"},
}
"""What is measured; everything is compared with the first."""

_REFERENCE = next(iter(SIDES))
_EMULATED = (
    "PyTorch computes bf16 in software here, this processor has no instructions for it: its time says nothing of what "
    "they would bring"
)
_TIMED = 500
_CALIBRATION = 300
_DEPTH = 10


@dataclass(frozen=True)
class Texts:
    """A test collection, or a share of it.

    Attributes:
        name: for people.
        queries: texts by id.
        qrels: judgements of these queries.
        documents: texts by id.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    documents: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """What a runtime made of a collection.

    Attributes:
        vectors: of the documents, (n, d) float32.
        best: numbers of the ten best documents of each query, (n_queries, ≤ 10).
        ndcg: nDCG@10.
    """

    vectors: np.ndarray
    best: np.ndarray
    ndcg: float


def measure(data: Path, *, share: float = 1.0, repeats: int = 3) -> Outcome:
    """Encode with each runtime that is installed.

    Args:
        data: folder of test collections.
        share: of the queries and documents; documents that are judged for the queries are always there.
        repeats: measured rounds.

    Raises:
        TestSetError: a collection is missing.
    """
    collections = [shared(read_testset(data / folder), name, share) for folder, name in COLLECTIONS.items()]
    texts = [text for each in collections for text in list(each.documents.values())[: round(_TIMED * share / 2) + 16]]
    calibration = calibration_texts(data, max(16, round(_CALIBRATION * share)))
    encoders, notes = load_sides(calibration)
    seconds = in_turn({side: _call(encoder, texts) for side, encoder in encoders.items()}, repeats)
    found = {side: [search(encoder, each) for each in collections] for side, encoder in encoders.items()}
    losses = {
        side: [loss(reference, each) for reference, each in zip(found[_REFERENCE], of_side, strict=True)]
        for side, of_side in found.items()
    }
    rows = [
        [
            side,
            Spread.of([len(texts) / each for each in seconds[side]]).text(1),
            times_slower(seconds[_REFERENCE], seconds[side]).text(2),
            f"{np.mean([each['mean_cosine'] for each in losses[side]]):.5f}",
            f"{min(each['lowest_cosine'] for each in losses[side]):.4f}",
            *(f"{each['ndcg']:.4f} ({each['ndcg'] - reference['ndcg']:+.4f})" for each, reference in
              zip(losses[side], losses[_REFERENCE], strict=True)),
            *(f"{each['overlap']:.3f}" for each in losses[side]),
        ]
        for side in encoders
    ]  # fmt: skip
    columns = [
        "runtime",
        "texts / s",
        f"times {_REFERENCE}",
        "mean cosine",
        "lowest",
        *(f"nDCG@10, {each.name}" for each in collections),
        *(f"top-10 overlap, {each.name}" for each in collections),
    ]
    sizes = "; ".join(
        f"{each.name} {len(each.queries)} queries, {len(each.documents):,} documents" for each in collections
    )
    notes = [
        f"all-MiniLM-L6-v2; {sizes}",
        f"speed: {len(texts)} documents of both, tokenisation included, median of {repeats} rounds in one process, in "
        "turn, with the range",
        f"cosine and overlap: with the vectors and the ten best documents of {_REFERENCE}; in brackets: the difference "
        "to its nDCG@10",
        "int8: ONNX Runtime finds the ranges of activations as it runs, OpenVINO from "
        f"{len(calibration)} passages of {CALIBRATION}, another collection",
        *([] if processor_has_bf16() else [_EMULATED]),
        *notes,
    ]
    return Outcome(
        "Encoder runtimes", columns, rows, notes, {"seconds": seconds, "losses": losses, "texts": len(texts)}
    )


def shared(testset: TestSet, name: str, share: float) -> Texts:
    """Return the first queries of a test collection, the documents judged for them, and the first of the others."""
    queries = dict(list(testset.queries.items())[: max(5, round(len(testset.queries) * share))])
    qrels = {query: testset.qrels[query] for query in queries}
    judged = {document for judgements in qrels.values() for document in judgements}
    corpus = {document.id: document.full_text for document in testset.corpus or ()}
    others = [document for document in corpus if document not in judged]
    kept = judged | set(others[: max(50, round(len(others) * share))])
    return Texts(name, queries, qrels, {document: text for document, text in corpus.items() if document in kept})


def calibration_texts(data: Path, n: int) -> list[str]:
    """Return the first n passages of another collection: what is measured is not what ranges were taken from.

    Raises:
        EvaluationError: the collection is missing.
    """
    if not (data / CALIBRATION).is_dir():
        raise EvaluationError(f"{data} has no collection {CALIBRATION!r} to calibrate with")
    return [document.text for document in islice(read_documents(data / CALIBRATION, format="beir"), n)]


def load_sides(calibration: list[str]) -> tuple[dict[str, Encoder], list[str]]:
    """Return the encoders that can be had, by side, and a note for each that cannot."""
    encoders, notes = {}, []
    for side, settings in SIDES.items():
        extra = {"calibration": calibration} if side == "OpenVINO int8" else {}
        try:
            encoders[side] = load_encoder("embedded", device="cpu", **settings, **extra)
        except (MissingExtraError, EncoderError) as error:
            if side == _REFERENCE:
                raise
            notes.append(f"left out: {side} ({error})")
    return encoders, notes


def search(encoder: Encoder, texts: Texts) -> Found:
    """Encode a collection and rank all documents for each query by their cosine."""
    documents = list(texts.documents)
    vectors = encoder.encode_passages(list(texts.documents.values()))
    scores = encoder.encode_queries(list(texts.queries.values())) @ vectors.T  # (n_queries, n)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
    run = {
        query: [(documents[number], float(row[number])) for number in numbers]
        for query, row, numbers in zip(texts.queries, scores, best, strict=True)
    }
    return Found(vectors, best, evaluate_run(run, texts.qrels, ["nDCG@10"]).measures["nDCG@10"])


def loss(reference: Found, found: Found) -> dict[str, float]:
    """Return what a runtime's vectors and rankings have in common with the reference's."""
    norms = np.linalg.norm(reference.vectors, axis=1) * np.linalg.norm(found.vectors, axis=1)
    cosines = (reference.vectors * found.vectors).sum(axis=1) / norms
    pairs = zip(reference.best.tolist(), found.best.tolist(), strict=True)
    return {
        "mean_cosine": float(cosines.mean()),
        "lowest_cosine": float(cosines.min()),
        "overlap": float(np.mean([len(set(one) & set(other)) / len(one) for one, other in pairs])),
        "ndcg": found.ndcg,
    }


def _call(encoder: Encoder, texts: list[str]) -> Any:
    return lambda: encoder.encode_passages(texts)


def main(
    *,
    data: Data = DATA,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of queries and documents, to try it.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    json: Json = None,
) -> None:
    """Encode SciFact and NFCorpus with each runtime and precision that is installed."""
    show(lambda: measure(data, share=share, repeats=repeats), json)


if __name__ == "__main__":
    typer.run(main)
