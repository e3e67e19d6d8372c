"""Needles by position and length: encoders whose reading is known, hand values, and the draw."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.errors import MeasureError
from eval.pools import Pool, read_pool
from eval.probes.haystack import Needle, needles_of, needles_of_texts
from eval.probes.needle import measure_needles
from retrieval.encoders import FunctionEncoder, load_encoder

LETTERS = "abcdefghijklmno"
NEEDLES = [Needle(f"{letter}1", f"{letter * 3} {letter * 2} now.") for letter in LETTERS]
TEXT = [f"Zz zzz zzzz {'z' * row}. Yy yyy yy." for row in range(1, 20)]


def reading(first: int | None):
    """An encoder that counts letters in the first words, and reads no more."""

    def encode(texts):
        words = [" ".join(text.lower().split()[:first]) for text in texts]
        return np.array([[text.count(letter) for letter in LETTERS] + [0.1] for text in words], np.float32)

    return FunctionEncoder(encode, "letters", 1, dimension=16, max_tokens=first)


def test_an_encoder_that_reads_everything_finds_every_needle():
    found = measure_needles(reading(None), NEEDLES, TEXT, lengths=(20, 60), positions=(0, 0.5, 1))
    assert found.n_needles == 15
    assert [(cell.length, cell.position) for cell in found.cells] == [
        (20, 0),
        (20, 0.5),
        (20, 1),
        (60, 0),
        (60, 0.5),
        (60, 1),
    ]
    for cell in (found.alone, *found.cells):
        assert cell.ndcg.value == cell.reciprocal_rank.value == cell.read == 1
        assert cell.tokens <= max(cell.length, 8)
        assert abs(cell.place - cell.position) <= 0.2


def test_what_is_not_read_is_worth_a_random_order():
    """Documents that are equal as far as they are read share their ranks: the mean over all ranks is the value."""
    found = measure_needles(reading(10), NEEDLES, TEXT, lengths=(40,), positions=(0, 1))
    first, last = found.cells
    assert (first.ndcg.value, first.read) == (1, 1)
    assert last.read == 0
    middle = measure_needles(reading(10), NEEDLES, TEXT, lengths=(13,), positions=(1,)).cells[0]
    assert middle.read == 1 / 4  # of four tokens, full stop included, behind the nine of two sentences
    assert last.ndcg.value == pytest.approx(sum(1 / math.log2(rank + 1) for rank in range(1, 11)) / 15)
    assert last.reciprocal_rank.value == pytest.approx(sum(1 / rank for rank in range(1, 16)) / 15)
    assert first.similarity.value > last.similarity.value
    assert f"{last.ndcg.value:.3f}" in found.outcome().markdown()


def test_needles_stand_whole_between_sentences_of_the_same_text():
    seen = []

    def encode(texts):
        seen.extend(texts)
        return reading(None).encode_passages(texts)

    encoder = FunctionEncoder(encode, "letters", 1, dimension=16)
    found = measure_needles(encoder, NEEDLES[:2], TEXT, lengths=(30,), positions=(0, 0.5, 1))
    assert len(seen) == len(set(seen)) == 2 + 2 + 6  # queries, passages alone, documents
    documents = [text for text in seen if "zz" in text.lower()]
    for needle in NEEDLES[:2]:
        own = [text for text in documents if needle.passage in text]
        assert len(own) == 3
        assert len({text.replace(needle.passage, "").replace("  ", " ").strip() for text in own}) == 1
        assert own[0].startswith(needle.passage)
        assert own[-1].endswith(needle.passage)
    assert found == measure_needles(encoder, NEEDLES[:2], TEXT, lengths=(30,), positions=(0, 0.5, 1))


def test_long_needles_are_left_out_and_counted():
    needles = [*NEEDLES[:3], Needle("n", "n " * 50)]
    found = measure_needles(reading(None), needles, TEXT, lengths=(30,))
    assert (found.n_needles, found.n_left_out) == (3, 1)
    assert "1 needles are longer" in found.outcome().markdown()


@pytest.mark.parametrize(
    ("needles", "options", "words"),
    [
        (NEEDLES[:1], {}, "1 different texts are too few"),
        ([NEEDLES[0], Needle("x", NEEDLES[0].passage), NEEDLES[1]], {}, "two needles are the same passage"),
        ([Needle(" ", "a"), Needle("b", "b")], {}, "queries: text 0 is blank"),
        (NEEDLES, {"positions": (0.5, 1.5)}, "shares from 0 to 1"),
        (NEEDLES, {"positions": (float("nan"),)}, "shares from 0 to 1"),
        (NEEDLES, {"lengths": ()}, "at least 1 token"),
        (NEEDLES, {"lengths": (2,)}, "0 of 15 needles fit into 2 tokens"),
        (NEEDLES, {"lengths": (20, 5000)}, "give more text"),
    ],
)
def test_what_cannot_be_placed_is_refused(needles, options, words):
    with pytest.raises(MeasureError, match=words):
        measure_needles(reading(None), needles, TEXT, **{"lengths": (20,), **options})


def test_needles_of_a_test_set():
    qrels = {"q1": {"d1": 1, "d2": 1}, "q2": {"d3": 0, "d4": 2}, "q3": {"d1": 1}, "q4": {"gone": 1}}
    texts = ["One.", "Two.", "Three.", "Four.", "Five.", "Five."]
    pool = Pool("toy", [f"d{row}" for row in range(1, 7)], texts, {f"q{row}": f"Q{row}" for row in range(1, 5)}, qrels)
    needles, text = needles_of(pool, 10)
    assert set(needles) == {Needle("Q1", "One."), Needle("Q1", "Two."), Needle("Q2", "Four.")}
    assert sorted(text) == ["Five.", "Three."]
    fewer, rest = needles_of(pool, 2, seed=1)
    assert set(fewer) < set(needles)
    assert (fewer, rest) == needles_of(pool, 2, seed=1)
    for needle in fewer:  # nothing that answers a query stands around the needles
        assert not {name for name, grade in qrels[needle.query.lower()].items() if grade} & {
            pool.ids[texts.index(each)] for each in rest
        }
    with pytest.raises(MeasureError, match="1 passages answer a query"):
        needles_of(Pool("toy", ["d4"], ["Four."], {"q2": "Q2"}, {"q2": {"d4": 1}}), 2)


def test_needles_of_texts_alone():
    needles, text = needles_of_texts(["What is it? It is a cat.", "Why? Because.", "No sentence", "Who? Me."], 2)
    assert len(needles) == len(text) == 2
    assert set(needles) < {Needle("What is it?", "It is a cat."), Needle("Why?", "Because."), Needle("Who?", "Me.")}
    with pytest.raises(MeasureError, match="1 texts have two sentences"):
        needles_of_texts(["Ah. Be.", "See"], 2)


@pytest.mark.slow
def test_the_packaged_model_stops_reading_at_256_tokens(data):
    needles, text = needles_of(read_pool(data / "squad11", "test"), 8)
    found = measure_needles(load_encoder(), needles, text, lengths=(512,), positions=(0, 1))
    first, last = found.cells
    assert first.read > 0.9 > 0.1 > last.read
    assert found.alone.ndcg.value >= first.ndcg.value > last.ndcg.value
