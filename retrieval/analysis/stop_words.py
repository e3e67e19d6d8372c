"""Stop lists: the words of a language too common to say what a text is about.

The lists are data (`retrieval/data/stop_words.json`, each with its source). Languages without one have none.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

STOP_LISTS = (
    "danish",
    "dutch",
    "english",
    "english_lucene",
    "finnish",
    "french",
    "german",
    "hungarian",
    "italian",
    "norwegian",
    "portuguese",
    "russian",
    "spanish",
    "swedish",
    "turkish",
)
"""Names of the lists; "english" is Snowball's, "english_lucene" the short one that Lucene's EnglishAnalyzer uses."""


@cache
def stop_list(name: str) -> tuple[str, ...]:
    """Return a list's words in alphabetical order; `name` is one of `STOP_LISTS`."""
    lists = json.loads(files("retrieval").joinpath("data/stop_words.json").read_text(encoding="utf-8"))
    return tuple(lists[name]["words"].split())
