from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import Analyser, AnalyserSettings
from retrieval.snippets import ELLIPSIS, Snippet, snippet

ANALYSER = Analyser()
FILLER = "The quick brown fox jumps over the lazy dog. " * 10


def marked(found: Snippet) -> list[str]:
    return [found.text[start:end] for start, end in found.highlights]


def test_short_text_is_shown_whole():
    found = snippet("Reads a CSV file.", ANALYSER, ANALYSER.terms("csv files"), 100)
    assert found == Snippet("Reads a CSV file.", [(8, 11), (12, 16)])


def test_window_with_most_distinct_terms_wins():
    text = f"{FILLER}csv csv csv. {FILLER}CSV files become dictionaries. {FILLER}"
    found = snippet(text, ANALYSER, ANALYSER.terms("csv file dictionary"), 100)
    assert marked(found) == ["CSV", "files", "dictionaries"]
    assert found.text.startswith(ELLIPSIS)
    assert found.text.endswith(ELLIPSIS)
    assert len(found.text) <= 102


def test_weights_decide():
    text = f"apple pear. {FILLER}plum. {FILLER}"
    assert marked(snippet(text, ANALYSER, {"appl": 1.0, "pear": 1.0, "plum": 5.0}, 60)) == ["plum"]
    assert marked(snippet(text, ANALYSER, {"appl": 1.0, "pear": 1.0, "plum": 1.5}, 60)) == ["apple", "pear"]


def test_without_matches_the_beginning_is_shown():
    found = snippet(FILLER, ANALYSER, ["zebra"], 50)
    assert found == Snippet(f"The quick brown fox jumps over the lazy dog. The{ELLIPSIS}", [])
    assert snippet(FILLER, ANALYSER, [], 50) == found
    assert snippet("", ANALYSER, ["zebra"]) == Snippet("", [])


def test_text_becomes_one_line():
    found = snippet("a\tCSV\n\n  Résumé \u3000x", ANALYSER, ["resum", "csv"])
    assert found.text == "a CSV Résumé x"
    assert marked(found) == ["CSV", "Résumé"]


def test_overlapping_pairs_are_one_highlight():
    neutral = Analyser(AnalyserSettings("none"))
    found = snippet("彼は東京大学で学ぶ。" * 9, neutral, neutral.terms("東京大学"), 12)
    assert marked(found)[0] == "東京大学"
    assert len(found.text) <= 14


def test_marks_stay_with_their_letters():
    neutral = Analyser(AnalyserSettings("none"))
    found = snippet("ที่นี่มีน้ำ" * 30, neutral, [], 50)
    assert not found.text.rstrip(ELLIPSIS).endswith("ท")  # the sign above it would be cut off


def test_a_match_longer_than_the_width_is_cut():
    found = snippet("x " + "a" * 50, ANALYSER, ["a" * 50], 10)
    assert marked(found) == ["a" * 10]


def test_width_must_be_positive():
    with pytest.raises(ValueError, match="not 0"):
        snippet("text", ANALYSER, [], 0)


@given(
    st.lists(st.sampled_from(["csv", "file", "naïve", "東京大学", "x" * 30, "the", "½", "ที่"]), max_size=30),
    st.lists(st.sampled_from(["csv", "file", "naiv", "東京", "大学", "1", "2"]), max_size=4),
    st.integers(1, 60),
)
def test_snippets_keep_their_promises(words, terms, width):
    text = " ".join(words)
    found = snippet(text, ANALYSER, terms, width)
    shown = found.text.removeprefix(ELLIPSIS).removesuffix(ELLIPSIS)
    assert len(shown) <= width
    assert shown in text
    assert all(0 <= start < end <= len(found.text) for start, end in found.highlights)
    assert all(first[1] < second[0] for first, second in zip(found.highlights, found.highlights[1:], strict=False))
    if set(terms) & set(ANALYSER.terms(text)):
        assert found.highlights
