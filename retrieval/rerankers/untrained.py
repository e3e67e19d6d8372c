"""A classifier to be trained into a reranker: an encoder with a new head, or a reranker that learns on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrieval.encoders.checkpoints import network_folder
from retrieval.encoders.embedded import EMBEDDED, verified_embedded_folder
from retrieval.errors import EncoderError, RerankerError
from retrieval.rerankers.model_loading import (
    NO_LIMIT,
    is_plain,
    load_classifier,
    prompt_of,
    read_json,
    reranker_folder,
    reranker_kind,
)


def load_untrained(source: str | Path, *, labels: int | None = None, new_labels: int = 1) -> tuple[Any, Any]:
    """Return a transformers model for sequence classification and its tokenizer, in fp32 on the processor.

    Args:
        source: "embedded" for the packaged MiniLM; name or folder of an encoder, whose head starts at random, from
            torch's generator; or of a reranker with one module, which keeps its head.
        labels: logits that the head must have; None takes what a reranker has.
        new_labels: logits of a new head where `labels` is None.

    Raises:
        RerankerError: there is no such model, it cannot be loaded safely and completely, or its head is another one.
    """
    folder, name = _folder(source)
    network = network_folder(folder)
    architecture = str((read_json(network / "config.json").get("architectures") or [""])[0])
    classifies = architecture.endswith("ForSequenceClassification")
    ranks = read_json(folder / "config_sentence_transformers.json").get("model_type") == "CrossEncoder"
    if (classifies or ranks) and not is_plain(folder):
        raise RerankerError(
            f"reranker {name!r} is more than a transformers network with a head, which is what is trained here; take "
            "another one, or an encoder"
        )
    if not classifies:
        made = load_classifier(network, name, device="cpu", new_head=True, num_labels=labels or new_labels)
    else:
        if prompt_of(folder):
            raise RerankerError(
                f"reranker {name!r} puts {prompt_of(folder)!r} before queries, which training does not; take another "
                "one, or an encoder"
            )
        made = load_classifier(network, name, device="cpu")
        if reranker_kind(folder) == "mono":
            made[1].model_max_length = NO_LIMIT  # what it read was a choice for its training; its positions remain
        if labels not in (None, made[0].config.num_labels):
            raise RerankerError(
                f"reranker {name!r} has {made[0].config.num_labels} labels, not {labels}; leave labels out to keep them"
            )
    return made[0].float(), made[1]


def _folder(source: str | Path) -> tuple[Path, str]:
    if source != EMBEDDED:
        return reranker_folder(source)
    try:
        return verified_embedded_folder(), EMBEDDED
    except EncoderError as error:
        raise RerankerError(str(error)) from error
