"""`--system`: what users write for a system that is compared, and the system that it means.

    bm25                     words
    embedded                 the encoder that comes with the package, by vectors
    path/to/model            any other encoder; settings may stand behind it: embedded,precision=bf16
    first-stage              the candidates of a reranking task in the order that they come in
    hybrid                   BM25 and the vectors of --encoder, fused
    bm25:1000,mono:50        a pipeline; its rerankers are given by --reranker, its vectors are those of --encoder

A name in front, as in mine=path/to/model, is what reports call it. A file may declare systems with more settings, see
`retrieval.cli.declared_systems`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retrieval.cli.declared_systems import DeclaredSystem
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from eval.tasks.system import System
    from retrieval.encoders import Encoder
    from retrieval.pipeline.stages import Pipeline

FIRST_STAGE_OPTION = "first-stage"

DEFAULT_SYSTEMS = ("embedded", "bm25")
PRECISION = "fp32"
"""Of encoders and rerankers of which nobody says another: published scores are compared with."""

_PIPELINE = re.compile(r"\s*(bm25|dense|sparse|hybrid)\s*[(:]")
_SETTINGS = re.compile(r"[^=]*,[a-z_]+=")
"""A model with settings behind it and no name in front."""

_BY_VECTORS = ("dense", "hybrid")


def parse_systems(
    given: Sequence[str | DeclaredSystem],
    rerankers: tuple[str, ...],
    passages: tuple[str, ...],
    *,
    encoder: str,
    long: Literal["chunk", "truncate"],
) -> list[System]:
    """Return the systems of a command line, their models loaded, each of these once.

    Args:
        given: "name=specification", a specification, or what a file declares, each.
        rerankers: "name=model" each.
        passages: "name=method,…" each, see `retrieval.cli.passages`.
        encoder: of hybrid systems and of pipelines that search vectors.
        long: what collections do with texts that are longer than the encoder reads, where a system does not say it.

    Raises:
        QueryError: a pipeline cannot be read, its rerankers are not those that are given, or a system is declared with
            settings that it has no use for.
        EncoderError, RerankerError: a model cannot be loaded.
    """
    from retrieval.cli.passages import parse_passages
    from retrieval.cli.stages import named_models
    from retrieval.pipeline.grammar import parse_stages

    declared = [_named(each) if isinstance(each, str) else each for each in given]
    texts = [each.system for each in declared]
    pipelines = {text: parse_stages(text) for text in texts if _PIPELINE.match(text)}
    for each in declared:
        _check_settings(each, pipelines.get(each.system))
    models = named_models("--reranker", rerankers, "mono=path/to/model")
    by_passages = parse_passages(passages)
    _check_models(pipelines, list(models), list(by_passages))
    loaded = _Loaded(encoder, models, by_passages)
    return [_with_settings(_system(each, pipelines.get(each.system), loaded), each, long) for each in declared]


class _Loaded:
    """Models, loaded when they are first asked for."""

    def __init__(self, encoder: str, rerankers: dict[str, str], passages: dict[str, Any]) -> None:
        self._default = encoder
        self._models = rerankers
        self._passages = passages
        self._encoders: dict[str, Encoder] = {}
        self._rerankers: dict[str, Any] = {}

    def encoder(self, model: str | None = None) -> Encoder:
        from retrieval.cli.model_settings import load_with, parse_model

        model = model or self._default
        if model not in self._encoders:
            name, settings = parse_model(model, "--system")
            self._encoders[model] = load_with(name, {"precision": PRECISION, **settings})
        return self._encoders[model]

    def reranker(self, name: str) -> Any:
        from retrieval.cli.stages import load_named

        if name not in self._rerankers:
            self._rerankers[name] = load_named(self._models[name], self._passages.get(name), PRECISION)
        return self._rerankers[name]


def _system(declared: DeclaredSystem, pipeline: Pipeline | None, loaded: _Loaded) -> System:
    from eval.tasks.system import FIRST_STAGE, System

    name, text = declared.name, declared.system
    if text == "bm25":
        return System(name)
    if text == FIRST_STAGE_OPTION:
        return System(name, options={"mode": FIRST_STAGE})
    if text == "hybrid":
        return System(name, loaded.encoder(), {"mode": "hybrid"})
    if pipeline is None:
        return System(name, loaded.encoder(text))
    models = {stage: loaded.reranker(stage) for stage, _ in pipeline.active_rerankers}
    searches_vectors = any(retriever.name in _BY_VECTORS for retriever in pipeline.retrievers if retriever.depth)
    return System(
        name,
        loaded.encoder() if searches_vectors else None,
        {"stages": str(pipeline), **({"rerankers": models} if models else {})},
        # Where candidates are given they go to the pipeline's model, if that is a single one.
        reranker=next(iter(models.values())) if len(models) == 1 else None,
    )


def _with_settings(system: System, declared: DeclaredSystem, long: Literal["chunk", "truncate"]) -> System:
    """Return a system with the settings that it was declared with."""
    given = {"bm25": declared.bm25, "fusion": declared.fusion}
    settings = {name: value for name, value in given.items() if value is not None}
    options = {**system.search_options, **settings} if settings else system.options
    return replace(system, options=options, long=declared.long or long)


def _check_settings(declared: DeclaredSystem, pipeline: Pipeline | None) -> None:
    """Refuse settings of searches that a system does not make: they would count for nothing."""
    retrievers = set() if pipeline is None else {each.name for each in pipeline.retrievers}
    searches_words = declared.system in ("bm25", "hybrid") or bool(retrievers & {"bm25", "hybrid"})
    fuses = declared.system == "hybrid" or "hybrid" in retrievers or len(retrievers) > 1
    for setting, of_use in (("bm25", searches_words), ("fusion", fuses)):
        if getattr(declared, setting) is not None and not of_use:
            raise QueryError(
                f"system {declared.name!r} is {declared.system!r}, which has no use for {setting!r}; leave it out"
            )


def _named(text: str) -> DeclaredSystem:
    """Return what a system is called and what it is."""
    if _PIPELINE.match(text) or _SETTINGS.match(text):  # whose feedback or settings hold an equals sign
        return DeclaredSystem(text, text)
    name, equals, specification = text.partition("=")
    if equals and not (name and specification):
        raise QueryError(f"--system {text!r}: write NAME=SYSTEM, as in --system mine=path/to/model")
    if not equals:
        name = Path(text).resolve().name if Path(text).is_dir() else text
        if text == FIRST_STAGE_OPTION:
            from eval.tasks.system import FIRST_STAGE

            name = FIRST_STAGE  # as published figures call it
    return DeclaredSystem(name, specification or text)


def _check_models(pipelines: dict[str, Pipeline], models: Sequence[str], passages: Sequence[str]) -> None:
    """Refuse rerankers that are missing, or that no pipeline has."""
    from retrieval.pipeline.stages import known

    for text, pipeline in pipelines.items():
        if any(retriever.name == "sparse" and retriever.depth for retriever in pipeline.retrievers):
            raise QueryError(
                f"{text!r} needs sparse vectors, which the collections of tasks have none of; leave it out"
            )
    used = {name: text for text, pipeline in pipelines.items() for name, _ in pipeline.rerankers}
    for name in models:
        if name not in used:
            raise QueryError(f"--reranker {name}=…: no system has a stage called {name!r}; stages: {known(used)}")
    for name in passages:
        if name not in used:
            raise QueryError(f"--passages {name}=…: no system has a stage called {name!r}; stages: {known(used)}")
    for name, text in used.items():
        if name not in models:
            raise QueryError(f"no model for stage {name!r} of {text!r}: add --reranker {name}=MODEL")
