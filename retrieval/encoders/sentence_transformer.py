"""Any sentence-transformers model as an encoder: its modules, prompts and pooling, in our own loop over batches.

The vectors are those of `SentenceTransformer.encode_query` and `encode_document` up to rounding; the loop differs in
what goes through the model together (`retrieval.batching`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from retrieval.batching import distinct, plan_batches, plan_packed_batches, plan_windows
from retrieval.encoders.base import Similarity, check_texts, check_vectors
from retrieval.encoders.late_chunking import PooledPassages, TextInContext
from retrieval.encoders.model_identity import describe_modules, tokenizer_digest, weights_digest
from retrieval.encoders.model_inputs import PreparedTexts, Task, TokenizedInputs, inputs_of
from retrieval.encoders.model_tokenizer import readable_tokens
from retrieval.encoders.span_pooling import SpanPooling, pooling_problem
from retrieval.errors import EncoderError
from retrieval.execution.ahead import one_ahead
from retrieval.execution.padded_runtime import PaddedRuntime, run_modules
from retrieval.execution.precision import Precision, in_precision
from retrieval.execution.runtime import Runtime
from retrieval.execution.splitting import MemoryLimit, run_batches
from retrieval.execution.versions import torch_execution

BATCH_TOKENS = 2048
"""Tokens of a batch on a processor: small enough that a small model's activations stay in its cache."""

BATCH_TOKENS_GPU = 65536
"""Tokens of a batch on a GPU."""

_NO_LIMIT = 10**6
"""Tokenizers without a limit say so by some very large number."""


_WINDOW_CHARACTERS = 1 << 20
"""Characters of texts that are tokenised together, and sorted by length; some 256,000 tokens."""

_WINDOW_BATCHES = 32
"""Or as many as this times a batch's tokens: eight batches, at four characters a token."""


class _Window(NamedTuple):
    """Some texts of a step.

    Attributes:
        texts: all of the step, each once.
        rows: (m,) int64, those of the window.
        places: (n,) int64, which of them each text of the step is.
        first: whether it is the first one of the step.
        last: whether it is the last one.
    """

    texts: list[str]
    rows: np.ndarray
    places: np.ndarray
    first: bool
    last: bool


