"""The analyser's settings: constructor input, saved state and documentation in one."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.analysis.languages import ISO_CODES, NEUTRAL, language_name
from retrieval.analysis.stop_words import STOP_LISTS
from retrieval.errors import CollectionError

AUTO = "auto"
"""Stands for "whatever the language has"."""

_OTHER_STEMMERS = ("porter", "dutch_porter")


@dataclass(frozen=True)
class AnalyserSettings:
    """How text becomes terms. Documents and queries of a collection share one.

    What is no setting happens always: NFKC normalisation, lower case, words as runs of letters, digits and combining
    marks (see `retrieval.analysis.words`).

    Attributes:
        language: English name or ISO 639-1 code ("german" or "de"); "none" for texts in many languages or in one
            without a stemmer (then there are neither stop words nor stems, unless they are named below). It also
            chooses how apostrophes are read and, for Turkish, how i is lower-cased.
        stop_words: "auto", the list of the language where there is one; the name of a list ("german",
            "english_lucene"); None; or words of one's own.
        stemmer: "auto", Snowball's stemmer of the language; the name of one; or None.
        fold_diacritics: Résumé = resume, for Latin, Greek and Cyrillic letters; also drops the optional vowel signs
            of Arabic and Hebrew. The vowel signs of Indic scripts and Thai are letters in all but name, and stay.
        character_bigrams: Cut runs of Han, Hiragana and Katakana, Thai, Lao, Khmer and Myanmar characters, which
            are written without spaces, into overlapping pairs. Otherwise a whole run is one token.

    Raises:
        CollectionError: A name is unknown.
    """

    language: str = "english"
    stop_words: str | tuple[str, ...] | None = AUTO
    stemmer: str | None = AUTO
    fold_diacritics: bool = True
    character_bigrams: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "language", language_name(self.language))
        if self.language not in (*ISO_CODES, NEUTRAL):
            raise CollectionError(
                f"unknown language {self.language!r}: {', '.join(ISO_CODES)} (or an ISO 639-1 code), "
                f"or {NEUTRAL!r} for any other"
            )
        self._normalise_stop_words()
        self._normalise_stemmer()

    def _normalise_stop_words(self) -> None:
        stop_words = self.stop_words
        if isinstance(stop_words, str):
            stop_words = language_name(stop_words)
            if stop_words not in (AUTO, *STOP_LISTS):
                raise CollectionError(
                    f"no stop list {stop_words!r}: {', '.join(STOP_LISTS)}, {AUTO!r}, None, or a tuple of words"
                )
        elif stop_words is not None:
            stop_words = tuple(stop_words)
            strange = next((word for word in stop_words if not isinstance(word, str)), None)
            if strange is not None:
                raise CollectionError(f"a stop word must be a string, not {strange!r}")
        object.__setattr__(self, "stop_words", stop_words)

    def _normalise_stemmer(self) -> None:
        if self.stemmer is None:
            return
        object.__setattr__(self, "stemmer", language_name(self.stemmer))
        if self.stemmer not in (AUTO, *ISO_CODES, *_OTHER_STEMMERS):
            raise CollectionError(
                f"no stemmer {self.stemmer!r}: {', '.join((*ISO_CODES, *_OTHER_STEMMERS))}, {AUTO!r} or None"
            )

    @property
    def stop_list(self) -> str | tuple[str, ...] | None:
        """The stop list that is meant: a list's name, words, or None."""
        if self.stop_words != AUTO:
            return self.stop_words
        return self.language if self.language in STOP_LISTS else None

    @property
    def stemmer_name(self) -> str | None:
        """Snowball's name of the stemmer that is meant, or None."""
        if self.stemmer != AUTO:
            return self.stemmer
        return None if self.language == NEUTRAL else self.language
