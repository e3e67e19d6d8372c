"""Needles and the text around them: passages that are looked for, at places of a text that is the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eval.errors import MeasureError
from eval.probes.texts import checked_texts

if TYPE_CHECKING:
    from eval.pools import Pool
    from retrieval.encoders.base import Encoder


@dataclass(frozen=True)
class Needle:
    """A passage that is looked for.

    Attributes:
        query: what it answers.
        passage: the text that is put into longer ones.
    """

    query: str
    passage: str


def needles_of(pool: Pool, n: int, *, seed: int = 0) -> tuple[list[Needle], list[str]]:
    """Draw needles from a test set: passages with the first query that each answers.

    Args:
        pool: passages, queries and judgements.
        n: needles at most.
        seed: of the draw.

    Returns:
        The needles, and the passages that answer none of their queries, in random order.

    Raises:
        MeasureError: fewer than two passages answer a query.
    """
    text_of = dict(zip(pool.ids, pool.texts, strict=True))
    query_of: dict[str, str] = {}
    for query, grades in pool.qrels.items():
        for name, grade in grades.items():
            if grade > 0 and text_of.get(name, "").strip():
                query_of.setdefault(name, query)
    random = np.random.default_rng(seed)
    # Ids by their order in the pool: equal texts count once.
    answering = list({text_of[name]: name for name in pool.ids if name in query_of}.values())
    if len(answering) < 2:
        raise MeasureError(f"{pool.name}: {len(answering)} passages answer a query; needles need at least two")
    chosen = [answering[row] for row in sorted(random.permutation(len(answering))[:n].tolist())]
    relevant = {name for each in chosen for name, grade in pool.qrels[query_of[each]].items() if grade > 0} | set(
        chosen
    )
    needle_texts = {text_of[name] for name in relevant if name in text_of}
    others = [text for text in dict.fromkeys(pool.texts) if text.strip() and text not in needle_texts]
    needles = [Needle(pool.queries[query_of[name]], text_of[name]) for name in chosen]
    return needles, [others[row] for row in random.permutation(len(others)).tolist()]


def needles_of_texts(texts: Sequence[str], n: int, *, seed: int = 0) -> tuple[list[Needle], list[str]]:
    """Draw needles from texts alone: each is asked for by its own first sentence, the rest is the needle.

    Args:
        texts: any; needles are drawn from those of two sentences and more.
        n: needles at most.
        seed: of the draw.

    Returns:
        The needles, and the texts that are none, in random order.

    Raises:
        MeasureError: a text is blank, or fewer than two have two sentences.
    """
    from retrieval.sentences import sentence_ranges

    different = list(dict.fromkeys(checked_texts(texts, "texts")))
    first = {text: ranges[0] for text in different if len(ranges := sentence_ranges(text)) > 1}
    by_rest = {text[first[text][1] :].strip(): text for text in first}  # equal needles count once
    if len(by_rest) < 2:
        raise MeasureError(
            f"{len(by_rest)} texts have two sentences, one to ask with and one to find; give two or more"
        )
    random = np.random.default_rng(seed)
    rests = list(by_rest)
    chosen = [rests[row] for row in sorted(random.permutation(len(rests))[:n].tolist())]
    needles = [Needle(by_rest[rest][slice(*first[by_rest[rest]])], rest) for rest in chosen]
    used = {by_rest[rest] for rest in chosen}
    others = [text for text in different if text not in used]
    return needles, [others[row] for row in random.permutation(len(others)).tolist()]


class Document(NamedTuple):
    """A needle in its text.

    Attributes:
        text: all of it.
        before: tokens of the other text before the needle.
        other: tokens of the other text.
        size: tokens of the needle.
    """

    text: str
    before: int
    other: int
    size: int


class Haystack:
    """The text around needles, by its sentences.

    Args:
        encoder: counts tokens.
        text: passages in their order.
    """

    def __init__(self, encoder: Encoder, text: Sequence[str]) -> None:
        from retrieval.sentences import sentence_ranges

        self._encoder = encoder
        self.extra = int(encoder.count_tokens([""])[0])  # special tokens and a prompt
        self._sentences = [
            passage[start:end] for passage in checked_texts(text, "text", 1) for start, end in sentence_ranges(passage)
        ]
        # (sentences + 1,) tokens before each sentence, and of all of them
        self._before = np.concatenate([[0], np.cumsum(self.sizes(self._sentences))])

    def sizes(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of texts without those around them, (n,) int64."""
        return np.maximum(np.asarray(self._encoder.count_tokens(list(texts)), np.int64) - self.extra, 0)

    def document(self, needle: str, size: int, length: int, position: float) -> Document:
        """Return a document of at most `length` tokens with the needle at the sentence end nearest to a position.

        Raises:
            MeasureError: the text is too short for that.
        """
        room = length - self.extra - size
        if room > self._before[-1]:
            raise MeasureError(
                f"the text around needles has {self._before[-1]:,} tokens, but {length:,} are asked for; give more text"
            )
        n_sentences = int(np.searchsorted(self._before, room, "right")) - 1
        other = int(self._before[n_sentences])
        place = int(np.argmin(np.abs(self._before[: n_sentences + 1] - position * other)))
        parts = [*self._sentences[:place], needle, *self._sentences[place:n_sentences]]
        return Document(" ".join(parts), int(self._before[place]), other, size)
