"""Training an encoder or a reranker: from a recipe and examples to a folder with a model card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from indexes.locks import WriterLock
from retrieval.errors import MissingExtraError, RetrievalError
from retrieval.training.data.arrow_file import store_examples, stored_examples
from retrieval.training.data.sources import Source, as_sources
from retrieval.training.execution import checked_device
from retrieval.training.recipe import Recipe
from retrieval.training.report import TrainingReport
from retrieval.training.run import Evaluate, Run
from retrieval.training.run_folder import RunFolder, last_checkpoint

__all__ = ["Evaluate", "TrainingReport", "train"]


def train(
    recipe: Recipe,
    data: Sequence[Source | str | Path] | str | Path,
    out: str | Path,
    *,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    strict: bool = False,
    device: str | None = None,
    progress: bool = False,
) -> TrainingReport:
    """Train an encoder or a reranker.

    On one machine, one recipe, one set of examples and one number of threads give the same weights each time, also when
    the run was interrupted and resumed (on a CPU; GPUs have operations that are not repeatable).

    Args:
        recipe: what to do.
        data: files or folders of examples; several are several tasks.
        out: folder to be made; the trained model is there afterwards.
        evaluate: measures the model before and after.
        resume: go on with an interrupted run in this folder, from its last checkpoint. A run that one of the errors
            below ended before its first checkpoint is forgotten, and its folder may be taken again.
        strict: an unusable row of data is an error instead of a count.
        device: "cpu" or "cuda"; by default a GPU when there is one.
        progress: show a progress bar.

    Raises:
        MissingExtraError: the extra `train` is not installed.
        RecipeError: a setting is wrong.
        TrainingDataError: the data are unusable.
        LockedError: another process trains into the folder.
        TrainingError: the folder is taken; or the loss became NaN or infinite: the last checkpoint stays, and the
            message names it.
        EncoderError: an encoder's backbone cannot be loaded.
        RerankerError: a reranker's cannot, or its token budgets do not fit it.
    """
    _need_extra()
    sources = [as_sources(given) for given in ([data] if isinstance(data, (str, Path)) else data)]
    folder = RunFolder(Path(out))
    settings = {**recipe.checked().as_dict(), "sources": _described(sources, recipe)}
    device = checked_device(device)
    folder.begin(settings, resume=resume)  # a folder that is refused gets no lock file
    with WriterLock(folder.lock):
        goes_on = folder.begin(settings, resume=resume)  # as it is now that nobody else changes it
        if goes_on:
            examples = stored_examples(folder.state)
        else:
            examples = store_examples(folder.state, sources, recipe, strict=strict)
            folder.remember(settings)
        try:
            with _quiet_libraries():
                run = Run(recipe, examples, folder, sources=sources, device=device, progress=progress)
                return run.train(evaluate, goes_on=goes_on)
        except RetrievalError:
            if last_checkpoint(folder.checkpoints) is None:
                folder.forget()  # what has to be changed would make it another run, which the folder would refuse
            raise


def _described(sources: Sequence[Source], recipe: Recipe) -> list[list[str]]:
    return [[str(source.path.resolve()), source.split or "", source.instruction_for(recipe)] for source in sources]


def _need_extra() -> None:
    from importlib.util import find_spec

    for package in ("accelerate", "datasets"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", "training")


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the libraries from drawing bars of their own: this package's progress says how far training is."""
    import datasets
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if bars[0]:
            transformers_logging.enable_progress_bar()
        if not bars[1]:
            datasets.enable_progress_bars()
