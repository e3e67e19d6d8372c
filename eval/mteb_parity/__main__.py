"""Compare our tasks with the package mteb: `python -m eval.mteb_parity --data ../shared/data`."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.mteb_parity.comparison import Parity, Sides, compare, read_published
from eval.mteb_parity.table import markdown, write_tables
from eval.policies import Policies
from eval.provenance import package_versions
from eval.tasks.base import Surroundings, Task
from eval.tasks.loading import load_tasks
from indexes.errors import StorageError
from retrieval.errors import MissingExtraError, RetrievalError

DEFAULT_TASKS = (
    "BIOSSES",
    "STS12",
    "STS13",
    "STS14",
    "STS15",
    "STS16",
    "STSBenchmark",
    "SummEval",
    "SummEvalSummarization.v2",
    "Tatoeba.deu-eng",
    "Tatoeba.fra-eng",
    "SemEvalCQAReranking",
    "XQuADRetrieval.en",
    "SciFact",
    "NFCorpus",
    "QMSum",
    "TwitterURLTest",
    "AmazonCounterfactualClassification",
    "Banking77Classification",
    "TwentyNewsgroupsClustering",
)
"""Deterministic ones first; sampled ones, whose draws turn roundings into other samples, last."""

PUBLISHED_SCORES = "reference_scores_mteb.tsv"
_CONSOLE = Console(stderr=True)
_PUBLISHED_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main(
    *,
    data: Annotated[Path, typer.Option(help="Folder of data sets.")],
    tasks: Annotated[list[str] | None, typer.Option(help="Of our tasks; may be repeated.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for parity.md and parity.tsv.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Folder that keeps collections; else they go.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference that counts as equal.")] = 1e-4,
    adapter: Annotated[bool, typer.Option(help="Let mteb measure our encoder as well.")] = True,
) -> None:
    """Measure all-MiniLM-L6-v2 by mteb and by our tasks; end with 1 where they differ."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before mteb or a model is imported
    os.environ.setdefault("TQDM_DISABLE", "1")  # mteb shows bars for steps of milliseconds
    names = tasks or list(DEFAULT_TASKS)
    rows: list[Parity] = []
    faults: dict[str, str] = {}
    try:
        found = sorted(load_tasks(data, names), key=lambda task: names.index(task.name) if task.name in names else 0)
        published = read_published(data / PUBLISHED_SCORES, _PUBLISHED_MODEL)
        with (
            tempfile.TemporaryDirectory() as temporary,
            make_sides(workspace or Path(temporary), published, adapter) as sides,
        ):
            for task in found:
                _compare(task, sides, rows, faults)
                if output is not None:  # after each, so that an interruption loses one task
                    write_tables(output, rows, tolerance, versions(), faults)
    except (RetrievalError, StorageError, OSError) as error:
        _CONSOLE.print(f"error: {error}", style="red", highlight=False)
        raise typer.Exit(2) from None
    typer.echo(markdown(rows, tolerance, versions(), faults))
    if faults or not all(row.equals(tolerance) for row in rows):
        raise typer.Exit(1)


@contextlib.contextmanager
def make_sides(workspace: Path, published: Mapping[tuple[str, str, str], float], adapter: bool) -> Iterator[Sides]:
    """Give the embedded model for all sides, in fp32 on one thread; what ours has encoded once is kept in between.

    Raises:
        MissingExtraError: mteb is not installed.
    """
    if importlib.util.find_spec("mteb") is None:
        raise MissingExtraError("mteb", "mteb", "comparing with mteb")
    import torch
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    from eval.embedding_cache import CachedEncoder
    from eval.mteb_models import as_mteb_encoder
    from retrieval.encoders import load_encoder
    from retrieval.encoders.base import settle
    from retrieval.encoders.embedded import verified_embedded_folder

    logging.getLogger("mteb").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"mteb\..*")  # that newer versions of tasks exist, and the like
    torch.set_num_threads(1)
    inside = load_encoder("embedded", device="cpu", precision="fp32")
    settle(inside)
    encoder = CachedEncoder(inside, workspace / "embeddings")
    try:
        yield Sides(
            encoder=encoder,
            model=SentenceTransformerEncoderWrapper(SentenceTransformer(str(verified_embedded_folder()), device="cpu")),
            adapted=as_mteb_encoder(encoder) if adapter else None,
            surroundings=Surroundings(workspace, policies=Policies.preset("mteb")),
            published=published,
        )
    finally:
        encoder.close()


def versions() -> dict[str, str]:
    """Return the versions of packages that have a say, mteb and scikit-learn among them."""
    return {**package_versions(), **{name: metadata.version(name) for name in ("mteb", "scikit-learn", "scipy")}}


def _compare(task: Task, sides: Sides, rows: list[Parity], faults: dict[str, str]) -> None:
    """Compare one task and say what came of it; one that cannot be compared does not keep the others from it."""
    try:
        row = compare(task, sides)
    except RetrievalError as fault:
        faults[task.name] = str(fault)
        _CONSOLE.print(f"{task.name}: {fault}", highlight=False)
        return
    rows.append(row)
    _CONSOLE.print(f"{row.task}: mteb {row.mteb:.5f}, ours {row.ours:.5f} ({row.difference:+.1e})", highlight=False)


if __name__ == "__main__":
    typer.run(main)
