"""Any sentence-transformers `SparseEncoder` (SPLADE and its kin, ultra-high-dimensional ones) as a sparse encoder.

The vectors are those of its `encode_query` and `encode_document` up to rounding, in our own loop over batches
(`retrieval.batching`), and leave the model as the few entries that are not 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.batching import distinct, plan_batches, plan_packed_batches
from retrieval.encoders.base import check_texts
from retrieval.encoders.model_identity import describe_modules, tokenizer_digest, weights_digest
from retrieval.encoders.model_inputs import PreparedTexts, Task, TokenizedInputs, inputs_of
from retrieval.encoders.sentence_transformer import (
    BATCH_TOKENS,
    BATCH_TOKENS_GPU,
    max_tokens_of,
    prompts_of,
)
from retrieval.encoders.sparse import check_sparse
from retrieval.errors import EncoderError
from retrieval.execution.devices import on_device
from retrieval.execution.precision import Precision, in_precision
from retrieval.execution.splitting import MemoryLimit, run_batches
from retrieval.execution.versions import torch_execution

if TYPE_CHECKING:
    from torch import Tensor

    from indexes.sparse_vectors import SparseVectors
    from retrieval.execution.packed_splade import PackedSplade

_DENSE_NUMBERS = 1 << 24
"""Numbers of the dense matrix, texts x dimensions, that a model may give out at a time: 64 MiB in float32."""


class SparseTransformerEncoder:
    """A sentence-transformers `SparseEncoder`.

    A text's weights differ between batches by rounding only; where a model keeps the k largest outputs, rounding can
    decide between two that are nearly equal. Equal texts of a call are encoded once; a batch for which memory does not
    suffice is run in halves.

    Args:
        model: a `SparseEncoder`. It is used as it is; with a precision other than its own, a copy of it.
        source: see `SparseEncoder.source`.
        precision: of weights and activations; by default what the model has.
        batch_tokens: tokens of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
        digests: of weights and tokenizer ("weights", "tokenizer"), when they are known already.
        packed: run SPLADE models over BERT-like networks without padding (`retrieval.execution.packed_splade`).
        own: whether the model is nobody else's, as when it was just loaded: its weights may then be laid out anew.

    Raises:
        EncoderError: the model cannot be used for search by inner products.
    """

    def __init__(
        self,
        model: Any,
        *,
        source: str | None = None,
        precision: Precision | None = None,
        batch_tokens: int | None = None,
        digests: Mapping[str, str] | None = None,
        packed: bool = True,
        own: bool = False,
    ) -> None:
        if model.similarity_fn_name != "dot":
            raise EncoderError(
                f"the model compares vectors by {model.similarity_fn_name!r}; sparse vectors are searched by 'dot' only"
            )
        self._source = source
        self._max_tokens = max_tokens_of(model)
        self._prompts = prompts_of(model)
        digests = digests or {"weights": weights_digest(model), "tokenizer": tokenizer_digest(model)}
        self._inputs = inputs_of(model, self._max_tokens)
        self._model: Any = in_precision(model, precision).eval()
        self._device = self._model.device
        self._batch_tokens = batch_tokens or (BATCH_TOKENS if self._device.type == "cpu" else BATCH_TOKENS_GPU)
        self._limit = MemoryLimit()
        self._most_active = model.max_active_dims
        self._packed = self._without_padding(own) if packed else None
        settings = _bucket_settings(model)
        self._weighted = settings is None or not settings.binarise
        self._largest_weight: float | None = None if settings is None else settings.largest_weight
        self._n_dimensions: int = self._dense(["a"], "document").shape[1]  # SPLADE's pooling knows it only afterwards
        self._identity = {
            "kind": "sparse sentence-transformers",
            "weights": digests["weights"],
            "tokenizer": digests["tokenizer"],
            "modules": describe_modules(model),
            "query_prompt": self._prompts["query"],
            "passage_prompt": self._prompts["document"],
            "max_tokens": self._max_tokens,
            "n_dimensions": self._n_dimensions,
            "weighted": self._weighted,
            "max_active_dims": self._most_active,
        }

    @property
    def n_dimensions(self) -> int:
        """Dimensions of a vector."""
        return self._n_dimensions

    @property
    def weighted(self) -> bool:
        """Whether passages have weights: all but binarised ultra-high-dimensional models do."""
        return self._weighted

    @property
    def largest_weight(self) -> float | None:
        """What an ultra-high-dimensional model was calibrated to; None for others."""
        return self._largest_weight

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read; None where there is no limit."""
        return self._max_tokens

    @property
    def source(self) -> str | None:
        """Name or path; None for a model that came from memory."""
        return self._source

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors; the path does not."""
        return dict(self._identity)

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime, device, batch size and versions."""
        packed = {} if self._packed is None else {"packed": True}
        return {**torch_execution(self._open()), **packed, "batch_tokens": self._batch_tokens}

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of queries, with weights."""
        return self._encode(check_texts(texts), "query", weighted=True)

    def encode_passages(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of passages; what is beyond `max_tokens` is not read."""
        return self._encode(check_texts(texts), "document", weighted=self._weighted)

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, nothing cut, (n,) int64."""
        return self._inputs.count(check_texts(texts), self._prompts["document"], "document")

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token, (tokens, 2) int64 for each text."""
        return self._inputs.spans(check_texts(texts))

    def close(self) -> None:
        """Let go of the model; the encoder cannot be used afterwards."""
        self._model = self._packed = None

    def _open(self) -> Any:
        if self._model is None:
            raise EncoderError(f"encoder {self._name} is closed; load it again")
        return self._model

    @property
    def _name(self) -> str:
        return repr(self._source or "a SparseEncoder")

    def _without_padding(self, own: bool) -> PackedSplade | None:
        if not isinstance(self._inputs, TokenizedInputs):
            return None
        from retrieval.execution.packed_splade import packed_splade

        return packed_splade(self._model, copied=own)

    def _encode(self, texts: list[str], task: Task, *, weighted: bool) -> SparseVectors:
        from indexes.sparse_vectors import SparseVectors
        from retrieval.sparse_encoding import gathered

        given, places = distinct(texts)
        vectors = self._encode_distinct(given, task)
        if len(places) != len(given):
            vectors = gathered([vectors], places)
        return vectors if weighted else SparseVectors(vectors.offsets, vectors.dimensions)

    def _encode_distinct(self, texts: list[str], task: Task) -> SparseVectors:
        from indexes.sparse_vectors import SparseVectors

        prepared = self._inputs.prepare(texts, self._prompts[task], task)
        most_texts = max(_DENSE_NUMBERS // self._n_dimensions, 1)
        counts = np.zeros(len(texts), np.int64)
        found = []  # rows of the texts, and dimensions and weights of their entries one text after the other
        plan = plan_batches if self._packed is None else plan_packed_batches
        batches = (
            batch[start : start + most_texts]
            for batch in plan(prepared.lengths, self._batch_tokens)
            for start in range(0, len(batch), most_texts)
        )

        def run(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return self._entries(self._vectors(prepared, rows, task))

        for rows, entries in run_batches(batches, run, prepared.lengths, self._limit):
            counts[rows] = np.bincount(entries[0], minlength=len(rows))
            found.append((rows, *entries[1:]))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        dimensions, weights = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
        for rows, of_dimensions, of_weights in found:
            before = np.cumsum(counts[rows]) - counts[rows]
            places = np.repeat(offsets[rows] - before, counts[rows]) + np.arange(len(of_dimensions))
            dimensions[places], weights[places] = of_dimensions, of_weights
        vectors = SparseVectors(offsets, dimensions, weights)
        check_sparse(vectors, len(texts), self._n_dimensions, self._name, weighted=True)
        return vectors

    def _entries(self, vectors: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return text, dimension and weight of each entry of a batch that is not 0, texts and dimensions ascending.

        Args:
            vectors: (batch, n).
        """
        import torch

        with torch.inference_mode():
            texts, dimensions = torch.nonzero(vectors, as_tuple=True)
            weights = vectors[texts, dimensions]
        return texts.cpu().numpy(), dimensions.cpu().numpy().astype(np.int32), weights.cpu().numpy()

    def _vectors(self, prepared: PreparedTexts, rows: np.ndarray, task: Task) -> Tensor:
        """Return the vectors of some texts, (batch, n) float32."""
        import torch
        from sentence_transformers.util import select_max_active_dims

        packed = self._packed  # before the model, which `close` lets go of first: it was there if the model is
        model = self._open()
        with torch.inference_mode():
            if packed is not None and prepared.tokens is not None:
                vectors = packed.run(prepared.tokens(rows)).float()
            else:
                moved = on_device(prepared.features(rows), self._device)
                given: dict[str, Any] = {"task": task}
                if self._most_active is not None:
                    given["max_active_dims"] = self._most_active
                vectors = model(moved, **given)["sentence_embedding"].float()
            return vectors if self._most_active is None else select_max_active_dims(vectors, self._most_active)

    def _dense(self, texts: list[str], task: Task) -> Tensor:
        prepared = self._inputs.prepare(texts, self._prompts[task], task)
        return self._vectors(prepared, np.arange(len(texts)), task)


def _bucket_settings(model: Any) -> Any:
    """Return the settings of an ultra-high-dimensional model; None for others."""
    from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional

    return next((module.settings for module in model.children() if isinstance(module, UltraHighDimensional)), None)
