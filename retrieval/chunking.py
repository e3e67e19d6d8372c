"""Documents longer than the encoder reads: split into passages, cut, or refused, and counted in any case.

Where they are split does not depend on how their passages are encoded, alone or within their document ("late").

A passage is a range of characters of the document's full text, so that a hit can show it; what is encoded for it may
have the document's title in front. A document that fits is one passage, its full text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NoReturn, get_args

import numpy as np

from retrieval.encoders.base import TokenCounter
from retrieval.errors import CollectionError, DocumentError, EncoderError
from retrieval.windows import window_ranges

LongPolicy = Literal["chunk", "late", "truncate", "error"]

LATE_PASSAGE_TOKENS = 256
"""Tokens of a passage under the policy "late" where nothing else is said, or half of what the encoder reads if that is
less: passages as long as its windows would have no context."""

_GROUP = 64
"""Long documents whose tokens are held at once."""

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class ChunkSettings:
    """What happens to a document longer than the encoder reads.

    Attributes:
        policy: "chunk" splits it into passages with overlap, and its score is that of its best passage; "late" splits
            it likewise, but encodes it whole, or in windows as long as the encoder reads, and pools each passage's
            vector from its tokens there (`retrieval.encoders.late_chunking`); "truncate" encodes its beginning; "error"
            refuses it. Sparse vectors are never pooled: under "late" their passages are those of "chunk".
        passage_tokens: tokens of a passage, prompt, special tokens and title included. Documents with more tokens than
            that are split. None for what the encoder reads; for "late", 256 tokens or half of what the encoder reads if
            that is less. Only for "chunk" and "late".
        overlap_tokens: tokens that a passage shares with the one before it; at most half of a passage is taken.
    """

    policy: LongPolicy = "chunk"
    passage_tokens: int | None = None
    overlap_tokens: int = 32

    def __post_init__(self) -> None:
        if self.policy not in get_args(LongPolicy):
            raise CollectionError(
                f"unknown policy {self.policy!r} for long documents: 'chunk', 'late', 'truncate' or 'error'"
            )
        if self.passage_tokens is not None and self.passage_tokens < 1:
            raise CollectionError(f"passage_tokens must be at least 1, not {self.passage_tokens}")
        if self.overlap_tokens < 0:
            raise CollectionError(f"overlap_tokens must be at least 0, not {self.overlap_tokens}")


class Passage(NamedTuple):
    """A piece of a document that gets a vector.

    Attributes:
        start: first character in the document's full text.
        end: behind its last character.
        text: what is encoded of it alone: these characters, behind the title where they do not begin with it.
        tokens: tokens that the encoder reads of it (an estimate where the encoder has no limit); to plan with.
    """

    start: int
    end: int
    text: str
    tokens: int


@dataclass
class SplitDocuments:
    """The passages of some documents.

    Attributes:
        passages: one list for each document, in the order of the text, never empty.
        long_documents: documents longer than the limit, which is a passage's where they are split.
        tokens_cut: tokens that are not read.
    """

    passages: list[list[Passage]] = field(default_factory=list)
    long_documents: int = 0
    tokens_cut: int = 0


def split_documents(
    full_texts: Sequence[str],
    title_lengths: Sequence[int],
    encoder: TokenCounter,
    settings: ChunkSettings,
    ids: Sequence[str] | None = None,
) -> SplitDocuments:
    """Return the passages of documents.

    Give it some hundred or thousand documents at a time: texts are tokenised together.

    Args:
        full_texts: title, a space and text; or one of them alone.
        title_lengths: characters of each title, 0 where there is none.
        encoder: what will encode the passages; decides how long a text may be.
        settings: the policy.
        ids: of the documents, for the message of the policy "error".

    Raises:
        DocumentError: the policy is "error" and a document is too long.
        EncoderError: passages would be longer than the encoder reads, or too short to hold text.
    """
    limit = _limit(encoder, settings)
    if limit is None or not full_texts:
        return SplitDocuments([[Passage(0, len(text), text, _estimate(text))] for text in full_texts])
    counts = encoder.count_tokens(full_texts)
    too_long = np.flatnonzero(counts > limit).tolist()
    if too_long and settings.policy == "error":
        _refuse(too_long[0], int(counts[too_long[0]]), limit, ids)
    read = np.minimum(counts, limit).tolist()
    split = SplitDocuments([[Passage(0, len(text), text, n)] for text, n in zip(full_texts, read, strict=True)])
    split.long_documents = len(too_long)
    if settings.policy == "truncate":
        split.tokens_cut = int(np.maximum(counts - limit, 0).sum())
        return split
    overhead = int(encoder.count_tokens([""])[0]) if too_long else 0
    if limit <= overhead:
        raise EncoderError(f"passages of {limit} tokens hold no text: prompt and special tokens take {overhead}")
    for first in range(0, len(too_long), _GROUP):
        rows = too_long[first : first + _GROUP]
        documents = _long_documents(full_texts, title_lengths, rows, encoder, limit - overhead)
        _chunk(documents, encoder, limit, settings.overlap_tokens)
        for row, document in zip(rows, documents, strict=True):
            split.passages[row] = document.passages
            split.tokens_cut += sum(max(passage.tokens - limit, 0) for passage in document.passages)
    return split


def _refuse(row: int, n_tokens: int, limit: int, ids: Sequence[str] | None) -> NoReturn:
    name = repr(ids[row]) if ids is not None else f"number {row}"
    raise DocumentError(
        f"document {name} has {n_tokens:,} tokens, the encoder reads {limit:,}; "
        "shorten it, or let long documents be chunked or truncated"
    )


@dataclass
class _LongDocument:
    """A document on its way into passages.

    Attributes:
        text: full text.
        spans: (tokens, 2) character start and end.
        title: stands before every passage but the first; empty where the title is too long for that.
        text_start: first character behind the title.
        first_room: tokens of text in the first passage.
        room: tokens of text in the others.
    """

    text: str
    spans: np.ndarray
    title: str
    text_start: int
    first_room: int
    room: int
    passages: list[Passage] = field(default_factory=list)

    def shrink(self, excess: int) -> bool:
        """Make passages smaller; False when they cannot be."""
        if max(self.first_room, self.room) == 1:
            return False
        self.first_room, self.room = max(self.first_room - excess, 1), max(self.room - excess, 1)
        return True


def _limit(encoder: TokenCounter, settings: ChunkSettings) -> int | None:
    longest, wanted = encoder.max_tokens, settings.passage_tokens
    if settings.policy not in ("chunk", "late"):
        return longest
    if wanted is None and settings.policy == "late":
        return LATE_PASSAGE_TOKENS if longest is None else min(LATE_PASSAGE_TOKENS, max(longest // 2, 1))
    if wanted is None:
        return longest
    if longest is not None and wanted > longest:
        raise EncoderError(f"passage_tokens is {wanted:,}, but the encoder reads {longest:,} tokens")
    return wanted


def _estimate(text: str) -> int:
    return len(text) // _CHARACTERS_PER_TOKEN + 1


def _long_documents(
    full_texts: Sequence[str], title_lengths: Sequence[int], rows: Sequence[int], encoder: TokenCounter, room: int
) -> list[_LongDocument]:
    texts = [full_texts[row] for row in rows]
    titles = [full_texts[row][: title_lengths[row]] + " " if title_lengths[row] else "" for row in rows]
    counts = encoder.count_tokens([*titles, ""])
    documents = []
    for text, title, n_tokens, spans in zip(
        texts, titles, (counts[:-1] - counts[-1]).tolist(), encoder.token_spans(texts), strict=True
    ):
        prefixed = title and n_tokens <= room // 2
        documents.append(
            _LongDocument(
                text=text,
                spans=spans,
                title=title if prefixed else "",
                text_start=len(title) if prefixed else 0,
                first_room=room,
                room=room - n_tokens if prefixed else room,
            )
        )
    return documents


def _chunk(documents: Sequence[_LongDocument], encoder: TokenCounter, limit: int, overlap: int) -> None:
    """Split documents, and split those again smaller whose passages turn out too long.

    A piece of a text may have more tokens than it had within the text (a cut word, a joined title), so passages are
    counted as they will be encoded.
    """
    waiting = list(documents)
    while waiting:
        for document in waiting:
            document.passages = _passages(document, overlap)
        counts = iter(encoder.count_tokens([passage.text for document in waiting for passage in document.passages]))
        again = []
        for document in waiting:
            document.passages = [passage._replace(tokens=int(next(counts))) for passage in document.passages]
            excess = max(passage.tokens for passage in document.passages) - limit
            if excess > 0 and document.shrink(excess):
                again.append(document)
        waiting = again


def _passages(document: _LongDocument, overlap: int) -> list[Passage]:
    text = document.text
    sizes = (document.first_room, document.room)
    ranges = window_ranges(text, document.spans, sizes, overlap=overlap, not_before=document.text_start)
    passages = [
        Passage(start, end, (document.title if number else "") + text[start:end], 0)
        for number, (start, end) in enumerate(ranges)
    ]
    return passages or [Passage(0, 0, "", 0)]  # white space alone
