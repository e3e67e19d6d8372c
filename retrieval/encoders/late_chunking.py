"""Late chunking: a long text goes through the encoder once, and its passages are pooled from the states of its tokens.

Each passage so is encoded within its text, where "she" or "the second proposal" still refer to something (Günther,
Mohr, Williams, Wang & Xiao 2024, "Late Chunking: Contextual Chunk Embeddings Using Long-Context Embedding Models",
arXiv 2409.04701). Texts longer than the encoder reads go through it in windows that overlap (their algorithm 2), placed
here so that each passage lies within one window, with context on both sides of it where the text has any.

Special tokens count as the published code has it: those in front belong to the first passage, those behind to the last
one. A text of one passage therefore gets the vector that the encoder gives it anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from retrieval.encoders.base import Encoder, name_of
from retrieval.errors import EncoderError

_CONTEXT_SHARE = 8
"""One such part of a window is context on either side of its passages, at least; each token of a long text then goes
through the encoder about 1.3 times. Passages longer than the rest have as much as there is room for."""


class TextInContext(NamedTuple):
    """A text whose passages are to be pooled.

    Attributes:
        full_text: title, a space and text; or one of them alone.
        title_length: characters of the title, 0 where there is none; it stands before every window but the first, as
            context, unless it takes more than half of one.
        spans: (m, 2) int, first character and end of each passage of the text, starts ascending.
        wanted: (m,) bool, passages whose vectors are asked for.
    """

    full_text: str
    title_length: int
    spans: np.ndarray
    wanted: np.ndarray


class PooledPassages(NamedTuple):
    """Vectors of some passages of one text.

    Attributes:
        text: number of the text.
        passages: (m,) int64, numbers of its passages.
        vectors: (m, d) float32.
    """

    text: int
    passages: np.ndarray
    vectors: np.ndarray


@runtime_checkable
class LateChunkingEncoder(Protocol):
    """An encoder that can pool passages of a longer text; what it has beside the members of `Encoder`."""

    def late_chunking_problem(self) -> str | None:
        """Say what keeps this model from it; None when nothing does."""

    def encode_in_context(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the wanted passages' vectors, each once, in whatever order they are done."""


def late_chunking_encoder(encoder: Encoder) -> LateChunkingEncoder:
    """Return an encoder for late chunking.

    Raises:
        EncoderError: it cannot do that; the message says why, and what to do.
    """
    if isinstance(encoder, LateChunkingEncoder):
        problem = encoder.late_chunking_problem()
        if problem is None:
            return encoder
    else:
        problem = "it gives vectors of texts, not of their tokens"
    raise EncoderError(
        f"encoder {name_of(encoder)} cannot do late chunking: {problem}; use a sentence-transformers model with mean "
        "pooling, or long='chunk'"
    )


def token_ranges(token_spans: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """Return which tokens each passage has.

    Args:
        token_spans: (n, 2) character start and end of each token, both never descending; tokens of a prompt lie before
            character 0.
        passages: (m, 2) character start and end, starts ascending.

    Returns:
        (m, 2) int64, first token and end. Tokens that stand half in a passage count. The first passage has all tokens
        up to its end, the last one all from its start; one without any (its characters are none to the tokenizer) has
        the nearest.
    """
    n_tokens = len(token_spans)
    first = np.searchsorted(token_spans[:, 1], passages[:, 0], side="right")
    end = np.searchsorted(token_spans[:, 0], passages[:, 1], side="left")
    first = np.minimum(first, max(n_tokens - 1, 0))
    end = np.minimum(np.maximum(end, first + 1), n_tokens)
    first[0], end[-1] = 0, n_tokens
    return np.stack([first, end], axis=1)


class TokenWindow(NamedTuple):
    """A part of a text that goes through the encoder at once.

    Attributes:
        start: its first token.
        end: behind its last token.
        first: the first passage that is pooled from it.
        last: behind the last one.
    """

    start: int
    end: int
    first: int
    last: int


def token_windows(ranges: np.ndarray, n_tokens: int, first_room: int, room: int) -> list[TokenWindow]:
    """Return windows from which each passage is pooled once, placed by the text and its passages alone.

    Args:
        ranges: (m, 2) tokens of each passage, see `token_ranges`.
        n_tokens: tokens of the text.
        first_room: tokens of the text that fit a window at its beginning.
        room: likewise elsewhere, where what is repeated (prompt, title) takes its place too.
    """
    windows: list[TokenWindow] = []
    first, end = ranges[:, 0], ranges[:, 1]
    # Context that is certain: less for a passage that leaves less. A window must begin and end no nearer than these.
    margins = np.maximum(np.minimum(room // _CONTEXT_SHARE, (room - end + first) // 2), 0)
    needs = np.stack([np.maximum(first - margins, 0), np.minimum(end + margins, n_tokens)], axis=1).tolist()
    repeated = first_room - room
    passage = 0
    while passage < len(needs):
        latest, earliest_end = needs[passage]
        last = passage + 1
        while last < len(needs):
            both = min(latest, needs[last][0]), max(earliest_end, needs[last][1])
            # What would be repeated reaches as far as the text's beginning, which then has that much more room.
            if both[1] > (first_room if both[0] <= repeated else both[0] + room):
                break
            (latest, earliest_end), last = both, last + 1
        # As much context before its passages as behind them, where they leave a choice.
        middle = (int(first[passage]) + int(end[last - 1]) - room) // 2
        start = min(max(middle, earliest_end - room), latest, max(n_tokens - room, 0))
        start = 0 if start <= repeated else start
        windows.append(TokenWindow(start, min(start + (room if start else first_room), n_tokens), passage, last))
        passage = last
    return windows
