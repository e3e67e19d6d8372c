"""Loading pointwise rerankers: classifiers of transformers or sentence-transformers, and all other CrossEncoders."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from retrieval.encoders.model_identity import describe_modules
from retrieval.encoders.tokenization import UnknownTokenizerError
from retrieval.encoders.weights import file_digest
from retrieval.errors import RerankerError
from retrieval.rerankers.classifier import Classifier, describe, tokenizer_digest
from retrieval.rerankers.early_exit import EarlyExitClassifier, EarlyExitReranker
from retrieval.rerankers.exported_classifier import load_exported_classifier, runtime_of_settings
from retrieval.rerankers.model_loading import (
    is_plain,
    load_classifier,
    load_cross_encoder,
    longest_input,
    prompt_of,
    reranker_folder,
)
from retrieval.rerankers.mono import MonoReranker
from retrieval.rerankers.mono_folder import mono_budgets
from retrieval.rerankers.pair_inputs import MAX_TOKENS, AssembledPairs, PairInputs, PreprocessedPairs
from retrieval.rerankers.precision import INT8, RerankerPrecision, check_precision, set_precision


def load_mono(
    name_or_path: str | Path,
    *,
    query_tokens: int | None = None,
    max_tokens: int | None = None,
    prompt: str | None = None,
    exit_entropy: float | Sequence[float] | None = None,
    precision: RerankerPrecision | None = "auto",
    batch_tokens: int | None = None,
    device: str | None = None,
    runtime: str | None = None,
    calibration: Sequence[Sequence[str]] | None = None,
) -> MonoReranker:
    """Load a pointwise reranker.

    Args:
        name_or_path: the folder of a `CrossEncoder` or of a transformers model for sequence classification, with one
            logit or two; or its name on the model hub, "organisation/model".
        query_tokens: of a query that are read, with the special tokens around it; by default as in training where the
            folder says that, else 64.
        max_tokens: of an input, special tokens included; by default as in training where the folder says that, else
            512, or what the model reads where that is less.
        prompt: put before each query, instead of the model's own.
        exit_entropy: for a model with trained off-ramps (recipe "early-exit"): a candidate leaves at the first one
            that is surer of it than this, in nats, one number for all or one for each; 0 never, above ln 2 after the
            first layer. None is the whole model.
        precision: "auto", "fp32", "bf16", "fp16" as for encoders, or "int8" on a processor; None keeps the file's.
            Heads and off-ramps compute in fp32 behind bf16 and fp16, so that candidates do not tie by rounding; for a
            model that makes its input itself, whose head is not known, "auto" is "fp32". Other runtimes have other
            precisions, see `runtimes.loading.RUNTIMES`; None is "fp32" there.
        batch_tokens: tokens of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
        device: "cpu", "cuda", …; by default a GPU when there is one, and the processor for int8. Other runtimes than
            PyTorch compute on the processor.
        runtime: "torch" (None), "onnx" or "openvino"; the latter two run the network of a transformers model for
            sequence classification after it has been exported, which is done once on a machine.
        calibration: some hundred pairs of a query and a document like those that will be scored, from which OpenVINO's
            "int8" takes the ranges of activations.

    Raises:
        MissingExtraError: a package of the runtime is missing.
        RerankerError: it cannot be loaded safely and completely, or the settings do not fit it.
    """
    folder, name = reranker_folder(name_or_path)
    exported = runtime_of_settings(runtime, precision, device, calibration)
    if exported is None:
        check_precision(precision)
    elif exit_entropy is not None:
        raise RerankerError(
            f"exit_entropy is {exit_entropy!r}, but only PyTorch lets candidates leave at off-ramps, not runtime "
            f"{exported!r}; leave one of them out"
        )
    device = "cpu" if exported or (device is None and precision == INT8) else device
    model, inputs, identity = _read(folder, name, device, Reading(query_tokens, max_tokens, prompt))
    if exported is not None:
        runs = load_exported_classifier(
            exported,
            model,
            inputs,
            name=name,
            weights=identity["weights"],
            precision=precision,
            calibration=calibration,
            batch_tokens=batch_tokens,
        )
        return MonoReranker(runs, inputs, name, identity)
    if exit_entropy is None:
        set_precision(model, precision)  # after the weights have been hashed
        return MonoReranker(Classifier(model, batch_tokens=batch_tokens, own=True), inputs, name, identity)
    from retrieval.models.rankers.off_ramps import OFF_RAMPS_FILE, load_off_ramps

    ramps = load_off_ramps(folder, model)
    set_precision(model, precision)
    classifier = EarlyExitClassifier(model, ramps, exit_entropy, batch_tokens=batch_tokens, own=True)
    identity = {**identity, "off_ramps": file_digest(folder / OFF_RAMPS_FILE)}
    return EarlyExitReranker(classifier, inputs, name, identity)


def mono_of(
    model: Any,
    *,
    query_tokens: int | None = None,
    max_tokens: int | None = None,
    prompt: str | None = None,
    precision: RerankerPrecision | None = None,
    batch_tokens: int | None = None,
) -> MonoReranker:
    """Return a loaded `CrossEncoder` as a pointwise reranker; settings as in `load_mono`.

    Raises:
        RerankerError: the settings do not fit it.
    """
    name = model.model_card_data.base_model or "a CrossEncoder"
    network, inputs, identity = _opened(model, name, Reading(query_tokens, max_tokens, prompt), None)
    classifier = Classifier(network, precision=precision, batch_tokens=batch_tokens)
    return MonoReranker(classifier, inputs, name, identity)


class Reading(NamedTuple):
    """What users say of how a model's input is made; None leaves it to the model.

    Attributes:
        query_tokens: of a query that are read, with the special tokens around it.
        max_tokens: of an input.
        prompt: put before each query.
    """

    query_tokens: int | None = None
    max_tokens: int | None = None
    prompt: str | None = None


def _read(folder: Path, name: str, device: str | None, reading: Reading) -> tuple[Any, PairInputs, dict[str, Any]]:
    """Return the network of a folder, what makes its input, and its identity."""
    if is_plain(folder):
        model, tokenizer = load_classifier(folder, name, device=device)
        if reading.prompt is None:
            reading = reading._replace(prompt=prompt_of(folder))
        reading = _as_trained(reading, folder)
        try:
            inputs = assembled_pairs(model, tokenizer, reading, name)
            return model, inputs, _identity(model, tokenizer, reading, folder)
        except UnknownTokenizerError:
            pass  # the library knows how to use it
    return _opened(load_cross_encoder(folder, name, device), name, reading, folder)


def _opened(model: Any, name: str, reading: Reading, folder: Path | None) -> tuple[Any, PairInputs, dict[str, Any]]:
    """Return the network of a `CrossEncoder`, what makes its input, and its identity."""
    if reading.prompt is None:
        reading = reading._replace(prompt=model.prompts.get(model.default_prompt_name) or "")
    first = model[0]
    if len(model) == 1 and getattr(first, "transformer_task", None) == "sequence-classification":
        try:
            inputs = assembled_pairs(first.model, first.tokenizer, reading, name)
            return first.model, inputs, _identity(first.model, first.tokenizer, reading, folder)
        except UnknownTokenizerError:
            pass
    identity = {**_identity(model, model.tokenizer, reading, folder), "modules": describe_modules(model)}
    return model, _preprocessed(model, reading, name), identity


def assembled_pairs(model: Any, tokenizer: Any, reading: Reading, name: str) -> AssembledPairs:
    """Return what makes the input of a transformers model for sequence classification.

    Args:
        model: the network.
        tokenizer: its tokenizer.
        reading: token budgets and prompt.
        name: what the model is called, for messages.

    Raises:
        UnknownTokenizerError: the tokenizer cannot be used outside of its library.
        RerankerError: the model does not read as many tokens, or no room is left for queries or for documents.
    """
    longest = longest_input(model, tokenizer)
    max_tokens = reading.max_tokens
    if max_tokens is None:
        max_tokens = min(MAX_TOKENS, longest or MAX_TOKENS)
    if longest is not None and max_tokens > longest:
        raise RerankerError(f"max_tokens is {max_tokens}, but model {name!r} reads {longest}")
    has_segments = "token_type_ids" in inspect.signature(model.forward).parameters
    return AssembledPairs(
        tokenizer,
        query_tokens=reading.query_tokens,
        max_tokens=max_tokens,
        prompt=reading.prompt or "",
        has_segments=has_segments,
    )


def _as_trained(reading: Reading, folder: Path) -> Reading:
    """Fill in the budgets that a folder of this package's training names; a query takes at most half of an input."""
    query_tokens, max_tokens = mono_budgets(folder)
    if reading.max_tokens is not None and query_tokens is not None:
        query_tokens = min(query_tokens, reading.max_tokens // 2)
    return reading._replace(
        query_tokens=query_tokens if reading.query_tokens is None else reading.query_tokens,
        max_tokens=max_tokens if reading.max_tokens is None else reading.max_tokens,
    )


def _preprocessed(model: Any, reading: Reading, name: str) -> PreprocessedPairs:
    if reading.query_tokens is not None:
        raise RerankerError(f"model {name!r} makes its input itself; query_tokens cannot be set for it")
    if reading.max_tokens is not None:
        model.max_seq_length = reading.max_tokens
    return PreprocessedPairs(model, reading.prompt or "")


def _identity(model: Any, tokenizer: Any, reading: Reading, folder: Path | None) -> dict[str, Any]:
    return {**describe(model, folder), "tokenizer": tokenizer_digest(tokenizer), "prompt": reading.prompt or ""}
