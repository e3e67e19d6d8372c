"""Folders of pairwise rerankers: made from an encoder with two segments, saved and loaded with their settings.

A folder holds what transformers saves of a classifier and its tokenizer, and `reranker.json`: kind, format, token
budgets and aggregation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from indexes.storage import replace_file
from retrieval.errors import RerankerError
from retrieval.execution.precision import Precision
from retrieval.rerankers.aggregation import Aggregation, Method
from retrieval.rerankers.classifier import Classifier, SequenceClassifier, check_precision, describe, tokenizer_digest
from retrieval.rerankers.duo import N_SEGMENTS, DuoBudget, DuoInputs, DuoReranker
from retrieval.rerankers.exported_classifier import load_exported_classifier, runtime_of_settings
from retrieval.rerankers.model_loading import (
    SETTINGS_FILE,
    load_classifier,
    longest_input,
    quiet_transformers,
    read_json,
    reranker_folder,
)
from retrieval.rerankers.precision import RerankerPrecision, set_precision
from retrieval.rerankers.untrained import load_untrained

_FORMAT = 1


def create_duo(
    source: str | Path,
    destination: str | Path,
    *,
    budget: DuoBudget | None = None,
    aggregation: Aggregation | None = None,
    seed: int = 0,
) -> Path:
    """Make an untrained pairwise reranker of an encoder or of a pointwise reranker; returns its folder.

    The segment table grows to three rows, the third one starts as the second: what has been trained for the text behind
    the first [SEP] holds for the one behind the second. A head that the source has not starts at random, with two
    logits; train it before use.

    Args:
        source: "embedded", or name or folder of a model with segments, such as BERT or ELECTRA.
        destination: a folder that is new or empty.
        budget: tokens of the texts.
        aggregation: what the folder names as the default.
        seed: of the head.

    Raises:
        RerankerError: the source cannot be loaded, has no segments or not as many positions, or the destination holds
            something.
    """
    import torch

    target = Path(destination)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RerankerError(f"{target} is not an empty folder; name another one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tokenizer = load_untrained(source, new_labels=2)
    grow_segments(model)
    save_duo(target, model, tokenizer, budget or DuoBudget(), aggregation or Aggregation())
    return target


def save_duo(folder: str | Path, model: Any, tokenizer: Any, budget: DuoBudget, aggregation: Aggregation) -> None:
    """Write a pairwise reranker to a folder.

    Args:
        folder: made where it is missing.
        model: of transformers, for sequence classification, with three segments.
        tokenizer: of transformers, a fast one.
        budget: tokens of the texts.
        aggregation: the default.

    Raises:
        RerankerError: the model has not three segments, or not as many positions.
    """
    check_duo(model, tokenizer, budget, str(folder))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    settings = {
        "kind": "duo",
        "format": _FORMAT,
        "query_tokens": budget.query,
        "document_tokens": budget.document,
        "aggregation": aggregation.describe(),
    }
    replace_file(target / SETTINGS_FILE, json.dumps(settings, indent=2).encode() + b"\n")


def load_duo(
    name_or_path: str | Path,
    *,
    aggregation: Aggregation | Method | None = None,
    m: int | None = None,
    seed: int | None = None,
    precision: RerankerPrecision | None = "auto",
    batch_tokens: int | None = None,
    device: str | None = None,
    runtime: str | None = None,
    calibration: Sequence[Sequence[str]] | None = None,
) -> DuoReranker:
    """Load a pairwise reranker.

    Args:
        name_or_path: of its folder.
        aggregation: instead of the folder's; its method by name will do.
        m: of "sample", documents that each is compared with.
        seed: of "sample".
        precision: "auto", "fp32", "bf16" or "fp16" as for encoders; None keeps what the file has. Other runtimes have
            other ones, see `runtimes.loading.RUNTIMES`; None is "fp32" there.
        batch_tokens: tokens of a batch, padding included.
        device: "cpu", "cuda", …; by default a GPU when there is one. Other runtimes than PyTorch compute on the
            processor.
        runtime: "torch" (None), "onnx" or "openvino"; the latter two run the network after it has been exported, which
            is done once on a machine.
        calibration: some hundred triples of a query and two documents like those that will be compared, from which
            OpenVINO's "int8" takes the ranges of activations.

    Raises:
        MissingExtraError: a package of the runtime is missing.
        RerankerError: it cannot be loaded, its settings are not of this version, or there is no such aggregation.
    """
    folder, name = reranker_folder(name_or_path)
    budget, of_folder = duo_settings(folder)
    chosen = _chosen(aggregation, of_folder, m, seed)
    exported = runtime_of_settings(runtime, precision, device, calibration)
    if exported is None:
        check_precision(cast("Precision | None", precision))
    model, tokenizer = load_classifier(folder, name, device="cpu" if exported else device)
    check_duo(model, tokenizer, budget, name)
    identity = {
        **describe(model, folder),
        "tokenizer": tokenizer_digest(tokenizer),
        "query_tokens": budget.query,
        "document_tokens": budget.document,
    }
    inputs = DuoInputs(tokenizer, budget)
    classifier: SequenceClassifier
    if exported is not None:
        classifier = load_exported_classifier(
            exported,
            model,
            inputs,
            name=name,
            weights=identity["weights"],
            precision=precision,
            calibration=calibration,
            batch_tokens=batch_tokens,
        )
    else:
        set_precision(model, cast("Precision | None", precision))  # after the weights have been hashed
        classifier = Classifier(model, batch_tokens=batch_tokens, own=True)
    return DuoReranker(classifier, inputs, chosen, name, identity)


def _chosen(given: Aggregation | Method | None, of_folder: Aggregation, m: int | None, seed: int | None) -> Aggregation:
    """Return the aggregation that users mean by a method's name and its settings, or by these alone."""
    settings: dict[str, Any] = {name: value for name, value in (("m", m), ("seed", seed)) if value is not None}
    if isinstance(given, Aggregation):
        if settings:
            raise RerankerError(
                f"an Aggregation has its own {' and '.join(settings)}; give the name of a method instead"
            )
        return given
    made = replace(of_folder, **settings) if given is None else Aggregation(given, **settings)
    if seed is not None and made.method != "sample":
        raise RerankerError(f"seed is for aggregation 'sample', not for {made.method!r}")
    return made


