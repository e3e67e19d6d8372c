"""Normalisation: one spelling for what readers take as the same text, and folding of diacritics."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby

from retrieval.analysis.scripts import INVISIBLE, ZERO_WIDTH_NON_JOINER, character_ranges

_INVISIBLE = re.compile(f"[{INVISIBLE}\U000e0000-\U000e0fff]")
_INVISIBLE_OR_JOINER = re.compile(f"[{INVISIBLE}{ZERO_WIDTH_NON_JOINER}\U000e0000-\U000e0fff]")
_TRADE_MARKS = re.compile("[™℠]")
"""NFKC would make "JavaTM" of "Java™"."""

_REPLACED = {"_": " ", "’": "'", "ß": "ss", "ς": "σ", "\u0640": ""}
"""Read as what is on the right: ß and final sigma as full case folding would; the last only stretches Arabic words."""

_WITHOUT_DECOMPOSITION = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t", "ı": "i"}
)
"""Latin letters that diacritics are part of, which Unicode does not take apart; ß is ss already."""

_DIACRITICS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""The blocks "Combining Diacritical Marks" and their supplements: used with Latin, Greek and Cyrillic letters.

Signs of Indic scripts, Thai, kana or Hangul are in blocks of their own, and so are never removed.
"""
_OPTIONAL_SIGNS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u0652\u0670]")
"""Hebrew points and Arabic vowel signs, which most writers leave out."""


_LONG_RUN = 256  # marks on one letter that Python sorts fast enough; no writing has a tenth of that


class Normalisation:
    """Maps text to its normal form: NFKC, lower case, without invisible characters.

    Lower case is Unicode's, not full case folding, which differs for letters that hardly occur.
    The form is the same for composed and decomposed input, and normalising twice changes nothing.

    Args:
        language: "turkish" keeps the dotted and the dotless i apart; "persian" keeps the zero-width non-joiner, at
            which its stemmer finds suffixes.
    """

    def __init__(self, language: str) -> None:
        self._is_turkish = language == "turkish"
        self._invisible = _INVISIBLE if language == "persian" else _INVISIBLE_OR_JOINER

    def __call__(self, text: str) -> str:
        """Return the normal form; its length may differ from the text's."""
        if text.isascii() and not self._is_turkish:
            return text.lower().replace("_", " ")
        text = _TRADE_MARKS.sub(" ", self._invisible.sub("", text))
        text = _nfkc(text)
        if self._is_turkish:
            text = text.replace("I", "ı").replace("İ", "i")
        text = text.lower()
        for character, replacement in _REPLACED.items():
            text = text.replace(character, replacement)
        return _nfkc(text)  # lower case may compose where upper case does not: J̌


def _nfkc(text: str) -> str:
    """Return the normal form NFKC, in linear time also where thousands of marks follow one another.

    Python's own function sorts the marks on a letter one by one: a run of 100,000 would take it 20 seconds.
    """
    if any(map(_is_mark, text[::_LONG_RUN])):  # a long run cannot fall between these places
        text = _long_run_of_marks().sub(lambda run: _in_canonical_order(run[0]), text)
    return unicodedata.normalize("NFKC", text)


def _is_mark(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0


@cache
def _long_run_of_marks() -> re.Pattern[str]:
    marks = character_ranges(code for code in range(0x300, 0x20000) if _is_mark(chr(code)))
    return re.compile(f"[{marks}]{{{_LONG_RUN},}}")


def _in_canonical_order(marks: str) -> str:
    """Take marks apart and sort them by combining class, as NFKC does (UAX 15, canonical ordering)."""
    apart = "".join(unicodedata.normalize("NFKD", mark) for mark in marks)
    runs = groupby(apart, key=lambda mark: unicodedata.combining(mark) > 0)
    return "".join("".join(sorted(run, key=unicodedata.combining) if joins else run) for joins, run in runs)


def fold_diacritics(token: str) -> str:
    """Remove diacritics from a normalised token: résumé -> resume, smørrebrød -> smorrebrod, йод -> иод.

    Latin, Greek and Cyrillic letters lose their marks, Arabic and Hebrew words their optional vowel signs; other
    scripts stay as they are.
    """
    if token.isascii():
        return token
    apart = unicodedata.normalize("NFD", token.translate(_WITHOUT_DECOMPOSITION))
    return unicodedata.normalize("NFC", _OPTIONAL_SIGNS.sub("", _DIACRITICS.sub("", apart)))
