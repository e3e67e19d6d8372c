"""Inputs put together from pieces: against putting them together one by one, padded on either side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoders.tokenization import UnknownTokenizerError
from retrieval.rerankers.sequences import Layout, Sequences

CLS, SEP, PAD = 101, 102, 7
PAIRS = Layout(((CLS,), (SEP,), (SEP,)), ((0,), (0,), (1,)), (0, 1))
TWO_SEPARATORS = Layout(((CLS,), (SEP, SEP), (SEP,)), ((0,), (0, 0), (0,)), (0, 0))


@given(
    layout=st.sampled_from([PAIRS, TWO_SEPARATORS, PAIRS.with_third(), TWO_SEPARATORS.with_third()]),
    texts=st.lists(st.lists(st.integers(1000, 2000), max_size=6), min_size=1, max_size=5),
    pads_left=st.booleans(),
    has_segments=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_features(layout, texts, pads_left, has_segments, random):
    k = len(layout.segments)
    chosen = [[random.randrange(len(texts)) for _ in range(k)] for _ in range(4)]
    kept = [[random.randint(0, len(texts[text])) for text in row] for row in chosen]
    pieces = [np.array(text, np.int32) for text in texts]
    made = Sequences(layout, pieces, np.array(chosen), np.array(kept), PAD, pads_left, has_segments)
    rows = [3, 0, 2]
    expected = []
    for row in rows:
        ids, segments = [], []
        for number in range(k):
            text = texts[chosen[row][number]][: kept[row][number]]
            ids += [*layout.special[number], *text]
            segments += [*layout.special_segments[number], *[layout.segments[number]] * len(text)]
        expected.append((ids + list(layout.special[k]), segments + list(layout.special_segments[k])))
        assert made.lengths[row] == len(expected[-1][0])
    packed = made.tokens(np.array(rows))
    assert packed.ids.tolist() == [token for ids, _ in expected for token in ids]
    assert packed.lengths.tolist() == [len(ids) for ids, _ in expected]
    of_tokens = [segment for _, segments in expected for segment in segments]
    assert (None if packed.segments is None else packed.segments.tolist()) == (of_tokens if has_segments else None)
    features = {name: tensor.tolist() for name, tensor in made.features(np.array(rows)).items()}
    width = max(len(ids) for ids, _ in expected)
    equal = all(len(ids) == width for ids, _ in expected)
    assert ("attention_mask" in features, "token_type_ids" in features) == (not equal, has_segments)
    for place, (ids, segments) in enumerate(expected):
        padding = width - len(ids)

        def padded(values, filler, n=padding):
            return [filler] * n + values if pads_left else values + [filler] * n

        assert features["input_ids"][place] == padded(ids, PAD)
        if not equal:
            assert features["attention_mask"][place] == padded([1] * len(ids), 0)
        if has_segments:
            assert features["token_type_ids"][place] == padded(segments, 0)


def test_the_third_text_is_set_off_as_the_second():
    assert PAIRS.with_third() == Layout(((CLS,), (SEP,), (SEP,), (SEP,)), ((0,), (0,), (1,), (2,)), (0, 1, 2))
    assert TWO_SEPARATORS.with_third().special_segments == ((0,), (0, 0), (1, 1), (2,))
    assert (PAIRS.n_special, PAIRS.with_third().n_special) == (3, 4)


def test_layouts_are_read_from_the_tokenizer(classifier):
    from transformers import AutoTokenizer

    bert = AutoTokenizer.from_pretrained(classifier())
    cls, sep = bert.cls_token_id, bert.sep_token_id
    assert Layout.of_pairs(bert) == Layout(((cls,), (sep,), (sep,)), ((0,), (0,), (1,)), (0, 1))
    roberta = Layout.of_pairs(AutoTokenizer.from_pretrained(classifier("roberta")))
    assert (roberta.special, roberta.segments) == (((0,), (2, 2), (2,)), (0, 0))


def test_a_tokenizer_that_puts_something_into_texts_is_not_known(classifier):
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(classifier())
    reversed_pair = TemplateProcessing(single="$A", pair="$B $A", special_tokens=[])
    tokenizer.backend_tokenizer.post_processor = reversed_pair
    with pytest.raises(UnknownTokenizerError):
        Layout.of_pairs(tokenizer)