class SentenceTransformerEncoder:
    """A sentence-transformers model.

    A text's vector differs between batches by rounding only: in fp32 by at most 1e-5 in each component of a vector of
    length one, in bf16 and fp16 by a cosine of at least 0.999. Equal texts of a call are encoded once and get the same
    bits. BERT-like networks run without padding (`retrieval.execution.packed`); a batch for which memory does not
    suffice is run in halves.

    Args:
        model: a `SentenceTransformer`. It is used as it is; with a precision other than its own, a copy of it.
        source: see `Encoder.source`.
        precision: of weights and activations; vectors are float32 in any case. By default what the model has.
        batch_tokens: tokens of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
        digests: of weights and tokenizer ("weights", "tokenizer"), when they are known already.
        runtime: what runs the model, when it is not PyTorch; the model still says who it is.
        packed: run BERT-like networks over tokens without padding (`retrieval.execution`).
        own: whether the model is nobody else's, as when it was just loaded: its weights may then be laid out anew.

    Raises:
        EncoderError: the model cannot be used for search, or not with this runtime.
    """

    def __init__(
        self,
        model: Any,
        *,
        source: str | None = None,
        precision: Precision | None = None,
        batch_tokens: int | None = None,
        digests: Mapping[str, str] | None = None,
        runtime: Runtime | None = None,
        packed: bool = True,
        own: bool = False,
    ) -> None:
        self._source = source
        self._similarity = _similarity(model)
        self._max_tokens = max_tokens_of(model)
        self._prompts = prompts_of(model)
        digests = digests or {"weights": weights_digest(model), "tokenizer": tokenizer_digest(model)}
        self._inputs = inputs_of(model, self._max_tokens)
        self._model: Any = in_precision(model, precision).eval()
        self._device = self._model.device
        self._batch_tokens = batch_tokens or (BATCH_TOKENS if self._device.type == "cpu" else BATCH_TOKENS_GPU)
        self._limit = MemoryLimit()
        self._truncated = model.truncate_dim
        self._dimension: int = model.get_embedding_dimension() or 0  # until a text has been encoded
        self._runtime = self._runtime_of(runtime, packed, own)
        self._is_packed = self._runtime is not None and bool(self._runtime.execution().get("packed"))
        self._window_characters = max(_WINDOW_CHARACTERS, _WINDOW_BATCHES * self._batch_tokens)
        self._dimension = self._dimension or self._encode(["a"], "document").shape[1]
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
        model = self._open()
        runs = torch_execution(model) if self._runtime is None else self._runtime.execution()
        return {**runs, "batch_tokens": self._batch_tokens}

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._encode(texts, "query")

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32; what is beyond `max_tokens` is not read."""
        return self._encode(texts, "document")

    def encode_stream(self, steps: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yield the vectors of the passages of each step, (n, dimension) float32; the next step is tokenised meanwhile.

        In memory are the tokens of two steps or, of large ones, of two windows, four bytes each, and of one batch what
        goes through the model: some ten numbers of its width for each token, however long a text is, where the network
        is packed or its attention takes no mask.
        """
        return self._encoded(steps, "document")

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, nothing cut, (n,) int64."""
        return self._inputs.count(check_texts(texts), self._prompts["document"], "document")

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token, (tokens, 2) int64 for each text."""
        return self._inputs.spans(check_texts(texts))

    def late_chunking_problem(self) -> str | None:
        """Say what keeps the model from late chunking (`retrieval.encoders.late_chunking`); None when nothing does."""
        return pooling_problem(self._open(), self._inputs)

    def encode_in_context(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the vectors of wanted passages, pooled from their whole texts, (m, dimension) float32 at a time.

        A window of a text is read at once, short texts together; in a text of one passage it is `encode_passages`.

        Raises:
            EncoderError: the model cannot do late chunking, or gives other than finite numbers.
        """
        model = self._open()
        if problem := pooling_problem(model, self._inputs):
            raise EncoderError(f"encoder {self._name} cannot do late chunking: {problem}")
        assert isinstance(self._inputs, TokenizedInputs)  # or there were a problem
        pooling = SpanPooling(
            model,
            self._inputs,
            prompt=self._prompts["document"],
            max_tokens=self._max_tokens,
            batch_tokens=self._batch_tokens,
            limit=self._limit,
        )
        for pooled in pooling.encode(texts):
            checked = check_vectors(pooled.vectors, len(pooled.passages), self._dimension, self._name)
            yield pooled._replace(vectors=checked)

    def close(self) -> None:
        """Let go of the model; the encoder cannot be used afterwards."""
        self._model = None
        if self._runtime is not None:
            self._runtime.close()

    def _open(self) -> Any:
        if self._model is None:
            raise EncoderError(f"encoder {self._name} is closed; load it again")
        if self._model.training:
            self._model.eval()  # its owner goes on training it; dropout is no part of a vector, as in `encode`
        return self._model

    @property
    def _name(self) -> str:
        return repr(self._source or "a SentenceTransformer")

    def _encode(self, texts: Sequence[str], task: Task) -> np.ndarray:
        return next(self._encoded([texts], task))

    def _encoded(self, steps: Iterable[Sequence[str]], task: Task) -> Iterator[np.ndarray]:
        """Yield the vectors of the texts of each step, (n, dimension) float32."""
        model = self._open()

        def prepare(window: _Window) -> tuple[_Window, PreparedTexts]:
            texts = [window.texts[row] for row in window.rows.tolist()]
            return window, self._inputs.prepare(texts, self._prompts[task], task)

        vectors = np.empty((0, 0), np.float32)
        for window, prepared in one_ahead(prepare, _windows(steps, self._window_characters)):
            if window.first:
                vectors = np.empty((0, 0), np.float32)
            for rows, found in self._run(model, prepared, task):
                if not len(vectors):
                    vectors = np.empty((len(window.texts), found.shape[1]), np.float32)  # (distinct, dimension)
                vectors[window.rows[rows]] = found
            if window.last and not window.texts:
                yield np.empty((0, self._dimension), np.float32)
            elif window.last:
                checked = check_vectors(vectors, len(vectors), self._dimension or None, self._name)
                yield checked if len(window.places) == len(checked) else checked[window.places]

    def _run(self, model: Any, prepared: PreparedTexts, task: Task) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows of each batch with their vectors."""
        runtime, tokens = self._runtime, prepared.tokens

        def run(rows: np.ndarray) -> np.ndarray:
            self._open()  # another thread may have closed it since the last batch
            if runtime is None or tokens is None:
                found = run_modules(model, prepared.features(rows), task)
            else:
                found = runtime.run(tokens(rows))
            return found[:, : self._truncated]

        plan = plan_packed_batches if self._is_packed else plan_batches
        return run_batches(plan(prepared.lengths, self._batch_tokens), run, prepared.lengths, self._limit)

    def _runtime_of(self, given: Runtime | None, pack: bool, copied: bool) -> Runtime | None:
        """Return what runs token ids; None where only the library makes the model's input."""
        if isinstance(self._inputs, TokenizedInputs):
            if given is not None:
                return given
            from retrieval.execution.packed_runtime import packed_runtime

            pad_id = self._inputs.pad_id
            found = packed_runtime(self._model, pad_id, copied=copied) if pack else None
            return found or PaddedRuntime(self._model, pad_id)
        if given is not None:
            raise EncoderError(
                f"{self._name} makes its input itself, not by a tokenizer alone; only PyTorch runs such a model"
            )
        return None


def _windows(steps: Iterable[Sequence[str]], characters: int) -> Iterator[_Window]:
    """Yield the texts of each step in windows of at most so many characters, longest texts first."""
    for step in steps:
        texts, places = distinct(check_texts(step))
        lengths = np.array([len(text) for text in texts], np.int64)
        order = np.argsort(-lengths, kind="stable")
        windows = list(plan_windows(lengths[order], characters)) or [np.empty(0, np.int64)]
        for number, window in enumerate(windows):
            yield _Window(texts, order[window], places, number == 0, number == len(windows) - 1)


def _similarity(model: Any) -> Similarity:
    name = model.similarity_fn_name
    if name not in ("cosine", "dot"):
        raise EncoderError(f"the model compares vectors by {name!r}; only 'cosine' and 'dot' can be searched")
    return "cosine" if name == "cosine" else "dot"


def max_tokens_of(model: Any) -> int | None:
    """Return how many tokens of a text a model reads, at most those it has positions for; None where no limit is."""
    readable = readable_tokens(model)
    limit = math.inf if model.max_seq_length is None else model.max_seq_length
    limit = limit if readable is None else min(limit, readable)
    return None if math.isinf(limit) or limit > _NO_LIMIT else int(limit)


def prompts_of(model: Any) -> dict[Task, str]:
    """Return the prompts that `encode_query` and `encode_document` take."""
    default = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    passage = next(
        (model.prompts[name] for name in ("document", "passage", "corpus") if name in model.prompts), default
    )
    return {"query": model.prompts.get("query", default) or "", "document": passage or ""}