def grow_segments(model: Any, n: int = N_SEGMENTS) -> None:
    """Give a model at least n segments, in place; new rows of the table are copies of its last one.

    Raises:
        RerankerError: the model has no segments.
    """
    import torch

    embeddings = _segment_embeddings(model)
    if embeddings is None:
        raise RerankerError(f"{type(model).__name__} has no segments, which tell three texts apart; take a BERT")
    table = embeddings.weight.data  # (segments, hidden)
    if len(table) >= n:
        return
    grown = torch.cat([table, table[-1:].expand(n - len(table), -1)])
    embeddings.weight = torch.nn.Parameter(grown.clone())
    embeddings.num_embeddings = n
    model.config.type_vocab_size = n


def check_duo(model: Any, tokenizer: Any, budget: DuoBudget, name: str) -> None:
    """Check that a model can read what a pairwise reranker gives it.

    Raises:
        RerankerError: it has not three segments, or not as many positions.
    """
    embeddings = _segment_embeddings(model)
    if embeddings is None or embeddings.num_embeddings < N_SEGMENTS:
        rows = 0 if embeddings is None else embeddings.num_embeddings
        raise RerankerError(f"model {name!r} has {rows} segments, a pairwise reranker needs {N_SEGMENTS}: create_duo()")
    needed, positions = DuoInputs(tokenizer, budget).max_tokens, longest_input(model, tokenizer)
    if positions is not None and needed > positions:
        raise RerankerError(
            f"budgets of {budget.query} tokens of a query and {budget.document} of each document make inputs of "
            f"{needed} tokens, but model {name!r} reads {positions}; make them smaller"
        )


def _segment_embeddings(model: Any) -> Any:
    return getattr(getattr(model.base_model, "embeddings", None), "token_type_embeddings", None)


def duo_settings(folder: Path) -> tuple[DuoBudget, Aggregation]:
    """Return the token budgets and the aggregation that a folder names.

    Raises:
        RerankerError: it is not the folder of a pairwise reranker of this version.
    """
    stored = read_json(folder / SETTINGS_FILE)
    if stored.get("kind") != "duo":
        raise RerankerError(f"model {folder} is not a pairwise reranker: it has no {SETTINGS_FILE} that says so")
    if stored.get("format") != _FORMAT:
        raise RerankerError(f"model {folder} has format {stored.get('format')!r}, this version reads {_FORMAT}")
    try:
        budget = DuoBudget(int(stored["query_tokens"]), int(stored["document_tokens"]))
        return budget, Aggregation(**stored["aggregation"])
    except (KeyError, TypeError, ValueError) as error:
        raise RerankerError(f"model {folder} cannot be read: {SETTINGS_FILE} is damaged ({error!r})") from None
