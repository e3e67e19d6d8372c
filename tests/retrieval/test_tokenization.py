from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from retrieval.encoders.embedded import embedded_folder
from retrieval.encoders.tokenization import PROBES, FastTokenizer, UnknownTokenizerError, word_spans


@pytest.fixture(scope="module")
def backend() -> Tokenizer:
    return Tokenizer.from_file(str(embedded_folder() / "tokenizer.json"))


@pytest.fixture(scope="module")
def fast(backend) -> FastTokenizer:
    return FastTokenizer(backend)


def test_the_original_keeps_its_state(backend, fast):
    assert backend.truncation["max_length"] == 128  # as published
    assert len(backend.encode("word " * 300).ids) == 128
    assert fast.count(["word " * 300]).tolist() == [302]


def test_ids_are_the_librarys(backend, fast):
    whole = Tokenizer.from_str(backend.to_str())
    whole.no_padding()
    for max_tokens in (None, 3, 10):
        whole.no_truncation()
        if max_tokens:
            whole.enable_truncation(max_tokens)
        for text, ids in zip(PROBES, fast.ids(PROBES, "query: ", max_tokens), strict=True):
            assert ids.tolist() == whole.encode("query: " + text).ids


def test_cutting_on_the_left(backend):
    ids = FastTokenizer(backend, "left").ids(["a b c d e"], max_tokens=4)[0]
    assert [backend.id_to_token(token) for token in ids.tolist()] == ["[CLS]", "d", "e", "[SEP]"]


def test_many_texts_are_tokenised_in_groups(fast):
    texts = [f"word {number} " * 2000 for number in range(40)]
    counts = fast.count(texts)
    assert counts.tolist() == [int(fast.count([text])[0]) for text in texts]


def test_spans_point_at_the_tokens(fast):
    text = "Naïve, café  search"
    assert [text[start:end] for start, end in fast.spans([text])[0].tolist()] == ["Naïve", ",", "café", "search"]
    assert [span.shape for span in fast.spans(["", text])] == [(0, 2), (4, 2)]


def test_special_tokens_within_the_text_are_refused():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[X]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [X] $A", special_tokens=[("[X]", 1)])
    with pytest.raises(UnknownTokenizerError):
        FastTokenizer(tokenizer)


def test_words():
    text = "One, two_2 — 日本"
    spans = word_spans(text)
    assert [text[start:end] for start, end in spans.tolist()] == ["One", ",", "two_2", "—", "日本"]
    assert word_spans(" ").shape == (0, 2)
    assert spans.dtype == np.int64
