from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.arrays import ArrayFolder
from indexes.dictionary import TermDictionary, encode_term, write_dictionary
from indexes.errors import CorruptIndexError

EXAMPLES = settings.default.max_examples  # of the profile
# Any code points, lone surrogates included.
TERMS = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=4)


def write(directory, terms):
    return write_dictionary(directory, map(encode_term, terms))


@given(terms=st.sets(TERMS, max_size=60), others=st.lists(TERMS, max_size=20))
@settings(max_examples=EXAMPLES // 2)
def test_finds_every_term_and_no_other(terms, others):
    with tempfile.TemporaryDirectory() as name:
        ordered = sorted(terms)
        assert write(Path(name), ordered) == len(terms)
        dictionary = TermDictionary(ArrayFolder(Path(name)))
        assert len(dictionary) == len(terms)
        assert list(dictionary) == ordered
        assert [dictionary[number] for number in range(len(ordered))] == ordered
        assert dictionary.some(np.arange(len(ordered))[::-1]) == ordered[::-1]
        wanted = [*others, *ordered]
        expected = [ordered.index(term) if term in terms else -1 for term in wanted]
        found = dictionary.find(wanted)
        assert found.dtype == np.int64
        assert found.tolist() == expected


@given(terms=st.sets(TERMS, max_size=60))
def test_python_orders_strings_as_their_bytes(terms):
    assert [encode_term(term) for term in sorted(terms)] == sorted(map(encode_term, terms))


def test_prefixes_and_bytes_above_127(tmp_path):
    ordered = sorted(["a", "aa", "aab", "b", "z", "ä", "äa", "日", "日本", "🎈", ""])
    write(tmp_path, ordered)
    assert TermDictionary(ArrayFolder(tmp_path)).find(ordered).tolist() == list(range(len(ordered)))


def test_more_terms_than_a_block(tmp_path):
    ordered = [f"{number:06}" for number in range(70_000)]
    write(tmp_path, ordered)
    dictionary = TermDictionary(ArrayFolder(tmp_path))
    assert dictionary.find(["000000", "065535", "065536", "069999", "070000"]).tolist() == [0, 65535, 65536, 69999, -1]
    assert list(dictionary.encoded())[65_534:65_538] == [b"065534", b"065535", b"065536", b"065537"]
    assert list(dictionary) == ordered


@pytest.mark.parametrize("terms", [["b", "a"], ["a", "a"]])
def test_refuses_terms_out_of_order(tmp_path, terms):
    with pytest.raises(ValueError, match="distinct and sorted"):
        write(tmp_path, terms)


@pytest.mark.parametrize("number", [-1, 2])
def test_number_without_a_term(tmp_path, number):
    write(tmp_path, ["a", "b"])
    with pytest.raises(IndexError, match="there are 2"):
        TermDictionary(ArrayFolder(tmp_path))[number]


@pytest.mark.parametrize(
    "offsets", [[], [1, 2, 4], [0, 2, 3], [0, 2, 5], np.array([0, 2, 4], np.int32), np.array([0.0, 2.0, 4.0])]
)
def test_damaged_offsets_are_named_on_open(tmp_path, offsets):
    write(tmp_path, ["aa", "bb"])
    np.save(tmp_path / "dictionary-offsets.npy", np.asarray(offsets, dtype=getattr(offsets, "dtype", np.int64)))
    with pytest.raises(CorruptIndexError, match="dictionary-offsets"):
        TermDictionary(ArrayFolder(tmp_path))


@pytest.mark.parametrize("inner", [-1, -(2**62), 5, 2**62])
def test_damaged_offset_inside_is_found_when_used(tmp_path, inner):
    write(tmp_path, ["aa", "bb"])
    np.save(tmp_path / "dictionary-offsets.npy", np.array([0, inner, 4]))
    dictionary = TermDictionary(ArrayFolder(tmp_path))
    for use in (lambda: dictionary.find(["aa", "bb", "cc"]), lambda: dictionary[1], lambda: list(dictionary)):
        with pytest.raises(CorruptIndexError, match="dictionary-offsets"):
            use()


def test_bytes_that_are_no_text(tmp_path):
    write(tmp_path, ["aa"])
    np.save(tmp_path / "dictionary-bytes.npy", np.array([255, 254], np.uint8))
    with pytest.raises(CorruptIndexError):
        TermDictionary(ArrayFolder(tmp_path))[0]


def test_offsets_whose_differences_wrap_around(tmp_path):
    write_dictionary(tmp_path, [b"a", b"b", b"c"])
    np.save(tmp_path / "dictionary-offsets.npy", np.array([0, 2**63 - 1, -2, 3]))
    with pytest.raises(CorruptIndexError, match="dictionary-offsets"):
        list(TermDictionary(ArrayFolder(tmp_path)))
