"""Which characters belong to words, which to scripts written without spaces, and which are invisible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

_LAST_MARK = 0x1FFFF
"""Above are only variation selectors, which are removed before words are sought."""

UNSPACED_SCRIPTS: dict[str, str] = {
    "Han, Hiragana, Katakana": (
        "\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
        "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
    ),
    "Thai": "\u0e01-\u0e3a\u0e40-\u0e4e",
    "Lao": "\u0e81-\u0ece\u0edc-\u0edf",
    "Khmer": "\u1780-\u17d3\u17d7\u17dc\u17dd",
    "Myanmar": "\u1000-\u103f\u1050-\u108f\u109a-\u109d",
}
"""Ranges for a regular expression's class; digits of these scripts are left to words. Text is in NFKC."""

INVISIBLE = "\u00ad\u034f\u061c\u180b-\u180f\u200d\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
"""Soft hyphens, joiners, direction marks and variation selectors: they change how a word looks, not which it is.

The zero-width space is missing, because it parts words; the zero-width non-joiner, because Persian needs it.
"""

ZERO_WIDTH_NON_JOINER = "\u200c"


@cache
def combining_marks(beyond_bmp: bool) -> str:
    """Return the combining marks (categories Mn, Mc, Me) as ranges for a regular expression's class.

    Args:
        beyond_bmp: also those above U+FFFF, which make matching slower: `re` has no table for them.
    """
    last = _LAST_MARK if beyond_bmp else 0xFFFF
    return character_ranges(code for code in range(0x300, last) if unicodedata.category(chr(code))[0] == "M")


def character_ranges(codes: Iterable[int]) -> str:
    """Write ascending code points as ranges for a regular expression's class: 1, 2, 3, 9 -> "1-39"."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(re.escape(chr(a)) if a == b else f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in ranges)
