"""SPLADE without padding: a packed network, then the vocabulary's scores, a few tokens at a time, pooled as they come.

SPLADE pools log(1 + relu(x)) over a text's tokens, x the scores of all words of the vocabulary by the head of a masked
language model (Formal et al. 2021, arXiv 2109.10086, equation 6). Where the pooling is a maximum, it is taken first:
the logarithm never descends, so that log(1 + relu(max x)) is the same, of one row for each text instead of one for each
token. The scores of a batch are never in memory as a whole: with 30,000 words they would be 120 kB for each token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from retrieval.execution.packed import PackedNetwork, packed_network
from retrieval.execution.probing import agree, probe_batch
from retrieval.execution.runtime import TokenBatch

_SCORES = 1 << 23
"""Numbers of the vocabulary's scores that are in memory at a time: 32 MiB in fp32."""


class LanguageHead(NamedTuple):
    """The head of a masked language model.

    Attributes:
        transform: of states, (rows, d) to (rows, e).
        decode: the linear layer to the scores of all words, (rows, e) to (rows, words).
    """

    transform: Callable[[Tensor], Tensor]
    decode: Any


class PackedSplade:
    """Runs a SPLADE model whose network is BERT-like without padding; see `packed_splade`.

    Args:
        network: without its head.
        head: of the language model.
        pooling: the library's `SpladePooling`.
    """

    def __init__(self, network: PackedNetwork, head: LanguageHead, pooling: Any) -> None:
        self._network = network
        self._head = head
        self._maximum = pooling.pooling_strategy == "max"
        self._logarithms = 2 if pooling.activation_function == "log1p_relu" else 1

    def run(self, batch: TokenBatch) -> Tensor:
        """Return the weights of all words for each text, (n, words), in the network's type; 0 for most of them."""
        with torch.inference_mode():
            states, offsets, order = self._network.states(batch)
            hidden = self._head.transform(states)
            pooled = self._pooled(hidden, offsets.tolist())
            found = torch.empty_like(pooled)
            found[torch.from_numpy(order).to(pooled.device)] = pooled
        return found

    def _pooled(self, hidden: Tensor, ends: list[int]) -> Tensor:
        """Return the pooled weights, (n, words), of the texts that lie between two of `ends`."""
        rows: list[Tensor] = []
        tokens = max(_SCORES // self._head.decode.weight.shape[0], 1)
        for first, last in pairwise(_cuts(ends, tokens)):
            begin = ends[first]
            if ends[last] - begin > tokens:
                rows.append(self._of_parts(hidden[begin : ends[last]].split(tokens)))
                continue
            scores = self._head.decode(hidden[begin : ends[last]])
            rows += [self._reduced(scores[ends[text] - begin : ends[text + 1] - begin]) for text in range(first, last)]
        pooled = torch.stack(rows)
        return self._activated(pooled) if self._maximum else pooled

    def _of_parts(self, parts: Sequence[Tensor]) -> Tensor:
        """Return what the parts of one text, each (tokens, d), come to."""
        reduced = torch.stack([self._reduced(self._head.decode(part)) for part in parts])
        return reduced.amax(dim=0) if self._maximum else reduced.sum(dim=0)

    def _reduced(self, scores: Tensor) -> Tensor:
        """Return what the scores of some tokens of one text, (tokens, words), come to; they are overwritten."""
        return scores.amax(dim=0) if self._maximum else self._activated(scores).sum(dim=0)

    def _activated(self, scores: Tensor) -> Tensor:
        """Return the weights of scores, which are overwritten."""
        weights = scores.relu_()
        for _ in range(self._logarithms):
            weights = weights.log1p_()
        return weights


def _cuts(ends: list[int], tokens: int) -> list[int]:
    """Return numbers of texts where parts of at most so many tokens begin, and the number of texts.

    A text that is longer is a part of its own.

    Args:
        ends: where each text begins, and where the last one ends.
        tokens: of a part.
    """
    cuts = [0]
    for text in range(1, len(ends) - 1):
        if ends[text + 1] - ends[cuts[-1]] > tokens:
            cuts.append(text)
    return [*cuts, len(ends) - 1]


def packed_splade(model: Any, *, copied: bool = False) -> PackedSplade | None:
    """Return a SPLADE model without padding that gives the weights of the library's way; None where there is none.

    Both ways are compared on a few tokens before it is returned.

    Args:
        model: a `SparseEncoder` that reads plain text through one transformer, not in training.
        copied: see `PackedNetwork`; for models that nobody else changes.
    """
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    modules = list(model)
    if len(modules) != 2 or type(modules[1]) is not SpladePooling or model.training:
        return None
    if any((model.module_kwargs or {}).values()):
        return None
    language_model = getattr(modules[0], "model", None)
    try:
        head = language_head(language_model)
        network = None if head is None else packed_network(language_model.base_model, copied=copied)  # type: ignore[union-attr]
        if head is None or network is None:
            return None
        packed = PackedSplade(network, head, modules[1])
        batch = probe_batch(model)
        return packed if agree(_padded(model, batch), packed.run(batch).float().cpu().numpy(), model.dtype) else None
    except (AttributeError, IndexError, RuntimeError, TypeError):
        # Another version of a library, no kernel for this device, or fewer positions than the tokens compared.
        return None


def language_head(model: Any) -> LanguageHead | None:
    """Return the head of a masked language model of transformers; None where it is not known."""
    kind = type(model).__name__
    if kind == "BertForMaskedLM":
        return LanguageHead(model.cls.predictions.transform, model.cls.predictions.decoder)
    if kind in {"CamembertForMaskedLM", "MPNetForMaskedLM", "RobertaForMaskedLM", "XLMRobertaForMaskedLM"}:
        head = model.lm_head
        return LanguageHead(lambda states: head.layer_norm(torch.nn.functional.gelu(head.dense(states))), head.decoder)
    if kind == "DistilBertForMaskedLM":

        def transform(states: Tensor) -> Tensor:
            hidden: Tensor = model.vocab_layer_norm(model.activation(model.vocab_transform(states)))
            return hidden

        return LanguageHead(transform, model.vocab_projector)
    if kind == "ElectraForMaskedLM":
        return LanguageHead(model.generator_predictions, model.generator_lm_head)
    return None


def _padded(model: Any, batch: TokenBatch) -> np.ndarray:
    pad_id = model.tokenizer.pad_token_id or 0
    features = {name: torch.from_numpy(each).to(model.device) for name, each in batch.padded(pad_id).items()}
    with torch.inference_mode():
        found: np.ndarray = model(features)["sentence_embedding"].float().cpu().numpy()
    return found
