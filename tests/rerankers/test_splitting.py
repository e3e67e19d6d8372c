"""Documents cut into windows of words, tokens and sentences: against a plain loop, and what every cutting must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RerankerError
from retrieval.rerankers import Candidates, Splitting
from retrieval.rerankers.splitting import split_candidates, word_spans
from retrieval.sentences import sentence_ranges

TEXTS = st.text(alphabet='ab .\n検索é!"J', max_size=60)
SPLITTINGS = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)).map(
    lambda numbers: Splitting(max(numbers[:2]), min(numbers[:2]), most=numbers[2])
)


def of(texts, title_lengths=()):
    return Candidates([f"d{number}" for number in range(len(texts))], texts, np.zeros(len(texts)), title_lengths)


def split(text, splitting, title_length=0, token_spans=None):
    return split_candidates(of([text], [title_length]), splitting, token_spans).passages


def published_passages(text, size, overlap):
    """Cut as the authors' scripts do: a last piece of no more than the overlap is in the one before it."""
    words = text.split()
    pieces, start = [], 0
    while start < max(len(words), 1):
        end = min(start + size, len(words))
        if pieces and end - start <= overlap:
            break
        pieces.append(" ".join(words[start:end]))
        start += size - overlap
    return pieces


@given(st.integers(0, 60), SPLITTINGS)
def test_words_are_cut_as_published(n_words, splitting):
    text = " ".join(f"w{number}" for number in range(n_words))
    expected = published_passages(text, splitting.size, splitting.size - splitting.stride)
    found = split(text, splitting)
    if len(expected) <= splitting.most:
        assert found == expected
    else:
        assert len(found) == splitting.most
        places = [expected.index(passage) for passage in found]
        assert places == sorted(set(places))
        assert places[0] == 0
        assert splitting.most == 1 or places[-1] == len(expected) - 1


@given(st.lists(TEXTS, max_size=4), SPLITTINGS, st.sampled_from(["words", "sentences"]))
def test_every_word_is_in_a_passage_and_each_document_has_its_own(texts, splitting, unit):
    splitting = Splitting(splitting.size, splitting.stride, unit, most=1000)
    found = split_candidates(of(texts), splitting, None)
    assert found.firsts.tolist() == sorted(set(found.firsts.tolist()))
    parts = np.split(np.array(found.passages, object), found.firsts[1:]) if texts else []
    for text, passages in zip(texts, parts, strict=True):
        assert len(passages) >= 1
        assert all(passage in text for passage in passages)
        assert all(passage == passage.strip() for passage in passages)
        assert {*"".join(passages)} - {*" \n"} == {*text} - {*" \n"}
        alone = split_candidates(of([text]), splitting, None)
        assert alone.passages == list(passages)


@given(TEXTS)
def test_sentences_cover_a_text_in_order(text):
    ranges = sentence_ranges(text)
    assert "".join(text[start:end] for start, end in ranges).split() != [] or not text.split()
    at = 0
    for start, end in ranges:
        assert text[at:start].strip() == ""
        assert text[start:end] == text[start:end].strip() != ""
        at = end
    assert text[at:].strip() == ""


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("one", ["one"]),
        ("One. Two! Three? Four… five", ["One.", "Two!", "Three?", "Four…", "five"]),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
        ("Values, e.g. 3.14, of J. Smith.", ["Values, e.g. 3.14, of J. Smith."]),
        ("wrapped\nover lines\n\nA new paragraph", ["wrapped\nover lines", "A new paragraph"]),
        ("検索する。索引を作る。", ["検索する。", "索引を作る。"]),
        ("Wait... What?! Yes.", ["Wait...", "What?!", "Yes."]),
    ],
)
def test_sentences_of_ordinary_prose(text, sentences):
    assert [text[start:end] for start, end in sentence_ranges(text)] == sentences


def test_scripts_without_spaces_and_endless_words_have_several_words():
    assert len(word_spans("検索エンジン and more")) == 8
    assert [end - start for start, end in word_spans("x" * 150)] == [64, 64, 22]


def test_tokens_are_those_of_the_model():
    spans = {"abcdef": np.array([[0, 2], [2, 3], [3, 6]]), "": np.empty((0, 2), np.int64)}
    splitting = Splitting(2, 1, "tokens")
    assert split("abcdef", splitting, token_spans=lambda texts: [spans[text] for text in texts]) == ["abc", "cdef"]
    assert split("", splitting, token_spans=lambda texts: [spans[text] for text in texts]) == [""]


@pytest.mark.parametrize(
    ("text", "title_length", "passages"),
    [
        ("Birds of prey a b c d", 13, ["Birds of a b", "Birds of c d"]),
        ("a b c", 0, ["a b", "c"]),
        ("Birds of prey", 13, ["Birds of"]),
        ("", 0, [""]),
    ],
)
def test_the_title_stands_in_front_of_each_passage(text, title_length, passages):
    assert split(text, Splitting(2, 2, title_words=2), title_length) == passages


def test_without_its_length_a_title_is_text():
    given = Candidates(["d"], ["Title a b"], np.zeros(1))
    assert split_candidates(given, Splitting(2, 2, title_words=2), None).passages == ["Title a", "b"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be a whole number, at least 1, not 0"),
        ({"most": True}, "most must be a whole number, at least 1, not True"),
        ({"title_words": -1}, "at least 0, not -1"),
        ({"size": 10, "stride": 11}, "a stride of 11 would leave out text between passages of 10"),
        ({"unit": "letters"}, "unknown unit 'letters' of passages: one of words, tokens, sentences"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(RerankerError, match=message):
        Splitting(**settings)


def test_titles_of_other_numbers_than_the_candidates():
    with pytest.raises(RerankerError, match="2 candidates have 1 lengths of titles"):
        Candidates(["a", "b"], ["x", "y"], np.zeros(2), [1])
