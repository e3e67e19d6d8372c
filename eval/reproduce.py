"""Measure the results table anew: `python -m eval.reproduce --data ../shared/data`.

For every test set it builds collections with the embedded encoder, runs the systems of `eval.references`, and writes
`eval/results.json` (everything) and `eval/RESULTS.md` (the table). Test sets that are not measured keep their rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from eval.errors import EvaluationError
from eval.measures import DEFAULT_MEASURES, Policies
from eval.provenance import describe_machine, package_versions
from eval.references import DATASETS, SYSTEMS, Dataset
from eval.results_table import markdown
from eval.runner import evaluate_collection
from eval.tasks.base import Reference
from eval.tasks.system import LongPolicy
from eval.testsets import TestSet, read_testset
from indexes.errors import StorageError
from indexes.storage import replace_file
from retrieval import Collection
from retrieval.errors import RetrievalError

_HERE = Path(__file__).parent
_CONSOLE = Console(stderr=True)


def measure_dataset(
    dataset: Dataset, data: Path, workspace: Path, latency_sample: int = 200, progress: bool = False
) -> dict[str, Any]:
    """Measure every system on one test set.

    Args:
        dataset: which.
        data: the folder of test sets.
        workspace: where the collections are built, or are already.
        latency_sample: queries whose single searches are timed, for each system; 0 for none.
        progress: show progress bars.

    Returns:
        One entry of results.json: counts, provenance, and a row for each system.
    """
    testset = read_testset(data / dataset.folder, language=dataset.language)
    chunked = _collection(dataset, testset, workspace, "chunk", progress)
    n_passages = chunked.stats()["passages"]
    # Where no text is too long for the encoder, both policies make the same vectors.
    is_long = n_passages > len(chunked)
    truncated = _collection(dataset, testset, workspace, "truncate", progress) if is_long else chunked
    rows = []
    for system in SYSTEMS:
        collection = truncated if system.long == "truncate" else chunked
        report = evaluate_collection(
            collection, testset, DEFAULT_MEASURES, latency_sample=latency_sample, settings={}, **system.options
        )
        reference = dataset.references.get(system.name)
        rows.append(
            {
                "system": system.name,
                "measures": report.measures,
                "missing": len(report.evaluation.missing),
                "latency_ms": None
                if report.latency is None
                else {"p50": report.latency.p50, "p95": report.latency.p95},
                "reference": _reference(reference),
            }
        )
    return {
        "documents": len(chunked),
        "passages": n_passages,
        "queries": len(testset.qrels),
        "split": testset.split,
        "bm25_default": msgspec.to_builtins(chunked.settings.bm25),
        "rows": rows,
        "machine": describe_machine(),
        "versions": package_versions(),
    }


def _collection(dataset: Dataset, testset: TestSet, workspace: Path, long: LongPolicy, progress: bool) -> Collection:
    if testset.corpus is None:
        raise EvaluationError(f"no corpus in the folder of {dataset.name}; it cannot be indexed")
    path = workspace / f"{dataset.name}-{long}"
    collection = Collection.open_or_create(path, long=long, progress=progress)
    report = collection.upsert(testset.corpus)
    _CONSOLE.print(f"{dataset.name} ({long}): {report.summary()}", highlight=False)
    return collection


def _reference(reference: Reference | None) -> dict[str, Any] | None:
    if reference is None:
        return None
    return {"nDCG@10": reference.value, "source": reference.source, "tolerance": reference.tolerance}


def main(
    data: Annotated[Path, typer.Option(help="Folder of the test sets.")] = _HERE.parent.parent / "shared" / "data",
    only: Annotated[list[str] | None, typer.Option(help="Test set to measure; may be given several times.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for RESULTS.md and results.json.")] = _HERE,
    workspace: Annotated[
        Path | None, typer.Option(help="Keep the collections here, to be used again; a temporary folder if left out.")
    ] = None,
    latency: Annotated[int, typer.Option(min=0, help="Single searches to time for each system; 0 for none.")] = 200,
) -> None:
    """Measure the results table anew."""
    known = {dataset.name: dataset for dataset in DATASETS}
    names = only or [dataset.name for dataset in DATASETS if dataset.default]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"no test set {unknown[0]!r}; there are {', '.join(known)}")
    stored = output / "results.json"
    results: dict[str, Any] = msgspec.json.decode(stored.read_bytes()) if stored.exists() else {}
    try:
        with tempfile.TemporaryDirectory() as temporary:
            for name in names:
                results[name] = measure_dataset(known[name], data, workspace or Path(temporary), latency, progress=True)
                ordered = {other: results[other] for other in known if other in results}
                replace_file(stored, msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")
                replace_file(output / "RESULTS.md", markdown(ordered, Policies().describe()).encode())
    except (RetrievalError, StorageError) as error:
        _CONSOLE.print(f"error: {error}", style="red", highlight=False)
        raise typer.Exit(1) from None
    _CONSOLE.print(f"wrote {stored} and {output / 'RESULTS.md'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
