"""A model's fast tokenizer without its mutable state: safe from several threads, nothing cut, nothing padded.

The tokenizer object of a model switches truncation and padding on and off at each call, which threads must not share.
This one is a frozen copy. It tokenises without special tokens and sets them around the tokens itself, so that counting,
cutting and character positions come from one pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

PROBES = (
    "How do I read a CSV file into dictionaries?",
    "Naïve café, Größe, ΑΒΓ, Ёлка: 1,234.56 €; e-mail@example.org/path_to#file",
    "  two  spaces\tand\nlines\u200b\u00a0",
    "検索エンジンを作る。한국어 ประเทศไทย العربية हिन्दी 🙂👍🏽",
    "ﬁne ＦＵＬＬ①² don't [MASK] <s> ##ing supercalifragilisticexpialidocious",
)
"""Texts on which tokenizers differ: case, accents, spaces, scripts, compatibility forms, special tokens as text."""

_WORD = re.compile(r"\w+|[^\w\s]")

_GROUP_CHARACTERS = 1 << 19
"""Characters tokenised together; token objects take some hundred bytes each until their ids are taken out."""


class UnknownTokenizerError(EncoderError):
    """A tokenizer does something that only its library can do."""


class FastTokenizer:
    """Ids, counts and character positions of texts.

    Args:
        backend: the tokenizer to copy.
        truncation_side: where a text that is too long loses its tokens.

    Raises:
        UnknownTokenizerError: special tokens do not stand around the text alone.
    """

    def __init__(self, backend: Tokenizer, truncation_side: Literal["left", "right"] = "right") -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(backend.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._left = truncation_side == "left"
        self._prefix, self._suffix = self._special_tokens()

    @property
    def n_special(self) -> int:
        """Special tokens around a text."""
        return len(self._prefix) + len(self._suffix)

    @property
    def n_before(self) -> int:
        """Those of them that stand before it."""
        return len(self._prefix)

    def ids(self, texts: Sequence[str], prompt: str = "", max_tokens: int | None = None) -> list[np.ndarray]:
        """Return the token ids of each text as the model reads it.

        Args:
            texts: any number.
            prompt: put before each.
            max_tokens: longer sequences lose tokens of the text, never the special tokens.

        Returns:
            One (tokens,) int32 array for each text.
        """
        room = None if max_tokens is None else max_tokens - self.n_special
        return [
            np.array([*self._prefix, *self._cut(encoding.ids, room), *self._suffix], np.int32)
            for encoding in self._encodings(texts, prompt)
        ]

    def tokens(self, texts: Sequence[str], prompt: str = "") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the tokens of each text, without special tokens, nothing cut.

        Args:
            texts: any number.
            prompt: put before each; its tokens come first.

        Yields:
            (tokens,) int32 ids, and (tokens, 2) int64 character start and end of each token in the text, both never
            descending; what belongs to the prompt lies before character 0.
        """
        for encoding in self._encodings(texts, prompt, offsets=True):
            yield np.array(encoding.ids, np.int32), _ascending(encoding.offsets) - len(prompt)

    def surrounded(self, ids: np.ndarray) -> np.ndarray:
        """Return token ids with the special tokens around them, (tokens,) int32."""
        return np.array([*self._prefix, *ids.tolist(), *self._suffix], np.int32)

    def pieces(self, texts: Sequence[str], prompt: str = "", max_tokens: int | None = None) -> list[np.ndarray]:
        """Return the token ids of each text alone, without special tokens; at most the first `max_tokens` of them."""
        return [np.array(encoding.ids[:max_tokens], np.int32) for encoding in self._encodings(texts, prompt)]

    def count(self, texts: Sequence[str], prompt: str = "") -> np.ndarray:
        """Return the tokens of each text with prompt and special tokens, nothing cut, (n,) int64."""
        counts = (len(encoding) + self.n_special for encoding in self._encodings(texts, prompt))
        return np.fromiter(counts, np.int64, len(texts))

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token of each text, (tokens, 2) int64, starts ascending."""
        return [_ascending(encoding.offsets) for encoding in self._encodings(texts, "", offsets=True)]

    def prompt_length(self, prompt: str, special_ids: Collection[int]) -> int:
        """Return how many of the first positions belong to the prompt, as sentence-transformers counts them."""
        ids = self.ids([prompt])[0]
        return len(ids) - (len(ids) > 0 and int(ids[-1]) in special_ids)

    def _cut(self, ids: list[int], room: int | None) -> list[int]:
        if room is None or len(ids) <= room:
            return ids
        return ids[len(ids) - room :] if self._left else ids[:room]

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Return the ids that stand before and after every text.

        Raises:
            UnknownTokenizerError: special tokens do not stand around the text alone.
        """
        for probe in PROBES:
            alone = self._tokenizer.encode(probe, add_special_tokens=False).ids
            whole = self._tokenizer.encode(probe, add_special_tokens=True).ids
            starts = [at for at in range(len(whole) - len(alone) + 1) if whole[at : at + len(alone)] == alone]
            if alone and len(starts) == 1:
                return whole[: starts[0]], whole[starts[0] + len(alone) :]
        raise UnknownTokenizerError("this tokenizer does not put its special tokens before and after the text")

    def _encodings(self, texts: Sequence[str], prompt: str, *, offsets: bool = False) -> Iterator[Encoding]:
        encode: Any = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast
        for group in _groups(texts, prompt):
            try:
                yield from encode(group, add_special_tokens=False)
            except TypeError:
                # Half a surrogate pair is no character; UTF-8 has no bytes for it.
                clean = [text.encode("utf-8", "replace").decode() for text in group]
                yield from encode(clean, add_special_tokens=False)


def _ascending(offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the places of tokens, (tokens, 2) int64.

    Normalisation can reorder characters (combining marks); positions to cut at must not go back.
    """
    return np.maximum.accumulate(np.array(offsets, np.int64).reshape(-1, 2), axis=0)


def _groups(texts: Sequence[str], prompt: str) -> Iterator[list[str]]:
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(prompt + text)
        characters += len(text) + len(prompt)
        if characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def fast_tokenizer(model: Any) -> FastTokenizer | None:
    """Return a copy of the tokenizer of a sentence-transformers model; None where it has no fast one."""
    from tokenizers import Tokenizer

    tokenizer = getattr(model[0], "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    try:
        return FastTokenizer(backend) if isinstance(backend, Tokenizer) else None
    except UnknownTokenizerError:
        return None


def word_spans(text: str) -> np.ndarray:
    """Return where words and punctuation marks stand, (words, 2) int64: the tokens of a model without a tokenizer."""
    return np.array([match.span() for match in _WORD.finditer(text)], np.int64).reshape(-1, 2)
