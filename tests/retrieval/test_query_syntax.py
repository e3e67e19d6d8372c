from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import Analyser
from retrieval.errors import QueryError
from retrieval.query_syntax import ParsedQuery, contains_phrase, parse_query

ANALYSER = Analyser()


def parsed(text: str) -> ParsedQuery:
    return parse_query(text, ANALYSER)


def test_words_without_operators_are_a_plain_query():
    query = parsed("How do I read well-known C++ files, a-b? files")
    assert query.weights == {"read": 1, "well": 1, "known": 1, "c": 1, "file": 2, "b": 1}
    assert query.required == query.excluded == query.phrases == query.excluded_phrases == ()
    assert query.plain_text == "How do I read well-known C++ files, a-b? files"


def test_operators_and_phrases():
    query = parsed('+csv files -excel "dialects of CSV" -"excel dialect" +files')
    assert query.weights == {"csv": 2, "file": 2, "dialect": 1}
    assert query.required == ("csv", "file")
    assert query.excluded == ("excel",)
    assert query.phrases == (("dialect", "csv"),)
    assert query.excluded_phrases == (("excel", "dialect"),)
    assert query.plain_text == "csv files dialects of CSV files"


def test_a_quoted_word_is_required():
    assert parsed('"Dictionaries" of').required == ("dictionari",)


def test_words_of_several_terms_with_an_operator_are_phrases():
    query = parsed("+state-of-the-art -北京大学 x")
    assert query.phrases == (("state", "art"),)
    assert query.excluded_phrases == (("北京", "京大", "大学"),)


@pytest.mark.parametrize("text", ["“open files” x", "«open files» x", "„open files“ x", '"open files"x'])
def test_typographic_quotes(text):
    assert parsed(text).phrases == (("open", "file"),)


def test_phrase_inside_word_ends_it():
    query = parsed('+foo"bar baz"')
    assert query.required == ("foo",)
    assert query.phrases == (("bar", "baz"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('csv "file', "quote at character 5 is not closed"),
        ('csv -"file', "quote at character 6 is not closed"),
        ('10" disks', "quote at character 3"),
        ("csv + file", "'\\+' at character 5 has no word"),
        ("csv -", "'-' at character 5 has no word"),
        ("--verbose", "at character 2 has no word"),
        ("+the csv", "'the' holds only stop words"),
        ('"to be or not to be"', "holds only stop words"),
        ('csv ""', "holds only stop words or punctuation"),
        ("csv -!", "'!' holds only"),
        ("-csv", "nothing to search for in '-csv'"),
        ("  ", "nothing to search for"),
    ],
)
def test_what_cannot_be_meant_is_an_error(text, message):
    with pytest.raises(QueryError, match=message):
        parsed(text)


@given(st.text(st.sampled_from('ab the+-" ”“京都,é\n'), max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        query = parsed(text)
    except QueryError as error:
        assert "\n" not in str(error)
        return
    assert query.plain_text.strip()
    positive = {*query.required, *(term for phrase in query.phrases for term in phrase)}
    assert positive <= set(query.weights)
    assert all(query.required) and all(query.excluded)
    assert all(len(phrase) > 1 for phrase in (*query.phrases, *query.excluded_phrases))


@given(st.text(st.characters(exclude_characters='+-−"“”„‟«»'), min_size=1).filter(str.strip))
def test_without_operators_nothing_is_special(text):
    query = parsed(text)
    assert query.plain_text == " ".join(text.split())
    assert list(query.weights) == list(dict.fromkeys(ANALYSER.terms(text)))


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=3))
def test_contains_phrase_is_substring_search(terms, phrase):
    assert contains_phrase(terms, phrase) == ("".join(phrase) in "".join(terms))


def test_phrases_skip_stop_words():
    assert contains_phrase(ANALYSER.terms("A state of the art system"), ANALYSER.terms("state-of-the-art"))
    assert not contains_phrase(ANALYSER.terms("the art of the state"), ANALYSER.terms("state of the art"))


@pytest.mark.parametrize("text", ['"' + "the " * 5000 + '"', "-x" + "y" * 5000, "+" + "." * 5000])
def test_errors_do_not_repeat_a_long_query(text):
    with pytest.raises(QueryError) as caught:
        parsed(text)
    assert len(str(caught.value)) < 300
