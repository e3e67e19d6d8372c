"""The mean of a model's token states over each passage of a text, and what the model does to a mean afterwards.

This is what a sentence-transformers model with mean pooling does to a whole text, done for parts of one; see
`late_chunking`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from retrieval.batching import plan_batches
from retrieval.encoders.late_chunking import PooledPassages, TextInContext, TokenWindow, token_ranges, token_windows
from retrieval.encoders.model_inputs import ModelInputs, TokenizedInputs
from retrieval.errors import EncoderError
from retrieval.execution.devices import on_device
from retrieval.execution.padded_runtime import AFTER_POOLING
from retrieval.execution.splitting import MemoryLimit, run_batches

_WINDOW_TOKENS = 8192
"""Tokens of a window of a model that has no limit."""


def pooling_problem(model: Any, inputs: ModelInputs) -> str | None:
    """Say what keeps a `SentenceTransformer` from pooling parts of a text; None when nothing does.

    Args:
        model: any.
        inputs: how its input is made.
    """
    if not isinstance(inputs, TokenizedInputs):
        return "it does not read plain text through one transformer with a fast tokenizer"
    from sentence_transformers.sentence_transformer.modules import Pooling

    _, *later = model
    if not later or type(later[0]) is not Pooling:
        return f"its token states go to {type(later[0]).__name__ if later else 'nothing'}, not to mean pooling"
    pooling: Any = later[0]
    if pooling.pooling_mode != "mean":
        return f"its pooling is {pooling.pooling_mode!r}, not 'mean'"
    for module in later[1:]:
        reads = getattr(module, "module_input_name", "sentence_embedding")
        if type(module).__name__ not in AFTER_POOLING or reads != "sentence_embedding":
            return f"its module {type(module).__name__} after the pooling may read more than the pooled vector"
    return None


class _Part(NamedTuple):
    """One window on its way through the model: its tokens, and where the passages that are pooled from it lie.

    Attributes:
        text: number of the text.
        sequence: (tokens,) int32, as the model reads it.
        passages: numbers of the passages.
        places: first position and end of each in the sequence.
    """

    text: int
    sequence: np.ndarray
    passages: list[int]
    places: list[tuple[int, int]]


class SpanPooling:
    """Pools passages from a model.

    Args:
        model: a `SentenceTransformer` for which `pooling_problem` knows none.
        inputs: how its input is made.
        prompt: of passages.
        max_tokens: that the model reads; None where it has no limit.
        batch_tokens: tokens of a batch, padding included; a window longer than that is a batch of its own.
        limit: what the owner of the model has learnt of its batches.
    """

    def __init__(
        self,
        model: Any,
        inputs: TokenizedInputs,
        *,
        prompt: str,
        max_tokens: int | None,
        batch_tokens: int,
        limit: MemoryLimit,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._prompt = prompt
        self._window = max_tokens or _WINDOW_TOKENS
        self._has_limit = max_tokens is not None
        self._batch_tokens = batch_tokens
        self._limit = limit
        # Positions at the beginning that the model's own pooling leaves out.
        self._unpooled = 0 if model[1].include_prompt or not prompt else inputs.prompt_length(prompt)

    def encode(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the wanted passages' vectors, batch by batch, (m, d) float32; see `LateChunkingEncoder`.

        Raises:
            EncoderError: a single window does not fit into memory.
        """
        import torch

        parts = [part for number, text in self._tokenised(texts) for part in self._parts(number, *text)]
        lengths = np.array([len(part.sequence) for part in parts], np.int64)

        def run(rows: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return self._vectors([parts[row] for row in rows.tolist()])

        batches = plan_batches(lengths, self._batch_tokens)
        for rows, vectors in run_batches(batches, run, lengths, self._limit):
            done = 0
            for part in (parts[row] for row in rows.tolist()):
                found = vectors[done : done + len(part.passages)]
                done += len(part.passages)
                yield PooledPassages(part.text, np.array(part.passages, np.int64), found)

    def _tokenised(
        self, texts: Sequence[TextInContext]
    ) -> Iterator[tuple[int, tuple[TextInContext, np.ndarray, np.ndarray, np.ndarray]]]:
        """Yield each text with its tokens, their places in the text, and the tokens that later windows begin with."""
        heads = [self._prompt + (text.full_text[: text.title_length] + " ") * (text.title_length > 0) for text in texts]
        of_heads = self._inputs.tokens(heads)
        alone = next(iter(self._inputs.tokens([self._prompt])))[0]
        of_texts = self._inputs.tokens([text.full_text for text in texts], self._prompt)
        for number, (text, tokens, (head, _)) in enumerate(zip(texts, of_texts, of_heads, strict=True)):
            ids, spans = _within(*tokens, np.asarray(text.spans), len(text.full_text))
            fits = 2 * len(head) <= self._window - self._inputs.n_special
            yield number, (text, ids, spans, head if fits else alone)

    def _parts(
        self, number: int, text: TextInContext, ids: np.ndarray, spans: np.ndarray, head: np.ndarray
    ) -> Iterator[_Part]:
        room = self._window - self._inputs.n_special
        ranges = token_ranges(spans, np.asarray(text.spans))
        if not self._has_limit:  # nothing is cut then, however long a passage may be
            room = max(room, int(np.diff(ranges).max()) + len(head))
        for window in token_windows(ranges, len(ids), room, room - len(head)):
            passages = [passage for passage in range(window.first, window.last) if text.wanted[passage]]
            if passages:
                repeated = head if window.start else head[:0]
                sequence = self._inputs.sequence(np.concatenate([repeated, ids[window.start : window.end]]))
                places = [self._place(ranges, passage, window, len(repeated)) for passage in passages]
                yield _Part(number, sequence, passages, places)

    def _place(self, ranges: np.ndarray, passage: int, window: TokenWindow, n_repeated: int) -> tuple[int, int]:
        """Return first position and end of a passage in the sequence of its window."""
        before, behind = self._inputs.n_before, self._inputs.n_special - self._inputs.n_before
        first, end = ranges[passage].tolist()
        shift = before + n_repeated - window.start
        end = min(end, window.end) + shift + (behind if passage == len(ranges) - 1 else 0)
        return (self._unpooled if passage == 0 else first + shift), max(end, 1)  # what stands for no token counts

    def _vectors(self, batch: Sequence[_Part]) -> np.ndarray:
        """Return the vectors of all passages of a batch, (m, d) float32."""
        import torch

        features = self._inputs.padded([part.sequence for part in batch])
        states = self._model[0](on_device(features, self._model.device))["token_embeddings"]  # (batch, width, hidden)
        width = features["input_ids"].shape[1]
        if states.shape[:2] != (len(batch), width):
            raise EncoderError(
                f"the model gave states of shape {tuple(states.shape)} for {len(batch)} x {width} tokens; "
                "use long='chunk'"
            )
        means = []
        for row, part in enumerate(batch):
            for first, end in part.places:
                total = states[row, first:end].sum(dim=0, dtype=torch.float32)
                means.append(total / max(end - first, 1))
        pooled = {"sentence_embedding": torch.stack(means).to(states.dtype)}  # (m, hidden)
        for module in list(self._model)[2:]:
            pooled = module(pooled)
        vectors: np.ndarray = pooled["sentence_embedding"][:, : self._model.truncate_dim].float().cpu().numpy()
        return vectors


def _within(
    ids: np.ndarray, token_spans: np.ndarray, passages: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of a text, and their places, without those before its first passage and behind its last one.

    They are white space, which some tokenizers make tokens of: hundreds of them would fill the windows of the passages
    at the ends and drown their words. The prompt stays.

    Args:
        ids: (n,) int32.
        token_spans: (n, 2), see `token_ranges`.
        passages: (m, 2), likewise.
        length: characters of the text.
    """
    kept = np.ones(len(ids), bool)
    if start := int(passages[0, 0]):
        kept &= (token_spans[:, 0] < 0) | (token_spans[:, 1] > start)
    if (end := int(passages[:, 1].max())) < length:
        kept &= (token_spans[:, 0] < 0) | (token_spans[:, 0] < end)
    return ids[kept], token_spans[kept]
