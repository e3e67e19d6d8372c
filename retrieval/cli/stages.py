"""`--stages`, `--reranker` and `--passages`: a pipeline and its models, checked before a model is loaded in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.cli.model_settings import parse_model
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.cli.passages import Passages
    from retrieval.collection.collection import Collection


def pipeline_options(
    collection: Collection,
    stages: str | None,
    rerankers: tuple[str, ...],
    passages: tuple[str, ...],
    mode: str | None,
) -> dict[str, Any]:
    """Return the arguments of a search for `--stages` and what belongs to it; none where nothing is given.

    Args:
        collection: what will be searched.
        stages: the pipeline's text.
        rerankers: "name=model" each, in the order of the command line.
        passages: "name=method,…" each.
        mode: what `--mode` says.

    Raises:
        QueryError: the options do not fit each other, or the collection lacks what a retriever needs.
        RerankerError: a model cannot be loaded.
    """
    if stages is None:
        for option, given in (("--reranker", rerankers), ("--passages", passages)):
            if given:
                raise QueryError(f"{option} {given[0]} needs --stages, which say where it stands")
        return {}
    if mode is not None:
        raise QueryError(f"--mode {mode} and --stages {stages} exclude each other")
    from retrieval.cli.passages import parse_passages
    from retrieval.first_stage import of_pipeline
    from retrieval.pipeline.given import check_not_stored
    from retrieval.pipeline.grammar import parse_stages
    from retrieval.pipeline.stages import known

    pipeline = parse_stages(stages)
    of_pipeline(collection.snapshot, pipeline, 1, collection.settings.fusion, with_vectors=False)
    models = named_models("--reranker", rerankers, "mono=path/to/model")
    by_passages = parse_passages(passages)
    stored = collection.snapshot.manifest.tokens
    used = [name for name, _ in pipeline.rerankers]
    for name in models:
        if name not in used:
            raise QueryError(f"--reranker {name}={models[name]}: no stage is called {name!r}; stages: {known(used)}")
        check_not_stored(name, models, stored)
    for name in used:
        if name not in models and name not in stored:
            raise QueryError(f"no model for stage {name!r} of {stages!r}: add --reranker {name}=MODEL")
    for name in by_passages:
        if name not in used:
            raise QueryError(f"--passages {name}=…: no stage is called {name!r}; stages: {known(used)}")
        if name not in models:
            raise QueryError(f"--passages {name}=…: stage {name!r} reads the states that the index stores, no texts")
    active = {stage.name for stage in pipeline.active_rerankers}
    loaded = {
        name: load_named(model, by_passages.get(name)) if name in active else _switched_off
        for name, model in models.items()
    }
    return {"stages": str(pipeline), "rerankers": loaded}


def named_models(option: str, given: tuple[str, ...], example: str) -> dict[str, str]:
    """Read the "name=model" pairs of an option.

    Raises:
        QueryError: one is none, or a name comes twice.
    """
    models: dict[str, str] = {}
    for text in given:
        name, _, model = text.partition("=")
        if not name or not model:
            raise QueryError(f"{option} {text!r}: write NAME=MODEL, as in {option} {example}")
        if name in models:
            raise QueryError(f"{option} {name} is given twice: {models[name]!r} and {model!r}")
        models[name] = model
    return models


def load_named(text: str, passages: Passages | None, precision: str | None = None) -> Any:
    """Load a model, with any ",setting=value" behind its name, which reads by passages where these are given.

    Args:
        text: what the user wrote.
        passages: see above.
        precision: of models that are loaded here and of which the user says none; None is their own default.
    """
    from retrieval.rerankers import PassageReranker, load_reranker
    from retrieval.rerankers.composed import SUFFIX

    name, settings = parse_model(text, "--reranker")
    if precision is not None and not name.endswith(SUFFIX):  # a file says of each of its parts what is to be said
        settings = {"precision": precision, **settings}
    reranker = load_reranker(name, **settings)
    return reranker if passages is None else PassageReranker(reranker, passages.aggregate, passages.splitting)


def _switched_off(query: str, texts: list[str]) -> list[float]:  # noqa: ARG001  # what a reranker takes
    """Stand for a model that is not needed."""
    return [0.0] * len(texts)
