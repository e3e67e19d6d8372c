"""What a tokenizer makes of words: fertility, by language.

Fertility is the mean number of tokens of a word, and the share of continued words that of the words that are cut into
several (Ács 2019, "Exploring BERT's Vocabulary"; Rust, Pfeiffer, Vulić, Ruder & Gurevych 2021, ACL, arXiv 2012.15613).
A high fertility makes texts longer than a model reads, and words of a language less than units. A low one is worth
nothing where the vocabulary does not know the words: they are one unknown token each, so the share of those stands
beside it.

Words are runs of letters, digits and marks (`retrieval.analysis`); punctuation has part in the tokens of a character
only. Scripts that are written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) have no words without a dictionary:
there the tokens of a character are what can be compared. A token counts for each word that it touches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.estimates import Estimate, bootstrap_ratios
from eval.probes.model_tokenizer import ModelTokenizer
from eval.probes.texts import checked_texts

if TYPE_CHECKING:
    from eval.outcome import Outcome
    from retrieval.analysis import Analyser


@dataclass(frozen=True)
class LanguageFertility:
    """What became of the texts of one language.

    Attributes:
        language: its name.
        n_texts: texts.
        n_words: words in scripts that are written with spaces.
        n_tokens: tokens, without special ones.
        tokens_per_word: fertility; None where there are no such words.
        tokens_per_character: over all characters of the texts.
        unknown: share of the tokens that are the unknown one.
        split: share of the words that became several tokens; None where there are no words.
        cut: share of the texts that are longer than the model reads; None where it has no limit.
        unspaced: share of the characters in words that are of scripts without spaces.
    """

    language: str
    n_texts: int
    n_words: int
    n_tokens: int
    tokens_per_word: Estimate | None
    tokens_per_character: Estimate
    unknown: Estimate
    split: Estimate | None
    cut: Estimate | None
    unspaced: float


@dataclass(frozen=True)
class Fertility:
    """All languages.

    Attributes:
        languages: in the order they were given.
        settings: model, size of its vocabulary, tokens that it reads, seed.
    """

    languages: list[LanguageFertility]
    settings: dict[str, Any]

    def outcome(self) -> Outcome:
        """Return this as a table for people."""
        from eval.outcome import Outcome

        rows = [
            [
                each.language,
                f"{each.n_texts:,}",
                f"{each.n_words:,}",
                _shown(each.tokens_per_word, "{:.2f}"),
                _shown(each.tokens_per_character, "{:.3f}"),
                _shown(each.split, "{:.1%}"),
                _shown(each.unknown, "{:.1%}"),
                _shown(each.cut, "{:.1%}"),
                f"{each.unspaced:.0%}",
            ]
            for each in self.languages
        ]
        limit = self.settings["max_tokens"]
        notes = [
            f"{self.settings['model']}: vocabulary of {self.settings['vocabulary']:,}, reads "
            f"{'any number of' if limit is None else f'{limit:,}'} tokens; 95 % intervals over texts resampled",
            "tokens without special ones, but a text is cut where they and the special ones are too many; words are "
            "runs of letters and digits; unspaced: characters of words in scripts without spaces, which count for "
            "no word, so that the tokens of a word are those of the other scripts",
        ]
        columns = ["language", "texts", "words", "tokens/word", "tokens/char.", "split", "unknown", "cut", "unspaced"]
        return Outcome("Fertility of the tokenizer", columns, rows, notes, asdict(self))


def measure_fertility(tokenizer: ModelTokenizer, texts: Mapping[str, Sequence[str]], *, seed: int = 0) -> Fertility:
    """Tokenise texts and count what became of their words.

    Args:
        tokenizer: of a model.
        texts: two or more by language; equal ones count each.
        seed: of the resampling.

    Raises:
        MeasureError: there is no language, or one has fewer than two texts, or a text is blank.
    """
    if not texts:
        raise MeasureError("there are no texts to tokenise; give some of at least one language")
    languages = [
        _language(tokenizer, language, checked_texts(of_language, language, least=1), seed)
        for language, of_language in texts.items()
    ]
    settings = {
        "model": tokenizer.name,
        "vocabulary": tokenizer.size,
        "max_tokens": tokenizer.max_tokens,
        "seed": seed,
    }
    return Fertility(languages, settings)


def _language(tokenizer: ModelTokenizer, language: str, texts: list[str], seed: int) -> LanguageFertility:
    counted = [
        _counts(tokenizer, text, ids, spans)
        for text, (ids, spans) in zip(texts, tokenizer.tokenizer.tokens(texts), strict=True)
    ]
    in_words, n_tokens, n_unknown, n_split, n_cut, n_words, n_characters, n_unspaced, in_runs = np.array(counted).T
    ones = np.ones(len(texts))
    ratios = [
        (in_words, n_words),
        (n_tokens, n_characters),
        (n_unknown, n_tokens),
        (n_split, n_words),
        (n_cut, ones),
    ]
    if not n_tokens.sum():
        raise MeasureError(f"{language}: the tokenizer makes no token of any of {len(texts)} texts")
    above, below = (np.stack(side, axis=1) for side in zip(*ratios, strict=True))
    fertility, per_character, unknown, split, cut = bootstrap_ratios(above, below, seed)
    has_words = bool(n_words.sum())
    return LanguageFertility(
        language=language,
        n_texts=len(texts),
        n_words=int(n_words.sum()),
        n_tokens=int(n_tokens.sum()),
        tokens_per_word=fertility if has_words else None,
        tokens_per_character=per_character,
        unknown=unknown,
        split=split if has_words else None,
        cut=None if tokenizer.max_tokens is None else cut,
        unspaced=float(n_unspaced.sum() / max(in_runs.sum(), 1)),
    )


@cache
def _analyser() -> Analyser:
    """Return what finds words of any language as they stand."""
    from retrieval.analysis import Analyser, AnalyserSettings

    settings = AnalyserSettings("none", stop_words=None, stemmer=None, fold_diacritics=False, character_bigrams=False)
    return Analyser(settings)


@cache
def _unspaced() -> re.Pattern[str]:
    from retrieval.analysis.scripts import UNSPACED_SCRIPTS

    return re.compile(f"[{''.join(UNSPACED_SCRIPTS.values())}]")


def _counts(tokenizer: ModelTokenizer, text: str, ids: np.ndarray, spans: np.ndarray) -> list[int]:
    """Return the counts of one text, in the order in which `_language` takes them apart."""
    unspaced = _unspaced()
    runs = [(start, end) for _, start, end in _analyser().spans(text)]
    words = np.array([run for run in runs if not unspaced.search(text[slice(*run)])], np.int64).reshape(-1, 2)
    # Starts and ends of tokens both ascend: those that touch a word begin before its end and end behind its start.
    touching = np.searchsorted(spans[:, 0], words[:, 1], "left") - np.searchsorted(spans[:, 1], words[:, 0], "right")
    limit = tokenizer.max_tokens
    return [
        int(touching.sum()),
        len(ids),
        int((ids == tokenizer.unknown).sum()) if tokenizer.unknown is not None else 0,
        int((touching > 1).sum()),
        int(limit is not None and len(ids) + tokenizer.tokenizer.n_special > limit),
        len(words),
        len(text),
        sum(len(unspaced.findall(text[slice(*run)])) for run in runs),
        sum(end - start for start, end in runs),
    ]


def _shown(estimate: Estimate | None, form: str) -> str:
    if estimate is None:
        return "-"
    value, low, high = (form.format(number) for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
