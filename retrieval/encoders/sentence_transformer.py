"""Any sentence-transformers model as an encoder: its modules, prompts and pooling, in our own loop over batches.

The vectors are those of `SentenceTransformer.encode_query` and `encode_document` up to rounding; the loop differs in
what goes through the model together (`retrieval.batching`).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from retrieval.batching import plan_batches
from retrieval.encoders.base import Similarity, check_texts, check_vectors
from retrieval.encoders.model_files import model_folder
from retrieval.encoders.model_identity import describe_modules, tokenizer_digest, weights_digest
from retrieval.encoders.model_inputs import Task, inputs_of
from retrieval.encoders.weights import remembered_digest
from retrieval.errors import EncoderError

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES: dict[str, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

BATCH_TOKENS = 2048
"""Tokens of a batch on a processor: small enough that a small model's activations stay in its cache."""

BATCH_TOKENS_GPU = 65536
"""Tokens of a batch on a GPU."""

_NO_LIMIT = 10**6
"""Tokenizers without a limit say so by some very large number."""


class SentenceTransformerEncoder:
    """A sentence-transformers model.

    A text's vector differs between batches by rounding only: in fp32 by at most 1e-5 in each component of a vector of
    length one, in bf16 and fp16 by a cosine of at least 0.999.

    Args:
        model: a `SentenceTransformer`. It is used as it is; with a precision other than its own, a copy of it.
        source: see `Encoder.source`.
        precision: of weights and activations; vectors are float32 in any case. By default what the model has.
        batch_tokens: tokens of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
        digests: of weights and tokenizer ("weights", "tokenizer"), when they are known already.

    Raises:
        EncoderError: the model cannot be used for search.
    """

    def __init__(
        self,
        model: Any,
        *,
        source: str | None = None,
        precision: Precision | None = None,
        batch_tokens: int | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._similarity = _similarity(model)
        self._max_tokens = _max_tokens(model)
        self._prompts = _prompts(model)
        digests = digests or {"weights": weights_digest(model), "tokenizer": tokenizer_digest(model)}
        self._inputs = inputs_of(model, self._max_tokens)
        self._model: Any = _in_precision(model, precision).eval()
        self._device = self._model.device
        self._batch_tokens = batch_tokens or (BATCH_TOKENS if self._device.type == "cpu" else BATCH_TOKENS_GPU)
        self._truncated = model.truncate_dim
        self._dimension = model.get_embedding_dimension() or self._encode(["a"], "document").shape[1]
        self._identity = {
            "kind": "sentence-transformers",
            "weights": digests["weights"],
            "tokenizer": digests["tokenizer"],
            "modules": describe_modules(model),
            "query_prompt": self._prompts["query"],
            "passage_prompt": self._prompts["document"],
            "max_tokens": self._max_tokens,
            "dimension": self._dimension,
            "similarity": self._similarity,
        }

    @property
    def dimension(self) -> int:
        """Length of a vector, after truncation."""
        return self._dimension

    @property
    def similarity(self) -> Similarity:
        """What the model says its vectors are compared by."""
        return self._similarity

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
        import sentence_transformers
        import torch
        import transformers

        names = {dtype: precision for precision, dtype in _DTYPES.items()}
        dtype = str(self._open().dtype).removeprefix("torch.")
        versions = {module.__name__: str(module.__version__) for module in (torch, transformers, sentence_transformers)}
        return {
            "precision": names.get(dtype, dtype),
            "runtime": "torch",
            "device": self._device.type,
            "batch_tokens": self._batch_tokens,
            **versions,
        }

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._checked(check_texts(texts), "query")

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32; what is beyond `max_tokens` is not read."""
        return self._checked(check_texts(texts), "document")

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, nothing cut, (n,) int64."""
        return self._inputs.count(check_texts(texts), self._prompts["document"], "document")

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token, (tokens, 2) int64 for each text."""
        return self._inputs.spans(check_texts(texts))

    def close(self) -> None:
        """Let go of the model; the encoder cannot be used afterwards."""
        self._model = None

    def _open(self) -> Any:
        if self._model is None:
            raise EncoderError(f"encoder {self._name} is closed; load it again")
        return self._model

    @property
    def _name(self) -> str:
        return repr(self._source or "a SentenceTransformer")

    def _checked(self, texts: list[str], task: Task) -> np.ndarray:
        if not texts:
            return np.empty((0, self._dimension), np.float32)
        return check_vectors(self._encode(texts, task), len(texts), self._dimension, self._name)

    def _encode(self, texts: list[str], task: Task) -> np.ndarray:
        import torch

        model = self._open()
        prepared = self._inputs.prepare(texts, self._prompts[task], task)
        vectors = np.empty((len(texts), 0), np.float32)
        with torch.inference_mode():
            for rows in plan_batches(prepared.lengths, self._batch_tokens):
                features = {name: self._moved(value) for name, value in prepared.features(rows).items()}
                found = model(features, task=task)["sentence_embedding"][:, : self._truncated].float().cpu().numpy()
                if not vectors.size:
                    vectors = np.empty((len(texts), found.shape[1]), np.float32)  # (n, dimension)
                vectors[rows] = found
        return vectors

    def _moved(self, value: Any) -> Any:
        return value.to(self._device) if hasattr(value, "to") else value


def load_sentence_transformer(
    name_or_path: str | Path,
    *,
    source: str | None = None,
    prompts: Mapping[str, str] | None = None,
    max_tokens: int | None = None,
    truncate_dim: int | None = None,
    precision: Precision | None = "fp32",
    batch_tokens: int | None = None,
    device: str | None = None,
) -> SentenceTransformerEncoder:
    """Load a model from a folder or by its name on the model hub.

    Args:
        name_or_path: see `model_files.model_folder`.
        source: what to load it from again; by default the absolute path, or the name.
        prompts: "query" and "document" prompts instead of the model's own.
        max_tokens: read that many tokens instead of what the model's configuration says.
        truncate_dim: keep the first components of each vector, for models trained so that they suffice.
        precision: "fp32", "bf16" or "fp16"; None keeps what the file has.
        batch_tokens: see `SentenceTransformerEncoder`.
        device: "cpu", "cuda", …; by default a GPU when there is one.

    Raises:
        EncoderError: there is no such model, it cannot be loaded safely, or the settings do not fit it.
    """
    folder = model_folder(str(name_or_path))
    if source is None:
        source = str(folder) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)
    if precision not in (None, *_DTYPES):
        raise EncoderError(f"unknown precision {precision!r}: one of {', '.join(_DTYPES)}")
    model = _load(folder, source, prompts, truncate_dim, device)
    if max_tokens is not None:
        _set_max_tokens(model, max_tokens)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt", ".model"))
    digests = {
        "weights": remembered_digest("tensors", files, lambda: weights_digest(model)),
        "tokenizer": remembered_digest("tokenizer", files, lambda: tokenizer_digest(model)),
    }
    if precision is not None:
        model.to(_dtype(precision))
    return SentenceTransformerEncoder(
        model, source=source, precision=precision, batch_tokens=batch_tokens, digests=digests
    )


def _load(
    folder: Path, source: str, prompts: Mapping[str, str] | None, truncate_dim: int | None, device: str | None
) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    showed_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            str(folder),
            device=device,
            prompts=dict(prompts) if prompts is not None else None,
            truncate_dim=truncate_dim,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:
        # Whatever is wrong with a folder of somebody else's surfaces as nearly any exception of three libraries.
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"model {source!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        if showed_progress:
            transformers_logging.enable_progress_bar()


def _similarity(model: Any) -> Similarity:
    name = model.similarity_fn_name
    if name not in ("cosine", "dot"):
        raise EncoderError(f"the model compares vectors by {name!r}; only 'cosine' and 'dot' can be searched")
    return "cosine" if name == "cosine" else "dot"


def _max_tokens(model: Any) -> int | None:
    limit = model.max_seq_length
    return None if limit is None or math.isinf(limit) or limit > _NO_LIMIT else int(limit)


def _set_max_tokens(model: Any, max_tokens: int) -> None:
    if max_tokens == model.max_seq_length:
        return
    positions = getattr(model.config, "max_position_embeddings", None) or -1
    embeddings = getattr(getattr(model.transformers_model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from behind the padding token's.
    padding = getattr(embeddings, "padding_idx", None)
    reserved = 0 if padding is None else padding + 1
    if max_tokens < 1 or 0 < positions - reserved < max_tokens:
        raise EncoderError(f"max_tokens is {max_tokens}, but this model reads 1 to {positions - reserved} tokens")
    model.max_seq_length = max_tokens


def _prompts(model: Any) -> dict[Task, str]:
    """Return the prompts that `encode_query` and `encode_document` take."""
    default = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    passage = next(
        (model.prompts[name] for name in ("document", "passage", "corpus") if name in model.prompts), default
    )
    return {"query": model.prompts.get("query", default) or "", "document": passage or ""}


def _in_precision(model: Any, precision: Precision | None) -> Any:
    if precision is None or all(parameter.dtype == _dtype(precision) for parameter in model.parameters()):
        return model
    return copy.deepcopy(model).to(_dtype(precision))


def _dtype(precision: Precision) -> Any:
    import torch

    return getattr(torch, _DTYPES[precision])
